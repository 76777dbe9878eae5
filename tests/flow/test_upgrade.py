"""SIGUSR2: another process takes over the sockets, and the old one serves to the end what it has begun (CONTRACT 1)."""

import collections
import os
import queue
import re
import signal
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import test_systemd
from client import Client, NoAnswer
from harness import BOUND, CHAT, COMPLETIONS, Andiron, main, merge
from load import Load
from streams import DONE, FINISH, ONE
from upgrades import (ADMIN, OK, UpgradeTest, children, ended, eventually, links_of, listening, read_strings,
                      sockets_of)
from upstream import JSON, reply, sse, wait

# --- the new process --------------------------------------------------------------------------

class Next(UpgradeTest):
    def test_it_takes_over_and_the_old_one_ends(self):
        self.launch([OK] * 2)
        self.is_answered()
        inode = listening(self.andiron.address)
        new = self.upgrade()
        self.is_answered()
        self.assert_ends()
        self.assertEqual(listening(self.andiron.address), inode)
        self.assert_listens(new, self.andiron.address)
        self.assertEqual(self.wait_state("start", 2)["detail"], self.andiron.urls[0])
        eventually(lambda: self.andiron.stderr().count("listening on http:") == 2, "its line")
        self.assertEqual(self.states("drain"), [])

    def test_it_is_started_as_the_old_one_was(self):
        self.launch([OK] * 4, env={"FIREWORKS_API_KEY": "fw_of_the_environment_01", "MARK": "of the test"},
                    arguments=["--workers", "1", "--log-level=info"], cwd=self.folder)
        process, old = self.andiron, self.andiron.pid
        arguments, environment = read_strings(old, "cmdline"), set(read_strings(old, "environ"))
        for _ in range(2):
            new = self.upgrade(process)
            self.assertEqual(read_strings(new.pid, "cmdline"), arguments)
            self.assertIn("MARK=of the test", read_strings(new.pid, "environ"))
            self.assertNotIn("fw_of_the", "".join(read_strings(new.pid, "environ")))
            self.assertEqual(os.readlink(f"/proc/{new.pid}/cwd"), self.folder)
            with open(f"/proc/{new.pid}/status") as status:
                self.assertIn(f"PPid:\t{os.getpid()}\n", status.read())
            self.is_answered()
            process = new
        self.assertLessEqual({text for text in environment if not text.startswith("FIREWORKS")},
                             set(read_strings(new.pid, "environ")))
        self.assertEqual({request.header("Authorization") for request in self.upstream.requests},
                         {"Bearer fw_of_the_environment_01"})

    def test_it_is_found_as_the_old_one_was(self):
        """By a path, a relative path, and a name in PATH; whatever file is there now."""
        path = self.folder + ":" + os.environ["PATH"]
        for program, cwd in {self.program: "/", "./andiron": self.folder, "andiron": "/"}.items():
            with self.subTest(program):
                self.launch([OK], program=(program,), cwd=cwd, env={"PATH": path})
                self.replace_program()
                new = self.upgrade()
                self.assertEqual(os.stat(f"/proc/{new.pid}/exe").st_ino, os.stat(self.program).st_ino)
                self.is_answered()

    def test_it_reads_the_configuration_anew(self):
        """Also what a reload leaves as it was."""
        self.launch([reply(503, b"{}", [JSON])] * 2 + [OK], {"profile.default": {"max_attempts": "1"}})
        self.assert_status(self.post(), 503)
        other = os.path.join(self.folder, "other.jsonl")
        self.write_config({"profile.default": {"max_attempts": "2"}, "log": {"events": other}})
        self.upgrade()
        self.assert_status(self.post(), 200)
        self.assert_ends()
        self.andiron.events_path = other
        self.assertEqual(self.wait_event(event="request")["attempts"], 2)
        self.assertEqual(len(self.states("start")), 1)

    def test_a_reload_and_then_an_upgrade(self):
        """The sockets are those of the last configuration, and the next one reloads in its turn."""
        path = os.path.join(self.folder, "socket")
        self.launch([OK] * 6, ADMIN)
        both = merge({"server": {"listen": f"127.0.0.1:0 unix:{path}"}}, ADMIN)
        self.write_config(both)
        self.andiron.signal(signal.SIGHUP)
        self.wait_state("reload")
        inode = os.stat(path).st_ino
        new = self.upgrade()
        self.is_answered()
        self.is_answered(path)
        self.assertEqual(os.stat(path).st_ino, inode)
        self.write_config(merge(both, {"server": {"listen": "127.0.0.1:0"}}))
        new.signal(signal.SIGHUP)
        self.wait_state("reload", 2)
        self.assertFalse(os.path.exists(path))
        self.is_answered()

    def test_a_demo(self):
        events = os.path.join(self.folder, "events.jsonl")
        self.andiron = Andiron(["demo", "--listen", "127.0.0.1:0", "--admin", "off", "--event-log", events],
                               events=events, program=(self.program,))
        self.addCleanup(self.andiron.stop)
        self.follow()
        self.upstream = None
        self.andiron.wait_listening()
        answer = self.start_stream().read_head()
        answer.read_until(b"data: ")
        self.upgrade()
        self.assert_status(self.request("GET", "/v1/models"), 200)
        self.assertIn(b"data: [DONE]", answer.body)     # its Fireworks is the old one's
        answer.client.fin()
        self.assert_ends()

    def seen(self):
        return super().seen() if self.upstream else self.andiron.stderr()

    def test_one_after_another_leaves_nothing_behind(self):
        """No descriptor, no variable."""
        self.launch([OK] * 8, merge({"server": {"listen": f"127.0.0.1:0 unix:{self.folder}/socket"}}, ADMIN))
        process, found = self.andiron, []
        for _ in range(4):
            new = self.upgrade(process)
            self.is_answered()
            if process is not self.andiron:
                self.assertEqual(process.wait_exit(), 0)
            process = new
            names = sorted(text.split("=")[0] for text in read_strings(new.pid, "environ"))
            found.append((names, self.count_descriptors(new)))
        self.assertEqual(found[1:], found[:1] * 3)

    def count_descriptors(self, process):
        """By kind, but for connections over TCP."""
        with open("/proc/net/unix") as table:
            unix = {int(line.split()[6]) for line in list(table)[1:]}
        links = [link.split(":")[0] for link in links_of(process.pid)]
        kinds = collections.Counter(kind for kind in links if kind != "socket")
        kinds["listens"] = len(sockets_of(process.pid) & {listening(self.andiron.address)})
        kinds["unix"] = len(sockets_of(process.pid) & unix)
        return kinds


