"""The door for clients, with raw bytes: what is no plain request never reaches the upstream, and
every refusal is a readable answer (CONTRACT 3, Security; proxy/guard.h)."""

import http
import os
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from client import NoAnswer, chunk
from harness import BOUND, CHAT, COMPLETIONS, FlowTest, is_sanitized, main
from upstream import JSON, reply, wait

KIB, MIB = 1024, 1024 * 1024
REASONS = {status.value: status.phrase for status in http.HTTPStatus}
HOST = b"Host: localhost\r\n"
GET = b"GET /v1/models HTTP/1.1\r\n" + HOST
POST = b"POST /v1/chat/completions HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
ECHO = "X-Body-Length"


def echo(request):
    return reply(200, request.body or b"{}", [JSON, (ECHO, len(request.body))])


class GuardTest(FlowTest):
    def start(self, script=echo, workers="1", profile=None, **server):
        self.launch(upstream=self.scripted(script, tls=None), config={
            "server": dict({"workers": workers}, **server), "profile.default": profile or {}})

    def sent(self, data):
        client = self.connect()
        client.send(data)
        return client

    def barrier(self):
        """With one worker: what was sent before this has been read."""
        self.assert_status(self.request("GET", "/nowhere"), 404)

    def read_refusal(self, client, status, code="http_request_error", closes=True):
        """The next answer is this refusal, in every part."""
        answer = client.read_head()
        error = self.assert_error(answer, status, code)
        self.assertEqual(answer.end, "complete", repr(answer))
        self.assertIn(answer.reason, (REASONS[status], "Content Too Large"), repr(answer))
        self.assertTrue(error["message"].startswith("andiron: "), error)
        self.assertEqual(answer.header("X-Andiron-Attempts"), "0", repr(answer))
        if closes:
            self.assertEqual(answer.header("Connection"), "close", repr(answer))
            self.assertEqual(client.read_end(), (b"", "cut"))
        event = self.wait_event(event="request", request_id=answer.header("X-Request-Id"))
        self.assertEqual((event["status"], event["error"], event["phase"], event["dashboard"]),
                         (status, code, "client", "invisible"), event)
        return answer

    def refuse(self, data, status=400, **options):
        return self.read_refusal(self.sent(data), status, **options)

    def refuse_all(self, rows, status=400, **options):
        """Each of these bytes, alone on a connection, is refused, and nothing goes on."""
        self.start()
        for row in rows:
            with self.subTest(row[:300]):
                self.refuse(row, status, **options)
        self.assert_untouched()

    def assert_untouched(self):
        self.assert_seen(0)
        self.assertEqual(self.upstream.connections, [])

    def pass_all(self, rows):
        """Each of these is forwarded once, on one connection that goes on; the requests."""
        self.start()
        client = self.connect()
        for count, row in enumerate(rows):
            with self.subTest(row[:300]):
                client.methods.append(row.split(b" ", 1)[0].strip().decode())
                client.send(row)
                answer = client.read_head()
                _ = answer.body
                self.assert_status(answer, 200)
                self.assert_seen(count + 1)
        return self.upstream.requests

    def post_bytes(self, body, length=None):
        return POST + b"Content-Length: %d\r\n\r\n" % (len(body) if length is None else length) + body


