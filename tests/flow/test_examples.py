"""Every code block of every Markdown file runs, or is checked, or says here why it is not.

    python    runs against `andiron demo`; an SDK that is not installed has a stand-in (standins/)
    js, ts    tests/sdk/examples.test.mjs
    sh, and what is indented
              curl, grep and the like run against the demo; of others the words are known (COMMANDS)
    ini       `andiron check` takes it
    json      parses
    http      is the head of an answer, with fields that andiron sends
    none      its page is listed (PLAIN_PAGES)

Each block has a demo of its own, whose first answer is a 503: a block that asks is retried. What only
makes a client is made to ask, so that its address is tried."""

import importlib.util
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import BOUND, Andiron, clean_environment, run_andiron
from markdown import ROOT, find_blocks, find_pages

STANDINS = str(pathlib.Path(__file__).resolve().parent / "standins")
QUICK = {"ANDIRON_PROFILE_DEFAULT_BACKOFF_BASE": "10ms", "ANDIRON_PROFILE_DEFAULT_JITTER": "none"}

# Where blocks without a language stand, and what they show.
PLAIN_PAGES = {
    "docs/architecture.md": "drawings",
    "docs/decisions/": "drawings",
    "docs/failures.md": "lines of logs, heads and events, as they were seen",
    "docs/quickstart.md": "lines of the log",
}

# Commands that do not run here.
COMMANDS = {
    "make": "builds; its targets are looked up in the Makefile",
    "meson": "is what runs this test",
    "/usr/bin/python3": "runs the tests",
    "scripts/fuzz": "takes its time",
    "apt": "changes the machine", "apt-get": "changes the machine", "dpkg": "changes the machine",
    "git": "wants a network",
    "sudo": "changes the machine", "install": "changes the machine",
    "kill": "test_upgrade does it", "mkdir": "changes a home", "touch": "changes a home", "loginctl": "needs a systemd", "systemctl": "needs a systemd", "journalctl": "needs a systemd", "systemd-creds": "needs a systemd",
    "systemd-analyze": "needs a systemd",
    "podman": "needs an image", "docker": "needs an image", "buildah": "needs an image",
    "kubectl": "needs a cluster", "promtool": "is run by the tests of the metrics",
}
# A base URL that a block exports is one that its SDK finds its models at.
ASK_MODELS = '''
for url in ${OPENAI_BASE_URL:-} ${ANTHROPIC_BASE_URL:+$ANTHROPIC_BASE_URL/v1} ${FIREWORKS_BASE_URL:+$FIREWORKS_BASE_URL/v1}
do curl -fsS -o /dev/null "$url/models"
done'''
RUNNING = {"curl", "grep", "export"}
ONE_ATTEMPT = "X-Andiron-Max-Attempts"  # a block with this gets the 503
# Indented, and no command.
NO_COMMANDS = {
    "docs/operations.md": r"[a-z_]*\(?andiron_.*",  # PromQL
}

# What has no stand-in: blocks that import it wait for it.
WAITING = {
    "tenacity": "python3-tenacity is not installed",
    "backoff": "python3-backoff is not installed",
}


class Demo:
    """With a directory for what a block writes."""

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="andiron-examples-")
        self.path = self.directory.name
        events = os.path.join(self.path, "events.jsonl")
        self.andiron = Andiron(["demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--event-log", events],
                               env=QUICK, events=events)
        self.andiron.wait_listening()
        self.admin = "%s:%d" % self.andiron.wait_admin()
        return self

    def __exit__(self, *_):
        self.andiron.stop()
        self.directory.cleanup()

    def localize(self, text):
        """The addresses of the page become those of this demo."""
        here = f"localhost:{self.andiron.port}"
        return (text.replace("localhost:8787", here).replace("localhost:8788", self.admin)
                .replace("https://api.fireworks.ai", f"http://{here}").replace(" FILE", " events.jsonl"))

    def run(self, arguments):
        environment = clean_environment({name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ})
        return subprocess.run(arguments, cwd=self.path, env=environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=BOUND * 3)


