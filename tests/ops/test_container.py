"""The image of the Containerfile: what is in it, and andiron in it as PID 1: not root, read-only, no capabilities.

    make ops          as root, with podman and buildah; else skipped

It is made by scripts/image, of the build directory of ANDIRON and this machine's libraries; where there is an image
debian:12, also as anywhere else, by `podman build`.
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "flow"))

from certs import authority
from harness import BINARY, BOUND, CHAT, COMPLETIONS, Andiron, FlowTest, clean_environment, merge
from streams import DONE, ONE
from upstream import JSON, hold, reply, sse

USER = 65532
IMAGE = f"andiron-test-{os.getpid()}"
CANARY = "fw_canaryimage0123456789"
MAX_SIZE = 20 << 20
RUNC = shutil.which("runc", path=f"{os.environ['PATH']}:/usr/sbin")
RUNTIME = ["--runtime", RUNC] if RUNC else []       # else podman's own choice
# Podman asks for more than a sandbox may have.
LIMITS = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"]
LOCKED = ["--network=host", "--read-only", "--read-only-tmpfs=false", "--cap-drop=all",
          "--security-opt=no-new-privileges"]
OK = reply(200, b'{"ok":true}', [JSON])


def missing():
    """Why it cannot be tested here, or nothing."""
    if os.geteuid() != 0:
        return "needs root"
    return ", ".join(f"needs {tool}" for tool in ("podman", "buildah") if not shutil.which(tool))


def podman(*arguments, check=True, **options):
    done = subprocess.run(["podman", *RUNTIME, *arguments], capture_output=True, text=True, timeout=6 * BOUND,
                          **options)
    if check and done.returncode != 0:
        raise AssertionError(f"podman {' '.join(arguments)}: {done.stderr}")
    return done


def run(*arguments, options=()):
    """A container to its end."""
    return podman("run", "--rm", *LIMITS, *LOCKED, *options, IMAGE, *arguments, check=False)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def setUpModule():
    if missing():
        raise unittest.SkipTest(missing())
    with open(BINARY, "rb") as binary:
        if b"__asan_" in (text := binary.read()) or b"__tsan_" in text:
            raise unittest.SkipTest("not with sanitizers")
    subprocess.run([ROOT / "scripts" / "image", IMAGE], check=True, stdout=subprocess.DEVNULL,
                   env=os.environ | {"IMAGE_BUILD": os.path.dirname(os.path.abspath(BINARY)),
                                     "FIREWORKS_API_KEY": CANARY})
    unittest.addModuleCleanup(podman, "rmi", "--force", IMAGE)


class Image(unittest.TestCase):
    def inspect(self):
        return json.loads(podman("image", "inspect", IMAGE).stdout)[0]

    def files(self):
        """What is in it, as `ls -l` has it: mode, name."""
        container = podman("create", *LIMITS, IMAGE).stdout.strip()
        self.addCleanup(podman, "rm", container)
        export = subprocess.Popen(["podman", "export", container], stdout=subprocess.PIPE)
        listed = subprocess.run(["tar", "-tv"], stdin=export.stdout, capture_output=True, text=True, check=True)
        export.stdout.close()
        self.assertEqual(export.wait(BOUND), 0)
        return [(line.split()[0], line.split()[5]) for line in listed.stdout.splitlines()]

    def test_it_is_small(self):
        self.assertLess(self.inspect()["Size"], MAX_SIZE)

    def test_it_says_how_it_is_run(self):
        image = self.inspect()
        config = image["Config"]
        self.assertEqual(config["User"], f"{USER}:{USER}")
        self.assertEqual(config["Entrypoint"], ["/usr/local/bin/andiron"])
        self.assertEqual(config["Cmd"], ["run"])
        self.assertEqual(config["StopSignal"], "SIGTERM")
        self.assertEqual(image["Healthcheck"]["Test"], ["CMD", "/usr/local/bin/andiron", "check", "--live"])

    def test_there_is_one_program_in_it(self):
        files = self.files()
        programs = [name for mode, name in files if mode.startswith("-") and "x" in mode and ".so" not in name]
        self.assertEqual(programs, ["usr/local/bin/andiron"])
        plain = [(mode, name) for mode, name in files if mode.startswith("-")]
        self.assertEqual([name for mode, name in plain if "s" in mode or "w" in mode[5:]], [])
        self.assertIn("etc/ssl/certs/ca-certificates.crt", [name for _, name in plain])

    def test_scanners_see_what_its_libraries_are(self):
        """Every library's package, as in images without a package manager."""
        names = [name for _, name in self.files()]
        packages = [name for name in names if name.startswith("var/lib/dpkg/status.d/lib")]
        if not shutil.which("dpkg-query"):
            self.skipTest("not built on Debian")
        for library in ("libssl3", "libevent-2.1-7", "libc6"):
            self.assertTrue(any(package.endswith(library) for package in packages), (library, packages))
        self.assertIn("usr/share/doc/libssl3/copyright", names)

    def test_no_secret_is_in_it(self):
        """The key that was in the environment when it was built."""
        with open(f"/tmp/{IMAGE}.tar", "wb") as saved:
            self.addCleanup(os.unlink, saved.name)
            subprocess.run(["podman", "save", "--format=docker-archive", IMAGE], stdout=saved, check=True,
                           stderr=subprocess.DEVNULL)
        with open(saved.name, "rb") as archive:
            text = archive.read()
        self.assertIn(b"STOPSIGNAL", text)      # the history is in it, and can be read
        self.assertNotIn(CANARY.encode(), text)

    def test_any_user_will_do(self):
        done = run("--version", options=["--user=4242:4242"])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, "^andiron ")

    def test_beyond_loopback_it_wants_a_token(self):
        done = run(options=["--env=ANDIRON_SERVER_LISTEN=0.0.0.0:0"])
        self.assertEqual(done.returncode, 78, done.stderr)
        self.assertIn("client_token_file", done.stderr)

    def test_the_whole_containerfile(self):
        if podman("image", "exists", "debian:12", check=False).returncode != 0:
            self.skipTest("needs an image debian:12")
        name = f"{IMAGE}-whole"
        subprocess.run(["buildah", "bud", "--isolation=chroot", "--format=docker", "--pull-never", f"--tag={name}",
                        "."], cwd=ROOT, check=True, capture_output=True)
        self.addCleanup(podman, "rmi", name)
        done = podman("run", "--rm", *LIMITS, *LOCKED, name, "--version")
        self.assertRegex(done.stdout, "^andiron ")
        self.assertLess(json.loads(podman("image", "inspect", name).stdout)[0]["Size"], MAX_SIZE)


