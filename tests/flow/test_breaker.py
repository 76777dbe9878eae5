"""A run of failures pauses the sends; then one request at a time probes (CONTRACT 3, Overload)."""

import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from certs import authority
from client import Client
from harness import main
from overload import (MODEL, ONCE, OK, OTHER, Crowd, OverloadTest, Pile, held, name_of,
                      refusal)
from streams import COMMENT, DONE, FINISH, ONE
from upstream import JSON, Upstream, fin, handshake, hold, reply, rst, sse, wait

CLOSE = ("Connection", "close")     # else the next request may go out on what ends just then
LABEL = r"^%s [0-9a-f]{8}\b" % MODEL
SCALING = refusal(503, code="DEPLOYMENT_SCALING_UP")


class BreakerTest(OverloadTest):
    def breaking(self, script=OK, profile=None, up=None, **more):
        return self.start(script, {"breaker": None, **(up or {})}, profile, **more)

    def fail(self, name, status=503, headers=(), **more):
        """One request, one send, one failure."""
        return self.say(name, headers=[*ONCE, *headers], status=status, **more)

    def broken(self, *answers, profile=None, up=None, server=None, **named):
        """A lane that three requests have closed; what comes after gets the answers."""
        self.pile = Pile(*[refusal(503, ("Connection", "close"))] * 3, *answers, **named)
        self.breaking(self.pile, profile, up, server=server)
        for name in "xyz":
            self.fail(name)
        self.wait_state("lane_closed")
        self.upstream.lock.acquire()
        del self.upstream.requests[:]
        self.upstream.lock.release()
        return self.pile


class Gatekeeper(Upstream):
    """An upstream whose way to begin a connection can be changed."""

    opens_with = [handshake]

    @classmethod
    def of(cls, test, script=()):
        upstream = cls(script, authority().server)
        test.addCleanup(upstream.close)
        return upstream

    def opening(self, _):
        return self.opens_with


class TheRow(BreakerTest):
    def test_three_in_a_row_close_the_lane(self):
        for statuses in ((503, 503, 503), (500, 502, 504)):
            with self.subTest(statuses):
                self.breaking(Pile(*map(refusal, statuses)))
                for status in statuses:
                    self.assert_no_state("lane_closed")
                    self.fail("x", status)
                self.assertRegex(self.wait_state("lane_closed")["detail"], LABEL)

    def test_another_lane_goes_on(self):
        gate = threading.Event()
        self.broken(waits=[held(gate)])
        waiting = [self.ask("waits"), self.ask("behind")]
        self.wait_sends("waits")
        self.say("model", OTHER, status=200)
        self.say("key", headers=[("Authorization", "Bearer fw_another")], status=200)
        self.assert_order("waits", "model", "key")
        gate.set()
        for client in waiting:
            self.whole(client, 200)

    def test_one_request_alone_never_closes_it(self):
        self.breaking(Pile(then=refusal(503)))
        self.assert_attempts(self.say("a", status=503), 5)
        self.settle()
        self.assert_no_state("lane_closed")
        self.fail("b")
        self.wait_state("lane_closed")

    def test_a_success_begins_it_anew(self):
        self.breaking(Pile(*[refusal(503)] * 2, OK, *[refusal(503)] * 3))
        for name in "ab":
            self.fail(name)
        self.say("c", status=200)
        for name in "de":
            self.fail(name)
        self.settle(count=5)
        self.assert_no_state("lane_closed")
        self.fail("f")
        self.wait_state("lane_closed")

    def test_a_stream_that_begins_with_an_error_counts(self):
        event = b'data: {"error":{"message":"m","code":"SERVICE_UNAVAILABLE"}}\n\n'
        self.breaking(Pile(then=sse(event)))
        for name in "abc":
            self.assert_no_state("lane_closed")
            self.fail(name, stream=True)
        self.wait_state("lane_closed")

    def test_what_a_client_has_done_wrong_does_not_count(self):
        self.breaking(Pile(then=refusal(400)))
        for name in "abcd":
            self.fail(name, 400)
        self.settle(count=4)
        self.assert_no_state("lane_closed")

    def test_a_503_never_cuts_the_pace(self):
        answers = [refusal(503, ("retry-after-ms", "20")), refusal(500), refusal(520)]
        self.breaking(Pile(*answers * 2), {"max_attempts": "10"}, {"pacing": None})
        for name in "ab":
            self.say(name, status=200)
        self.settle(count=2)
        self.assert_no_state("pace_cut")

    def test_off_means_plain_retries(self):
        self.start(Pile(then=refusal(503)), {"breaker": "off"})
        for name in "abc":
            self.assert_attempts(self.say(name, status=503), 5)
        self.assert_seen(15)
        self.settle(count=3)
        self.assert_no_state("lane_closed")


