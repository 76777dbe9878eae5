"""Requests wait for a place: how many, in which order, and how a wait ends (CONTRACT 2,
max_in_flight to queue_bytes and retry_budget, and 3, Overload)."""

import os
import re
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from client import Client
from harness import BOUND, COMPLETIONS, main
from overload import (DEPLOYMENTS, MODEL, OK, OTHER, Crowd, OverloadTest, Pile, body_of, held,
                      refusal)
from streams import COMMENT, DONE, FINISH, ONE
from upstream import fin, sse, wait

SOON = [("X-Stainless-Read-Timeout", "0.9")]
WAYS = (Client.fin, Client.rst, Client.half_close)


class QueueTest(OverloadTest):
    def busy(self, up=None, profile=None, places=1, then=OK, **more):
        """An upstream whose places are all taken, by requests that end when the gate opens."""
        self.gate = threading.Event()
        names = [f"busy{number or ''}" for number in range(places)]
        self.pile = Pile(then=then, **{name: [held(self.gate)] for name in names})
        self.start(self.pile, {"max_in_flight": str(places), **(up or {})}, profile, **more)
        self.first = [self.queue(name) for name in names]
        self.upstream.wait_requests(places)

    def open(self, *clients):
        """The places become free; all of these are served, and who had the places."""
        self.gate.set()
        for client in self.first + list(clients):
            self.whole(client, 200)


class Places(QueueTest):
    def crowd(self, places, workers, clients=12, **options):
        crowd = Crowd(**options)
        self.start(crowd, {"max_in_flight": str(places)}, server={"workers": str(workers)})
        return crowd, [self.ask(f"n{number}") for number in range(clients)]

    def test_never_more_are_at_the_upstream(self):
        for places in (1, 2):
            for workers in (1, 4):
                with self.subTest(places=places, workers=workers):
                    crowd, clients = self.crowd(places, workers)
                    for client in clients:
                        self.whole(client, 200)
                    self.assert_seen(len(clients))
                    self.assertLessEqual(crowd.most, places)

    def test_all_the_places_are_used(self):
        gate = threading.Event()
        crowd, clients = self.crowd(3, 4, before=wait(gate))
        self.upstream.wait_requests(3)
        gate.set()
        for client in clients:
            self.whole(client, 200)
        self.assertEqual(crowd.most, 3)

    def test_retries_need_places_too(self):
        crowd = Crowd()
        lock, failed = threading.Lock(), set()

        def script(request):
            with lock:
                again = request.body in failed
                failed.add(request.body)
            crowd.answer = OK
            return crowd(request) if again else crowd(request)[:2] + refusal(503)
        self.start(script, {"max_in_flight": "2"}, server={"workers": "4"})
        clients = [self.ask(f"n{number}") for number in range(8)]
        for client in clients:
            self.whole(client, 200)
        self.assert_seen(16)
        self.assertLessEqual(crowd.most, 2)

    def test_a_running_stream_has_one(self):
        gate = threading.Event()
        self.start(Pile(stream=[sse(ONE, gate, FINISH, DONE)]), {"max_in_flight": "1"})
        stream = self.ask("stream", stream=True).read_head()
        stream.read_until(ONE)
        second = self.queue("second")
        self.assert_order("stream")
        gate.set()
        self.assert_whole(stream, ONE + FINISH + DONE)
        self.whole(second, 200)

    def test_a_stream_that_ends_badly_gives_it_back(self):
        gate = threading.Event()
        self.start(Pile(stream=[sse(ONE, gate, fin)]), {"max_in_flight": "1"})
        stream = self.ask("stream", stream=True).read_head()
        second = self.queue("second")
        gate.set()
        self.assert_error_event(stream, ONE)
        self.whole(second, 200)

    def test_a_client_that_leaves_gives_it_back(self):
        for leave in WAYS:
            with self.subTest(leave.__name__):
                self.busy()
                second = self.queue("second")
                leave(self.first[0])
                self.whole(second, 200)
                self.assert_order("busy", "second")

    def test_a_wait_between_attempts_has_none(self):
        self.start(Pile(waits=[refusal(503, ("Retry-After", "50"))]), {"max_in_flight": "1"})
        waiting = self.ask("waits")
        self.wait_event(event="attempt", status=503)
        self.say("second", status=200)
        self.hang_up(waiting)

    def test_the_limit_is_each_upstream_s_own(self):
        second = self.scripted(Pile(), None)
        key = self.write("key", "fw_second\n")
        self.busy(**{"upstream.second": {"url": second.url, "api_key_file": key},
                     "route.second": {"path": "/inference/v1/chat/completions", "model": OTHER,
                                      "upstream": "second"}})
        self.say("elsewhere", OTHER, status=200)
        self.assertEqual(len(second.requests), 1)
        self.open()


    def test_no_place_is_lost_whoever_leaves_and_when(self):
        """Clients that leave, and deadlines that pass, before, while and after they get a turn."""
        crowd = Crowd()
        self.start(crowd, {"max_in_flight": "2", "queue": "40"}, server={"workers": "4"})
        short = [("X-Andiron-Timeout", "10ms")]
        for turn in range(8):
            clients = [self.ask(f"n{number}", MODEL if number % 2 else OTHER,
                                short if number % 3 == 2 else ()) for number in range(24)]
            for number, client in enumerate(clients):
                if number % 3 == 0:
                    WAYS[turn % 3](client)
            for number, client in enumerate(clients):
                if number % 3 == 1:
                    self.whole(client, 200)
                elif number % 3 == 2:
                    self.assertIn(self.whole(client).status, (200, 502, 503, 504))
        self.assertLessEqual(crowd.most, 2)
        gate = threading.Event()
        crowd.before = wait(gate)
        known = len(self.upstream.requests)
        last = [self.ask("last"), self.ask("last", OTHER)]
        self.upstream.wait_requests(known + 2)
        gate.set()
        for client in last:
            self.whole(client, 200)


