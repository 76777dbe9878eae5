"""Bodies and framing, in both directions (CONTRACT 3, Forwarding)."""

import os
import random
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import client as wire
from harness import CHAT, COMPLETIONS, FlowTest, main, needs_transport
from upstream import BINARY, JSON, chunked, early, fin, head, reply, send, until_close

KIB, MIB = 1024, 1024 * 1024
OK = reply(200, b'{"ok":true}', [JSON])


def noise(size):
    return random.Random(size).randbytes(size)


def in_chunks(body, size):
    parts = [wire.chunk(body[at:at + size]) for at in range(0, len(body), size)]
    return b"".join(parts) + b"0\r\n\r\n"


class RequestBodies(FlowTest):
    def check(self, size, headers, encode):
        """The body arrives whole, on the first attempt and on the second."""
        body = noise(size)
        self.launch([reply(503), OK])
        answer = self.request("POST", COMPLETIONS, headers + [BINARY], encode(body))
        self.assert_status(answer, 200)
        self.assert_attempts(answer, 2)
        for request in self.upstream.requests:
            self.assertTrue(request.body == body, f"{request} of {size}")

    def test_64_kib_with_a_length(self):
        self.check(64 * KIB, [], bytes)

    def test_1_mib_with_a_length(self):
        self.check(1 * MIB, [], bytes)

    def test_20_mib_with_a_length(self):
        self.check(20 * MIB, [], bytes)

    def test_64_kib_in_chunks(self):
        self.check(64 * KIB, [("Transfer-Encoding", "chunked")], lambda body: in_chunks(body, 999))

    def test_20_mib_in_chunks(self):
        self.check(20 * MIB, [("Transfer-Encoding", "chunked")],
                   lambda body: in_chunks(body, 100_000))

    def test_a_body_that_comes_byte_by_byte(self):
        self.launch([OK])
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [("Content-Length", str(len(CHAT)))])
        for at in range(len(CHAT)):
            client.send(CHAT[at:at + 1])
        self.assert_status(client.read_head(), 200)
        self.assertEqual(self.upstream.requests[0].body, CHAT)

    def test_multipart_is_not_touched(self):
        self.launch([OK])
        kind = ("Content-Type", "multipart/form-data; boundary=----x")
        body = (b"------x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n"
                b"\0\xff\r\n------x--\r\n")
        self.assert_status(self.request("POST", "/v1/audio/transcriptions", [kind], body), 200)
        request = self.upstream.requests[0]
        self.assertEqual((request.body, request.all("Content-Type")), (body, [kind[1]]))

    def test_expect_100_continue_is_answered_here(self):
        self.launch([OK])
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [
            ("Expect", "100-continue"), ("Content-Length", str(len(CHAT)))])
        self.assertEqual(client.read_head().status, 100)
        client.send(CHAT)
        self.assert_status(client.read_head(), 200)
        request = self.upstream.requests[0]
        self.assertEqual((request.all("Expect"), request.body), ([], CHAT))


class AnswerBodies(FlowTest):
    def test_a_binary_body_comes_byte_for_byte(self):
        for size in (0, 1, 256 * 17, 3 * MIB, 9 * MIB):
            with self.subTest(size=size):
                body = noise(size)
                self.launch([reply(200, body, [BINARY])])
                answer = self.request("GET", "/v1/accounts/a/files/f")
                self.assert_end(answer)
                self.assertTrue(answer.body == body, f"{len(answer.body)} bytes")

    def test_a_chunked_body_comes_whole(self):
        for size in (1, 70_000, 6 * MIB):       # below and above hold_body
            with self.subTest(size=size):
                body = noise(size)
                parts = [body[at:at + 50_000] for at in range(0, size, 50_000)]
                self.launch([chunked(*parts, headers=[BINARY])])
                answer = self.request("GET", "/v1/accounts/a/files/f")
                self.assert_end(answer)
                self.assertNotEqual(answer.framing, "close")
                self.assertTrue(answer.body == body, f"{len(answer.body)} bytes")

    def test_a_body_that_ends_with_the_connection(self):
        self.launch([until_close(b"all of it")])
        answer = self.request("GET", "/v1/models")
        self.assert_end(answer)
        self.assertEqual(answer.body, b"all of it")

    def test_the_connection_is_good_after_an_answer_without_a_body(self):
        self.launch([reply(200, b"unseen"), reply(204), reply(304, headers=[("ETag", "x")]), OK])
        client = self.connect()
        answer = client.request("HEAD", "/v1/models")
        self.assertEqual(answer.all("Content-Length"), ["6"])
        self.assert_status(client.request("DELETE", "/v1/accounts/a/models/m"), 204)
        self.assert_status(client.request("GET", "/v1/models", [("If-None-Match", "x")]), 304)
        last = client.request("GET", "/v1/models")
        self.assertEqual((last.status, last.body), (200, b'{"ok":true}'))

    def test_a_304_may_name_a_length(self):
        self.launch([[send(head(304, [("Content-Length", "999")]))], OK])
        client = self.connect()
        self.assert_status(client.request("GET", "/v1/models"), 304)
        self.assertEqual(client.request("GET", "/v1/models").body, b'{"ok":true}')

    def test_an_answer_in_tiny_pieces(self):
        whole = head(200, [JSON, ("Content-Length", "11")]) + b'{"ok":true}'
        self.launch([[send(whole[at:at + 1]) for at in range(len(whole))]])
        answer = self.request("GET", "/v1/models")
        self.assertEqual((answer.status, answer.body), (200, b'{"ok":true}'))


