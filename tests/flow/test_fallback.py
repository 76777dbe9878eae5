"""Another model, or another upstream's, when the attempts are used up (CONTRACT 2, fallback)."""

import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from certs import authority
from client import chunk
from harness import COMPLETIONS, main, run_andiron
from overload import (CREATE, DEPLOYMENTS, KEY, MODEL, ONCE, OK, RESPONSES, TRAINER, OverloadTest,
                      Pile, held, model_of, refusal)
from streams import COMMENT, DONE, FINISH, ONE, TWO
from upstream import JSON, fin, reply, rst, sse, wait

SPARE = "accounts/fireworks/models/spare"
ROUTE = {"path": "/*", "fallback": SPARE}
SECOND_KEY = "fw_canarysecond0123456789"
SOON = [("X-Stainless-Read-Timeout", "0.9")]
GOOD = reply(200, b'{"from":"spare"}', [JSON])


class FallbackTest(OverloadTest):
    def models(self, *answers, spare=(GOOD,), up=None, profile=None, route=None, **more):
        """An upstream with two models: the last of its answers is each one's for ever."""
        self.piles = {MODEL: Pile(*answers, then=answers[-1]), SPARE: Pile(*spare, then=spare[-1])}
        self.start(lambda request: self.piles[model_of(request)](request), up,
                   {"max_attempts": "2", **(profile or {})},
                   **{"route.all": {**ROUTE, **(route or {})}, **more})

    def seen_models(self):
        names = {MODEL: "first", SPARE: "spare"}
        return [names[model_of(request)] for request in self.upstream.requests]

    def assert_fell(self, answer, body=b'{"from":"spare"}', fallback=SPARE):
        self.assert_status(answer, 200)
        self.assertEqual(answer.body, body)
        self.assertEqual(answer.all("X-Andiron-Fallback"), [fallback])
        self.assertEqual(answer.header("X-Andiron-Source"), "upstream")

    def assert_not_fallen(self, answer, status):
        self.assert_status(answer, status)
        self.assertEqual(answer.all("X-Andiron-Fallback"), [])