class Probes(BreakerTest):
    def test_recovery_serves_all_that_wait(self):
        self.broken()
        waiting = [self.ask(name) for name in "abcdef"]
        for client in waiting:
            self.assert_attempts(self.whole(client, 200), 1)
        self.assertRegex(self.wait_state("lane_open")["detail"], LABEL)
        self.assert_seen(6)

    def test_one_at_a_time(self):
        gate = threading.Event()
        self.broken(held(gate))
        waiting = [self.queue(name) for name in "abcd"]
        self.upstream.wait_requests(1)
        waiting.append(self.queue("e"))
        self.assert_seen(1)
        self.assert_no_state("lane_open")
        gate.set()
        for client in waiting:
            self.whole(client, 200)

    def test_one_at_a_time_across_workers(self):
        crowd, gate = Crowd(refusal(503)), threading.Event()
        self.breaking(lambda request: refusal(503) if name_of(request) in "xyz" else crowd(request),
                      {"max_attempts": "20"}, server={"workers": "4"})
        for name in "xyz":
            self.fail(name)
        self.wait_state("lane_closed")
        waiting = [self.ask(f"n{number}") for number in range(16)]
        self.upstream.wait_requests(3 + 2)
        self.assertEqual(crowd.most, 1)
        with crowd.lock:
            crowd.answer, crowd.before = OK, wait(gate)
        self.upstream.wait_requests(3 + 3)
        self.assertEqual(crowd.most, 1)
        gate.set()
        for client in waiting:
            self.whole(client, 200)

    def test_who_has_little_time_waits_for_it_too(self):
        """It may succeed any moment."""
        gate = threading.Event()
        self.broken(held(gate))
        probe = self.queue("probe")
        self.upstream.wait_requests(1)
        hasty = self.queue("hasty", headers=[("X-Andiron-Timeout", "4s")])
        gate.set()
        for client in (probe, hasty):
            self.whole(client, 200)

    def test_each_time_another_one_and_at_no_cost(self):
        """Two attempts each, and two probes that fail."""
        self.broken(*[refusal(503)] * 2, profile={"max_attempts": "2"})
        waiting = [self.queue(name) for name in "ab"]
        for client in waiting:
            self.whole(client, 200)
        self.assertEqual(sorted(self.order()[:2]), ["a", "b"])
        self.assertEqual(sorted(self.order()), list("aabb"))

    def test_the_attempts_of_one_that_probes_are_left(self):
        """Two attempts: beside the probe that fails there is one that counts, and its repeat."""
        self.broken(a=[refusal(503)] * 2, b=[OK], profile={"max_attempts": "2"})
        first, second = self.queue("a"), self.queue("b")
        self.whole(second, 200)
        self.whole(first, 200)
        self.assert_order("a", "b", "a", "a")

    def test_no_request_sends_more_than_twice_max_attempts(self):
        self.breaking(Pile(then=refusal(503)), {"max_attempts": "2"})
        for name in "xy":
            self.fail(name)
        answer = self.say("a", status=503)
        self.wait_state("lane_closed")
        self.assertEqual(answer.header("X-Andiron-Source"), "upstream")
        self.assertEqual(answer.all("x-should-retry"), ["false"])
        self.assert_order(*"xyaaaa")

    def test_one_send_is_no_probe_while_others_wait(self):
        self.broken(refusal(503), refusal(503))
        once = self.queue("once", headers=ONCE)
        waiting = [self.queue(name) for name in "ab"]
        for client in (once, *waiting):
            self.whole(client, 200)
        self.assertEqual(sorted(self.order()[:2]), ["a", "b"])
        self.assertEqual(len(self.sends("once")), 1)

    def test_one_send_alone_gets_its_answer(self):
        self.broken(refusal(503))
        self.assert_attempts(self.say("once", headers=ONCE, status=503), 1)
        self.assert_order("once")

    def test_a_client_that_leaves_frees_its_probe(self):
        for leave in (Client.fin, Client.rst, Client.half_close):
            with self.subTest(leave.__name__):
                self.broken(held())     # a probe without an end is left alone after 5 s
                soon = [("X-Andiron-Timeout", "4s")]
                clients = {name: self.queue(name, headers=soon) for name in "ab"}
                probe, = self.upstream.wait_requests(1)
                leave(clients.pop(name_of(probe)))
                (name, other), = clients.items()
                self.whole(other, 200)
                self.assert_order(name_of(probe), name)
                self.connection_of(probe).wait_end()

    def test_a_stream_waits_and_probes_like_any_other(self):
        self.broken(refusal(503), sse(ONE, FINISH, DONE))
        self.assert_whole(self.say("a", stream=True), ONE + FINISH + DONE)
        self.wait_state("lane_open")


    def test_a_probe_of_which_nothing_comes_has_failed(self):
        for nothing in ([rst], [fin]):
            with self.subTest(nothing):
                self.broken(nothing)
                waiting = [self.queue(name) for name in "ab"]
                for client in waiting:
                    self.whole(client, 200)
                self.assertEqual(sorted(self.order()[:2]), ["a", "b"])

    def test_an_answer_of_any_other_kind_opens_it(self):
        """What a client has done wrong is a sign of life, and a 429 is the pace's."""
        self.broken(refusal(404))
        waiting = [self.queue(name) for name in "ab"]
        self.assertEqual(sorted(self.whole(client).status for client in waiting), [200, 404])
        self.wait_state("lane_open")
        self.broken(refusal(429, ("Retry-After", "50")), up={"pacing": None})
        waiting = self.ask("a")
        self.wait_state("lane_open")
        self.wait_state("pace_cut")
        self.hang_up(waiting)

    def test_a_probe_s_retry_after_holds_for_it(self):
        self.broken(refusal(503, ("retry-after-ms", "1200")))
        answer = self.say("a", status=200)
        first, second = self.sends("a")
        self.assertGreaterEqual(second.at - first.at, 1.2)
        self.assert_attempts(answer, 2)

    def test_a_stream_that_waits_for_a_probe_is_told_so(self):
        gate = threading.Event()
        self.broken(held(gate), stream=[sse(ONE, FINISH, DONE)])
        probe = self.queue("probe")
        self.upstream.wait_requests(1)
        answer = self.ask("stream", stream=True,
                          headers=[("X-Stainless-Read-Timeout", "0.9")]).read_head()
        answer.read_until(b"\n\n")
        self.assertRegex(bytes(answer.got), COMMENT)
        self.assert_order("probe")
        gate.set()
        self.whole(probe, 200)
        self.assertEqual(COMMENT.sub(b"", answer.body), ONE + FINISH + DONE)

    def test_a_drain_ends_the_wait(self):
        self.broken(held(), server={"drain_timeout": "400ms"})
        probe = self.queue("probe")
        self.upstream.wait_requests(1)
        never = self.queue("never")
        self.andiron.signal()
        for client in (never, probe):
            answer = self.whole(client)
            self.assert_error(answer, 503)
            self.assertEqual(answer.all("x-should-retry"), ["true"], repr(answer))
            self.assert_seconds(answer)
        self.assertEqual(self.andiron.wait_exit(), 0)
        self.assert_order("probe")


