"""The header fields that andiron adds, and what is the same on every attempt (CONTRACT 3)."""

import os
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import CHAT, COMPLETIONS, FlowTest, main
from streams import DONE, FINISH, MESSAGES, ONE, WHOLE, StreamTest
from upstream import JSON, fin, hold, nothing, reply, rst, sse

OK = reply(200, b'{"ok":true}', [JSON])
BUSY = b'{"error":{"message":"busy","code":"SERVICE_UNAVAILABLE"}}'
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ANY_TRACE = re.compile(r"^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$")
UUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")


def busy(*headers):
    return reply(503, BUSY, [JSON, *headers])


# --- structured fields (RFC 9651): lists of tokens or strings with parameters -----------------

TOKEN = re.compile(r"[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*")
STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,3})?")
KEY = re.compile(r"[a-z*][a-z0-9_.*-]*")


class Parser:
    """Strict: anything that is not a list of items is a ValueError."""

    def __init__(self, text):
        self.text, self.at = text, 0

    def take(self, pattern):
        found = pattern.match(self.text, self.at)
        if not found:
            raise ValueError(f"{pattern.pattern} expected at {self.at} of {self.text!r}")
        self.at = found.end()
        return found.group()

    def skip(self, characters):
        start = self.at
        while self.at < len(self.text) and self.text[self.at] in characters:
            self.at += 1
        return self.at > start

    def bare(self):
        for pattern, convert in ((STRING, lambda text: re.sub(r"\\(.)", r"\1", text[1:-1])),
                                 (NUMBER, float), (TOKEN, str)):
            if pattern.match(self.text, self.at):
                return convert(self.take(pattern))
        raise ValueError(f"no bare item at {self.at} of {self.text!r}")

    def item(self):
        name, parameters = self.bare(), {}
        while self.text[self.at:self.at + 1] == ";":
            self.at += 1
            self.skip(" ")
            key = self.take(KEY)
            parameters[key] = True
            if self.text[self.at:self.at + 1] == "=":
                self.at += 1
                parameters[key] = self.bare()
        return name, parameters

    def list(self):
        self.skip(" ")
        items = [self.item()]
        while self.at < len(self.text):
            self.skip(" \t")
            self.take(re.compile(","))
            self.skip(" \t")
            items.append(self.item())
        return items


def parse(values):
    """All field lines of one name as one list."""
    return Parser(", ".join(values)).list() if values else []


class ParserItself(FlowTest):
    def test_it_takes_what_is_right(self):
        self.assertEqual(parse(['a; error=b_c; n="x \\"y\\" \\\\", "d";e=1.5']),
                         [("a", {"error": "b_c", "n": 'x "y" \\'}), ("d", {"e": 1.5})])

    def test_and_nothing_else(self):
        for wrong in ('a; b="\x01"', 'a; b="x', "a b", "a;;b", 'a; B=1', 'a,', '; a', 'a; b="\\n"',
                      'a; b="\u00e4"'):
            with self.subTest(wrong), self.assertRaises(ValueError):
                parse([wrong])


# --- the fields -------------------------------------------------------------------------------

class FieldTest(StreamTest):
    def proxy_status(self, answer):
        return parse(answer.all("Proxy-Status"))

    def timing(self, answer):
        return {name: parameters["dur"] for name, parameters in parse(answer.all("Server-Timing"))}