class Examples(unittest.TestCase):
    """Its tests are made below, one for each block."""

    def check_python(self, block):
        compile(block.text, block.page, "exec")
        for module in re.findall(r"^(?:import|from) (\w+)", block.text, re.MULTILINE):
            if module in WAITING and not importlib.util.find_spec(module):
                self.skipTest(f"compiled, not run: {WAITING[module]}")
        with Demo() as demo:
            script = pathlib.Path(demo.path, "block.py")
            script.write_text(demo.localize(block.text), encoding="utf-8")
            # The real SDK comes first, wherever there is one.
            source = (f"import sys; sys.path.append({STANDINS!r})\n"
                      f"exec(compile(open('block.py').read(), {block.page!r}, 'exec'))\n")
            if not re.search(r"\.(create|stream|post|invoke)\(", block.text):
                source += "import contextlib\nwith contextlib.suppress(Exception):\n    client.chat.completions.create(model='demo', messages=[])\n"
            ran = demo.run(["/usr/bin/python3", "-c", source])
            self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
            self.assertNotIn("unfinished", ran.stdout)
            demo.andiron.wait_event(event="attempt", status=503)
            request = demo.andiron.wait_event(event="request")
            self.assertEqual(request["status"], 503 if ONE_ATTEMPT in block.text else 200, request)

    def check_shell(self, block):
        lines = [line for line in block.text.replace("\\\n", " ").splitlines() if not line.startswith("#")]
        if all(re.fullmatch(NO_COMMANDS.get(block.page, "(?!)"), line) for line in lines):
            return
        script = []
        for line in lines:
            words = [word for word in shlex.split(line, comments=True) if not re.fullmatch(r"[A-Z_]+=\S*", word)]
            name = words[0]
            if name in RUNNING:
                script.append(line)
            elif name == "andiron":
                self.check_andiron(words[1:])
            elif name == "make":
                self.assertRegex((ROOT / "Makefile").read_text(encoding="utf-8"), rf"(?m)^{words[1]}:", line)
            else:
                self.assertIn(name, COMMANDS, f"{line}: a command that nobody has listed")
        if script:
            self.run_shell("\n".join(script))

    def check_andiron(self, words):
        usage = run_andiron("--help").stdout
        for word in words:
            if word.startswith("-"):
                self.assertRegex(usage, rf"(?m)(^|[ ,]){re.escape(word.split('=')[0])}\b", f"{word}: no option")
        if words and not words[0].startswith("-"):
            self.assertRegex(usage, rf"(?m)^  {words[0]} ", f"{words[0]}: no command")

    def run_shell(self, text):
        with Demo() as demo:
            pathlib.Path(demo.path, "events.jsonl").touch()
            script = demo.localize(text)
            if "curl" not in script:                  # so that there is a line to look for
                script = f"curl -sS http://localhost:{demo.andiron.port}/v1/models >/dev/null\n{script}"
            ran = demo.run(["bash", "-c", f"set -e\n{script}{ASK_MODELS}"])
            # grep found no such line
            if not (ran.returncode == 1 and "grep -c" in script):
                self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
            if "/v1/" in text and "curl" in text:
                self.assertEqual(demo.andiron.wait_event(event="request")["status"], 200)

    def check_ini(self, block):
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
            file.write(block.text)
            file.flush()
            checked = run_andiron("check", "-c", file.name)
        self.assertEqual((checked.returncode, checked.stderr), (0, ""))

    def check_json(self, block):
        json.loads(block.text)

    def check_http(self, block):
        first, *fields = block.text.strip().splitlines()
        self.assertRegex(first, r"^HTTP/1\.1 \d{3} [A-Z][A-Za-z ]+$")
        with Demo() as demo:
            answer = demo.run(["curl", "-si", demo.localize("http://localhost:8787/v1/chat/completions"), "-d", "{}"])
        names = {line.split(":")[0] for line in answer.stdout.split("\n\n")[0].splitlines()}
        self.assertEqual([field for field in fields if field.split(":")[0] not in names], [], answer.stdout)

    def check_systemd(self, block):
        """A drop-in: what it adds to a unit is what systemd knows."""
        if not shutil.which("systemd-analyze"):
            self.skipTest("there is no systemd-analyze")
        with tempfile.TemporaryDirectory() as folder:
            unit = pathlib.Path(folder, "some.service")
            unit.write_text(f"[Service]\nExecStart=/bin/true\n{block.text}")
            checked = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True,
                                     timeout=BOUND)
        said = [line for line in checked.stderr.splitlines() if str(unit) in line or "some.service" in line]
        self.assertEqual((checked.returncode, said), (0, []), checked.stderr)

    def check_plain(self, block):
        listed = any(block.page.startswith(page) for page in PLAIN_PAGES)
        self.assertTrue(listed, "a block without a language, on a page of which nobody has said what it shows")

    def check_elsewhere(self, block):
        """In tests/sdk/examples.test.mjs."""
        self.assertTrue((ROOT / "tests/sdk/examples.test.mjs").exists())


HANDLERS = {
    "python": Examples.check_python,
    "js": Examples.check_elsewhere, "ts": Examples.check_elsewhere,
    "sh": Examples.check_shell, "indented": Examples.check_shell,
    "ini": Examples.check_ini,
    "json": Examples.check_json,
    "http": Examples.check_http,
    "systemd": Examples.check_systemd,
    "": Examples.check_plain,
}


class Shipped(unittest.TestCase):
    def test_every_configuration_is_right(self):
        paths = sorted((ROOT / "conf").rglob("*.conf"))
        self.assertTrue(paths)
        for path in paths:
            checked = run_andiron("check", "-c", str(path))
            self.assertEqual((checked.returncode, checked.stderr), (0, ""), path)


class Blocks(unittest.TestCase):
    def test_there_are_many(self):
        self.assertGreater(sum(1 for page in find_pages() for _ in find_blocks(page)), 60)

    def test_every_language_is_known(self):
        unknown = [f"{block.page}:{block.line}: {block.language}" for page in find_pages()
                   for block in find_blocks(page) if block.language not in HANDLERS]
        self.assertEqual(unknown, [])


def make_tests():
    for page in find_pages():
        for block in find_blocks(page):
            handler = HANDLERS.get(block.language)
            if not handler:
                continue              # test_every_language_is_known says it

            def test(self, handler=handler, block=block):
                try:
                    handler(self, block)
                except AssertionError as problem:
                    problem.add_note(f"{block.page}:{block.line}")
                    raise
            test.__doc__ = f"{block.page}:{block.line}"
            name = re.sub(r"\W", "_", f"{page}_{block.line}_{block.language or 'plain'}")
            setattr(Examples, f"test_{name}", test)


make_tests()

if __name__ == "__main__":
    unittest.main()
