"""The real binary between a scripted upstream and a raw client.

    class Something(FlowTest):
        def test_a_rule(self):
            self.launch([reply(503), reply(200, b"{}", [JSON])])
            answer = self.post()
            self.assert_status(answer, 200)
            self.wait_event(event="attempt", status=503)

Environment:
    ANDIRON                  the binary; default build/andiron in the repository
    ANDIRON_TEST_TRANSPORT   `transport =` of the upstream; default native
    ANDIRON_TEST_SLOW        a factor for all bounds (sanitizers, valgrind); default 1

Each test has its own daemon and upstream, so that no pool, pace or breaker of one is seen by the
next. At its end the daemon gets SIGTERM, must exit with 0, and a sanitizer must have said nothing.
"""

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

from certs import authority
from client import Client
from upstream import Upstream

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("ANDIRON", os.path.join(ROOT, "build", "andiron"))
TRANSPORT = os.environ.get("ANDIRON_TEST_TRANSPORT", "native")
BOUND = 20.0 * float(os.environ.get("ANDIRON_TEST_SLOW", "1"))

CHAT = b'{"model":"accounts/fireworks/models/m","messages":[{"role":"user","content":"hi"}]}'
STREAM = b'{"model":"accounts/fireworks/models/m","stream":true,"messages":[]}'
COMPLETIONS = "/v1/chat/completions"
SANITIZER = re.compile(r"(ERROR|WARNING): (Address|Leak|Thread|Memory)Sanitizer|runtime error:")


def needs_transport(name, why):
    """For what another transport cannot do (docs/decisions has the list)."""
    return unittest.skipUnless(TRANSPORT == name, f"needs transport = {name}: {why}")


@functools.lru_cache(maxsize=None)
def is_sanitized():
    with open(BINARY, "rb") as binary:
        return re.search(rb"__(asan|tsan|ubsan)_", binary.read()) is not None


# --- configuration ----------------------------------------------------------------------------

def base_config(upstream_url, events):
    return {
        "server": {"listen": "127.0.0.1:0", "admin": "off", "workers": "2",
                   "drain_timeout": "10s"},
        "log": {"events": events, "format": "json"},
        "upstream.fireworks": {"url": upstream_url, "ca_file": authority().ca,
                               "transport": TRANSPORT,
                               # plain retries; tests of overload turn them on
                               "pacing": "off", "breaker": "off", "retry_budget": "off"},
        "profile.default": {"backoff_base": "10ms", "jitter": "none"},
    }


def merge(config, changes):
    """Sections of keys over sections of keys; None takes a key or a section away."""
    for section, keys in (changes or {}).items():
        if keys is None:
            config.pop(section, None)
            continue
        into = config.setdefault(section, {})
        for key, value in keys.items():
            if value is None:
                into.pop(key, None)
            else:
                into[key] = value
    return config


def render(config):
    lines = []
    for section, keys in config.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {value}" for key, value in keys.items()]
        lines.append("")
    return "\n".join(lines)


def write(path, text, mode=0o600):
    with open(path, "w") as target:
        target.write(text)
    os.chmod(path, mode)
    return path


def clean_environment(extra=None):
    """Nothing of the caller's but what a process needs and what sanitizers are told."""
    keep = ("PATH", "TMPDIR", "LD_LIBRARY_PATH", "ASAN_OPTIONS", "LSAN_OPTIONS",
            "UBSAN_OPTIONS", "TSAN_OPTIONS")
    child = {name: os.environ[name] for name in keep if name in os.environ}
    child["LC_ALL"] = "C"
    child.update(extra or {})
    return child


def run_andiron(*arguments, env=None, cwd=None):
    """Runs it to its end: returncode, stdout, stderr as text."""
    return subprocess.run((BINARY,) + arguments, env=clean_environment(env), cwd=cwd,
                          capture_output=True, text=True, errors="replace",
                          stdin=subprocess.DEVNULL, timeout=BOUND)


# --- the daemon -------------------------------------------------------------------------------

