"""Deadlines: the profile's, and those that the client has of its own (CONTRACT 3, The client's own
deadline). Limits are short here, and what is asked of the clock is wide."""

import os
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from client import Hang
from harness import CHAT, COMPLETIONS, FlowTest, main
from streams import DONE, FINISH, ONE, TWO, StreamTest
from upstream import JSON, fin, head, hold, nothing, reply, send, sse, wait

OK = reply(200, b'{"choices":[]}', [JSON])
BUSY = b'{"error":{"message":"busy","code":"SERVICE_UNAVAILABLE"}}'
CLIENT_S = "the time that the client waits"
TIMEOUT, READ_TIMEOUT = "X-Stainless-Timeout", "X-Stainless-Read-Timeout"
LANG, AGENT = "X-Stainless-Lang", "User-Agent"


def busy(*headers):
    return reply(503, BUSY, [JSON, *headers])


class DeadlineTest(StreamTest):
    def ask_all(self, cases, body=CHAT):
        """All of these headers at once, each on a connection of its own; their answers."""
        clients = []
        for headers in cases:
            clients.append(self.connect())
            clients[-1].send_request("POST", COMPLETIONS, headers, body)
        answers = [client.read_head() for client in clients]
        for answer in answers:
            _ = answer.body
        return answers

    def event_of(self, answer, kind="request"):
        return self.wait_event(event=kind, request_id=answer.header("X-Request-Id"))

    def assert_ran_out(self, answer, name, least, most):
        """The answer is a 504 that names the limit; it came between these seconds."""
        error = self.assert_error(answer, 504, "http_response_timeout")
        self.assertIn(name + " ran out", error["message"])
        self.assertEqual(answer.all("x-should-retry"), ["false"])
        event = self.event_of(answer)
        self.assertGreaterEqual(event["total_ms"], least * 1000 - 1, event)
        self.assertLess(event["total_ms"], most * 1000, event)

    def assert_decided(self, cases, reason, delay_ms=None):
        """Whether the first refusal is followed by a wait, by what its event says; the clients
        leave then."""
        for count, headers in enumerate(cases, 1):
            with self.subTest(headers):
                client = self.connect()
                client.send_request("POST", COMPLETIONS, headers, CHAT)
                event = self.andiron.wait_event(event="attempt", count=count)
                self.assertEqual((event["reason"], event.get("retry_in_ms")), (reason, delay_ms))
                if delay_ms is None:
                    self.assert_status(client.read_head(), 503)
                client.fin()
                self.andiron.wait_event(event="request", count=count)


