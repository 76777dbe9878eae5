"""Patience: a stream's client that would give up gets a sign of life, and the attempts go on
(CONTRACT 3, Streaming). An announced limit of 0.9 s makes it an early head after half of that and a
comment every 0.3 s."""

import functools
import gzip
import json
import os
import re
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from client import Client
from harness import CHAT, COMPLETIONS, STREAM, main
from streams import (CUTS, DIALECTS, DONE, FINISH, HALF, MESSAGES, ONE, RESPONSES, TWO, WHOLE,
                     StreamTest, pieces, without_comments)
from upstream import EVENT_STREAM, JSON, fin, head, hold, nothing, reply, rst, send, sse, wait

SOON = [("X-Stainless-Read-Timeout", "0.9")]
LINE = re.compile(rb"^: andiron: attempt (\d+) of (\d+)(, [^\n]*)?$")
BUSY = b'{"error":{"message":"too busy","type":"overloaded","code":"SERVICE_UNAVAILABLE"}}'
WAYS = {"fin": Client.fin, "rst": Client.rst, "half-close": Client.half_close}
SLOW_RETRY = {"profile.default": {"backoff_base": "2s"}}
ONE_WORKER = {"server": {"workers": "1"}}
TORN = b'data: {"long":"' + b"x" * 100_000


def busy(*headers):
    return reply(503, BUSY, [JSON, *headers])


def each_way(test):
    """Runs a test once for each way to leave."""
    @functools.wraps(test)
    def run(self):
        for name, leave in WAYS.items():
            with self.subTest(name):
                test(self, leave)
    return run


class PatienceTest(StreamTest):
    def early(self, script, config=None, path=COMPLETIONS, headers=SOON, version="HTTP/1.1"):
        """The early head of a stream of which nothing has come."""
        self.launch(script, config)
        answer = self.start_stream(path, headers, version).read_head()
        self.assert_status(answer, 200)
        self.assertEqual(answer.header("X-Andiron-Source"), "andiron", repr(answer))
        return answer

    def next_comment(self, answer):
        """Waits for one more comment; its line."""
        known = len(answer.got)
        while not answer.got[known:].endswith(b"\n\n"):
            piece = next(answer._pieces)
            answer.got += piece
        lines = bytes(answer.got[known:]).split(b"\n\n")[:-1]
        for line in lines:
            self.assertRegex(line, LINE)
        return lines[-1].decode()

    def assert_said(self, answer, whole):
        """Comments, then this stream, whole."""
        body = answer.body
        self.assertEqual(answer.end, "complete", repr(answer))
        self.assertEqual(without_comments(body), whole)
        self.assertTrue(body.endswith(whole[-len(DONE):]))

    def assert_failed(self, answer, **words):
        """Comments, then the error event and the unfinished chunk."""
        body = answer.body
        event = body.find(b"event: error")
        self.assertEqual(without_comments(body[:event]), b"", repr(answer))
        error = self.assert_error_event(answer, body[:event])
        self.assert_words(error, **words)
        return error


