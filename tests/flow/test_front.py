"""The front door: browsers that may, the client token, Unix sockets (CONTRACT 2, 3 Security)."""

import os
import signal
import stat
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from certs import authority
from harness import BOUND, CHAT, COMPLETIONS, FlowTest, main, run_andiron
from upstream import JSON, fin, reply, sse, wait

OK = reply(200, b'{"ok":true}', [JSON])
APP = "https://app.example"
OTHER = "http://localhost:5173"
ORIGIN = ("Origin", APP)
TOKEN = "canarytoken-0123456789"
KEY = "fw_canaryfile0123456789"
NOBODY = 65534


def only_root(test):
    return unittest.skipUnless(os.geteuid() == 0, "needs root: another user connects")(test)


class FrontTest(FlowTest):
    def start(self, answers=None, upstream_keys=None, env=None, **server):
        script = answers if answers is not None else lambda request: OK
        self.launch(script, {"server": server, "upstream.fireworks": upstream_keys or {}}, env)

    def get(self, *headers, path="/v1/models"):
        return self.request("GET", path, list(headers))

    def assert_readable(self, answer, origin=APP):
        """A browser lets this origin's page read it; each field is there once."""
        self.assertEqual(answer.all("Access-Control-Allow-Origin"), [origin], repr(answer))
        self.assertEqual(len(answer.all("Access-Control-Expose-Headers")), 1, repr(answer))
        self.assertIn("origin", ",".join(answer.all("Vary")).lower(), repr(answer))
        self.assertEqual(answer.all("Access-Control-Allow-Credentials"), [], repr(answer))

    def assert_unreadable(self, answer):
        said = [name for name, _ in answer.headers if name.lower().startswith("access-control-")]
        self.assertEqual(said, [], repr(answer))


class Origins(FrontTest):
    def test_a_listed_origin_passes_and_can_read(self):
        self.start(allow_origins=f"{OTHER} {APP}")
        for origin in (APP, OTHER):
            for site in ("cross-site", "same-site", "same-origin", "none"):
                with self.subTest(origin=origin, site=site):
                    answer = self.get(("Origin", origin), ("Sec-Fetch-Site", site))
                    self.assert_status(answer, 200)
                    self.assert_readable(answer, origin)

    def test_an_sdk_in_a_page_reads_what_it_needs(self):
        self.start([reply(200, b"{}", [JSON, ("X-RateLimit-Limit-Requests", "6"),
                                       ("fireworks-prompt-tokens", "7"), ("X-Else", "8")])],
                   allow_origins=APP)
        exposed = self.get(ORIGIN).header("Access-Control-Expose-Headers").lower().split(", ")
        for name in ("x-request-id", "x-andiron-attempts", "x-andiron-source", "retry-after",
                     "server-timing", "proxy-status", "x-ratelimit-limit-requests",
                     "fireworks-prompt-tokens"):
            self.assertIn(name, exposed)
        self.assertNotIn("x-else", exposed)

    def test_no_other_origin_does(self):
        self.start(allow_origins=f"{APP} {OTHER}")
        for origin in ("https://app.example:8443", "http://app.example", "https://app.exampl",
                       "https://app.example.evil.example", "https://APP.example", "null", "",
                       f"{APP} {OTHER}", f"{APP}, {OTHER}", APP + "/", "*"):
            with self.subTest(origin=origin):
                answer = self.get(("Origin", origin))
                self.assertIn("allow_origins", self.assert_error(answer, 403)["message"])
                self.assert_unreadable(answer)
        answer = self.get(ORIGIN, ("Origin", OTHER))
        self.assert_error(answer, 403)
        self.assert_unreadable(answer)
        self.assert_seen(0)

    def test_the_host_is_judged_all_the_same(self):
        """A page of that origin can be on a name that was rebound."""
        self.start(allow_origins=APP)
        self.assert_error(self.get(ORIGIN, ("Host", "app.example")), 403)
        self.assert_error(self.get(ORIGIN, ("Host", "a/b")), 400)
        self.assert_seen(0)

    def test_across_sites_only_with_the_origin(self):
        self.start(allow_origins=APP)
        for site in ("cross-site", "same-site"):
            self.assert_error(self.get(("Sec-Fetch-Site", site)), 403)
        self.assert_seen(0)

    def test_an_upstreams_own_fields_are_replaced(self):
        theirs = [JSON, ("Access-Control-Allow-Origin", "*"), ("access-control-allow-origin", "x"),
                  ("Access-Control-Allow-Credentials", "true"),
                  ("Access-Control-Expose-Headers", "X-Theirs"), ("Vary", "Accept-Encoding")]
        self.start(lambda request: reply(200, b"{}", theirs), allow_origins=APP)
        answer = self.get(ORIGIN)
        self.assert_readable(answer)
        self.assertNotIn("Theirs", answer.header("Access-Control-Expose-Headers"))
        self.assertEqual(answer.all("Vary"), ["Accept-Encoding", "Origin"])
        self.assert_unreadable(self.get())

    def test_vary_is_not_said_twice(self):
        vary = iter(["origin", "Accept, Origin", "*"])
        self.start(lambda request: reply(200, b"{}", [("Vary", next(vary))]), allow_origins=APP)
        for said in ("origin", "Accept, Origin", "*"):
            self.assertEqual(self.get(ORIGIN).all("Vary"), [said])

    def test_without_the_key_an_upstreams_leave_does_not_count(self):
        self.start([reply(200, b"{}", [("Access-Control-Allow-Origin", "*")])])
        self.assert_unreadable(self.get())

    def test_a_page_without_origin_gets_no_fields(self):
        self.start(allow_origins=APP)
        answer = self.get()
        self.assert_status(answer, 200)
        self.assert_unreadable(answer)