# --- sockets ----------------------------------------------------------------------------------

class Sockets(UpgradeTest):
    def test_all_of_them(self):
        """TCP, Unix and admin; the file stays until the end of the last one."""
        path = os.path.join(self.folder, "socket")
        self.launch_admin([OK] * 4, {"server": {"listen": f"127.0.0.1:0 unix:{path}"}})
        addresses = [self.andiron.address, path, self.admin_address]
        before = [listening(address) for address in addresses] + [os.stat(path).st_ino]
        new = self.upgrade()
        self.assert_ends()
        self.assert_listens(new, *addresses)
        self.assertEqual([listening(address) for address in addresses] + [os.stat(path).st_ino], before)
        self.is_answered()
        self.is_answered(path)
        self.assertEqual(self.ask_admin("/readyz").status, 200)
        new.signal()
        self.assertEqual(new.wait_exit(), 0)
        self.assertFalse(os.path.exists(path))

    def test_one_that_comes(self):
        path = os.path.join(self.folder, "socket")
        self.launch([OK] * 2)
        self.write_config(merge({"server": {"listen": f"127.0.0.1:0 unix:{path}"}}, ADMIN))
        self.upgrade()
        self.is_answered(path)
        self.is_answered()
        url = eventually(lambda: re.search(r"admin on http://127.0.0.1:([0-9]+)", self.andiron.stderr()), "its line")
        self.admin_address = ("127.0.0.1", int(url[1]))
        self.assertEqual(self.ask_admin("/readyz").status, 200)

    def test_those_that_go(self):
        """The file at once; while the old one still has a stream."""
        path, finish = os.path.join(self.folder, "socket"), threading.Event()
        self.launch_admin([sse(ONE, finish, FINISH, DONE), OK],
                          {"server": {"listen": f"127.0.0.1:0 unix:{path} 127.0.0.2:0"}})
        answer = self.begin_stream()
        gone = self.andiron.addresses[1]
        self.write_config()
        new = self.upgrade()
        eventually(lambda: not os.path.exists(path), "the end of the file")
        self.assertEqual(len(sockets_of(new.pid) & {listening(address) for address in (path, self.admin_address)}), 0)
        for address in (gone, self.admin_address):
            eventually(lambda address=address: self.is_refused(address), "the end of the listener")
        self.is_answered()
        finish.set()
        self.assert_whole(answer)
        self.assert_ends()

    def is_refused(self, address):
        try:
            Client(address).fin()
        except (ConnectionRefusedError, ConnectionResetError):
            return True
        return False

    def test_the_old_one_closes_its_own(self):
        """While it still has a stream nothing of it listens any more."""
        path, finish = os.path.join(self.folder, "socket"), threading.Event()
        self.launch_admin([sse(ONE, finish, FINISH, DONE)] + [OK] * 8,
                          {"server": {"listen": f"127.0.0.1:0 unix:{path}"}})
        answer = self.begin_stream()
        self.upgrade()
        shared = {listening(address) for address in (self.andiron.address, self.admin_address, path)}
        eventually(lambda: not shared & sockets_of(self.andiron.pid), "the end of the old one's listeners")
        self.assertEqual(children(self.andiron.pid), set())     # also none that waits to be waited for
        for _ in range(4):
            self.is_answered()
            self.is_answered(path)
        finish.set()
        self.assert_whole(answer)
        self.assert_ends()

    def test_a_file_that_somebody_else_has_made_anew_stays(self):
        path = os.path.join(self.folder, "socket")
        self.launch([OK], {"server": {"listen": f"127.0.0.1:0 unix:{path}"}})
        new = self.upgrade()
        self.assert_ends()
        os.unlink(path)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(path)
            new.signal()
            self.assertEqual(new.wait_exit(), 0)
        self.assertTrue(os.path.exists(path))

    def test_ready_all_along(self):
        """Every question to the admin listener is answered, each on a connection of its own. Not more than 64 to one
        process: it counts those that have just gone, too."""
        self.launch_admin()
        answers, process = collections.Counter(), self.andiron

        def ask():
            for _ in range(25):
                try:
                    answers[self.ask_admin("/readyz").status] += 1
                except (OSError, AssertionError) as problem:
                    answers[repr(problem)] += 1
        for _ in range(8):
            asker = threading.Thread(target=ask)
            asker.start()
            process = self.upgrade(process)
            asker.join()
        self.assertEqual(answers, {200: 200})