class Lines(GuardTest):
    def test_lines_end_with_crlf(self):
        self.refuse_all([
            GET[:-2] + b"\n\r\n", GET + b"\n", b"GET /v1/models HTTP/1.1\n" + HOST + b"\r\n",
            GET + b"A: 1\nB: 2\r\n\r\n", b"\n" + GET + b"\r\n", GET + b"A: 1\r\n\n\r\n",
            CHUNKED + b"2\n{}\r\n0\r\n\r\n", CHUNKED + b"2\r\n{}\n0\r\n\r\n",
            CHUNKED + b"2\r\n{}\r\n0\n\r\n", CHUNKED + b"2\r\n{}\r\n0\r\n\n"])

    def test_control_bytes_are_refused_everywhere(self):
        rows = []
        for byte in list(range(0, 32)) + [127]:
            it = bytes([byte])
            if it not in b"\t\n":
                rows += [GET + b"A: x" + it + b"y\r\n\r\n", GET + b"A: x" + it + b"\r\n\r\n"]
            if it != b"\n":
                rows += [b"GET /v1/mo" + it + b"dels HTTP/1.1\r\n" + HOST + b"\r\n",
                         GET + b"A" + it + b": 1\r\n\r\n"]
        self.refuse_all(rows)

    def test_bytes_above_127_pass_in_values_only(self):
        self.refuse_all([b"GET /v1/\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n",
                         GET + b"\xc3\xa9: 1\r\n\r\n", b"G\xffT /v1/models HTTP/1.1\r\n" + HOST + b"\r\n",
                         GET + b"A\xa0: 1\r\n\r\n", CHUNKED + b"\xb2\r\n{}\r\n0\r\n\r\n"])
        seen = self.pass_all([GET + b"X-Word: \xc3\xa9\x80\xff\r\n\r\n"])
        self.assertEqual(seen[0].header("X-Word").encode("latin-1"), b"\xc3\xa9\x80\xff")

    def test_names_are_tokens(self):
        self.refuse_all([GET + line + b"\r\n\r\n" for line in (
            b"A : 1", b"A\t: 1", b"A B: 1", b": 1", b"A", b"A/B: 1", b"A(: 1", b"A\"B\": 1", b"[A]: 1",
            b"A@: 1", b"A,B: 1", b"A;: 1", b"A=: 1", b"A{}: 1", b"A\\: 1", b"Content-Length : 0",
            b"Transfer-Encoding\t: chunked")])

    def test_a_folded_line_is_refused(self):
        self.refuse_all([GET + b"A: 1\r\n 2\r\n\r\n", GET + b"A: 1\r\n\t2\r\n\r\n", GET + b" A: 1\r\n\r\n",
                         b"GET /v1/models HTTP/1.1\r\n " + HOST + b"\r\n", GET + b"A: 1\r\n \r\n\r\n",
                         POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"])

    def test_a_request_line_has_three_parts(self):
        self.refuse_all([line + b"\r\n" + HOST + b"\r\n" for line in (
            b"GET", b"GET /v1/models", b"GET  /v1/models HTTP/1.1", b"GET /v1/models  HTTP/1.1",
            b"GET /v1/models HTTP/1.1 ", b" GET /v1/models HTTP/1.1", b"GET\t/v1/models\tHTTP/1.1",
            b"GET /v1/a b HTTP/1.1", b"GET HTTP/1.1", b"/v1/models HTTP/1.1", b"GET /v1/models HTTP/1",
            b"GET /v1/models HTTP/1.10", b"GET /v1/models HTTP/01.1", b"GET /v1/models http/1.1",
            b"GET /v1/models HTTP/1,1", b"GET /v1/models HTTP/-1.1", b"GET /v1/models HTTP /1.1",
            b"GET /v1/models FTP/1.1", b"G,T /v1/models HTTP/1.1", b"\x16\x03\x01\x02\x00\x01")])

    def test_another_version_is_505(self):
        self.refuse_all([b"GET /v1/models " + version + b"\r\n" + HOST + b"\r\n" for version in (
            b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/9.9")] +
            [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], 505)

    def test_one_empty_line_may_lead(self):
        self.pass_all([b"\r\n" + GET + b"\r\n"])
        self.refuse_all([b"\r\n\r\n" + GET + b"\r\n"])


class Hosts(GuardTest):
    def refuse_host(self, rows, status, code):
        self.refuse_all(rows, status, code=code, closes=status == 400)

    def test_exactly_one_host(self):
        none, two = b"GET /v1/models HTTP/1.%d\r\n\r\n", b"Host: localhost\r\n\r\n"
        self.refuse_host([none % 1, none % 0, GET + two, b"GET /v1/models HTTP/1.0\r\n" + HOST + two,
                          GET + b"host: evil.example\r\n\r\n",
                          b"GET http://localhost/v1/models HTTP/1.1\r\n\r\n",
                          b"GET http://localhost/v1/models HTTP/1.1\r\n" + HOST + two],
                         400, "http_request_error")

    def test_what_is_no_authority(self):
        self.refuse_host([b"GET /v1/models HTTP/1.1\r\nHost:" + host + b"\r\n\r\n" for host in (
            b"", b" ", b" localhost, localhost", b" localhost/", b" a@localhost", b" localhost:x",
            b" localhost:80:80", b" [::1", b" ::1", b" local host", b" localhost\t80", b" http://localhost",
            b" localhost#", b" localhost?", b" \xc3\xa9", b" localhost:99999999", b" [localhost]")],
                         400, "http_request_error")

    def test_another_name(self):
        self.refuse_host([b"GET /v1/models HTTP/1.1\r\nHost: evil.example\r\n\r\n",
                          b"GET http://evil.example/v1/models HTTP/1.1\r\n" + HOST + b"\r\n",
                          b"GET http://evil.example:80?x HTTP/1.1\r\n" + HOST + b"\r\n"],
                         403, "http_request_denied")

    def test_the_authority_of_an_absolute_target(self):
        self.refuse_host([b"GET http://" + authority + b"/v1/models HTTP/1.1\r\n" + HOST + b"\r\n"
                          for authority in (b"", b"a@localhost", b"localhost:x", b"localhost\\",
                                            b"[::1", b"localhost,evil.example")],
                         400, "http_request_error")
        seen = self.pass_all([b"GET http://localhost/v1/models?a=b HTTP/1.1\r\n" + HOST + b"\r\n",
                              b"GET HTTP://127.0.0.1:1/v1/models HTTP/1.1\r\nHost: other\r\n\r\n"])
        self.assertEqual([(request.target, request.all("Host")) for request in seen], [
            ("/inference/v1/models?a=b", [self.upstream.authority]),
            ("/inference/v1/models", [self.upstream.authority])])


class Targets(GuardTest):
    def test_other_forms_are_not_found(self):
        self.start()
        for target in (b"*", b"v1/models", b"https://localhost/v1/models", b"localhost:80", b"//v1/models",
                       b"file:///v1/models", b"http:/v1/models", b"?x", b"http://localhost?/v1/models"):
            with self.subTest(target):
                self.refuse(b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n", 404,
                            code="destination_not_found", closes=False)
        self.refuse(b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 404, code="destination_not_found",
                    closes=False)
        self.assert_untouched()

    def test_a_path_passes_byte_for_byte(self):
        paths = [b"/v1/models?a=%00&b=\"<>|^`{}\\~'", b"/v1/accounts/a/../b/./c", b"/v1/%2e%2e/%2F", b"/v1/a;b=c"]
        seen = self.pass_all([b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n" for path in paths])
        for path, request in zip(paths, seen):
            self.assertTrue(request.target.endswith(path.decode()[3:]), (path, request))


    def test_a_fragment_is_refused(self):
        self.refuse_all([b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n" for target in (
            b"/v1/models#a", b"/v1/models?a#b", b"/v1/#/models", b"#", b"http://localhost#/v1/models")])


class Methods(GuardTest):
    def test_trace_and_connect_are_405_whatever_the_target(self):
        self.refuse_all([method + b" " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n"
                         for method in (b"TRACE", b"CONNECT")
                         for target in (b"/v1/models", b"*", b"localhost:443", b"evil.example:443",
                                        b"http://evil.example/", b"x")] +
                        [b"CONNECT evil.example:443 HTTP/1.1\r\n\r\n"], 405)

    def test_unknown_methods_are_501(self):
        self.refuse_all([method + b" /v1/models HTTP/1.1\r\n" + HOST + b"\r\n" for method in (
            b"get", b"Get", b"GETT", b"PROPFIND", b"QUERY", b"A", b"!#$%&'*+-.^_`|~", b"LINK" * 50)], 501)

    def test_get_and_head_have_no_body(self):
        self.refuse_all([GET + b"Content-Length: 2\r\n\r\n{}", GET + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"])
        self.pass_all([GET + b"Content-Length: 0\r\n\r\n", GET.replace(b"GET", b"HEAD", 1) + b"\r\n"])

    def test_the_refusal_of_a_head_request_has_no_body(self):
        self.start()
        head = GET.replace(b"GET", b"HEAD", 1)
        for row, status in ((head + b"Content-Length: 2\r\n\r\n{}", 400), (head + b"Expect: x\r\n\r\n", 417)):
            client = self.connect()
            client.methods.append("HEAD")
            client.send(row)
            answer = client.read_head()
            self.assert_status(answer, status)
            self.assertGreater(int(answer.header("Content-Length")), 0)
            self.assertEqual(client.read_end(), (b"", "cut"))
        self.assert_untouched()

    def test_known_methods_pass_with_and_without_a_body(self):
        rows = []
        for method in (b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"):
            start = method + b" /v1/accounts/a/models/m HTTP/1.1\r\n" + HOST
            rows += [start + b"\r\n", start + b"Content-Length: 2\r\n\r\n{}",
                     start + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"]
        seen = self.pass_all(rows)
        self.assertEqual([request.body for request in seen], [b"", b"{}", b"{}"] * 5)


class Framing(GuardTest):
    def test_a_length_is_one_plain_number(self):
        self.refuse_all([POST + b"Content-Length:" + value + b"\r\n\r\n{}" for value in (
            b"", b" ", b" +2", b" -2", b" 0x2", b" 2 2", b" 2,2", b" 2, 2", b" 2;", b" 2.0", b" 2e0", b" \xb2",
            b" two", b" ,2", b" 2,", b" 9223372036854775808", b" 18446744073709551618", b" 2\t2",
            b" 99999999999999999999999")])

    def test_there_is_one_framing(self):
        self.refuse_all([POST + fields + b"\r\n\r\n0\r\n\r\n" for fields in (
            b"Content-Length: 5\r\nContent-Length: 5", b"Content-Length: 5\r\ncontent-length: 6",
            b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: chunked\r\nContent-Length: 5",
            b"Content-Length: 0\r\nTransfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity\r\nContent-Length: 5",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked")] +
            [b"POST /v1/chat/completions HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"])

    def test_a_coding_is_chunked(self):
        self.refuse_all([POST + b"Transfer-Encoding:" + coding + b"\r\n\r\n0\r\n\r\n" for coding in (
            b"", b" ", b" identity", b" gzip", b" chunked, gzip", b" chunked, chunked", b" chunked,", b" ,chunked",
            b" xchunked", b" chunkedx", b" chunked;q=1", b" 'chunked'", b" \"chunked\"", b" chunked chunked",
            b" chunked\tx", b" \xa0chunked", b" chun ked", b" chunked, identity", b" gzip,, chunked")])

    def test_an_unknown_coding_before_chunked_is_501(self):
        self.refuse_all([POST + b"Transfer-Encoding: " + coding + b", chunked\r\n\r\n0\r\n\r\n"
                         for coding in (b"gzip", b"identity", b"x", b"gzip, br", b"a;b=c")], 501)

    def test_chunks_are_strict(self):
        self.refuse_all([CHUNKED + row for row in (
            b"+2\r\n{}\r\n0\r\n\r\n", b"-2\r\n{}\r\n0\r\n\r\n", b"0x2\r\n{}\r\n0\r\n\r\n", b" 2\r\n{}\r\n0\r\n\r\n",
            b"2 \r\n{}\r\n0\r\n\r\n", b"2\t\r\n{}\r\n0\r\n\r\n", b"2_0\r\n{}\r\n0\r\n\r\n", b"2,\r\n{}\r\n0\r\n\r\n",
            b"\r\n{}\r\n0\r\n\r\n", b"g\r\n{}\r\n0\r\n\r\n", b"2\r\n{}0\r\n\r\n", b"2\r\n{}x\r\n0\r\n\r\n",
            b"1\r\n{}\r\n0\r\n\r\n", b"8000000000000000\r\n", b"10000000000000002\r\n{}\r\n",
            b"fffffffffffffffff\r\n", b"2;\r\n{}\r\n0\r\n\r\n", b"2;;\r\n{}\r\n0\r\n\r\n", b"2;=\r\n{}\r\n0\r\n\r\n",
            b"2;a=\r\n{}\r\n0\r\n\r\n", b"2;a=\"b\r\n{}\r\n0\r\n\r\n", b"2;a b\r\n{}\r\n0\r\n\r\n",
            b"2;a=b\rc\r\n{}\r\n0\r\n\r\n", b"2;a\x00\r\n{}\r\n0\r\n\r\n", b"2 a\r\n{}\r\n0\r\n\r\n",
            b"2\r\n{}\r\n0;\r\n\r\n", b"2;" + b"a" * 5000 + b"\r\n{}\r\n0\r\n\r\n")])

    def test_trailers_are_fields(self):
        self.refuse_all([CHUNKED + b"0\r\n" + row + b"\r\n\r\n" for row in (
            b"A", b"A : 1", b" A: 1", b"A: 1\r\n 2", b"A: \x00", b"GET / HTTP/1.1", b": 1", b"A: 1\nB: 2")])

    def test_extensions_and_trailers_go_no_further(self):
        seen = self.pass_all([
            CHUNKED + b"1;a;b=c;d=\"e;\\\"\xff\"\r\n{\r\n1 ; a = b\r\n}\r\n0;x\r\nContent-Length: 7\r\nHost: evil\r\nA:\r\n\r\n",
            CHUNKED + b"0000000000000002\r\n{}\r\n000\r\n\r\n", CHUNKED + b"0\r\n\r\n"])
        for request, body in zip(seen, (b"{}", b"{}", b"")):
            self.assertEqual((request.framing, request.body, request.all("Content-Length")),
                             ("length", body, [str(len(body))]), request.headers)
            self.assertEqual((request.all("Host"), request.all("A"), request.all("Transfer-Encoding")),
                             ([self.upstream.authority], [], []), request.headers)

    def test_connection_cannot_take_a_framing_away(self):
        seen = self.pass_all([POST + b"Connection: " + names + b"\r\nContent-Length: 2\r\n\r\n{}" for names in (
            b"Content-Length", b"keep-alive, content-length, host", b"Transfer-Encoding", b"x-request-id")])
        for request in seen:
            self.assertEqual((request.all("Content-Length"), request.all("Host"), request.body,
                              len(request.all("X-Request-Id"))),
                             (["2"], [self.upstream.authority], b"{}", 1), request.headers)


class Sizes(GuardTest):
    def test_a_large_head_is_431(self):
        self.start(max_header="4KiB")
        for row in (GET + b"A: " + b"x" * 8 * KIB + b"\r\n\r\n", b"GET /v1/" + b"x" * 8 * KIB + b" HTTP/1.1\r\n",
                    GET + b"A: 1\r\n" * 199 + b"B: " + b"x" * 3 * KIB + b"\r\n\r\n", b"x" * 8 * KIB,
                    CHUNKED + b"0\r\n" + b"A: " + b"x" * 8 * KIB + b"\r\n\r\n"):
            with self.subTest(row[:60]):
                self.refuse(row, 431)
        self.assert_untouched()

    def test_the_limit_itself_passes(self):
        self.start(max_header="4KiB")
        start = GET + b"A: "
        head = start + b"x" * (4 * KIB - len(start) - 4) + b"\r\n\r\n"
        self.assert_status(self.sent(head).read_head(), 200)
        self.refuse(start + b"x" * (4 * KIB - len(start) - 3) + b"\r\n\r\n", 431)

    def test_more_than_200_fields_is_431(self):
        self.start()
        self.refuse(GET + b"A: 1\r\n" * 200 + b"\r\n", 431)
        self.refuse(CHUNKED + b"0\r\n" + b"A: 1\r\n" * 201 + b"\r\n", 431)
        self.assert_untouched()
        self.assert_status(self.sent(GET + b"A: 1\r\n" * 199 + b"\r\n").read_head(), 200)

    def test_a_large_body_is_413(self):
        self.start(max_body="64KiB")
        self.refuse(POST + b"Content-Length: 65537\r\n\r\n", 413)
        self.refuse(POST + b"Content-Length: 9223372036854775807\r\n\r\n", 413)
        self.refuse(POST + b"Expect: 100-continue\r\nContent-Length: 65537\r\n\r\n", 413)
        self.refuse(CHUNKED + chunk(bytes(64 * KIB)) + chunk(b"x"), 413)
        self.refuse(CHUNKED + b"7fffffffffffffff\r\n" + bytes(65 * KIB), 413)
        self.assert_untouched()
        self.assert_status(self.sent(self.post_bytes(bytes(64 * KIB))).read_head(), 200)
        self.assert_status(self.sent(CHUNKED + chunk(bytes(64 * KIB)) + b"0\r\n\r\n").read_head(), 200)


class Expecting(GuardTest):
    def test_100_continue_comes_before_the_body(self):
        self.start()
        client = self.connect()
        for framing, body in ((b"Content-Length: 2\r\n\r\n", b"{}"), (b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\n{}\r\n0\r\n\r\n")):
            client.send(POST + b"Expect: 100-Continue\r\n" + framing)
            self.assertEqual(client.read_head().status, 100)
            client.send(body)
            answer = client.read_head()
            self.assertEqual((answer.status, answer.body), (200, b"{}"))
        self.assertEqual([request.all("Expect") for request in self.upstream.requests], [[], []])

    def test_no_100_where_none_is_due(self):
        self.start()
        for row in (POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",     # the body is here
                    POST + b"Expect: 100-continue\r\n\r\n",                            # none will come
                    b"POST /v1/chat/completions HTTP/1.0\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 0\r\n\r\n"):
            with self.subTest(row):
                self.assert_status(self.sent(row).read_head(), 200)

    def test_other_expectations_are_417(self):
        self.start()
        for value in (b"200-ok", b"", b"100-continue, x", b"100", b"100-continue\r\nExpect: x"):
            with self.subTest(value):
                self.refuse(POST + b"Expect: " + value + b"\r\nContent-Length: 2\r\n\r\n", 417)
        self.assert_untouched()


class Connections(GuardTest):
    def test_good_requests_share_a_connection(self):
        self.start()
        client = self.connect()
        for turn in range(5):
            self.assert_status(client.request("GET", "/v1/models"), 200)
            self.assert_status(client.request("POST", COMPLETIONS, [], CHAT * turn), 200)
            client.send(CHUNKED + chunk(CHAT) + b"0\r\n\r\n")
            self.assertEqual(client.read_head().body, CHAT)

    def test_an_empty_line_behind_a_request_begins_none(self):
        self.start(header_timeout="100ms")
        client = self.connect()
        self.assert_status(client.request("POST", COMPLETIONS, [], CHAT), 200)
        client.send(b"\r\n")
        time.sleep(0.3)                 # longer than the head of a request may take
        self.assert_status(client.request("POST", COMPLETIONS, [], CHAT), 200)

    def test_what_follows_a_refusal_is_not_read(self):
        self.start()
        for bad in (GET + b"A : 1\r\n\r\n", CHUNKED + b"x\r\n", POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                    b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"\r\n"):
            with self.subTest(bad):
                client = self.sent(bad + (GET + b"\r\n") * 3)
                answer = client.read_head()
                self.assertIn(answer.status, (400, 405))
                _ = answer.body
                self.assertEqual(client.read_end(), (b"", "cut"))
        self.assert_untouched()

    def test_pipelined_requests_go_one_at_a_time_and_in_order(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        first = [wait(gate)] + reply(200, b"0")
        self.start(lambda request: first if request.target.endswith("/0") else reply(200, request.target[-1].encode()))
        client = self.sent(b"".join(b"GET /v1/models/%d HTTP/1.1\r\n" % number + HOST + b"\r\n" for number in range(4)))
        self.upstream.wait_requests(1)
        self.barrier()
        self.assert_seen(1)
        gate.set()
        self.assertEqual([client.read_head().body for _ in range(4)], [b"0", b"1", b"2", b"3"])
        self.assertEqual([request.target[-1] for request in self.upstream.requests], list("0123"))

    def test_a_bad_request_behind_good_ones(self):
        self.start()
        client = self.sent(GET + b"\r\n" + self.post_bytes(b"{}") + GET + b"A : 1\r\n\r\n" + GET + b"\r\n")
        self.assertEqual(client.read_head().header(ECHO), "0")
        self.assertEqual(client.read_head().header(ECHO), "2")
        self.read_refusal(client, 400)
        self.assert_seen(2)

    def test_pipelined_bytes_that_come_singly_are_bounded(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.start(lambda request: [wait(gate)] + reply(200, b"0"))
        clients = [self.sent(GET + b"\r\n") for _ in range(40)]
        self.upstream.wait_requests(40)
        self.barrier()
        before = self.andiron.memory()
        for _ in range(1500):
            for client in clients:      # each byte is read before the next one of its client comes
                client.send(b"x")
        self.barrier()
        grown = self.andiron.memory() - before
        if not is_sanitized():          # 60 KB were sent
            self.assertLess(grown, 8 * MIB, f"grown by {grown // KIB} KiB")

    def test_half_a_request_is_none(self):
        self.start()
        whole = self.post_bytes(b"{}")
        for at in range(1, len(whole), 7):
            client = self.sent(whole[:at])
            client.half_close()
            self.assertEqual(client.read_end(), (b"", "cut"), at)
        for at in range(1, len(whole), 7):
            self.sent(whole[:at]).rst()
        self.barrier()
        self.assert_untouched()

    def test_a_request_may_be_cut_at_any_byte(self):
        self.start()
        whole = b"\r\n" + CHUNKED[:-2] + b"Expect: 100-continue\r\n\r\n3;a=\"b\"\r\n{\"a\r\n4\r\n\":1}\r\n0;c\r\nT: 1\r\n\r\n" + GET + b"\r\n"
        clients = [self.sent(whole[:at]) for at in range(1, len(whole))]
        self.barrier()
        for at, client in enumerate(clients, 1):
            client.send(whole[at:])
        for at, client in enumerate(clients, 1):
            answer = client.read_head()
            if answer.status == 100:
                answer = client.read_head()
            self.assertEqual((answer.status, answer.body), (200, b'{"a":1}'), (at, answer))
            self.assert_status(client.read_head(), 200)
        self.assert_seen(2 * len(clients))

    def test_a_refusal_may_be_cut_at_any_byte(self):
        self.start()
        whole = CHUNKED + b"2\r\n{}\r\n0\r\nA : 1\r\n\r\n"
        clients = [self.sent(whole[:at]) for at in range(1, len(whole) - 8)]
        self.barrier()
        for at, client in enumerate(clients, 1):
            client.send(whole[at:])
        for client in clients:
            answer = client.read_head()
            self.assert_error(answer, 400)
            self.assertEqual(client.read_end(), (b"", "cut"))
        self.assert_untouched()


class Uploads(GuardTest):
    """What is refused early can be read while the rest still comes."""

    def check(self, start, status, **server):
        self.start(**server)
        piece, most = bytes(64 * KIB), 24 * MIB
        client = self.sent(start)
        for _ in range(most // len(piece)):     # blocks, if nobody takes it
            client.send(piece)
        answer = client.read_head()
        self.assert_error(answer, status)
        self.assertEqual((answer.end, answer.header("Connection")), ("complete", "close"))
        self.assertEqual(client.read_end(), (b"", "cut"))
        self.assert_untouched()

    def test_too_large_a_length(self):
        self.check(POST + b"Content-Length: 30000000\r\n\r\n", 413, max_body="64KiB")

    def test_too_large_chunks(self):
        self.check(CHUNKED + b"3000000\r\n", 413, max_body="64KiB")

    def test_a_bad_head(self):
        self.check(POST + b"Content-Length: 30000000\r\nA : 1\r\n\r\n", 400)

    def test_too_large_a_head(self):
        self.check(POST + b"A: ", 431)

    def test_no_memory(self):
        self.check(POST + b"Content-Length: 30000000\r\n\r\n", 503, max_memory="1MiB")

    def test_reading_and_writing_at_once(self):
        self.start(max_body="64KiB")
        client = self.sent(POST + b"Content-Length: 300000000\r\n\r\n")
        stop = threading.Event()

        def pump():
            try:
                while not stop.is_set():
                    client.send(bytes(16 * KIB))
                    time.sleep(0.001)       # its pace
            except OSError:
                pass
        sender = threading.Thread(target=pump)
        sender.start()
        try:
            answer = client.read_head()
            self.assert_error(answer, 413)
            self.assertEqual(answer.end, "complete")
        finally:
            stop.set()
            sender.join()


class Times(GuardTest):
    def dribble(self, client, pieces, pause=0.05):
        """Sends them slowly until an answer is there."""
        client.sock.settimeout(pause)
        for piece in pieces:
            try:
                client.send(piece)
                if client._receive():
                    break
            except AssertionError:      # nothing yet
                pass
        client.sock.settimeout(BOUND)

    def test_a_dribbled_head_is_408(self):
        self.start(header_timeout="400ms")
        client = self.connect()
        self.dribble(client, [b"x"] * 400)
        self.read_refusal(client, 408)
        self.assert_untouched()

    def test_half_a_head_is_408(self):
        self.start(header_timeout="300ms")
        self.refuse(GET, 408)
        client = self.sent(GET + b"\r\n" + GET)
        self.assert_status(client.read_head(), 200)
        self.read_refusal(client, 408)

    def test_a_body_without_progress_is_408(self):
        self.start(header_timeout="300ms")
        for start in (POST + b"Content-Length: 9\r\n\r\n", POST + b"Content-Length: 9\r\n\r\n1234",
                      CHUNKED, CHUNKED + b"5\r\n12", CHUNKED + b"2\r\n{}\r\n0\r\n"):
            with self.subTest(start):
                self.refuse(start, 408)
        self.assert_untouched()

    def test_what_is_no_body_is_no_progress(self):
        self.start(header_timeout="400ms")
        for start, piece in ((CHUNKED + b"2;a=", b"x"), (CHUNKED + b"2\r\n{}\r\n0\r\nA: ", b"x"), (CHUNKED, b"0")):
            with self.subTest(start):
                client = self.sent(start)
                self.dribble(client, [piece] * 400)
                self.read_refusal(client, 408)
        self.assert_untouched()

    def test_a_slow_body_that_moves_on_is_taken(self):
        self.start(header_timeout="500ms")
        client = self.sent(POST + b"Content-Length: 20\r\n\r\n")
        for _ in range(20):
            client.send(b"x")
            time.sleep(0.05)        # its pace: longer than the head may take, together
        self.assert_status(client.read_head(), 200)

    def test_less_than_1_kib_a_second_over_30_s_is_408(self):
        self.start(header_timeout="10s")
        client = self.sent(POST + b"Content-Length: 100000\r\n\r\n")
        self.dribble(client, [b"x"] * 100, 0.5)
        self.read_refusal(client, 408)
        self.assert_untouched()

    def test_an_idle_connection_is_not_408(self):
        self.start(header_timeout="300ms", idle_timeout="1s")
        self.assertEqual(self.connect().read_end(), (b"", "cut"))
        client = self.connect()
        self.assert_status(client.request("GET", "/v1/models"), 200)
        self.assertEqual(client.read_end(), (b"", "cut"))


class Limits(GuardTest):
    def assert_overflow(self, answer):
        self.assert_error(answer, 503, "connection_limit_reached")
        self.assertEqual((answer.reason, answer.header("Connection")), ("Service Unavailable", "close"))
        self.assertEqual(answer.all("x-should-retry"), ["true"], repr(answer))
        self.assertTrue(1 <= int(answer.header("Retry-After")) <= 60, repr(answer))
        self.assertEqual(answer.end, "complete")

    def wait_room(self, ask):
        """Until a request goes through."""
        deadline = time.monotonic() + BOUND
        while time.monotonic() < deadline:
            try:
                answer = ask()
                if answer.status == 200:
                    return answer
            except (NoAnswer, OSError):
                pass
            time.sleep(0.02)
        self.fail("there was never room again")

    def test_a_silent_connection_makes_room(self):
        self.start(max_connections="1", idle_timeout="1h")
        silent = self.connect()
        deadline = time.monotonic() + BOUND
        while self.request("GET", "/v1/models").status != 200:
            self.assertLess(time.monotonic(), deadline, "the silent one keeps its place")
        self.assertEqual(silent.read_end(), (b"", "cut"))

    def test_max_connections(self):
        for workers in ("1", "2"):
            with self.subTest(workers=workers):
                self.start(max_connections="3", workers=workers)
                clients = [self.connect() for _ in range(3)]
                for client in clients:
                    self.assert_status(client.request("GET", "/v1/models"), 200)
                for data in (b"", GET + b"\r\n", self.post_bytes(bytes(MIB))):
                    client = self.sent(data)
                    answer = client.read_head()
                    _ = answer.body
                    self.assert_overflow(answer)
                    self.assertEqual(client.read_end(), (b"", "cut"))
                for client in clients:      # those that are in stay in
                    self.assert_status(client.request("GET", "/v1/models"), 200)
                self.assert_seen(6)
                clients[0].fin()
                self.wait_room(lambda: self.request("GET", "/v1/models"))

    def test_connections_that_have_ended_give_back_their_places_at_once(self):
        """Not only when the next sweep comes: short ones in a row are not a crowd."""
        self.start(max_connections="4", workers="1")
        statuses = {self.request("GET", "/v1/models").status for _ in range(60)}
        self.assertEqual(statuses, {200})

    def test_one_connection_too_many_cannot_stay(self):
        """Nor by sending on and on: it would hold a descriptor beyond max_connections."""
        self.start(max_connections="1")
        self.assert_status(self.connect().request("GET", "/v1/models"), 200)
        client = self.connect()
        self.assertEqual(client.read_head().status, 503)
        deadline = time.monotonic() + BOUND
        with self.assertRaises(OSError):
            while time.monotonic() < deadline:
                client.send(b"x")
                time.sleep(0.02)        # its pace

    def test_declared_lengths_count_at_once(self):
        self.start(max_memory="1MiB")
        first = self.sent(POST + b"Content-Length: 700000\r\n\r\n")
        self.barrier()
        client = self.sent(POST + b"Content-Length: 700000\r\n\r\n")
        answer = self.read_refusal(client, 503, code="connection_limit_reached")
        self.assert_overflow(answer)
        self.assert_status(self.request("POST", COMPLETIONS, [], bytes(1000)), 200)
        first.send(bytes(700_000))
        self.assertEqual(first.read_head().header(ECHO), "700000")

    def test_chunks_count_as_they_come(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.start(lambda request: [wait(gate)] + echo(request), max_memory="1MiB")
        first = self.sent(CHUNKED + chunk(bytes(700_000)) + b"0\r\n\r\n")
        self.upstream.wait_requests(1)
        client = self.sent(CHUNKED + chunk(bytes(200_000)))
        self.barrier()
        client.send(chunk(bytes(300_000)))
        self.assert_overflow(self.read_refusal(client, 503, code="connection_limit_reached"))
        gate.set()
        self.assertEqual(first.read_head().header(ECHO), "700000")
        self.assert_seen(1)

    def test_memory_is_free_again(self):
        """After answers, refusals, time-outs and clients that leave."""
        self.start(max_memory="1MiB", header_timeout="300ms")
        big = POST + b"Content-Length: 900000\r\n\r\n"
        room = lambda: self.sent(big + bytes(900_000)).read_head()
        for _ in range(3):
            self.wait_room(room)
        self.refuse(big + b"x", 408)
        self.wait_room(room)
        self.refuse(CHUNKED + chunk(bytes(900_000)) + b"x\r\n", 400)
        self.wait_room(room)
        for leave in ("fin", "rst", "half_close"):
            getattr(self.sent(big + bytes(1000)), leave)()
            self.wait_room(room)
        client = self.connect()
        for _ in range(3):
            client.send(big + bytes(900_000))
            answer = client.read_head()
            self.assertEqual(len(answer.body), 900_000)
            self.assert_status(answer, 200)

    def test_a_connection_that_waits_for_its_close_gives_its_place_up(self):
        self.start(max_connections="2")
        for _ in range(6):
            self.wait_room(lambda: self.request("GET", "/v1/models", [("Connection", "close")]))


if __name__ == "__main__":
    main()
