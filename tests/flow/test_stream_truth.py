"""Streams end as what they are: whole ones at once, others so that nobody takes them for whole
(CONTRACT 3, Streaming)."""

import gzip
import json
import os
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from client import Hang
from harness import BOUND, COMPLETIONS, FlowTest, main, needs_transport
from streams import (COMPLETED, CUTS, DIALECTS, DONE, FINISH, HALF, LEGACY, MESSAGES, ONE,
                     RESPONSES, STOP, TEXT, TWO, USAGE, WHOLE, StreamTest, pieces)
from upstream import (EVENT_STREAM, JSON, chunk, fin, head, hold, reply, rst, send, sse,
                      until_close, wait)

ONE_WORKER = {"server": {"workers": "1"}}
PATHS = (COMPLETIONS, LEGACY, MESSAGES, RESPONSES)
PLAIN = "/v1/workflows/w/text_to_image"     # a path whose streams have no known terminal event
TORN = b'data: {"long":"' + b"x" * 100_000  # larger than what is held of an event
LATE = "300ms"                              # an idle_timeout that runs out soon
OK_STREAM = sse(ONE, FINISH, DONE)


def error_event(path, message="it broke", kind="server_error", code="E1"):
    """An error as each dialect says it in the middle of a stream."""
    words = {"message": message, "type": kind, "code": code}
    if path == RESPONSES:   # no object, and the type is the event's
        data = {"type": "error", "code": code, "message": message, "sequence_number": 3}
    else:
        data = {"type": "error", "error": words} if path == MESSAGES else {"error": words}
    name = b"" if path in (COMPLETIONS, LEGACY) else b"event: error\n"
    return name + b"data: " + json.dumps(data).encode() + b"\n\n"


class TruthTest(StreamTest):
    def assert_torn(self, answer, before):
        """A part of TORN has gone out, at least what is held of an event."""
        gone = before + TORN[:max(0, answer.body.find(b"event: error") - 2 - len(before))]
        self.assertGreaterEqual(len(gone), 65_536)
        self.assert_error_event(answer, gone, blank=b"\n\n")