class Passed(UpgradeTest):
    """Sockets that systemd has passed."""
    bind, bind_unix, passing = (getattr(test_systemd.Sockets, name) for name in ("bind", "bind_unix", "passing"))

    def activate(self, sockets, script, **server):
        passing = self.passing(sockets)
        self.launch(script, {"server": server}, **passing)

    def test_they_are_handed_over(self):
        sockets = [self.bind(), self.bind_unix()]
        path = sockets[1].getsockname()
        self.activate(sockets, [OK] * 4, listen="systemd")
        inode, process = os.stat(path).st_ino, self.andiron
        for _ in range(2):
            new = self.upgrade(process)
            for one in sockets:
                self.assert_listens(new, one.getsockname())
                self.is_answered(one.getsockname())
            process = new
        process.signal()
        self.assertEqual(process.wait_exit(), 0)
        self.assertEqual(os.stat(path).st_ino, inode)   # it is systemd's

    def test_to_one_that_names_no_address(self):
        one = self.bind()
        self.activate([one], [OK], listen=None)
        self.upgrade()
        self.assertEqual(self.wait_state("start", 2)["detail"], self.andiron.urls[0])
        self.is_answered()

    def test_beside_its_own_and_for_the_admin_listener(self):
        one, admin = self.bind(), self.bind()
        self.activate([one, admin], [OK] * 2, listen="127.0.0.1:0 systemd",
                      admin="127.0.0.1:%d" % admin.getsockname()[1])
        self.upgrade()
        for address in self.andiron.addresses:
            self.is_answered(address)
        self.assertEqual(len(self.andiron.addresses), 2)
        self.admin_address = admin.getsockname()
        self.assertEqual(self.ask_admin("/readyz").status, 200)

    def test_one_that_comes_back(self):
        """It stays systemd's while no configuration names it, and is there when the next one does."""
        one = self.bind()
        self.activate([one], [OK], listen="127.0.0.1:0 systemd")
        self.write_config({"server": {"listen": "127.0.0.1:0"}})
        new = self.upgrade()
        self.assert_ends()
        self.write_config({"server": {"listen": "127.0.0.1:0 systemd"}})
        self.upgrade(new)
        self.is_answered(one.getsockname())


# --- the old process --------------------------------------------------------------------------