class OutageWait(BreakerTest):
    LIMIT = {"outage_wait": "700ms"}

    def test_it_ends_with_the_own_last_answer(self):
        last = reply(503, b'{"error":{"message":"mine","code":"M"}}', [JSON])
        self.breaking(Pile(refusal(503), refusal(503), a=[last] * 10), self.LIMIT)
        for name in "xy":
            self.fail(name)
        answer = self.say("a", status=503)
        self.wait_state("lane_closed")
        self.assertEqual(answer.json()["error"]["message"], "mine")
        self.assertEqual(answer.header("X-Andiron-Source"), "upstream")
        self.assertEqual(answer.all("x-should-retry"), ["false"])
        self.assertLess(len(self.sends("a")), 10)

    def assert_not_sent(self, client, words):
        answer = self.whole(client)
        error = self.assert_error(answer, 503)
        self.assertIn(words, error["message"])
        self.assertEqual(answer.all("x-should-retry"), ["false"])
        self.assert_seconds(answer)

    def test_one_that_was_never_sent_gets_the_lane_s_error(self):
        self.broken(held(), profile=self.LIMIT)
        probe = self.queue("probe")
        self.upstream.wait_requests(1)
        never = self.queue("never")
        self.assert_not_sent(never, "503")
        self.assert_order("probe")
        self.hang_up(probe)

    def test_a_deadline_before_it_ends_the_wait(self):
        self.broken(held())
        probe = self.queue("probe")
        self.upstream.wait_requests(1)
        answer = self.say("late", headers=[("X-Andiron-Timeout", "300ms")])
        self.assert_error(answer, 503)
        self.assert_seconds(answer)
        self.assert_order("probe")
        self.hang_up(probe)

    def test_it_does_not_cut_a_probe(self):
        gate = threading.Event()
        self.broken(held(gate), profile=self.LIMIT)
        probe = self.queue("probe")
        self.upstream.wait_requests(1)
        self.whole(self.queue("never"), 503)
        gate.set()
        self.whole(probe, 200)

    def test_of_a_lost_path_too(self):
        upstream = Gatekeeper.of(self)
        self.breaking(upstream=upstream, profile=self.LIMIT)
        upstream.opens_with = [rst]
        for name in "xyz":
            self.fail(name, 502)
        self.wait_state("path_lost")
        upstream.opens_with = [hold()]
        known = len(upstream.connections)
        probe = self.queue("probe")
        upstream.wait_connections(known + 1)
        self.assert_not_sent(self.queue("never", OTHER), "terminated")
        self.hang_up(probe)

    def test_without_any_answer_its_own_failure_decides(self):
        upstream = self.scripted(tls=None, listening=False)
        self.breaking(upstream=upstream, profile=self.LIMIT)
        clients = [self.ask("a"), self.ask("b", OTHER)]
        for client in clients:
            answer = self.whole(client)
            self.assert_error(answer, 502, "connection_refused")
            self.assertEqual(answer.all("x-should-retry"), ["false"])
        self.wait_state("path_lost")


