"""What streams are made of, and how a broken one must end (CONTRACT 3, Streaming)."""

import json
import re

from client import chunk
from harness import COMPLETIONS, FlowTest
from upstream import fin, ragged, rst

ONE = b'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n'
TWO = b'data: {"choices":[{"index":0,"delta":{"content":"two"}}]}\n\n'
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"
WHOLE = ONE + TWO + FINISH + DONE
HALF = b'data: {"choices":[{"del'

MESSAGES, RESPONSES, LEGACY = "/v1/messages", "/v1/responses", "/v1/completions"
DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
TEXT = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta"}\n\n'
COMPLETED = b'event: response.completed\ndata: {"type":"response.completed","response":{}}\n\n'

# An event and a terminal event of each dialect, by path.
DIALECTS = {COMPLETIONS: (ONE, DONE), LEGACY: (ONE, DONE), MESSAGES: (DELTA, STOP),
            RESPONSES: (TEXT, COMPLETED)}

CUTS = {"fin": fin, "rst": rst, "no close_notify": ragged}
COMMENT = re.compile(rb": andiron: [^\n]*\n\n")


def pieces(data, size=1):
    """Cut into pieces of so many bytes."""
    return [data[at:at + size] for at in range(0, len(data), size)]


def without_comments(body):
    return COMMENT.sub(b"", body)


class StreamTest(FlowTest):
    def ask(self, path=COMPLETIONS, headers=(), version="HTTP/1.1"):
        """A streaming request and its whole answer, whatever its end."""
        answer = self.start_stream(path, headers, version).read_head()
        _ = answer.body
        return answer

    def fence(self):
        """A turn of andiron's loop: what had reached it before this was sent has been seen. Needs
        `workers = 1`."""
        self.assert_status(self.request("GET", "/nowhere"), 404)

    def assert_whole(self, answer, events):
        self.assert_status(answer, 200)
        self.assertEqual((answer.body, answer.end), (events, "complete"), repr(answer))

    def assert_error_event(self, answer, before, blank=b""):
        """The body is `before`, a blank line if a part of an event went out, and the error event in
        a chunk of its own, then the beginning of another chunk, then FIN. The error object."""
        body = answer.body
        self.assertEqual(answer.end, "cut", repr(answer))
        last = body[len(before):-1]
        self.assertTrue(body.startswith(before) and body.endswith(b"\n\n:"), repr(answer))
        self.assertTrue(last.startswith(blank + b"event: error\ndata: {"), repr(last[:200]))
        self.assertEqual(last[len(blank):].count(b"\n"), 3, repr(last))
        tail = chunk(last) + b"2\r\n:"
        self.assertEqual(answer.client.tail()[-len(tail):], tail)
        payload = json.loads(last[len(blank):].split(b"data: ", 1)[1])
        self.assertEqual(payload["type"], "error")
        self.assertEqual({"message", "type", "param", "code"} - set(payload["error"]), set())
        for name in ("message", "type", "code"):
            self.assertTrue((payload["error"][name] or "").strip(), payload)
        return payload["error"]

    def assert_words(self, error, **words):
        self.assertEqual({name: error[name] for name in words}, words)