class Retiring(UpgradeTest):
    def test_streams_end_as_they_would_have(self):
        """drain_timeout does not cut them; idle connections stay until idle_timeout, which is the clock here."""
        self.launch_streams({"server": {"drain_timeout": "100ms", "idle_timeout": "1s"}})
        idle = self.connect()
        self.assertEqual(idle.request("POST", COMPLETIONS, [], CHAT).status, 200)
        answers = [self.begin_stream() for _ in range(8)]
        new = self.upgrade()
        self.is_answered()
        self.assertEqual(idle.read_end(), (b"", "cut"))
        self.assertEqual(ended(self.andiron), [])
        self.finish.set()
        for answer in answers:
            self.assert_whole(answer)
        self.assert_ends()
        self.assertEqual(ended(new), [])
        self.is_answered()
        self.assertEqual(self.states("drain"), [])

    def test_what_waits_has_its_turn(self):
        gates = [threading.Event(), threading.Event()]
        self.launch([[wait(gate)] + OK for gate in gates] + [OK], {"upstream.fireworks": {"max_in_flight": "1"}})
        clients = [self.connect(), self.connect()]
        clients[0].send_request("POST", COMPLETIONS, [], CHAT)
        self.upstream.wait_requests(1)
        clients[1].send_request("POST", COMPLETIONS, [], CHAT)
        self.assert_status(self.request("GET", "/nowhere"), 404)
        self.upgrade()
        for gate, client in zip(gates, clients):
            gate.set()
            answer = client.read_head()
            self.assert_status(answer, 200)
            self.assertEqual(answer.body, b'{"ok":true}')
            self.assertEqual(answer.header("Connection"), "close")
            self.assertEqual(client.read_end(), (b"", "cut"))
        self.assert_ends()
        self.is_answered()

    def test_what_runs_is_still_retried(self):
        gate = threading.Event()
        self.launch([[wait(gate)] + reply(503), OK])
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [], CHAT)
        self.upstream.wait_requests(1)
        self.upgrade()
        gate.set()
        self.assert_status(client.read_head(), 200)
        self.assert_ends()

    def test_open_connections_bring_one_request_more(self):
        """One that was used, one that was not, one whose head has come by half, one whose body has."""
        self.launch(lambda request: OK, {"server": {"workers": "1"}})
        clients = used, _, head, body = [self.connect() for _ in range(4)]
        self.assert_status(used.request("GET", "/v1/models"), 200)
        text = b"POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n" % (
            COMPLETIONS.encode(), used.host.encode(), len(CHAT)) + CHAT
        cut = {head: text[:20], body: text[:-5]}
        for client, part in cut.items():
            client.send(part)
        self.is_answered()              # so the one worker has accepted them all
        self.upgrade()
        self.is_answered()
        self.assertEqual(ended(self.andiron), [])
        for client in clients:
            client.send(text[len(cut.get(client, b"")):])
            answer = client.read_head()
            self.assert_status(answer, 200)
            self.assertEqual((answer.body, answer.header("Connection")), (b'{"ok":true}', "close"))
            self.assertEqual(client.read_end(), (b"", "cut"))
        self.assert_ends()

    def test_a_connection_whose_stream_has_ended_ends_with_its_next_answer(self):
        self.launch_streams()
        answer = self.begin_stream()
        self.upgrade()
        self.finish.set()
        self.assert_whole(answer, stays=True)
        try:
            self.assert_ok(answer.client, by_the_old=True)
        except (NoAnswer, ConnectionError):
            self.fail("a connection that had not said close was closed with a request on its way")
        self.assert_ends()

    def test_reload_and_upgrade_are_not_for_it(self):
        self.launch_streams()
        answer = self.begin_stream()
        new = self.upgrade()
        for number in (signal.SIGHUP, signal.SIGUSR2):
            said = len(self.andiron.lines)
            self.andiron.signal(number)
            eventually(lambda said=said: any(re.search("end(s|ing)", line) for line in self.andiron.lines[said:]),
                       f"a line about signal {number}")
        self.is_answered()
        self.wait_state("start", 2)
        for state, count in {"reload": 0, "reload_failed": 0, "upgrade_failed": 0, "upgrade": 1, "start": 2}.items():
            self.assertEqual(len(self.states(state)), count, state)
        self.finish.set()
        self.assert_whole(answer)
        self.assert_ends()
        self.assertEqual(ended(new), [])

    def test_the_new_one_reloads_meanwhile(self):
        self.launch_streams()
        answer = self.begin_stream()
        new = self.upgrade()
        new.signal(signal.SIGHUP)
        self.wait_state("reload")
        self.is_answered()
        self.finish.set()
        self.assert_whole(answer)
        self.assert_ends()

    def test_sigterm_to_it_drains_it(self):
        self.launch_streams({"server": {"drain_timeout": "300ms"}})
        answer = self.begin_stream()
        new = self.upgrade()
        self.andiron.signal()
        self.assertIn(b"event: error\n", answer.body)
        self.assert_ends()
        self.assertEqual(ended(new), [])
        self.is_answered()

    def test_it_outlives_a_new_one_that_dies(self):
        self.launch_streams()
        answer = self.begin_stream()
        new = self.upgrade()
        new.signal(signal.SIGKILL)
        self.assertEqual(new.wait_exit(), -signal.SIGKILL)
        self.finish.set()
        self.assert_whole(answer)
        self.assert_ends()
        self.assertEqual(self.states("drain"), [])

    def test_a_new_one_outlives_it(self):
        """Killed with its stream: the new one serves, and does not wait for it when it ends."""
        self.launch_streams({"server": {"drain_timeout": "10m"}})
        self.begin_stream()
        new = self.upgrade()
        self.andiron.expected = -signal.SIGKILL
        self.andiron.signal(signal.SIGKILL)
        self.andiron.process.wait()
        self.is_answered()
        new.signal()
        self.assertEqual(new.wait_exit(), 0)


