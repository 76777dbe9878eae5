"""Kept connections: which are used again, and what happens when one dies."""

import os
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import CHAT, COMPLETIONS, STREAM, TRANSPORT, FlowTest, main, needs_transport
from upstream import (BOUND, EVENT_STREAM, JSON, LAST_CHUNK, chunk, chunked, fin, head, hold,
                      nothing, ragged, reply, rst, send, sse, wait)

BODY = b'{"ok":true}'
OK = reply(200, BODY, [JSON])
DONE = b'data: {"choices":[{"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
CREATE = "/v1/accounts/a/datasets"                                      # guarded
RESPONSES = "/v1/responses"                                             # guarded
TRAINER = "/training/v1/rlorTrainerJobs/a/j/api/v1/forward_backward"    # never
ONLY_SO_LONG = 1.0      # seconds a connection may have waited for a request that is sent once


def notify(connection):
    """close_notify, and no FIN behind it: half a goodbye."""
    connection.sock.settimeout(0)
    try:
        connection.sock.unwrap()
    except OSError:
        pass


def half_close(connection):
    """A FIN that is out when this returns."""
    socket.socket.shutdown(connection.sock, socket.SHUT_WR)


ENDINGS = {
    "fin": ("server", [fin]),
    "rst": ("server", [rst]),
    "ragged": ("server", [ragged]),
    "close_notify": ("server", [notify, hold()]),
    "fin over plain tcp": (None, [fin]),
    "rst over plain tcp": (None, [rst]),
}

AT_ONCE = {     # the same, but out before the next step; a reset is the last one anyway
    "fin": ("server", [notify, half_close]),
    "rst": ("server", []),
    "ragged": ("server", [half_close]),
    "close_notify": ("server", [notify]),
    "fin over plain tcp": (None, [half_close]),
    "rst over plain tcp": (None, []),
}


class Reuse(FlowTest):
    def begin(self, script, tls="server", upstream=None, **profile):
        profile.setdefault("max_attempts", "3")
        self.launch(upstream=self.scripted(script, tls), config={
            "server": {"workers": "1"}, "upstream.fireworks": upstream or {},
            "profile.default": profile, "profile.batch": profile})

    def ask(self, path=COMPLETIONS, body=CHAT, headers=()):
        answer = self.post(path, body, headers)
        self.assert_status(answer, 200)
        self.assert_end(answer)
        return answer

    def used(self):
        return [request.connection for request in self.upstream.requests]

    def turn(self):
        """Something that the only worker answers itself: what came before it has been seen."""
        self.assert_status(self.request("GET", "/nowhere"), 404)


class Kept(Reuse):
    def test_one_connection_serves_them_all(self):
        for tls in ("server", None):
            with self.subTest(tls=tls):
                self.begin([OK] * 6, tls)
                for path in (COMPLETIONS, CREATE, RESPONSES, TRAINER, COMPLETIONS, CREATE):
                    self.ask(path)
                self.assertEqual(len(self.upstream.connections), 1)
                self.assertEqual([request.index for request in self.upstream.requests],
                                 list(range(6)))

    def test_every_whole_answer_leaves_its_connection(self):
        # in one segment: a last chunk that comes a moment later is awaited, but not by the next request
        whole = head(200, [EVENT_STREAM, ("Transfer-Encoding", "chunked")]) + chunk(DONE) + LAST_CHUNK
        stream = [("stream", [send(whole)])] if TRANSPORT == "native" else []  # evhttp: cannot finish
        for name, answer in (("error", reply(400, b"{}", [JSON])), ("empty", reply(200, b"")),
                             ("chunks", chunked(b"{", b"}", headers=[JSON])), ("204", reply(204)),
                             *stream):
            with self.subTest(name):
                self.begin([answer, OK])
                self.post(COMPLETIONS, STREAM if name == "stream" else CHAT)
                self.ask()
                self.assertEqual(self.used(), [0, 0], self.seen())

    def test_a_retry_uses_the_connection_that_brought_the_refusal(self):
        self.begin([reply(503, b"{}", [JSON]), reply(500), OK])
        self.assert_attempts(self.ask(), 3)
        self.assertEqual(self.used(), [0, 0, 0], self.seen())

    @needs_transport("native", "evhttp does not let go of a request and keep its connection")
    def test_the_last_chunk_may_come_behind_the_terminal_event(self):
        gate, sent = threading.Event(), threading.Event()
        last = [wait(gate), send(b"0\r\n\r\n"), lambda connection: sent.set()]
        self.begin([sse(DONE, last=b"") + last, OK])
        self.ask(body=STREAM)
        gate.set()
        self.assertTrue(sent.wait(BOUND))
        self.turn()
        self.ask()
        self.assertEqual(self.used(), [0, 0], self.seen())

    def test_an_answer_that_nobody_waited_for_takes_its_connection_along(self):
        self.begin([nothing(), OK])
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [JSON], CHAT)
        self.upstream.wait_requests(1)
        client.fin()
        self.assertIn(self.upstream.connections[0].wait_end(), ("fin", "rst"))
        self.ask()
        self.assertEqual(self.used(), [0, 1], self.seen())

    def test_an_answer_that_timed_out_takes_its_connection_along(self):
        self.begin([nothing(), OK], first_byte_timeout="250ms")
        self.assert_attempts(self.ask(), 2)
        self.assertIn(self.upstream.connections[0].wait_end(), ("fin", "rst"))
        self.assertEqual(self.used(), [0, 1], self.seen())

    def test_it_is_closed_after_pool_idle(self):
        self.begin([OK] * 2, upstream={"pool_idle": "1s"})
        self.ask()
        began = time.monotonic()
        connection = self.upstream.connections[0]
        self.assertEqual(connection.wait_end(), "fin")
        self.assertTrue(connection.close_notify)
        self.assertGreater(time.monotonic() - began, 0.8)
        self.ask()
        self.assertEqual(self.used(), [0, 1], self.seen())

    def test_two_at_once_need_two_and_the_last_used_goes_first(self):
        gate = threading.Event()
        self.begin([[wait(gate)] + OK, OK, OK, OK])
        first = self.connect()
        first.send_request("POST", COMPLETIONS, [JSON], CHAT)
        self.upstream.wait_connections(1)
        self.upstream.wait_requests(1)
        self.ask()
        gate.set()
        self.assert_status(first.read_head(), 200)
        self.ask()
        self.ask()
        self.assertEqual(self.used(), [0, 1, 0, 0], self.seen())