class Order(QueueTest):
    def test_within_a_lane_first_come_first_served(self):
        self.busy()
        self.open(*[self.queue(name) for name in "abcdef"])
        self.assert_order("busy", *"abcdef")

    def test_lanes_are_served_in_turn(self):
        others = {"model": {"model": OTHER}, "key": {"headers": [("Authorization", "Bearer fw_b")]}}
        for name, other in others.items():
            with self.subTest(name):
                self.busy()
                clients = [self.queue(name) for name in ("a1", "a2", "a3")]
                clients += [self.queue(name, **other) for name in ("b1", "b2")]
                self.open(*clients)
                order = self.order()[1:]
                self.assertEqual([sorted(order[:2]), sorted(order[2:4]), order[4:]],
                                 [["a1", "b1"], ["a2", "b2"], ["a3"]])

    def test_other_methods_wait_too(self):
        self.busy()
        clients = []
        for method in ("GET", "HEAD", "DELETE"):
            client = self.connect()
            client.send_request(method, DEPLOYMENTS + "/" + method)
            self.fence()
            clients.append(client)
        self.assert_order("busy")
        self.open(*clients)
        self.assertEqual([request.method for request in self.upstream.requests],
                         ["POST", "GET", "HEAD", "DELETE"])


class Full(QueueTest):
    def test_without_a_queue_nobody_waits(self):
        self.busy({"queue": "0"})
        self.assert_overflow(self.say("refused"))
        self.assert_order("busy")
        event = self.settle()
        self.assertEqual((event["phase"], event["error"], event["status"], event["dashboard"]),
                         ("pool", "connection_limit_reached", 503, "invisible"), event)
        self.open()
        self.say("later", status=200)

    def test_so_many_wait_and_no_more(self):
        self.busy({"queue": "2"})
        waiting = [self.queue(name) for name in "ab"]
        self.assert_overflow(self.say("c"))
        self.open(*waiting)
        self.assert_order("busy", *"ab")

    def test_head_and_get_and_streams_are_refused_too(self):
        self.busy({"queue": "0"})
        answer = self.request("HEAD", "/v1/models")
        self.assert_status(answer, 503)
        self.assertEqual(answer.body, b"")
        self.assert_seconds(answer)
        self.assert_overflow(self.request("GET", "/v1/models"))
        self.assert_overflow(self.say("stream", stream=True))
        self.assert_seen(1)

    def test_the_connection_goes_on(self):
        self.busy({"queue": "0"})
        client = self.ask("refused")
        self.assert_overflow(self.whole(client))
        self.open()
        client.send_request("POST", COMPLETIONS, [], body_of("again"))
        self.whole(client, 200)

    def test_one_that_leaves_makes_room(self):
        self.busy({"queue": "1"})
        self.queue("gone").fin()
        self.settle(error="client_closed")
        self.open(self.queue("a"))
        self.assert_order("busy", "a")

    def test_one_lane_alone_may_have_it_all(self):
        self.busy({"queue": "4"})
        self.open(*[self.queue(name) for name in "abcd"])

    def test_no_lane_has_more_than_half_of_it_while_another_one_waits(self):
        self.busy({"queue": "4"})
        many = {name: self.queue(name) for name in ("a1", "a2", "a3", "a4")}
        few = {name: self.queue(name, OTHER) for name in ("b1", "b2")}
        for name in ("a4", "a3"):               # the last ones have made room
            self.assert_overflow(self.whole(many.pop(name)))
        self.assert_overflow(self.say("a5"))
        self.assert_overflow(self.say("b3", OTHER))
        self.open(*many.values(), *few.values())
        self.assertEqual(sorted(self.order()), ["a1", "a2", "b1", "b2", "busy"])

    def test_with_room_left_a_lane_may_not_go_beyond_half_of_it(self):
        self.busy({"queue": "6"})
        waiting = [self.queue("b1", OTHER)] + [self.queue(name) for name in ("a1", "a2", "a3")]
        self.assert_overflow(self.say("a4"))
        self.open(*waiting)

    def test_bodies_have_a_limit(self):
        self.busy({"queue_bytes": "64KiB"})
        waiting = [self.queue("large", text="x" * 40_000)]
        self.assert_overflow(self.say("larger", text="x" * 40_000))
        waiting.append(self.queue("small"))
        self.open(*waiting)
        self.assert_order("busy", "large", "small")

    def test_a_body_that_need_not_wait_may_be_larger(self):
        self.start(Pile(), {"queue_bytes": "64KiB", "max_in_flight": "1"})
        self.say("a", text="x" * 100_000, status=200)


