"""What passes between systemd and the daemon, without systemd: a real socket to notify, real descriptors. tests/ops has
the same under a real one. ANDIRON_UNITS is the directory of the built units."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from client import Client
from harness import BINARY, BOUND, ROOT, FlowTest, base_config, main, merge, render, run_andiron
from tracing import let_go, stop_thread
from upgrades import eventually, links_of
from upstream import JSON, hold, reply, sse, wait

UNITS = pathlib.Path(os.environ.get("ANDIRON_UNITS", os.path.join(ROOT, "build", "systemd")))
OK = reply(200, b'{"ok":true}', [JSON])
ONE = b'data: {"choices":[{"delta":{"content":"one"}}]}\n\n'

# Becomes the command behind the dash, with the descriptors of its first argument from 3 on, as systemd passes them.
PASS = r"""
import os, sys
given = [os.dup2(int(fd), 100 + i) for i, fd in enumerate(sys.argv[1].split(","))] if sys.argv[1] else []
for i, fd in enumerate(given):
    os.dup2(fd, 3 + i, inheritable=True)
os.environ["LISTEN_FDS"] = str(len(given))
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDNAMES"] = ":".join(f"name{i}" for i in range(len(given)))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Manager:
    """The end of systemd that hears what a service says."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + path[1:] if path[0] == "@" else path)
        self.socket.settimeout(BOUND)

    def hear(self):
        """The next datagram, as its assignments."""
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().split("\n"))

    def hear_all(self):
        """What has been said and not been heard yet."""
        said = []
        self.socket.settimeout(0)
        try:
            while True:
                said.append(self.hear())
        except BlockingIOError:
            return said
        finally:
            self.socket.settimeout(BOUND)

    def wait(self, **wanted):
        """Waits for a datagram with these assignments, and returns it with those before it."""
        said, deadline = [], time.monotonic() + BOUND
        while True:
            if time.monotonic() > deadline:
                raise AssertionError(f"{wanted} did not come, but {said}")
            said.append(self.hear())
            if wanted.items() <= said[-1].items():
                return said


class SystemdTest(FlowTest):
    def manage(self, path=None):
        path = path or os.path.join(self.folder, "notify")
        self.manager = Manager(path)
        self.addCleanup(self.manager.socket.close)
        return {"NOTIFY_SOCKET": path}


class Notify(SystemdTest):
    def test_ready_and_the_end(self):
        self.launch([OK], env=self.manage())
        self.assertEqual(self.manager.hear(), {"READY": "1", "STATUS": "0 in flight, 0 waiting"})
        self.assert_status(self.post(), 200)
        self.andiron.signal()
        end = self.manager.wait(STOPPING="1")[-1]
        self.assertEqual(end["STATUS"], "draining: 0 in flight, 0 waiting")
        self.assertGreater(int(end["EXTEND_TIMEOUT_USEC"]), 10_000_000)     # drain_timeout, and a little more

    def test_an_abstract_socket(self):
        self.launch([OK], env=self.manage(f"@andiron-flow-{os.getpid()}"))
        self.manager.wait(READY="1")

    def test_ready_means_that_it_answers(self):
        """Nobody waits for a line on stderr."""
        self.launch([OK], env=self.manage(), config={"log": {"level": "info"}})
        self.manager.wait(READY="1")
        self.assert_status(self.post(), 200)

    def test_a_configuration_that_is_wrong_is_never_ready(self):
        env = self.manage()
        path = self.write("wrong.ini", "[server]\nlisten = nowhere\n")
        self.assertEqual(run_andiron("run", "-c", path, env=env).returncode, 78)
        self.assertEqual(self.manager.hear_all(), [])

    def test_how_much_there_is_to_do(self):
        gate = threading.Event()
        self.launch([sse(ONE, gate, b"data: [DONE]\n\n"), OK], {"upstream.fireworks": {"max_in_flight": "1"}},
                    env=self.manage())
        first = self.start_stream()
        first.read_head()
        self.manager.wait(STATUS="1 in flight, 0 waiting")
        second = self.connect()
        second.send_request("GET", "/v1/models")
        self.manager.wait(STATUS="1 in flight, 1 waiting")
        gate.set()
        self.assert_status(second.read_head(), 200)
        self.manager.wait(STATUS="0 in flight, 0 waiting")

    def test_what_has_not_changed_is_not_said_again(self):
        """The keep-alives are the clock: there is one every 500 ms, and a status at most every second."""
        self.launch([OK], env=self.manage() | {"WATCHDOG_USEC": "1000000"})
        self.manager.wait(READY="1")
        self.assertEqual([self.manager.hear() for _ in range(6)], [{"WATCHDOG": "1"}] * 6)

    def test_a_drain_goes_on_telling(self):
        gate = threading.Event()
        self.launch([sse(ONE, gate, b"data: [DONE]\n\n")], env=self.manage())
        answer = self.start_stream().read_head()
        answer.read_until(ONE)
        self.andiron.signal()
        self.manager.wait(STATUS="draining: 1 in flight, 0 waiting")
        gate.set()
        self.assert_end(answer)
        self.assertEqual(self.andiron.wait_exit(), 0)

    def test_a_reload_has_its_instant(self):
        self.launch([OK], env=self.manage())
        self.manager.wait(READY="1")
        self.andiron.signal(signal.SIGHUP)
        reloading = self.manager.wait(RELOADING="1")[-1]
        at = int(reloading["MONOTONIC_USEC"])
        self.assertLess(abs(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000 - at), BOUND * 1e6)
        self.manager.wait(READY="1")

    def test_a_manager_that_is_gone_harms_nothing(self):
        self.launch([OK], env={"NOTIFY_SOCKET": os.path.join(self.folder, "nobody")})
        self.andiron.wait_line("cannot tell systemd: No such file")
        self.assert_status(self.post(), 200)


# --- the watchdog -----------------------------------------------------------------------------

class Watchdog(SystemdTest):
    def test_it_says_that_it_lives(self):
        self.launch([OK], env=self.manage() | {"WATCHDOG_USEC": "200000"})
        for _ in range(5):
            self.manager.wait(WATCHDOG="1")

    def test_without_a_watchdog_it_does_not(self):
        self.launch([[wait(gate := threading.Event())] + OK], env=self.manage())
        client = self.connect()
        client.send_request("GET", "/v1/models")
        self.assertNotIn({"WATCHDOG": "1"}, self.manager.wait(STATUS="1 in flight, 0 waiting"))
        gate.set()
        client.read_head()

    def test_that_of_another_process_is_not_ours(self):
        self.launch([[wait(gate := threading.Event())] + OK],
                    env=self.manage() | {"WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"})
        client = self.connect()
        client.send_request("GET", "/v1/models")
        self.assertNotIn({"WATCHDOG": "1"}, self.manager.wait(STATUS="1 in flight, 0 waiting"))
        gate.set()
        client.read_head()

    def test_a_worker_that_hangs_stops_it(self):
        """The other worker and the main loop go on: requests are answered, the status is told."""
        self.launch([sse(ONE, hold())], env=self.manage() | {"WATCHDOG_USEC": "100000"},
                    config={"server": {"drain_timeout": "300ms"}})
        self.manager.wait(WATCHDOG="1")
        thread = stop_thread(self.andiron.pid, "worker 1")
        try:
            self.andiron.wait_line("worker 1 hangs")
            self.manager.hear_all()
            client = self.start_stream()
            client.read_head()
            said = self.manager.wait(STATUS="1 in flight, 0 waiting")
            self.assertNotIn({"WATCHDOG": "1"}, said)
        finally:
            let_go(thread)
        self.manager.wait(WATCHDOG="1")

    def test_a_main_loop_that_hangs_stops_it(self):
        self.launch(lambda request: OK, env=self.manage() | {"WATCHDOG_USEC": "20000"})
        self.manager.wait(WATCHDOG="1")
        thread = stop_thread(self.andiron.pid, "andiron")
        try:
            self.manager.hear_all()
            for _ in range(20):         # some time in which the workers have done something
                self.assert_status(self.post(), 200)
            self.assertEqual(self.manager.hear_all(), [])
        finally:
            let_go(thread)
        self.manager.wait(WATCHDOG="1")

    def test_a_worker_that_has_ended_does_not(self):
        """One worker drains a stream, the other one is done; the keep-alives go on."""
        gate = threading.Event()
        self.launch([sse(ONE, gate, b"data: [DONE]\n\n")], env=self.manage() | {"WATCHDOG_USEC": "20000"})
        answer = self.start_stream().read_head()
        answer.read_until(ONE)
        self.andiron.signal()
        self.manager.wait(STOPPING="1")
        for _ in range(5):
            self.manager.wait(WATCHDOG="1")
        gate.set()
        self.assert_end(answer)


# --- sockets ----------------------------------------------------------------------------------

class Sockets(FlowTest):
    def bind(self, address="127.0.0.1", family=socket.AF_INET, listens=True, kind=socket.SOCK_STREAM):
        one = socket.socket(family, kind)
        self.addCleanup(one.close)
        one.bind(address if family == socket.AF_UNIX else (address, 0))
        if listens:
            one.listen(64)
        return one

    def bind_unix(self):
        return self.bind(os.path.join(self.folder, "passed.sock"), socket.AF_UNIX)

    def passing(self, sockets):
        fds = [one.fileno() for one in sockets]
        return {"inside": ["/usr/bin/python3", "-c", PASS, ",".join(map(str, fds))], "pass_fds": fds}

    def activate(self, sockets, script=lambda request: OK, listen="systemd", **server):
        self.launch(script, {"server": {"listen": listen, **server}}, **self.passing(sockets))

    def run_with(self, sockets, listen="systemd", **server):
        """To its end, which is not long in coming."""
        path = self.write("a.ini", render(merge(base_config("http://127.0.0.1:1", self.events_path), {
            "server": {"listen": listen, **server}})))
        passing = self.passing(sockets)
        return subprocess.run([*passing["inside"], BINARY, "run", "-c", path], pass_fds=passing["pass_fds"],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=BOUND)

    def ask(self, address):
        client = Client(address, bound=BOUND)
        self.addCleanup(client.fin)
        return client.request("GET", "/v1/models")

    def assert_answers(self, *addresses):
        for address in addresses:
            with self.subTest(address=address):
                self.assert_status(self.ask(address), 200)

    def test_all_families(self):
        sockets = [self.bind(), self.bind("::1", socket.AF_INET6), self.bind_unix()]
        self.activate(sockets)
        addresses = [one.getsockname()[:2] for one in sockets[:2]] + [sockets[2].getsockname()]
        self.assertEqual(self.andiron.addresses + self.andiron.sockets, addresses)
        self.assert_answers(*addresses)

    def test_an_abstract_socket(self):
        one = self.bind(f"\0andiron-flow-{os.getpid()}", socket.AF_UNIX)
        self.activate([one])
        self.assertEqual(self.andiron.sockets, [f"@andiron-flow-{os.getpid()}"])
        self.assert_answers(one.getsockname().decode())

    def test_beside_addresses(self):
        one = self.bind()
        self.activate([one], listen="127.0.0.1:0 systemd")
        self.assertEqual(len(self.andiron.addresses), 2)
        self.assertEqual(self.andiron.addresses[1], one.getsockname())
        self.assert_answers(*self.andiron.addresses)

    def test_who_wrote_down_no_address_gets_them(self):
        one = self.bind()
        self.activate([one], listen=None)
        self.assertEqual(self.andiron.addresses, [one.getsockname()])
        self.assert_answers(one.getsockname())

    def test_an_address_that_is_passed_is_no_address_in_use(self):
        one = self.bind()
        self.activate([one], listen="127.0.0.1:%d" % one.getsockname()[1])
        self.assert_answers(one.getsockname())

    def test_one_that_listen_does_not_name_is_worth_a_warning(self):
        one, other = self.bind(), self.bind()
        port, lost = one.getsockname()[1], other.getsockname()[1]
        self.activate([one, other], listen=f"127.0.0.1:{port}")
        self.andiron.wait_line(f"warning: .*127.0.0.1:{lost}, .*no answer")
        self.assertEqual(self.andiron.addresses, [("127.0.0.1", port)])

    def test_the_admin_listener_gets_its_own(self):
        one, admin = self.bind(), self.bind()
        port = admin.getsockname()[1]
        self.activate([admin, one], admin=f"127.0.0.1:{port}")
        self.admin_address = self.andiron.wait_admin()
        self.assertEqual(self.admin_address, ("127.0.0.1", port))
        self.assertEqual(self.andiron.addresses, [one.getsockname()])
        self.assertEqual(self.ask_admin("/healthz").status, 200)

    def test_who_comes_between_two_lives_waits_for_the_next(self):
        sockets = [self.bind(), self.bind_unix()]
        self.activate(sockets)
        self.andiron.stop()
        self.assertTrue(os.path.exists(sockets[1].getsockname()))
        waiting = [Client(one.getsockname(), bound=BOUND) for one in sockets]
        for client in waiting:
            self.addCleanup(client.fin)
            client.send_request("GET", "/v1/models")
        self.activate(sockets)
        for client in waiting:
            self.assert_status(client.read_head(), 200)

    def test_who_comes_during_the_drain_waits_for_the_next(self):
        gate, one = threading.Event(), self.bind()
        self.activate([one], [sse(ONE, gate, b"data: [DONE]\n\n")], workers="1")
        answer = self.start_stream().read_head()
        answer.read_until(ONE)

        def held():
            return links_of(self.andiron.process.pid).count(f"socket:[{os.fstat(one.fileno()).st_ino}]")
        before = held()
        self.andiron.signal()
        eventually(lambda: held() == before - 2, "the end of accepting: of the daemon, and of its worker")
        late = Client(one.getsockname(), bound=BOUND)
        self.addCleanup(late.fin)
        gate.set()
        self.assert_end(answer)
        self.assertEqual(self.andiron.wait_exit(), 0)
        self.activate([one])
        self.assert_status(late.request("GET", "/v1/models"), 200)

    def test_without_a_socket_it_says_what_is_missing(self):
        for done in (self.run_with([]), run_andiron("run", "--listen", "systemd", "--admin", "off")):
            self.assertEqual(done.returncode, 69, done)
            self.assertIn("systemctl enable --now andiron.socket", done.stderr)

    def test_those_of_another_process_are_not_ours(self):
        done = run_andiron("run", "--listen", "systemd", "--admin", "off", env={"LISTEN_FDS": "1", "LISTEN_PID": "1"})
        self.assertEqual(done.returncode, 69, done)
        self.assertIn("passes no socket", done.stderr)

    def test_what_does_not_listen_is_refused(self):
        pair = socket.socketpair()
        for one in pair:
            self.addCleanup(one.close)
        for name, one in {"datagrams": self.bind(kind=socket.SOCK_DGRAM, listens=False),
                          "only bound": self.bind(listens=False), "one connection (Accept=yes)": pair[0]}.items():
            with self.subTest(name):
                done = self.run_with([self.bind(), one])
                self.assertEqual(done.returncode, 69, done)
                self.assertIn("descriptor 4 (name1)", done.stderr)

    def test_beyond_loopback_it_needs_a_token(self):
        one = self.bind("0.0.0.0")
        done = self.run_with([one])
        self.assertEqual(done.returncode, 69, done)
        self.assertIn("client_token_file", done.stderr)
        token = self.write("token", "a-word-that-is-long-enough\n")
        self.activate([one], client_token_file=token)
        self.assertEqual(self.ask(("127.0.0.1", one.getsockname()[1])).status, 401)

    def test_too_many(self):
        done = self.run_with([self.bind() for _ in range(17)])
        self.assertEqual(done.returncode, 69, done)
        self.assertIn("17 sockets", done.stderr)


# --- check --live -----------------------------------------------------------------------------

class Live(FlowTest):
    def check(self, *arguments, env=None):
        return run_andiron("check", "--live", *arguments, env=env)

    def serve(self, answer):
        """A listener that says this to everyone, or nothing at all (None)."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        self.asked = b""

        def talk():
            peer = listener.accept()[0]
            self.addCleanup(peer.close)
            while b"\r\n\r\n" not in self.asked:
                self.asked += peer.recv(4096)
            if answer is not None:
                peer.sendall(answer)
                peer.close()
        threading.Thread(target=talk, daemon=True).start()
        return "127.0.0.1:%d" % listener.getsockname()[1]

    def test_a_life(self):
        self.launch_admin([OK])
        address = "%s:%d" % self.admin_address
        path = self.write("live.ini", f"[server]\nadmin = {address}\n")
        for done in (self.check("--admin", address), self.check("-c", path),
                     self.check(env={"ANDIRON_CONFIG": path}), self.check(env={"ANDIRON_SERVER_ADMIN": address})):
            self.assertEqual((done.returncode, done.stderr), (0, ""), done)
            self.assertEqual(done.stdout, f"alive: http://{address}/healthz says 200 OK\n")
        self.andiron.stop()
        done = self.check("--admin", address)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)
        self.assertIn("Connection refused", done.stderr)

    def test_on_all_addresses_it_is_asked_on_loopback(self):
        for wildcard, loopback in (("0.0.0.0", "127.0.0.1"), ("[::]", "[::1]")):
            self.launch([OK], {"server": {"admin": f"{wildcard}:0"}})
            port = self.andiron.wait_admin()[1]
            done = self.check("--admin", f"{wildcard}:{port}")
            self.assertEqual(done.stdout, f"alive: http://{loopback}:{port}/healthz says 200 OK\n", done)

    def test_what_is_no_life(self):
        for name, answer, word in (("503", b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "says HTTP/1.1 503"),
                                   ("another server", b"SSH-2.0-OpenSSH\r\n", "says SSH-2.0"),
                                   ("nothing", b"", "says nothing"), ("endless", b"x" * 100_000, "says xxx")):
            with self.subTest(name):
                done = self.check("--admin", self.serve(answer))
                self.assertEqual((done.returncode, done.stdout), (1, ""), done)
                self.assertIn(word, done.stderr)
        self.assertIn(b"GET /healthz HTTP/1.1\r\n", self.asked)

    def test_who_says_nothing_is_not_waited_for(self):
        done = self.check("--admin", self.serve(None))
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)
        self.assertIn("timed out", done.stderr)

    def test_without_an_admin_listener(self):
        done = self.check("--admin", "off")
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)
        self.assertIn("admin listener is off", done.stderr)

    def test_a_configuration_that_is_wrong(self):
        done = self.check("--admin", "nowhere")
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)

    def test_only_with_check(self):
        self.assertEqual(run_andiron("run", "--live").returncode, 64)