class TheHead(PatienceTest):
    def test_it_comes_before_the_client_gives_up(self):
        gate = threading.Event()
        answer = self.early([[wait(gate)] + sse(*pieces(WHOLE, 50))])
        self.assertEqual(answer.all("Content-Type"), ["text/event-stream; charset=utf-8"])
        self.assert_attempts(answer, 1)
        self.assertEqual(len(answer.all("X-Request-Id")), 1)
        self.assertEqual(answer.all("x-should-retry"), [])
        self.assertEqual(answer.framing, "chunked")
        self.assertEqual(self.next_comment(answer), ": andiron: attempt 1 of 5")
        gate.set()
        self.assert_said(answer, WHOLE)
        self.assert_seen(1)
        event = self.wait_event(event="request")
        self.assertEqual((event["status"], event["attempts"], event.get("error")), (200, 1, None))

    def test_in_each_dialect(self):
        for path, (event, last) in DIALECTS.items():
            with self.subTest(path):
                gate = threading.Event()
                answer = self.early([[wait(gate)] + sse(event, last)], path=path)
                self.next_comment(answer)
                gate.set()
                self.assert_said(answer, event + last)
                if path == MESSAGES:
                    self.assertEqual(answer.all("request-id"), answer.all("X-Request-Id"))

    def test_behind_the_upstream_s_own_head_and_comments(self):
        for start in ([], [b": theirs\n\n"], [HALF]):
            with self.subTest(start):
                gate = threading.Event()
                answer = self.early([sse(*start, gate, TWO, FINISH, DONE)])
                self.next_comment(answer)
                gate.set()
                self.assert_said(answer, b"".join(start) + TWO + FINISH + DONE)

    def test_while_connecting(self):
        gate = threading.Event()
        upstream = self.scripted([sse(ONE, DONE)], connections=[[wait(gate), rst]])
        self.launch(upstream=upstream)
        answer = self.start_stream(headers=SOON).read_head()
        self.assertEqual(self.next_comment(answer), ": andiron: attempt 1 of 5")
        gate.set()
        self.assert_said(answer, ONE + DONE)

    def test_while_a_stream_is_held(self):
        gate = threading.Event()
        answer = self.early([sse(ONE, TWO, gate, FINISH, DONE)],
                            {"profile.default": {"hold_stream": "64KiB"}})
        self.next_comment(answer)
        gate.set()
        self.assert_said(answer, ONE + TWO + FINISH + DONE)

    def test_a_held_stream_that_breaks_is_still_retried(self):
        gate = threading.Event()
        answer = self.early([sse(ONE, TWO, gate, fin), sse(TWO, FINISH, DONE)],
                            {"profile.default": {"hold_stream": "64KiB"}})
        self.next_comment(answer)
        gate.set()
        self.assert_said(answer, TWO + FINISH + DONE)
        self.assert_seen(2)

    def test_a_byte_order_mark_does_not_follow_a_comment(self):
        gate = threading.Event()
        answer = self.early([[wait(gate)] + sse(b"\xef\xbb\xbf" + ONE, FINISH, DONE)])
        self.next_comment(answer)
        gate.set()
        self.assert_said(answer, ONE + FINISH + DONE)

    def test_the_smaller_limit_counts(self):
        answer = self.early([nothing()], headers=[("X-Stainless-Timeout", "1"),
                                                  ("X-Stainless-Read-Timeout", "600")])
        self.assertEqual(self.next_comment(answer), ": andiron: attempt 1 of 5")

    def test_the_next_request_uses_the_same_connection(self):
        gate = threading.Event()
        self.launch([[wait(gate)] + sse(ONE, DONE), sse(TWO, DONE)])
        client = self.start_stream(headers=SOON)
        answer = client.read_head()
        gate.set()
        self.assert_said(answer, ONE + DONE)
        answer = client.request("POST", COMPLETIONS, [], b'{"stream":true}')
        self.assert_whole(answer, TWO + DONE)


