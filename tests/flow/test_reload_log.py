"""SIGHUP: where and how the event log is written may change; no line is lost (CONTRACT 1, 2)."""

import os
import re
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from client import Client
from harness import BOUND, FlowTest, main, merge, run_andiron
from upgrades import links_of
from upstream import JSON, reply

OK = reply(200, b'{"ok":true}', [JSON])
ERROR = reply(400, b'{"error":{"message":"' + b"x" * 30000 + b'"}}', [JSON])
BODY = {"body_bytes": "32KiB"}
ADMIN = {"server": {"admin": "127.0.0.1:0"}}


class ReloadLog(FlowTest):
    def path(self, name):
        return os.path.join(self.folder, name)

    def start(self, script=lambda _: OK, config=None, **more):
        """The beginning of standard output is in a file, too."""
        with open(self.path("stdout"), "w") as out:
            self.launch_admin(script, config, stdout=out, **more)

    def reload(self, log, config=None, state="reload"):
        """Waits for the line on stderr, which is there wherever the events go."""
        says = {"reload": "andiron: reloaded", "reload_failed": "not reloaded"}[state]
        count = self.andiron.stderr().count(says)
        self.write_config(merge({"log": log}, merge(config or {}, ADMIN)))
        self.andiron.signal(signal.SIGHUP)
        self.wait_until(lambda: self.andiron.stderr().count(says) > count, "the reload")

    def wait_until(self, is_so, what):
        deadline = time.monotonic() + BOUND
        while not is_so():
            if time.monotonic() > deadline:
                self.fail(f"{what} did not come; stderr:\n{self.andiron.stderr()}")
            time.sleep(0.01)

    def ask(self, name):
        self.assert_status(self.request("GET", "/v1/models", [("X-Request-Id", name)]), 200)

    def read(self, name):
        path = self.path(name)
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8") as file:
            return file.read()

    def text(self, where):
        return self.andiron.stderr() + "\n" if where == "stderr" else self.read(where)

    def wait_in(self, where, pattern):
        self.wait_until(lambda: re.search(pattern, self.text(where)), f"{pattern!r} in {where}")

    def dropped(self):
        page = self.ask_admin("/metrics").body.decode()
        return int(re.search(r"^andiron_log_dropped_total ([0-9]+)$", page, re.M)[1])

    # every way there

    def test_from_each_destination_to_each(self):
        names = {"stderr": "stderr", "stdout": "stdout", self.path("a"): "a", self.path("b"): "b",
                 "off": None}
        ways = [(old, new) for old in names for new in names]
        walk = ["stderr"]           # a way through all of them, each once
        while ways:
            here = [way for way in ways if way[0] == walk[-1]]
            if not here:            # walk on to where one begins
                walk.append(ways[0][0])
                continue
            ways.remove(here[-1])
            walk.append(here[-1][1])
        self.start(config={"log": {"events": "stderr"}})
        for i, events in enumerate(walk):
            if i:
                self.reload({"events": events})
            self.ask(f"id-{i}-")
            if names[events]:
                self.wait_in(names[events], f"id-{i}-")
        self.andiron.stop()
        for i, events in enumerate(walk):
            found = [name for name in names.values()
                     if name for _ in range(self.text(name).count(f"id-{i}-"))]
            self.assertEqual(found, [names[events]] if names[events] else [], (i, walk))

    def test_the_old_file_is_closed_and_the_new_one_reopened(self):
        self.start(config={"log": {"events": self.path("a")}})
        self.reload({"events": self.path("b")})
        self.wait_until(lambda: self.path("a") not in links_of(self.andiron.pid), "closing")
        self.assertIn(self.path("b"), links_of(self.andiron.pid))
        os.rename(self.path("b"), self.path("b.1"))
        self.andiron.signal(signal.SIGUSR1)
        self.ask("rotated")
        self.wait_in("b", "rotated")
        self.assertNotIn("rotated", self.read("b.1"))
        self.assertNotIn(self.path("b.1"), links_of(self.andiron.pid))

    def test_the_same_path_stays_open(self):
        self.start(config={"log": {"events": self.path("a")}})
        os.rename(self.path("a"), self.path("a.1"))
        self.reload({"events": self.path("a")}, {"profile.default": {"max_attempts": "2"}})
        self.ask("still-there")
        self.wait_in("a.1", "still-there")
        self.assertFalse(os.path.exists(self.path("a")))

    def test_format_and_body_bytes(self):
        self.start([ERROR] * 4, {"log": {"events": self.path("a")}})
        self.post()
        self.wait_in("a", r'"event":"request"')
        self.assertNotIn('"body":', self.read("a"))
        self.reload({"events": self.path("a"), "body_bytes": "30"})
        self.post()
        self.wait_in("a", r'"body":"\{\\"error\\":\{\\"message\\":\\"x{9}"')
        self.reload({"events": self.path("a"), "format": "text"})
        self.post()
        self.wait_in("a", r"(?m)^\d\d:\d\d:\d\d.*POST .*chat/completions 400.*$")

    def test_format_auto_asks_what_the_new_one_is(self):
        terminal, other = os.openpty()
        self.addCleanup(os.close, terminal)
        self.launch_admin(lambda _: OK, {"log": {"events": self.path("a")}}, stdout=other)
        os.close(other)
        self.reload({"events": "stdout", "format": "auto"})
        self.ask("for-a-person")
        seen = b""
        while b"/models 200" not in seen:
            seen += os.read(terminal, 4096)
        self.assertNotIn(b"{", seen)
        self.reload({"events": self.path("b"), "format": "auto"})
        self.ask("for-a-machine")
        self.wait_in("b", r'"request_id":"for-a-machine"')

    def test_its_thread_leaves_the_signals_to_the_main_one(self):
        one = {"server": {"workers": "1"}}
        self.start(config={"log": {"events": self.path("a")}} | one)
        self.ask("it-has-started")
        threads = f"/proc/{self.andiron.pid}/task"
        before = set(os.listdir(threads))
        self.reload({"events": self.path("b")}, one)
        new = set(os.listdir(threads)) - before
        self.assertEqual(len(new), 1)
        with open(f"{threads}/{new.pop()}/status") as status:
            blocked = int(re.search(r"SigBlk:\s*([0-9a-f]+)", status.read())[1], 16)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            self.assertTrue(blocked & 1 << number - 1, number)

    def test_standard_output_has_one_writer(self):
        self.start(config={"log": {"events": "stdout"}, "server": {"workers": "1"}})
        self.ask("it-has-started")
        before = len(os.listdir(f"/proc/{self.andiron.pid}/task"))
        for events in ("off", "stdout"):
            self.reload({"events": events}, {"server": {"workers": "1"}})
        self.assertEqual(len(os.listdir(f"/proc/{self.andiron.pid}/task")), before)

    # all or nothing

    def test_what_cannot_be_opened(self):
        os.mkfifo(self.path("fifo"))        # nobody reads it: to open it would block
        self.start(config={"log": {"events": self.path("a")}})
        for wrong in ("nowhere/a", "", "fifo"):
            self.reload({"events": self.path(wrong), "body_bytes": "1KiB", "format": "text"},
                        {"profile.default": {"max_attempts": "2"}}, "reload_failed")
            line = [line for line in self.andiron.lines if "event log" in line][-1]
            self.assertIn(f"cannot open the event log {self.path(wrong)}: ", line)
            self.assertIn("events in [log]", line)
            self.ask(f"after-{wrong}-")
            self.wait_in("a", rf'"request_id":"after-{wrong}-"')
        self.assertEqual(self.read("a").count('"state":"reload_failed"'), 3)

    def test_what_else_is_wrong_leaves_it_as_it_was(self):
        self.start(config={"log": {"events": self.path("a")}})
        empty = self.write("empty.pem", "")
        self.reload({"events": self.path("b")}, {"upstream.fireworks": {"ca_file": empty}},
                    "reload_failed")
        self.ask("as-before")
        self.wait_in("a", "as-before")
        self.wait_until(lambda: self.path("b") not in links_of(self.andiron.pid), "closing")
        self.assertEqual(self.read("b"), "")
        self.reload({"events": self.path("b")})
        self.ask("now")
        self.wait_in("b", "now")

    # nothing is lost, nothing waits

    def test_under_load(self):
        self.start(config={"log": {"events": self.path("a")}, "server": {"workers": "2"}})
        ending, asked = threading.Event(), [0] * 8

        def ask(i):
            client = Client(self.andiron.address, bound=BOUND)
            while not ending.is_set():
                name = f"id-{i}-{asked[i]}-"
                asked[i] += client.request("GET", "/v1/models",
                                           [("X-Request-Id", name)]).status == 200
            client.fin()

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(asked))]
        for thread in threads:
            thread.start()
        names = ("b", "stdout", "a", "stderr", "c")
        for i in range(30):
            where = names[i % len(names)]
            self.reload({"events": where if where[:3] == "std" else self.path(where)},
                        {"server": {"workers": "2"}})
        ending.set()
        for thread in threads:
            thread.join()
        self.andiron.stop()
        lines = [line for name in ("a", "b", "c", "stdout", "stderr")
                 for line in self.text(name).splitlines() if "id-" in line]
        torn = [line for line in lines if not re.fullmatch(r'\{"ts":.*\}', line)]
        self.assertEqual(torn, [])
        found = sorted(re.findall(r'"request_id":"(id-[0-9]+-[0-9]+-)"', "\n".join(lines)))
        self.assertEqual(found, sorted(f"id-{i}-{n}-" for i, count in enumerate(asked)
                                       for n in range(count)))
        self.assertGreater(min(asked), 0)

    def fill(self):
        """More than a pipe and the ring of a writer hold; how many lines were made."""
        for _ in range(60):
            self.post()
        return 120          # an attempt and a request each

    def assert_all(self, lines, made):
        """They are whole, and all that were made; a request's may be later than its answer."""
        self.assertEqual([line for line in lines if not re.fullmatch(r'\{"ts":.*\}', line)], [])
        count = len(lines) + self.dropped()
        self.wait_until(lambda: count + self.read("a").count("chat/completions") == made,
                        f"all lines: {count} of {made}")

    def start_blocked(self):
        """The events go to a pipe that nobody reads: its reader, and the lines made until nothing fits in any more."""
        os.mkfifo(self.path("fifo"))
        reader = os.open(self.path("fifo"), os.O_RDONLY | os.O_NONBLOCK)
        self.start(lambda _: ERROR, {"log": {"events": self.path("fifo")} | BODY})
        return reader, self.fill()

    def read_to_end(self, reader):
        os.set_blocking(reader, True)
        with open(reader, encoding="utf-8") as fifo:
            return fifo.read().splitlines()

    def test_from_a_pipe_that_is_blocked(self):
        reader, made = self.start_blocked()
        dropped = self.dropped()
        self.assertGreater(dropped, 0)
        self.reload({"events": self.path("a")} | BODY)
        self.request("GET", "/v1/models", [("X-Request-Id", "beside-it")])
        self.wait_in("a", "beside-it")
        self.assertGreaterEqual(self.dropped(), dropped)
        lines = self.read_to_end(reader)        # to its end: the old writer closes it
        self.assert_all(lines, made + 1)            # and the start
        self.assertEqual(self.dropped(), dropped)

    def test_the_end_waits_for_an_earlier_file(self):
        reader, made = self.start_blocked()
        self.reload({"events": self.path("a")} | BODY)
        dropped = self.dropped()
        self.andiron.signal()
        lines = self.read_to_end(reader)
        self.assertEqual(self.andiron.wait_exit(), 0)
        late = self.read("a").count("chat/completions")
        self.assertEqual(len(lines) + dropped + late, made + 1)     # and the start

    def test_there_and_back_while_it_is_blocked(self):
        """Two writers of one pipe would tear each other's lines."""
        reader, made = self.start_blocked()
        self.reload({"events": self.path("a")} | BODY)
        self.reload({"events": self.path("fifo")} | BODY)
        made += self.fill()
        self.reload({"events": self.path("a")} | BODY)
        lines = self.read_to_end(reader)
        self.assert_all(lines, made + 2)            # and the start and the second reload

    def test_many_that_are_blocked(self):
        readers, dropped = [], 0
        self.start(lambda _: ERROR, {"log": {"events": self.path("a")} | BODY})
        for i in range(12):
            os.mkfifo(self.path(f"fifo-{i}"))
            readers.append(os.open(self.path(f"fifo-{i}"), os.O_RDONLY | os.O_NONBLOCK))
            self.reload({"events": self.path(f"fifo-{i}")} | BODY)
            for _ in range(4):          # more than a pipe holds
                self.post()
            self.assertGreaterEqual(self.dropped(), dropped)
            dropped = self.dropped()
        self.reload({"events": self.path("b")} | BODY)
        for reader in readers:
            os.set_blocking(reader, True)
            with open(reader, encoding="utf-8") as fifo:
                self.assertEqual(fifo.read().count('"event":"attempt"'), 4)

    def test_dropped_lines_stay_counted(self):
        self.start(config={"log": {"events": "/dev/full"}})
        self.ask("lost")
        self.wait_until(lambda: self.dropped() >= 2, "counting")      # start, and the request
        for events in (self.path("a"), "off", "stderr", "stdout"):
            before = self.dropped()
            self.reload({"events": events})
            self.assertGreaterEqual(self.dropped(), before)


class Start(FlowTest):
    def test_what_cannot_be_opened(self):
        path = self.write("andiron.ini", f"[log]\nevents = {self.folder}/nowhere/a\n")
        done = run_andiron("run", "-c", path)
        self.assertEqual(done.returncode, 73)
        self.assertIn(f"cannot open the event log {self.folder}/nowhere/a: ", done.stderr)
        self.assertIn("events in [log]", done.stderr)


if __name__ == "__main__":
    main()