class End(UpgradeTest):
    """SIGTERM to the new one, while the old one still has something to do."""

    def test_streams_of_both_end_well(self):
        self.launch_streams()
        old = self.begin_stream()
        new = self.upgrade()
        young = self.begin_stream()
        new.signal()
        self.wait_state("drain", 2)     # of each
        self.wait_refused()
        self.finish.set()
        self.assert_whole(old)
        self.assert_whole(young)
        self.assert_outlives(new, self.andiron)
        self.assert_ends()

    def test_drain_timeout_cuts_what_is_left(self):
        """The idle new one would be gone long before that, did it not wait."""
        self.launch_streams({"server": {"drain_timeout": "300ms"}})
        answer = self.begin_stream()
        new = self.upgrade()
        new.signal()
        self.assert_outlives(new, self.andiron)
        self.assertIn(b"event: error\n", answer.body)
        self.assertNotIn(b"[DONE]", answer.body)
        self.assert_ends()

    def test_a_signal_to_each_is_no_second_signal(self):
        """As of killall: the new one's word and the signal itself are one."""
        self.launch_streams()
        answer = self.begin_stream()
        new = self.upgrade()
        new.signal()
        self.wait_state("drain", 2)
        self.andiron.signal()
        self.finish.set()
        self.assert_whole(answer)
        self.assert_outlives(new, self.andiron)
        self.assert_ends()

    def test_one_that_hangs_is_not_waited_for_longer_than_drain_timeout(self):
        self.launch_streams({"server": {"drain_timeout": "100ms"}})
        self.begin_stream()
        new = self.upgrade()
        self.andiron.signal(signal.SIGSTOP)
        self.addCleanup(lambda: self.andiron.process.poll() is None and self.andiron.process.kill())
        new.signal()
        self.assertEqual(new.wait_exit(), 0)
        self.andiron.signal(signal.SIGCONT)
        self.assert_ends()              # it was told before it stood still, or sees that the other one has gone

    def test_one_that_has_only_an_admin_connection_left_ends(self):
        """Its workers have ended before the signal."""
        self.launch_admin((), {"server": {"drain_timeout": "10m"}})
        admin = self.connect_admin()
        admin.send(b"GET /readyz HTTP/1.1\r\n")
        self.assertEqual(self.ask_admin("/readyz").status, 200)     # so it has read that
        new = self.upgrade()
        eventually(lambda: self.count_workers(self.andiron) == 0, "the end of the workers")
        self.assertEqual(ended(self.andiron), [])
        new.signal()
        self.assert_outlives(new, self.andiron)
        self.assert_ends()

    def test_the_admin_listener_tells_of_the_drain(self):
        self.launch_streams()
        self.admin_address = self.andiron.wait_admin()
        answer = self.begin_stream()
        new = self.upgrade()
        self.assertEqual(self.ask_admin("/readyz").status, 200)
        new.signal()
        self.wait_state("drain", 2)
        self.assertEqual(self.ask_admin("/readyz").status, 503)
        self.finish.set()
        self.assert_whole(answer)
        self.assertEqual(new.wait_exit(), 0)


class Three(UpgradeTest):
    """C comes after B while B's predecessor A still has a stream."""

    def three(self, **server):
        self.finish = [threading.Event() for _ in range(3)]
        self.launch([sse(ONE, finish, FINISH, DONE) for finish in self.finish] + [OK] * 3,
                    merge({"server": server}, ADMIN))
        a = self.andiron
        answers = [self.begin_stream()]
        b = self.upgrade(a)
        answers.append(self.begin_stream())
        c = self.upgrade(b)
        answers.append(self.begin_stream())
        self.assertEqual(ended(a, b, c), [])
        return a, b, c, answers

    def test_each_stream_ends_well(self):
        a, b, c, answers = self.three()
        for finish, answer in zip(self.finish, answers):
            finish.set()
            self.assert_whole(answer)
        self.assert_ends()
        self.assertEqual(b.wait_exit(), 0)
        self.is_answered()
        self.assertEqual(ended(c), [])

    def test_there_may_be_so_many_and_no_more(self):
        """All of them wait for the first one's stream."""
        self.launch_streams()
        answer, last = self.begin_stream(), self.andiron
        for _ in range(8):
            before, last = last, self.upgrade(last)
        event = self.ask_for_it(last)
        self.assertEqual(event["state"], "upgrade_failed")
        self.assertIn("too many earlier processes", event["detail"])
        self.finish.set()
        self.assert_whole(answer)
        self.assert_ends()
        self.assertEqual(before.wait_exit(), 0)
        event = eventually(lambda: next(filter(lambda event: event["state"] == "upgrade", [self.ask_for_it(last)]), None),
                           "an upgrade: they have ended")
        self.taken_over(event)
        self.is_answered()

    def test_the_middle_one_ends_first(self):
        """Or stays, as it pleases: the streams of the others do not care."""
        a, b, c, answers = self.three()
        self.finish[1].set()
        self.assert_whole(answers[1])
        self.is_answered()
        for i in (0, 2):
            self.finish[i].set()
            self.assert_whole(answers[i])
        self.assert_ends()
        self.assertEqual(b.wait_exit(), 0)

    def test_sigterm_ends_all(self):
        a, b, c, answers = self.three()
        c.signal()
        self.wait_state("drain", 3)
        for finish, answer in zip(self.finish, answers):
            finish.set()
            self.assert_whole(answer)
        self.assert_outlives(c, a, b)
        self.assertEqual(b.wait_exit(), 0)
        self.assert_ends()

    def test_sigterm_reaches_the_first_through_an_idle_one(self):
        """B and C have nothing to do but to wait for A."""
        a, b, c, answers = self.three(drain_timeout="300ms")
        for i in (1, 2):
            self.finish[i].set()
            self.assert_whole(answers[i])
        c.signal()
        self.assert_outlives(b, a)
        self.assert_outlives(c, a, b)
        self.assertIn(b"event: error\n", answers[0].body)
        self.assert_ends()


# --- what goes wrong --------------------------------------------------------------------------