class Comments(PatienceTest):
    """They say what is going on."""

    def test_they_go_on(self):
        answer = self.early([nothing()])
        for _ in range(4):
            self.assertEqual(self.next_comment(answer), ": andiron: attempt 1 of 5")

    def test_a_status_and_the_wait(self):
        answer = self.early([busy(("Retry-After", 3)), sse(ONE, FINISH, DONE)])
        self.assert_attempts(answer, 1)
        first, second = self.next_comment(answer), self.next_comment(answer)
        for line in (first, second):
            self.assertRegex(line, r"^: andiron: attempt 2 of 5, 503 from upstream, "
                                   r"next in [1-3] s$")
        self.assert_said(answer, ONE + FINISH + DONE)
        self.assert_seen(2)

    def test_a_status_and_an_attempt_that_runs(self):
        answer = self.early([busy(), nothing()])
        self.assertEqual(self.next_comment(answer),
                         ": andiron: attempt 2 of 5, 503 from upstream")
        self.assert_attempts(answer, 2)

    def test_a_failure(self):
        for name, cut in CUTS.items():
            with self.subTest(name):
                answer = self.early([[cut], nothing()])
                self.assertEqual(self.next_comment(answer), ": andiron: attempt 2 of 5, "
                                 "connection_terminated in phase first_byte")

    def test_attempts_that_are_counted_otherwise(self):
        answer = self.early([busy(), nothing()], headers=SOON + [("X-Andiron-Max-Attempts", "3")])
        self.assertTrue(self.next_comment(answer).startswith(": andiron: attempt 2 of 3, 503"))

    def test_no_key_and_no_words_of_others(self):
        evil = b'{"error":{"message":"a\\n\\ndata: {}\\n\\n","code":"SERVICE_UNAVAILABLE"}}'
        answer = self.early([reply(503, evil, [JSON]), nothing()],
                            headers=SOON + [("Authorization", "Bearer sesame")])
        for _ in range(3):
            line = self.next_comment(answer)
            self.assertNotIn("sesame", line)
            self.assertNotIn("data", line)


class Behind(PatienceTest):
    """The attempts go on."""

    def test_all_that_may_pass_passes(self):
        script = [[fin], [rst], busy(), busy(("retry-after-ms", "700")), sse(*pieces(WHOLE))]
        answer = self.early(script)
        self.assert_said(answer, WHOLE)
        self.assert_seen(5)
        event = self.wait_event(event="request")
        self.assertEqual((event["status"], event["attempts"], event.get("error")), (200, 5, None))

    def test_silence_then_another_attempt(self):
        answer = self.early([nothing(), sse(ONE, FINISH, DONE)],
                            {"profile.default": {"first_byte_timeout": "800ms"}})
        self.assert_said(answer, ONE + FINISH + DONE)
        self.assert_seen(2)

    def test_a_stream_that_begins_with_an_error(self):
        gate = threading.Event()
        answer = self.early([[wait(gate)] + sse(b"data: " + BUSY + b"\n\n"),
                             sse(ONE, FINISH, DONE)])
        gate.set()
        self.assert_said(answer, ONE + FINISH + DONE)
        self.assert_seen(2)

    def test_a_page_instead_of_a_stream(self):
        gate = threading.Event()
        answer = self.early([[wait(gate)] + reply(200, b"<html>", [JSON]), sse(ONE, DONE)])
        gate.set()
        self.assert_said(answer, ONE + DONE)

    def test_a_guarded_request_is_repeated_as_ever(self):
        gate = threading.Event()
        event, last = DIALECTS[RESPONSES]
        answer = self.early([[wait(gate)] + busy(), sse(event, last)], path=RESPONSES)
        gate.set()
        self.assert_said(answer, event + last)
        gate = threading.Event()
        answer = self.early([[wait(gate), fin], sse(event, last)], path=RESPONSES)
        gate.set()
        self.assert_failed(answer, code="connection_terminated")
        self.assert_seen(1)

    def test_a_break_in_the_stream_that_began_then(self):
        gate = threading.Event()
        answer = self.early([[wait(gate)] + sse(ONE, fin)])
        gate.set()
        body = answer.body
        before = body[:body.index(b"event: error")]
        self.assertEqual(without_comments(before), ONE)
        self.assert_error_event(answer, before)