class Running(FlowTest):
    """The flow tests' daemon, in a container. Its configuration, its certificate and its event log are in a folder that
    is mounted; its key is a secret."""

    def setUp(self):
        super().setUp()
        self.name = f"{IMAGE}-{self.id().rsplit('.', 1)[1]}"
        os.chown(self.folder, USER, USER)
        self.addCleanup(podman, "rm", "--force", "--ignore", self.name)
        self.ca = self.write("ca.pem", pathlib.Path(authority().ca).read_text())

    def write(self, name, text, mode=0o600):
        path = super().write(name, text, mode)
        os.chown(path, USER, USER)
        return path

    def program(self, *options):
        return ["podman", *RUNTIME, "run", f"--name={self.name}", *LIMITS, *LOCKED,
                f"--volume={self.folder}:{self.folder}", *options, IMAGE]

    def start(self, script, config=None, options=()):
        config = merge({"upstream.fireworks": {"ca_file": self.ca}}, config)
        self.launch(script, config, program=self.program(*options))

    def pid(self):
        """Of andiron, as this side sees it."""
        return int(podman("inspect", "--format={{.State.Pid}}", self.name).stdout)

    def status(self):
        lines = pathlib.Path(f"/proc/{self.pid()}/status").read_text().splitlines()
        return dict(line.split(":\t", 1) for line in lines)

    def test_a_request_goes_through_with_the_secrets_key(self):
        podman("secret", "create", IMAGE, self.write("key", CANARY))
        self.addCleanup(podman, "secret", "rm", IMAGE)
        self.start([reply(503), OK], options=[
            "--tmpfs=/run/secrets",     # where podman makes the secret's mount point
            f"--secret={IMAGE},target=fireworks_api_key,uid={USER},gid={USER},mode=0400",
            "--env=ANDIRON_UPSTREAM_FIREWORKS_API_KEY_FILE=/run/secrets/fireworks_api_key"])
        answer = self.post()
        self.assert_status(answer, 200)
        self.assert_attempts(answer, 2)
        self.assertEqual(self.upstream.requests[1].header("Authorization"), f"Bearer {CANARY}")
        self.wait_event(event="attempt", status=503)
        self.andiron.stop()
        self.assertNotIn(CANARY, podman("inspect", self.name).stdout + self.andiron.stderr())

    def test_the_environment_beats_the_mounted_file(self):
        self.start([OK], {"server": {"listen": "127.0.0.1:1"}}, ["--env=ANDIRON_SERVER_LISTEN=127.0.0.1:0"])
        self.assert_status(self.post(), 200)

    def test_it_has_no_rights(self):
        self.start([OK])
        status = self.status()
        self.assertEqual(set(status["Uid"].split()), {str(USER)})
        self.assertEqual(set(status["Gid"].split()), {str(USER)})
        self.assertEqual(status["NSpid"].split()[-1], "1")
        self.assertEqual(status["NoNewPrivs"], "1")
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(status[capabilities], 16), 0, capabilities)
        with open(f"/proc/{self.pid()}/mounts") as mounts:
            root = next(line.split() for line in mounts if line.split()[1] == "/")
        self.assertIn("ro", root[3].split(","))

    def test_sigterm_lets_a_stream_end(self):
        gate = threading.Event()
        self.start([sse(ONE, gate, DONE)])
        answer = self.start_stream().read_head()
        answer.read_until(ONE)
        self.andiron.signal()
        self.andiron.wait_line("draining")
        gate.set()
        self.assert_end(answer)
        self.assertEqual(answer.body, ONE + DONE)
        self.assertEqual(self.andiron.wait_exit(), 0)
        self.assertEqual(podman("inspect", "--format={{.State.ExitCode}}", self.name).stdout.strip(), "0")

    def test_podman_stop_with_a_stream_that_does_not_end(self):
        self.start([sse(ONE, hold())], {"server": {"drain_timeout": "300ms"}})
        answer = self.start_stream().read_head()
        answer.read_until(ONE)
        podman("stop", "--time=60", self.name)
        self.assertIn(b"event: error\n", answer.body)
        self.assertEqual(self.andiron.wait_exit(), 0)
        self.andiron.wait_line("requests that were cut short: 1")

    def test_orphans_leave_no_zombies(self):
        """They come to PID 1: here what a shell from outside, in its PID namespace, has not waited for."""
        self.start([OK])
        process = subprocess.run(
            ["nsenter", f"--target={self.pid()}", "--pid", "sh", "-c", "true & exec sleep 0"], timeout=BOUND)
        self.assertEqual(process.returncode, 0)
        for _ in range(3):
            podman("exec", self.name, "/usr/local/bin/andiron", "--version")
        self.assertEqual(self.zombies(), [])
        self.assert_status(self.post(), 200)

    def zombies(self):
        """Children of andiron; one that is just ending is looked at again."""
        deadline = time.monotonic() + BOUND
        while True:
            children = pathlib.Path(f"/proc/{self.pid()}/task/{self.pid()}/children").read_text().split()
            if not children or time.monotonic() > deadline:
                return children
            time.sleep(0.05)

    def test_the_health_check(self):
        probe = subprocess.run([BINARY, "check", "--live"], env=clean_environment(), capture_output=True, text=True)
        if "unrecognized option" in probe.stderr:
            self.skipTest("this andiron has no `check --live` yet")
        port = free_port()
        self.start([OK], {"server": {"admin": None}}, [f"--env=ANDIRON_SERVER_ADMIN=127.0.0.1:{port}"])
        self.andiron.wait_admin()
        self.assertEqual(podman("healthcheck", "run", self.name).returncode, 0)
        done = podman("exec", f"--env=ANDIRON_SERVER_ADMIN=127.0.0.1:{free_port()}", self.name,
                      "/usr/local/bin/andiron", "check", "--live", check=False)
        self.assertEqual(done.returncode, 1, done.stderr)

    def test_the_demo(self):
        self.upstream = None
        self.andiron = Andiron(["demo"], program=self.program(
            "--env=ANDIRON_SERVER_LISTEN=127.0.0.1:0", "--env=ANDIRON_SERVER_ADMIN=off"))
        self.addCleanup(self.andiron.stop)
        self.andiron.wait_listening()
        answer = self.post(COMPLETIONS, CHAT)
        self.assert_status(answer, 200)
        self.assertTrue(answer.json()["choices"][0]["message"]["content"])

    def seen(self):
        return super().seen() if self.upstream else self.andiron.stderr()


if __name__ == "__main__":
    unittest.main()
