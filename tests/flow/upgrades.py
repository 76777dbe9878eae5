"""What the tests of upgrades share: processes that follow one another, and what each of them holds.

The next process is not the old one's child; it comes to us, as we ask the kernel for orphans. `upgrade` asks for one,
`begin_upgrade` and `open_gate` stop in the midst of it, `assert_ends` and `assert_outlives` are for the ends. A process
that a test has not heard of, and that is left at its end, is a failure."""

import contextlib
import ctypes
import os
import re
import select
import shutil
import signal
import threading
import time

from client import Client
from harness import BINARY, BOUND, CHAT, COMPLETIONS, FlowTest, merge
from streams import DONE, FINISH, ONE
from upstream import JSON, reply, sse

OK = reply(200, b'{"ok":true}', [JSON])
TEXT = ONE + FINISH + DONE
ADMIN = {"server": {"admin": "127.0.0.1:0"}}
PR_SET_CHILD_SUBREAPER = 36


def eventually(wanted, what):
    deadline = time.monotonic() + BOUND
    while time.monotonic() < deadline:
        if found := wanted():
            return found
        time.sleep(0.01)
    raise AssertionError(f"{what} did not come")


def children(pid="self"):
    found = set()
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/children") as listed:
                found |= set(map(int, listed.read().split()))
        except OSError:
            pass                        # a thread that has ended meanwhile
    return found


def open_text(path):
    with open(path) as file:
        return file.read()


def read_strings(pid, name):
    """The arguments or the environment of a process."""
    with open(f"/proc/{pid}/{name}", "rb") as strings:
        return strings.read().decode().split("\0")[:-1]


def links_of(pid):
    """What its descriptors are; it may have none any more."""
    found = []
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):    # closed meanwhile
                found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


def sockets_of(pid):
    """The inodes of its sockets."""
    return {int(link[8:-1]) for link in links_of(pid) if link.startswith("socket:[")}


def listening(address):
    """The inode of the socket that listens there; None: nobody does."""
    if isinstance(address, str):
        with open("/proc/net/unix") as table:
            rows = [line.split() for line in table]
        return next((int(row[6]) for row in rows if row[7:] == [address] and row[3] == "00010000"), None)
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table]
    local = "0100007F:%04X" % address[1]
    return next((int(row[9]) for row in rows if row[1] == local and row[3] == "0A"), None)


def ended(*processes, bound=0):
    """Those of them that have ended; waits so many seconds for the first one."""
    pidfds = select.select([process.pidfd for process in processes], [], [], bound)[0]
    return [process for process in processes if process.pidfd in pidfds]


def is_over(process):
    """It has ended, or holds nothing any more, which is when the kernel ends it."""
    return not links_of(process.pid)


class Successor:
    """The process that came after another one."""

    def __init__(self, pid):
        self.pid, self.pidfd, self.expected = pid, os.pidfd_open(pid), 0
        self._ending = self._finished = False

    def signal(self, number=signal.SIGTERM):
        self._ending = self._ending or number == signal.SIGTERM
        signal.pidfd_send_signal(self.pidfd, number)

    def wait_exit(self):
        """Its exit code; that of a signal is negative."""
        hangs = not ended(self, bound=2 * BOUND)
        if hangs:
            self.signal(signal.SIGKILL)
        self._finished = True
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if hangs:
            raise AssertionError(f"process {self.pid} did not end")
        return code

    def stop(self):
        if not self._finished:
            if not self._ending and not ended(self):
                self.signal()
            code = self.wait_exit()
            if self.expected not in (None, code):
                raise AssertionError(f"exit code {code}, not {self.expected}")
        os.close(self.pidfd)


