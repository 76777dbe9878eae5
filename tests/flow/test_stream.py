"""Streams that go well, and streams that break (CONTRACT 3, Streaming)."""

import json
import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import BOUND, COMPLETIONS, STREAM, FlowTest, main
from upstream import (EVENT_STREAM, fin, head, ragged, reply, rst, send, sse, until_close,
                      wait)

ONE = b'data: {"choices":[{"delta":{"content":"one"}}]}\n\n'
TWO = b'data: {"choices":[{"delta":{"content":"two"}}]}\n\n'
FINISH = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
HALF = b'data: {"choices":[{"del'
UNFINISHED = b"\r\n2\r\n:"      # the end of a chunk, and one that is begun and never ended
CUTS = {"fin": fin, "rst": rst, "no close_notify": ragged}


class Whole(FlowTest):
    def test_events_come_byte_for_byte(self):
        events = [
            ONE, b": a comment\n\n", TWO.replace(b"\n", b"\r\n"), b"id: 7\nevent: x\n" + TWO,
            b'data: {"choices":[],\ndata: "more":"\xe2\x82\xac"}\n\n', b"data:{}\n\n",
            b'data: {"big":"' + b"x" * 200_000 + b'"}\n\n', FINISH, DONE]
        self.launch([sse(*events)])
        answer = self.request("POST", COMPLETIONS, [], STREAM)
        self.assert_status(answer, 200)
        self.assert_end(answer)
        self.assertEqual(answer.body, b"".join(events))
        self.assertEqual(answer.framing, "chunked")
        self.assertEqual(answer.all("Content-Type"), ["text/event-stream"])

    def test_events_in_any_pieces_come_whole(self):
        whole = ONE + TWO.replace(b"\n", b"\r\n") + FINISH + DONE
        self.launch([sse(*[whole[at:at + 1] for at in range(len(whole))])])
        answer = self.request("POST", COMPLETIONS, [], STREAM)
        self.assert_end(answer)
        self.assertEqual(answer.body, whole)

    def test_an_event_comes_before_the_next_is_sent(self):
        gates = [threading.Event() for _ in range(3)]
        self.launch([sse(ONE, gates[0], TWO, gates[1], FINISH, gates[2], DONE)])
        answer = self.start_stream().read_head()
        for event, gate in zip((ONE, TWO, FINISH), gates):
            answer.read_until(event)
            gate.set()
        self.assert_end(answer)
        self.assertEqual(answer.body, ONE + TWO + FINISH + DONE)

    def test_both_connections_go_on_after_a_stream(self):
        self.launch([sse(ONE, FINISH, DONE), sse(TWO, FINISH, DONE)])
        client = self.connect()
        for event in (ONE, TWO):
            answer = client.request("POST", COMPLETIONS, [], STREAM)
            self.assertEqual((answer.body, answer.end), (event + FINISH + DONE, "complete"))

    def test_an_unframed_stream_is_framed_here(self):
        headers = [EVENT_STREAM, ("Connection", "close")]
        self.launch([until_close(ONE, FINISH, DONE, headers=headers)])
        answer = self.request("POST", COMPLETIONS, [], STREAM)
        self.assertEqual((answer.body, answer.end), (ONE + FINISH + DONE, "complete"))
        self.assertEqual(answer.framing, "chunked")

    def test_a_refused_stream_is_retried_and_then_an_ordinary_error(self):
        self.launch([reply(503), sse(ONE, DONE), reply(400, b'{"error":{}}')])
        answer = self.request("POST", COMPLETIONS, [], STREAM)
        self.assert_status(answer, 200)
        self.assert_attempts(answer, 2)
        self.assert_status(self.request("POST", COMPLETIONS, [], STREAM), 400)

    def test_http_1_0_gets_the_events_and_the_end(self):
        self.launch([sse(ONE, FINISH, DONE)])
        client = self.start_stream(version="HTTP/1.0")
        answer = client.read_head()
        self.assertNotEqual(answer.framing, "chunked", repr(answer))
        self.assertEqual((answer.body, answer.end), (ONE + FINISH + DONE, "complete"))


