"""A second attempt beside one that is late (CONTRACT 2, hedge_after). That there is none cannot be
waited for: what is later than the first one's hedge_after is waited for instead, mostly the second
attempt of a request that was asked after it."""

import collections
import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from client import Client
from harness import main
from overload import (CREATE, DEPLOYMENTS, MODEL, ONCE, OK, OTHER, RESPONSES, TRAINER,
                      OverloadTest, Pile, held, model_of, refusal)
from streams import COMMENT, DONE, FINISH, ONE, TWO
from upstream import JSON, chunked, fin, hold, reply, rst, sse, wait

FIRST = reply(200, b'{"from":"first"}', [JSON])
SECOND = reply(200, b'{"from":"second"}', [JSON])
SOON = [("X-Stainless-Read-Timeout", "0.9")]
EAGER = [("X-Andiron-Profile", "eager")]


class HedgeTest(OverloadTest):
    def hedged(self, *answers, after="60ms", up=None, profile=None, **more):
        """The answers of the request named a, in the order of its sends."""
        self.pile = Pile(a=answers)
        self.start(self.pile, up, {"hedge_after": after, **(profile or {})},
                   **{"profile.eager": {"hedge_after": "60ms"},
                      "profile.calm": {"hedge_after": "0"}, **more})

    def late_later(self, model=MODEL):
        """Another request, which has its second attempt; what was asked before it would have had
        one by now."""
        self.pile.named["later"] = collections.deque([held()])
        self.assert_attempts(self.say("later", model, headers=EAGER, status=200), 2)

    def assert_from(self, answer, which, attempts=2):
        self.assert_status(answer, 200)
        self.assertEqual(answer.json(), {"from": which})
        self.assert_attempts(answer, attempts)

    def assert_closed(self, *requests):
        for request in requests:
            self.connection_of(request).wait_end()


class Second(HedgeTest):
    def test_it_wins_when_the_first_is_late(self):
        self.hedged(held(), SECOND)
        self.assert_from(self.say("a"), "second")
        first, second = self.sends("a")
        self.assert_closed(first)
        self.assertNotEqual(first.connection, second.connection)
        self.settle(attempts=2, status=200)

    def test_it_is_the_same_request(self):
        self.hedged(held(), SECOND)
        self.assert_from(self.say("a", headers=[("X-Mine", "1")]), "second")
        first, second = self.sends("a")
        self.assertEqual((first.method, first.target, first.headers, first.body),
                         (second.method, second.target, second.headers, second.body))

    def test_the_first_wins_when_it_is_the_first_to_answer(self):
        gate = threading.Event()
        self.hedged(held(gate, FIRST), held())
        client = self.ask("a")
        self.wait_sends("a", 2)
        gate.set()
        self.assert_from(self.whole(client), "first")
        self.assert_closed(self.sends("a")[1])

    def test_the_winner_s_connection_is_kept(self):
        self.hedged(held(), SECOND)
        self.say("a", status=200)
        self.say("b", status=200)
        self.assertEqual(self.sends("b")[0].connection, self.sends("a")[1].connection)

    def test_there_is_no_third(self):
        self.hedged(held(), held(), SECOND)
        client = self.ask("a")
        self.wait_sends("a", 2)
        self.late_later()
        self.assertEqual(len(self.sends("a")), 2)
        self.hang_up(client)

    def test_not_for_one_that_is_not_late(self):
        self.hedged(FIRST, after="50s")
        self.assert_from(self.say("a"), "first", attempts=1)
        self.assert_order("a")

    def test_an_answer_that_no_retry_helps_is_a_good_one(self):
        self.hedged(held(), refusal(404))
        self.assert_attempts(self.say("a", status=404), 2)
        self.assert_closed(self.sends("a")[0])

    def test_a_get_too(self):
        answers = [held(), OK]
        self.start(lambda request: answers.pop(0), profile={"hedge_after": "60ms"})
        self.assert_attempts(self.request("GET", "/v1/models"), 2)

    def test_not_for_a_plain_answer_whose_head_has_come(self):
        gate = threading.Event()
        self.hedged(chunked(b'{"from":', gate, b'"first"}', headers=[JSON]), SECOND)
        client = self.ask("a")
        self.wait_sends("a")
        self.late_later()
        gate.set()
        self.assert_from(self.whole(client), "first", attempts=1)

    def test_it_needs_a_place_of_its_own(self):
        self.hedged(held(), up={"max_in_flight": "1"})
        client = self.ask("a")
        self.wait_sends("a")
        self.assert_error(self.say("b", headers=[("X-Andiron-Timeout", "300ms")]), 503)
        self.assert_order("a")
        self.hang_up(client)

    def test_for_which_nobody_leaves_the_queue(self):
        gate = threading.Event()
        self.hedged(held(gate), up={"max_in_flight": "2", "queue": "2"})
        self.pile.named["busy"] = collections.deque([held(gate)])
        off = [("X-Andiron-Profile", "calm")]
        clients = [self.ask("busy", OTHER, off)]
        self.wait_sends("busy")
        clients += [self.ask("a")]
        self.wait_sends("a")
        short = self.queue("short", OTHER, [*off, ("X-Andiron-Timeout", "300ms")])
        clients.append(self.queue("last", OTHER, off))
        self.assert_error(self.whole(short), 503)
        gate.set()
        for client in clients:
            self.whole(client, 200)

    def test_and_gives_it_back(self):
        self.hedged(held(), SECOND, up={"max_in_flight": "2"})
        for name in "ab":
            self.say(name, status=200)
        clients = [self.ask(name) for name in "cdefgh"]
        for client in clients:
            self.whole(client, 200)