class Total(DeadlineTest):
    """total_timeout: all attempts and waits until the answer begins, or, not streamed, ends."""

    def test_it_ends_the_waiting(self):
        self.launch(lambda request: nothing(), {"profile.default": {"total_timeout": "600ms"}})
        for answer in self.ask_all([[]]):
            self.assert_ran_out(answer, "total_timeout", 0.6, 20)
        self.assertIsNotNone(self.upstream.connections[0].wait_end())

    def test_attempts_and_waits_count_together(self):
        """At 0, 300 and 900 ms; the next wait would end behind it."""
        self.launch(lambda request: busy(), {"profile.default": {
            "total_timeout": "2s", "backoff_base": "300ms"}})
        answer = self.post()
        self.assert_status(answer, 503)
        self.assertEqual(answer.body, BUSY)
        self.assertIn(answer.header("X-Andiron-Attempts"), ("2", "3"))
        event = self.event_of(answer)
        self.assertLess(event["total_ms"], 2000, event)
        self.assertGreaterEqual(event["wait_ms"], 300, event)

    def test_an_attempt_behind_a_wait_has_what_is_left(self):
        self.launch([busy(), nothing()], {"profile.default": {
            "total_timeout": "900ms", "backoff_base": "300ms"}})
        answer = self.post()
        self.assert_ran_out(answer, "total_timeout", 0.9, 20)
        self.assert_attempts(answer, 2)

    def test_a_wait_that_cannot_end_in_time_is_not_begun(self):
        self.launch(lambda request: busy(), {"profile.default": {
            "total_timeout": "20s", "backoff_base": "19s"}})
        self.assert_decided([[]], "status", 19_000)
        self.launch(lambda request: busy(), {"profile.default": {
            "total_timeout": "20s", "backoff_base": "20s"}})
        self.assert_decided([[]], "deadline")

    def test_nor_one_that_the_upstream_asks_for(self):
        for seconds, reason, delay in ((10, "status", 10_000), (30, "deadline", None)):
            self.launch(lambda request, s=seconds: busy(("Retry-After", s)),
                        {"profile.default": {"total_timeout": "20s"}})
            self.assert_decided([[]], reason, delay)

    def test_nor_one_behind_a_failure(self):
        self.launch([[fin]], {"profile.default": {"total_timeout": "20s", "backoff_base": "30s"}})
        self.assert_error(self.post(), 502, "connection_terminated")
        self.assertEqual(self.wait_event(event="attempt")["reason"], "deadline")

    def test_a_plain_answer_has_to_end_in_it(self):
        start = head(200, [JSON, ("Content-Length", 1_000_000)])
        self.launch([[send(start + bytes(200_000)), hold()]] * 2, {"profile.default": {
            "total_timeout": "700ms", "hold_body": "1KiB"}})
        answer = self.post()
        self.assert_status(answer, 200)
        self.assert_end(answer, "reset")
        event = self.wait_event(event="request")
        self.assertEqual((event["phase"], event["error"]), ("body", "connection_read_timeout"))
        self.assertIn("total_timeout", event["detail"])

    def test_a_held_one_too(self):
        half = [send(head(200, [JSON, ("Content-Length", 9)]) + b"{"), hold()]
        self.launch([half] * 2, {"profile.default": {"total_timeout": "600ms"}})
        self.assert_error(self.post(), 504, "connection_read_timeout")
        self.assert_seen(1)

    def test_an_error_has_to_end_in_it_too(self):
        start = head(500, [JSON, ("Content-Length", 100)])
        self.launch([[send(start + b'{"error"'), hold()]],
                    {"profile.default": {"total_timeout": "700ms"}})
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [], CHAT)
        answer = client.read_head()
        client.sock.settimeout(4)
        try:
            self.assert_end(answer, "reset")
        except Hang as hang:
            self.fail(f"nothing ends it: {hang}")

    def test_a_stream_has_to_begin_in_it(self):
        for start in ([], [b": hi\n\n"]):
            with self.subTest(start):
                self.launch([sse(*start, hold())], {"profile.default": {"total_timeout": "600ms"}})
                error = self.assert_error(self.ask(), 504)
                self.assertIn("total_timeout", error["message"])