class ThePath(BreakerTest):
    def test_three_failures_to_connect_lose_it_for_all_lanes(self):
        upstream = self.scripted(lambda _: OK, None, listening=False)
        self.breaking(upstream=upstream)
        waiting = [self.ask("a"), self.ask("b", OTHER)]
        self.assertIn("refused", self.wait_state("path_lost")["detail"])
        waiting.append(self.ask("c", "accounts/fireworks/models/third"))
        # one whose attempts are plain ones has long been through with them
        self.wait_event(event="attempt", error="connection_refused", count=5)
        self.assertEqual(self.andiron.find_events(lambda event: event.get("path") != "/nowhere",
                                                  event="request"), [])
        upstream.listen()
        for client in waiting:
            self.whole(client, 200)
        self.wait_state("path_back")
        self.assert_seen(3)

    def test_a_closed_lane_on_a_lost_path(self):
        upstream = Gatekeeper.of(self)
        upstream.script = Pile(*[refusal(503, CLOSE) + [fin]] * 3)
        self.breaking(upstream=upstream)
        for name in "xyz":
            self.fail(name)
        self.wait_state("lane_closed")
        upstream.opens_with = [rst]
        waiting = [self.ask(name, model) for model in (MODEL, OTHER) for name in "ab"]
        self.wait_state("path_lost")
        upstream.opens_with = [handshake]
        for client in waiting:
            self.whole(client, 200)
        self.wait_state("path_back")
        self.wait_state("lane_open")

    def test_one_request_alone_does_not(self):
        self.breaking(upstream=self.scripted(tls=None, listening=False))
        self.assert_error(self.say("a"), 502, "connection_refused")
        self.settle(attempts=5)
        self.assert_no_state("path_lost")

    def test_a_connection_that_is_made_begins_the_row_anew(self):
        upstream = Gatekeeper.of(self, lambda _: refusal(503, CLOSE) + [fin])
        self.breaking(upstream=upstream)
        for name, status in zip("abcde", (502, 502, 503, 502, 502)):
            upstream.opens_with = [rst] if status == 502 else [handshake]
            self.fail(name, status)
        self.settle(count=5)
        self.assert_no_state("path_lost")
        self.fail("f", 502)
        self.wait_state("path_lost")

    def test_a_wrong_certificate_never_does(self):
        self.breaking(upstream=self.scripted(tls="wrong_name"))
        for name in "abcdef":
            answer = self.say(name)
            self.assert_error(answer, 502, "tls_certificate_error")
            self.assert_attempts(answer, 1)
        self.settle(count=6)
        self.assert_no_state("path_lost", "lane_closed")

    def test_off_means_plain_retries(self):
        self.start(upstream=self.scripted(tls=None, listening=False), up={"breaker": "off"})
        for name in "ab":
            answer = self.say(name)
            self.assert_error(answer, 502, "connection_refused")
            self.assert_attempts(answer, 5)
        self.settle(count=2)
        self.assert_no_state("path_lost")