class Http10(FlowTest):
    def check(self, answer_of_upstream, headers=(), body=b'{"ok":true}'):
        self.launch([answer_of_upstream])
        client = self.connect()
        answer = client.request("GET", "/v1/models", headers, version="HTTP/1.0")
        self.assert_status(answer, 200)
        self.assertNotEqual(answer.framing, "chunked", repr(answer))
        self.assertEqual((answer.body, answer.end), (body, "complete"), repr(answer))
        return client

    def test_a_client_of_1_0_gets_the_body_and_the_end(self):
        self.assertEqual(self.check(OK).read_end(), (b"", "cut"))

    def test_a_chunked_answer_is_unchunked(self):
        self.check(chunked(b'{"ok"', b":true}", headers=[JSON]))

    def test_keep_alive_does_not_lose_the_body(self):
        self.check(chunked(b'{"ok"', b":true}", headers=[JSON]), [("Connection", "keep-alive")])

    def test_a_long_answer(self):
        body = noise(6 * MIB)
        self.check(chunked(body, headers=[BINARY]), body=body)


class Connections(FlowTest):
    def test_both_sides_are_kept_alive(self):
        self.launch(lambda request: OK)
        client = self.connect()
        for _ in range(3):
            self.assert_status(client.request("POST", COMPLETIONS, [JSON], CHAT), 200)
        places = [(request.connection, request.index) for request in self.upstream.requests]
        self.assertEqual(places, [(0, 0), (0, 1), (0, 2)], self.seen())

    def test_close_is_obeyed(self):
        for value in ("close", "Close", "keep-alive, close"):
            with self.subTest(value=value):
                self.launch([OK])
                client = self.connect()
                answer = client.request("GET", "/v1/models", [("Connection", value)])
                self.assert_status(answer, 200)
                self.assertEqual(client.read_end(), (b"", "cut"))

    def test_an_upstreams_close_is_not_the_clients(self):
        self.launch([reply(200, b"1", [("Connection", "close")]) + [fin], reply(200, b"2")])
        client = self.connect()
        self.assertEqual(client.request("GET", "/v1/models").body, b"1")
        self.assertEqual(client.request("GET", "/v1/models").body, b"2")

    def test_pipelined_requests_are_answered_in_order(self):
        self.launch(lambda request: reply(200, request.target.encode()))
        client = self.connect()
        one = f"GET /v1/models/%d HTTP/1.1\r\nHost: {client.host}\r\n\r\n"
        client.send("".join(one % number for number in range(3)).encode())
        bodies = [client.read_head().body for _ in range(3)]
        self.assertEqual(bodies, [b"/inference/v1/models/%d" % number for number in range(3)])

    def test_many_clients_get_their_own_answers(self):
        self.launch(lambda request: reply(200, request.body))
        wrong = []

        def talk(name):
            client = self.connect()
            for turn in range(10):
                body = b"%d.%d" % (name, turn) * 500
                if client.request("POST", COMPLETIONS, [], body).body != body:
                    wrong.append((name, turn))
        threads = [threading.Thread(target=talk, args=(name,)) for name in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        self.assert_seen(240)


@needs_transport("native", "evhttp's client takes a 1xx for the answer, fails on chunk extensions "
                 "and sees an early answer only after the whole request is written")
class StricterUpstreams(FlowTest):
    def test_no_1xx_of_the_upstream_reaches_a_client(self):
        for status in (100, 102, 103):
            with self.subTest(status=status):
                self.launch([[send(head(status))] + OK])
                self.assert_status(self.post(), 200)

    def test_chunk_extensions_and_trailers(self):
        self.launch([[send(head(200, [("Transfer-Encoding", "chunked"), JSON])),
                      send(b"2;a=b\r\n{}\r\n0\r\nX-Trailer: 1\r\n\r\n")]])
        self.assertEqual(self.post().body, b"{}")

    def test_an_early_answer_ends_the_upload(self):
        self.launch([early(reply(413, b'{"error":{"message":"big"}}', [JSON]) + [fin])])
        self.assert_status(self.request("POST", COMPLETIONS, [], noise(20 * MIB)), 413)

    def test_an_unframed_answer_on_a_connection_that_claims_to_stay(self):
        self.launch([until_close(b"all", headers=[("Connection", "keep-alive")])])
        self.assertEqual(self.request("GET", "/v1/models").body, b"all")


if __name__ == "__main__":
    main()