class Broken(FlowTest):
    def assert_broken(self, answer, events):
        """The events, the error event, an unfinished chunk, FIN. Returns the error object."""
        body = answer.body
        self.assertEqual(answer.end, "cut", repr(answer))
        self.assertNotIn(b"[DONE]", body)
        self.assertTrue(body.startswith(events), repr(answer))
        before, mark, after = body.rpartition(b"event: error\ndata: ")
        self.assertTrue(mark, f"no error event: {body!r}")
        self.assertTrue(before.endswith(b"\n\n"), f"no blank line before it: {body!r}")
        event, _, rest = after.partition(b"\n\n")
        self.assertEqual(rest, b":", f"behind the error event: {body!r}")
        tail = answer.client.tail()
        self.assertTrue(tail.endswith(UNFINISHED), repr(tail[-200:]))
        payload = json.loads(event)
        self.assertEqual(payload["type"], "error")
        self.assertEqual({"message", "type", "code"} - set(payload["error"]), set())
        self.assertTrue(payload["error"]["message"].strip())
        return payload["error"]

    def break_stream(self, *pieces, path=COMPLETIONS, config=None):
        """The client has event ONE before the break."""
        gate = threading.Event()
        self.launch([sse(ONE, gate, *pieces), sse(TWO, DONE)], config)
        answer = self.start_stream(path).read_head()
        self.assert_status(answer, 200)
        answer.read_until(ONE)
        gate.set()
        return answer

    def test_between_events(self):
        for name, cut in CUTS.items():
            with self.subTest(name):
                answer = self.break_stream(cut)
                error = self.assert_broken(answer, ONE)
                self.assertIn(error["code"],
                              ("http_response_incomplete", "connection_terminated"))
                self.assertIn(b"data: {\"type\":\"error\"", answer.body)
                self.assert_attempts(answer, 1)
                self.assert_seen(1)

    def test_within_an_event(self):
        for name, cut in CUTS.items():
            with self.subTest(name):
                self.assert_broken(self.break_stream(TWO, HALF, cut), ONE)

    def test_within_a_chunk(self):
        half_chunk = send(b"ffff\r\n" + HALF)
        for name, cut in CUTS.items():
            with self.subTest(name):
                self.assert_broken(self.break_stream(half_chunk, cut), ONE)

    def test_within_a_long_event(self):
        long = b'data: {"long":"' + b"x" * 300_000
        self.assert_broken(self.break_stream(long, fin), ONE)

    def test_a_chunk_size_that_is_none(self):
        self.assert_broken(self.break_stream(send(b"zz\r\n" + TWO)), ONE)

    def test_messages_break_the_same_way(self):
        self.assert_broken(self.break_stream(fin, path="/v1/messages"), ONE)

    def test_an_unframed_stream_without_close_notify(self):
        headers = [EVENT_STREAM, ("Connection", "close")]
        self.launch([until_close(ONE, headers=headers, ending=ragged)])
        self.assert_broken(self.start_stream().read_head(), ONE)

    def test_silence_for_longer_than_idle_timeout(self):
        error = self.assert_broken(self.break_stream(
            threading.Event(), config={"profile.default": {"idle_timeout": "300ms"}}), ONE)
        self.assertEqual(error["code"], "connection_read_timeout")
        self.assertIsNotNone(self.upstream.connections[0].wait_end(BOUND))

    def test_http_1_0_is_reset(self):
        for name, cut in CUTS.items():
            with self.subTest(name):
                gate = threading.Event()
                self.launch([sse(ONE, gate, cut)])
                answer = self.start_stream(version="HTTP/1.0").read_head()
                answer.read_until(ONE)
                gate.set()
                self.assert_end(answer, "reset")
                self.assertNotIn(b"[DONE]", answer.body)

    def test_nothing_is_retried_and_the_log_says_how_it_ended(self):
        answer = self.break_stream(TWO, fin)
        self.assert_broken(answer, ONE + TWO)
        event = self.wait_event(event="request")
        self.assertEqual((event["phase"], event["stream"], event["status"], event["attempts"]),
                         ("body", True, 200, 1), event)
        self.assertEqual(self.wait_event(event="attempt")["phase"], "body")
        self.andiron.stop()
        self.assert_seen(1)


class CutAnswers(FlowTest):
    """Answers that are too long to hold, and end early: no client may take them for whole."""

    def check(self, cut, length):
        gate = threading.Event()
        start = b"x" * 6_000_000
        framing = ("Content-Length", 7_000_000) if length else ("Transfer-Encoding", "chunked")
        piece = start if length else b"%x\r\n%s\r\n" % (len(start), start)
        self.launch([[send(head(200, [framing])), send(piece), wait(gate), cut]])
        client = self.connect()
        client.send_request("GET", "/v1/accounts/a/files/f")
        answer = client.read_head()
        answer.read_until(b"x" * 100_000)
        gate.set()
        _ = answer.body
        self.assertIn(answer.end, ("cut", "reset"), repr(answer))
        self.assert_seen(1)

    def test_with_a_length(self):
        for name, cut in CUTS.items():
            with self.subTest(name):
                self.check(cut, True)

    def test_in_chunks(self):
        for name, cut in CUTS.items():
            with self.subTest(name):
                self.check(cut, False)


class Choices(FlowTest):
    """Without [DONE] a clean end is one only if every choice has had its finish_reason."""

    ENDS = [b'data: {"choices":[{"index":%d,"delta":{},"finish_reason":"stop"}]}\n\n' % index for index in (0, 1)]
    BOTH = b'data: {"choices":[{"index":0,"delta":{}},{"index":1,"delta":{}}]}\n\n'

    def test_all_finished_is_whole(self):
        self.launch([sse(self.BOTH, *self.ENDS)])
        answer = self.start_stream().read_head()
        self.assertEqual(answer.body, self.BOTH + b"".join(self.ENDS))
        self.assert_end(answer)

    def test_one_unfinished_is_not(self):
        self.launch([sse(self.BOTH, self.ENDS[0])])
        self.assertIn(b"stream_truncated", self.start_stream().read_head().body)
        self.wait_event(event="request", error="stream_truncated")


if __name__ == "__main__":
    main()