class Failures(UpgradeTest):
    def start(self, config=None):
        """With a socket of each kind, and what they are."""
        self.path = os.path.join(self.folder, "socket")
        self.launch_admin(lambda request: OK, merge({"server": {"listen": f"127.0.0.1:0 unix:{self.path}"}}, config))
        self.addresses = [self.andiron.address, self.path, self.admin_address]
        self.before = self.sockets()

    def sockets(self):
        return [listening(address) for address in self.addresses] + [os.stat(self.path).st_ino]

    def same(self, config=None):
        return merge({"server": {"listen": f"127.0.0.1:0 unix:{self.path}", "admin": "127.0.0.1:0"}}, config)

    def assert_as_before(self):
        self.assertEqual(self.sockets(), self.before)
        self.assert_listens(self.andiron, *self.addresses)
        self.is_answered()
        self.is_answered(self.path)
        self.assertEqual(self.ask_admin("/readyz").status, 200)
        self.assertEqual(len(self.states("start")), 1)
        eventually(lambda: not self.strangers(), "the end of the new process")

    def refused(self, *says):
        """It fails, and says why."""
        said = len(self.andiron.lines)
        event = self.ask_for_it()
        self.assertEqual(event["state"], "upgrade_failed")
        eventually(lambda: any(re.search("error: .*upgrade", line) for line in self.andiron.lines[said:]), "an error line")
        for pattern in says:
            self.andiron.wait_line(pattern)
        self.assert_as_before()
        return event["detail"]

    def test_no_program(self):
        self.start()
        os.unlink(self.program)
        self.assertIn("No such file", self.refused())

    def test_one_that_cannot_be_executed(self):
        self.start()
        self.replace_program(mode=0o644)
        self.assertIn("Permission denied", self.refused())

    def test_one_that_is_no_program(self):
        self.start()
        self.replace_program("\x7fELF, but not really")
        self.refused()

    def test_one_that_dies(self):
        self.start()
        for text in ("exit 3", "exit 0", "kill -9 $$"):
            with self.subTest(text):
                self.replace_program(f"#!/bin/sh\n{text}\n")
                self.assertIn("ended", self.refused())

    def test_one_that_is_killed_later(self):
        self.start()
        new = self.begin_upgrade()
        new.expected = -signal.SIGKILL
        new.signal(signal.SIGKILL)
        self.wait_state("upgrade_failed")
        self.assert_as_before()

    def test_a_configuration_that_is_wrong(self):
        self.start()
        self.write_config(self.same({"profile.default": {"max_attempts": "none"}}))
        self.refused(r"andiron.ini:[0-9]+: .*max_attempts")
        os.unlink(os.path.join(self.folder, "andiron.ini"))
        self.refused("andiron.ini.*No such file")

    def test_an_address_in_use(self):
        """Also after others were taken over and opened: the files of these stay, of those go."""
        self.start()
        other = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(other.close)
        taken, fresh = other.getsockname()[1], os.path.join(self.folder, "fresh")
        self.write_config(self.same(
            {"server": {"listen": f"127.0.0.1:0 unix:{self.path} unix:{fresh} 127.0.0.1:{taken}"}}))
        self.refused(f"cannot listen on 127.0.0.1:{taken}")
        self.assertFalse(os.path.exists(fresh))
        self.write_config(self.same({"server": {"admin": f"127.0.0.1:{taken}"}}))
        self.refused(f"cannot listen on 127.0.0.1:{taken} .admin")

    def test_what_else_a_start_needs(self):
        self.start()
        for config in ({"upstream.fireworks": {"ca_file": self.write("empty.pem", "")}},
                       {"log": {"events": os.path.join(self.folder, "nowhere", "events")}},
                       {"upstream.fireworks": {"api_key_file": self.write("key", "fw_key_0123456789", 0o644)}}):
            with self.subTest(config):
                self.write_config(self.same(config))
                self.refused()

    def test_afterwards_the_next_one_succeeds(self):
        self.start()
        self.write_config(self.same({"server": {"nonsense": "1"}}))
        self.refused()
        self.write_config(self.same({"profile.default": {"max_attempts": "2"}}))
        self.andiron.signal(signal.SIGHUP)
        self.wait_state("reload")
        self.upgrade()
        self.assertEqual(self.sockets(), self.before)
        self.is_answered()
        self.assert_ends()

    def test_a_stream_does_not_notice(self):
        self.launch_streams()
        answer = self.begin_stream()
        os.unlink(self.program)
        self.assertEqual(self.ask_for_it()["state"], "upgrade_failed")
        kept = self.connect()
        self.assert_ok(kept)
        self.assert_ok(kept)
        self.finish.set()
        self.assert_whole(answer)

    def test_the_first_process_of_a_container(self):
        self.launch_admin([OK], inside=["unshare", "--pid", "--fork", "--kill-child"])
        init = children(self.andiron.pid).pop()
        os.kill(init, signal.SIGUSR2)
        event = self.wait_event(lambda event: event.get("state") in ("upgrade", "upgrade_failed"))
        self.assertEqual(event["state"], "upgrade_failed")
        self.assertIn("container", event["detail"])
        self.is_answered()
        self.assertEqual(children(init), set())
        os.kill(init, signal.SIGTERM)
        self.assertEqual(self.andiron.wait_exit(), 0)