class ClosedWhileWaiting(Reuse):
    """The server ends a connection between two requests."""

    def check(self, path, ending, tls):
        gate, gone = threading.Event(), threading.Event()
        steps = [wait(gate)] + ending
        self.begin([OK + steps, OK], tls)
        self.ask(path)
        gate.set()
        connection = self.upstream.connections[0]
        self.assertTrue(connection.over.wait(BOUND))    # after a reset at once
        self.turn()
        answer = self.ask(path)
        self.assert_attempts(answer, 1)
        self.assertEqual(self.used(), [0, 1], self.seen())
        self.wait_event(event="request", count=3)
        self.assertEqual(self.andiron.find_events(event="attempt"), [])

    def test_it_is_not_used_again(self):
        for name, (tls, ending) in ENDINGS.items():
            for path in (COMPLETIONS, CREATE, TRAINER):
                with self.subTest(name, path=path):
                    self.check(path, ending, tls)

    def test_not_even_in_the_same_turn_of_the_loop(self):
        """The daemon stands still while the end and the next request arrive."""
        for name, (tls, steps) in AT_ONCE.items():
            for path in (COMPLETIONS, CREATE, TRAINER):
                with self.subTest(name, path=path):
                    self.same_turn(path, steps, tls)

    def same_turn(self, path, steps, tls):
        gate, sent = threading.Event(), threading.Event()
        end = [hold()] if steps else [rst]
        self.begin([OK + [wait(gate)] + steps + [lambda connection: sent.set()] + end, OK], tls)
        client = self.connect()
        self.assert_status(client.request("POST", path, [JSON], CHAT), 200)
        connection = self.upstream.connections[0]
        self.andiron.signal(signal.SIGSTOP)
        try:
            gate.set()
            self.assertTrue((sent if steps else connection.over).wait(BOUND))
            client.send_request("POST", path, [JSON], CHAT)
        finally:
            self.andiron.signal(signal.SIGCONT)
        answer = client.read_head()
        self.assert_status(answer, 200)
        self.assertEqual(answer.body, BODY)
        self.assert_attempts(answer, 1)


