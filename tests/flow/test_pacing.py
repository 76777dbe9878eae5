"""A 429 sets a pace for its lane (CONTRACT 3, Overload). Where a lane is to stay closed it is
closed for 50 s, which no test waits for."""

import collections
import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from client import Client
from harness import BOUND, COMPLETIONS, main
from overload import (CREATE, DEPLOYMENTS, KEY, MODEL, ONCE, OK, OTHER, RESPONSES, TRAINER,
                      OverloadTest, Pile, body_of, held, refusal)
from streams import DONE, FINISH, ONE
from upstream import JSON, reply, sse

BEARER = [("Authorization", "Bearer " + KEY)]
LABEL = r"^%s [0-9a-f]{8}\b" % MODEL
LONG = ("Retry-After", "50")
PAUSES = (("Retry-After", "50"), ("retry-after-ms", "50000"), ("RateLimit", '"p";r=0;t=50'))
SECOND = (("Retry-After", "1"), ("retry-after-ms", "1000"), ("RateLimit", '"p";r=0;t=1'))


class PacingTest(OverloadTest):
    def pace(self, *answers, profile=None, up=None, **named):
        """Behind it answers come from the pile; 429s set the pace."""
        self.pile = Pile(*answers, **named)
        self.start(self.pile, {"pacing": None, **(up or {})}, profile)
        return self.pile

    def close_lane(self, name="closer", **more):
        """A 429 that closes its lane for long; the request that had it waits. Its connection."""
        self.pile.named[name] = collections.deque([refusal(429, LONG)])
        client = self.ask(name, **more)
        self.wait_event(event="attempt", status=429)
        self.fence()
        return client


class ThePace(PacingTest):
    def test_the_first_429_sets_it(self):
        self.pace()
        self.learn()
        self.assert_no_state("pace_cut")
        self.pile.answers.append(refusal(429))
        self.say("a", headers=BEARER, status=200)
        self.assertRegex(self.wait_state("pace_cut")["detail"], LABEL)

    def test_a_lane_is_named_without_its_key(self):
        self.pace(refusal(429), refusal(429))
        clients = [self.ask("a", headers=BEARER), self.ask("b", headers=[("x-api-key", KEY + "x")])]
        labels = {self.wait_state("pace_cut", count)["detail"].split(":")[0] for count in (1, 2)}
        self.assertEqual(len(labels), 2, labels)
        for label in labels:
            self.assertRegex(label, LABEL)
        self.hang_up(*clients)
        self.settle(count=2)
        with open(self.events_path) as log:
            self.assertNotIn("canary", log.read() + self.andiron.stderr())

    def test_of_a_multipart_body_the_form_s_model_names_the_lane(self):
        self.start([refusal(429)], {"pacing": None})
        form = (b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-v3\r\n'
                b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n{}\r\n'
                b'--x--\r\n')
        client = self.connect()
        client.send_request("POST", "/v1/audio/transcriptions",
                            [("Content-Type", "multipart/form-data; boundary=x")], form)
        self.assertRegex(self.wait_state("pace_cut")["detail"], r"^whisper-v3 [0-9a-f]{8}\b")
        self.hang_up(client)

    def test_it_does_not_use_up_attempts(self):
        self.pace(profile={"max_attempts": "2"})
        self.learn()
        self.pile.answers.extend([refusal(429)] * 4)
        self.say("a", status=200)
        self.assert_order(*"aaaaa")
        self.settle(attempts=5)

    def test_other_failures_use_them_up_as_ever(self):
        self.pace(profile={"max_attempts": "2"})
        self.learn()
        self.pile.answers.extend([refusal(429), refusal(503), refusal(429), refusal(500)])
        self.say("a", status=500)
        self.assert_order(*"aaaa")

    def test_a_429_in_a_200_sets_it_too(self):
        soft = b'{"error":{"message":"m","type":"rate_limit_error"}}'
        answers = {"body": reply(200, soft, [JSON]), "stream": sse(b"data: " + soft + b"\n\n")}
        for name, answer in answers.items():
            with self.subTest(name):
                self.pace(profile={"max_attempts": "2"})
                self.learn()
                self.pile.answers.extend([answer] * 3)
                self.pile.then = sse(ONE, FINISH, DONE) if name == "stream" else OK
                self.say("a", stream=name == "stream", status=200)
                self.assert_order(*"aaaa")
                self.wait_state("pace_cut")

    def test_inference_with_side_effects_is_paced_too(self):
        self.pace(profile={"max_attempts": "2"})
        self.learn()
        self.pile.answers.extend([refusal(429)] * 3)
        self.say("a", path=RESPONSES, status=200)
        self.assert_order(*"aaaa")

    def test_off_is_plain_backoff_where_a_429_counts(self):
        self.start(Pile(then=refusal(429)), {"pacing": "off"}, {"max_attempts": "3"})
        answer = self.say("a", status=429)
        self.assert_attempts(answer, 3)
        self.assert_order(*"aaa")
        self.settle()
        self.assert_no_state("pace_cut")

    def test_off_closes_no_lane(self):
        self.start(Pile(refusal(429, LONG)), {"pacing": "off"})
        waiting = self.ask("a")
        self.wait_event(event="attempt", status=429)
        self.say("b", status=200)
        self.assert_order("a", "b")
        self.hang_up(waiting)

    def test_one_attempt_is_one(self):
        self.pace(refusal(429))
        answer = self.say("a", headers=ONCE, status=429)
        self.assert_attempts(answer, 1)
        self.assertEqual(answer.all("x-should-retry"), ["false"])
        self.assert_order("a")

    def test_the_429_of_one_that_is_sent_once_closes_the_lane_too(self):
        self.pace(refusal(429, LONG))
        self.say("a", headers=ONCE, status=429)
        waiting = self.queue("b")
        self.say("other", OTHER, status=200)
        self.assert_order("a", "other")
        self.hang_up(waiting)

    def test_a_client_that_leaves_is_not_sent_again(self):
        self.pace()
        gone = self.close_lane("gone")
        gone.fin()
        self.settle(error="client_closed")
        self.assert_order("gone")

    def test_ratelimit_headers_are_logged_raw_and_change_nothing(self):
        raw = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "50s",
               "x-ratelimit-limit-tokens-generated": "1e0, ?"}
        self.pace()
        self.learn()
        self.pile.answers.append(refusal(429, *raw.items()))
        self.pile.then = reply(200, b"{}", [JSON, *raw.items()])
        self.say("a", status=200)
        for name in "bcd":
            self.say(name, status=200)
        event = self.wait_event(event="attempt", status=429)
        self.assertEqual({name.lower(): value for name, value in event["ratelimit"].items()}, raw)
        self.assert_order(*"aabcd")