class ScalingUp(BreakerTest):
    def test_it_is_waited_for_and_costs_nothing(self):
        """Three requests at once: two attempts each, of which scaling up takes none."""
        pile = Pile(a=[SCALING, refusal(503)], b=[SCALING], c=[SCALING])
        self.breaking(pile, {"scale_up_wait": "1m", "max_attempts": "2"})
        clients = [self.ask(name) for name in "abc"]
        for client in clients:
            self.whole(client, 200)
        for name, count in zip("abc", (3, 2, 2)):
            sends = self.sends(name)
            self.assertEqual(len(sends), count)
            self.assertGreaterEqual(sends[1].at - sends[0].at, 5)
        self.settle(count=3)
        self.assert_no_state("lane_closed")

    def test_longer_than_it_may_last_it_goes_back_at_once(self):
        self.breaking(Pile(then=SCALING), {"scale_up_wait": "3s"})
        answer = self.say("a", status=503)
        self.assertEqual(answer.json()["error"]["code"], "DEPLOYMENT_SCALING_UP")
        self.assertEqual(answer.all("x-should-retry"), ["false"])
        self.assert_order("a")

    def test_one_send_is_one(self):
        self.breaking(Pile(then=SCALING), {"scale_up_wait": "1m"})
        self.fail("a")
        self.assert_order("a")

    def test_without_scale_up_wait_it_is_an_ordinary_503(self):
        self.breaking(Pile(SCALING, SCALING, then=SCALING), {"max_attempts": "2"})
        self.assert_attempts(self.say("a", status=503), 2)
        self.fail("b")
        self.wait_state("lane_closed")


if __name__ == "__main__":
    main()
