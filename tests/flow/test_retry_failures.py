"""Attempts without an answer: which are repeated, and what the client hears at the end."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import CHAT, COMPLETIONS, FlowTest, main
from upstream import (JSON, chunked, fin, handshake, head, hold, ignore, nothing, ragged, reply,
                      rst, send, short, until_close)

OK = reply(200, b'{"ok":true}', [JSON])
DEPLOYMENTS = "/v1/accounts/a/deployments"
RESPONSES = "/v1/responses"
TRAINER = "/training/v1/rlorTrainerJobs/a/j/api/v1/forward_backward"

LOST = {     # no whole answer, although the request was sent
    "closed before an answer": [fin],
    "reset before an answer": [rst],
    "closed without close_notify": [ragged],
    "closed within the head": [send(b"HTTP/1.1 200 O"), fin],
    "closed behind the head": [send(head(200, [JSON, ("Content-Length", "9")])), fin],
    "cut within a length": short(b'{"half":', 100),
    "reset within a length": short(b'{"half":', 100, ending=rst),
    "cut within a chunk": chunked(send(b"20\r\n{"), fin, headers=[JSON]),
    "cut before the last chunk": chunked(b'{"half":', fin, headers=[JSON]),
    "cut without close_notify": until_close(b'{"half":', ending=ragged),
}


class Lost(FlowTest):
    def test_inference_is_repeated(self):
        for name, answer in LOST.items():
            with self.subTest(name):
                self.launch([answer, OK])
                answer = self.post()
                self.assert_status(answer, 200)
                self.assertEqual(answer.body, b'{"ok":true}')
                self.assert_attempts(answer, 2)
                self.assert_seen(2)

    def test_a_get_is_repeated(self):
        self.launch([[rst], OK])
        self.assert_attempts(self.request("GET", "/v1/accounts/a/deployments/d"), 2)

    def test_control_plane_writes_responses_and_trainer_writes_are_not(self):
        for path in (DEPLOYMENTS, RESPONSES, TRAINER):
            for name, answer in LOST.items():
                with self.subTest(name, path=path):
                    self.launch([answer, OK])
                    self.assert_error(self.post(path), 502)
                    self.andiron.stop()
                    self.assert_seen(1)

    def test_other_writing_methods_are_not(self):
        for method in ("PATCH", "PUT", "DELETE"):
            with self.subTest(method):
                self.launch([[fin], OK])
                self.assert_error(self.request(method, DEPLOYMENTS + "/d", [JSON], b"{}"), 502)
                self.assert_seen(1)

    def test_the_error_says_what_happened_and_how_often(self):
        self.launch([[fin]] * 5)
        answer = self.post()
        error = self.assert_error(answer, 502, "connection_terminated")
        self.assert_attempts(answer, 5)
        self.assertEqual(answer.reason, "Bad Gateway")
        self.assertEqual(answer.all("x-should-retry"), ["false"])
        self.assertIn("5", error["message"])
        self.assert_seen(5)

    def test_messages_have_their_own_shape(self):
        self.launch([[fin]] * 5)
        answer = self.post("/v1/messages")
        self.assert_error(answer, 502)
        self.assertEqual(answer.json().get("type"), "error")

    def test_the_last_thing_that_happened_decides(self):
        self.launch([reply(503) + [fin], [fin], [fin]],     # one may die as a reused connection
                    {"profile.default": {"max_attempts": "2"}})
        self.assert_error(self.post(), 502)
        self.launch([[fin], reply(500, b"{}")], {"profile.default": {"max_attempts": "2"}})
        self.assertEqual(self.post().header("X-Andiron-Source"), "upstream")


class Reused(FlowTest):
    """A kept connection that dies under the next request."""

    def second_after(self, answers, path=COMPLETIONS, method="POST"):
        self.launch([OK] + answers)
        client = self.connect()
        self.assert_status(client.request("POST", COMPLETIONS, [JSON], CHAT), 200)
        return client.request(method, path, [JSON], CHAT)

    def test_it_is_replaced_without_counting(self):
        for name, ending in (("fin", fin), ("rst", rst)):
            with self.subTest(name):
                answer = self.second_after([[ending], OK])
                self.assert_status(answer, 200)
                self.assert_attempts(answer, 1)
                used = [request.connection for request in self.upstream.requests]
                self.assertEqual(used, [0, 0, 1], self.seen())

    def test_it_is_replaced_once(self):
        answer = self.second_after([[fin], [fin], OK])
        self.assert_status(answer, 200)
        self.assert_attempts(answer, 2)

    def test_a_guarded_request_is_sent_once(self):
        for path in (DEPLOYMENTS, RESPONSES, TRAINER):
            with self.subTest(path):
                self.assert_error(self.second_after([[fin], OK], path), 502)
                self.assert_seen(2)

    def test_a_connection_that_closed_while_idle_does_no_harm(self):
        self.launch([OK + [fin]] * 10)
        client = self.connect()
        for _ in range(10):
            answer = client.request("POST", COMPLETIONS, [JSON], CHAT)
            self.assert_status(answer, 200)
            self.assert_attempts(answer, 1)


class Refused(FlowTest):
    def refuse(self, script=(), **profile):
        self.launch(upstream=self.scripted(list(script), listening=False),
                    config={"profile.default": profile})

    def test_502_names_the_address(self):
        self.refuse()
        answer = self.post()
        error = self.assert_error(answer, 502, "connection_refused")
        self.assert_attempts(answer, 5)
        event = self.wait_event(event="attempt", error="connection_refused", attempt=5)
        self.assertIn(str(self.upstream.port), event["address"])
        self.assertEqual((event["phase"], event["dashboard"]), ("connect", "invisible"))
        self.assertIn(str(self.upstream.port), error["message"])

    def test_any_request_is_repeated_until_the_port_opens(self):
        for path in (COMPLETIONS, DEPLOYMENTS, RESPONSES, TRAINER):
            with self.subTest(path):
                self.refuse([OK], backoff_base="300ms", max_attempts="8")
                client = self.connect()
                client.send_request("POST", path, [JSON], CHAT)
                self.wait_event(event="attempt", attempt=1, error="connection_refused")
                self.upstream.listen()
                self.assert_status(client.read_head(), 200)
                self.assert_seen(1)

    def test_all_addresses_of_a_name_are_tried(self):
        """The upstream's name has ::1 too on many machines; only 127.0.0.1 listens."""
        upstream = self.scripted([OK], listening=False)
        upstream._sockets[0].listen(5)
        upstream._spawn(upstream._accept, upstream._sockets[0])
        self.launch(upstream=upstream)
        answer = self.post()
        self.assert_status(answer, 200)
        self.assert_attempts(answer, 1)