class ControlPlane(PacingTest):
    """Of a write a 429 is a quota, which no pace helps."""

    def test_its_429_goes_back_at_once_and_paces_nothing(self):
        for path in (DEPLOYMENTS, CREATE, TRAINER):
            with self.subTest(path):
                self.pace(refusal(429, LONG))
                answer = self.say("a", path=path, status=429)
                self.assertEqual(answer.all("Retry-After"), ["50"])
                self.assertEqual(answer.all("x-should-retry"), ["false"])
                self.say("b", path=path, status=200)
                self.assert_order("a", "b")
                self.settle(count=2)
                self.assert_no_state("pace_cut")

    def test_a_read_is_paced(self):
        self.start([refusal(429, LONG)], {"pacing": None})
        client = self.connect()
        client.send_request("GET", DEPLOYMENTS)
        self.wait_state("pace_cut")
        self.hang_up(client)


class Closed(PacingTest):
    """What the upstream asks for holds for the whole lane, and for no other."""

    def test_every_request_of_the_lane_waits_and_no_other(self):
        for pause in PAUSES:
            with self.subTest(pause):
                self.pace(refusal(429, pause))
                first = self.ask("first", headers=BEARER)
                self.wait_state("pace_cut")
                second = self.queue("second", headers=BEARER)
                self.say("model", OTHER, headers=BEARER, status=200)
                self.say("key", headers=[("Authorization", "Bearer fw_another")], status=200)
                self.say("none", status=200)
                self.assert_order("first", "model", "key", "none")
                self.hang_up(first, second)

    def test_it_opens_when_that_is_over(self):
        for pause in SECOND:
            with self.subTest(pause):
                self.pace()
                self.learn()
                self.pile.answers.append(refusal(429, pause))
                first = self.ask("first")
                self.wait_state("pace_cut")
                second = self.ask("second")
                for client in (first, second):
                    self.whole(client, 200)
                closed = self.sends("first")[0].at + 1
                for request in (self.sends("first")[1], self.sends("second")[0]):
                    self.assertGreaterEqual(request.at, closed)

    def test_the_refused_one_goes_before_later_ones(self):
        self.pace(up={"max_in_flight": "1"})
        self.learn()
        self.pile.answers.append(refusal(429, ("Retry-After", "1")))
        clients = [self.ask("a")]
        self.wait_state("pace_cut")
        clients += [self.queue(name) for name in "bcd"]
        for client in clients:
            self.whole(client, 200)
        self.assert_order(*"aabcd")

    def test_a_refused_one_is_not_overtaken_for_its_place(self):
        """Not even if the pace would let one go just then: a2's 429 is of before the cut."""
        gates = [threading.Event() for _ in range(3)]
        self.pace(up={"max_in_flight": "2"},
                  a1=[held(gates[0], refusal(429)), held(gates[1])],
                  a2=[held(gates[2], refusal(429))])
        self.learn()
        clients = [self.queue(name) for name in ("a1", "a2")]
        self.wait_sends("a2")
        gates[0].set()
        self.wait_sends("a1", 2)
        clients.append(self.queue("b"))
        for _ in range(20):
            self.fence()                # some time, in which the pace may save up a send
        gates[2].set()
        self.wait_order(4)
        gates[1].set()
        for client in clients:
            self.whole(client, 200)
        self.assert_order("a1", "a2", "a1", "a2", "b")

    def test_a_refused_one_has_room_in_a_full_queue(self):
        gate = threading.Event()
        self.pace(a=[held(gate, refusal(429))], b=[held(gate)],
                  up={"max_in_flight": "1", "queue": "2"})
        self.learn()
        clients = [self.queue(name) for name in "abc"]
        self.assert_overflow(self.say("d"))
        gate.set()
        for client in clients:
            self.whole(client, 200)
        self.assertEqual(sorted(self.order()), list("aabc"))

    def test_a_wait_for_the_pace_takes_no_place(self):
        self.pace(up={"max_in_flight": "1"})
        waiting = self.close_lane()
        self.say("other", OTHER, status=200)
        self.hang_up(waiting)

    def test_pool_timeout_does_not_end_it(self):
        self.pace(profile={"pool_timeout": "100ms"})
        self.learn()
        self.pile.answers.append(refusal(429, ("Retry-After", "1")))
        self.say("a", status=200)


    def test_a_key_is_the_same_in_each_of_its_headers(self):
        self.pace(refusal(429, LONG))
        first = self.ask("first", headers=BEARER)
        self.wait_state("pace_cut")
        others = [self.queue("second", headers=[("x-api-key", KEY)]),
                  self.queue("third", headers=[("authorization", "bearer  " + KEY)])]
        self.say("other", OTHER, headers=BEARER, status=200)
        self.assert_order("first", "other")
        self.hang_up(first, *others)

    def test_without_a_queue_only_the_refused_one_waits(self):
        self.pace(up={"queue": "0"})
        waiting = self.close_lane()
        self.assert_overflow(self.say("newcomer"))
        self.say("other", OTHER, status=200)
        self.assert_order("closer", "other")
        self.hang_up(waiting)

    def test_a_stream_is_told_of_the_wait(self):
        self.pace(refusal(429, LONG))
        answer = self.ask("a", stream=True,
                          headers=[("X-Stainless-Read-Timeout", "0.9")]).read_head()
        self.assert_status(answer, 200)
        self.assertRegex(answer.read_until(b"\n\n"), rb"^: andiron: [^\n]*429[^\n]*\n\n$")
        self.assert_order("a")
        self.hang_up(answer.client)

    def test_paced_repeats_are_free_of_the_retry_budget(self):
        """More 429s than it has room for, all of one moment: one cut stands for them all."""
        gate, clients = threading.Event(), 160
        self.pace(up={"retry_budget": "0%"})
        self.learn()
        known = len(self.upstream.requests)
        self.pile.answers.extend([held(gate, refusal(429))] * clients)
        waiting = [self.ask(f"n{number}") for number in range(clients)]
        self.upstream.wait_requests(known + clients)
        gate.set()
        for client in waiting:
            self.whole(client, 200)