class ProxyStatus(FieldTest):
    """RFC 9209: what failed last."""

    def test_none_where_nothing_failed(self):
        self.launch([OK, sse(ONE, DONE)])
        for answer in (self.post(), self.ask()):
            self.assertEqual(answer.all("Proxy-Status"), [])

    def test_a_status(self):
        self.launch([busy(), OK])
        (name, parameters), = self.proxy_status(self.post())
        self.assertEqual(name, "andiron")
        self.assertEqual(parameters["received-status"], 503)
        self.assertIn(str(self.upstream.port), parameters["next-hop"])
        self.assertNotIn("error", parameters)

    def test_a_failure(self):
        for end, error in ((fin, "connection_terminated"), (rst, "connection_terminated")):
            with self.subTest(end=end):
                self.launch([[end], OK])
                (name, parameters), = self.proxy_status(self.post())
                self.assertEqual((name, parameters["error"]), ("andiron", error))
                self.assertTrue(parameters["details"])
                self.assertNotIn("received-status", parameters)

    def test_the_last_one_counts(self):
        self.launch([[fin], busy(), OK])
        (_, parameters), = self.proxy_status(self.post())
        self.assertEqual(parameters["received-status"], 503)
        self.launch([busy(("Connection", "close")), [fin], OK])
        (_, parameters), = self.proxy_status(self.post())
        self.assertEqual(parameters["error"], "connection_terminated")

    def test_of_andiron_s_own_answers(self):
        self.launch([[fin]] * 5)
        (_, parameters), = self.proxy_status(self.post())
        self.assertEqual(parameters["error"], "connection_terminated")
        self.launch(upstream=self.scripted(listening=False))
        (_, parameters), = self.proxy_status(self.post())
        self.assertEqual(parameters["error"], "connection_refused")
        self.launch([nothing()], {"profile.default": {"total_timeout": "400ms"}})
        (_, parameters), = self.proxy_status(self.post())
        self.assertEqual(parameters["error"], "http_response_timeout")
        self.assertIn("total_timeout", parameters["details"])

    def test_of_answers_that_go_back(self):
        self.launch([reply(404, b"{}", [JSON])])
        (_, parameters), = self.proxy_status(self.post())
        self.assertEqual(parameters["received-status"], 404)

    def test_of_a_wrong_certificate(self):
        self.launch(upstream=self.scripted(tls="expired"))
        (_, parameters), = self.proxy_status(self.post())
        self.assertEqual(parameters["error"], "tls_certificate_error")

    def test_of_a_refused_request(self):
        self.launch([])
        answer = self.post("/nowhere")
        (name, parameters), = self.proxy_status(answer)
        self.assertEqual((name, parameters["error"]), ("andiron", "destination_not_found"))
        self.assertNotIn("next-hop", parameters)

    def test_of_an_early_head(self):
        self.launch([busy(), nothing()])
        answer = self.start_stream(headers=[("X-Stainless-Read-Timeout", "0.9")]).read_head()
        (_, parameters), = self.proxy_status(answer)
        self.assertEqual(parameters["received-status"], 503)

    def test_it_is_behind_an_upstream_s_own(self):
        theirs = ("Proxy-Status", "edge.example; error=http_protocol_error, cache")
        self.launch([busy(), reply(200, b"{}", [JSON, theirs]), reply(200, b"{}", [theirs]),
                     reply(400, b"{}", [theirs, ("proxy-status", "third")])])
        own = [("edge.example", {"error": "http_protocol_error"}), ("cache", {})]
        found = self.proxy_status(self.post())
        self.assertEqual((found[:2], found[2][0]), (own, "andiron"))
        self.assertEqual(self.proxy_status(self.post()), own)
        names = [name for name, _ in self.proxy_status(self.post())]
        self.assertEqual(names, ["edge.example", "cache", "third", "andiron"])


class ServerTiming(FieldTest):
    def test_of_the_first_request(self):
        self.launch([OK])
        timing = self.timing(self.post())
        self.assertLessEqual({"queue", "connect", "ttfb", "retry"}, set(timing))
        self.assertTrue(all(0 <= value < 20_000 for value in timing.values()), timing)

    def test_of_a_kept_connection(self):
        self.launch([OK, OK], {"server": {"workers": "1"}})
        self.post()
        timing = self.timing(self.post())
        self.assertEqual({"dns", "connect", "tls"} & set(timing), set(), timing)
        self.assertLessEqual({"queue", "ttfb", "retry"}, set(timing))

    def test_retry_is_all_that_came_before(self):
        self.launch([busy(("retry-after-ms", "400")), OK])
        self.assertGreaterEqual(self.timing(self.post())["retry"], 400)

    def test_of_andiron_s_own_answers(self):
        self.launch([[fin]] * 5)
        self.assertIn("retry", self.timing(self.post()))
        self.assertEqual(set(self.timing(self.post("/nowhere"))), {"queue"})

    def test_it_stands_beside_an_upstream_s_own(self):
        self.launch([reply(200, b"{}", [("Server-Timing", 'cfEdge;dur=3, cache;desc="a, b"')])])
        found = parse(self.post().all("Server-Timing"))
        self.assertEqual(found[:2], [("cfEdge", {"dur": 3}), ("cache", {"desc": "a, b"})])
        self.assertIn("queue", [name for name, _ in found])


