"""Where a request goes: methods, paths, queries (CONTRACT 3, Addresses and Forwarding)."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import CHAT, FlowTest, main
from upstream import JSON, reply

OK = reply(200, b'{"ok":true}', [JSON])

PATHS = [
    ("/v1/chat/completions", "/inference/v1/chat/completions"),
    ("/v1/models", "/inference/v1/models"),
    ("/v1/models/accounts%2Fa%2fb", "/inference/v1/models/accounts%2Fa%2fb"),
    ("/inference/v1/completions", "/inference/v1/completions"),
    ("/v1/v1/messages", "/inference/v1/messages"),
    ("/inference/v1/v1/messages", "/inference/v1/messages"),
    ("/p/agentic/v1/v1/messages", "/inference/v1/messages"),
    ("/p/agentic/v1/chat/completions", "/inference/v1/chat/completions"),
    ("/p/agentic/inference/v1/models", "/inference/v1/models"),
    ("/v1/accounts", "/v1/accounts"),
    ("/v1/accounts/a/deployments/d", "/v1/accounts/a/deployments/d"),
    ("/p/agentic/v1/accounts/a/models", "/v1/accounts/a/models"),
    ("/v1/accountsfoo", "/inference/v1/accountsfoo"),
    ("/training/v1/rlorTrainerJobs/a/j/api/v1/x", "/training/v1/rlorTrainerJobs/a/j/api/v1/x"),
    ("/hot_load/v1/models/hot_load", "/hot_load/v1/models/hot_load"),
]

QUERIES = [
    "?a=1",
    "?b=2&a=1&a=&&c",
    "?q=%E2%82%AC+x%2F%2f?y=/../z",
    "?filter[]=a&sort=name,-id;x",
    "?",
]


class Paths(FlowTest):
    def test_every_path_goes_where_it_belongs(self):
        self.launch(lambda request: OK)
        for path, wanted in PATHS:
            with self.subTest(path=path):
                self.assert_status(self.request("GET", path), 200)
                self.assertEqual(self.upstream.requests[-1].target, wanted)

    def test_queries_go_through_byte_for_byte(self):
        self.launch(lambda request: OK)
        for query in QUERIES:
            with self.subTest(query=query):
                self.assert_status(self.request("GET", "/v1/models" + query), 200)
                self.assertEqual(self.upstream.requests[-1].target,
                                 "/inference/v1/models" + query)

    def test_other_paths_get_404_with_the_right_base_url(self):
        self.launch(lambda request: OK)
        for path in ("/", "/chat/completions", "/v2/models", "/inference/v2/models", "/vi",
                     "/p/agentic/other", "/trainings/v1"):
            with self.subTest(path=path):
                error = self.assert_error(self.request("GET", path), 404)
                self.assertRegex(error["message"], r"http://\S+/v1")
        self.assert_seen(0)

    def test_the_404_answers_a_post_too_and_the_connection_goes_on(self):
        self.launch(lambda request: OK)
        client = self.connect()
        self.assert_error(client.request("POST", "/chat/completions", [JSON], CHAT), 404)
        self.assert_status(client.request("POST", "/v1/chat/completions", [JSON], CHAT), 200)


class Methods(FlowTest):
    def test_methods_without_a_body(self):
        self.launch(lambda request: OK)
        for method in ("GET", "HEAD", "OPTIONS", "DELETE"):
            with self.subTest(method=method):
                self.assert_status(self.request(method, "/v1/models"), 200)
                request = self.upstream.requests[-1]
                self.assertEqual((request.method, request.body), (method, b""))

    def test_methods_with_a_body(self):
        self.launch(lambda request: reply(200, request.body))
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            with self.subTest(method=method):
                answer = self.request(method, "/v1/accounts/a/models/m", [JSON], CHAT)
                self.assert_status(answer, 200)
                request = self.upstream.requests[-1]
                self.assertEqual((request.method, request.body), (method, CHAT))
                self.assertEqual(answer.body, CHAT)

    def test_an_empty_post_has_a_length_of_zero(self):
        self.launch(lambda request: OK)
        for method in ("POST", "PUT", "PATCH"):
            with self.subTest(method=method):
                self.assert_status(self.request(method, "/v1/accounts/a/x:resume", [], b""), 200)
                self.assertEqual(self.upstream.requests[-1].all("Content-Length"), ["0"])

    def test_a_get_gets_no_length(self):
        self.launch(lambda request: OK)
        self.assert_status(self.request("GET", "/v1/models"), 200)
        self.assertIsNone(self.upstream.requests[-1].framing)


if __name__ == "__main__":
    main()