class UpgradeTest(FlowTest):
    @classmethod
    def setUpClass(cls):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def setUp(self):
        super().setUp()
        self.program = os.path.join(self.folder, "andiron")
        os.symlink(os.path.abspath(BINARY), self.program)
        self.known, self.successors = children(), {}

    def launch(self, script=(), config=None, **more):
        more.setdefault("program", (self.program,))
        super().launch(script, config, **more)
        self.follow()
        if (config or {}).get("server", {}).get("admin", "off") != "off":
            self.admin_address = self.andiron.wait_admin()
        return self.andiron

    def follow(self):
        """The processes after self.andiron are ended before it; one that nobody knows of is a failure."""
        self.andiron.pidfd = os.pidfd_open(self.andiron.pid)
        self.addCleanup(os.close, self.andiron.pidfd)
        self.known.add(self.andiron.pid)
        self.addCleanup(self.end_strangers)

    def strangers(self):
        """Processes that nobody has spoken of yet and that live; those that have ended are gone with this."""
        found = children() - self.known
        return {pid for pid in found if os.waitpid(pid, os.WNOHANG) == (0, 0)}

    def end_strangers(self):
        left = self.strangers()
        for pid in left:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self.assertEqual(left, set(), "processes that are left over; stderr:\n" + self.andiron.stderr())
        self.assertNotIn("libevent", self.andiron.stderr())     # complains of descriptors that are not what they were

    def adopt(self, pid):
        if pid not in self.successors:
            successor = self.successors[pid] = Successor(pid)
            self.known.add(pid)
            self.addCleanup(successor.stop)
        return self.successors[pid]

    # asking for it

    def ask_for_it(self, of=None):
        """SIGUSR2; the event that says what has become of it."""
        def told(event):
            return event.get("state") in ("upgrade", "upgrade_failed")
        count = len(self.andiron.find_events(told))
        (of or self.andiron).signal(signal.SIGUSR2)
        return self.wait_event(told, count=count + 1)

    def upgrade(self, of=None):
        """Waits until the next process has taken over, and who connects comes to it; returns it."""
        old = of or self.andiron
        event = self.ask_for_it(old)
        while "only just taking over" in event["detail"]:   # it has not heard yet that it is the one
            event = self.ask_for_it(old)
        new = self.taken_over(event)
        shared = {listening(address) for address in self.andiron.addresses + self.andiron.sockets}
        eventually(lambda: not shared & sockets_of(old.pid), "the end of the old one's listeners")
        return new

    def taken_over(self, event):
        self.assertEqual(event["state"], "upgrade", f"{event}\n{self.andiron.stderr()}")
        return self.adopt(int(re.fullmatch(r"process ([0-9]+) has taken over", event["detail"])[1]))

    def replace_program(self, text=None, mode=0o755):
        """As a package manager does it; no text: the same program in another file."""
        new = self.program + ".new"
        if text is None:
            shutil.copy(BINARY, new)
        else:
            with open(new, "w") as file:
                file.write(text)
        os.chmod(new, mode)
        os.rename(new, self.program)

    def begin_upgrade(self):
        """Stops in the midst of it: the new process reads its configuration, which ends with open_gate."""
        self.config = os.path.join(self.folder, "andiron.ini")
        self.text = open_text(self.config)
        os.unlink(self.config)
        os.mkfifo(self.config)
        self.andiron.signal(signal.SIGUSR2)
        try:
            self.gate = eventually(self.try_gate, "a process that reads its configuration")
        except AssertionError as problem:
            problem.add_note("stderr:\n" + self.andiron.stderr())
            raise
        self.addCleanup(self.gate.close)
        return self.adopt(eventually(self.strangers, "an orphan").pop())

    def try_gate(self):
        try:
            return open(os.open(self.config, os.O_WRONLY | os.O_NONBLOCK), "w")
        except OSError:
            return None                 # nobody reads yet

    def open_gate(self):
        os.unlink(self.config)
        with open(self.config, "w") as file:
            file.write(self.text)
        with contextlib.suppress(BrokenPipeError):  # nobody may read any more
            self.gate.write(self.text)
            self.gate.close()

    # what there is to see

    def states(self, state):
        return self.andiron.find_events(event="state", state=state)

    def wait_state(self, state, count=1):
        return self.wait_event(event="state", state=state, count=count)

    def is_answered(self, address=None):
        """On a connection of its own."""
        client = Client(address or self.andiron.address, bound=BOUND)
        try:
            self.assert_ok(client)
        finally:
            client.fin()

    def assert_ok(self, client, by_the_old=False):
        """The old one ends every connection with its answer."""
        answer = client.request("POST", COMPLETIONS, [], CHAT)
        self.assert_status(answer, 200)
        self.assertEqual((answer.header("Connection") or "").lower() == "close", by_the_old, repr(answer))
        if by_the_old:
            self.assertEqual(client.read_end(), (b"", "cut"))

    def assert_listens(self, process, *addresses):
        for address in addresses:
            self.assertIn(listening(address), sockets_of(process.pid), address)

    def begin_stream(self):
        answer = self.start_stream().read_head()
        answer.read_until(ONE)
        return answer

    def assert_whole(self, answer, stays=False):
        """To its end, and unless the connection stays for another request, to that one's."""
        self.assert_status(answer, 200)
        self.assertEqual((answer.body, answer.end), (TEXT, "complete"), repr(answer))
        if not stays:
            answer.client.fin()

    def count_workers(self, process):
        """Those threads of it that run loops."""
        comms = []
        for task in os.listdir(f"/proc/{process.pid}/task"):
            with contextlib.suppress(OSError):          # one that has ended meanwhile
                comms.append(open_text(f"/proc/{process.pid}/task/{task}/comm"))
        return sum(comm.startswith("worker") for comm in comms)

    def assert_outlives(self, new, *others):
        self.assertEqual(new.wait_exit(), 0)
        self.assertEqual([is_over(other) for other in others], [True] * len(others))

    def assert_ends(self):
        """The first one, by itself."""
        self.assertEqual(ended(self.andiron, bound=2 * BOUND), [self.andiron], self.andiron.stderr())
        self.assertEqual(self.andiron.process.wait(), 0, self.andiron.stderr())

    def ask_for_streams(self, request):
        """A script: a stream that waits for self.finish, and all else at once."""
        return sse(ONE, self.finish, FINISH, DONE) if b'"stream":true' in request.body else OK

    def launch_streams(self, config=None, **more):
        self.finish = threading.Event()
        return self.launch(self.ask_for_streams, merge(merge({}, ADMIN), config), **more)