class Failures(HedgeTest):
    def begin(self, first, second, *more, **options):
        """Both attempts are under way; the gates open one, then the other."""
        self.gates = [threading.Event(), threading.Event()]
        self.hedged([wait(self.gates[0])] + first, [wait(self.gates[1])] + second, *more, **options)
        client = self.ask("a")
        self.wait_sends("a", 2)
        return client

    def open(self, which, failed=True):
        self.gates[which].set()
        if failed:
            self.wait_event(event="attempt")

    def test_the_first_fails_and_the_second_goes_on(self):
        for failure in (refusal(503), [rst], [fin]):
            with self.subTest(failure):
                client = self.begin(failure, SECOND)
                self.open(0)
                self.open(1, False)
                self.assert_from(self.whole(client), "second")

    def test_the_second_fails_and_the_first_goes_on(self):
        for failure in (refusal(503), [rst], [fin]):
            with self.subTest(failure):
                client = self.begin(FIRST, failure)
                self.open(1)
                self.open(0, False)
                self.assert_from(self.whole(client), "first")

    def test_the_one_that_failed_gives_its_place_back(self):
        for failed in (0, 1):
            with self.subTest(failed=failed):
                client = self.begin([refusal(503), FIRST][failed], [SECOND, refusal(503)][failed],
                                    up={"max_in_flight": "2"})
                waiting = self.queue("b", headers=[("X-Andiron-Profile", "calm")])
                self.open(failed)
                self.whole(waiting, 200)
                self.open(1 - failed, False)
                self.whole(client, 200)

    def test_the_one_that_failed_is_logged(self):
        client = self.begin(refusal(503), SECOND)
        self.open(0)
        self.open(1, False)
        self.whole(client, 200)
        event = self.wait_event(event="attempt")
        self.assertEqual((event["status"], event["error"]), (503, "upstream_status"))
        event = self.settle()
        self.assertEqual((event["status"], event["attempts"], event.get("error")), (200, 2, None))

    def test_both_fail_then_it_is_retried(self):
        for first, second in ((0, 1), (1, 0)):
            with self.subTest(first=first):
                client = self.begin(refusal(503), refusal(500), SECOND)
                self.open(first)
                self.open(second, False)
                self.assert_from(self.whole(client), "second", attempts=3)
                self.assertEqual(len(self.sends("a")), 3)

    def test_both_use_up_attempts(self):
        client = self.begin(refusal(503), refusal(500), OK, profile={"max_attempts": "2"})
        self.open(0)
        self.open(1, False)
        answer = self.whole(client, 500)
        self.assert_attempts(answer, 2)
        self.assertEqual(answer.all("x-should-retry"), ["false"])

    def test_not_beyond_max_attempts(self):
        gate = threading.Event()
        self.hedged(refusal(503), held(gate), OK, profile={"max_attempts": "2"})
        client = self.ask("a")
        self.wait_sends("a", 2)
        self.late_later()
        self.assertEqual(len(self.sends("a")), 2)
        gate.set()
        self.assert_attempts(self.whole(client, 200), 2)


    def test_a_429_of_the_second_paces_and_the_first_goes_on(self):
        client = self.begin(FIRST, refusal(429), up={"pacing": None})
        self.open(1)
        self.wait_state("pace_cut")
        self.open(0, False)
        self.assert_from(self.whole(client), "first")

    def test_both_are_one_request_to_the_breaker(self):
        """It takes two requests to close a lane."""
        client = self.begin(refusal(503), refusal(503), *[refusal(503)] * 2, OK,
                            up={"breaker": None})
        self.open(0)
        self.open(1, False)
        self.whole(client, 200)
        self.settle()
        self.assert_no_state("lane_closed")

    def test_a_fallback_has_a_second_attempt_too(self):
        spare = "accounts/fireworks/models/spare"
        answers = {MODEL: [refusal(503)] * 2, spare: [held(), SECOND]}
        self.start(lambda request: answers[model_of(request)].pop(0),
                   profile={"hedge_after": "60ms", "max_attempts": "2"},
                   **{"route.all": {"path": "/*", "fallback": spare}})
        answer = self.say("a", status=200)
        self.assertEqual(answer.json(), {"from": "second"})
        self.assertEqual(answer.all("X-Andiron-Fallback"), [spare])
        self.assert_seen(4)

    def test_after_both_the_fallback(self):
        spare = "accounts/fireworks/models/spare"
        gates = [threading.Event(), threading.Event()]
        answers = {MODEL: [held(gate, refusal(503)) for gate in gates], spare: [SECOND]}
        self.start(lambda request: answers[model_of(request)].pop(0),
                   profile={"hedge_after": "60ms", "max_attempts": "2"},
                   **{"route.all": {"path": "/*", "fallback": spare}})
        client = self.ask("a")
        self.upstream.wait_requests(2)
        for gate in gates:
            gate.set()
        answer = self.whole(client, 200)
        self.assertEqual(answer.all("X-Andiron-Fallback"), [spare])
        self.assert_seen(3)