class Sources(FieldTest):
    def test_whose_status_it_is(self):
        cases = [(OK, "upstream"), (reply(404), "upstream"), (reply(204), "upstream"),
                 ([fin], "andiron"), (sse(ONE, DONE), "upstream"),
                 (reply(200, BUSY, [JSON]), "upstream"), (reply(503), "upstream")]
        self.launch([answer for answer, _ in cases], {"profile.default": {"max_attempts": "1"}})
        for answer, source in cases:
            with self.subTest(source):
                self.assertEqual(self.post().all("X-Andiron-Source"), [source])
        self.assertEqual(self.post("/nowhere").all("X-Andiron-Source"), ["andiron"])

    def test_an_upstream_cannot_say_so_itself(self):
        self.launch([reply(200, b"{}", [("X-Andiron-Source", "theirs"), ("x-andiron-attempts", "9"),
                                        ("X-Andiron-New", "1")])])
        answer = self.post()
        self.assertEqual(answer.all("X-Andiron-Source"), ["upstream"])
        self.assert_attempts(answer, 1)
        self.assertEqual(answer.all("X-Andiron-New"), [])

    def test_attempts_are_counted(self):
        for count in range(1, 6):
            with self.subTest(count):
                self.launch([busy()] * (count - 1) + [OK])
                self.assert_attempts(self.post(), count)
        self.launch([busy()] * 5)
        self.assert_attempts(self.post(), 5)

    def test_a_request_that_never_went_out(self):
        self.launch([])
        self.assert_attempts(self.post("/nowhere"), 0)