class Running(TruthTest):
    def test_an_event_leaves_before_the_next_one_comes(self):
        for path, (event, last) in DIALECTS.items():
            with self.subTest(path):
                gates = [threading.Event() for _ in range(3)]
                self.launch([sse(event, gates[0], event, gates[1], event, gates[2], last)])
                answer = self.start_stream(path).read_head()
                for count, gate in enumerate(gates, 1):
                    answer.read_until(event * count)
                    gate.set()
                self.assert_whole(answer, event * 3 + last)

    def test_an_event_leaves_when_its_last_byte_comes(self):
        """Whatever its line ends; the LF of a last CRLF is not waited for."""
        for end in (b"\n\n", b"\r\n\r\n", b"\r\r", b"\r\n\n"):
            with self.subTest(end):
                event, gate = ONE[:-2] + end, threading.Event()
                self.launch([sse(event[:-1], event[-1:], gate, DONE)])
                answer = self.start_stream().read_head()
                answer.read_until(event.rstrip(b"\n") if b"\r" in end else event)
                gate.set()
                self.assert_whole(answer, event + DONE)

    def test_half_an_event_is_kept_back(self):
        gate, sent = threading.Event(), threading.Event()
        self.launch([sse(ONE, HALF, lambda _: sent.set(), gate, TWO, DONE)], ONE_WORKER)
        answer = self.start_stream().read_head()
        self.assertTrue(sent.wait(BOUND))
        self.fence()
        self.assertEqual(answer.read_until(ONE), ONE)
        gate.set()
        self.assert_whole(answer, ONE + HALF + TWO + DONE)

    def test_a_long_event_leaves_before_its_end(self):
        gate = threading.Event()
        self.launch([sse(TORN, gate, b'"}\n\n', DONE)])
        answer = self.start_stream().read_head()
        answer.read_until(TORN[:65_536])
        gate.set()
        self.assert_whole(answer, TORN + b'"}\n\n' + DONE)

    def test_of_a_long_event_each_piece_leaves_as_it_comes(self):
        gate, done = threading.Event(), threading.Event()
        self.addCleanup(gate.set)
        self.launch([sse(TORN, b"y" * 1000, lambda _: done.set(), gate, b'"}\n\n', DONE)],
                    ONE_WORKER)
        client = self.start_stream()
        answer = client.read_head()
        answer.read_until(TORN[:65_536])
        self.assertTrue(done.wait(BOUND))
        self.fence()
        client.sock.settimeout(1)
        try:
            answer.read_until(b"y" * 1000)
        except Hang as hang:
            self.fail(f"the later pieces are kept back: {hang}")

    def test_nothing_is_changed(self):
        """Comments, line ends, characters and data that are cut anywhere."""
        streams = [
            WHOLE, ONE + TWO + FINISH + USAGE + DONE, (ONE + TWO).replace(b"\n", b"\r\n") + DONE,
            ONE.replace(b"\n", b"\r") + DONE.replace(b"\n", b"\r"),
            b": hi\n\n" + ONE + b":\n\n: a\n: b\n\n\n\n" + TWO + b": c\n" + DONE,
            b"\xef\xbb\xbf" + ONE + DONE, b"\n\n" + ONE + DONE, b"id: 7\nretry: 3\n\n" + ONE + DONE,
            'data: {"choices":[{"delta":{"content":"€ \U0001f525 ä"}}]}\n\n'.encode() + DONE,
            b'data: {"choices":[],\ndata: "a":1}\n\ndata\n\nevent: x\n\n' + DONE,
            b"data:" + ONE[6:] + DONE.replace(b" ", b""), ONE + DONE[:-1], ONE + DONE[:-2],
            b'data: {"error":null,"choices":[]}\n\n' + DONE, b"data: \xff\xfe\n\n" + ONE + DONE,
            b"event: ping\ndata: {}\n\n" + ONE + b"data:\n\n" + DONE,
            b'data: {"text":"data: [DONE]"}\n\n' + ONE + DONE,
        ]
        script = [(stream, size) for stream in streams for size in (1, 2, 3, 7, 4096)]
        self.launch([sse(*pieces(stream, size)) for stream, size in script])
        for stream, size in script:
            with self.subTest(stream, size=size):
                answer = self.ask()
                self.assert_whole(answer, stream)
                self.assert_attempts(answer, 1)

    def test_every_dialect_in_single_bytes(self):
        for path, (event, last) in DIALECTS.items():
            with self.subTest(path):
                whole = b": hi\n\n" + event * 3 + last
                self.launch([sse(*pieces(whole))])
                self.assert_whole(self.ask(path), whole)

    def test_finish_reason_without_done_is_whole(self):
        for path in (COMPLETIONS, LEGACY):
            for tail in (b"", USAGE, b": bye\n\n", USAGE[:-1], b"data: {}\n\n"):
                with self.subTest(path, tail=tail):
                    self.launch([sse(ONE, FINISH, tail) if tail else sse(ONE, FINISH)])
                    self.assert_whole(self.ask(path), ONE + FINISH + tail)

    def test_a_path_without_a_terminal_event_ends_where_http_ends(self):
        self.launch([sse(ONE, TWO), sse(ONE, DONE, TWO)])
        self.assert_whole(self.ask(PLAIN), ONE + TWO)
        self.assert_whole(self.ask(PLAIN), ONE + DONE + TWO)

    def test_http_1_0(self):
        self.launch([sse(ONE, TWO, FINISH), sse(ONE, DONE)])
        for whole in (ONE + TWO + FINISH, ONE + DONE):
            answer = self.ask(version="HTTP/1.0")
            self.assertEqual(answer.framing, "close")
            self.assert_whole(answer, whole)