class AnotherModel(FallbackTest):
    def test_after_the_attempts_are_used_up(self):
        self.models(refusal(503))
        self.assert_fell(self.say("a"))
        self.assertEqual(self.seen_models(), ["first", "first", "spare"])

    def test_not_before(self):
        self.models(refusal(503), OK)
        self.assert_not_fallen(self.say("a"), 200)
        self.assertEqual(self.seen_models(), ["first", "first"])

    def test_only_the_model_is_another(self):
        """Byte for byte, whatever else is called model."""
        bodies = (b'{ "n" : 1.0, "model":"%s" ,"x":"\\u00e9\\/\xc3\xa9","e":1E5}',
                  b'{"tools":[{"model":"no"}],"model" : "%s","s":"\\"model\\":\\"no\\""}',
                  b'\n{"m":{"model":"no"},\t"model":\n"%s"}\r\n', b'{"model":"%s"}')
        self.start(lambda request: GOOD if SPARE.encode() in request.body else refusal(503),
                   profile={"max_attempts": "1"}, **{"route.all": ROUTE,
                                                     "profile.two": {"max_attempts": "2"}})
        for body in bodies:
            for framing in ("length", "chunked"):
                with self.subTest(body=body, framing=framing):
                    del self.upstream.requests[:]
                    headers = [JSON, ("X-Andiron-Profile", "two"), ("X-Mine", "1")]
                    sent = body % MODEL.encode()
                    if framing == "chunked":
                        headers.append(("Transfer-Encoding", "chunked"))
                        sent = chunk(sent) + b"0\r\n\r\n"
                    self.assert_fell(self.request("POST", COMPLETIONS, headers, sent))
                    first, _, last = self.upstream.requests
                    self.assertEqual(first.body, body % MODEL.encode())
                    self.assertEqual(last.body, body % SPARE.encode())
                    self.assertEqual(last.all("Content-Length"), [str(len(last.body))])
                    self.assertEqual(last.all("Transfer-Encoding"), [])
                    for name in ("X-Request-Id", "traceparent", "X-Mine", "Content-Type", "Host"):
                        self.assertEqual(last.all(name), first.all(name), name)

    def test_a_model_with_escapes_in_its_name(self):
        self.start(lambda request: GOOD if b"spare" in request.body else refusal(503),
                   profile={"max_attempts": "2"}, **{"route.all": ROUTE})
        body = b'{"model":"accounts\\/fireworks\\/models\\u002fm","x":1}'
        self.assert_fell(self.request("POST", COMPLETIONS, [JSON], body))
        self.assertEqual(self.upstream.requests[-1].body,
                         b'{"model":"%s","x":1}' % SPARE.encode())

    def test_after_connections_that_broke(self):
        self.models([rst], [fin])
        self.assert_fell(self.say("a"))
        self.assertEqual(self.seen_models(), ["first", "first", "spare"])

    def test_a_retry_after_that_is_too_long(self):
        for status in (503, 429):
            for pacing in ("on", "off"):
                with self.subTest(status=status, pacing=pacing):
                    self.models(refusal(status, ("Retry-After", "61")), up={"pacing": pacing})
                    self.assert_fell(self.say("a"))
                    self.assertEqual(self.seen_models(), ["first", "spare"])

    def test_outage_wait_is_over(self):
        self.models(refusal(503), up={"breaker": None},
                    profile={"outage_wait": "500ms", "max_attempts": "20"})
        for client in [self.ask(name) for name in "abc"]:
            self.assert_fell(self.whole(client))
        self.wait_state("lane_closed")

    def test_one_that_fails_too_gives_its_last_answer(self):
        self.models(refusal(503), spare=(refusal(500), refusal(502)))
        answer = self.say("a", status=502)
        self.assertEqual(answer.json()["error"]["message"], "502")
        self.assertEqual(answer.all("x-should-retry"), ["false"])
        self.assertEqual(answer.all("X-Andiron-Fallback"), [SPARE])
        self.assertEqual(self.seen_models(), ["first", "first", "spare", "spare"])

    def test_what_is_no_use_to_repeat_comes_back_from_it_too(self):
        self.models(refusal(503), spare=(refusal(404),))
        self.assert_status(self.say("a"), 404)
        self.assertEqual(self.seen_models(), ["first", "first", "spare"])

    def test_a_fallback_of_which_nothing_comes(self):
        self.models(refusal(503, ("Connection", "close")), spare=([rst], [fin]))
        self.assert_error(self.say("a"), 502, "connection_terminated")
        self.assertEqual(self.seen_models(), ["first", "first", "spare", "spare"])

    def test_it_is_not_tried_twice(self):
        """Nor does it have a fallback of its own, though the route fits it too."""
        self.models(refusal(503), spare=(refusal(503),))
        self.assert_status(self.say("a"), 503)
        self.assertEqual(self.seen_models(), ["first", "first", "spare", "spare"])

    def test_it_is_for_its_route_only(self):
        self.models(refusal(503), route={"model": "accounts/*/deployments/*"})
        self.assert_not_fallen(self.say("a"), 503)