class HowItEnds(QueueTest):
    """A wait for a place, by something else than a place."""

    def test_pool_timeout(self):
        self.busy(profile={"pool_timeout": "300ms"})
        self.assert_overflow(self.say("a"))
        self.assertEqual(self.settle()["phase"], "pool")
        self.open()
        self.assert_order("busy")

    def test_the_deadline(self):
        self.busy()
        answer = self.say("late", headers=[("X-Andiron-Timeout", "300ms")])
        self.assert_error(answer, 503)
        self.assertEqual(self.settle()["phase"], "pool")
        self.open(self.queue("other"))
        self.assert_order("busy", "other")

    def test_the_client_s_own_deadline(self):
        self.busy()
        self.assert_error(self.say("late", headers=[("X-Stainless-Timeout", "1")]), 503)
        self.open()
        self.assert_order("busy")

    def test_a_client_that_leaves_is_never_sent(self):
        for leave in WAYS:
            with self.subTest(leave.__name__):
                self.busy()
                gone, other = self.queue("gone"), self.queue("other")
                leave(gone)
                event = self.settle(error="client_closed")
                self.assertEqual((event["phase"], event["dashboard"]), ("client", "invisible"))
                self.open(other)
                self.assert_order("busy", "other")

    def test_it_is_told(self):
        """At least as long as another one's deadline, which passed meanwhile."""
        self.busy()
        waiting = self.queue("waits")
        self.assert_error(self.say("late", headers=[("X-Andiron-Timeout", "50ms")]), 503)
        self.gate.set()
        answer = self.whole(waiting, 200)
        timing = answer.header("Server-Timing")
        self.assertGreaterEqual(float(re.search(r"\bqueue;dur=([0-9.]+)", timing)[1]), 50, timing)
        event = self.wait_event(lambda event: event.get("wait_ms", 0) >= 50 and
                                event["status"] == 200, event="request")
        self.assertGreaterEqual(event["total_ms"], event["wait_ms"])


class Patience(QueueTest):
    def test_a_stream_that_waits_is_told_so(self):
        self.busy(then=sse(ONE, FINISH, DONE))
        answer = self.queue("stream", stream=True, headers=SOON).read_head()
        self.assert_status(answer, 200)
        for _ in range(2):
            answer.read_until(b"\n\n")
            self.assertRegex(bytes(answer.got), rb"^(: andiron: [^\n]+\n\n)+$")
            del answer.got[:]
        self.assert_order("busy")
        self.gate.set()
        self.assertEqual(COMMENT.sub(b"", answer.body), ONE + FINISH + DONE)
        self.assert_end(answer)

    def fail_behind_head(self, **limits):
        self.busy(**{"profile.short": limits})
        headers = SOON + [("X-Andiron-Profile", "short")]
        answer = self.ask("stream", stream=True, headers=headers).read_head()
        self.assert_status(answer, 200)
        body = answer.body
        self.assert_order("busy")
        return self.assert_error_event(answer, body[:body.index(b"event: error")])

    def test_what_ends_the_wait_then_is_an_event(self):
        error = self.fail_behind_head(pool_timeout="700ms")
        self.assert_words(error, code="connection_limit_reached")
        self.fail_behind_head(total_timeout="700ms")