# --- units ------------------------------------------------------------------------------------

@unittest.skipUnless(shutil.which("systemd-analyze"), "there is no systemd-analyze here")
class Units(unittest.TestCase):
    def analyze(self, *arguments):
        with tempfile.TemporaryDirectory() as runtime:
            return subprocess.run(["systemd-analyze", "--no-pager", *map(str, arguments)], capture_output=True,
                                  text=True, timeout=BOUND, env=os.environ | {"XDG_RUNTIME_DIR": runtime})

    def copy_units(self, folder, target):
        """With this binary, which is not in its place."""
        target = pathlib.Path(target)
        text = (UNITS / folder / "andiron.service").read_text()
        (target / "andiron.service").write_text(re.sub(r"/[^\s=]*/bin/andiron", BINARY, text))
        shutil.copy(os.path.join(ROOT, "systemd", folder, "andiron.socket"), target)
        return [target / "andiron.service", target / "andiron.socket"]

    def test_what_the_service_may_do(self):
        done = self.analyze("security", "--offline=true", UNITS / "andiron.service")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        score = re.search(r"Overall exposure level for andiron.service: ([0-9.]+)", done.stdout)
        self.assertLessEqual(float(score[1]), 1.1, done.stdout)

    def test_systemd_has_nothing_to_say_against_them(self):
        for folder, arguments in (("", []), ("user", ["--user"])):
            with self.subTest(folder or "system"), tempfile.TemporaryDirectory() as scratch:
                done = self.analyze(*arguments, "verify", "--man=no", *self.copy_units(folder, scratch))
                self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""), done)

    def test_a_mistake_would_be_seen(self):
        with tempfile.TemporaryDirectory() as scratch:
            units = self.copy_units("", scratch)
            units[0].write_text(units[0].read_text().replace("DynamicUser=", "DynamikUser="))
            self.assertIn("DynamikUser", self.analyze("verify", "--man=no", *units).stderr)

    def test_the_time_to_stop_is_above_drain_timeout(self):
        conf = pathlib.Path(ROOT, "conf", "andiron.conf").read_text()
        drain = int(re.search(r"^drain_timeout\s*= (\d+)s", conf, re.M)[1])
        for folder in ("", "user"):
            stop = re.search(r"^TimeoutStopSec=(\d+)s$", (UNITS / folder / "andiron.service").read_text(), re.M)
            self.assertGreater(int(stop[1]), drain)


if __name__ == "__main__":
    main()