class Announced(DeadlineTest):
    """What Stainless SDKs say."""

    def test_they_are_answered_before_they_give_up(self):
        """10 % earlier, at least 250 ms, at most 2 s; the smaller one counts."""
        cases = [([(TIMEOUT, "2")], 1.75, 2), ([(READ_TIMEOUT, "2")], 1.75, 2),
                 ([(READ_TIMEOUT, "2.5")], 2.25, 2.5), ([(READ_TIMEOUT, "1.75")], 1.5, 1.75),
                 ([(TIMEOUT, "2"), (READ_TIMEOUT, "3")], 1.75, 2),
                 ([(TIMEOUT, "600"), (READ_TIMEOUT, "2")], 1.75, 2),
                 ([(TIMEOUT, "4")], 3.6, 4), ([(READ_TIMEOUT.lower(), "2.0")], 1.75, 2),
                 ([(TIMEOUT, "2"), (LANG, "js")], 1.75, 2)]
        self.launch(lambda request: nothing())
        for answer, (headers, least, most) in zip(self.ask_all([case[0] for case in cases]), cases):
            with self.subTest(headers):
                self.assert_ran_out(answer, CLIENT_S, least, most)
                self.assert_attempts(answer, 1)

    def test_what_cannot_be_kept_to_is_as_if_absent(self):
        values = ("soon", "-1", "0", "0.0", "", "nan", "inf", "1e-1", "0x1", "1,5", "1s", ".5",
                  "99999999999999999999", "NOT_GIVEN", "None")
        cases = [[(name, value)] for value in values for name in (TIMEOUT, READ_TIMEOUT)]
        self.launch(lambda request: nothing(), {"profile.default": {"total_timeout": "700ms"}})
        for answer, headers in zip(self.ask_all(cases), cases):
            with self.subTest(headers):
                self.assert_ran_out(answer, "total_timeout", 0.7, 20)

    def test_the_profile_s_may_be_earlier(self):
        self.launch(lambda request: nothing(), {"profile.default": {"total_timeout": "600ms"}})
        for answer in self.ask_all([[(TIMEOUT, "600")], [(READ_TIMEOUT, "60")]]):
            self.assert_ran_out(answer, "total_timeout", 0.6, 20)

    def test_no_wait_is_begun_that_ends_behind_it(self):
        self.launch(lambda request: busy(("Retry-After", 10)))
        self.assert_decided([[(TIMEOUT, "9")], [(READ_TIMEOUT, "10")], [(TIMEOUT, "11")],
                             [(READ_TIMEOUT, "10.9"), (TIMEOUT, "60")]], "deadline")
        self.launch(lambda request: busy(("Retry-After", 10)))
        self.assert_decided([[(TIMEOUT, "13")], [(READ_TIMEOUT, "60")], []], "status", 10_000)

    def test_the_last_answer_goes_back_with_all_that_it_says(self):
        self.launch([busy(("Retry-After", 10), ("X-Theirs", "1"))])
        answer = self.post(headers=[(READ_TIMEOUT, "5")])
        self.assert_status(answer, 503)
        self.assertEqual((answer.body, answer.header("X-Andiron-Source")), (BUSY, "upstream"))
        self.assertEqual((answer.all("Retry-After"), answer.all("X-Theirs")), (["10"], ["1"]))
        self.assertEqual(answer.all("x-should-retry"), ["false"])

    def test_the_last_thing_that_happened_decides(self):
        self.launch([busy(), nothing()])
        answer = self.post(headers=[(READ_TIMEOUT, "1.5")])
        self.assert_ran_out(answer, CLIENT_S, 1.25, 1.5)
        self.assert_attempts(answer, 2)

    def test_what_is_known_of_a_dripped_error_goes_back(self):
        self.launch([[send(head(500, [JSON, ("Content-Length", 100)]) + b'{"error"'), hold()]])
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [(TIMEOUT, "1")], CHAT)
        answer = client.read_head()
        self.assert_status(answer, 500)
        self.assertEqual(answer.header("X-Andiron-Source"), "upstream")

    def test_an_answer_in_time_is_an_answer(self):
        gate = threading.Event()
        self.launch([[wait(gate)] + OK])
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [(TIMEOUT, "30")], CHAT)
        self.upstream.wait_requests(1)
        gate.set()
        self.assert_status(client.read_head(), 200)

    def test_they_go_on_to_the_upstream(self):
        self.launch([OK])
        self.post(headers=[(TIMEOUT, "30"), (READ_TIMEOUT, "30.5"), (LANG, "js")])
        request = self.upstream.requests[0]
        self.assertEqual([request.header(name) for name in (TIMEOUT, READ_TIMEOUT, LANG)],
                         ["30", "30.5", "js"])

    def test_a_get_has_them_too(self):
        self.launch([nothing()])
        answer = self.request("GET", "/v1/models", [(READ_TIMEOUT, "1.5")])
        self.assert_ran_out(answer, CLIENT_S, 1.25, 1.5)


class Node(DeadlineTest):
    """Node's fetch gives up after 300 s, whatever is announced: 298 s are left for an answer."""

    PATIENT = {"profile.default": {"retry_after_cap": "20m"}}
    NODE = [[(LANG, "js")], [(LANG, "JS")], [(AGENT, "node")], [(AGENT, "node-fetch")],
            [(AGENT, "undici")], [(AGENT, "OpenAI/JS 7.55.0")], [(AGENT, "Anthropic/JS 0.137.0")],
            [(AGENT, "Agents/JavaScript 0.20.0")],
            [(AGENT, "ai/7.0.173 ai-sdk-provider-utils/5.0.81 node.js/24")],
            [(AGENT, "ai-sdk-openai-compatible/3.0.92")],
            [(AGENT, "langchainjs-openai/1.0.0 ((node/v24; linux; x64))")],
            [(LANG, "js"), (TIMEOUT, "600")], [(AGENT, "OpenAI/JS 4.104.0"), (TIMEOUT, "600")]]
    OTHERS = [[], [(LANG, "python")], [(LANG, "javascriptcore")], [(AGENT, "OpenAI/Python 2.54.0")],
              [(AGENT, "python-httpx/0.28.1")], [(AGENT, "Python/3.11 aiohttp/3.8.4")],
              [(AGENT, "my-node-tool/1")], [(AGENT, "curl/7.88.1")], [(AGENT, "nodejs-lookalike")],
              [(AGENT, "Go-http-client/1.1")], [(READ_TIMEOUT, "600")], [(AGENT, "")]]

    def test_a_wait_beyond_that_is_not_begun(self):
        self.launch(lambda request: busy(("Retry-After", 299)), self.PATIENT)
        self.assert_decided(self.NODE, "deadline")

    def test_a_wait_within_it_is(self):
        self.launch(lambda request: busy(("Retry-After", 290)), self.PATIENT)
        self.assert_decided(self.NODE, "status", 290_000)

    def test_others_wait_longer(self):
        self.launch(lambda request: busy(("Retry-After", 310)), self.PATIENT)
        self.assert_decided(self.OTHERS, "status", 310_000)

    def test_what_is_announced_may_be_earlier(self):
        self.launch(lambda request: busy(("Retry-After", 60)), self.PATIENT)
        self.assert_decided([[(LANG, "js"), (TIMEOUT, "60")]], "deadline")


