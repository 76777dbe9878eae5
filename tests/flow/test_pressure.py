"""Slow readers, and bytes that belong to no answer."""

import hashlib
import os
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import BOUND, CHAT, COMPLETIONS, FlowTest, is_sanitized, main
from upstream import BINARY, EVENT_STREAM, JSON, chunk, head, hold, repeat, reply, send, wait

MIB = 1024 * 1024
EVENT = b'data: {"choices":[{"delta":{"content":"' + b"x" * 16336 + b'"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
TIMES = 200 * MIB // len(EVENT)
EVIL = head(299, [("Content-Length", "4")], "EVIL") + b"evil"
OK = reply(200, b'{"mine":true}', [JSON])


def wait_rest(connection):
    """Waits until the upstream can send no more; how much it sent."""
    seen, deadline = -1, time.monotonic() + BOUND
    while time.monotonic() < deadline and (seen != connection.sent or seen == 0):
        seen = connection.sent
        time.sleep(0.5)
    return seen


class SlowReaders(FlowTest):
    def check(self, answer_of_upstream, total, digest, body=None):
        self.launch([answer_of_upstream, OK])
        self.assert_status(self.request("GET", "/nowhere"), 404)   # its buffers are warm
        before = self.andiron.memory()
        client = self.connect()
        client.send_request("POST" if body else "GET", COMPLETIONS if body else "/v1/models",
                            [], body)
        answer = client.read_head()
        sent = wait_rest(self.upstream.wait_connections(1)[0])
        self.assertLess(sent, total, "the upstream could send everything to nobody")
        grown = self.andiron.memory("VmHWM") - before
        if not is_sanitized():
            self.assertLess(grown, 64 * MIB, f"grown by {grown // MIB} MiB")
        self.assertEqual(answer.count(), (total, digest))
        self.assertEqual(answer.end, "complete")

    def test_a_stream_waits_for_its_client(self):
        whole = hashlib.sha256(EVENT * TIMES + DONE).hexdigest()
        self.check([send(head(200, [EVENT_STREAM, ("Transfer-Encoding", "chunked")])),
                    repeat(chunk(EVENT), TIMES), send(chunk(DONE) + b"0\r\n\r\n")],
                   TIMES * len(EVENT) + len(DONE), whole, b'{"stream":true}')

    def test_a_download_with_a_length_waits_for_its_client(self):
        total = TIMES * len(EVENT)
        self.check([send(head(200, [BINARY, ("Content-Length", total)])), repeat(EVENT, TIMES)],
                   total, hashlib.sha256(EVENT * TIMES).hexdigest())

    def test_a_download_in_chunks_waits_for_its_client(self):
        total = TIMES * len(EVENT)
        self.check([send(head(200, [BINARY, ("Transfer-Encoding", "chunked")])),
                    repeat(chunk(EVENT), TIMES), send(b"0\r\n\r\n")],
                   total, hashlib.sha256(EVENT * TIMES).hexdigest())

    def test_a_client_that_takes_nothing_is_cut_in_the_end(self):
        self.launch([[send(head(200, [EVENT_STREAM, ("Transfer-Encoding", "chunked")])),
                      repeat(chunk(EVENT), TIMES)]], {"server": {"send_timeout": "500ms"}})
        self.start_stream()
        event = self.wait_event(event="request")
        self.assertEqual((event["phase"], event["error"]), ("client", "client_closed"), event)
        self.assertIsNotNone(self.upstream.connections[0].wait_end())

    def test_a_slow_reader_does_not_hold_others_up(self):
        self.launch([[send(head(200, [EVENT_STREAM, ("Transfer-Encoding", "chunked")])),
                      repeat(chunk(EVENT), TIMES)]] + [OK] * 8)
        self.start_stream().read_head()
        for _ in range(8):      # both workers
            self.assert_status(self.post(), 200)

    def test_a_slow_writer_does_not_hold_others_up(self):
        self.launch([OK] * 8)
        for _ in range(4):
            self.connect().send_request("POST", COMPLETIONS, [("Content-Length", "9")], b"{")
        for _ in range(8):
            self.assert_status(self.post(), 200)


class Surplus(FlowTest):
    """Bytes behind an upstream's answer must never be the next request's answer."""

    def check(self, poisoned, method="POST", status=200):
        self.launch([poisoned, OK, OK])
        client = self.connect()
        body = CHAT if method == "POST" else None
        self.assert_status(client.request(method, COMPLETIONS, [], body), status)
        for _ in range(2):
            answer = client.request("POST", COMPLETIONS, [], CHAT)
            self.assert_status(answer, 200)
            self.assertEqual(answer.body, b'{"mine":true}')
        client.fin()

    def test_behind_a_length(self):
        self.check([send(head(200, [("Content-Length", "2")]) + b"{}" + EVIL)])

    def test_behind_a_last_chunk(self):
        self.check([send(head(200, [("Transfer-Encoding", "chunked")]) +
                         chunk(b"{}") + b"0\r\n\r\n" + EVIL)])

    def test_behind_an_answer_without_a_body(self):
        self.check([send(head(204) + EVIL)], status=204)

    def test_a_body_in_answer_to_head(self):
        self.check([send(head(200, [("Content-Length", len(EVIL))]) + EVIL)], method="HEAD")

    def test_behind_a_refusal_that_is_retried(self):
        self.launch([[send(head(503, [("Content-Length", "0")]) + EVIL)], OK])
        answer = self.post()
        self.assertEqual((answer.status, answer.body), (200, b'{"mine":true}'))

    def test_later_on_an_idle_connection(self):
        gate = threading.Event()
        self.launch([OK + [wait(gate), send(EVIL), hold()], OK, OK])
        client = self.connect()
        self.assert_status(client.request("POST", COMPLETIONS, [], CHAT), 200)
        gate.set()
        self.assertIsNotNone(self.upstream.connections[0].wait_end())   # dropped, as it must be
        for _ in range(2):
            answer = client.request("POST", COMPLETIONS, [], CHAT)
            self.assertEqual((answer.status, answer.body), (200, b'{"mine":true}'))


if __name__ == "__main__":
    main()
