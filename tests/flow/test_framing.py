"""Responses as they are framed on the wire: nothing is lost, doubled or taken for another's."""

import os
import signal
import sys
import threading
import unittest
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import CHAT, COMPLETIONS, TRANSPORT, FlowTest, is_sanitized, main, needs_transport
from upstream import (BINARY, BOUND, EVENT_STREAM, JSON, LAST_CHUNK, chunked, early, fin, head,
                      hold, nothing, ragged, reply, rst, send, sse, until_close, wait)

KIB, MIB = 1024, 1024 * 1024
BODY = b'{"ok":true}'
OK = reply(200, BODY, [JSON])
LENGTH = ("Content-Length", len(BODY))
CREATE = "/v1/accounts/a/datasets"      # guarded: sent once
FILE = "/v1/accounts/a/files/f"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"


class Framing(FlowTest):
    def begin(self, script, tls="server", **profile):
        profile.setdefault("max_attempts", "1")
        self.launch(upstream=self.scripted(script, tls), config={
            "server": {"workers": "1"}, "profile.default": profile, "profile.control": profile})

    def both(self, script, check, **profile):
        """Over TLS and over plain TCP."""
        for tls in ("server", None):
            with self.subTest(tls=tls):
                self.begin(script, tls, **profile)
                check()

    def assert_answer(self, answer, body=BODY, status=200):
        self.assert_status(answer, status)
        self.assert_end(answer)
        self.assertTrue(answer.body == body, repr(answer))

    def assert_wrong(self, pieces, detail, phase="first_byte"):
        self.begin([pieces + [hold()]])
        self.assert_error(self.post(), 502, "http_protocol_error")
        event = self.wait_event(event="attempt")
        self.assertEqual((event["phase"], event["error"]), (phase, "http_protocol_error"))
        self.assertRegex(event["detail"], detail)

    def connections(self):
        return [request.connection for request in self.upstream.requests]


class UntilClose(Framing):
    """The connection's end is the answer's."""

    def test_it_is_whole(self):
        self.both([until_close(BODY, headers=[JSON])], lambda: self.assert_answer(self.post()))

    def test_also_on_a_connection_that_claims_to_stay(self):
        for said in ("close", "keep-alive"):
            self.both([until_close(BODY, headers=[JSON, ("Connection", said)])],
                      lambda: self.assert_answer(self.post()))

    def test_an_empty_one_is_whole(self):
        self.both([until_close(headers=[BINARY])],
                  lambda: self.assert_answer(self.request("GET", FILE), b""))

    def test_one_larger_than_what_is_held_is_whole(self):
        body = bytes(range(256)) * 1024
        self.both([until_close(body, headers=[BINARY])],
                  lambda: self.assert_answer(self.request("GET", FILE), body), hold_body="64KiB")

    def test_its_connection_carries_no_other(self):
        def check():
            self.assert_answer(self.post())
            self.assert_answer(self.post())
            self.assertEqual(self.connections(), [0, 1])
        self.both([until_close(BODY, headers=[JSON]), OK], check)

    def test_a_cut_one_that_is_on_its_way_is_cut_for_the_client_too(self):
        for tls, ending in ((None, rst), ("server", rst), ("server", ragged)):
            with self.subTest(tls=tls, ending=ending.__name__):
                gate = threading.Event()
                body = bytes(128 * KIB)
                self.begin([until_close(body, gate, headers=[BINARY], ending=ending)], tls,
                           hold_body="64KiB")
                client = self.connect()
                client.send_request("GET", FILE)
                answer = client.read_head()
                self.assertEqual(len(answer.read_until(body)), len(body))
                gate.set()
                # a chunk that does not end has a byte of its own
                self.assertIn(answer.body[len(body):], (b"", b":"))
                self.assertNotEqual(answer.end, "complete")
                event = self.wait_event(event="attempt")
                self.assertEqual((event["phase"], event["error"], event["dashboard"]),
                                 ("body", "http_response_incomplete", "visible"))

    def test_http_1_0_without_a_length(self):
        said = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + BODY
        self.both([[send(said), fin]], lambda: self.assert_answer(self.post()))