class Ids(FieldTest):
    ALL = [busy(), [fin], [rst], OK]

    def seen_of(self, name):
        return [request.all(name) for request in self.upstream.requests]

    def test_they_are_the_same_on_every_attempt(self):
        self.launch(list(self.ALL))
        answer = self.post()
        self.assert_status(answer, 200)
        self.assert_seen(4)
        for name, form in (("X-Request-Id", UUID), ("traceparent", ANY_TRACE)):
            seen = self.seen_of(name)
            self.assertEqual(seen, [seen[0]] * 4)
            self.assertEqual(len(seen[0]), 1)
            self.assertRegex(seen[0][0], form)
        self.assertEqual(answer.all("X-Request-Id"), self.seen_of("X-Request-Id")[0])

    def test_they_are_new_for_each_request(self):
        self.launch([OK, OK])
        self.post()
        self.post()
        for name in ("X-Request-Id", "traceparent"):
            first, second = self.seen_of(name)
            self.assertNotEqual(first, second)

    def test_the_client_s_own_are_unchanged(self):
        self.launch(list(self.ALL))
        answer = self.post(headers=[("x-request-id", "mine/1"), ("traceparent", TRACE),
                                    ("tracestate", "a=b")])
        self.assertEqual(self.seen_of("X-Request-Id"), [["mine/1"]] * 4)
        self.assertEqual(self.seen_of("traceparent"), [[TRACE]] * 4)
        self.assertEqual(self.seen_of("tracestate"), [["a=b"]] * 4)
        self.assertEqual(answer.all("X-Request-Id"), ["mine/1"])
        event = self.wait_event(event="request")
        self.assertEqual((event["request_id"], event["trace_id"]), ("mine/1", TRACE[3:35]))

    def test_ones_that_nobody_could_use_are_replaced(self):
        for name, value, form in (("X-Request-Id", "x" * 200, UUID), ("X-Request-Id", "a b", UUID),
                                  ("X-Request-Id", "", UUID),
                                  ("traceparent", "00-1-2-3", ANY_TRACE),
                                  ("traceparent", TRACE.upper(), ANY_TRACE),
                                  ("traceparent", "00-" + "0" * 32 + TRACE[35:], ANY_TRACE)):
            with self.subTest(name, value=value):
                self.launch([OK])
                self.assert_status(self.post(headers=[(name, value)]), 200)
                (sent,), = self.seen_of(name)
                self.assertRegex(sent, form)

    def test_the_upstream_s_own_goes_back(self):
        for body, headers in ((CHAT, []), (CHAT, [("X-Request-Id", "mine")])):
            self.launch([reply(200, b"{}", [("x-request-id", "theirs")])])
            self.assertEqual(self.post(body=body, headers=headers).all("X-Request-Id"), ["theirs"])

    def test_never_two(self):
        self.launch([reply(200, b"{}", [("x-request-id", "one"), ("X-Request-Id", "two")])])
        self.assertEqual(len(self.post().all("X-Request-Id")), 1)

    def test_messages_have_a_request_id_too(self):
        self.launch([OK, reply(200, b"{}", [("request-id", "r1")]),
                     reply(200, b"{}", [("x-request-id", "x1")])])
        for request_id in (None, "r1", "x1"):
            answer = self.post(MESSAGES)
            found = answer.all("request-id")
            self.assertEqual(found, [request_id or answer.header("X-Request-Id")])

    def test_and_so_have_their_errors(self):
        self.launch([[fin]] * 5)
        answer = self.post(MESSAGES)
        self.assert_error(answer, 502)
        self.assertEqual(answer.all("request-id"), answer.all("X-Request-Id"))

    def test_others_have_none(self):
        self.launch([OK])
        self.assertEqual(self.post().all("request-id"), [])

    def test_streams_have_all_of_them(self):
        self.launch([busy(), sse(ONE, FINISH, DONE)])
        answer = self.ask(headers=[("X-Request-Id", "mine")])
        self.assertEqual(answer.all("X-Request-Id"), ["mine"])
        self.assert_attempts(answer, 2)
        self.assertIn("retry", self.timing(answer))


class ShouldRetry(FieldTest):
    def test_never_two(self):
        theirs = [("x-should-retry", "true"), ("X-Should-Retry", "true")]
        for status in (408, 409, 429, 500, 502, 503, 504, 520, 529, 599):
            with self.subTest(status):
                self.launch([reply(status, b"{}", theirs)], {"profile.default": {
                    "max_attempts": "1"}})
                self.assertEqual(self.post().all("x-should-retry"), ["false"])

    def test_others_are_the_upstream_s_to_say(self):
        for status in (200, 400, 401, 404, 422):
            with self.subTest(status):
                self.launch([reply(status, b"{}", [("x-should-retry", "true")]),
                             reply(status, b"{}")])
                self.assertEqual(self.post().all("x-should-retry"), ["true"])
                self.assertEqual(self.post().all("x-should-retry"), [])

    def test_andiron_s_own(self):
        self.launch([[fin]] * 5)
        self.assertEqual(self.post().all("x-should-retry"), ["false"])
        self.assertEqual(self.post("/nowhere").all("x-should-retry"), [])

    def test_a_drain_says_true(self):
        self.launch([nothing()], {"server": {"drain_timeout": "300ms"}})
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [], CHAT)
        self.upstream.wait_requests(1)
        self.andiron.signal()
        answer = client.read_head()
        self.assert_error(answer, 503)
        self.assertEqual(answer.all("x-should-retry"), ["true"])
        self.assertEqual(len(answer.all("Retry-After")), 1)
        self.assertIn(int(answer.header("Retry-After")), range(1, 61))