class UnderWay(UpgradeTest):
    """The program has been started and has not said yet that it is ready."""

    def start(self, config=None):
        self.launch_streams(config)
        return self.begin_upgrade()

    def test_all_is_as_before_until_it_is_ready(self):
        new = self.start()
        kept = self.connect()
        for _ in range(3):
            self.is_answered()
            self.assert_ok(kept)
        self.assert_listens(self.andiron, self.andiron.address)
        self.assertEqual((self.states("upgrade"), len(self.states("start"))), ([], 1))
        self.open_gate()
        self.assertIs(self.taken_over(self.wait_state("upgrade")), new)
        self.is_answered()

    def test_a_second_one_is_refused(self):
        new = self.start()
        said = len(self.andiron.lines)
        self.andiron.signal(signal.SIGUSR2)
        eventually(lambda: any("upgrade" in line for line in self.andiron.lines[said:]), "a line")
        self.is_answered()
        self.open_gate()
        self.assertIs(self.taken_over(self.wait_state("upgrade")), new)
        self.assert_ends()
        self.is_answered()
        self.wait_state("start", 2)
        self.assertEqual((len(self.states("upgrade")), len(self.states("start"))), (1, 2))

    def test_signals_that_are_not_for_it_yet(self):
        """As of `systemctl kill` without --kill-whom: they must not be its end."""
        new = self.start()
        for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGHUP):
            new.signal(number)
        self.open_gate()
        self.assertIs(self.taken_over(self.wait_state("upgrade")), new)
        self.assert_ends()
        self.is_answered()

    def test_a_reload_fails(self):
        self.start()
        self.andiron.signal(signal.SIGHUP)
        self.assertIn("new process", self.wait_state("reload_failed")["detail"])
        self.is_answered()
        self.open_gate()
        self.wait_state("upgrade")
        self.is_answered()

    def test_one_that_dies_when_it_was_just_ready(self):
        """The old one, which stands still meanwhile, finds both at once: that it is ready, and that it has gone."""
        new = self.start()
        new.expected = -signal.SIGKILL
        self.andiron.signal(signal.SIGSTOP)
        self.open_gate()
        eventually(lambda: self.count_workers(new) == 2, "its workers, the last that it makes")
        new.signal(signal.SIGKILL)
        self.assertEqual(ended(new, bound=BOUND), [new])
        self.andiron.signal(signal.SIGCONT)
        self.wait_state("upgrade_failed")
        self.is_answered()
        self.assertEqual(self.states("upgrade"), [])

    def test_a_new_one_that_is_told_to_end_leaves_the_files(self):
        """When it was ready, and the old one, which stands still, has not seen it: those are the old one's."""
        path = os.path.join(self.folder, "socket")
        new = self.start({"server": {"listen": f"127.0.0.1:0 unix:{path}"}})
        new.expected = None
        inode = os.lstat(path).st_ino
        self.andiron.signal(signal.SIGSTOP)
        self.open_gate()
        eventually(lambda: self.count_workers(new) == 2, "its workers, the last that it makes")
        new.signal()
        eventually(lambda: self.states("drain"), "its drain")
        self.andiron.signal(signal.SIGCONT)
        new.wait_exit()
        self.wait_state("upgrade_failed")
        self.assertEqual(os.lstat(path).st_ino, inode)
        self.is_answered(path)
        self.is_answered()

    def test_the_old_one_is_told_to_end_when_the_new_one_was_just_ready(self):
        """Nobody serves then, whichever of them has come how far."""
        new = self.start()
        new.expected = None
        self.andiron.signal(signal.SIGSTOP)
        self.open_gate()
        eventually(lambda: self.count_workers(new) == 2, "its workers, the last that it makes")
        new.signal(signal.SIGSTOP)
        self.andiron.signal()
        self.andiron.signal(signal.SIGCONT)
        self.assert_ends()
        new.signal(signal.SIGCONT)
        self.assertEqual(ended(new, bound=BOUND), [new])

    def drain(self, before_the_end):
        """The new process finds itself too late, and ends by itself."""
        new = self.start()
        new.expected = None
        answer = self.begin_stream()
        self.andiron.signal()
        self.wait_state("drain")
        if before_the_end:
            self.open_gate()
            new.wait_exit()
        self.finish.set()
        self.assert_whole(answer)
        self.assert_ends()
        if not before_the_end:
            self.open_gate()
            new.wait_exit()
        self.assertEqual((self.states("upgrade"), len(self.states("start"))), ([], 1))
        self.wait_refused()

    def test_sigterm_drains(self):
        self.drain(before_the_end=True)

    def test_sigterm_drains_to_the_end(self):
        self.drain(before_the_end=False)

    def test_sigterm_does_not_wait_for_a_program_that_hangs(self):
        self.launch([OK])
        self.replace_program("#!/bin/sh\nexec sleep 1000\n")
        self.andiron.signal(signal.SIGUSR2)
        eventually(lambda: children(self.andiron.pid), "the program")
        self.andiron.signal()
        self.assert_ends()
        self.assertEqual(self.strangers(), set())


# --- systemd ----------------------------------------------------------------------------------