@needs_transport("native", "evhttp takes an interim answer other than 100 for the last one")
class Interim(Framing):
    def check(self, pieces, answer=OK, status=200, body=BODY):
        def ask():
            client = self.connect()
            got = client.request("POST", COMPLETIONS, [JSON], CHAT)
            self.assert_answer(got, body, status)       # read_head() would have shown a 1xx
            self.assert_attempts(got, 1)
            self.assertNotIn(b"HTTP/1.1 1", client.tail())
            self.assertIsNone(got.header("Link"))
        self.both([[send(piece) for piece in pieces] + answer], ask)

    def test_none_reaches_a_client(self):
        for status in (100, 102, 103, 199):
            self.check([head(status, [("Link", "</x>")])])

    def test_nor_do_several(self):
        self.check([head(100) + head(102) + head(103), head(103, [("Content-Length", 9)])])

    def test_nor_do_many_in_one_segment_with_the_answer(self):
        self.check([head(102) * 60 + head(200, [JSON, LENGTH]) + BODY], [])

    def test_one_before_an_answer_without_a_body(self):
        self.check([head(103)], reply(204), 204, b"")

    def test_one_is_no_answer(self):
        self.begin([[send(head(103))] + nothing()], first_byte_timeout="250ms")
        self.assert_error(self.post(), 504, "http_response_timeout")
        self.assertEqual(self.wait_event(event="attempt")["phase"], "first_byte")

    def test_its_connection_serves_on(self):
        self.begin([[send(head(103))] + OK, OK])
        self.assert_answer(self.post())
        self.assert_answer(self.post())
        self.assertEqual(self.connections(), [0, 0])


class NoBody(Framing):
    """204, 304 and HEAD have none, whatever their fields say."""

    def check(self, method, status, *fields):
        def ask():
            client = self.connect()
            answer = client.request(method, FILE)
            self.assert_answer(answer, b"", status)
            self.assert_answer(client.request("GET", FILE))
            self.assertEqual(self.connections(), [0, 0])
        self.both([[send(head(status, fields))], OK], ask)

    def test_a_head_with_a_length(self):
        self.check("HEAD", 200, ("Content-Length", 5000))

    def test_a_head_with_chunks(self):
        self.check("HEAD", 200, ("Transfer-Encoding", "chunked"))

    def test_a_head_without_either(self):
        self.check("HEAD", 200)

    def test_a_head_of_an_event_stream(self):
        self.check("HEAD", 200, EVENT_STREAM, ("Transfer-Encoding", "chunked"))

    def test_a_204_with_a_length(self):
        self.check("GET", 204, ("Content-Length", 5))

    def test_a_204_with_chunks(self):
        self.check("GET", 204, ("Transfer-Encoding", "chunked"))

    def test_a_304_with_a_length(self):
        self.check("GET", 304, ("Content-Length", 5), ("ETag", '"x"'))

    def test_a_length_of_nothing(self):
        self.check("GET", 200, ("Content-Length", 0))

    def test_a_heads_length_is_the_clients_to_know(self):
        self.begin([[send(head(200, [("Content-Length", 5000)]))]])
        self.assertEqual(self.request("HEAD", FILE).all("Content-Length"), ["5000"])