class Never(HedgeTest):
    def check(self, headers=(), path="/v1/chat/completions", model=MODEL, **options):
        gate = threading.Event()
        self.hedged(held(gate, FIRST), SECOND, **options)
        client = self.ask("a", model, headers, path)
        self.wait_sends("a")
        self.late_later(OTHER)
        self.assertEqual(len(self.sends("a")), 1)
        gate.set()
        self.assert_from(self.whole(client), "first", attempts=1)

    def test_what_may_have_an_effect_twice(self):
        for path in (RESPONSES, DEPLOYMENTS, TRAINER, CREATE):
            with self.subTest(path):
                self.check(path=path)

    def test_when_it_is_off(self):
        self.check(after="0")

    def test_for_one_attempt(self):
        self.check(headers=ONCE)

    def test_while_the_lane_is_paced(self):
        gate = threading.Event()
        self.hedged(refusal(429), held(gate, FIRST), SECOND, up={"pacing": None})
        self.learn()
        client = self.ask("a")
        self.wait_sends("a", 2)
        self.late_later(OTHER)
        self.assertEqual(len(self.sends("a")), 2)
        gate.set()
        self.assert_from(self.whole(client), "first")

    def test_beside_a_probe(self):
        gate = threading.Event()
        self.hedged(held(gate, FIRST), SECOND, up={"breaker": None})
        self.pile.answers.extend([refusal(503)] * 3)
        for name in "xyz":
            self.say(name, headers=ONCE, status=503)
        self.wait_state("lane_closed")
        client = self.ask("a")
        self.wait_sends("a")
        self.late_later(OTHER)
        self.assertEqual(len(self.sends("a")), 1)
        gate.set()
        self.assert_from(self.whole(client), "first", attempts=1)