class TheEnd(TruthTest):
    """After its terminal event a stream is over."""

    def test_the_answer_ends_at_once(self):
        for path, (event, last) in DIALECTS.items():
            with self.subTest(path):
                gate = threading.Event()
                self.launch([sse(event, last, gate, event)])
                self.assert_whole(self.ask(path), event + last)   # the gate is still shut
                gate.set()

    def test_a_terminal_event_may_be_named_in_its_data(self):
        """OpenAI's SDKs read the type there and do not look at the event's name."""
        for path in (MESSAGES, RESPONSES):
            with self.subTest(path):
                event, last = (part.split(b"\n", 1)[1] for part in DIALECTS[path])
                self.launch([sse(event, last)])
                self.assert_whole(self.ask(path), event + last)

    def test_each_terminal_event_of_responses(self):
        for name in (b"completed", b"incomplete", b"failed"):
            with self.subTest(name):
                last = COMPLETED.replace(b"completed", name)
                self.launch([sse(TEXT, last, hold())])
                self.assert_whole(self.ask(RESPONSES), TEXT + last)
                self.assertIsNotNone(self.upstream.connections[0].wait_end())

    def test_its_last_line_end_is_whole(self):
        for path, (event, last) in DIALECTS.items():
            with self.subTest(path):
                crlf = last.replace(b"\n", b"\r\n")
                self.launch([sse(event, crlf[:-1], crlf[-1:])])
                self.assert_whole(self.ask(path), event + crlf)

    def test_nothing_behind_it_passes(self):
        behind = [b": bye\n\n", ONE, DONE, error_event(COMPLETIONS), b"data: half"]
        self.launch([sse(ONE + DONE + more) for more in behind] +
                    [sse(ONE, DONE, more) for more in behind])
        for more in behind * 2:
            with self.subTest(more):
                self.assert_whole(self.ask(), ONE + DONE)

    def test_nor_does_a_break_behind_it_matter(self):
        for name, cut in CUTS.items():
            with self.subTest(name):
                self.launch([sse(ONE, DONE, cut)])
                self.assert_whole(self.ask(), ONE + DONE)
                event = self.wait_event(event="request")
                self.assertEqual((event["status"], event.get("error")), (200, None), event)
                self.assertEqual(self.andiron.find_events(event="attempt"), [])

    def test_the_next_answer_is_not_mixed_up_with_the_rest(self):
        gate = threading.Event()
        self.launch([sse(ONE, DONE, gate, TWO), sse(TWO, DONE), sse(ONE, DONE)], ONE_WORKER)
        client = self.connect()
        for event in (ONE, TWO, ONE):
            answer = client.request("POST", COMPLETIONS, [], b'{"stream":true}')
            self.assertEqual((answer.body, answer.end), (event + DONE, "complete"))
            gate.set()

    @needs_transport("native", "evhttp's client does not let go of an answer")
    def test_the_connection_is_kept_if_the_rest_comes_soon(self):
        gate, sent = threading.Event(), threading.Event()
        first = sse(ONE, DONE, gate, b": bye\n\n") + [lambda _: sent.set()]
        self.launch([first, sse(TWO, DONE)], ONE_WORKER)
        self.assert_whole(self.ask(), ONE + DONE)
        gate.set()
        self.assertTrue(sent.wait(BOUND))
        self.fence()
        self.assert_whole(self.ask(), TWO + DONE)
        self.assertEqual([request.connection for request in self.upstream.requests], [0, 0])

    def test_it_is_closed_if_the_rest_does_not_come(self):
        self.launch([sse(ONE, DONE, hold()), sse(TWO, DONE)])
        self.assert_whole(self.ask(), ONE + DONE)
        self.assertIsNotNone(self.upstream.connections[0].wait_end())
        self.assert_whole(self.ask(), TWO + DONE)

    def test_a_client_that_leaves_then_has_not_left_early(self):
        self.launch([sse(ONE, DONE, hold())])
        client = self.start_stream()
        self.assert_whole(client.read_head(), ONE + DONE)
        client.rst()
        event = self.wait_event(event="request")
        self.assertEqual(event.get("error"), None, event)