class Manager(test_systemd.Manager):
    """Knows who says it, and always listens: ten unread datagrams stop who sends them."""

    def __init__(self, path):
        super().__init__(path)
        self.socket.settimeout(None)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.said = queue.SimpleQueue()
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self):
        while True:
            data, control, *_ = self.socket.recvmsg(4096, socket.CMSG_SPACE(12))
            if not data:
                return                  # close()
            pid = struct.unpack("3i", control[0][2])[0]
            self.said.put({"pid": pid} | dict(line.split("=", 1) for line in data.decode().split("\n")))

    def hear(self):
        return self.said.get(timeout=BOUND)

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.listener.join()
        self.socket.close()


class Systemd(UpgradeTest):
    def manage(self, script=lambda request: OK, config=None, **more):
        path = os.path.join(self.folder, "notify")
        self.manager = Manager(path)
        self.addCleanup(self.manager.close)
        self.launch(script, config, env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "100000"} | more.pop("env", {}),
                    inside=["sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh"], **more)
        self.manager.wait(READY="1")

    def test_the_main_process_is_told_before_it_is_ready(self):
        self.manage()
        process = self.andiron
        for _ in range(2):              # the second one is not the process that WATCHDOG_PID named first
            new = self.upgrade(process)
            said = self.manager.wait(READY="1")
            self.assertEqual(said[-1]["pid"], new.pid)
            main_pids = [(one["pid"], one["MAINPID"]) for one in said if "MAINPID" in one]
            self.assertEqual(main_pids, [(process.pid, str(new.pid))])
            self.assertFalse([one for one in said if {"RELOADING", "STOPPING"} & set(one)], said)
            self.manager.wait(pid=new.pid, WATCHDOG="1")
            process = new

    def test_the_old_one_is_silent_the_new_one_lives(self):
        finish = threading.Event()
        self.manage([sse(ONE, finish, FINISH, DONE)] * 2)
        old = self.begin_stream()
        new = self.upgrade()
        self.manager.wait(pid=new.pid, READY="1")
        young = self.begin_stream()
        said = self.manager.wait(pid=new.pid, STATUS="1 in flight, 0 waiting")
        for _ in range(5):
            said += self.manager.wait(pid=new.pid, WATCHDOG="1")
        finish.set()
        self.assert_whole(old)
        self.assert_whole(young)
        self.assert_ends()
        said += self.manager.wait(pid=new.pid, STATUS="0 in flight, 0 waiting")
        self.assertEqual([one for one in said if one["pid"] != new.pid], [])
        new.signal()
        self.manager.wait(pid=new.pid, STOPPING="1")
        self.assertEqual(new.wait_exit(), 0)

    def test_a_failure_leaves_the_main_process(self):
        self.manage()
        new = self.begin_upgrade()
        new.expected = -signal.SIGKILL
        new.signal(signal.SIGKILL)
        self.wait_state("upgrade_failed")
        said = []
        for _ in range(10):
            said += self.manager.wait(WATCHDOG="1")
        self.assertEqual([one for one in said if one["pid"] != self.andiron.pid
                          or {"MAINPID", "RELOADING", "STOPPING"} & set(one)], [])

    def test_keys_of_credentials(self):
        credentials = os.path.join(self.folder, "credentials")
        os.mkdir(credentials)
        self.write("credentials/fireworks_api_key", "fw_first_key_0123456789", 0o400)
        self.manage(env={"CREDENTIALS_DIRECTORY": credentials})
        self.is_answered()
        self.write("credentials/fireworks_api_key", "fw_second_key_0123456789", 0o600)
        self.upgrade()
        self.is_answered()
        self.assertEqual([request.header("Authorization") for request in self.upstream.requests],
                         ["Bearer fw_first_key_0123456789", "Bearer fw_second_key_0123456789"])


# --- under load -------------------------------------------------------------------------------

class Loaded(UpgradeTest):
    def test_none_is_lost_and_none_doubled(self):
        """64 clients; ten reloads, an upgrade, a drain."""
        load = Load(None)
        self.launch_admin(load.answer, {"server": {"drain_timeout": "60s"}})
        load.address = self.andiron.address
        self.replace_program()
        spans, since = {}, time.monotonic()

        def span(name):
            nonlocal since
            spans[name], since = (since, time.monotonic()), time.monotonic()

        with load:
            load.wait_begun(128)
            span("quiet")
            for i in range(10):
                self.write_config(merge({"server": {"workers": str(1 + i % 3), "drain_timeout": "60s"}}, ADMIN))
                self.andiron.signal(signal.SIGHUP)
                self.wait_state("reload", i + 1)
                load.wait_begun(16)
            span("reloads")
            new = self.upgrade()
            load.wait_begun(128)
            span("upgrade")
            load.ending.set()
            new.signal()
        self.assertEqual(load.find_wrong(), [])
        self.assertGreaterEqual(load.count("whole"), 128 + 160 + 128)
        self.assertEqual(new.wait_exit(), 0)
        self.assert_ends()
        print("\n" + load.summary(**spans))


if __name__ == "__main__":
    main()
