"""The scripted upstream and the raw client against each other, without andiron."""

import os
import socket
import ssl
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from certs import authority
from client import Client, NoAnswer
from load import NAME, Load
from upstream import (JSON, NOTHING_LEFT, Upstream, chunked, early, fin, hold, ragged, repeat,
                      handshake, ignore, reply, rst, send, short, sse, until_close)

EVENT = b'data: {"n":1}\n\n'
DONE = b"data: [DONE]\n\n"


class Tools(unittest.TestCase):
    def start(self, script=(), certificate=None, **options):
        self.upstream = Upstream(script, certificate, **options)
        self.addCleanup(self.upstream.close)
        self.address = ("127.0.0.1", self.upstream.port)

    def connect(self):
        client = Client(self.address)
        self.addCleanup(client.fin)
        return client

    def connect_tls(self, ca, name="localhost"):
        context = ssl.create_default_context(cafile=ca)
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        client = Client(self.address)
        try:
            client.sock = context.wrap_socket(client.sock, server_hostname=name,
                                              suppress_ragged_eofs=False)
        finally:
            self.addCleanup(client.fin)
        return client


class Upstreams(Tools):
    def test_records_requests_as_they_came(self):
        self.start([reply(200, b"a"), reply(201, b"b", [JSON])])
        client = self.connect()
        client.request("GET", "/one?x", [("X-B", "1"), ("x-a", "2")])
        answer = client.request("POST", "/two", [("Transfer-Encoding", "chunked")],
                                b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n")
        first, second = self.upstream.requests
        self.assertEqual(first.target, "/one?x")
        self.assertEqual(first.headers[1:], [("X-B", "1"), ("x-a", "2")])
        self.assertEqual((second.body, second.framing, second.index), (b"abcde", "chunked", 1))
        self.assertEqual((answer.status, answer.body, answer.end), (201, b"b", "complete"))

    def test_answers_by_function(self):
        self.start(lambda request: reply(200, request.body))
        self.assertEqual(self.connect().request("PUT", "/", body=b"echo").body, b"echo")

    def test_says_when_its_script_is_empty(self):
        self.start([])
        self.assertEqual(self.connect().request("GET", "/").status, NOTHING_LEFT)

    def test_head_and_204_have_no_body(self):
        self.start([reply(200, b"abc"), reply(204), reply(200, b"next")])
        client = self.connect()
        self.assertEqual(client.request("HEAD", "/").header("Content-Length"), "3")
        self.assertEqual(client.request("GET", "/").status, 204)
        self.assertEqual(client.request("GET", "/").body, b"next")

    def test_a_gate_holds_an_event_back(self):
        gate = threading.Event()
        self.start([sse(EVENT, gate, DONE)])
        client = self.connect()
        client.send_request("GET", "/")
        answer = client.read_head()
        self.assertEqual(answer.read_until(b"\n\n"), EVENT)
        gate.set()
        self.assertEqual((answer.body, answer.end), (EVENT + DONE, "complete"))

    def test_an_early_answer_comes_before_the_body(self):
        self.start([early(reply(413, b"big") + [fin])])
        client = self.connect()
        client.send_request("POST", "/", [("Content-Length", "1000")], b"part")
        self.assertEqual(client.read_head().status, 413)

    def test_an_idle_connection_closes(self):
        self.start([reply(200, b"a") + [fin]])
        client = self.connect()
        self.assertEqual(client.request("GET", "/").end, "complete")
        self.assertEqual(client.read_end(), (b"", "cut"))

    def test_refuses_until_told(self):
        self.start([reply(200, b"now")], listening=False)
        self.assertRaises(ConnectionRefusedError, Client, self.address)
        self.upstream.listen()
        self.assertEqual(self.connect().request("GET", "/").body, b"now")

    def test_answers_over_ipv6(self):
        if not socket.has_ipv6 or len(self.upstream_sockets()) < 2:
            self.skipTest("no IPv6 here")
        self.address = ("::1", self.upstream.port)
        self.assertEqual(self.connect().request("GET", "/").body, b"6")

    def upstream_sockets(self):
        self.start([reply(200, b"6")])
        return self.upstream._sockets


class Endings(Tools):
    def check(self, answer, status, body, end, certificate=None):
        self.start([answer], certificate)
        client = self.connect_tls(authority().ca) if certificate else self.connect()
        client.send_request("GET", "/")
        came = client.read_head()
        self.assertEqual((came.status, came.body, came.end), (status, body, end))

    def test_short_length(self):
        self.check(short(b"abc", 10), 200, b"abc", "cut")

    def test_cut_chunk(self):
        self.check(chunked(b"abc", send(b"5\r\nde"), fin), 200, b"abcde", "cut")

    def test_missing_last_chunk(self):
        self.check(chunked(b"abc", fin), 200, b"abc", "cut")

    def test_close_delimited(self):
        self.check(until_close(b"abc"), 200, b"abc", "complete")

    def test_reset_in_a_body(self):
        gate = threading.Event()
        self.start([chunked(b"abc", gate, rst)])
        client = self.connect()
        client.send_request("GET", "/")
        answer = client.read_head()
        answer.read_until(b"abc")
        gate.set()
        self.assertEqual((answer.body, answer.end), (b"abc", "reset"))

    def test_tls_with_close_notify(self):
        self.check(until_close(b"abc"), 200, b"abc", "complete", authority().server)

    def test_tls_without_close_notify(self):
        self.start([until_close(b"abc", ending=ragged)], authority().server)
        client = self.connect_tls(authority().ca)
        client.send_request("GET", "/")
        answer = client.read_head()
        answer.read_until(b"abc")
        self.assertRaisesRegex(ssl.SSLError, "UNEXPECTED_EOF", lambda: answer.body)

    def test_no_answer(self):
        for how, end in ((fin, "cut"), (rst, "reset")):
            with self.subTest(end=end):
                self.start([[how]])
                with self.assertRaises(NoAnswer) as raised:
                    self.connect().request("GET", "/")
                self.assertEqual(raised.exception.end, end)


class Peers(Tools):
    def check(self, leave, end, script, certificate=None, **options):
        self.start(script, certificate, **options)
        client = self.connect_tls(authority().ca) if certificate else self.connect()
        client.send_request("GET", "/")
        self.upstream.wait_requests(1)
        leave(client)
        self.assertEqual(self.upstream.connections[0].wait_end(5), end)

    def test_fin_and_rst_are_seen_while_holding(self):
        self.check(Client.fin, "fin", [[hold()]])
        self.check(Client.half_close, "fin", [[hold()]])
        self.check(Client.rst, "rst", [[hold()]])

    def test_fin_is_seen_over_tls(self):
        def say_goodbye(client):
            self.assertRaises(ssl.SSLError, client.sock.unwrap)     # no goodbye comes back
        self.check(say_goodbye, "fin", [[hold()]], authority().server)
        self.assertTrue(self.upstream.connections[0].close_notify)
        self.check(lambda client: client.sock.shutdown(socket.SHUT_WR), "fin", [[hold()]],
                   authority().server)
        self.assertFalse(self.upstream.connections[0].close_notify)

    def test_a_peer_that_leaves_a_flood_is_seen(self):
        self.check(Client.fin, "rst", [[repeat(bytes(65536), 3200)]])

    def test_a_held_handshake(self):
        self.start([], authority().server, connections=[[hold()]])
        client = self.connect()
        self.upstream.wait_connections(1)
        client.fin()
        self.assertEqual(self.upstream.connections[0].wait_end(5), "fin")

    def test_a_connection_that_is_never_read(self):
        self.start([], connections=[[handshake, ignore]])
        client = self.connect()
        client.send_request("POST", "/", body=b"x")
        connection = self.upstream.wait_connections(1)[0]
        client.fin()
        self.assertEqual((connection.wait_end(5), connection.served), ("fin", 0))


class Certificates(Tools):
    def verify(self, certificate):
        self.start([reply(200, b"ok")], getattr(authority(), certificate))
        return self.connect_tls(authority().ca).request("GET", "/").body

    def test_the_good_one(self):
        self.assertEqual(self.verify("server"), b"ok")
        self.assertEqual(self.upstream.connections[0].server_name, "localhost")

    def test_the_bad_ones(self):
        for name, why in (("wrong_name", "Hostname mismatch"), ("expired", "has expired"),
                          ("unknown_ca", "unable to get local issuer")):
            with self.subTest(name=name):
                with self.assertRaisesRegex(ssl.SSLCertVerificationError, why):
                    self.verify(name)


class Loads(Tools):
    """What a proxy must not do to a request; here the upstream does it, to the second one of a client."""

    def find_wrong(self, spoil=None, late=lambda load, request: [fin]):
        load = Load(None, clients=4, pause=0.002)

        def script(request):
            if load.ending.is_set():
                return late(load, request)
            answer = load.answer(request)
            return spoil(load, request, answer) if spoil and request.header(NAME) == "0-2" else answer
        self.start(script)
        load.address = self.address
        with load:
            load.wait_begun(12)
            load.ending.set()
        return load.find_wrong()

    def test_nothing_is_wrong(self):
        self.assertEqual(self.find_wrong(), [])

    def test_what_is(self):
        for name, spoil in {"lost": lambda load, request, answer: answer[:-1] + [fin],
                            "refused": lambda load, request, answer: [fin],
                            "doubled": lambda load, request, answer: load.answer(request)}.items():
            with self.subTest(name):
                self.assertEqual({wrong[0] for wrong in self.find_wrong(spoil)}, {"0-2"})

    def test_turned_away_and_served(self):
        self.assertEqual(len(self.find_wrong(late=lambda load, request: load.answer(request) and [fin])), 4)


if __name__ == "__main__":
    unittest.main()