class Failures(PatienceTest):
    """What fails then arrives as the error event."""

    def fail_with(self, answers, config=None, **options):
        """The answers come when the client has its head."""
        gate = threading.Event()
        answer = self.early([[wait(gate)] + answers[0], *answers[1:]], config, **options)
        gate.set()
        return answer

    def test_with_the_upstream_s_words(self):
        answer = self.fail_with([busy()] * 5)
        self.assert_failed(answer, message="too busy", type="overloaded",
                           code="SERVICE_UNAVAILABLE")
        self.assert_seen(5)
        event = self.wait_event(event="request")
        self.assertEqual((event["status"], event["attempts"], event["error"], event["error_code"]),
                         (200, 5, "upstream_status", "SERVICE_UNAVAILABLE"), event)

    def test_what_is_not_repeated(self):
        for status in (400, 401, 404, 422):
            with self.subTest(status):
                body = b'{"error":{"message":"m %d","type":"t","code":"c"}}' % status
                answer = self.fail_with([reply(status, body, [JSON])])
                self.assert_failed(answer, message=f"m {status}", type="t", code="c")
                self.assert_seen(1)
                event = self.wait_event(event="attempt")
                self.assertEqual((event["status"], event["error_code"]), (status, "c"), event)

    def test_words_of_any_shape(self):
        for body, message in ((b'{"error":"text"}', "text"), (b'{"message":"m","code":5}', "m"),
                              (b'{"error":{"message":"m"}}', "m")):
            with self.subTest(body):
                self.assert_failed(self.fail_with([reply(400, body, [JSON])]), message=message)

    def test_without_words_a_sentence(self):
        for body in (b"", b"<html>no</html>", b"{}"):
            with self.subTest(body):
                error = self.assert_failed(self.fail_with([reply(404, body)]),
                                           code="upstream_status")
                self.assertIn(self.upstream.authority, error["message"])

    def test_a_soft_error(self):
        for answers in ([reply(200, b'{"error":{"message":"m","code":"NOT_FOUND"}}', [JSON])],
                        [sse(b'data: {"error":{"message":"m","code":"NOT_FOUND"}}\n\n')]):
            self.assert_failed(self.fail_with(answers), message="m", code="NOT_FOUND")
            self.assert_seen(1)

    def test_what_is_no_stream(self):
        for body in (b'{"choices":[]}', b"<html>", b'{"detail":"m"}'):
            with self.subTest(body):
                self.assert_failed(self.fail_with([reply(200, body, [JSON])] * 5))
                self.assert_seen(5)

    def test_no_answer_at_all(self):
        error = self.assert_failed(self.fail_with([[fin]] + [[rst]] * 4),
                                   code="connection_terminated", type="andiron_error")
        self.assertIn("5 attempts", error["message"])
        self.assert_seen(5)

    def test_the_last_thing_that_happened_decides(self):
        answer = self.fail_with([busy(("Connection", "close"))] + [[fin]] * 4)
        error = self.assert_failed(answer, code="connection_terminated", type="andiron_error")
        self.assertNotIn("too busy", error["message"])
        answer = self.fail_with([[fin]] * 3 + [[rst], busy()])
        self.assert_failed(answer, message="too busy")

    def test_an_empty_stream(self):
        self.assert_failed(self.fail_with([sse()] * 5), code="stream_truncated")

    def test_the_deadline(self):
        answer = self.early([nothing()], {"profile.default": {"total_timeout": "1500ms"}})
        error = self.assert_failed(answer, code="http_response_timeout")
        self.assertIn("total_timeout", error["message"])
        self.assertIsNotNone(self.upstream.connections[0].wait_end())

    def test_a_wait_that_is_too_long(self):
        answer = self.fail_with([busy(("Retry-After", 61))])
        self.assert_failed(answer, message="too busy")
        self.assert_seen(1)

    def test_http_1_0_is_reset(self):
        answer = self.fail_with([reply(400, BUSY, [JSON])], version="HTTP/1.0")
        self.assert_end(answer, "reset")
        self.assertNotIn(b"[DONE]", answer.body)

    def check_passing(self, answer):
        """An answer that is no error, and cannot be handed on behind the early head."""
        error = self.assert_failed(self.fail_with([answer]))
        self.assertNotEqual(error["code"], "")
        event = self.wait_event(event="request")
        self.assertIsNotNone(event.get("error"), event)

    def test_a_stream_in_a_coding(self):
        self.check_passing(sse(gzip.compress(WHOLE),
                               headers=[EVENT_STREAM, ("Content-Encoding", "gzip")]))

    def test_a_redirection(self):
        self.check_passing(reply(307, b"", [("Location", "/elsewhere")]))