class Broken(TruthTest):
    """What the client gets of a stream that breaks: exactly."""

    def break_stream(self, *behind, path=COMPLETIONS, version="HTTP/1.1", config=None, event=None):
        """The client has one event when the break comes; an answer whose body is to be read."""
        gate = threading.Event()
        event = event or DIALECTS[path][0]
        self.launch([sse(event, gate, *behind), OK_STREAM], config)
        answer = self.start_stream(path, version=version).read_head()
        self.assert_status(answer, 200)
        answer.read_until(event)
        gate.set()
        return answer

    def assert_logged(self, *codes, **fields):
        """Both events say how it ended; nothing was sent again."""
        for kind in ("attempt", "request"):
            event = self.wait_event(event=kind)
            self.assertIn(event.get("error"), codes, event)
            found = {name: event.get(name) for name in fields}
            self.assertEqual((event["phase"], event["dashboard"], found),
                             ("body", "visible", fields), event)
        self.assertEqual(self.wait_event(event="request")["status"], 200)
        self.andiron.stop()
        self.assert_seen(1)

    def test_by_the_connection_s_end(self):
        for path in PATHS:
            for name, cut in CUTS.items():
                with self.subTest(path, cut=name):
                    error = self.assert_error_event(
                        self.break_stream(cut, path=path), DIALECTS[path][0])
                    codes = ("http_response_incomplete", "connection_terminated")
                    self.assertIn(error["code"], codes)
                    self.assertEqual(error["type"], "andiron_error")
                    self.assertIn(self.upstream.authority, error["message"])
                    self.assert_logged(*codes)

    def test_within_an_event_nothing_of_it_goes_out(self):
        for name, cut in CUTS.items():
            for half in (HALF, HALF + b"\n", b"event: x\r\n", DONE[:-2], DONE[:-1]):
                with self.subTest(name, half=half):
                    self.assert_error_event(self.break_stream(half, cut), ONE)

    def test_within_a_torn_event_a_blank_line_ends_it(self):
        for name, cut in CUTS.items():
            with self.subTest(name):
                self.assert_torn(self.break_stream(TORN, cut), ONE)

    def test_behind_a_torn_event_it_needs_none(self):
        whole = TORN + b'"}\n\n'
        self.assert_error_event(self.break_stream(whole, fin), ONE + whole)

    def test_by_silence(self):
        for path in PATHS:
            with self.subTest(path):
                error = self.assert_error_event(self.break_stream(
                    hold(), path=path, config={"profile.default": {"idle_timeout": LATE}}),
                    DIALECTS[path][0])
                self.assertEqual(error["code"], "connection_read_timeout")
                self.assertIn("idle_timeout", error["message"])
                self.assertIsNotNone(self.upstream.connections[0].wait_end())
                self.assert_logged("connection_read_timeout")

    def test_by_what_is_no_chunk(self):
        for bad in (b"zz\r\n", b"-1\r\n", b"3\r\nabcd\r\n", b"ffffffffffffffffff\r\n"):
            with self.subTest(bad):
                self.assert_error_event(self.break_stream(send(bad + TWO), fin), ONE)

    def test_by_a_clean_end_without_a_terminal_event(self):
        cases = [(path, DIALECTS[path][0], b"") for path in PATHS] + [
            (COMPLETIONS, ONE, b": bye\n\n"), (COMPLETIONS, ONE, b"data: [DONE\n\n"),
            (MESSAGES, ONE, FINISH), (MESSAGES, ONE, DONE), (RESPONSES, TEXT, DONE),
            (MESSAGES, ONE, b"event: message_delta\ndata: {}\n\n"), (COMPLETIONS, ONE, STOP),
            (RESPONSES, TEXT, b"event: response.output_text.done\ndata: {}\n\n")]
        for path, event, more in cases:
            with self.subTest(path, more=more):
                answer = self.break_stream(*[more] * bool(more), path=path, event=event)
                error = self.assert_error_event(answer, event + more)
                self.assertEqual(error["code"], "stream_truncated")
                self.assert_logged("stream_truncated")

    def test_by_a_clean_end_within_an_event(self):
        error = self.assert_error_event(self.break_stream(HALF), ONE)
        self.assertEqual(error["code"], "stream_truncated")

    def test_by_the_end_of_an_unframed_stream(self):
        self.launch([until_close(ONE, TWO, headers=[EVENT_STREAM, ("Connection", "close")])])
        error = self.assert_error_event(self.ask(), ONE + TWO)
        self.assertEqual(error["code"], "stream_truncated")

    def test_by_an_error_event(self):
        for path in PATHS:
            with self.subTest(path):
                event, last = DIALECTS[path]
                answer = self.break_stream(error_event(path), last, path=path)
                words = {"message": "it broke", "code": "E1"}
                if path != RESPONSES:   # whose events have no type of an error
                    words["type"] = "server_error"
                self.assert_words(self.assert_error_event(answer, event), **words)
                self.assert_logged("stream_error", error_code="E1")

    def test_by_an_error_event_of_any_shape(self):
        cases = {
            b'data: {"error":"it broke"}\n\n': ("it broke", "andiron_error", "stream_error"),
            b'data: {"error":{"message":"m"}}\n\n': ("m", "andiron_error", "stream_error"),
            b'data: {"error":{"message":"a \\"b\\" \\u20ac","code":429}}\n\n':
                ('a "b" \u20ac', "andiron_error", "429"),
            b'event: error\r\ndata: {"message":"m","code":"c"}\r\n\r\n':
                ("m", "andiron_error", "c"),
            b"event: error\ndata: plain words\n\n": ("plain words", "andiron_error",
                                                     "stream_error"),
            b'data: {"error":\ndata: {"type":"t","message":"m"}}\n\n': ("m", "t", "stream_error"),
            b'event: error\ndata: {"detail":"m"}\n\n': ("m", "andiron_error", "stream_error"),
        }
        for event, (message, kind, code) in cases.items():
            with self.subTest(event):
                error = self.assert_error_event(self.break_stream(event, DONE), ONE)
                self.assert_words(error, message=message, type=kind, code=code)

    def test_by_an_error_event_without_words(self):
        for event in (b"event: error\n\n", b"event: error\ndata: {}\n\n"):
            with self.subTest(event):
                error = self.assert_error_event(self.break_stream(event), ONE)
                self.assert_words(error, code="stream_error", type="andiron_error")
                self.assertIn(self.upstream.authority, error["message"])

    def test_by_an_error_event_in_single_bytes(self):
        bad = error_event(COMPLETIONS).replace(b"\n", b"\r\n")
        answer = self.break_stream(*pieces(bad + DONE))
        self.assert_words(self.assert_error_event(answer, ONE), message="it broke", code="E1")

    def test_by_an_error_event_that_is_torn(self):
        bad = b'event: error\ndata: {"error":{"message":"' + b"x" * 100_000 + b'"}}\n\n'
        answer = self.break_stream(bad, DONE)
        body = answer.body
        self.assertEqual(answer.end, "cut")
        self.assertNotIn(b"[DONE]", body)

    def test_an_error_event_ends_the_upstream_too(self):
        answer = self.break_stream(error_event(COMPLETIONS), hold())
        self.assert_error_event(answer, ONE)
        self.assertIsNotNone(self.upstream.connections[0].wait_end())

    def test_http_1_0_is_reset(self):
        breaks = {"clean end": [], "error event": [error_event(COMPLETIONS)], "fin": [fin],
                  "torn": [TORN, rst]}
        for name, behind in breaks.items():
            with self.subTest(name):
                answer = self.break_stream(*behind, version="HTTP/1.0")
                self.assert_end(answer, "reset")
                self.assertNotIn(b"[DONE]", answer.body)
                self.assertTrue(answer.body.startswith(ONE))

    def test_the_client_s_connection_ends_with_it(self):
        self.launch([sse(ONE), sse(ONE)])
        for _ in range(2):
            client = self.start_stream()
            _ = client.read_head().body
            self.assertEqual(client.read_end(), (b"", "cut"))

    def test_on_other_paths_too(self):
        error = self.assert_error_event(self.break_stream(fin, path=PLAIN, event=ONE), ONE)
        self.assertEqual(error["code"], "http_response_incomplete")


