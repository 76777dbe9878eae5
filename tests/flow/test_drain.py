"""SIGTERM: what runs is finished, nothing new begins (CONTRACT 1, Signals, and 3, Drain)."""

import contextlib
import os
import resource
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import BOUND, CHAT, COMPLETIONS, FlowTest, main
from tracing import let_go, stop_thread
from upstream import JSON, hold, reply, sse, wait

ONE = b'data: {"choices":[{"delta":{"content":"one"}}]}\n\n'
TWO = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
OK = reply(200, b'{"ok":true}', [JSON])


class Drain(FlowTest):
    def drain(self):
        """SIGTERM; waits until connections are refused."""
        self.andiron.signal()
        self.wait_refused()

    def finish(self, code=0):
        self.assertEqual(self.andiron.wait_exit(), code, self.andiron.stderr())

    def test_an_idle_daemon_ends(self):
        self.launch([OK])
        self.assert_status(self.post(), 200)
        self.andiron.signal()
        self.finish()

    def test_sigint_is_the_same(self):
        self.launch([OK])
        self.andiron.signal(signal.SIGINT)
        self.finish()

    def test_idle_connections_end(self):
        self.launch([OK])
        fresh, used = self.connect(), self.connect()
        self.assert_status(used.request("GET", "/v1/models"), 200)
        self.andiron.signal()
        self.assertEqual(used.read_end(), (b"", "cut"))
        self.assertEqual(fresh.read_end(), (b"", "cut"))
        self.finish()

    def test_who_comes_during_a_drain_is_bound_by_it(self):
        """A pause that would end after the drain is not begun: the answer is there while others still run."""
        gate = threading.Event()

        def script(request):
            return sse(ONE, gate, TWO, DONE) if b"stream" in request.body else reply(503, b"{}", [JSON])
        pause = f"{int(BOUND * 2)}s"
        self.launch(script, {"server": {"drain_timeout": f"{int(BOUND)}s"},
                             "profile.default": {"backoff_base": pause, "backoff_cap": pause, "jitter": "none"}})
        stream = self.start_stream().read_head()
        stream.read_until(ONE)
        late = self.connect()
        self.assert_status(self.request("GET", "/v1/models/", headers=[("X-Andiron-Max-Attempts", "1")]), 503)
        self.andiron.signal()
        self.wait_event(event="state", state="drain")
        self.assert_status(late.request("POST", COMPLETIONS, [], CHAT), 503)
        gate.set()
        self.assert_end(stream)
        self.finish()

    def test_who_comes_after_the_cut_is_answered(self):
        """drain_timeout may be shorter than the second in which connections may still bring a request."""
        self.launch([sse(ONE, threading.Event())], {"server": {"drain_timeout": "300ms"}})
        stream = self.start_stream().read_head()
        stream.read_until(ONE)
        late = self.connect()
        self.andiron.signal()
        stream.read_until(b"event: error")
        self.assert_status(late.request("POST", COMPLETIONS, [], CHAT), 503)
        self.assert_seen(1)
        self.finish()

    def test_a_connection_that_was_just_opened_brings_its_request(self):
        self.launch([OK, OK])
        client = self.connect()
        self.assert_status(self.post(), 200)    # so that the other one is accepted, too
        self.andiron.signal()
        self.wait_event(event="state", state="drain")
        answer = client.request("POST", COMPLETIONS, [], CHAT)
        self.assert_status(answer, 200)
        self.assertEqual(answer.header("Connection"), "close")
        self.finish()

    def test_a_running_stream_ends_well(self):
        gate = threading.Event()
        self.launch([sse(ONE, gate, TWO, DONE)])
        answer = self.start_stream().read_head()
        answer.read_until(ONE)
        self.drain()
        gate.set()
        self.assert_end(answer)
        self.assertEqual(answer.body, ONE + TWO + DONE)
        self.finish()

    def test_a_waiting_request_gets_its_answer_and_the_connection_ends(self):
        gate = threading.Event()
        self.launch([[wait(gate)] + OK])
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [], CHAT)
        self.upstream.wait_requests(1)
        self.drain()
        gate.set()
        answer = client.read_head()
        self.assert_status(answer, 200)
        self.assertEqual(answer.body, b'{"ok":true}')
        self.assertEqual((answer.header("Connection") or "").lower(), "close")
        self.assertEqual(client.read_end(), (b"", "cut"))
        self.finish()

    def test_a_running_request_is_still_retried(self):
        gate = threading.Event()
        self.launch([[wait(gate)] + reply(503), OK])
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [], CHAT)
        self.upstream.wait_requests(1)
        self.drain()
        gate.set()
        self.assert_status(client.read_head(), 200)
        self.finish()

    def test_drain_timeout_cuts_what_is_left(self):
        self.launch([sse(ONE, hold())], {"server": {"drain_timeout": "300ms"}})
        answer = self.start_stream().read_head()
        answer.read_until(ONE)
        self.andiron.signal()
        body = answer.body
        self.assertIn(answer.end, ("cut", "reset"))
        self.assertNotIn(b"[DONE]", body)
        self.assertIn(b"event: error\n", body)
        self.finish()
        self.assertIsNotNone(self.upstream.connections[0].wait_end())

    def test_a_second_signal_ends_it_at_once(self):
        self.launch([sse(ONE, hold())], {"server": {"drain_timeout": "10m"}},
                    env={"TSAN_OPTIONS": "report_thread_leaks=0"})  # at once means: not joined
        answer = self.start_stream().read_head()
        answer.read_until(ONE)
        self.drain()
        self.andiron.expected = None
        self.andiron.signal()
        self.andiron.wait_exit(BOUND)