class NotFor(FallbackTest):
    def check(self, answer, status, sends, path=COMPLETIONS, headers=()):
        self.models(answer)
        self.assert_not_fallen(self.say("a", path=path, headers=headers), status)
        self.assertEqual(self.seen_models(), ["first"] * sends)

    def test_what_the_request_has_done_wrong(self):
        for status in (400, 401, 403, 404, 413, 422):
            with self.subTest(status):
                self.check(refusal(status), status, 1)

    def test_requests_that_may_have_had_an_effect(self):
        for path in (RESPONSES, DEPLOYMENTS, TRAINER, CREATE):
            for status in (503, 500):
                with self.subTest(path=path, status=status):
                    self.models(refusal(status))
                    self.assert_not_fallen(self.say("a", path=path), status)
                    self.assertNotIn("spare", self.seen_models())

    def test_one_attempt(self):
        self.check(refusal(503), 503, 1, headers=ONCE)

    def test_what_has_no_model(self):
        self.start(lambda _: refusal(503), profile={"max_attempts": "2"}, **{"route.all": ROUTE})
        for body in (b"{}", b"no json", b"", b'{"model":7}'):
            with self.subTest(body):
                self.assert_not_fallen(self.request("POST", COMPLETIONS, [JSON], body), 503)
        self.assert_not_fallen(self.request("GET", "/v1/models"), 503)

    def test_a_stream_that_breaks_later(self):
        self.models(sse(ONE, fin))
        answer = self.say("a", stream=True)
        self.assert_error_event(answer, ONE)
        self.assertEqual(self.seen_models(), ["first"])


class AnotherUpstream(FallbackTest):
    def two(self, first, second=GOOD, fallback="second:" + SPARE, key=SECOND_KEY, tls="server",
            up=None, profile=None, **more):
        self.second = self.scripted(Pile(then=second), tls)
        self.start(first if callable(first) else lambda _: first,
                   {"api_key_file": self.write("key", KEY + "\n"), **(up or {})},
                   {"max_attempts": "2", **(profile or {})},
                   **{"upstream.second": {
                          "url": self.second.url, "ca_file": authority().ca,
                          "api_key_file": self.write("second", key + "\n"),
                          "pacing": "off", "breaker": "off"},
                      "route.all": {**ROUTE, "fallback": fallback}, **more})

    def assert_clean(self, first=2):
        """Each upstream saw its own key and Host, and nothing of the other one's."""
        self.assertEqual(len(self.upstream.requests), first)
        request, = self.second.requests
        self.assertEqual(request.all("Authorization"), ["Bearer " + SECOND_KEY])
        self.assertEqual(request.all("Host"), [self.second.authority])
        self.assertNotIn(KEY, str(request.headers))
        self.assertEqual(model_of(request), SPARE)
        self.assertEqual(request.all("Content-Length"), [str(len(request.body))])
        for request in self.upstream.requests:
            self.assertNotIn(SECOND_KEY, str(request.headers))
            self.assertEqual(request.all("Host"), [self.upstream.authority])

    def test_with_its_own_key_and_host(self):
        for header in ("Authorization", "x-api-key"):
            with self.subTest(header):
                self.two(refusal(503))
                answer = self.say("a", headers=[(header, "Bearer fw_canaryclient")])
                self.assert_fell(answer, fallback="second:" + SPARE)
                self.assertNotIn("canaryclient", str(self.second.requests[0].headers))
                self.assertNotIn(KEY, str(self.second.requests[0].headers))
                self.assertIn(SECOND_KEY, str(self.second.requests[0].headers))

    def test_of_a_client_without_a_key(self):
        self.two(refusal(503))
        self.assert_fell(self.say("a"), fallback="second:" + SPARE)
        self.assert_clean()

    def test_when_the_first_cannot_be_reached(self):
        self.two(OK, upstream=self.scripted(tls=None, listening=False))
        self.assert_fell(self.say("a"), fallback="second:" + SPARE)
        self.assert_clean(0)

    def test_when_its_path_is_lost(self):
        self.two(OK, upstream=self.scripted(tls=None, listening=False),
                 up={"breaker": None}, profile={"outage_wait": "300ms", "max_attempts": "20"})
        for client in [self.ask(name) for name in "ab"]:
            self.assert_fell(self.whole(client), fallback="second:" + SPARE)
        self.wait_state("path_lost")

    def test_when_its_queue_is_full(self):
        gate = threading.Event()
        self.two(lambda _: held(gate), up={"max_in_flight": "1", "queue": "0"})
        busy = self.ask("busy")
        self.upstream.wait_requests(1)
        self.assert_fell(self.say("a"), fallback="second:" + SPARE)
        self.assert_clean(1)
        gate.set()
        self.whole(busy, 200)

    def test_when_there_was_no_place_in_time(self):
        gate = threading.Event()
        self.two(lambda _: held(gate), up={"max_in_flight": "1"}, profile={"pool_timeout": "100ms"})
        busy = self.ask("busy")
        self.upstream.wait_requests(1)
        self.assert_fell(self.say("a"), fallback="second:" + SPARE)
        gate.set()
        self.whole(busy, 200)

    def test_the_one_that_fails_too_gives_its_answer(self):
        self.two(refusal(503), refusal(500))
        answer = self.say("a", status=500)
        self.assertEqual(answer.json()["error"]["message"], "500")
        self.assertEqual(len(self.second.requests), 2)

    def test_for_one_attempt_the_second_sees_nothing(self):
        self.two(refusal(503))
        self.assert_not_fallen(self.say("a", headers=ONCE), 503)
        self.assertEqual(self.second.connections, [])

    def test_neither_key_comes_to_light(self):
        self.two(refusal(503), refusal(500))
        self.say("a", status=500)
        self.settle()
        with open(self.events_path) as log:
            self.assertNotIn("canary", log.read() + self.andiron.stderr())

    def check(self, route, **second):
        self.upstream = self.scripted(tls=None)
        config = {"route.all": {**ROUTE, **route}}
        if second:
            config["upstream.second"] = second
        return run_andiron("check", "-c", self.write_config(config))

    def test_without_a_key_of_its_own_it_is_a_mistake(self):
        done = self.check({"fallback": "second:" + SPARE}, url="https://localhost:1")
        self.assertEqual(done.returncode, 1, done)
        self.assertRegex(done.stderr, r"andiron\.ini:\d+: .*api_key_file")

    def test_an_unknown_one_is_a_mistake(self):
        done = self.check({"fallback": "nobody:" + SPARE})
        self.assertEqual(done.returncode, 1, done)
        self.assertRegex(done.stderr, r"andiron\.ini:\d+: .*nobody")


