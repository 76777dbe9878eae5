"""Who may talk to the daemon: Host, Origin, Sec-Fetch-Site (CONTRACT 3, Security)."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from client import NoAnswer
from harness import CHAT, FlowTest, main
from upstream import JSON, reply

OK = reply(200, b'{"ok":true}', [JSON])


class Access(FlowTest):
    def start(self, **server):
        self.launch(lambda request: OK, {"server": server})

    def get(self, *headers):
        return self.request("GET", "/v1/models", list(headers))

    def assert_refused(self, answer, word):
        """403 in OpenAI's shape, naming what to set; nothing went to the upstream."""
        error = self.assert_error(answer, 403)
        self.assertIn(word, error["message"])
        self.assert_seen(0)

    def test_loopback_names_pass(self):
        self.start()
        port = self.andiron.port
        for host in ("localhost", "LocalHost", f"localhost:{port}", "127.0.0.1",
                     f"127.0.0.1:{port}", "[::1]", f"[::1]:{port}"):
            with self.subTest(host=host):
                self.assert_status(self.get(("Host", host)), 200)

    def test_other_names_do_not(self):
        self.start()
        for host in ("evil.example", f"evil.example:{self.andiron.port}", "localhost.evil.example",
                     "127.0.0.1.nip.io", "evillocalhost", "8.8.8.8", "[2001:db8::1]",
                     "api.fireworks.ai"):
            with self.subTest(host=host):
                self.assert_refused(self.get(("Host", host)), "allow_hosts")

    def test_what_is_no_host_does_not_pass(self):
        self.start()
        for host in ("", "localhost, evil.example", "evil.example/localhost", "a@localhost",
                     "localhost:x"):
            with self.subTest(host=host):
                self.assertIn(self.get(("Host", host)).status, (400, 403))
        self.assert_seen(0)

    def test_a_missing_host_does_not_pass(self):
        self.start()
        for version in ("1.0", "1.1"):
            with self.subTest(version=version):
                client = self.connect()
                client.send(f"GET /v1/models HTTP/{version}\r\n\r\n".encode())
                try:
                    self.assertIn(client.read_head().status, (400, 403))
                except NoAnswer:
                    pass
        self.assert_seen(0)

    def test_two_hosts_do_not_pass(self):
        self.start()
        self.assertIn(self.get(("Host", "localhost"), ("Host", "evil.example")).status, (400, 403))
        self.assert_seen(0)

    def test_allow_hosts_adds_names(self):
        self.start(allow_hosts="gateway.internal other.test")
        for host in ("gateway.internal", "gateway.internal:8787", "Other.Test", "localhost"):
            with self.subTest(host=host):
                self.assert_status(self.get(("Host", host)), 200)
        self.assertEqual(self.get(("Host", "evil.example")).status, 403)

    def test_every_origin_is_refused(self):
        self.start()
        for origin in ("https://evil.example", "null", f"http://localhost:{self.andiron.port}",
                       "http://127.0.0.1", "file://"):
            with self.subTest(origin=origin):
                self.assert_refused(self.get(("Origin", origin)), "allow_origins")

    def test_a_preflight_is_refused(self):
        self.start()
        self.assert_refused(self.request("OPTIONS", "/v1/models", [
            ("Origin", "https://evil.example"), ("Access-Control-Request-Method", "POST")]),
            "allow_origins")

    def test_requests_across_sites_are_refused(self):
        self.start()
        for site in ("cross-site", "same-site"):
            with self.subTest(site=site):
                self.assert_refused(self.get(("Sec-Fetch-Site", site)), "allow_origins")

    def test_node_and_typed_addresses_pass(self):
        self.start()
        for header in (("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Site", "none"),
                       ("Sec-Fetch-Site", "same-origin")):
            with self.subTest(header=header):
                self.assert_status(self.get(header), 200)

    def test_a_refused_post_leaves_the_connection_in_order(self):
        self.start()
        client = self.connect()
        answer = client.request("POST", "/v1/chat/completions", [("Origin", "null")], CHAT)
        self.assert_error(answer, 403)
        if (answer.header("Connection") or "").lower() == "close":
            self.assertEqual(client.read_end(), (b"", "cut"))
        else:
            self.assert_status(client.request("GET", "/v1/models"), 200)


class Listening(FlowTest):
    def test_several_addresses(self):
        self.launch(lambda request: OK, {"server": {"listen": "127.0.0.1:0 [::1]:0"}})
        self.assertEqual(len(self.andiron.addresses), 2, self.andiron.urls)
        for address in self.andiron.addresses:
            with self.subTest(address=address):
                self.andiron.address = address
                self.assert_status(self.request("GET", "/v1/models"), 200)


if __name__ == "__main__":
    main()