class Encoded(FlowTest):
    """Streams in a coding pass unread."""

    HEADERS = [EVENT_STREAM, ("Content-Encoding", "gzip")]

    def test_they_pass_whatever_is_in_them(self):
        for text in (ONE + DONE, ONE, error_event(COMPLETIONS), b"<html>"):
            with self.subTest(text):
                body = gzip.compress(text)
                self.launch([sse(body[:9], body[9:], headers=self.HEADERS), OK_STREAM])
                answer = self.request("POST", COMPLETIONS, [], b'{"stream":true}')
                self.assertEqual((answer.status, answer.body, answer.end), (200, body, "complete"))
                self.assertEqual(answer.all("Content-Encoding"), ["gzip"])
                self.assert_attempts(answer, 1)

    def test_at_once(self):
        gate = threading.Event()
        self.launch([sse(b"\x1f\x8b", gate, b"more", headers=self.HEADERS)])
        answer = self.start_stream().read_head()
        answer.read_until(b"\x1f\x8b")
        gate.set()
        self.assertEqual((answer.body, answer.end), (b"\x1f\x8bmore", "complete"))

    def test_a_cut_adds_nothing_that_would_be_decoded(self):
        gate = threading.Event()
        self.launch([sse(b"\x1f\x8b", gate, fin, headers=self.HEADERS)])
        answer = self.start_stream().read_head()
        answer.read_until(b"\x1f\x8b")
        gate.set()
        self.assertEqual((answer.body, answer.end), (b"\x1f\x8b:", "cut"))

    def test_the_upstream_is_asked_for_none(self):
        self.launch([OK_STREAM])
        self.request("POST", COMPLETIONS, [("Accept-Encoding", "gzip, br")], b'{"stream":true}')
        self.assertEqual(self.upstream.requests[0].all("Accept-Encoding"), ["identity"])