class Running(PatienceTest):
    """A silence in a running stream is filled between events."""

    def test_comments_stand_between_whole_events(self):
        for kept in (b"", HALF, TWO[:-1], TWO[:-2]):
            with self.subTest(kept):
                gate = threading.Event()
                self.launch([sse(ONE, *[kept] * bool(kept), gate, TWO[len(kept):] if kept != HALF
                                 else TWO, FINISH, DONE)])
                answer = self.start_stream(headers=SOON).read_head()
                answer.read_until(ONE)
                for _ in range(2):
                    self.next_comment(answer)
                gate.set()
                whole = ONE + (HALF + TWO if kept == HALF else TWO) + FINISH + DONE
                self.assert_said(answer, whole)
                self.assertTrue(answer.body.startswith(ONE + b": andiron: "))

    def test_none_stands_within_a_torn_event(self):
        """Another stream with the same limits is the clock."""
        gate = threading.Event()
        self.launch([sse(ONE, TORN, gate, b'"}\n\n', DONE), sse(ONE, gate, DONE)], ONE_WORKER)
        torn = self.start_stream(headers=SOON).read_head()
        torn.read_until(ONE + TORN[:65_536])
        clock = self.start_stream(headers=SOON).read_head()
        clock.read_until(ONE)
        for _ in range(4):
            self.next_comment(clock)
        gate.set()
        self.assert_whole(torn, ONE + TORN + b'"}\n\n' + DONE)
        self.assert_said(clock, ONE + DONE)

    def test_but_behind_it(self):
        gate = threading.Event()
        self.launch([sse(TORN, b'"}\n\n', gate, DONE)])
        answer = self.start_stream(headers=SOON).read_head()
        answer.read_until(b'"}\n\n')
        self.next_comment(answer)
        gate.set()
        self.assert_said(answer, TORN + b'"}\n\n' + DONE)

    def test_a_heartbeat_is_as_often_as_it_says(self):
        for patience in ("on", "off"):
            with self.subTest(patience):
                gate = threading.Event()
                self.launch([sse(ONE, gate, DONE)], {"profile.default": {
                    "heartbeat": "100ms", "patience": patience}})
                answer = self.start_stream().read_head()
                answer.read_until(ONE)
                for _ in range(3):
                    self.next_comment(answer)
                gate.set()
                self.assert_said(answer, ONE + DONE)

    def test_not_while_events_come(self):
        def steady(connection):
            for _ in range(20):
                connection.send(b"%x\r\n%s\r\n" % (len(ONE), ONE))
                gone.wait(0.05)     # the pace of this upstream, not a wait for something
        gone = threading.Event()
        self.launch([sse(steady, DONE)], {"profile.default": {"heartbeat": "5s"}})
        self.assert_whole(self.ask(), ONE * 20 + DONE)

    def test_an_upstream_s_comment_is_a_sign_of_life_too(self):
        gate = threading.Event()
        self.launch([sse(ONE, b": theirs\n\n", gate, DONE)], ONE_WORKER)
        answer = self.start_stream(headers=SOON).read_head()
        answer.read_until(b": theirs\n\n")
        gate.set()
        self.assert_said(answer, ONE + b": theirs\n\n" + DONE)

    def test_a_break_behind_a_comment(self):
        gate = threading.Event()
        self.launch([sse(ONE, gate, fin)])
        answer = self.start_stream(headers=SOON).read_head()
        answer.read_until(ONE)
        self.next_comment(answer)
        gate.set()
        body = answer.body
        self.assert_error_event(answer, body[:body.index(b"event: error")])

    def test_an_encoded_stream_gets_none(self):
        gate = threading.Event()
        headers = [EVENT_STREAM, ("Content-Encoding", "gzip")]
        self.launch([sse(b"\x1f\x8b", gate, b"z", headers=headers), sse(ONE, gate, DONE)],
                    ONE_WORKER)
        encoded = self.start_stream(headers=SOON).read_head()
        clock = self.start_stream(headers=SOON).read_head()
        clock.read_until(ONE)
        for _ in range(3):
            self.next_comment(clock)
        gate.set()
        self.assertEqual((encoded.body, encoded.end), (b"\x1f\x8bz", "complete"))