class Overridden(DeadlineTest):
    """X-Andiron-Timeout replaces whatever the client announces or is taken to have."""

    def test_it_is_later(self):
        self.launch(lambda request: busy(("Retry-After", 310)),
                    {"profile.default": {"retry_after_cap": "20m", "total_timeout": "1s"}})
        own = ("X-Andiron-Timeout", "10m")
        self.assert_decided([[own], [own, (TIMEOUT, "5")], [own, (READ_TIMEOUT, "5")],
                             [own, (LANG, "js")], [own, (AGENT, "node")]], "status", 310_000)

    def test_it_is_earlier(self):
        own = ("X-Andiron-Timeout", "700ms")
        self.launch(lambda request: nothing())
        for answer in self.ask_all([[own], [own, (TIMEOUT, "600")], [own, (LANG, "js")]]):
            self.assert_ran_out(answer, "X-Andiron-Timeout", 0.7, 20)

    def test_of_a_stream_that_has_not_begun(self):
        self.launch(lambda request: nothing())
        headers = [("X-Andiron-Timeout", "1200ms"), (READ_TIMEOUT, "0.6")]
        answer = self.start_stream(headers=headers).read_head()
        self.assert_ran_out(answer, "X-Andiron-Timeout", 1.2, 20)   # and no early 200


class Streams(DeadlineTest):
    def test_one_that_runs_is_never_cut_by_them(self):
        """Another request with the same limits is the clock: it has met them when it is over."""
        cases = ([(TIMEOUT, "1")], [(READ_TIMEOUT, "1")], [(TIMEOUT, "1"), (LANG, "js")],
                 [("X-Andiron-Timeout", "700ms")], [])
        for config in ({}, {"patience": "off"}):
            gate = threading.Event()
            profile = {"total_timeout": "1s", **config}
            self.launch(lambda request, gate=gate: sse(ONE, gate, TWO, FINISH, DONE)
                        if b"stream" in request.body else nothing(), {"profile.default": profile})
            answers = []
            for headers in cases:
                answers.append(self.start_stream(headers=headers).read_head())
                answers[-1].read_until(ONE)
            for answer in self.ask_all(cases):
                self.assert_status(answer, 504)
            gate.set()
            for headers, answer in zip(cases, answers):
                with self.subTest(headers, config=config):
                    _ = answer.body
                    self.assertEqual(answer.end, "complete", repr(answer))
                    events = b"".join(line + b"\n\n" for line in answer.body.split(b"\n\n")
                                      if line.startswith(b"data"))
                    self.assertEqual(events, ONE + TWO + FINISH + DONE)

    def test_without_patience_they_are_answered_in_time(self):
        self.launch(lambda request: nothing(), {"profile.default": {"patience": "off"}})
        body = b'{"stream":true}'
        for answer in self.ask_all([[(READ_TIMEOUT, "1.5")], [(TIMEOUT, "1"),
                                                              (READ_TIMEOUT, "1.5")]], body):
            self.assert_status(answer, 504)
            self.assertIn(CLIENT_S, answer.json()["error"]["message"])
            self.assertLess(self.event_of(answer)["total_ms"], 1500)


class SdkRetries(FlowTest):
    def test_they_are_in_each_event(self):
        self.launch([reply(503), OK, OK, OK])
        for value, logged in (("2", 2), ("0", 0), (None, None), ("many", None)):
            with self.subTest(value):
                headers = [] if value is None else [("x-stainless-retry-count", value)]
                answer = self.post(headers=headers)
                event = self.wait_event(event="request",
                                        request_id=answer.header("X-Request-Id"))
                self.assertEqual(event.get("sdk_retry"), logged, event)
        self.assertEqual(self.wait_event(event="attempt")["sdk_retry"], 2)


class Time(DeadlineTest):
    def test_a_long_limit_is_left_alone(self):
        """An answer is not delayed by any of this."""
        self.launch(lambda request: OK)
        began = time.monotonic()
        for headers in ([], [(TIMEOUT, "600")], [(LANG, "js")], [("X-Andiron-Timeout", "24h")]):
            self.assert_status(self.post(headers=headers), 200)
        self.assertLess(time.monotonic() - began, 20)


if __name__ == "__main__":
    main()