class Streams(FallbackTest):
    WHOLE = ONE + FINISH + DONE
    BEGINS_BADLY = sse(b'data: {"error":{"message":"m","code":"SERVICE_UNAVAILABLE"}}\n\n')

    def test_a_stream_that_fails_at_its_start(self):
        for first in (refusal(503), self.BEGINS_BADLY, [rst]):
            with self.subTest(first):
                self.models(first, spare=(sse(ONE, FINISH, DONE),))
                answer = self.say("a", stream=True)
                self.assert_fell(answer, self.WHOLE)
                self.assert_end(answer)
                self.assertEqual(self.seen_models(), ["first", "first", "spare"])

    def early(self, *spare):
        """The head is out before the first model has failed."""
        gate = threading.Event()
        self.models([wait(gate)] + refusal(503), spare=spare)
        answer = self.ask("a", stream=True, headers=SOON).read_head()
        self.assert_status(answer, 200)
        answer.read_until(b"\n\n")
        gate.set()
        body = answer.body
        self.assertEqual(self.seen_models()[:3], ["first", "first", "spare"])
        return answer, body

    def test_behind_an_early_head(self):
        answer, body = self.early(sse(ONE, TWO, DONE))
        self.assertEqual(COMMENT.sub(b"", body), ONE + TWO + DONE)
        self.assert_end(answer)

    def test_behind_an_early_head_its_failure_is_the_event(self):
        words = b'{"error":{"message":"spare is out","type":"t","code":"c"}}'
        answer, body = self.early(reply(500, words, [JSON]))
        error = self.assert_error_event(answer, body[:body.index(b"event: error")])
        self.assert_words(error, message="spare is out", code="c")


if __name__ == "__main__":
    main()