class Impatient(PatienceTest):
    """Who gets no early head."""

    def assert_no_early_head(self, headers, **profile):
        """Another request is the clock: its early head has come, and this one's has not."""
        gate = threading.Event()
        config = {**ONE_WORKER, "profile.default": profile,
                  "profile.interactive": {"patience": "on", "heartbeat": "0"}}
        self.launch(lambda request: [wait(gate)] + busy() if request.header("X-Asks")
                    else nothing(), config)
        client = self.start_stream(headers=[("X-Asks", "1"), ("X-Andiron-Max-Attempts", "1"),
                                            *headers])
        self.upstream.wait_requests(1)
        clock = self.start_stream(headers=SOON + [("X-Andiron-Profile", "interactive")])
        self.assert_status(clock.read_head(), 200)
        gate.set()
        self.assert_status(client.read_head(), 503)

    def assert_answered_in_time(self, body, path=COMPLETIONS, **profile):
        self.launch([nothing()], {"profile.default": profile})
        answer = self.request("POST", path, SOON, body)
        self.assert_error(answer, 504, "http_response_timeout")
        self.assert_seen(1)

    def test_those_with_time(self):
        for headers in ([], [("X-Stainless-Read-Timeout", "600")], [("X-Stainless-Lang", "js")],
                        [("X-Stainless-Read-Timeout", "soon")]):
            with self.subTest(headers):
                self.assert_no_early_head(headers)

    def test_with_a_limit_of_andiron_s_own(self):
        self.assert_no_early_head(SOON + [("X-Andiron-Timeout", "1m")])

    def test_where_only_a_heartbeat_is_set(self):
        self.assert_no_early_head([], patience="off", heartbeat="100ms")

    def test_those_that_ask_for_no_stream(self):
        for body in (CHAT, b'{"stream":false}', b'{"stream":"true"}', b'{"a":{"stream":true}}'):
            with self.subTest(body):
                self.assert_answered_in_time(body)

    def test_paths_without_a_known_form(self):
        self.assert_answered_in_time(STREAM, "/v1/workflows/w/text_to_image")

    def test_where_it_is_off(self):
        self.assert_answered_in_time(STREAM, patience="off")


class Leaving(PatienceTest):
    def assert_left(self, requests=1):
        event = self.wait_event(event="request")
        self.assertEqual((event["phase"], event["error"], event["status"]),
                         ("client", "client_closed", 200), event)
        self.andiron.stop()
        self.assert_seen(requests)

    @each_way
    def test_while_an_attempt_runs(self, leave):
        answer = self.early([nothing(), sse(ONE, DONE)])
        self.next_comment(answer)
        leave(answer.client)
        self.assertIsNotNone(self.upstream.connections[0].wait_end())
        self.assert_left()

    @each_way
    def test_between_two_attempts(self, leave):
        answer = self.early([busy(), sse(ONE, DONE)], SLOW_RETRY)
        self.next_comment(answer)
        leave(answer.client)
        self.assert_left()

    @each_way
    def test_in_the_stream_that_began_then(self, leave):
        gate = threading.Event()
        answer = self.early([[wait(gate)] + sse(ONE, hold())])
        gate.set()
        answer.read_until(ONE)
        leave(answer.client)
        self.assertIsNotNone(self.upstream.connections[0].wait_end())
        self.assert_left()

    def test_one_that_does_not_read(self):
        """Comments alone fill no buffer; the stream behind them is bounded as any other."""
        gate = threading.Event()
        event = b"data: " + b"x" * 60_000 + b"\n\n"

        def flood(connection):
            for _ in range(2000):
                connection.send(b"%x\r\n%s\r\n" % (len(event), event))
        self.launch([[wait(gate)] + sse(flood)], {"server": {"send_timeout": "500ms"}})
        answer = self.start_stream(headers=SOON).read_head()
        self.next_comment(answer)
        gate.set()
        event = self.wait_event(event="request")
        self.assertEqual((event["phase"], event["error"]), ("client", "client_closed"), event)
        self.assertIsNotNone(self.upstream.connections[0].wait_end())


