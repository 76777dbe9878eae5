"""The shells' completions: real shells, a real terminal where it matters. A shell that is not there is skipped."""

import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ANDIRON = os.path.abspath(os.environ.get("ANDIRON", ROOT / "build" / "andiron"))
BOUND = 20.0 * float(os.environ.get("ANDIRON_TEST_SLOW", "1"))
COMPLETIONS = ROOT / "conf" / "completions"
CLI = (ROOT / "src" / "app" / "cli.c").read_text(encoding="utf-8")
FLAGS = {"--" + name for name in re.findall(r'^\t+\{"(?:--)?([\w-]+)", ', CLI, re.MULTILINE)}
COMMANDS = {"run", "check", "demo", "help"}
BUILT_IN = {"default", "interactive", "agentic", "large", "batch", "control"}
LEVELS = {"error", "warning", "info", "debug"}


def environment(home):
    clean = {key: value for key, value in os.environ.items() if "ANDIRON" not in key}
    return {**clean, "PATH": f"{os.path.dirname(ANDIRON)}:{clean['PATH']}", "HOME": home, "TERM": "dumb",
            "INPUTRC": "/dev/null", "PS1": "", "LC_ALL": "C.UTF-8"}


class Shell(unittest.TestCase):
    shell = None

    def setUp(self):
        if self.shell and not shutil.which(self.shell):
            self.skipTest(f"there is no {self.shell} here")
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = scratch.name
        self.config = self.write("a.conf", "[profile.quick]\nmax_attempts = 2\n")

    def write(self, name, text):
        path = os.path.join(self.scratch, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def run_shell(self, *arguments):
        return subprocess.run([self.shell, *arguments], capture_output=True, text=True, env=environment(self.scratch),
                              cwd=self.scratch, timeout=BOUND)

    def type_keys(self, arguments, setup, keys, expected):
        """Starts the shell at a terminal, types, and waits until the line reads as expected."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.scratch)
            os.execvpe(arguments[0], arguments, environment(self.scratch))
        try:
            os.write(terminal, setup.encode() + b"; echo rea''dy\n")
            self.read_until(terminal, "ready\r")
            os.write(terminal, keys.encode())
            self.read_until(terminal, expected)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(terminal)

    def read_until(self, terminal, expected):
        seen, end = "", time.monotonic() + BOUND
        while expected not in seen:
            if not select.select([terminal], [], [], max(0.0, end - time.monotonic()))[0]:
                self.fail(f"{expected!r} did not come, but {seen!r}")
            seen += re.sub(r"\x1b\[[\d?;]*[a-zA-Z]", "", os.read(terminal, 4096).decode())
            seen = re.sub(r"[^\b]\x08", "", seen)


class Bash(Shell):
    shell = "bash"

    def complete(self, *words):
        script = """source "$1" && shift && COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
            compopt() { echo "compopt $*"; }
            [[ $(complete -p andiron) =~ -F\\ ([^ ]+) ]] && "${BASH_REMATCH[1]}" && printf '%s\\n' "${COMPREPLY[@]}" """
        done = self.run_shell("--norc", "-c", script, "bash", COMPLETIONS / "andiron.bash", "andiron", *words)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return set(done.stdout.split("\n")) - {""}

    def test_commands(self):
        self.assertEqual(self.complete(""), COMMANDS)
        self.assertEqual(self.complete("ch"), {"check"})
        self.assertEqual(self.complete("--listen", "run", ""), COMMANDS)
        self.assertEqual(self.complete("-c", "a.conf", "de"), {"demo"})
        self.assertEqual(self.complete("check", ""), set())
        self.assertEqual(self.complete("help", "r"), {"run"})

    def test_flags_are_those_of_the_program(self):
        self.assertGreater(len(FLAGS), 9)
        self.assertEqual(self.complete("-"), FLAGS)
        self.assertEqual(self.complete("check", "--lo"), {"--log-level"})

    def test_values(self):
        self.assertEqual(self.complete("--log-level", ""), LEVELS)
        self.assertEqual(self.complete("--log-level", "="), LEVELS)
        self.assertEqual(self.complete("--log-level", "=", "d"), {"debug"})
        self.assertEqual(self.complete("--event-log", "s"), {"stderr", "stdout"})
        self.assertEqual(self.complete("--admin", "o"), {"off"})
        self.assertEqual(self.complete("--listen", ""), set())

    def test_profiles_are_those_of_the_configuration(self):
        self.assertEqual(self.complete("--profile", ""), BUILT_IN)
        self.assertEqual(self.complete("-c", "a.conf", "--profile", ""), BUILT_IN | {"quick"})
        self.assertEqual(self.complete("--config", "=", "a.conf", "--profile", "=", "q"), {"quick"})

    def test_profiles_of_a_wrong_configuration_are_the_built_in_ones(self):
        self.write("b.conf", "[nothing]\n")
        self.assertEqual(self.complete("-c", "b.conf", "--profile", ""), BUILT_IN)

    def test_files_are_left_to_bash(self):
        for words in (("-c", ""), ("--config", "=", "a"), ("--event-log", "/v")):
            with self.subTest(words):
                self.assertEqual(self.complete(*words), {"compopt -o default"})

    def type_line(self, keys, expected):
        setup = f"source {COMPLETIONS / 'andiron.bash'}"
        self.type_keys(["bash", "--norc", "--noprofile", "-i"], setup, keys, expected)

    def test_at_a_terminal(self):
        self.write("with space.conf", "")
        self.type_line("andiron --pro\tint\t", "andiron --profile interactive ")
        self.type_line("andiron -c wi\t", r"andiron -c with\ space.conf ")
        self.type_line("andiron -c a\t --profile=q\t", "andiron -c a.conf  --profile=quick ")


class Zsh(Shell):
    shell = "zsh"

    def test_the_syntax(self):
        done = self.run_shell("-f", "-n", COMPLETIONS / "_andiron")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_flags_are_those_of_the_program(self):
        text = (COMPLETIONS / "_andiron").read_text(encoding="utf-8")
        self.assertEqual(set(re.findall(r"(--\w[\w-]*)=?[\[}]", text)), FLAGS)
        self.assertEqual(set(re.findall(r"(\w+)\\:", text)), COMMANDS | {"1"})

    def test_at_a_terminal(self):
        shell, setup = ["zsh", "-f", "-i"], f"fpath=({COMPLETIONS} $fpath); autoload -U compinit; compinit -D -u"
        self.type_keys(shell, setup, "andiron --pro\tint\t", "andiron --profile=interactive ")
        self.type_keys(shell, setup, "andiron de\t", "andiron demo ")
        self.type_keys(shell, setup, "andiron -c a\t --profile q\t", "andiron -c a.conf --profile quick ")


class Fish(Shell):
    shell = "fish"

    def complete(self, line):
        done = self.run_shell("--no-config", "-c", f"source {COMPLETIONS / 'andiron.fish'}; complete -C '{line}'")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return {found.split("\t")[0] for found in done.stdout.splitlines()}

    def test_commands(self):
        self.assertEqual(self.complete("andiron "), COMMANDS)
        self.assertEqual(self.complete("andiron check "), set())

    def test_flags_are_those_of_the_program(self):
        self.assertEqual(self.complete("andiron --"), FLAGS)

    def test_values(self):
        self.assertEqual(self.complete("andiron --log-level "), LEVELS)
        self.assertEqual(self.complete("andiron --event-log std"), {"stderr", "stdout"})
        self.assertEqual(self.complete("andiron -c a"), {"a.conf"})

    def test_profiles_are_those_of_the_configuration(self):
        self.assertEqual(self.complete("andiron --profile "), BUILT_IN)
        self.assertEqual(self.complete("andiron -c a.conf --profile "), BUILT_IN | {"quick"})
        self.assertEqual(self.complete("andiron --config=a.conf --profile q"), {"quick"})


if __name__ == "__main__":
    sys.exit(unittest.main())
