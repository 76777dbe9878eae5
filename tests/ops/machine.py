"""A small Debian that boots in a container, under a real systemd, and the tests that give it orders.

The tree is made once (ANDIRON_OPS_TREE, default build-ops/tree) with the machine's own apt sources. The tests have a
network namespace of their own, in which they are the upstream and the client, and give orders through nsenter. systemd
in the container knows nothing of the machine's own."""

import contextlib
import ctypes
import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "flow"))

from client import Client
from upstream import JSON, reply

TREE = pathlib.Path(os.environ.get("ANDIRON_OPS_TREE", ROOT / "build-ops" / "tree"))
BOUND = 60.0
NEW_NETWORK = 0x40000000
PROXY = ("127.0.0.1", 8787)
ONE = b'data: {"choices":[{"delta":{"content":"one"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
OK = reply(200, b'{"ok":true}', [JSON])


def missing(*tools):
    """Why it cannot be tested here, or nothing."""
    if os.geteuid() != 0:
        return "needs root"
    lost = [tool for tool in ("systemd-nspawn", "debootstrap", "nsenter", "ip", *tools) if not shutil.which(tool)]
    return f"needs {', '.join(lost)}" if lost else None


def make_tree():
    """A Debian with systemd, from wherever apt has its packages here."""
    if (TREE / "usr" / "bin" / "systemctl").exists():
        return
    listed = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)",
                             "Created-By: Packages"], capture_output=True, text=True, check=True).stdout
    codename = re.search(r"^VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text(), re.M)[1]
    site = next(line.split()[0] for line in listed.splitlines() if line.split()[1:] == [codename, "main"])
    TREE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TREE.parent) as scratch:
        subprocess.run(["debootstrap", "--variant=minbase", "--include=systemd,dbus", codename, scratch + "/tree", site],
                       check=True, stdout=subprocess.DEVNULL)
        os.rename(scratch + "/tree", TREE)


def add_to_tree(depends):
    """Installs what satisfies these dependencies, unless it is there."""
    def apt(*arguments):
        return subprocess.run(["chroot", TREE, "apt-get", "-q", *arguments], capture_output=True, text=True,
                              env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
    satisfy = ["satisfy", "-y", "--no-install-recommends", depends]
    if apt(*satisfy).returncode:
        apt("update")
        done = apt(*satisfy)
        if done.returncode:
            raise AssertionError(done.stdout + done.stderr)
        apt("clean")
        shutil.rmtree(TREE / "var" / "lib" / "apt" / "lists")


def put(path, text, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


class Machine:
    """A container that runs."""

    def __init__(self, scratch, prepare):
        self.tree = pathlib.Path(scratch) / "tree"
        subprocess.run(["cp", "-a", str(TREE), str(self.tree)], check=True)
        prepare(self.tree)
        self.log = open(os.path.join(scratch, "boot.log"), "w")
        self.process = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "-D", str(self.tree), "--register=no", "--keep-unit", "--boot"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.leader = self._find_leader()
        self.run("systemctl is-system-running --wait || true")

    def _find_leader(self):
        """The container's own first process, which has a systemd's socket."""
        deadline = time.monotonic() + BOUND
        while time.monotonic() < deadline and self.process.poll() is None:
            children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            for child in children:
                if os.path.exists(f"/proc/{child}/root/run/systemd/private"):
                    return child
            time.sleep(0.05)
        raise AssertionError("no boot:\n" + pathlib.Path(self.log.name).read_text())

    def run(self, command, check=True):
        """What a shell in it prints."""
        done = subprocess.run(["nsenter", "-t", self.leader, "-m", "-u", "-i", "-p", "-C", "/bin/bash", "-c", command],
                              capture_output=True, text=True, timeout=2 * BOUND, stdin=subprocess.DEVNULL,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        if check and done.returncode:
            raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}\n" + self.journal())
        return done.stdout.strip()

    def journal(self):
        text = self.run("journalctl --no-pager -o cat -u andiron.service -u andiron.socket", check=False)
        return re.sub(r'^\{.*"event":"request".*\n?', "", text, flags=re.M)

    def show(self, name, unit="andiron.service"):
        return self.run(f"systemctl show -P {name} {unit}")

    def wait(self, wanted, what):
        deadline = time.monotonic() + BOUND
        while time.monotonic() < deadline:
            if found := wanted():
                return found
            time.sleep(0.05)
        raise AssertionError(f"{what} did not come\n" + self.journal())

    def stop(self):
        if self.process.poll() is None:
            self.run("systemctl poweroff", check=False)
        try:
            self.process.wait(BOUND)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()



class MachineTest(unittest.TestCase):
    """A machine for all tests of a class, which has a prepare(tree)."""

    @classmethod
    def setUpClass(cls):
        make_tree()
        # One at a time: two containers have their units in the same cgroup, and could not tell them apart.
        lock = open(os.path.join(tempfile.gettempdir(), "andiron-ops.lock"), "w", encoding="utf-8")
        cls.addClassCleanup(lock.close)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if ctypes.CDLL(None, use_errno=True).unshare(NEW_NETWORK) != 0:
            raise OSError(ctypes.get_errno(), "no network namespace")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.machine = Machine(scratch.name, cls.prepare)
        cls.addClassCleanup(cls.machine.stop)

    def connect(self, address=PROXY):
        client = Client(address, bound=BOUND)
        self.addCleanup(client.fin)
        return client

    def assert_answer(self, address=PROXY):
        answer = self.connect(address).request("GET", "/v1/models")
        self.assertEqual(answer.status, 200, f"{answer!r}\n" + self.machine.journal())

    def start_stream(self):
        client = self.connect()
        client.send_request("POST", "/v1/chat/completions", [], b'{"model":"m","stream":true,"messages":[]}')
        answer = client.read_head()
        answer.read_until(ONE)
        return answer

    @contextlib.contextmanager
    def assert_all_served(self):
        """Clients ask all the time, each time on a new connection."""
        refused, served, stop = [], [], threading.Event()

        def ask():
            while not stop.is_set():
                try:
                    client = Client(PROXY, bound=BOUND)
                    answer = client.request("GET", "/v1/models")
                    (served if answer.body == b'{"ok":true}' else refused).append(repr(answer))
                    client.fin()
                except (OSError, AssertionError) as problem:
                    refused.append(repr(problem))
        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        try:
            yield
        finally:
            stop.set()
            for client in clients:
                client.join()
        self.assertEqual(refused[:5], [])
        self.assertGreater(len(served), 20)