class Certificates(FlowTest):
    def check(self, certificate):
        self.launch(upstream=self.scripted([OK] * 5, tls=certificate))
        answer = self.post()
        self.assert_error(answer, 502, "tls_certificate_error")
        self.assert_attempts(answer, 1)
        event = self.wait_event(event="attempt")
        self.assertEqual((event["phase"], event["error"], event["dashboard"]),
                         ("tls", "tls_certificate_error", "invisible"))
        self.assertTrue(event["detail"])
        self.wait_event(event="request")
        self.assertEqual(len(self.andiron.find_events(event="attempt")), 1)
        self.assert_seen(0)

    def test_a_wrong_name(self):
        self.check("wrong_name")

    def test_an_expired_one(self):
        self.check("expired")

    def test_an_unknown_authority(self):
        self.check("unknown_ca")

    def test_a_server_without_tls(self):
        speaks_first = [send(head(400, [("Connection", "close")])), fin]
        plain = self.scripted(tls=None, connections=[speaks_first] * 20)
        self.launch(upstream=plain, config={"upstream.fireworks": {
            "url": plain.url.replace("http:", "https:")}})
        self.assert_error(self.post(), 502, "tls_protocol_error")
        event = self.wait_event(event="attempt")
        self.assertEqual((event["phase"], event["dashboard"]), ("tls", "invisible"))
        self.assert_seen(0)

    def test_plain_http_to_loopback_is_possible(self):
        self.launch(upstream=self.scripted([OK], tls=None))
        self.assert_status(self.post(), 200)