class Empty(TruthTest):
    """Streams in which nothing was said may be asked for again."""

    STARTS = {"nothing": [], "comments": [b": hi\n\n", b": hi again\n\n"], "blank lines": [b"\n\n"],
              "an id": [b"id: 1\n\n"], "half an event": [HALF], "a BOM": [b"\xef\xbb\xbf"]}

    def test_a_clean_end_is_retried(self):
        for name, start in self.STARTS.items():
            with self.subTest(name):
                self.launch([sse(*start), OK_STREAM])
                answer = self.ask()
                self.assert_whole(answer, ONE + FINISH + DONE)
                self.assert_attempts(answer, 2)
                event = self.wait_event(event="attempt")
                self.assertEqual((event["phase"], event["error"]), ("body", "stream_truncated"))

    def test_so_is_every_other_end(self):
        for name, start in self.STARTS.items():
            for cut in CUTS.values():
                with self.subTest(name):
                    self.launch([sse(*start, cut), OK_STREAM])
                    answer = self.ask()
                    self.assert_whole(answer, ONE + FINISH + DONE)
                    self.assert_attempts(answer, 2)

    def test_so_is_silence(self):
        for start in ([], [b": hi\n\n"], [HALF]):
            with self.subTest(start):
                self.launch([sse(*start, hold()), OK_STREAM],
                            {"profile.default": {"idle_timeout": LATE}})
                answer = self.ask()
                self.assert_whole(answer, ONE + FINISH + DONE)
                self.assert_attempts(answer, 2)

    def test_used_up_it_is_a_502(self):
        self.launch([sse()] * 5)
        answer = self.ask()
        self.assert_error(answer, 502, "stream_truncated")
        self.assert_attempts(answer, 5)
        self.assertEqual(answer.all("x-should-retry"), ["false"])

    def test_a_guarded_one_is_not_asked_for_again(self):
        self.launch([sse(), OK_STREAM])
        self.assert_error(self.ask(RESPONSES), 502, "stream_truncated")
        self.assert_seen(1)

    def test_the_terminal_event_alone_is_whole(self):
        for path, (_, last) in DIALECTS.items():
            with self.subTest(path):
                self.launch([sse(last)])
                self.assert_whole(self.ask(path), last)

    def test_of_an_unknown_form_it_is_whole(self):
        self.launch([sse(), sse(b": hi\n\n")])
        self.assert_whole(self.ask(PLAIN), b"")
        self.assert_whole(self.ask(PLAIN), b": hi\n\n")


