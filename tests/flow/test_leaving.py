"""Clients that leave: the upstream hears of it at once, and nothing more is sent or billed."""

import functools
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from client import Client
from harness import CHAT, COMPLETIONS, STREAM, FlowTest, main
from upstream import chunk, head, hold, nothing, reply, rst, send, sse

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