class Andiron:
    """A running daemon. Its stderr is read line by line, its events from their file."""

    def __init__(self, arguments, env=None, events=None, stdout=subprocess.DEVNULL, cwd=None,
                 inside=(), pass_fds=(), program=(BINARY,)):
        self.events_path = events
        self.lines = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [*inside, *program, *arguments], env=clean_environment(env), stdin=subprocess.DEVNULL,
            stdout=stdout, stderr=subprocess.PIPE, text=True, errors="replace", cwd=cwd,
            pass_fds=pass_fds)
        self.pid = self.process.pid
        self._reader = threading.Thread(target=self._read_stderr, daemon=True)
        self.expected = 0           # the exit code that stop() wants; None: any
        self._finished = False
        self._ending = False        # it has had a signal to end
        self._silent = False        # stderr has ended
        self._reader.start()

    def wait_listening(self):
        """Waits for the start-up line; finds out the addresses."""
        line = self.wait_line(r"listening on (http:|unix:)")
        self.urls = re.findall(r"http://\S*[0-9]", line.split("listening on", 1)[1])
        self.addresses = []
        for url in self.urls:
            host, port = url[len("http://"):].rsplit(":", 1)
            self.addresses.append((host.strip("[]"), int(port)))
        self.sockets = re.findall(r"unix:(\S+)", line)
        self.address = (self.addresses + self.sockets)[0]
        self.port = self.addresses[0][1] if self.addresses else 0

    def wait_admin(self):
        """The address that the admin listener says it is on."""
        url = re.search(r"http://(\S+):([0-9]+)", self.wait_line(r"admin on http://"))
        return url[1].strip("[]"), int(url[2])

    def wait_line(self, pattern):
        def found():
            return next((line for line in self.lines if re.search(pattern, line)), None)
        with self._news:
            self._news.wait_for(lambda: found() or self._silent, BOUND)
            if found() is None:
                raise AssertionError(f"no line on stderr like {pattern!r}; exit code "
                                     f"{self.process.poll()}; stderr:\n{self.stderr()}")
            return found()

    def stderr(self):
        return "\n".join(self.lines)

    def memory(self, field="VmRSS"):
        """VmRSS or VmHWM (its peak), in bytes."""
        with open(f"/proc/{self.pid}/status") as status:
            for line in status:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) * 1024
        raise AssertionError(f"no {field} in /proc/{self.pid}/status")

    # events

    def events(self):
        """All whole lines of the event log; a line that is no JSON object is a failure."""
        if not os.path.exists(self.events_path):
            return []
        with open(self.events_path, encoding="utf-8") as log:
            lines = log.read().split("\n")[:-1]
        events = [json.loads(line) for line in lines]
        if not all(isinstance(event, dict) for event in events):
            raise AssertionError(f"event lines that are no objects: {lines}")
        return events

    def find_events(self, wanted=None, **fields):
        def fits(event):
            return (wanted is None or wanted(event)) and all(
                event.get(name) == value for name, value in fields.items())
        return [event for event in self.events() if fits(event)]

    def wait_event(self, wanted=None, count=1, **fields):
        """Waits until that many events fit; the last of them."""
        deadline = time.monotonic() + BOUND
        while time.monotonic() < deadline:
            found = self.find_events(wanted, **fields)
            if len(found) >= count:
                return found[count - 1]
            time.sleep(0.01)
        seen = self.events()
        tail = "\n".join(json.dumps(event) for event in seen[-12:])
        raise AssertionError(f"not {count} events with {fields} {wanted or ''}, but "
                             f"{len(self.find_events(wanted, **fields))}; {len(seen)} events, "
                             f"the last of them:\n{tail}\n"
                             f"stderr:\n{self.stderr()}")

    # the end

    def signal(self, number=signal.SIGTERM):
        self._ending = self._ending or number in (signal.SIGTERM, signal.SIGINT)
        self.process.send_signal(number)

    def wait_exit(self, bound=2 * BOUND):
        try:
            code = self.process.wait(bound)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"no exit within {bound} s; stderr:\n{self.stderr()}") from None
        self._reader.join(BOUND)
        self.process.stderr.close()
        return code

    def stop(self):
        """SIGTERM, unless it has ended; it must exit as expected and with clean sanitizers."""
        if self._finished:
            return
        self._finished = True
        if self.process.poll() is None and not self._ending:
            self.signal()               # a second one would end it at once
        code = self.wait_exit()
        if SANITIZER.search(self.stderr()):
            raise AssertionError(f"a sanitizer spoke; stderr:\n{self.stderr()}")
        if self.expected not in (None, code):
            raise AssertionError(f"exit code {code}, not {self.expected}; "
                                 f"stderr:\n{self.stderr()}")

    def _read_stderr(self):
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._silent = True
            self._news.notify_all()


# --- the test case ----------------------------------------------------------------------------

class FlowTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="andiron-flow-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.events_path = os.path.join(self.folder, "events.jsonl")
        self.launches = 0

    # starting

    def scripted(self, script=(), tls="server", **options):
        """An upstream; tls names a certificate of certs.py, None is plain HTTP."""
        certificate = tls and getattr(authority(), tls)
        upstream = Upstream(script, certificate, **options)
        self.addCleanup(upstream.close)
        return upstream

    def launch(self, script=(), config=None, env=None, upstream=None, arguments=(), **process):
        """Starts self.upstream and self.andiron in front of it; a test may do so many times.
        `inside`: a command that becomes the daemon (`unshare` with its options); `program`: one
        that stands for it (a container's)."""
        self.launches += 1
        self.events_path = os.path.join(self.folder, f"events-{self.launches}.jsonl")
        self.upstream = upstream or self.scripted(script)
        path = self.write_config(config)
        self.andiron = Andiron(["run", "-c", path] + list(arguments), env, self.events_path,
                               **process)
        self.addCleanup(self.andiron.stop)
        self.andiron.wait_listening()
        return self.andiron

    def write_config(self, config=None, url=None):
        url = url or self.upstream.url
        return self.write("andiron.ini", render(merge(base_config(url, self.events_path), config)))

    def write(self, name, text, mode=0o600):
        return write(os.path.join(self.folder, name), text, mode)

    def launch_admin(self, script=(), config=None, **options):
        """The same with an admin listener; self.admin_address is where."""
        self.launch(script, merge({"server": {"admin": "127.0.0.1:0"}}, config), **options)
        self.admin_address = self.andiron.wait_admin()
        return self.andiron

    # talking

    def connect_admin(self):
        client = Client(self.admin_address, bound=BOUND)
        self.addCleanup(client.fin)
        return client

    def ask_admin(self, path, headers=(), method="GET", body=None):
        """One request to the admin listener, and its whole answer."""
        client = self.connect_admin()
        try:
            return client.request(method, path, headers, body)
        finally:
            client.fin()

    def connect(self, **options):
        client = Client(self.andiron.address, bound=BOUND, **options)
        self.addCleanup(client.fin)
        return client

    def request(self, method, path, headers=(), body=None, version="HTTP/1.1"):
        """One request on a connection of its own, and its whole answer."""
        client = self.connect()
        try:
            return client.request(method, path, headers, body, version)
        except AssertionError as problem:
            problem.add_note(f"{method} {path}; upstream: {self.seen()}\n"
                             f"stderr:\n{self.andiron.stderr()}")
            raise
        finally:
            client.fin()

    def post(self, path=COMPLETIONS, body=CHAT, headers=()):
        return self.request("POST", path, [("Content-Type", "application/json")] + list(headers),
                            body)

    def start_stream(self, path=COMPLETIONS, headers=(), version="HTTP/1.1", **options):
        """Sends a streaming request; the connection, for reading the answer bit by bit."""
        client = self.connect(**options)
        client.send_request("POST", path, list(headers), STREAM, version)
        return client

    def wait_refused(self):
        """The proxy's listeners are closed, or will be."""
        deadline = time.monotonic() + BOUND
        while time.monotonic() < deadline:
            try:
                Client(self.andiron.address).fin()
            except ConnectionRefusedError:
                return
            except ConnectionResetError:
                pass                    # it stood in the queue of a listener that closed
            time.sleep(0.01)
        self.fail("it still accepts connections; stderr:\n" + self.andiron.stderr())

    def wait_event(self, wanted=None, **fields):
        return self.andiron.wait_event(wanted, **fields)

    # expecting

    def assert_status(self, answer, status):
        self.assertEqual(answer.status, status, f"{answer!r}\nupstream: {self.seen()}")

    def assert_end(self, answer, end="complete"):
        _ = answer.body
        self.assertEqual(answer.end, end, f"{answer!r}")

    def assert_error(self, answer, status, code=None):
        """andiron's own error, shaped as OpenAI's SDKs expect it; the error object."""
        self.assert_status(answer, status)
        self.assertEqual(answer.header("X-Andiron-Source"), "andiron", repr(answer))
        self.assertIn("application/json", answer.header("Content-Type") or "", repr(answer))
        error = answer.json().get("error")
        self.assertIsInstance(error, dict, repr(answer))
        self.assertEqual({"message", "type", "param", "code"} - set(error), set(), repr(answer))
        self.assertTrue(error["message"].strip(), repr(answer))
        if code is not None:
            self.assertEqual(error["code"], code, repr(answer))
        return error

    def assert_seen(self, count):
        """How many requests reached the upstream, up to now."""
        self.assertEqual(len(self.upstream.requests), count, self.seen())

    def assert_attempts(self, answer, count):
        self.assertEqual(answer.all("X-Andiron-Attempts"), [str(count)],
                         f"{answer!r}\nupstream: {self.seen()}")

    def seen(self):
        return f"{self.upstream.requests} {self.upstream.connections}"


def main():
    unittest.main()
