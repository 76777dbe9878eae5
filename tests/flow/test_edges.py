"""Where evhttp, left to itself, would lose, double or misjudge something."""

import os
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import CHAT, FlowTest, is_sanitized, main
from upstream import BOUND, JSON, early, fin, head, hold, nothing, repeat, reply, send, sse, wait

MIB = 1024 * 1024
ONE = b'data: {"choices":[{"delta":{"content":"one"}}]}\n\n'
OK = reply(200, b"{}", [JSON])
ONCE = {"profile.default": {"max_attempts": "1"}}
CREATE = "/v1/accounts/a/datasets"


def take(count, after=b""):
    """Reads so much of the request's body, slowly enough that it takes many reads; then sends."""
    def step(connection):
        left = count - len(connection.buffer)
        connection.sock.settimeout(BOUND)
        while left > 0:
            data = connection.sock.recv(min(left, 65536))
            if not data:
                raise AssertionError(f"the upload ended {left} bytes early")
            left -= len(data)
            time.sleep(0.002)      # the pace of this upstream, not a wait for something
        connection.buffer.clear()
        connection.send(after)
    return step


class Plain(FlowTest):
    def plain(self, script, config=None, **options):
        one_worker = {"server": {"workers": "1"}}
        for section, keys in (config or {}).items():
            one_worker.setdefault(section, {}).update(keys)
        self.launch(upstream=self.scripted(script, tls=None, **options), config=one_worker)


class Answers(Plain):
    def test_a_terminal_event_larger_than_what_is_held_is_terminal(self):
        event = b'event: response.completed\ndata: {"response":"' + b"x" * 100_000 + b'"}\n\n'
        self.plain([sse(event)])
        answer = self.start_stream("/v1/responses").read_head()
        self.assertEqual(answer.body, event)
        self.assert_end(answer)

    def test_a_connection_that_will_close_carries_no_other_request(self):
        for said in (b"HTTP/1.1 200 OK\r\nConnection: close, x-foo\r\n", b"HTTP/1.0 200 OK\r\n"):
            with self.subTest(said):
                gate = threading.Event()
                answer = [send(said + b"Content-Length: 2\r\n\r\n{}"), wait(gate), fin]
                self.plain(lambda request, answer=answer: answer)
                self.assert_status(self.post(CREATE), 200)
                self.assert_status(self.post(CREATE), 200)
                self.assertEqual([request.connection for request in self.upstream.requests], [0, 1])
                gate.set()

    def test_an_unknown_transfer_coding_is_no_empty_answer(self):
        coded = head(200, [("Transfer-Encoding", "gzip"), ("Connection", "keep-alive"), JSON]) + b"hello"
        self.plain([[send(coded), fin]], ONCE)
        self.assert_error(self.post(), 502, "http_protocol_error")

    def test_an_early_100_does_not_end_the_write_phase(self):
        size = 8 * MIB
        slow = [send(b"HTTP/1.1 100 Continue\r\n\r\n"), take(size), send(head(200, [JSON, ("Content-Length", "2")]) + b"{}")]
        self.plain([early(slow)], {"profile.default": {"max_attempts": "1", "write_timeout": "250ms", "first_byte_timeout": "10s"}})
        self.assert_status(self.post(body=bytes(size)), 200)

    def test_bytes_that_were_never_sent_are_not_counted(self):
        def reset_early(connection):
            connection._receive(None)
            connection.reset()
        self.plain([], ONCE, connections=[[reset_early]])
        answer = self.post(body=bytes(30 * MIB))
        self.assert_status(answer, 502)
        event = self.wait_event(event="attempt")
        self.assertEqual(event["phase"], "write")
        self.assertLess(event["bytes_out"], 20 * MIB)

    def test_a_held_error_goes_back_at_the_deadline(self):
        half = [send(head(500, [JSON, ("Content-Length", "100")]) + b'{"error"'), hold()]
        self.plain([half], {"profile.default": {"total_timeout": "400ms"}})
        answer = self.start_stream().read_head()
        self.assert_status(answer, 500)

    def test_a_dripped_error_body_does_not_hold_up_the_retry(self):
        gate = threading.Event()
        self.addCleanup(gate.set)

        def drip(connection):
            connection.send(head(503, [JSON, ("Content-Length", "1000000")]))
            while not gate.wait(0.2):
                connection.send(b"x")
        self.plain([[drip], OK])
        self.assert_status(self.post(), 200)

    def test_silence_of_an_old_stream_is_called_silence(self):
        self.plain([sse(ONE, hold())], {"profile.default": {"total_timeout": "300ms", "idle_timeout": "600ms"}})
        self.assertIn(b"idle_timeout", self.start_stream().read_head().body)


class Memory(Plain):
    def assert_bounded(self, before):
        if not is_sanitized():
            self.assertLess(self.andiron.memory("VmHWM") - before, 32 * MIB)

    def test_bytes_behind_a_waiting_request_are_bounded(self):
        self.plain([nothing()])
        client = self.connect()
        client.send_request("POST", "/v1/chat/completions", [], CHAT)
        self.upstream.wait_requests(1)
        before = self.andiron.memory()
        with self.assertRaises(OSError):
            for _ in range(200):
                client.send(bytes(MIB))
        self.assert_bounded(before)
        self.wait_event(event="request", error="client_closed")

    def test_an_answer_during_the_upload_is_bounded(self):
        flood = [send(head(200, [JSON, ("Content-Length", str(400 * MIB))])), repeat(bytes(MIB), 400)]
        self.plain([early(flood)], {"profile.default": {"max_attempts": "1", "write_timeout": "500ms"}})
        before = self.andiron.memory()
        self.post(body=bytes(40 * MIB))
        self.assertLess(self.andiron.memory("VmHWM") - before, (90 if not is_sanitized() else 600) * MIB)

    def test_a_refused_upload_is_not_kept(self):
        self.plain([OK], {"server": {"max_body": "64KiB"}})
        before = self.andiron.memory()
        client = self.connect()
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000000\r\n\r\n")
        try:
            for _ in range(280):
                client.send(bytes(MIB))
        except OSError:
            pass
        self.assert_bounded(before)


class Drains(Plain):
    def test_an_upload_that_has_begun_is_taken_in(self):
        self.plain([OK])
        client = self.connect()
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500)
        self.assert_status(self.request("GET", "/nowhere"), 404)     # the bytes above have been read, too
        self.andiron.signal()
        self.andiron.wait_line("draining")
        self.upstream.script.insert(0, OK)
        client.send(b"x" * 500)
        client.methods.append("POST")
        self.assert_status(client.read_head(), 200)
        self.assertEqual(self.andiron.wait_exit(), 0)


if __name__ == "__main__":
    main()