class TooLong(PacingTest):
    def test_above_the_cap_it_goes_back_at_once(self):
        for cap, value in (("60s", "61"), ("5s", "6"), ("60s", "99999999999999999999")):
            with self.subTest(value):
                self.pace(refusal(429, ("Retry-After", value)), profile={"retry_after_cap": cap})
                answer = self.say("a", status=429)
                self.assertEqual(answer.all("Retry-After"), [value])
                self.assertEqual(answer.all("x-should-retry"), ["false"])
                self.assert_order("a")

    def test_and_so_does_every_waiting_one_with_that_cap(self):
        gate = threading.Event()
        self.pile = Pile(slow=[held(gate, refusal(429, ("Retry-After", "200")))])
        self.start(self.pile, {"pacing": None},
                   **{"profile.patient": {"retry_after_cap": "10m"}})
        slow = self.ask("slow")
        self.wait_sends("slow")
        sent = self.close_lane()
        never = self.queue("never")
        patient = self.queue("patient", headers=[("X-Andiron-Profile", "patient")])
        gate.set()
        self.assertEqual(self.whole(slow, 429).all("Retry-After"), ["200"])
        for client, statuses in ((sent, (429,)), (never, (429, 503))):
            answer = self.whole(client)
            self.assertIn(answer.status, statuses, repr(answer))
            self.assertEqual(answer.all("x-should-retry"), ["false"], repr(answer))
            self.assert_seconds(answer, most=200)
        self.fence()
        self.assert_order("slow", "closer")
        self.hang_up(patient)
        self.settle(error="client_closed", profile="patient")

    def test_and_the_lane_is_closed_all_the_same(self):
        self.pace(refusal(429, ("Retry-After", "200")))
        self.say("a", status=429)
        waiting = self.queue("later")
        self.say("other", OTHER, status=200)
        self.assert_order("a", "other")
        self.hang_up(waiting)

    def test_past_the_deadline_it_goes_back_at_once(self):
        for headers in ([], [("X-Andiron-Timeout", "15s")], [("X-Stainless-Timeout", "15")]):
            with self.subTest(headers):
                self.pace(refusal(429, ("Retry-After", "30")), profile={"total_timeout": "20s"})
                answer = self.say("a", headers=headers, status=429)
                self.assertEqual(answer.all("Retry-After"), ["30"])
                self.assertEqual(answer.all("x-should-retry"), ["false"])
                self.assert_order("a")

    def test_a_pace_past_the_deadline_gives_the_429_at_once(self):
        """A lane of which nothing was measured begins with one send in a second or more."""
        self.pace(refusal(429))
        answer = self.say("a", headers=[("X-Andiron-Timeout", "400ms")], status=429)
        self.assert_seconds(answer)
        self.assertEqual(answer.header("X-Andiron-Source"), "upstream")
        self.assertEqual(answer.json()["error"]["message"], "429")
        self.assert_order("a")

    def test_so_does_one_that_waits_when_the_lane_closes(self):
        gate = threading.Event()
        self.pace(a=[held(gate, refusal(429, LONG))], up={"max_in_flight": "1"},
                  profile={"pool_timeout": "10m"})
        first = self.queue("a")
        late = self.queue("late", headers=[("X-Andiron-Timeout", "45s")])
        gate.set()
        answer = self.whole(late)
        self.assertIn(answer.status, (429, 503))
        self.assert_seconds(answer)
        self.assert_order("a")
        self.hang_up(first)

    def test_a_newcomer_whose_turn_would_be_too_late_goes_back_at_once(self):
        self.pace()
        waiting = self.close_lane()
        answer = self.say("late", headers=[("X-Andiron-Timeout", "10s")])
        self.assertIn(answer.status, (429, 503))
        self.assert_seconds(answer)
        self.assert_order("closer")
        self.assertEqual(self.settle()["phase"], "pool")
        self.hang_up(waiting)