class Drain(PatienceTest):
    def test_a_drain_lets_it_go_on(self):
        gate = threading.Event()
        answer = self.early([[wait(gate)] + busy(), sse(ONE, FINISH, DONE)])
        self.andiron.signal()
        self.andiron.wait_line("draining")
        self.next_comment(answer)
        gate.set()
        self.assert_said(answer, ONE + FINISH + DONE)
        self.assertEqual(answer.client.read_end(), (b"", "cut"))
        self.assertEqual(self.andiron.wait_exit(), 0)

    def test_an_early_head_in_a_drain_says_that_the_connection_ends(self):
        gate = threading.Event()
        self.launch([[wait(gate)] + sse(ONE, DONE)])
        client = self.start_stream(headers=[("X-Stainless-Read-Timeout", "1.5")])
        self.upstream.wait_requests(1)
        self.andiron.signal()
        answer = client.read_head()
        self.assertEqual((answer.header("Connection") or "").lower(), "close")
        gate.set()
        self.assert_said(answer, ONE + DONE)
        self.assertEqual(self.andiron.wait_exit(), 0)

    def test_its_end_is_the_error_event(self):
        for script, config in (([nothing()], {}), ([busy()], SLOW_RETRY["profile.default"])):
            with self.subTest(config):
                answer = self.early(script, {"server": {"drain_timeout": "300ms"},
                                             "profile.default": config})
                self.next_comment(answer)
                self.andiron.signal()
                self.assert_failed(answer)
                self.assertEqual(self.andiron.wait_exit(), 0)

    def test_the_words_of_its_end(self):
        """What ended it is the drain, or the deadline that the drain set."""
        answer = self.early([nothing()], {"server": {"drain_timeout": "300ms"}})
        self.andiron.signal()
        error = self.assert_failed(answer, code="draining")
        self.assertIn("shutting down", error["message"])


class Http10(PatienceTest):
    def test_it_gets_the_head_the_comments_and_the_end(self):
        gate = threading.Event()
        answer = self.early([[wait(gate)] + sse(ONE, FINISH, DONE)], version="HTTP/1.0")
        self.assertEqual(answer.framing, "close")
        self.next_comment(answer)
        gate.set()
        self.assert_said(answer, ONE + FINISH + DONE)


class Keys(PatienceTest):
    def test_nothing_of_the_error_event_is_json_that_breaks(self):
        """Words with line breaks, quotes and bytes that are no UTF-8 stay one event."""
        body = b'{"error":{"message":"a\\nb\\r\\n\\n\\"c\\" \\u0000 \xff","code":"x y"}}'
        gate = threading.Event()
        answer = self.early([[wait(gate)] + reply(400, body, [JSON])])
        gate.set()
        text = answer.body
        event = text[text.index(b"event: error"):]
        self.assertEqual(event.count(b"\n"), 3)
        error = json.loads(event.split(b"data: ")[1].split(b"\n\n")[0])["error"]
        self.assertTrue(error["message"].startswith("a\nb"), error)

    def test_a_head_that_was_sent_says_nothing_of_the_upstream(self):
        gate = threading.Event()
        stream = [send(head(200, [EVENT_STREAM, ("X-Theirs", "1"), ("Content-Length", len(WHOLE))])
                       + WHOLE)]
        answer = self.early([[wait(gate)] + stream])
        gate.set()
        self.assert_said(answer, WHOLE)
        self.assertEqual(answer.all("X-Theirs"), [])


if __name__ == "__main__":
    main()