class DrainTest(FlowTest):
    def assert_last(self, client):
        answer = client.read_head()
        self.assert_status(answer, 200)
        self.assertEqual(answer.body, b'{"ok":true}')
        self.assertEqual(answer.header("Connection"), "close")
        self.assertEqual(client.read_end(), (b"", "cut"))


class OnTheirWay(DrainTest):
    """What has reached the kernel before a connection or a listener closes is answered."""

    def stop_workers(self, count):
        threads = [stop_thread(self.andiron.pid, f"worker {i}") for i in range(count)]

        def go_on():
            while threads:
                let_go(threads.pop())
        self.addCleanup(go_on)
        return go_on

    @contextlib.contextmanager
    def unseen_drain(self, workers=1):
        """The main thread is through with its part: it serves the admin listener again. The workers have not begun."""
        go_on = self.stop_workers(workers)
        self.andiron.signal()
        self.wait_event(event="state", state="drain")
        self.assert_status(self.ask_admin("/readyz"), 503)
        yield
        go_on()

    def send(self, client):
        client.send_request("POST", COMPLETIONS, [], CHAT)

    def test_connections_that_wait_to_be_accepted(self):
        for workers in (1, 3):
            with self.subTest(workers=workers):
                self.launch_admin(lambda _: OK, {"server": {"workers": str(workers)}})
                with self.unseen_drain(workers):
                    clients = [self.connect() for _ in range(50)]
                    for client in clients:
                        self.send(client)
                for client in clients:
                    self.assert_last(client)
                self.assertEqual(self.andiron.wait_exit(), 0)

    def test_connections_that_wait_while_the_process_is_stopped(self):
        self.launch(lambda _: OK)
        self.andiron.signal(signal.SIGSTOP)
        clients = [self.connect() for _ in range(50)]
        for client in clients:
            self.send(client)
        self.andiron.signal()
        self.andiron.signal(signal.SIGCONT)
        for client in clients:
            self.assert_status(client.read_head(), 200)

    def test_connections_that_wait_for_descriptors(self):
        """Accepting pauses: it goes on when there are some, and if there are none nothing hangs."""
        for come in (True, False):
            with self.subTest(come=come):
                gate = threading.Event()
                self.launch(lambda _: [wait(gate)] + OK,
                            {"server": {"workers": "1", "drain_timeout": "10m"}})
                running, kept = self.connect(), self.connect()
                self.send(running)
                self.upstream.wait_requests(1)
                self.assert_status(kept.request("GET", "/nowhere"), 404)
                before = resource.prlimit(self.andiron.pid, resource.RLIMIT_NOFILE)
                resource.prlimit(self.andiron.pid, resource.RLIMIT_NOFILE, (3, before[1]))
                clients = [self.connect() for _ in range(20)]
                for client in clients:
                    self.send(client)
                self.assert_status(kept.request("GET", "/nowhere"), 404)    # it has had its turn
                kept.fin()
                if come:
                    resource.prlimit(self.andiron.pid, resource.RLIMIT_NOFILE, before)
                self.andiron.signal()
                self.wait_event(event="state", state="drain")
                gate.set()
                self.assert_last(running)
                for client in clients:
                    if come:
                        self.assert_status(client.read_head(), 200)
                    else:
                        self.assertEqual(client.read_end()[0], b"")
                resource.prlimit(self.andiron.pid, resource.RLIMIT_NOFILE, before)
                self.assertEqual(self.andiron.wait_exit(), 0)

    def connect_kept(self):
        client = self.connect()
        self.assert_status(client.request("GET", "/v1/models"), 200)
        return client

    def connect_idle(self, count):
        """Kept, and idle for longer than a drain waits for their next request. (Too short a rest makes a test weaker, never
        wrong.)"""
        self.launch_admin(lambda _: OK, {"server": {"workers": "1"}})
        clients = [self.connect_kept() for _ in range(count)]
        time.sleep(1.2)
        return clients

    def test_a_request_on_an_idle_connection(self):
        """It is there when the worker begins to drain."""
        clients = self.connect_idle(50)
        with self.unseen_drain():
            for client in clients:
                self.send(client)
        for client in clients:
            self.assert_last(client)
        self.assertEqual(self.andiron.wait_exit(), 0)

    def test_a_part_of_a_request_on_an_idle_connection(self):
        client, silent = self.connect_idle(2)
        with self.unseen_drain():
            client.send(b"POST /v1/chat/completions HTTP/1.1\r\n")
        self.assertEqual(silent.read_end(), (b"", "cut"))
        client.send(b"Host: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(CHAT), CHAT))
        self.assert_last(client)

    def test_what_is_no_request_holds_nothing_up(self):
        (client,) = self.connect_idle(1)
        with self.unseen_drain():
            client.send(b"\r\n")
        self.assertEqual(client.read_end(), (b"", "cut"))
        self.assertEqual(self.andiron.wait_exit(), 0)

    def test_a_request_on_an_idle_connection_while_the_process_is_stopped(self):
        self.launch(lambda _: OK)
        client = self.connect_kept()
        self.andiron.signal(signal.SIGSTOP)
        self.send(client)
        self.andiron.signal()
        self.andiron.signal(signal.SIGCONT)
        self.assert_status(client.read_head(), 200)

    def test_a_request_when_the_time_of_an_idle_connection_is_over(self):
        self.launch(lambda _: OK, {"server": {"idle_timeout": "1s", "workers": "1"}})
        client, silent = self.connect_kept(), self.connect_kept()
        go_on = self.stop_workers(1)
        self.send(client)
        time.sleep(1.7)         # it is over, and that is looked at; too short: see above
        go_on()
        self.assert_status(client.read_head(), 200)
        self.assertEqual(silent.read_end(), (b"", "cut"))

    def test_a_request_when_an_idle_connection_gives_up_its_place(self):
        self.launch_admin(lambda _: OK, {"server": {"max_connections": "2", "workers": "1"}})
        client, silent = self.connect_kept(), self.connect_kept()
        time.sleep(5.2)         # idle enough to be closed for another; too short: see above
        go_on = self.stop_workers(1)
        other = self.connect()
        self.send(other)
        self.send(client)
        go_on()
        self.assert_status(client.read_head(), 200)
        self.assert_status(other.read_head(), 200)
        self.assertEqual(silent.read_end(), (b"", "cut"))


class Next(DrainTest):
    """Answers that began before the drain said that their connection is kept."""

    def drain(self):
        self.andiron.signal()
        self.wait_event(event="state", state="drain")
        self.wait_refused()

    def begin(self, count=1):
        gate = threading.Event()
        self.launch(lambda request: sse(ONE, gate, TWO, DONE) if b"stream" in request.body else OK)
        clients = [self.start_stream() for _ in range(count)]
        answers = [client.read_head() for client in clients]
        for answer in answers:
            answer.read_until(ONE)
        self.drain()
        return gate, clients, answers

    def test_the_next_request_comes_after_the_end(self):
        gate, clients, answers = self.begin(10)
        gate.set()
        for client, answer in zip(clients, answers):
            self.assert_end(answer)
            self.assertEqual(answer.body, ONE + TWO + DONE)
            client.send_request("POST", COMPLETIONS, [], CHAT)
            self.assert_last(client)
        self.assertEqual(self.andiron.wait_exit(), 0)

    def test_the_next_request_comes_before_the_end(self):
        gate, (client,), (answer,) = self.begin()
        client.send_request("POST", COMPLETIONS, [], CHAT)
        gate.set()
        self.assert_end(answer)
        self.assert_last(client)
        self.assertEqual(self.andiron.wait_exit(), 0)

    def test_no_next_request_comes(self):
        gate, (client,), (answer,) = self.begin()
        gate.set()
        self.assert_end(answer)
        self.assertEqual(client.read_end(), (b"", "cut"))
        self.assertEqual(self.andiron.wait_exit(), 0)

    def test_a_connection_that_was_just_used(self):
        self.launch(lambda _: OK)
        client = self.connect()
        self.assert_status(client.request("GET", "/v1/models"), 200)
        self.drain()
        client.send_request("GET", "/v1/models")
        self.assert_last(client)


if __name__ == "__main__":
    main()