class Throttle:
    """A script: an upstream that lets so many requests through in a second, and says no more."""

    def __init__(self, rate, burst):
        self.rate, self.burst = rate, burst
        self.lock = threading.Lock()
        self.tokens, self.filled = burst, None
        self.let = self.refused = 0

    def __call__(self, request):
        with self.lock:
            since = request.at - (self.filled or request.at)
            self.filled = max(request.at, self.filled or 0)
            self.tokens = min(self.burst, self.tokens + max(0, since) * self.rate)
            if self.tokens < 1:
                self.refused += 1
                return refusal(429)
            self.tokens -= 1
            self.let += 1
            return OK


class ManyClients(PacingTest):
    CLIENTS, TOTAL = 64, 800

    def run_client(self, counts, number):
        client = Client(self.andiron.address, bound=BOUND * 3)
        body = body_of("n")
        while sum(counts) < self.TOTAL:
            answer = client.request("POST", COMPLETIONS, [JSON], body)
            if answer.status != 200:
                self.failures.append(repr(answer))
                break
            counts[number] += 1
        client.fin()

    def test_they_share_what_the_upstream_gives(self):
        throttle = Throttle(rate=80, burst=60)
        self.start(throttle, {"pacing": None}, server={"workers": "4"})
        counts, self.failures = [0] * self.CLIENTS, []
        threads = [threading.Thread(target=self.run_client, args=(counts, number), daemon=True)
                   for number in range(self.CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(BOUND * 4)
        self.assertFalse(any(thread.is_alive() for thread in threads), counts)
        self.assertEqual(self.failures, [])
        done = sum(counts)
        said = f"{done} done, {throttle.refused} refused, {counts}"
        self.assertGreaterEqual(done, self.TOTAL)
        self.assertGreater(throttle.refused, 0, said)
        self.assertEqual(len(self.upstream.requests), throttle.let + throttle.refused)
        self.assertLessEqual(len(self.upstream.requests) / done, 1.5, said)
        jain = done * done / (self.CLIENTS * sum(count * count for count in counts))
        self.assertGreaterEqual(jain, 0.9, said)


if __name__ == "__main__":
    main()