class Timeouts(FlowTest):
    def test_a_late_first_byte_is_retried(self):
        self.launch([nothing(), OK], {"profile.default": {"first_byte_timeout": "300ms"}})
        answer = self.post()
        self.assert_status(answer, 200)
        self.assert_attempts(answer, 2)
        self.assertIsNotNone(self.upstream.connections[0].wait_end())

    def test_a_late_first_byte_ends_as_504(self):
        self.launch([nothing()] * 2, {"profile.default": {
            "first_byte_timeout": "300ms", "max_attempts": "2"}})
        answer = self.post()
        self.assert_error(answer, 504, "http_response_timeout")
        self.assert_attempts(answer, 2)
        self.assertEqual(answer.all("x-should-retry"), ["false"])
        self.assert_seen(2)
        event = self.wait_event(event="attempt", attempt=2)
        self.assertEqual((event["phase"], event["dashboard"]), ("first_byte", "unknown"))

    def test_a_guarded_request_that_hangs_is_not_repeated(self):
        profile = {"first_byte_timeout": "300ms"}
        for path in (DEPLOYMENTS, RESPONSES, TRAINER):
            with self.subTest(path):
                self.launch([nothing(), OK],
                            {"profile.default": profile, "profile.batch": profile})
                self.assert_error(self.post(path), 504, "http_response_timeout")
                self.andiron.stop()
                self.assert_seen(1)

    def test_silence_within_a_body_is_a_lost_answer(self):
        half = [send(head(200, [JSON, ("Content-Length", "9")]) + b"{"), hold()]
        self.launch([half, OK], {"profile.default": {"idle_timeout": "300ms"}})
        self.assert_attempts(self.post(), 2)
        self.assertEqual(self.wait_event(event="attempt")["error"], "connection_read_timeout")

    def test_a_handshake_that_hangs(self):
        stalled = self.scripted(connections=[[hold()]] * 8)
        self.launch(upstream=stalled, config={"profile.default": {
            "connect_timeout": "300ms", "max_attempts": "2"}})
        self.assert_error(self.post(), 502, "connection_timeout")
        event = self.wait_event(event="attempt")
        self.assertEqual((event["phase"], event["dashboard"]), ("tls", "invisible"))

    def test_a_handshake_that_is_cut_is_retried(self):
        self.launch(upstream=self.scripted([OK], connections=[[rst], [fin]]))
        answer = self.post()
        self.assert_status(answer, 200)
        self.assert_seen(1)

    def test_a_server_that_never_reads(self):
        unread = self.scripted([OK], connections=[[handshake, ignore]])
        self.launch(upstream=unread, config={"profile.default": {"write_timeout": "300ms"}})
        answer = self.post(body=bytes(20_000_000))
        self.assert_status(answer, 200)
        self.assert_attempts(answer, 2)
        event = self.wait_event(event="attempt")
        self.assertEqual((event["phase"], event["error"]), ("write", "connection_write_timeout"))

    def test_the_total_timeout_ends_a_wait(self):
        self.launch([nothing()], {"profile.default": {"total_timeout": "500ms"}})
        self.assert_error(self.post(), 504)
        self.assert_seen(1)
        self.assertIsNotNone(self.upstream.connections[0].wait_end())

    def test_the_header_sets_the_total_timeout(self):
        self.launch([nothing()])
        self.assert_error(self.post(headers=[("X-Andiron-Timeout", "400ms")]), 504)
        self.assert_seen(1)

    def test_the_header_may_exceed_the_profile(self):
        self.launch([reply(503, headers=[("Retry-After", "1")]), OK],
                    {"profile.default": {"total_timeout": "500ms"}})
        self.assert_status(self.post(headers=[("X-Andiron-Timeout", "30s")]), 200)


if __name__ == "__main__":
    main()
