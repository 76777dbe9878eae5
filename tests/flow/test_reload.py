"""SIGHUP: a whole new configuration, or none; no connection and no request is lost (CONTRACT 1, 2)."""

import os
import resource
import signal
import socket
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from client import Client
from harness import BOUND, CHAT, COMPLETIONS, FlowTest, merge, main
from streams import DONE, FINISH as TWO, ONE
from upgrades import links_of, listening, open_text
from upstream import JSON, reply, sse, wait

OK = reply(200, b'{"ok":true}', [JSON])


class Reload(FlowTest):
    def reload(self, config=None, url=None, state="reload"):
        """Another file, SIGHUP; waits until it is in force, or refused."""
        count = len(self.andiron.find_events(event="state", state=state))
        self.write_config(config, url)
        self.andiron.signal(signal.SIGHUP)
        return self.wait_event(event="state", state=state, count=count + 1)

    def start(self, script=(), config=None, **more):
        return self.launch(script, merge({"server": {"admin": "127.0.0.1:0"}}, config), **more)

    def same(self, config=None):
        return merge({"server": {"admin": "127.0.0.1:0"}}, config)

    def test_a_reload_without_descriptors_takes_no_listener_away(self):
        """They are gone when the configuration has been read, and come back: everybody still listens."""
        self.start(config={"server": {"workers": "4"}}, upstream=self.scripted([OK], tls=None))
        socket_of = f"socket:[{listening(self.andiron.address)}]"
        before = links_of(self.andiron.pid).count(socket_of)
        path = os.path.join(self.folder, "andiron.ini")
        text = open_text(path)
        os.unlink(path)
        os.mkfifo(path)
        self.andiron.signal(signal.SIGHUP)
        with open(path, "w") as gate:
            limits = resource.prlimit(self.andiron.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(self.andiron.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
            gate.write(text)
        self.wait_event(event="state", state="reload")
        resource.prlimit(self.andiron.pid, resource.RLIMIT_NOFILE, limits)
        self.assertEqual(links_of(self.andiron.pid).count(socket_of), before)

    # what a new configuration changes

    def test_limits_of_a_profile(self):
        self.start([reply(503, b"{}", [JSON])] * 2 + [OK] * 3,
                   {"profile.default": {"max_attempts": "1"}})
        self.assert_status(self.post(), 503)
        self.reload(self.same({"profile.default": {"max_attempts": "2"}}))
        answer = self.post()
        self.assert_status(answer, 200)
        self.assert_attempts(answer, 2)

    def test_the_upstream_and_what_runs_at_the_old_one(self):
        gate = threading.Event()
        self.start([sse(ONE, gate, TWO, DONE)])
        old = self.upstream
        answer = self.start_stream().read_head()
        answer.read_until(ONE)
        new = self.scripted([OK])
        self.reload(self.same(), url=new.url)
        self.assert_status(self.post(), 200)
        self.assertEqual(len(new.requests), 1)
        gate.set()
        self.assert_end(answer)
        self.assertEqual(answer.body, ONE + TWO + DONE)
        self.assertEqual(len(old.requests), 1)
        old.connections[0].wait_end()   # nobody needs it any more

    def test_a_key_is_read_again(self):
        key = self.write("key", "fw_first_key_0123456789", 0o600)
        config = {"upstream.fireworks": {"api_key_file": key}}
        self.start([OK] * 2, config)
        self.assert_status(self.post(), 200)
        self.write("key", "fw_second_key_0123456789", 0o600)
        self.reload(self.same(config))
        self.assert_status(self.post(), 200)
        self.assertEqual([request.header("Authorization") for request in self.upstream.requests],
                         ["Bearer fw_first_key_0123456789", "Bearer fw_second_key_0123456789"])

    def test_the_key_of_the_environment_stays(self):
        self.start([OK] * 2, env={"FIREWORKS_API_KEY": "fw_of_the_environment_01"})
        self.assert_status(self.post(), 200)
        self.reload(self.same())
        self.assert_status(self.post(), 200)
        self.assertEqual({request.header("Authorization") for request in self.upstream.requests},
                         {"Bearer fw_of_the_environment_01"})

    def test_a_client_token(self):
        self.start([OK] * 3)
        self.assert_status(self.post(), 200)
        token = self.write("token", "token-of-the-clients-0123456789", 0o600)
        self.reload(self.same({"server": {"client_token_file": token}}))
        self.assert_status(self.post(), 401)
        self.assert_status(
            self.post(headers=[("X-Andiron-Token", "token-of-the-clients-0123456789")]), 200)

    def test_a_limit_of_bodies_for_new_connections(self):
        self.start([OK] * 3)
        kept = self.connect()
        self.assert_status(kept.request("POST", COMPLETIONS, [], CHAT), 200)
        self.reload(self.same({"server": {"max_body": "1KiB"}}))
        big = b'{"model":"m","x":"' + b"x" * 2000 + b'"}'
        self.assert_status(self.post(body=big), 413)
        self.assert_status(kept.request("POST", COMPLETIONS, [], CHAT), 200)

    def test_places_for_those_that_wait(self):
        gates = [threading.Event(), threading.Event()]
        self.start([[wait(gate)] + OK for gate in gates],
                   {"upstream.fireworks": {"max_in_flight": "1"}})
        first, second = self.connect(), self.connect()
        first.send_request("POST", COMPLETIONS, [], CHAT)
        self.upstream.wait_requests(1)
        second.send_request("POST", COMPLETIONS, [], CHAT)
        self.reload(self.same({"upstream.fireworks": {"max_in_flight": "2"}}))
        self.upstream.wait_requests(2)
        for gate in gates:
            gate.set()
        for client in (first, second):
            self.assert_status(client.read_head(), 200)

    def test_a_closed_lane_stays_closed_and_one_of_another_key_is_new(self):
        pacing = {"upstream.fireworks": {"pacing": "on"}}
        key = self.write("key", "fw_first_key_0123456789", 0o600)
        pacing["upstream.fireworks"]["api_key_file"] = key
        slow = reply(429, b"{}", [JSON, ("Retry-After", "50")])
        once = [("X-Andiron-Timeout", "20s")]
        self.start([slow, OK], pacing)
        self.assert_status(self.post(headers=once), 429)
        self.reload(self.same(pacing))
        self.assert_status(self.post(headers=once), 503)    # not before 50 s
        self.write("key", "fw_second_key_0123456789", 0o600)
        self.reload(self.same(pacing))
        self.assert_status(self.post(headers=once), 200)

    # listeners and workers

    def test_a_new_address(self):
        self.start([OK] * 3)
        kept = self.connect()
        self.assert_status(kept.request("GET", "/v1/models"), 200)
        path = os.path.join(self.folder, "socket")
        self.reload(self.same({"server": {"listen": f"127.0.0.1:0 unix:{path}"}}))
        other = Client(path, bound=BOUND)
        self.addCleanup(other.fin)
        self.assert_status(other.request("GET", "/v1/models"), 200)
        self.assert_status(kept.request("GET", "/v1/models"), 200)

    def test_an_address_that_goes(self):
        path = os.path.join(self.folder, "socket")
        self.start([OK] * 4, {"server": {"listen": f"127.0.0.1:0 unix:{path}"}})
        kept = Client(path, bound=BOUND)
        self.addCleanup(kept.fin)
        self.assert_status(kept.request("GET", "/v1/models"), 200)
        self.reload(self.same({"server": {"listen": "127.0.0.1:0"}}))
        self.assertFalse(os.path.exists(path))
        self.assert_status(self.post(), 200)
        self.assert_status(kept.request("GET", "/v1/models"), 200)

    def test_more_workers_and_fewer(self):
        self.start(lambda _: OK, {"server": {"workers": "1"}})
        clients = []
        for workers in ("3", "1", "2", "1"):
            clients += [self.connect() for _ in range(4)]
            for client in list(clients):
                answer = client.request("GET", "/v1/models")
                self.assert_status(answer, 200)
                if answer.header("Connection") == "close":
                    clients.remove(client)
            self.reload(self.same({"server": {"workers": workers}}))
        self.assert_status(self.post(), 200)

    def test_a_stream_of_a_worker_that_goes(self):
        gate = threading.Event()
        self.start([sse(ONE, gate, TWO, DONE)] * 6 + [OK], {"server": {"workers": "3"}})
        answers = []
        for _ in range(6):
            answer = self.start_stream().read_head()
            answer.read_until(ONE)
            answers.append(answer)
        self.reload(self.same({"server": {"workers": "1"}}))
        gate.set()
        for answer in answers:
            self.assert_end(answer)
            self.assertEqual(answer.body, ONE + TWO + DONE)
        self.assert_status(self.post(), 200)

    def test_the_admin_listener_tells_of_the_new_one(self):
        self.launch_admin([OK] * 3)
        self.assert_status(self.post(), 200)
        other = {"server": {"admin": "127.0.0.1:0"},
                 "upstream.second": {"url": "http://127.0.0.1:9"}}
        self.reload(other)
        names = [each["name"] for each in self.ask_admin("/status").json()["upstreams"]]
        self.assertEqual(names, ["fireworks", "second"])
        self.assertIn('andiron_attempts_total{upstream="fireworks",code="200"} 1',
                      self.ask_admin("/metrics").body.decode())

    def test_the_admin_listener_goes_and_comes(self):
        self.launch_admin([OK])
        self.reload({"server": {"admin": "off"}})
        with self.assertRaises(ConnectionRefusedError):
            Client(self.admin_address)
        self.reload({"server": {"admin": f"127.0.0.1:{self.admin_address[1]}"}})
        self.assert_status(self.ask_admin("/healthz"), 200)

    # all or nothing

    def refused(self, *says, **more):
        event = self.reload(state="reload_failed", **more)
        self.assertIn("stays as it was", event["detail"])
        for pattern in says:
            self.andiron.wait_line(pattern)
        self.assert_status(self.post(), 200)

    def test_a_mistake(self):
        self.start([OK] * 2)
        self.refused(r"andiron.ini:[0-9]+: .*max_attempts",
                     config=self.same({"profile.default": {"max_attempts": "none"}}))
        self.refused(r"andiron.ini:[0-9]+: .*no key",
                     config=self.same({"server": {"nonsense": "1"}}))

    def test_an_address_in_use(self):
        self.start([OK] * 2)
        other = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(other.close)
        taken = other.getsockname()[1]
        path = os.path.join(self.folder, "socket")
        self.refused(f"cannot listen on 127.0.0.1:{taken}", config=self.same(
            {"server": {"listen": f"127.0.0.1:0 unix:{path} 127.0.0.1:{taken}"}}))
        self.assertFalse(os.path.exists(path))      # it was opened before the mistake
        self.refused(f"cannot listen on 127.0.0.1:{taken} .admin", config=self.same(
            {"server": {"admin": f"127.0.0.1:{taken}"}}))

    def test_certificates_that_cannot_be_read(self):
        self.start([OK])
        empty = self.write("empty.pem", "")
        self.refused("upstream fireworks|ca_file",
                     config=self.same({"upstream.fireworks": {"ca_file": empty}}))

    def test_a_key_that_others_can_read(self):
        key = self.write("key", "fw_first_key_0123456789", 0o600)
        config = {"upstream.fireworks": {"api_key_file": key}}
        self.start([OK], config)
        os.chmod(key, 0o644)
        self.refused("key", config=self.same(config))

    def test_while_it_drains(self):
        gate = threading.Event()
        self.start([[wait(gate)] + OK])
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [], CHAT)
        self.upstream.wait_requests(1)
        self.andiron.signal()
        self.wait_event(event="state", state="drain")
        self.andiron.signal(signal.SIGHUP)
        gate.set()
        self.assert_status(client.read_head(), 200)
        self.assertEqual(self.andiron.wait_exit(), 0)
        self.assertEqual(self.andiron.find_events(event="state", state="reload"), [])

    # under load

    def test_many_of_them_while_streams_run(self):
        self.start(lambda _: sse(ONE, TWO, DONE), {"server": {"workers": "2"}})
        ending, wrong, count = threading.Event(), [], [0] * 16

        def stream(i):
            while not ending.is_set():
                client = Client(self.andiron.address, bound=BOUND)
                try:
                    client.send_request("POST", COMPLETIONS, [], CHAT.replace(
                        b'"messages"', b'"stream":true,"messages"'))
                    answer = client.read_head()
                    if (answer.status, answer.body) != (200, ONE + TWO + DONE):
                        wrong.append((answer.status, answer.body))
                    count[i] += 1
                except Exception as problem:    # every kind is one too many
                    wrong.append(problem)
                finally:
                    client.fin()

        threads = [threading.Thread(target=stream, args=(i,)) for i in range(16)]
        for thread in threads:
            thread.start()
        for i in range(30):
            workers, path = str(1 + i % 3), os.path.join(self.folder, f"socket-{i}")
            self.reload(self.same({"server": {"workers": workers,
                                              "listen": f"127.0.0.1:0 unix:{path}"}}))
        ending.set()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        self.assertGreater(min(count), 0)


if __name__ == "__main__":
    main()
