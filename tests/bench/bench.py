#!/usr/bin/python3
"""Prints what andiron costs: start-up time, memory with 100 open streams, and the time that it adds
to a request, side by side with the same request made directly. Figures to read, not a test.

    make bench
"""

import http.client
import http.server
import os
import pathlib
import re
import ssl
import statistics
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "flow"))
import certs  # noqa: E402  (the flow tests' certificates)

ANDIRON = os.environ.get("ANDIRON", str(ROOT / "build" / "andiron"))
STREAMS = 100
REQUESTS = 500
STARTS = 10


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers at once; a stream sends one event and then waits for `gate`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    gate = threading.Event()

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if b'"stream":true' in body:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b'9\r\ndata: 1\n\n\r\n')
            self.wfile.flush()
            self.gate.wait(60)
            self.wfile.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        else:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "260")
            self.end_headers()
            self.wfile.write(b"{" + b" " * 258 + b"}")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


def tls_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certs.authority().server)
    return context


def start(*flags):
    """The daemon, its port, and the milliseconds to the first byte that it accepts."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [ANDIRON, "--listen", "127.0.0.1:0", "--admin", "off", "--event-log", "off", *flags], stderr=subprocess.PIPE, text=True,
        env={**os.environ, "ANDIRON_UPSTREAM_FIREWORKS_CA_FILE": certs.authority().ca} if flags else None)
    for line in process.stderr:
        if found := re.search(r"listening on http://127\.0\.0\.1:(\d+)", line):
            break
    connection = http.client.HTTPConnection("127.0.0.1", int(found[1]))
    connection.request("POST", "/nothing", body=b"{}")
    connection.getresponse().read()
    took = (time.perf_counter() - began) * 1000
    threading.Thread(target=process.stderr.read, daemon=True).start()
    return process, int(found[1]), took


def resident_mib(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return {name: int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1024 for name in ("VmRSS", "VmHWM")}


def latencies(connection, path):
    took = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        connection.request("POST", path, body=b'{"model":"m","messages":[]}', headers={"Content-Type": "application/json"})
        connection.getresponse().read()
        took.append((time.perf_counter() - began) * 1e6)
    return took


def open_streams(port):
    """STREAMS connections, each of which has its first event."""
    streams = []
    for _ in range(STREAMS):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", "/v1/chat/completions", body=b'{"model":"m","stream":true}')
        answer = connection.getresponse()
        answer.readline()
        streams.append((connection, answer))
    return streams


def report_latency(upstream, port):
    trusted = ssl.create_default_context(cafile=certs.authority().ca)
    direct = http.client.HTTPSConnection("localhost", upstream.server_port, context=trusted)
    through = http.client.HTTPConnection("127.0.0.1", port)
    runs = [("direct", latencies(direct, "/inference/v1/chat/completions")),
            ("through andiron", latencies(through, "/v1/chat/completions")),
            ("direct, again", latencies(direct, "/inference/v1/chat/completions"))]
    for name, took in runs:
        ordered = sorted(took)
        print(f"{name:>16}: p50 {ordered[len(ordered) // 2]:6.0f} us, p99 {ordered[int(len(ordered) * 0.99)]:6.0f} us")
    base = statistics.median(runs[0][1] + runs[2][1])
    own = statistics.median(runs[1][1])
    print(f"added by andiron: p50 {own - base:.0f} us, ratio {own / base:.2f} (one request at a time, TLS behind)")


def main():
    certs.authority()
    starts = []
    for _ in range(STARTS):
        process, _, took = start()  # towards api.fireworks.ai, with the system's certificates; nothing is sent there
        process.terminate()
        process.wait(10)
        starts.append(took)
    print(f"start to first byte accepted: median {statistics.median(starts):.1f} ms, slowest {max(starts):.1f} ms of {STARTS}")

    upstream = Server(("127.0.0.1", 0), Upstream)
    upstream.socket = tls_context().wrap_socket(upstream.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    process, port, _ = start("--upstream", f"https://localhost:{upstream.server_port}")
    print(f"memory at rest: {resident_mib(process)['VmRSS']:.1f} MiB")
    streams = open_streams(port)
    memory = resident_mib(process)
    print(f"memory with {STREAMS} streams open, TLS behind: {memory['VmRSS']:.1f} MiB, peak {memory['VmHWM']:.1f} MiB")
    Upstream.gate.set()
    for connection, answer in streams:
        assert answer.read().endswith(b"data: [DONE]\n\n")
        connection.close()
    report_latency(upstream, port)
    process.terminate()
    process.wait(10)


if __name__ == "__main__":
    main()