class Streams(HedgeTest):
    WHOLE = ONE + FINISH + DONE

    def test_the_second_wins(self):
        self.hedged(held(), sse(ONE, FINISH, DONE))
        answer = self.say("a", stream=True)
        self.assert_whole(answer, self.WHOLE)
        self.assert_attempts(answer, 2)
        self.assert_closed(self.sends("a")[0])

    def test_a_head_and_comments_are_no_answer_yet(self):
        for begun in ((), (b": theirs\n\n",)):
            with self.subTest(begun):
                self.hedged(sse(*begun, hold()), sse(ONE, FINISH, DONE))
                answer = self.say("a", stream=True)
                self.assert_whole(answer, self.WHOLE)
                self.assert_attempts(answer, 2)
                self.assert_closed(self.sends("a")[0])

    def test_of_two_heads_the_first_event_decides(self):
        gate = threading.Event()
        self.hedged(sse(gate, ONE, FINISH, DONE), sse(hold()))
        client = self.ask("a", stream=True)
        self.wait_sends("a", 2)
        gate.set()
        self.assert_whole(self.whole(client), self.WHOLE)
        self.assert_closed(self.sends("a")[1])

    def test_the_first_wins_and_only_it_is_heard(self):
        gate = threading.Event()
        self.hedged(held(gate, sse(ONE, FINISH, DONE)), [hold()] + sse(TWO, DONE))
        client = self.ask("a", stream=True)
        self.wait_sends("a", 2)
        gate.set()
        self.assert_whole(self.whole(client), self.WHOLE)
        self.assert_closed(self.sends("a")[1])

    def test_one_that_runs_is_not_late(self):
        gate = threading.Event()
        self.hedged(sse(ONE, gate, FINISH, DONE), sse(TWO, DONE))
        answer = self.ask("a", stream=True).read_head()
        answer.read_until(ONE)
        self.late_later()
        gate.set()
        self.assert_whole(answer, self.WHOLE)
        self.assert_attempts(answer, 1)
        self.assertEqual(len(self.sends("a")), 1)

    def test_one_that_begins_with_an_error_has_failed(self):
        event = b'data: {"error":{"message":"m","code":"SERVICE_UNAVAILABLE"}}\n\n'
        gate = threading.Event()
        self.hedged(held(gate, sse(ONE, FINISH, DONE)), sse(event))
        client = self.ask("a", stream=True)
        self.wait_event(event="attempt")
        gate.set()
        self.assert_whole(self.whole(client), self.WHOLE)

    def test_behind_an_early_head(self):
        gate = threading.Event()
        self.hedged(held(), sse(gate, ONE, FINISH, DONE))
        answer = self.ask("a", stream=True, headers=SOON).read_head()
        answer.read_until(b"\n\n")
        gate.set()
        self.assertEqual(COMMENT.sub(b"", answer.body), self.WHOLE)
        self.assert_end(answer)
        self.assert_closed(self.sends("a")[0])


class Leaving(HedgeTest):
    def test_a_client_that_leaves_cancels_both(self):
        for stream in (False, True):
            for leave in (Client.fin, Client.rst, Client.half_close):
                with self.subTest(leave.__name__, stream=stream):
                    self.hedged(held(), held())
                    client = self.ask("a", stream=stream)
                    self.wait_sends("a", 2)
                    leave(client)
                    self.assert_closed(*self.sends("a"))
                    event = self.settle()
                    self.assertEqual((event["error"], event["attempts"]), ("client_closed", 2))

    def test_the_deadline_cancels_both(self):
        self.hedged(held(), held())
        answer = self.say("a", headers=[("X-Andiron-Timeout", "400ms")])
        self.assert_error(answer, 504)
        self.assert_attempts(answer, 2)
        self.assert_closed(*self.sends("a"))

    def test_a_drain_cancels_both(self):
        self.hedged(held(), held(), server={"drain_timeout": "300ms"})
        client = self.ask("a")
        self.wait_sends("a", 2)
        self.andiron.signal()
        self.assert_error(self.whole(client), 503)
        self.assertEqual(self.andiron.wait_exit(), 0)
        self.assert_closed(*self.sends("a"))


if __name__ == "__main__":
    main()