class Held(TruthTest):
    """hold_stream: a stream that breaks within the limit is asked for again, unseen."""

    CONFIG = {"profile.default": {"hold_stream": "64KiB"}, **ONE_WORKER}
    STALLS = {"profile.default": {"hold_stream": "64KiB", "idle_timeout": LATE}}
    BREAKS = {**{name: [cut] for name, cut in CUTS.items()}, "stalled": [hold()],
              "error": [error_event(COMPLETIONS), DONE], "clean end": [],
              "clean end within an event": [HALF], "bad chunk": [send(b"zz\r\n"), fin]}

    def config_for(self, name):
        return self.STALLS if name == "stalled" else self.CONFIG

    def test_a_broken_one_is_retried(self):
        for name, behind in self.BREAKS.items():
            with self.subTest(name):
                self.launch([sse(ONE, TWO, *behind), sse(TWO, FINISH, DONE)],
                            self.config_for(name))
                answer = self.ask()
                self.assert_whole(answer, TWO + FINISH + DONE)
                self.assert_attempts(answer, 2)
                self.assert_seen(2)
                self.wait_event(event="attempt", attempt=1)

    def test_the_client_sees_nothing_until_it_is_whole(self):
        gate, sent = threading.Event(), threading.Event()
        self.launch([sse(ONE, TWO, lambda _: sent.set(), gate, DONE)],
                    self.CONFIG)
        client = self.start_stream()
        self.assertTrue(sent.wait(BOUND))
        self.fence()
        client.sock.setblocking(False)
        with self.assertRaises(BlockingIOError):
            client.sock.recv(1)
        client.sock.settimeout(BOUND)
        gate.set()
        self.assert_whole(client.read_head(), ONE + TWO + DONE)

    def test_it_goes_out_at_its_terminal_event(self):
        self.launch([sse(ONE, DONE, hold())], self.CONFIG)
        self.assert_whole(self.ask(), ONE + DONE)

    def test_a_larger_one_passes_on(self):
        large, gate = ONE[:-2] + b" " * 1000 + b"\n\n", threading.Event()
        self.launch([sse(large * 100, gate, DONE)], self.CONFIG)
        answer = self.start_stream().read_head()
        answer.read_until(large * 60)
        gate.set()
        self.assert_whole(answer, large * 100 + DONE)

    def test_and_breaks_as_any_other(self):
        large = ONE[:-2] + b" " * 1000 + b"\n\n"
        for name in ("fin", "stalled", "error", "clean end"):
            with self.subTest(name):
                self.launch([sse(large * 100, *self.BREAKS[name]), OK_STREAM],
                            self.config_for(name))
                self.assert_error_event(self.ask(), large * 100)
                self.assert_seen(1)

    def test_a_torn_event_passes_on(self):
        gate = threading.Event()
        self.launch([sse(TORN, gate, fin)], self.CONFIG)
        answer = self.start_stream().read_head()
        answer.read_until(TORN[:65_536])
        gate.set()
        self.assert_torn(answer, b"")

    def test_used_up_the_last_break_decides(self):
        for name, status, code in (("fin", 502, "http_response_incomplete"),
                                   ("stalled", 504, "connection_read_timeout"),
                                   ("clean end", 502, "stream_truncated")):
            with self.subTest(name):
                self.launch([sse(ONE, *self.BREAKS[name])] * 2, self.config_for(name))
                answer = self.start_stream(headers=[("X-Andiron-Max-Attempts", "2")]).read_head()
                self.assert_error(answer, status, code)
                self.assert_attempts(answer, 2)

    def test_used_up_an_error_event_is_the_answer(self):
        self.launch([sse(ONE, error_event(COMPLETIONS, code="SERVICE_UNAVAILABLE"), DONE)] * 2,
                    self.CONFIG)
        answer = self.start_stream(headers=[("X-Andiron-Max-Attempts", "2")]).read_head()
        self.assert_status(answer, 503)
        self.assertEqual(answer.json()["error"]["message"], "it broke")
        self.assertEqual(answer.header("X-Andiron-Source"), "upstream")

    def test_a_guarded_one_is_not_asked_for_again(self):
        for name in ("fin", "clean end"):
            with self.subTest(name):
                self.launch([sse(TEXT, *self.BREAKS[name]), OK_STREAM], self.CONFIG)
                self.assert_error(self.ask(RESPONSES), 502)
                self.assert_seen(1)


