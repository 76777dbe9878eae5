"""The admin listener: health, metrics, status, and who may see them (CONTRACT 3 and 5)."""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from client import Client, NoAnswer
from harness import BOUND, CHAT, COMPLETIONS, ROOT, Andiron, FlowTest, main
from upstream import JSON, reply, sse, wait

OK = reply(200, b'{"ok":true}', [JSON])
ONE = b'data: {"choices":[{"delta":{"content":"one"}}]}\n\n'
OVERLOAD = {"pacing": "on", "breaker": "on"}
PROMTOOL = shutil.which("promtool", path=f"{os.environ['PATH']}:{ROOT}/build-tools")
PAGES = ("/healthz", "/readyz", "/metrics", "/status", "/")
OPEN = ("/healthz", "/readyz", "/readyz?upstream", "/metrics")
PRIVATE = ("/status", "/")
TOKEN = "token-canary-0123456789abcdef"
SAMPLE = re.compile(r'^(\w+)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def parse(text):
    """The samples of a metrics page: {(name, ((label, value), ...)): number}."""
    samples = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, labels, number = SAMPLE.match(line).groups()
        key = (name, tuple(LABEL.findall(labels or "")))
        if key in samples:
            raise AssertionError(f"twice: {line}")
        samples[key] = float(number)
    return samples


class AdminTest(FlowTest):
    def start(self, script=lambda request: OK, upstream=None, **server):
        self.launch_admin(script, {"server": server}, upstream=upstream)

    def assert_page(self, path, status=200, headers=()):
        answer = self.ask_admin(path, headers)
        self.assertEqual(answer.status, status, f"{path}: {answer!r}")
        self.assertEqual(answer.end, "complete", repr(answer))
        self.assertEqual(answer.all("Cache-Control"), ["no-store"], repr(answer))
        return answer

    def assert_refused(self, answer, status, word=""):
        """An error in OpenAI's shape."""
        self.assertEqual(answer.status, status, repr(answer))
        self.assertEqual(answer.all("Content-Type"), ["application/json"], repr(answer))
        self.assertIn(word, answer.json()["error"]["message"])
        self.assertEqual(answer.all("Cache-Control"), ["no-store"], repr(answer))

    def metrics(self):
        return parse(self.assert_page("/metrics").body.decode())

    def value(self, name, **labels):
        """The sum of the samples of this name that have these labels."""
        found = [number for (sample, have), number in self.metrics().items()
                 if sample == name and set(labels.items()) <= set(have)]
        return sum(found)

    def assert_value(self, want, name, **labels):
        """It is so, or comes to be: a request is counted after its answer is out."""
        deadline = time.monotonic() + BOUND
        while (got := self.value(name, **labels)) != want and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual(got, want, (name, labels, self.metrics()))


class Pages(AdminTest):
    def test_each_says_what_it_is_for(self):
        self.start()
        self.assertEqual(self.assert_page("/healthz").body, b"ok\n")
        self.assertEqual(self.assert_page("/readyz").body, b"ready\n")
        self.assertEqual(self.assert_page("/readyz?upstream").body, b"ready\n")
        self.assertEqual(self.assert_page("/metrics").header("Content-Type"),
                         "text/plain; version=0.0.4; charset=utf-8")
        self.assertEqual(self.assert_page("/status").header("Content-Type"), "application/json")
        index = self.assert_page("/").body.decode()
        for path in PAGES[:-1]:
            self.assertIn(path, index)

    def test_a_query_changes_nothing(self):
        self.start()
        for path in PAGES:
            with self.subTest(path=path):
                self.assert_page(path + "?a=b&c")

    def test_head_has_the_same_head_and_no_body(self):
        self.start()
        for path in ("/healthz", "/", "/nothing"):
            with self.subTest(path=path):
                client = self.connect_admin()
                whole, head = client.request("GET", path), client.request("HEAD", path)
                self.assertEqual((head.status, head.headers), (whole.status, whole.headers))
                self.assertEqual(client.request("GET", path).body, whole.body)

    def test_an_unknown_path_is_told_which_there_are(self):
        self.start()
        for path in ("/nothing", "/healthz/", "/HEALTHZ", "//", "/v1/models", "/status.json"):
            with self.subTest(path=path):
                answer = self.ask_admin(path)
                self.assert_refused(answer, 404)
                for there in PAGES:
                    self.assertIn(f" {there}", answer.json()["error"]["message"])

    def test_pages_are_only_read(self):
        self.start()
        client = self.connect_admin()
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            with self.subTest(method=method):
                answer = client.request(method, "/status", body=b"x" * 100)
                self.assert_refused(answer, 405)
                self.assertEqual(answer.all("Allow"), ["GET, HEAD"])
        self.assertEqual(client.request("GET", "/healthz").status, 200)

    def test_http_1_0_and_absolute_targets(self):
        self.start()
        client = self.connect_admin()
        self.assertEqual(client.request("GET", "/healthz", version="HTTP/1.0").body, b"ok\n")
        self.assertEqual(client.read_end(), (b"", "cut"))
        self.assertEqual(self.ask_admin("http://localhost/healthz").body, b"ok\n")
        self.assert_refused(self.ask_admin("http://evil.example/healthz"), 403, "allow_hosts")

    def test_the_door_is_as_strict_as_the_proxys(self):
        self.start()
        for raw, status in ((b"GET /healthz HTTP/1.1\nHost: localhost\n\n", 400),
                            (b"GET /healthz HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
                            (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n a: b\r\n\r\n", 400),
                            (b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
                            (b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
                            (b"GET / HTTP/3.0\r\nHost: localhost\r\n\r\n", 505),
                            (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: %s\r\n\r\n"
                             % (b"a" * 20000), 431),
                            (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n",
                             413)):
            with self.subTest(raw=raw[:60]):
                client = self.connect_admin()
                client.send(raw)
                self.assertEqual(client.read_head().status, status)
        self.assert_page("/healthz")

    def test_many_connections_leave_the_proxys_alone(self):
        self.start(max_connections="2")
        held = [self.connect_admin() for _ in range(70)]
        refused = 0
        for client in held:
            try:
                refused += client.request("GET", "/healthz").status == 503
            except (NoAnswer, ConnectionError):
                refused += 1
        self.assertEqual(refused, 6)
        self.assert_status(self.post(), 200)

    def test_the_proxy_has_none_of_it(self):
        self.start()
        for path in PAGES:
            with self.subTest(path=path):
                self.assertEqual(self.request("GET", path).status, 404)

    def test_status_has_what_a_person_asks_for(self):
        self.start()
        status = self.assert_page("/status").json()
        self.assertEqual((status["draining"], status["workers"], status["max_connections"],
                          status["client_connections"]), (False, 2, 4096, 0))
        self.assertEqual((status["memory_used"], status["max_memory"]), (0, 1 << 30))
        self.assertGreaterEqual(status["uptime_s"], 0)
        self.assertTrue(status["version"])
        upstream, = status["upstreams"]
        self.assertEqual((upstream["name"], upstream["url"]), ("fireworks", self.upstream.url))
        self.assertEqual(set(upstream), {
            "name", "url", "in_flight", "max_in_flight", "waiting", "queue", "waiting_bytes",
            "queue_bytes", "path_lost", "next_probe_ms", "last_error", "retry_budget", "lanes"})

    def test_status_counts_what_runs(self):
        gate = threading.Event()
        self.start([[wait(gate)] + OK])
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [], CHAT)
        self.upstream.wait_requests(1)
        status = self.assert_page("/status").json()
        self.assertEqual(status["client_connections"], 1)
        self.assertGreaterEqual(status["memory_used"], len(CHAT))
        self.assert_value(1, "andiron_client_connections")
        gate.set()
        self.assert_status(client.read_head(), 200)


class Access(AdminTest):
    def test_loopback_names_pass(self):
        self.start()
        port = self.admin_address[1]
        for host in ("localhost", "LocalHost", f"localhost:{port}", "127.0.0.1",
                     f"127.0.0.1:{port}", "[::1]"):
            with self.subTest(host=host):
                self.assert_page("/status", 200, [("Host", host)])

    def test_other_names_do_not(self):
        self.start()
        for host in ("evil.example", f"evil.example:{self.admin_address[1]}",
                     "localhost.evil.example", "127.0.0.1.nip.io", "evillocalhost", "8.8.8.8",
                     "[2001:db8::1]"):
            for path in PAGES:
                with self.subTest(host=host, path=path):
                    self.assert_refused(self.ask_admin(path, [("Host", host)]), 403, "allow_hosts")

    def test_what_is_no_host_does_not_pass(self):
        self.start()
        for host in ("", "localhost, evil.example", "evil.example/localhost", "a@localhost",
                     "localhost:x"):
            with self.subTest(host=host):
                self.assertIn(self.ask_admin("/healthz", [("Host", host)]).status, (400, 403))

    def test_a_missing_or_second_host_does_not_pass(self):
        self.start()
        for hosts in (b"", b"Host: localhost\r\nHost: evil.example\r\n"):
            client = self.connect_admin()
            client.send(b"GET /healthz HTTP/1.1\r\n" + hosts + b"\r\n")
            self.assertEqual(client.read_head().status, 400)

    def test_allow_hosts_adds_names(self):
        self.start(allow_hosts="gateway.internal")
        self.assert_page("/healthz", 200, [("Host", "gateway.internal:8788")])
        self.assert_refused(self.ask_admin("/healthz", [("Host", "other.test")]), 403)

    def test_origins_and_other_sites_are_refused(self):
        self.start()
        for header in (("Origin", "https://evil.example"), ("Origin", "null"),
                       ("Origin", f"http://127.0.0.1:{self.admin_address[1]}"),
                       ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Site", "same-site")):
            for path in PAGES:
                with self.subTest(header=header, path=path):
                    self.assert_refused(self.ask_admin(path, [header]), 403, "allow_origins")

    def test_its_own_pages_pass(self):
        self.start()
        for header in (("Sec-Fetch-Site", "none"), ("Sec-Fetch-Site", "same-origin")):
            self.assert_page("/status", 200, [header])

    def test_a_listed_origin_may_read(self):
        self.start(allow_origins="https://app.example")
        answer = self.assert_page("/status", 200, [("Origin", "https://app.example")])
        self.assertEqual(answer.all("Access-Control-Allow-Origin"), ["https://app.example"])
        self.assert_refused(self.ask_admin("/status", [("Origin", "https://b.example")]), 403)


class Token(AdminTest):
    def start_with_token(self, **server):
        self.start(client_token_file=self.write("token", TOKEN), **server)
        self.admin_address = ("127.0.0.1", self.admin_address[1])

    def test_on_loopback_none_is_asked(self):
        self.start_with_token()
        self.assertEqual(self.post().status, 401)
        for path in OPEN + PRIVATE:
            self.assert_page(path)

    def test_beyond_loopback_it_opens_what_is_private(self):
        self.start_with_token(admin="0.0.0.0:0")
        for path in OPEN:
            self.assert_page(path)
        for path in PRIVATE:
            for headers in ((), [("X-Andiron-Token", "wrong")],
                            [("Authorization", f"Basic {TOKEN}")],
                            [("Authorization", "Bearer ")], [("x-api-key", TOKEN)]):
                with self.subTest(path=path, headers=headers):
                    answer = self.ask_admin(path, headers)
                    self.assert_refused(answer, 401, "client_token_file")
                    self.assertTrue(answer.header("WWW-Authenticate"))
            self.assert_page(path, 200, [("X-Andiron-Token", TOKEN)])
            self.assert_page(path, 200, [("Authorization", f"Bearer {TOKEN}")])

    def test_beyond_loopback_names_are_still_checked(self):
        self.start_with_token(admin="0.0.0.0:0")
        for path in OPEN:
            self.assert_refused(self.ask_admin(path, [("Host", "evil.example")]), 403)

    def test_of_all_addresses_the_one_that_was_asked_passes(self):
        self.start_with_token(admin="0.0.0.0:0")
        self.admin_address = ("127.0.0.2", self.admin_address[1])
        self.assert_page("/healthz")


class Drain(AdminTest):
    def test_readyz_says_so_until_the_end(self):
        gate = threading.Event()
        self.start([[wait(gate)] + OK])
        kept = self.connect_admin()
        self.assertEqual(kept.request("GET", "/readyz").status, 200)
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [], CHAT)
        self.upstream.wait_requests(1)
        self.andiron.signal()
        self.andiron.wait_line("draining")
        self.assertEqual(self.assert_page("/readyz", 503).body, b"draining\n")
        self.assertEqual(self.assert_page("/readyz?upstream", 503).body, b"draining\n")
        self.assertEqual(kept.request("GET", "/readyz").status, 503)
        self.assert_page("/healthz")
        self.assertTrue(self.assert_page("/status").json()["draining"])
        self.wait_refused()
        gate.set()
        self.assert_status(client.read_head(), 200)
        self.assertEqual(self.andiron.wait_exit(), 0, self.andiron.stderr())

    def test_who_takes_no_answer_does_not_hold_it_up(self):
        self.start()
        client = Client(self.admin_address, bound=BOUND, receive_buffer=4096)
        self.addCleanup(client.fin)
        client.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
        half = self.connect_admin()
        half.send(b"GET /metrics HTTP/1.1\r\nHo")
        self.assert_page("/healthz")
        self.andiron.signal()
        self.assertEqual(self.andiron.wait_exit(), 0, self.andiron.stderr())


class Secrets(AdminTest):
    CLIENT = "fw_canaryClient9876543210abc"
    CONFIGURED = "fw_canaryConfigured0123456789"

    def assert_secret(self, path, headers=()):
        answer = self.ask_admin(path, headers)
        said = str(answer.headers) + answer.body.decode()
        for secret in (self.CLIENT, self.CONFIGURED, TOKEN):
            self.assertNotIn(secret, said, path)

    def test_no_page_has_a_key(self):
        keys = [("Authorization", f"Bearer {self.CLIENT}"), ("X-Andiron-Token", TOKEN)]
        echo = lambda request: reply(401, f"key {self.CONFIGURED} {self.CLIENT}".encode())
        self.launch_admin(echo, {
            "server": {"client_token_file": self.write("token", TOKEN)},
            "upstream.fireworks": {"api_key_file": self.write("key", self.CONFIGURED)}})
        self.assert_status(self.post(headers=keys), 401)
        self.post(f"/v1/models?api_key={self.CLIENT}", headers=keys)
        self.post(headers=[("Authorization", f"Bearer {self.CLIENT}")])
        for path in PAGES + ("/nothing", "/readyz?upstream", f"/x?api_key={self.CLIENT}"):
            self.assert_secret(path)
            self.assert_secret(path, keys)
            self.assert_secret(path, keys + [("Origin", "null")])

    def test_a_key_for_a_model_is_masked(self):
        self.launch_admin(lambda request: reply(429, headers=[("Retry-After", "5")]),
                          {"upstream.fireworks": OVERLOAD})
        body = CHAT.replace(b"accounts/fireworks/models/m", self.CLIENT.encode())
        self.connect().send_request("POST", COMPLETIONS, [], body)
        self.upstream.wait_requests(1)
        deadline = time.monotonic() + BOUND
        while not self.value("andiron_pace") and time.monotonic() < deadline:
            time.sleep(0.01)
        for path, start in (("/status", '"name":"'), ("/metrics", 'lane="')):
            self.assertIn(start + "fw_****", self.assert_page(path).body.decode())
            self.assert_secret(path)


class Metrics(AdminTest):
    def families(self):
        table = pathlib.Path(ROOT, "src", "base", "metrics.def").read_text(encoding="utf-8")
        return dict((name, kind.lower()) for kind, name in
                    re.findall(r'^METRIC\(METRIC_\w+, (\w+), "(\w+)"', table, re.MULTILINE))

    def test_every_family_is_there_from_the_start(self):
        self.start()
        page = self.assert_page("/metrics").body.decode()
        self.assertEqual(dict(re.findall(r"^# TYPE (\w+) (\w+)$", page, re.MULTILINE)),
                         self.families())
        self.assertEqual(len(self.families()), 18)
        self.assertEqual(len(re.findall(r"^# HELP \w+ \S", page, re.MULTILINE)), 18)
        for name in ("andiron_client_connections", "andiron_log_dropped_total",
                     "andiron_request_duration_seconds_count", "andiron_first_byte_seconds_sum"):
            self.assertIn((name, ()), parse(page))
        self.assert_value(1, "andiron_build_info")

    @unittest.skipUnless(PROMTOOL, "there is no promtool")
    def test_promtool_has_nothing_to_say(self):
        self.start([reply(503), OK, reply(400)])
        for asked in range(3):
            page = self.assert_page("/metrics").body
            done = subprocess.run([PROMTOOL, "check", "metrics"], input=page, timeout=BOUND,
                                  capture_output=True, check=False)
            self.assertEqual((done.returncode, done.stdout + done.stderr), (0, b""))
            self.post()

    def test_a_request_that_goes_well(self):
        self.start()
        self.assert_status(self.post(), 200)
        self.assert_value(1, "andiron_requests_total", upstream="fireworks", route="none",
                          profile="default", code="200")
        self.assert_value(1, "andiron_attempts_total", upstream="fireworks", code="200")
        for name in ("request_duration", "first_byte", "added_latency"):
            self.assert_value(1, f"andiron_{name}_seconds_count")
        for phase in ("connect", "tls"):
            self.assert_value(1, "andiron_connect_seconds_count", phase=phase)
        for name in ("andiron_attempt_failures_total", "andiron_retries_total",
                     "andiron_retries_refused_total"):
            self.assert_value(0, name)
        self.assert_value(1, "andiron_upstream_connections", upstream="fireworks", state="idle")
        self.assert_value(0, "andiron_upstream_connections", upstream="fireworks", state="busy")

    def test_connections_are_busy_idle_and_gone(self):
        gate = threading.Event()
        self.launch_admin([[wait(gate)] + OK], {"upstream.fireworks": {"pool_idle": "1s"}})
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [], CHAT)
        self.upstream.wait_requests(1)
        self.assert_value(1, "andiron_upstream_connections", state="busy")
        gate.set()
        self.assert_status(client.read_head(), 200)
        self.assert_value(1, "andiron_upstream_connections", state="idle")
        self.assert_value(0, "andiron_upstream_connections", state="busy")
        self.assert_value(0, "andiron_upstream_connections")    # after pool_idle
        self.assert_value(1, "andiron_client_connections")
        client.fin()
        self.assert_value(0, "andiron_client_connections")

    def test_a_kept_connection_is_not_connected_again(self):
        self.launch_admin(lambda request: OK, {"server": {"workers": "1"}})
        self.assert_status(self.post(), 200)
        self.assert_status(self.post(), 200)
        self.assert_seen(2)
        self.assert_value(2, "andiron_first_byte_seconds_count")
        self.assert_value(1, "andiron_connect_seconds_count", phase="tls")

    def test_a_retry(self):
        self.start([reply(503), OK])
        self.assert_status(self.post(), 200)
        self.assert_value(1, "andiron_requests_total", code="200")
        self.assert_value(1, "andiron_requests_total")
        self.assert_value(1, "andiron_attempts_total", code="503")
        self.assert_value(1, "andiron_attempts_total", code="200")
        self.assert_value(2, "andiron_attempts_total")
        self.assert_value(1, "andiron_attempt_failures_total", phase="body",
                          error="upstream_status", dashboard="visible")
        self.assert_value(1, "andiron_retries_total", upstream="fireworks", reason="status")
        self.assert_value(0, "andiron_retries_refused_total")
        self.assertGreaterEqual(self.value("andiron_added_latency_seconds_sum"), 0.01)

    def test_a_retry_that_is_refused(self):
        self.start(lambda request: reply(503))
        self.assert_status(self.post(headers=[("X-Andiron-Max-Attempts", "1")]), 503)
        self.assert_value(1, "andiron_requests_total", code="503")
        self.assert_value(1, "andiron_retries_refused_total", reason="attempts")
        self.assert_value(1, "andiron_retries_refused_total")
        self.assert_value(0, "andiron_retries_total")

    def test_what_is_final_was_not_refused(self):
        self.start(lambda request: reply(400))
        self.assert_status(self.post(), 400)
        self.assert_value(1, "andiron_attempt_failures_total", error="upstream_status")
        self.assert_value(0, "andiron_retries_refused_total")

    def test_an_upstream_that_refuses(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.launch_admin(OK, {"upstream.fireworks": {
                "url": f"https://127.0.0.1:{free.getsockname()[1]}"}})
            answer = self.post(headers=[("X-Andiron-Max-Attempts", "2")])
        self.assert_status(answer, 502)
        self.assert_value(1, "andiron_requests_total", code="502")
        self.assert_value(2, "andiron_attempts_total", code="connection_refused")
        self.assert_value(2, "andiron_attempt_failures_total", phase="connect",
                          error="connection_refused", dashboard="invisible")
        self.assert_value(1, "andiron_retries_total", reason="connection")
        self.assert_value(1, "andiron_retries_refused_total", reason="attempts")
        self.assert_value(0, "andiron_first_byte_seconds_count")
        self.assert_value(0, "andiron_upstream_connections")

    def test_a_stream_that_breaks_is_one_attempt(self):
        self.start([sse(ONE)])
        answer = self.start_stream().read_head()
        self.assertIn(b"stream_truncated", answer.body)
        self.assert_value(1, "andiron_requests_total", code="200")
        self.assert_value(1, "andiron_attempts_total")
        self.assert_value(1, "andiron_attempts_total", code="200")
        self.assert_value(1, "andiron_attempt_failures_total", error="stream_truncated")
        self.assert_value(1, "andiron_first_byte_seconds_count")

    def test_a_client_that_leaves(self):
        gate = threading.Event()
        self.start([[wait(gate)] + OK])
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [], CHAT)
        self.upstream.wait_requests(1)
        client.fin()
        self.assert_value(1, "andiron_requests_total", code="client_closed")
        self.assert_value(1, "andiron_attempts_total", code="client_closed")
        self.assert_value(1, "andiron_attempt_failures_total", phase="client",
                          error="client_closed", dashboard="unknown")
        self.assert_value(0, "andiron_upstream_connections")
        gate.set()

    def test_what_goes_to_no_upstream(self):
        self.start()
        self.assert_status(self.request("GET", "/nothing"), 404)
        self.assert_value(1, "andiron_requests_total", upstream="none", route="none",
                          profile="none", code="404")
        self.assert_value(0, "andiron_attempts_total")
        self.assert_value(0, "andiron_added_latency_seconds_count")

    def test_a_route_has_its_name(self):
        self.launch_admin(lambda request: OK, {
            "route.agents": {"path": "*/chat/*", "profile": "agentic"}})
        self.assert_status(self.post(), 200)
        self.assert_value(1, "andiron_requests_total", route="agents", profile="agentic")

    def test_all_workers_are_summed(self):
        self.start(workers="4")
        for _ in range(24):
            self.assert_status(self.post(), 200)
        self.assert_value(24, "andiron_requests_total", code="200")
        self.assert_value(24, "andiron_request_duration_seconds_bucket", le="+Inf")


class Hedges(AdminTest):
    def test_the_loser_and_the_winner_count(self):
        gate = threading.Event()
        self.launch_admin([[wait(gate)] + reply(503), [wait(gate)] + reply(503), OK], {
            "profile.default": {"hedge_after": "50ms"}})
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [], CHAT)
        self.upstream.wait_requests(2)
        gate.set()
        self.assert_status(client.read_head(), 200)
        self.assert_value(2, "andiron_attempts_total", code="503")
        self.assert_value(1, "andiron_attempts_total", code="200")
        self.assert_value(2, "andiron_attempt_failures_total")
        self.assert_value(1, "andiron_requests_total")


class Outages(AdminTest):
    """What the pages say of an upstream that andiron holds requests back from."""

    def send(self, count):
        """Requests whose answers nobody waits for."""
        for _ in range(count):
            self.connect().send_request("POST", COMPLETIONS, [], CHAT)

    def wait_for(self, fits):
        """The upstream's part of /status, once it is as wanted."""
        deadline = time.monotonic() + BOUND
        while time.monotonic() < deadline:
            upstream, = self.assert_page("/status").json()["upstreams"]
            if fits(upstream):
                return upstream
            time.sleep(0.01)
        self.fail(f"it does not come to that: {upstream}")

    def test_a_lost_path(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.launch_admin(OK, {"upstream.fireworks": {
                "url": f"https://127.0.0.1:{free.getsockname()[1]}", **OVERLOAD}})
            self.assert_page("/readyz?upstream")
            self.send(4)
            upstream = self.wait_for(lambda upstream: upstream["path_lost"])
            self.assertIn("connection_refused", upstream["last_error"])
            answer = self.assert_page("/readyz?upstream", 503)
            self.assertIn(b"upstream fireworks", answer.body)
            self.assertIn(b"connection_refused", answer.body)
            self.assert_page("/readyz")
            self.assertGreaterEqual(self.value("andiron_breaker_open", upstream="fireworks"), 1)

    def test_a_closed_lane(self):
        self.launch_admin(lambda request: reply(503), {"upstream.fireworks": OVERLOAD})
        self.assert_value(0, "andiron_breaker_open")
        self.send(4)
        upstream = self.wait_for(lambda upstream: any(
            lane["paused"] and lane["waiting"] and lane["failed_probes"]
            for lane in upstream["lanes"]))
        lane, = upstream["lanes"]
        self.assertRegex(lane["name"], r"^accounts/fireworks/models/m [0-9a-f]{8}$")
        self.assertIn("503", lane["last_error"])
        self.assertFalse(upstream["path_lost"])
        self.assert_value(1, "andiron_breaker_open")
        self.assertGreaterEqual(self.value("andiron_queue_length", upstream="fireworks"), 1)

    def test_a_pace(self):
        self.launch_admin(lambda request: reply(429, headers=[("Retry-After", "5")]),
                          {"upstream.fireworks": OVERLOAD})
        self.send(2)
        upstream = self.wait_for(lambda upstream: upstream["lanes"]
                                 and upstream["lanes"][0]["closed_for_ms"])
        lane, = upstream["lanes"]
        self.assertGreater(lane["closed_for_ms"], 0)
        self.assertGreater(lane["pace"], 0)
        self.assertGreater(self.value("andiron_pace", lane=lane["name"]), 0)

    def test_what_is_in_flight(self):
        gate = threading.Event()
        self.start(lambda request: [wait(gate)] + OK)
        self.send(2)
        self.upstream.wait_requests(2)
        self.assert_value(2, "andiron_in_flight", upstream="fireworks")
        upstream = self.wait_for(lambda upstream: upstream["in_flight"] == 2)
        self.assertEqual(upstream["lanes"][0]["in_flight"], 2)
        gate.set()
        self.assert_value(0, "andiron_in_flight")


class Listening(AdminTest):
    def occupy(self, port=0):
        taken = socket.socket()
        self.addCleanup(taken.close)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        deadline = time.monotonic() + BOUND
        while True:
            try:
                taken.bind(("127.0.0.1", port))     # another test may have it for a moment
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        taken.listen()
        return f"127.0.0.1:{taken.getsockname()[1]}"

    def assert_ends(self, admin, config, arguments=(), env=None):
        self.upstream = self.scripted()
        path = self.write_config(config)
        self.andiron = Andiron(["run", "-c", path, *arguments], env)
        self.andiron.expected = 69
        self.addCleanup(self.andiron.stop)
        self.assertEqual(self.andiron.wait_exit(), 69, self.andiron.stderr())
        self.assertIn(f"cannot listen on {admin}", self.andiron.stderr())
        self.assertIn("Address already in use", self.andiron.stderr())
        self.assertIn("--admin", self.andiron.stderr())

    def test_a_written_address_in_use_is_the_end(self):
        admin = self.occupy()
        self.assert_ends(admin, {"server": {"admin": admin}})
        self.assert_ends(admin, None, ["--admin", admin])
        self.assert_ends(admin, {"server": {"admin": None}}, env={"ANDIRON_SERVER_ADMIN": admin})

    def test_of_the_default_only_a_warning(self):
        admin = self.occupy(8788)
        self.launch(lambda request: OK, {"server": {"admin": None}})
        self.andiron.wait_line(f"admin listener is off.*{admin}.*Address already in use")
        self.assert_status(self.post(), 200)
        self.assertNotIn("admin on", self.andiron.stderr())

    def test_off_is_none(self):
        self.launch(lambda request: OK, {"server": {"admin": "off"}})
        self.assert_status(self.post(), 200)
        self.assertNotIn("admin", self.andiron.stderr())

    def test_it_is_said_behind_the_proxys_address(self):
        self.start()
        lines = self.andiron.stderr().splitlines()
        listening, = [i for i, line in enumerate(lines) if "listening on" in line]
        self.assertRegex(lines[listening + 1], r"admin on http://127\.0\.0\.1:[1-9][0-9]*$")

    def test_the_flag_beats_the_file(self):
        self.launch(lambda request: OK, {"server": {"admin": "off"}},
                    arguments=["--admin", "[::1]:0"])
        self.admin_address = self.andiron.wait_admin()
        self.assertEqual(self.admin_address[0], "::1")
        self.assert_page("/healthz")


if __name__ == "__main__":
    main()