class Chunks(Framing):
    START = head(200, [("Transfer-Encoding", "chunked"), JSON])

    def whole(self, framed):
        def ask():
            client = self.connect()
            answer = client.request("POST", COMPLETIONS, [JSON], CHAT)
            self.assert_answer(answer)
            self.assertIsNone(answer.header("X-Trailer"))
            self.assertNotIn(b"railer", client.tail())
            self.assert_answer(client.request("POST", COMPLETIONS, [JSON], CHAT))
            self.assertEqual(self.connections(), [0, 0])
        self.both([[send(self.START + framed)], OK], ask)

    def test_trailers_are_dropped(self):
        self.whole(b'5\r\n{"ok"\r\n6\r\n:true}\r\n0\r\nX-Trailer: 1\r\nX-Trailer-2: 2\r\n\r\n')

    @needs_transport("native", "evhttp fails on chunk extensions")
    def test_extensions_are_dropped(self):
        self.whole(b'5;a\r\n{"ok"\r\n6 ; b="railer;\\"" \r\n:true}\r\n0;c=d\r\n\r\n')

    def test_sizes_in_any_writing(self):
        self.whole(b'0005\r\n{"ok"\r\n00000000000000000006\r\n:true}\r\n000\r\n\r\n')

    def test_byte_by_byte(self):
        framed = b'1\r\n{\r\nA\r\n"ok":true}\r\n0\r\n\r\n'
        pieces = [send(self.START)] + [send(framed[at:at + 1]) for at in range(len(framed))]
        self.both([pieces, OK], lambda: self.assert_answer(self.post()))

    def test_an_empty_one_is_whole(self):
        self.both([[send(self.START + LAST_CHUNK)], OK],
                  lambda: self.assert_answer(self.post(), b""))

    @needs_transport("native", "evhttp reads sizes with strtoll(), and waits for 2^63 bytes")
    def test_sizes_that_are_none(self):
        for size in (b"", b"-1", b"+5", b"0x5", b"5 5", b"g", b"f" * 17):
            with self.subTest(size):
                self.assert_wrong([send(self.START + size + b"\r\n{}\r\n")], "a chunk", "body")

    @needs_transport("native", "evhttp hands a chunk on only when it is whole")
    def test_a_huge_one_is_handed_on_before_it_ends_in_bounded_memory(self):
        """200 MiB in one chunk; the client has the first part while the rest is yet to come."""
        part, gate = bytes(MIB), threading.Event()

        def flood(connection):
            connection.send(self.START + b"%x\r\n" % (200 * MIB))
            for _ in range(8):
                connection.send(part)
            connection.wait(gate)
            for _ in range(192):
                connection.send(part)
            connection.send(b"\r\n" + LAST_CHUNK)
        self.begin([[flood]], None)
        client = self.connect()
        client.send_request("GET", FILE)
        answer = client.read_head()
        answer.read_until(bytes(KIB))
        before = self.andiron.memory()
        gate.set()
        size, _ = answer.count()
        self.assertEqual((answer.end, size), ("complete", 200 * MIB))
        if not is_sanitized():
            self.assertLess(self.andiron.memory("VmHWM") - before, 32 * MIB)

    @needs_transport("native", "evhttp hands a chunk on only when it is whole")
    def test_an_event_within_a_chunk_that_goes_on_is_handed_on(self):
        event, gate = b'data: {"choices":[{"delta":{"content":"one"}}]}\n\n', threading.Event()
        rest = event + b"data: [DONE]\n\n"
        size = b"%x\r\n" % len(event + rest)
        self.begin([sse(send(size + event), gate, send(rest + b"\r\n"))])
        answer = self.start_stream().read_head()
        self.assertEqual(answer.read_until(b"\n\n"), event)
        gate.set()
        self.assert_answer(answer, event + rest)