class DiesUnderARequest(Reuse):
    def after_a_first(self, answers, path=COMPLETIONS, tls="server", body=CHAT, headers=(), **more):
        self.begin([OK] + answers, tls, **more)
        self.ask()
        answer = self.post(path, body, headers)
        self.wait_event(event="request", count=2)
        return answer, self.andiron.find_events(event="attempt")

    def test_it_is_replaced_once_without_counting(self):
        for name, (tls, ending) in ENDINGS.items():
            for method, path in (("POST", COMPLETIONS), ("GET", CREATE)):
                with self.subTest(name, method=method):
                    self.begin([OK, ending, OK], tls, max_attempts="2")
                    self.ask()
                    answer = self.request(method, path, [], CHAT if method == "POST" else None)
                    self.assert_status(answer, 200)
                    self.assert_attempts(answer, 1)
                    self.assertEqual(self.used(), [0, 0, 1], self.seen())
                    event = self.wait_event(event="attempt")
                    self.assertEqual(
                        (event["attempt"], event["reused"], event["retry_in_ms"], event["error"]),
                        (1, True, 0, "connection_terminated"), event)

    def test_a_second_death_counts(self):
        for name, (tls, ending) in ENDINGS.items():
            with self.subTest(name):
                answer, events = self.after_a_first([ending, ending, OK], tls=tls)
                self.assert_status(answer, 200)
                self.assert_attempts(answer, 2)
                self.assertEqual([(event["attempt"], event["reused"], event["retry_in_ms"])
                                  for event in events], [(1, True, 0), (1, False, 10)])
                self.assertEqual(self.used(), [0, 0, 1, 2], self.seen())

    def test_it_is_replaced_even_on_the_last_attempt(self):
        """The death of a kept connection is not the attempt that max_attempts allows."""
        answer, events = self.after_a_first([[fin], [fin], [fin], OK], max_attempts="2")
        self.assert_error(answer, 502, "connection_terminated")
        self.assert_attempts(answer, 2)
        self.assertEqual([event.get("retry_in_ms") for event in events], [0, 10, None])
        self.assertEqual(self.used(), [0, 0, 1, 2], self.seen())

    def test_its_further_attempts_use_fresh_connections(self):
        """Another one waits in the pool; it may be as dead as the first."""
        gate = threading.Event()
        self.begin([[wait(gate)] + OK, OK, [fin], reply(503), OK], max_attempts="5")
        first = self.connect()
        first.send_request("POST", COMPLETIONS, [JSON], CHAT)
        self.upstream.wait_requests(1)
        self.ask()                          # a second connection
        gate.set()
        self.assert_status(first.read_head(), 200)
        answer = self.ask()
        self.assert_attempts(answer, 2)
        self.assertEqual(self.used(), [0, 1, 0, 2, 3], self.seen())

    def test_one_send_is_one_send(self):
        for headers, profile in (([("X-Andiron-Max-Attempts", "1")], {}),
                                 ([], {"max_attempts": "1"})):
            with self.subTest(headers=headers):
                answer, events = self.after_a_first([[fin], OK], headers=headers, **profile)
                self.assert_error(answer, 502, "connection_terminated")
                self.assert_attempts(answer, 1)
                self.assertEqual((len(events), events[0].get("retry_in_ms")), (1, None))
                self.andiron.stop()
                self.assert_seen(2)

    def test_a_stream_is_replaced_too(self):
        answer, _ = self.after_a_first([[rst], sse(DONE)], body=STREAM)
        self.assertEqual((answer.status, answer.body), (200, DONE))
        self.assert_attempts(answer, 1)

    def test_a_byte_of_an_answer_is_one(self):
        """It is not the connection that failed, but the answer: that counts."""
        for torn in ([send(b"H"), fin], [send(head(103)), fin], [send(head(200, [JSON])), rst]):
            if TRANSPORT == "evhttp" and len(torn) == 2:
                continue
            answer, events = self.after_a_first([torn, OK])
            self.assert_status(answer, 200)
            self.assert_attempts(answer, 2)
            self.assertEqual((events[0]["attempt"], events[0]["reused"], events[0]["retry_in_ms"]),
                             (1, True, 10), events)

    def test_silence_on_it_counts(self):
        answer, events = self.after_a_first([nothing(), OK], first_byte_timeout="250ms")
        self.assert_attempts(answer, 2)
        self.assertEqual((events[0]["error"], events[0]["reused"]), ("http_response_timeout", True))

    def test_what_is_sent_once_is_not_replaced(self):
        for path in (CREATE, RESPONSES, TRAINER):
            for name, (tls, ending) in ENDINGS.items():
                with self.subTest(name, path=path):
                    answer, events = self.after_a_first([ending, OK], path, tls)
                    self.assert_error(answer, 502, "connection_terminated")
                    self.assert_attempts(answer, 1)
                    self.assertEqual((len(events), events[0].get("retry_in_ms")), (1, None))
                    self.andiron.stop()
                    self.assert_seen(2)


class SentOnce(Reuse):
    def test_goes_out_on_a_fresh_connection_or_a_recent_one(self):
        """One wait for all the classes: each has a daemon and a connection of its own."""
        started = {}
        for path in (CREATE, RESPONSES, TRAINER, COMPLETIONS):
            self.begin([OK] * 3)
            self.ask()
            started[path] = (self.andiron, self.upstream)
        time.sleep(ONLY_SO_LONG + 0.1)      # that is what it is about
        for path, (self.andiron, self.upstream) in started.items():
            with self.subTest(path=path):
                self.ask(path)
                began = time.monotonic()
                self.ask(path)
                if path == COMPLETIONS:
                    self.assertEqual(self.used(), [0, 0, 0], self.seen())
                elif time.monotonic() - began < ONLY_SO_LONG:
                    self.assertEqual(self.used(), [0, 1, 1], self.seen())


if __name__ == "__main__":
    main()