class Errors(FrontTest):
    """andiron's own errors can be read by the page, too."""

    def test_those_of_a_request(self):
        self.start([reply(400, b'{"error":{"message":"x"}}', [JSON]), [fin]], allow_origins=APP)
        for path, headers, status in (("/nowhere", [], 404),
                                      ("/v1/models", [("X-Andiron-Profile", "no")], 400),
                                      ("/v1/models", [], 400),
                                      ("/v1/models", [("X-Andiron-Max-Attempts", "1")], 502)):
            with self.subTest(path=path, status=status):
                answer = self.get(ORIGIN, *headers, path=path)
                self.assert_status(answer, status)
                self.assert_readable(answer)

    def refused(self, data, status):
        client = self.connect()
        client.send(data)
        answer = client.read_head()
        _ = answer.body
        self.assert_status(answer, status)
        self.assert_readable(answer)

    def test_those_of_the_guard(self):
        self.start(allow_origins=APP, max_body="1KiB", max_header="1KiB", header_timeout="200ms")
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nOrigin: {APP}\r\n".encode()
        rows = ((b"Content-Length: 2000\r\n\r\n", 413),
                (b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n", 400),
                (b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
                (b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
                (b"X: 1\r\nno field\r\n\r\n", 400),
                (b"X-Long: " + b"x" * 2000 + b"\r\n\r\n", 431),
                (b"Content-Length: 10\r\n\r\nhalf", 408),
                (b"X: 1\r\nX-Half", 408))
        for rest, status in rows:
            with self.subTest(rest=rest[:60], status=status):
                self.refused(head + rest, status)
        self.refused(head.replace(b"POST", b"BREW") + b"\r\n", 501)
        self.refused(head.replace(b"POST", b"TRACE") + b"\r\n", 405)
        self.assert_seen(0)

    def test_the_guards_to_others_stay_unreadable(self):
        self.start(allow_origins=APP, max_header="1KiB")
        for origin in ("https://evil.example", f"{APP}\r\nOrigin: {OTHER}"):
            client = self.connect()
            client.send(f"GET / HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\nX: ".encode() + b"x" * 2000)
            answer = client.read_head()
            self.assert_status(answer, 431)
            self.assert_unreadable(answer)

    def test_when_memory_is_full(self):
        self.start(allow_origins=APP, max_memory="1MiB", max_body="8MiB")
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [ORIGIN, ("Content-Length", "2000000")])
        answer = client.read_head()
        self.assert_error(answer, 503)
        self.assert_readable(answer)

    def test_the_early_head_of_a_patient_stream(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.start([[wait(gate)] + sse(b"data: [DONE]\n\n")], allow_origins=APP)
        client = self.start_stream(headers=[ORIGIN, ("X-Stainless-Timeout", "2")])
        answer = client.read_head()
        answer.read_until(b": andiron: attempt")
        self.assert_status(answer, 200)
        self.assert_readable(answer)
        gate.set()
        self.assertIn(b"[DONE]", answer.body)
        self.assert_end(answer)


class Preflight(FrontTest):
    def ask(self, *headers, path=COMPLETIONS, method="POST", origin=APP):
        return self.request("OPTIONS", path, [
            ("Origin", origin), ("Access-Control-Request-Method", method)] + list(headers))

    def test_is_answered_here(self):
        self.start(allow_origins=APP)
        answer = self.ask(("Access-Control-Request-Headers", "authorization,content-type"))
        self.assert_status(answer, 204)
        self.assert_readable(answer)
        self.assertEqual(answer.reason, "No Content")
        self.assertEqual(answer.all("Access-Control-Allow-Headers"), ["authorization, content-type"])
        self.assertEqual(answer.all("Access-Control-Max-Age"), ["600"])
        for method in ("GET", "POST", "DELETE", "PATCH"):
            self.assertIn(method, answer.header("Access-Control-Allow-Methods").split(", "))
        self.assertEqual(answer.all("Vary"), ["Origin, Access-Control-Request-Method, "
                                              "Access-Control-Request-Headers, "
                                              "Access-Control-Request-Private-Network"])
        for absent in ("Content-Length", "Transfer-Encoding", "Content-Type", "Content-Encoding"):
            self.assertEqual(answer.all(absent), [], absent)
        self.assertEqual(answer.body, b"")
        self.assert_seen(0)

    def test_is_no_error_in_the_log(self):
        self.start(allow_origins=APP)
        self.assert_status(self.ask(), 204)
        event = self.wait_event(event="request", status=204)
        self.assertEqual((event["level"], event.get("error")), ("info", None))

    def test_leaves_the_connection_in_order(self):
        self.start(allow_origins=APP)
        client = self.connect()
        for _ in range(3):
            answer = client.request("OPTIONS", COMPLETIONS, [
                ORIGIN, ("Access-Control-Request-Method", "POST")])
            self.assert_status(answer, 204)
            self.assert_status(client.request("POST", COMPLETIONS, [ORIGIN], CHAT), 200)
        self.assert_seen(3)

    def test_allows_only_names(self):
        self.start(allow_origins=APP)
        answer = self.ask(("Access-Control-Request-Headers", "x-a,x b, (c) ,,x-d\t, x:e, X-F"))
        self.assertEqual(answer.all("Access-Control-Allow-Headers"), ["x-a, x-d, X-F"])
        self.assertEqual(self.ask().all("Access-Control-Allow-Headers"), [])

    def test_a_private_network_where_it_is_asked_for(self):
        self.start(allow_origins=APP)
        name = "Access-Control-Allow-Private-Network"
        self.assertEqual(self.ask().all(name), [])
        asked = self.ask(("Access-Control-Request-Private-Network", "true"))
        self.assertEqual(asked.all(name), ["true"])

    def test_asks_for_no_path_and_no_token(self):
        self.start(allow_origins=APP, client_token_file=self.write("token", TOKEN))
        self.assert_status(self.ask(path="/nowhere"), 204)
        self.assert_status(self.ask(), 204)

    def test_of_others_is_refused(self):
        self.start(allow_origins=APP)
        for origin, headers in (("https://evil.example", []), ("null", []),
                                (APP, [("Host", "evil.example")])):
            answer = self.ask(*headers, origin=origin)
            self.assert_error(answer, 403)
            self.assertEqual(answer.all("Access-Control-Allow-Methods"), [])
        self.assert_seen(0)

    def test_other_options_go_on(self):
        """Without the question, or without an Origin, it is a request like any other."""
        self.start(allow_origins=APP)
        self.assert_status(self.request("OPTIONS", "/v1/models", [ORIGIN]), 200)
        self.assert_status(self.request("OPTIONS", "/v1/models", [
            ("Access-Control-Request-Method", "POST")]), 200)
        self.assert_seen(2)


class Token(FrontTest):
    def start(self, keyed=False, **options):
        keys = {"api_key_file": self.write("key", KEY)} if keyed else {}
        super().start(upstream_keys=keys, client_token_file=self.write("token", TOKEN + "\n"),
                      **options)

    def assert_unknown(self, *headers, path="/v1/models"):
        answer = self.get(*headers, path=path)
        self.assertIn("client_token_file", self.assert_error(answer, 401)["message"])
        self.assertTrue(answer.header("WWW-Authenticate").startswith("Bearer"), repr(answer))
        self.assertEqual(answer.reason, "Unauthorized")
        self.assertNotIn(TOKEN, str(answer.headers) + str(answer.body))
        return answer

    def assert_secret(self):
        """No request that came through, and no line that was written, has the token."""
        for request in self.upstream.requests:
            self.assertNotIn(TOKEN, str(request.headers))
        self.andiron.stop()
        with open(self.events_path) as log:
            self.assertNotIn(TOKEN, log.read())
        self.assertNotIn(TOKEN, self.andiron.stderr())

    def test_is_asked_for(self):
        self.start(keyed=True)
        wrong = ["", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), TOKEN + ", " + TOKEN, "Bearer " + TOKEN]
        self.assert_unknown()
        for text in wrong:
            with self.subTest(text=text):
                self.assert_unknown(("X-Andiron-Token", text))
        for text in wrong[:-1] + ["", "x"]:
            self.assert_unknown(("Authorization", "Bearer " + text))
        for name, value in (("Authorization", TOKEN), ("Authorization", "Basic " + TOKEN),
                            ("x-api-key", TOKEN), ("Cookie", "token=" + TOKEN)):
            self.assert_unknown((name, value))
        self.assert_unknown(path="/v1/models?token=" + TOKEN)
        self.assert_seen(0)
        self.assert_secret()

    def test_in_its_own_header(self):
        self.start()
        answer = self.get(("x-andiron-token", TOKEN), ("Authorization", "Bearer fw_mine"))
        self.assert_status(answer, 200)
        self.assertEqual(self.upstream.requests[0].header("Authorization"), "Bearer fw_mine")
        self.assert_secret()

    def test_as_the_sdks_key(self):
        self.start(keyed=True)
        for scheme in ("Bearer ", "bearer ", "BEARER   "):
            self.assert_status(self.get(("Authorization", scheme + TOKEN)), 200)
            self.assertEqual(self.upstream.requests[-1].all("Authorization"), ["Bearer " + KEY])
        self.assert_status(self.get(("X-Andiron-Token", TOKEN)), 200)
        self.assert_status(self.get(("X-Andiron-Token", TOKEN), ("x-api-key", TOKEN)), 200)
        self.assertEqual(self.upstream.requests[-1].all("Authorization"), ["Bearer " + KEY])
        self.assert_secret()

    def test_not_where_the_clients_key_goes_through(self):
        self.start()
        self.assert_unknown(("Authorization", "Bearer " + TOKEN))
        self.andiron.stop()
        self.start(env={"FIREWORKS_API_KEY": KEY})
        self.assert_unknown(("Authorization", "Bearer " + TOKEN))
        self.assert_seen(0)

    def test_is_never_forwarded_as_a_key(self):
        """A client that shows it in both ways has no key of its own."""
        both = [("X-Andiron-Token", TOKEN), ("Authorization", "Bearer fw_mine"),
                ("Authorization", "Bearer " + TOKEN), ("x-api-key", TOKEN),
                ("Authorization", TOKEN)]
        self.start()
        self.assert_status(self.get(*both), 200)
        self.assertEqual(self.upstream.requests[0].all("Authorization"), ["Bearer fw_mine"])
        self.assertEqual(self.upstream.requests[0].all("x-api-key"), [])
        self.assert_secret()
        self.start(env={"FIREWORKS_API_KEY": KEY})
        self.assert_status(self.get(("X-Andiron-Token", TOKEN), ("Authorization", "Bearer " + TOKEN)), 200)
        self.assertEqual(self.upstream.requests[0].all("Authorization"), ["Bearer " + KEY])
        self.assert_secret()

    def test_of_two_upstreams_only_where_the_key_is_replaced(self):
        keyed = self.scripted(lambda request: OK)
        self.launch(lambda request: OK, {
            "server": {"client_token_file": self.write("token", TOKEN)},
            "upstream.keyed": {"url": keyed.url, "ca_file": authority().ca,
                               "api_key_file": self.write("key", KEY)},
            "route.keyed": {"path": "*/completions", "upstream": "keyed"}})
        bearer = ("Authorization", "Bearer " + TOKEN)
        self.assert_status(self.post(headers=[bearer]), 200)
        self.assertEqual(keyed.requests[0].all("Authorization"), ["Bearer " + KEY])
        self.assert_unknown(bearer)
        self.assert_status(self.get(bearer, ("X-Andiron-Token", TOKEN)), 200)
        self.assertEqual(self.upstream.requests[0].all("Authorization"), [])

    def test_comes_behind_host_and_origin_and_before_the_path(self):
        self.start(allow_origins=APP)
        shown = ("X-Andiron-Token", TOKEN)
        for headers, status in (([("Host", "evil.example")], 403), ([("Host", "a/b")], 400),
                                ([("Origin", "null")], 403), ([("Sec-Fetch-Site", "cross-site")], 403)):
            self.assert_error(self.get(*headers), status)
            self.assert_error(self.get(shown, *headers), status)
        self.assert_unknown(path="/nowhere")
        self.assert_error(self.get(shown, path="/nowhere"), 404)
        self.assert_readable(self.assert_unknown(ORIGIN))
        self.assert_status(self.get(ORIGIN, shown), 200)

    def test_is_told_of_at_the_start(self):
        self.start(keyed=True)
        self.andiron.wait_line(r"change api_key to the token in .*/token")
        self.start()
        self.andiron.wait_line(r"X-Andiron-Token")


MACHINE = "192.0.2.7"


def in_own_network(test):
    """Runs the test in a network namespace, where MACHINE is an address of this machine."""
    if os.environ.get("ANDIRON_TEST_NETNS"):
        return test

    def outside(self):
        name = self.id().split(".", 1)[1]
        script = (f"ip link set lo up && ip addr add {MACHINE}/32 dev lo && "
                  f"exec {sys.executable} {os.path.abspath(__file__)} {name}")
        if subprocess.run(["unshare", "-n", "ip", "link"], capture_output=True).returncode != 0:
            self.skipTest("no network namespace can be made here")
        done = subprocess.run(["unshare", "-n", "sh", "-c", script], capture_output=True, text=True,
                              env=dict(os.environ, ANDIRON_TEST_NETNS="1"), timeout=10 * BOUND)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("Ran 1 test", done.stderr)
    return outside


class BeyondLoopback(FrontTest):
    @in_own_network
    def test_with_the_token_by_its_address(self):
        for listen in (f"{MACHINE}:0", "0.0.0.0:0"):
            self.start(listen=listen, client_token_file=self.write("token", TOKEN),
                       allow_hosts="box.lan")
            self.andiron.address = (MACHINE, self.andiron.port)
            shown = ("X-Andiron-Token", TOKEN)
            for host in (MACHINE, f"{MACHINE}:{self.andiron.port}", "localhost", "box.lan"):
                self.assert_status(self.get(("Host", host), shown), 200)
                self.assert_error(self.get(("Host", host)), 401)
            for host in ("192.0.2.8", "evil.example", "0.0.0.0"):
                self.assert_error(self.get(("Host", host), shown), 403)

    @in_own_network
    def test_the_base_url_is_said(self):
        token = self.write("token", TOKEN)
        self.start(listen=f"{MACHINE}:0", client_token_file=token)
        self.andiron.wait_line(f'base_url to "http://{MACHINE}:{self.andiron.port}/v1"')
        self.start(listen="0.0.0.0:0", client_token_file=token)
        self.andiron.wait_line(f'base_url to "http://localhost:{self.andiron.port}/v1"')

    @in_own_network
    def test_without_a_token_it_does_not_start(self):
        self.upstream = self.scripted()
        path = self.write_config({"server": {"listen": f"{MACHINE}:0"}})
        done = run_andiron("run", "-c", path)
        self.assertEqual(done.returncode, 78, done.stderr)
        self.assertRegex(done.stderr, r"andiron.ini:\d+: .*client_token_file")

    def test_another_loopback_address_needs_no_token(self):
        self.start(listen="127.0.0.2:0")
        self.assert_status(self.get(), 200)
        self.assert_status(self.get(("Host", "127.0.0.2")), 200)


class UnixSocket(FrontTest):
    def setUp(self):
        super().setUp()
        os.chmod(self.folder, 0o755)
        self.path = os.path.join(self.folder, "andiron.sock")

    def start(self, answers=None, **server):
        super().start(answers, listen=f"unix:{self.path}", **server)

    def curl_as(self, *command):
        """What curl prints behind the body is the status."""
        return subprocess.run(
            list(command) + ["curl", "-sS", "-w", " %{http_code}", "--unix-socket", self.path,
                             "http://localhost/v1/models"],
            capture_output=True, text=True, timeout=BOUND)

    def test_curl_and_a_raw_client(self):
        self.start()
        self.assertEqual(self.andiron.sockets, [self.path])
        done = self.curl_as()
        self.assertEqual((done.returncode, done.stdout), (0, '{"ok":true} 200'), done.stderr)
        client = self.connect()
        for _ in range(3):
            self.assert_status(client.request("POST", COMPLETIONS, [JSON], CHAT), 200)

    def test_host_and_origin_are_judged_there_too(self):
        self.start(allow_hosts="box.lan")
        for host, status in (("localhost", 200), ("box.lan", 200), ("127.0.0.1:80", 200),
                             ("evil.example", 403), ("192.0.2.7", 403), ("a/b", 400)):
            self.assertEqual(self.get(("Host", host)).status, status, host)
        self.assert_error(self.get(("Origin", APP)), 403)

    def test_the_token_there_too(self):
        self.start(client_token_file=self.write("token", TOKEN))
        self.assert_error(self.get(), 401)
        self.assert_status(self.get(("X-Andiron-Token", TOKEN)), 200)

    def test_beside_ports(self):
        super().start(listen=f"127.0.0.1:0 unix:{self.path} [::1]:0")
        self.assertEqual((len(self.andiron.addresses), self.andiron.sockets), (2, [self.path]))
        for address in self.andiron.addresses + self.andiron.sockets:
            self.andiron.address = address
            self.assert_status(self.get(), 200)

    def test_streams_and_leaving(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.start([sse(b"data: {}\n\n", gate, b"data: [DONE]\n\n")] * 2)
        client = self.start_stream()
        answer = client.read_head()
        answer.read_until(b"data: {}")
        client.fin()
        self.wait_event(event="request", error="client_closed")
        client = self.start_stream()
        answer = client.read_head()
        answer.read_until(b"data: {}")
        gate.set()
        self.assertIn(b"[DONE]", answer.body)
        self.assert_end(answer)

    def test_a_client_that_pipelines_too_much_is_cut(self):
        """There is no RST on a Unix socket."""
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.start([[wait(gate)] + OK])
        client = self.connect()
        client.send_request("GET", "/v1/models")
        self.upstream.wait_requests(1)
        try:
            for _ in range(100):
                client.send(b"x" * 65536)
        except OSError:
            pass
        self.assertIn(client.read_end()[1], ("cut", "reset"))
        self.wait_event(event="request", error="client_closed")

    def test_its_file(self):
        for mode in ("0600", "0666", "660"):
            with self.subTest(mode=mode):
                self.start(unix_mode=mode)
                found = os.lstat(self.path).st_mode
                self.assertTrue(stat.S_ISSOCK(found))
                self.assertEqual(stat.S_IMODE(found), int(mode, 8))
                self.andiron.stop()
                self.assertFalse(os.path.lexists(self.path))

    def test_is_gone_as_soon_as_it_drains(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.start([[wait(gate)] + OK])
        client = self.connect()
        client.send_request("GET", "/v1/models")
        self.upstream.wait_requests(1)
        self.andiron.signal()
        self.andiron.wait_event(event="state", state="drain")
        self.andiron.wait_line("draining")
        gate.set()
        self.assert_status(client.read_head(), 200)
        self.assertEqual(self.andiron.wait_exit(), 0)
        self.assertFalse(os.path.lexists(self.path))

    def test_one_that_replaced_it_stays(self):
        self.start()
        os.unlink(self.path)
        with open(self.path, "w") as other:
            other.write("mine")
        self.andiron.stop()
        self.assertTrue(os.path.exists(self.path))

    def test_a_dead_ones_is_replaced(self):
        self.start()
        self.andiron.expected = -signal.SIGKILL
        self.andiron.signal(signal.SIGKILL)
        self.andiron.stop()
        self.assertTrue(os.path.lexists(self.path))
        self.start()
        self.assert_status(self.get(), 200)

    def fails(self, *words, status=69):
        path = self.write_config({"server": {"listen": f"unix:{self.path}"}})
        done = run_andiron("run", "-c", path)
        self.assertEqual(done.returncode, status, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def test_one_in_use_is_left_alone(self):
        self.start()
        running = self.events_path
        self.events_path = os.path.join(self.folder, "second.jsonl")
        self.fails("Address already in use", self.path)
        self.events_path = running
        self.assert_status(self.get(), 200)

    def test_a_file_that_is_none_is_left_alone(self):
        self.upstream = self.scripted()
        self.write("andiron.sock", "mine")
        self.fails(self.path, "something else")
        with open(self.path) as file:
            self.assertEqual(file.read(), "mine")
        self.path = os.path.join(self.folder, "none", "a.sock")
        self.fails("No such file")

    def test_paths_that_cannot_be(self):
        self.upstream = self.scripted()
        for path, word in (("relative.sock", "absolute"), ("/" + "x" * 107, "107 bytes")):
            self.path = path
            self.fails("andiron.ini:", word, status=78)

    @only_root
    def test_only_its_users(self):
        as_nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        self.start(unix_mode="0666")
        done = self.curl_as(*as_nobody)
        self.assertTrue(done.stdout.endswith(" 403"), done.stdout + done.stderr)
        self.assertIn("unix_users", done.stdout)
        self.assertTrue(self.curl_as().stdout.endswith(" 200"))
        self.assert_seen(1)
        self.andiron.stop()
        self.start(unix_mode="0666", unix_users="nobody")
        self.assertTrue(self.curl_as(*as_nobody).stdout.endswith(" 200"))
        self.assertTrue(self.curl_as().stdout.endswith(" 403"))
        self.andiron.stop()
        self.start(unix_users="nobody")
        self.assertNotEqual(self.curl_as(*as_nobody).returncode, 0, "the mode holds, too")

    @only_root
    def test_others_are_refused_at_their_first_byte(self):
        """What they send is not kept: the answer comes before the head is whole, and the end."""
        self.start(unix_users=str(NOBODY))
        client = self.connect()
        client.send(b"P")
        answer = client.read_head()
        error = self.assert_error(answer, 403, "http_request_denied")
        self.assertIn("unix_users", error["message"])
        self.assertEqual(answer.header("Connection"), "close")
        client.half_close()
        self.assertEqual(client.read_end(), (b"", "cut"))
        self.assert_seen(0)


if __name__ == "__main__":
    main()