class Attempts(FieldTest):
    """What makes an attempt reach the same place with the same state as the one before."""

    HEADERS = [("User-Agent", "OpenAI/Python 2.54.0"), ("x-session-affinity", "s-1"),
               ("x-multi-turn-session-id", "m/2"), ("x-prompt-cache-isolation-key", "tenant \"3\""),
               ("Authorization", "Bearer k"), ("X-Stainless-Retry-Count", "0"), ("x-a", "1"),
               ("X-A", "2"), ("Accept", "application/json"), ("traceparent", TRACE),
               ("X-Request-Id", "mine"), ("anthropic-version", "2023-06-01")]

    def check(self, script, body, method="POST"):
        self.launch(script)
        answer = self.request(method, COMPLETIONS, self.HEADERS, body)
        self.assert_status(answer, 200)
        self.assert_seen(len(script))
        first = self.upstream.requests[0]
        for request in self.upstream.requests:
            self.assertEqual(request.headers, first.headers)
            self.assertEqual((request.method, request.target, request.body),
                             (first.method, first.target, first.body))
        for name, value in self.HEADERS:
            self.assertIn((name, value), first.headers)
        return first

    def test_every_header_is_the_same(self):
        self.check([busy(), [fin], [rst], OK], CHAT)

    def test_of_a_stream_too(self):
        body = b'{"stream":true,"model":"m"}'
        first = self.check([busy(), sse(), [fin], sse(ONE, DONE)], body)
        self.assertEqual(first.all("Accept-Encoding"), ["identity"])

    def test_of_a_stream_that_is_kept_waiting(self):
        self.launch([busy(("retry-after-ms", "700")), sse(*[WHOLE])])
        answer = self.ask(headers=self.HEADERS + [("X-Stainless-Read-Timeout", "0.9")])
        self.assertTrue(answer.body.endswith(WHOLE))
        first, second = self.upstream.requests
        self.assertEqual(first.headers, second.headers)


class Bodies(FlowTest):
    """body_bytes: so much of an upstream's error body is in its event."""

    TEXT = b'{"error":{"message":"' + b"0123456789" * 20 + b'"}}'

    def body_in_event(self, size, body, status=400, headers=(JSON,)):
        self.launch([reply(status, body, headers)],
                    {"log": {"body_bytes": size} if size else {},
                     "profile.default": {"max_attempts": "1"}})
        self.assertEqual(self.post().body, body)
        event = self.wait_event(event="attempt")
        self.assertNotIn("body", self.wait_event(event="request"))
        return event.get("body")

    def test_none_is_kept_by_default(self):
        self.assertEqual(self.body_in_event(None, self.TEXT), None)
        self.assertEqual(self.body_in_event("0", self.TEXT), None)

    def test_its_beginning(self):
        for status in (400, 503):
            self.assertEqual(self.body_in_event("50", self.TEXT, status), self.TEXT[:50].decode())

    def test_a_short_one_is_whole(self):
        self.assertEqual(self.body_in_event("4KiB", self.TEXT), self.TEXT.decode())

    def test_no_body(self):
        self.assertEqual(self.body_in_event("4KiB", b""), None)

    def test_characters_are_never_halved(self):
        text = "\u20ac\U0001f525" * 4
        for size in range(1, 15):
            with self.subTest(size=size):
                found = self.body_in_event(str(size), text.encode())
                self.assertTrue(text.startswith(found.rstrip("\ufffd")), found)

    def test_any_bytes_make_a_line(self):
        body = bytes(range(1, 256)) + b"\xff\xfe\xc0\x80"
        found = self.body_in_event("4KiB", body, headers=())
        self.assertTrue(found.startswith("\x01\x02"), found)
        self.assertIn("\ufffd", found)

    def test_of_an_error_that_came_with_200(self):
        self.assertEqual(self.body_in_event("10", b'{"error":{"code":"NOT_FOUND","message":"m"}}',
                                            200), '{"error":{')

    def test_an_answer_that_is_none_of_them_is_not_kept(self):
        self.launch([OK, sse(ONE, hold())], {"log": {"body_bytes": "4KiB"}})
        self.post()
        self.assertNotIn("body", self.wait_event(event="request"))


if __name__ == "__main__":
    main()