@needs_transport("native", "evhttp sees an early answer only after the whole request is written")
class Early(Framing):
    """An answer while the request is still on its way: what the server says then is what counts."""

    UPLOAD = bytes(20_000_000)
    REFUSAL = b'{"error":{"message":"too big","code":"BIG"}}'

    def check(self, status, ending, body=None):
        body = body or (self.REFUSAL if status >= 400 else BODY)

        def take_a_little(connection):
            connection._receive(None)

        def ask():
            answer = self.post(body=self.UPLOAD)
            self.assert_answer(answer, body, status)
            self.assertEqual(answer.header("X-Andiron-Source"), "upstream")
            self.assert_attempts(answer, 1)
            self.assert_seen(1)
        self.both([early([take_a_little] + reply(status, body, [JSON]) + [ending])], ask,
                  max_attempts="5")

    def test_a_refusal_with_a_fin(self):
        self.check(413, fin)

    def test_a_refusal_with_a_reset(self):
        self.check(413, rst)

    def test_a_refusal_on_a_connection_that_stays(self):
        self.check(413, hold())

    def test_a_refusal_by_a_server_that_hears_no_more(self):
        self.check(401, lambda connection: connection.ignore())

    def test_a_success_with_a_fin(self):
        self.check(200, fin)

    def test_a_success_with_a_reset(self):
        self.check(200, rst)

    def test_a_success_on_a_connection_that_stays(self):
        self.check(200, hold())

    def test_the_next_request_goes_out_on_another_connection(self):
        self.begin([early(reply(413, self.REFUSAL, [JSON]) + [fin]), OK])
        self.assert_status(self.post(body=self.UPLOAD), 413)
        self.assert_answer(self.post())
        self.assertEqual(self.connections(), [0, 1])

    def test_an_answer_that_goes_on_while_the_upload_does(self):
        """Both directions at once: the server reads on and answers on."""
        def duplex(connection):
            connection.send(head(200, [JSON, LENGTH]) + BODY[:4])
            left = len(Early.UPLOAD) - len(connection.buffer)
            connection.buffer.clear()
            while left > 0:
                left -= len(connection._receive(None))
            connection.send(BODY[4:])
        self.both([early([duplex])], lambda: self.assert_answer(self.post(body=self.UPLOAD)))

    def test_a_refusal_ends_the_sending(self):
        """RFC 9112, 9.5. Its body goes on behind what is held of an error, so that the client's
        head says that andiron has read the server's."""
        for tls in ("server", None):
            with self.subTest(tls=tls):
                self.refuse_and_count(tls)

    def refuse_and_count(self, tls):
        gate, size, came = threading.Event(), 100 * KIB, []

        def refuse(connection):
            connection.send(head(413, [BINARY, ("Content-Length", 2 * size)]) + bytes(size))
            gate.wait(BOUND)
            while data := connection._receive(0.2):     # what was on its way, and no more
                came.append(len(data))
            connection.send(bytes(size))
        self.begin([early([refuse])], tls)
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [BINARY], 2 * self.UPLOAD)
        answer = client.read_head()
        gate.set()
        self.assert_answer(answer, bytes(2 * size), 413)
        self.assertLess(sum(came), len(self.UPLOAD) * 3 / 2)

    def until_close_and_reset(self, tls):
        cut = [lambda connection: connection._receive(None),
               send(head(200, [JSON]) + b'{"half":'), rst]
        self.begin([early(cut)] * 4, tls, max_attempts="2")
        self.assert_error(self.post(body=self.UPLOAD), 502)
        self.assert_seen(2)

    def test_one_that_is_cut_by_a_reset_is_not_whole(self):
        self.until_close_and_reset("server")

    def test_nor_is_it_over_plain_tcp(self):
        """The failed write has taken the socket's error with it: the read behind it sees a FIN that
        nobody sent."""
        self.until_close_and_reset(None)


class Surplus(Framing):
    """Bytes behind an answer are nobody's."""

    def ask_twice(self, between=lambda: None, path=COMPLETIONS):
        self.assert_answer(self.post(path))
        between()
        answer = self.post(path)
        self.assert_answer(answer, b"second")
        return answer

    SECOND = reply(200, b"second")

    def test_in_the_same_segment(self):
        for surplus in (b"x", b"\r\n", EVIL, LAST_CHUNK):
            whole = head(200, [JSON, LENGTH]) + BODY + surplus

            def check():
                self.ask_twice()
                self.ask_and_compare()
            self.both([[send(whole)], self.SECOND], check)

    def ask_and_compare(self):
        self.assertEqual(self.connections(), [0, 1], self.seen())

    def test_behind_a_last_chunk(self):
        whole = head(200, [JSON, ("Transfer-Encoding", "chunked")]) + b"b\r\n" + BODY + b"\r\n"
        self.both([[send(whole + LAST_CHUNK + EVIL)], self.SECOND],
                  lambda: (self.ask_twice(), self.ask_and_compare()))

    def test_behind_an_answer_without_a_body(self):
        for status in (204, 304):
            with self.subTest(status=status):
                self.begin([[send(head(status) + EVIL)], self.SECOND])
                self.assert_status(self.request("GET", FILE), status)
                self.assert_answer(self.request("GET", FILE), b"second")
                self.ask_and_compare()

    def test_behind_a_head(self):
        """A server that sends a body to HEAD."""
        self.begin([[send(head(200, [LENGTH]) + BODY)], self.SECOND])
        self.assert_status(self.request("HEAD", FILE), 200)
        self.assert_answer(self.request("GET", FILE), b"second")
        self.ask_and_compare()

    def test_later_while_the_connection_waits(self):
        for surplus in (b"x", EVIL):
            for tls in ("server", None):
                with self.subTest(surplus, tls=tls):
                    gate = threading.Event()
                    self.begin([OK + [wait(gate), send(surplus), hold()], self.SECOND], tls)

                    def between():
                        gate.set()
                        self.upstream.connections[0].wait_end()
                    self.ask_twice(between)
                    self.ask_and_compare()

    def test_in_the_same_turn_of_the_loop_as_the_next_request(self):
        """The daemon stands still while both arrive, so that it sees them together."""
        for path in (COMPLETIONS, CREATE):
            for tls in ("server", None):
                with self.subTest(path=path, tls=tls):
                    self.same_turn(path, tls)

    def same_turn(self, path, tls):
        gate, sent = threading.Event(), threading.Event()
        first = OK + [wait(gate), send(EVIL), lambda connection: sent.set(), hold()]
        self.begin([first, self.SECOND], tls, max_attempts="2")
        client = self.connect()
        self.assert_answer(client.request("POST", path, [JSON], CHAT))
        self.andiron.signal(signal.SIGSTOP)
        try:
            gate.set()
            self.assertTrue(sent.wait(BOUND))
            client.send_request("POST", path, [JSON], CHAT)
        finally:
            self.andiron.signal(signal.SIGCONT)
        self.assert_answer(client.read_head(), b"second")