class Framed(TruthTest):
    """How the upstream frames a stream does not matter."""

    def test_with_a_length(self):
        self.launch([reply(200, WHOLE, [EVENT_STREAM]), reply(200, ONE, [EVENT_STREAM])])
        self.assert_whole(self.ask(), WHOLE)
        error = self.assert_error_event(self.ask(), ONE)
        self.assertEqual(error["code"], "stream_truncated")

    def test_with_a_length_that_is_not_reached(self):
        start = head(200, [EVENT_STREAM, ("Content-Length", 5000)])
        self.launch([[send(start + ONE), fin]])
        self.assert_error_event(self.ask(), ONE)

    def test_many_events_in_a_chunk_and_a_chunk_in_an_event(self):
        gate = threading.Event()
        self.launch([[send(head(200, [EVENT_STREAM, ("Transfer-Encoding", "chunked")])),
                      send(chunk(ONE + TWO + HALF)), wait(gate), send(chunk(TWO + DONE)),
                      send(b"0\r\n\r\n")]])
        answer = self.start_stream().read_head()
        answer.read_until(ONE + TWO)
        gate.set()
        self.assert_whole(answer, ONE + TWO + HALF + TWO + DONE)

    def test_any_2xx_with_events_is_a_stream(self):
        self.launch([sse(ONE, status=201)])
        error = self.assert_error_event(self.ask(), ONE)
        self.assertEqual(error["code"], "stream_truncated")

    def test_a_stream_that_nobody_asked_for_is_one_too(self):
        self.launch([sse(ONE, FINISH, DONE)])
        answer = self.post()
        self.assert_whole(answer, ONE + FINISH + DONE)
        self.assertEqual(answer.all("Content-Type"), ["text/event-stream"])

    def test_errors_with_events_are_answers(self):
        self.launch([reply(400, error_event(COMPLETIONS), [EVENT_STREAM]),
                     reply(400, b"{}", [JSON])])
        answer = self.ask()
        self.assert_status(answer, 400)
        self.assertEqual((answer.body, answer.end), (error_event(COMPLETIONS), "complete"))
        self.assert_status(self.ask(), 400)


if __name__ == "__main__":
    main()
