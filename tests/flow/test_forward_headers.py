"""Which headers go through, and which are andiron's own (CONTRACT 3, Forwarding)."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import CHAT, STREAM, FlowTest, main
from upstream import BINARY, JSON, reply, sse

OK = reply(200, b'{"ok":true}', [JSON])
DONE = b"data: [DONE]\n\n"

UP = [
    ("X-Zebra", "1"), ("x-alpha", "2"), ("X-ALPHA", "3"), ("anthropic-version", "2023-06-01"),
    ("X-Stainless-Lang", "python"), ("x-Mixed-CASE", "a  b, c;d=\"e\""), ("X-Beta", "1"),
    ("User-Agent", "flow/1"), ("Accept", "*/*"), ("Cookie", "a=b"),
]
DOWN = [
    ("x-ratelimit-limit-requests", "600"), ("X-Zed", "1"), ("set-cookie", "a=1"),
    ("Set-Cookie", "b=2"), ("fireworks-Server-Time", "0.1"), ("X-ABC", "a  b, c;d=\"e\""),
    ("ETag", "W/\"x\""), ("Vary", "Accept-Encoding"), ("CF-Ray", "8f"),
]
HOP_BY_HOP = [
    ("Connection", "keep-alive, X-Drop-Me, Upgrade, HTTP2-Settings, TE"), ("X-Drop-Me", "1"),
    ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "keep-alive"), ("Upgrade", "h2c"),
    ("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA"), ("TE", "trailers"),
]


def only(names, headers):
    """Those headers whose names are listed, in their order."""
    wanted = {name.lower() for name, _ in names}
    return [(name, value) for name, value in headers if name.lower() in wanted]


class Upwards(FlowTest):
    def test_unknown_headers_keep_order_and_case(self):
        self.launch([OK])
        self.assert_status(self.request("GET", "/v1/models", UP), 200)
        self.assertEqual(only(UP, self.upstream.requests[0].headers), UP)

    def test_bytes_above_127_pass_in_values(self):
        self.launch([OK])
        self.assert_status(self.request("GET", "/v1/models", [("X-Name", b"caf\xc3\xa9")]), 200)
        self.assertEqual(self.upstream.requests[0].all("X-Name"), ["caf\xc3\xa9"])

    def test_hop_by_hop_headers_stay_here(self):
        self.launch([OK])
        self.assert_status(self.request("GET", "/v1/models", HOP_BY_HOP + [("X-Kept", "1")]), 200)
        left = only(HOP_BY_HOP[1:], self.upstream.requests[0].headers)
        self.assertEqual(left, [])
        self.assertNotIn("X-Drop-Me", str(self.upstream.requests[0].all("Connection")))
        self.assertEqual(self.upstream.requests[0].all("X-Kept"), ["1"])

    def test_several_connection_fields_all_count(self):
        self.launch([OK])
        self.request("GET", "/v1/models", [("Connection", "x-one"), ("X-One", "1"),
                                           ("connection", "X-TWO , keep-alive"), ("x-two", "2")])
        request = self.upstream.requests[0]
        self.assertEqual(request.all("X-One") + request.all("X-Two"), [])

    def test_host_is_the_upstreams(self):
        self.launch([OK])
        self.assert_status(self.request("GET", "/v1/models"), 200)
        self.assertEqual(self.upstream.requests[0].all("Host"), [self.upstream.authority])
        self.assertEqual(self.upstream.connections[0].server_name, "localhost")

    def test_a_stream_is_asked_for_unencoded(self):
        self.launch([sse(DONE), OK])
        asked = [JSON, ("Accept-Encoding", "gzip, deflate, br")]
        self.request("POST", "/v1/chat/completions", asked, STREAM)
        self.request("POST", "/v1/chat/completions", asked, CHAT)
        stream, other = self.upstream.requests
        self.assertEqual(stream.all("Accept-Encoding"), ["identity"])
        self.assertEqual(other.all("Accept-Encoding"), ["gzip, deflate, br"])

    def test_andirons_own_request_headers_stay_here(self):
        self.launch([OK])
        self.assert_status(self.request("GET", "/v1/models", [
            ("X-Andiron-Profile", "agentic"), ("X-Andiron-Timeout", "45s"),
            ("x-andiron-max-attempts", "2"), ("X-Andiron-Token", "t")]), 200)
        names = [name.lower() for name, _ in self.upstream.requests[0].headers]
        self.assertEqual([name for name in names if name.startswith("x-andiron")], [])

    def test_nothing_is_added_but_what_the_contract_names(self):
        self.launch([OK])
        self.assert_status(self.request("GET", "/v1/models"), 200)
        names = {name.lower() for name, _ in self.upstream.requests[0].headers}
        self.assertLessEqual(names, {"host", "x-request-id", "traceparent", "connection"})


class Downwards(FlowTest):
    def test_unknown_headers_keep_order_and_case(self):
        self.launch([reply(200, b"{}", DOWN)])
        answer = self.request("GET", "/v1/models")
        self.assert_status(answer, 200)
        self.assertEqual(only(DOWN, answer.headers), DOWN)

    def test_hop_by_hop_headers_stay_here(self):
        hop = [("Connection", "X-Drop-Me, keep-alive"), ("X-Drop-Me", "1"),
               ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "x"), ("Upgrade", "h2c")]
        self.launch([reply(200, b"{}", hop + [("X-Kept", "1")])])
        answer = self.request("GET", "/v1/models")
        self.assertEqual(only(hop[1:], answer.headers), [])
        self.assertEqual(answer.all("X-Kept"), ["1"])

    def test_the_reason_phrase_is_kept(self):
        self.launch([reply(200, reason="Perfectly Fine"), reply(418, reason="Teapot")])
        self.assertEqual(self.request("GET", "/v1/models").reason, "Perfectly Fine")
        self.assertEqual(self.request("GET", "/v1/models").reason, "Teapot")

    def test_no_content_type_is_invented(self):
        self.launch([reply(200, b"{}")])
        self.assertEqual(self.request("GET", "/v1/models").all("Content-Type"), [])

    def test_there_is_one_date_and_it_is_the_upstreams(self):
        date = "Sun, 06 Nov 1994 08:49:37 GMT"
        self.launch([reply(200, b"{}", [("Date", date)])])
        self.assertEqual(self.request("GET", "/v1/models").all("Date"), [date])

    def test_an_encoded_answer_is_not_touched(self):
        body = bytes(range(256)) * 4
        self.launch([reply(200, body, [("Content-Encoding", "gzip"), BINARY])])
        answer = self.request("GET", "/v1/models", [("Accept-Encoding", "gzip")])
        self.assertEqual((answer.all("Content-Encoding"), answer.body), (["gzip"], body))

    def test_the_length_is_kept(self):
        self.launch([reply(200, b"x" * 1234)])
        answer = self.request("GET", "/v1/models")
        self.assertEqual(answer.all("Content-Length"), ["1234"])
        self.assertEqual(answer.all("Transfer-Encoding"), [])


class Added(FlowTest):
    def test_attempts_and_source(self):
        self.launch([OK])
        answer = self.request("GET", "/v1/models")
        self.assert_attempts(answer, 1)
        self.assertEqual(answer.all("X-Andiron-Source"), ["upstream"])

    def test_andirons_own_answers_say_so(self):
        self.launch([])
        answer = self.request("GET", "/nowhere")
        self.assertEqual(answer.all("X-Andiron-Source"), ["andiron"])
        self.assertEqual(len(answer.all("X-Request-Id")), 1)

    def test_a_new_request_id_is_the_same_in_every_attempt(self):
        self.launch([reply(503), reply(500), OK])
        answer = self.post()
        self.assert_status(answer, 200)
        ids = [request.all("X-Request-Id") for request in self.upstream.requests]
        self.assertEqual(ids, [answer.all("X-Request-Id")] * 3)
        self.assertEqual(len(ids[0]), 1)
        self.assertTrue(ids[0][0])

    def test_new_request_ids_differ(self):
        self.launch(lambda request: OK)
        ids = {self.request("GET", "/v1/models").header("X-Request-Id") for _ in range(5)}
        self.assertEqual(len(ids), 5)

    def test_the_clients_request_id_is_kept(self):
        self.launch([reply(503), OK])
        answer = self.post(headers=[("x-request-id", "mine-7")])
        ids = [request.all("X-Request-Id") for request in self.upstream.requests]
        self.assertEqual(ids, [["mine-7"], ["mine-7"]])
        self.assertEqual(answer.all("X-Request-Id"), ["mine-7"])

    def test_the_upstreams_request_id_wins_in_the_answer(self):
        self.launch([reply(200, b"{}", [("x-request-id", "theirs-9")])])
        answer = self.post(headers=[("X-Request-Id", "mine-7")])
        self.assertEqual(answer.all("X-Request-Id"), ["theirs-9"])

    def test_an_upstream_cannot_speak_for_andiron(self):
        forged = [("X-Andiron-Attempts", "9"), ("X-Andiron-Source", "andiron")]
        self.launch([reply(200, b"{}", forged)])
        answer = self.request("GET", "/v1/models")
        self.assert_attempts(answer, 1)
        self.assertEqual(answer.all("X-Andiron-Source"), ["upstream"])


class Traces(FlowTest):
    MINE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    def sent(self, headers):
        """What three attempts carried."""
        self.launch([reply(503), reply(503), OK])
        self.assert_status(self.post(headers=headers), 200)
        return [request.all("traceparent") for request in self.upstream.requests]

    def test_the_clients_trace_goes_through_unchanged(self):
        self.assertEqual(self.sent([("traceparent", self.MINE)]), [[self.MINE]] * 3)
        self.assertEqual(self.wait_event(event="request")["trace_id"], self.MINE.split("-")[1])

    def test_one_is_begun_where_there_is_none(self):
        first, second, third = self.sent([])
        self.assertRegex(first[0], "^00-[0-9a-f]{32}-[0-9a-f]{16}-01$")
        self.assertEqual([second, third], [first, first])
        self.assertEqual(self.wait_event(event="request")["trace_id"], first[0].split("-")[1])

    def test_a_wrong_one_is_replaced(self):
        for wrong in (self.MINE[:-1], self.MINE.upper(), self.MINE.replace("00f067aa0ba902b7", "0" * 16)):
            with self.subTest(wrong):
                self.assertNotEqual(self.sent([("traceparent", wrong)])[0], [wrong])


if __name__ == "__main__":
    main()
