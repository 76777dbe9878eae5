"""Clients that leave: the upstream hears of it at once, and nothing more is sent or billed."""

import functools
import os
import socket
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from client import Client
from harness import BOUND, CHAT, COMPLETIONS, STREAM, FlowTest, main
from upstream import chunk, handshake, head, hold, nothing, reply, rst, send, sse

ONE = b'data: {"choices":[{"delta":{"content":"one"}}]}\n\n'
OK = reply(200, b"{}")
WAYS = {"fin": Client.fin, "rst": Client.rst, "half-close": Client.half_close}


def each_way(test):
    """Runs a test once for each way to leave."""
    @functools.wraps(test)
    def run(self):
        for name, leave in WAYS.items():
            with self.subTest(name):
                test(self, leave)
    return run


def busy(connection):
    """Events without end."""
    for _ in range(10_000_000):
        connection.send(chunk(ONE))


class Leaving(FlowTest):
    def assert_left(self, requests=1):
        """The upstream's connection ends, the log says why, no further attempt is made."""
        self.assertIsNotNone(self.upstream.connections[0].wait_end())
        event = self.wait_event(event="request")
        self.assertEqual((event["phase"], event["error"]), ("client", "client_closed"), event)
        self.andiron.stop()
        self.assert_seen(requests)

    def ask(self, script, body=CHAT, config=None):
        """A request that the upstream has, and nobody answered yet."""
        self.launch(script, config)
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [], body)
        self.upstream.wait_requests(1)
        return client

    @each_way
    def test_within_a_stream(self, leave):
        client = self.ask([sse(ONE, hold()), OK], STREAM)
        client.read_head().read_until(ONE)
        leave(client)
        self.assert_left()

    @each_way
    def test_within_a_busy_stream(self, leave):
        client = self.ask([sse(busy), OK], STREAM)
        client.read_head().read_until(ONE)
        leave(client)
        self.assert_left()

    @each_way
    def test_before_the_first_byte(self, leave):
        leave(self.ask([nothing(), OK]))
        self.assert_left()

    @each_way
    def test_before_the_first_byte_of_a_stream(self, leave):
        leave(self.ask([nothing(), OK], STREAM))
        self.assert_left()

    @each_way
    def test_between_two_attempts(self, leave):
        refused = reply(503)
        client = self.ask([refused, OK], config={"profile.default": {"backoff_base": "5s"}})
        self.wait_event(event="attempt", status=503)
        leave(client)
        event = self.wait_event(event="request")
        self.assertEqual((event["phase"], event["error"]), ("client", "client_closed"), event)
        self.andiron.stop()
        self.assert_seen(1)

    @each_way
    def test_while_connecting(self, leave):
        self.launch(upstream=self.scripted([OK], connections=[[hold()]]))
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [], CHAT)
        self.upstream.wait_connections(1)
        leave(client)
        self.assert_left(0)

    @each_way
    def test_while_tcp_connects(self, leave):
        """A listener whose queue is full drops what else comes."""
        full = self.scripted(listening=False)
        for sock in full._sockets:
            sock.listen(0)
            for _ in range(2):
                waiting = socket.socket(sock.family)
                self.addCleanup(waiting.close)
                waiting.setblocking(False)
                waiting.connect_ex(sock.getsockname())
        self.launch(upstream=full, config={"server": {"workers": "1"}})
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [], CHAT)
        self.assert_status(self.request("GET", "/nowhere"), 404)    # the request has been taken up
        leave(client)
        event = self.wait_event(event="request", path="/inference/v1/chat/completions")
        self.assertEqual((event["phase"], event["error"]), ("client", "client_closed"), event)
        self.assertEqual((event["dashboard"], event["attempts"]), ("invisible", 1), event)

    @each_way
    def test_while_the_request_is_sent(self, leave):
        begun, left, size = threading.Event(), threading.Event(), 40_000_000

        def read_later(connection):
            connection._receive(BOUND)
            begun.set()
            left.wait(BOUND)
            while True:     # until the peer's end
                connection.sent += len(connection._receive(BOUND))
        self.addCleanup(left.set)
        self.launch(upstream=self.scripted([OK], connections=[[handshake, read_later]]))
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [], bytes(size))
        begun.wait(BOUND)
        leave(client)
        event = self.wait_event(event="request")
        self.assertEqual((event["phase"], event["error"]), ("client", "client_closed"), event)
        self.assertLess(event["bytes_out"], size)
        left.set()
        self.assertIsNotNone(self.upstream.connections[0].wait_end())
        self.assertLess(self.upstream.connections[0].sent, size)
        self.assert_left(0)

    @each_way
    def test_within_a_held_stream(self, leave):
        held = {"profile.default": {"hold_stream": "64KiB"}}
        for start, config in (([ONE], held), ([b": hi\n\n"], None), ([], None)):
            gate = threading.Event()
            client = self.ask([sse(*start, lambda _, gate=gate: gate.set(), hold()), OK], STREAM,
                              config)
            self.assertTrue(gate.wait(BOUND))
            leave(client)
            self.assert_left()

    @each_way
    def test_within_a_held_error(self, leave):
        gate = threading.Event()
        half = [send(head(503, [("Content-Length", "9")]) + b"{"), lambda _: gate.set(), hold()]
        client = self.ask([half, OK])
        self.assertTrue(gate.wait(BOUND))
        leave(client)
        self.assert_left()

    @each_way
    def test_within_a_long_answer(self, leave):
        long = [send(head(200, [("Content-Length", "90000000")]) + bytes(5_000_000)), hold()]
        client = self.ask([long, OK])
        client.read_head().read_until(bytes(100_000))
        leave(client)
        self.assert_left()

    @each_way
    def test_within_a_torn_event(self, leave):
        torn = b'data: {"long":"' + b"x" * 100_000
        client = self.ask([sse(torn, hold()), OK], STREAM)
        client.read_head().read_until(torn[:65_536])
        leave(client)
        self.assert_left()

    @each_way
    def test_within_a_second_attempt(self, leave):
        client = self.ask([reply(503), nothing(), OK])
        self.upstream.wait_requests(2)
        leave(client)
        last = self.upstream.requests[1].connection
        self.assertIsNotNone(self.upstream.connections[last].wait_end())
        self.assert_left(2)

    @each_way
    def test_while_the_answer_is_on_its_way_out(self, leave):
        """The stream is over, its upstream let go; a client that has not read all has left."""
        event = b"data: " + b"x" * 60_000 + b"\n\n"
        self.launch([sse(*[event] * 300, b"data: [DONE]\n\n"), OK])
        client = self.start_stream(receive_buffer=4096)
        client.read_head()
        leave(client)
        self.wait_event(event="request")
        self.andiron.stop()
        self.assert_seen(1)

    @each_way
    def test_within_a_held_body(self, leave):
        leave(self.ask([[send(head(200, [("Content-Length", "9")]) + b"{"), hold()], OK]))
        self.assert_left()

    @each_way
    def test_behind_pipelined_bytes(self, leave):
        client = self.ask([nothing(), OK])
        client.send(f"GET /v1/models HTTP/1.1\r\nHost: {client.host}\r\n\r\n".encode())
        leave(client)
        self.assert_left()

    @each_way
    def test_within_their_own_request(self, leave):
        self.launch([OK])
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [("Content-Length", "1000")], b"part")
        leave(client)
        self.assert_status(self.post(), 200)
        self.andiron.stop()
        self.assert_seen(1)


class Crowds(FlowTest):
    def check(self, answer):
        self.launch(lambda request: answer)
        for turn in range(30):
            client = self.start_stream()
            client.read_head()
            list(WAYS.values())[turn % 3](client)
        self.andiron.wait_event(event="request", count=30)
        return self.upstream.connections

    def test_many_that_leave_do_no_harm(self):
        for connection in self.check(sse(ONE, hold())):
            self.assertIsNotNone(connection.wait_end())

    def test_an_upstream_may_break_while_the_client_leaves(self):
        self.check(sse(ONE, rst))


if __name__ == "__main__":
    main()