class Drain(QueueTest):
    def drain(self):
        self.andiron.signal()
        self.wait_state("drain")

    def finish(self):
        self.assertEqual(self.andiron.wait_exit(), 0, self.andiron.stderr())

    def assert_draining(self, answer):
        self.assert_error(answer, 503)
        self.assertEqual(answer.all("x-should-retry"), ["true"], repr(answer))
        self.assert_seconds(answer)

    def test_waiting_ones_are_served(self):
        self.busy()
        waiting = [self.queue(name) for name in "abc"]
        self.drain()
        self.gate.set()
        for client in self.first + waiting:
            answer = self.whole(client, 200)
            self.assertEqual((answer.header("Connection") or "").lower(), "close")
        self.finish()
        self.assert_order("busy", *"abc")

    def test_one_that_cannot_begin_in_time_is_told_so(self):
        self.busy(server={"drain_timeout": "400ms"})
        waiting = self.queue("waits")
        stream = self.queue("stream", stream=True)
        self.drain()
        for client in (waiting, stream, *self.first):
            self.assert_draining(self.whole(client))
        self.finish()
        self.assert_order("busy")

    def test_one_that_waits_for_the_pace_too(self):
        pile = Pile(refusal(429, ("Retry-After", "50")))
        self.start(pile, {"pacing": None}, server={"drain_timeout": "400ms"})
        sent = self.ask("sent")
        self.wait_state("pace_cut")
        never = self.queue("never")
        self.drain()
        self.assert_draining(self.whole(never))
        self.assertIn(self.whole(sent).status, (429, 503))
        self.finish()
        self.assert_order("sent")

    def test_a_stream_behind_its_head_ends_with_the_error_event(self):
        self.busy(server={"drain_timeout": "400ms"})
        answer = self.queue("stream", stream=True, headers=SOON).read_head()
        answer.read_until(b"\n\n")
        self.drain()
        body = answer.body
        self.assert_error_event(answer, body[:body.index(b"event: error")])
        self.finish()
        self.assert_order("busy")

    def test_a_second_signal_does_not_wait_for_them(self):
        self.busy(server={"drain_timeout": "10m"},
                  env={"TSAN_OPTIONS": "report_thread_leaks=0"})    # at once means: not joined
        self.queue("waits")
        self.drain()
        self.andiron.expected = None
        self.andiron.signal()
        self.andiron.wait_exit(BOUND)
        self.assert_order("busy")


class RetryBudget(QueueTest):
    REQUESTS = 60

    def storm(self, budget, retries=4):
        """How many retries that many requests had, each of which wanted so many; and how long."""
        began = time.monotonic()
        self.start(lambda _: refusal(503), {"retry_budget": budget},
                   {"backoff_base": "1ms", "max_attempts": str(retries + 1)})
        for client in [self.ask(f"n{number}") for number in range(self.REQUESTS)]:
            self.whole(client, 503)
        return len(self.upstream.requests) - self.REQUESTS, time.monotonic() - began

    def test_a_storm_is_cut(self):
        retries, seconds = self.storm("1%")
        self.assertGreaterEqual(retries, 100)
        self.assertLessEqual(retries, 100 + 10 * seconds + 0.01 * self.REQUESTS + 1)
        event = self.wait_event(event="attempt", reason="budget")
        self.assertNotIn("retry_in_ms", event)
        self.settle(count=self.REQUESTS)
        early = self.andiron.find_events(lambda event: event.get("attempts", 5) < 5,
                                         event="request")
        self.assertGreaterEqual(len(early), 1)

    def test_it_ends_with_the_last_answer(self):
        self.storm("1%", 8)
        answer = self.say("late")
        self.assert_status(answer, 503)
        self.assertEqual(answer.header("X-Andiron-Source"), "upstream")
        self.assertEqual(answer.all("x-should-retry"), ["false"])

    def test_a_larger_share_has_room(self):
        """Of requests that come one by one: the bucket never holds more than 100."""
        self.start(lambda _: refusal(503), {"retry_budget": "1000%"}, {"backoff_base": "1ms"})
        for number in range(self.REQUESTS):
            self.assert_attempts(self.say(f"n{number}", status=503), 5)

    def test_off_has_room_for_all(self):
        retries, _ = self.storm("off")
        self.assertEqual(retries, 4 * self.REQUESTS)


if __name__ == "__main__":
    main()