class Heads(Framing):
    def ask(self, raw, tail=BODY):
        self.begin([[send(raw + tail)], OK])
        answer = self.post()
        self.assert_answer(answer)
        return answer

    @needs_transport("native", "evhttp keeps the fold's line break")
    def test_a_folded_field_becomes_one_line(self):
        answer = self.ask(head(200, [JSON, LENGTH])[:-2] + b"X-Long: one\r\n  two\r\n\tthree\r\n\r\n")
        self.assertEqual(answer.all("X-Long"), ["one two three"])

    def test_lines_that_end_with_a_bare_lf(self):
        self.ask(head(200, [JSON, LENGTH, ("X-A", "b")]).replace(b"\r\n", b"\n"))

    def test_a_missing_reason(self):
        for line in (b"HTTP/1.1 200 \r\n", b"HTTP/1.1 200\r\n"):
            with self.subTest(line):
                if line.endswith(b"00\r\n") and TRANSPORT == "evhttp":
                    continue        # evhttp wants the blank
                answer = self.ask(line + head(200, [JSON, LENGTH]).split(b"\r\n", 1)[1])
                self.assertEqual(answer.status, 200)

    def test_names_in_odd_case(self):
        answer = self.ask(b"HTTP/1.1 200 OK\r\ncONTENT-lENGTH: 11\r\ncontent-TYPE: application/json\r\n"
                          b"x-ODD: Kept As It Is\r\n\r\n")
        self.assertEqual(answer.all("x-odd"), ["Kept As It Is"])
        self.assertIn("x-ODD", [name for name, _ in answer.headers])

    def test_chunked_in_odd_case(self):
        self.ask(b"HTTP/1.1 200 OK\r\ntransfer-encoding: ChunKed\r\n\r\n",
                 b"B\r\n" + BODY + b"\r\n" + LAST_CHUNK)

    def test_each_set_cookie_is_kept(self):
        cookies = ["a=1; Path=/", "b=2, c", "a=1; Path=/"]
        answer = self.ask(head(200, [JSON, LENGTH] + [("Set-Cookie", value) for value in cookies]))
        self.assertEqual(answer.all("Set-Cookie"), cookies)

    def test_bytes_above_127_pass(self):
        answer = self.ask(head(200, [JSON, LENGTH, ("X-Name", "sm\xf8rrebr\xf8d")]))
        self.assertEqual(answer.all("X-Name"), ["sm\xf8rrebr\xf8d"])

    def test_empty_lines_before_the_first(self):
        if TRANSPORT != "evhttp":
            self.ask(b"\r\n\r\n" + head(200, [JSON, LENGTH]))

    @needs_transport("native", "evhttp takes such an answer for broken")
    def test_chunks_win_over_a_length(self):
        for fields in ([("Content-Length", 3), ("Transfer-Encoding", "chunked")],
                       [("Transfer-Encoding", "chunked"), ("Content-Length", 3000)]):
            framed = head(200, fields + [JSON]) + b"b\r\n" + BODY + b"\r\n" + LAST_CHUNK

            def check():
                answer = self.post()
                self.assert_answer(answer)
                self.assertIn(answer.all("Content-Length"), ([], [str(len(BODY))]))
                self.assert_answer(self.post())
            self.both([[send(framed)], OK], check)

    @needs_transport("native", "evhttp takes such an answer for broken")
    def test_a_length_beside_chunks_is_not_forwarded(self):
        gate = threading.Event()
        fields = [("Content-Length", 3), ("Transfer-Encoding", "chunked"), BINARY]
        body = bytes(128 * KIB)
        self.begin([[send(head(200, fields) + b"%x\r\n" % len(body) + body + b"\r\n"), wait(gate),
                     send(LAST_CHUNK)]], hold_body="64KiB")
        client = self.connect()
        client.send_request("GET", FILE)
        answer = client.read_head()         # it is not held: nobody knows its length yet
        self.assertEqual(answer.all("Content-Length"), [])
        gate.set()
        self.assert_answer(answer, body)

    @needs_transport("native", "evhttp takes such an answer for broken")
    def test_a_length_beside_chunks_ends_the_connection(self):
        fields = [("Content-Length", 3), ("Transfer-Encoding", "chunked"), JSON]
        self.begin([[send(head(200, fields) + b"b\r\n" + BODY + b"\r\n" + LAST_CHUNK)], OK])
        self.assert_answer(self.post())
        self.assert_answer(self.post())
        self.assertEqual(self.connections(), [0, 1])

    def test_equal_lengths_are_one(self):
        answer = self.ask(head(200, [JSON, LENGTH, LENGTH]))
        self.assertEqual(answer.all("Content-Length"), [str(len(BODY))])

    def test_what_is_wrong_is_an_error(self):
        crlf = head(200, [JSON])[:-2]
        for name, raw, native in (
                ("lengths that differ", crlf + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n{} ", 0),
                ("a negative length", crlf + b"Content-Length: -1\r\n\r\n{}", 1),
                ("a length with a sign", crlf + b"Content-Length: +2\r\n\r\n{}", 1),
                ("lengths in a list that differ", crlf + b"Content-Length: 2, 3\r\n\r\n{} ", 1),
                ("an empty length", crlf + b"Content-Length:\r\n\r\n{}", 1),
                ("a coding that nobody knows", crlf + b"Transfer-Encoding: x\r\n\r\n{}", 0),
                ("chunked twice", crlf + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 0),
                ("no colon", crlf + b"X-Bad\r\n\r\n", 0),
                ("a name that is no token", crlf + b"X Bad: 1\r\n\r\n", 1),
                ("a NUL", crlf + b"X-A: a\0b\r\n\r\n", 1),
                ("a CR within a line", crlf + b"X-A: a\rb\r\n\r\n", 1),
                ("two digits of status", b"HTTP/1.1 20 OK\r\n\r\n", 1),
                ("HTTP/3", b"HTTP/3.0 200 OK\r\n\r\n", 1)):
            with self.subTest(name):
                if native and TRANSPORT == "evhttp":
                    continue        # evhttp's reader is not ours to judge
                self.assert_wrong([send(raw)], "[a-zA-Z]{2}")

    def test_too_many_fields_are_an_error(self):
        if TRANSPORT != "evhttp":
            self.assert_wrong([send(head(200, [("X", "y")] * 1001))], "more fields")


class Persistence(Framing):
    def keeps(self, raw, kept, tail=BODY):
        for tls in ("server", None):
            with self.subTest(raw, tls=tls):
                gate = threading.Event()
                self.addCleanup(gate.set)
                self.begin(lambda request: [send(raw + tail)], tls)
                self.assert_answer(self.post())
                if not kept:        # it is closed from here; the server would have kept it
                    self.assertEqual(self.upstream.connections[0].wait_end(), "fin")
                self.assert_answer(self.post())
                self.assertEqual(self.connections(), [0, 0] if kept else [0, 1])

    def said(self, version, *values):
        fields = [("Connection", value) for value in values]
        return head(200, [JSON, LENGTH] + fields).replace(b"HTTP/1.1", version)

    def test_1_1_is_kept(self):
        self.keeps(self.said(b"HTTP/1.1"), True)
        self.keeps(self.said(b"HTTP/1.1", "keep-alive"), True)

    def test_close_is_honoured(self):
        for values in (["close"], ["Close"], ["keep-alive, close"], ["x", "close"]):
            self.keeps(self.said(b"HTTP/1.1", *values), False)

    def test_1_0_is_not_kept_unless_it_says_so(self):
        self.keeps(self.said(b"HTTP/1.0"), False)
        self.keeps(self.said(b"HTTP/1.0", "keep-alive"), True)

    def test_a_close_is_not_told_to_the_client(self):
        self.begin([reply(200, BODY, [JSON, ("Connection", "close")]), OK])
        client = self.connect()
        for _ in range(2):
            answer = client.request("POST", COMPLETIONS, [JSON], CHAT)
            self.assert_answer(answer)
            self.assertNotIn("close", answer.all("Connection"))


class Holding(Framing):
    """hold_body: whole before the client gets a byte."""

    LIMIT = 64 * KIB

    def script(self, size, framing, ending, gate=None):
        body = bytes(size)
        stop = [wait(gate)] if gate else []
        if framing == "length":
            start = send(head(200, [BINARY, ("Content-Length", size)]) + body[:size // 2])
            return [start] + stop + [ending]
        if framing == "chunks":
            return chunked(body, *stop, ending, headers=[BINARY])
        return until_close(body, *stop, headers=[BINARY], ending=ending)

    def test_a_cut_one_up_to_the_limit_is_unseen(self):
        for size in (1000, self.LIMIT):
            for framing, ending in (("length", fin), ("length", rst), ("chunks", fin),
                                    ("chunks", rst), ("close", rst), ("close", ragged)):
                with self.subTest(size=size, framing=framing, ending=ending.__name__):
                    self.begin([self.script(size, framing, ending), reply(200, bytes(size), [BINARY])],
                               hold_body="64KiB", max_attempts="2")
                    answer = self.request("GET", FILE)
                    self.assert_answer(answer, bytes(size))
                    self.assert_attempts(answer, 2)

    def test_a_cut_one_beyond_it_is_cut(self):
        for framing, ending in (("length", fin), ("length", rst), ("chunks", fin), ("chunks", rst),
                                ("close", ragged)):
            with self.subTest(framing=framing, ending=ending.__name__):
                gate = threading.Event()
                size = 4 * self.LIMIT
                self.begin([self.script(size, framing, ending, gate), OK], hold_body="64KiB",
                           max_attempts="2")
                client = self.connect()
                client.send_request("GET", FILE)
                answer = client.read_head()
                gate.set()
                self.assertLessEqual(len(answer.body), size + 1)
                self.assertNotEqual(answer.end, "complete")
                event = self.wait_event(event="attempt")
                self.assertEqual((event["error"], event["phase"], event.get("retry_in_ms")),
                                 ("http_response_incomplete", "body", None), event)
                self.assert_seen(1)

    def test_one_beyond_it_passes_before_its_end(self):
        for framing in ("length", "chunks"):
            with self.subTest(framing):
                gate, size = threading.Event(), 4 * self.LIMIT
                if framing == "length":
                    script = [send(head(200, [BINARY, ("Content-Length", size)])), wait(gate),
                              send(bytes(size))]
                else:
                    script = chunked(bytes(self.LIMIT + 1), gate, bytes(size - self.LIMIT - 1),
                                     headers=[BINARY])
                self.begin([script], hold_body="64KiB")
                client = self.connect()
                client.send_request("GET", FILE)
                answer = client.read_head()
                gate.set()
                self.assert_answer(answer, bytes(size))

    def test_a_held_one_has_its_length_told(self):
        for answer in (chunked(BODY, headers=[JSON]), until_close(BODY, headers=[JSON])):
            self.begin([answer])
            self.assertEqual(self.post().all("Content-Length"), [str(len(BODY))])


if __name__ == "__main__":
    main()
