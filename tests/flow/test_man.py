"""The manual pages: each says all that the program has, and nothing else. ANDIRON_MAN is the directory of the built
pages."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ANDIRON = os.path.abspath(os.environ.get("ANDIRON", ROOT / "build" / "andiron"))
PAGES = pathlib.Path(os.environ.get("ANDIRON_MAN", ROOT / "build" / "docs" / "man"))
NAMES = ["andiron.1", "andiron.conf.5", "andiron-events.5"]
UNITS = {"ms": 1, "s": 1000, "m": 60000, "h": 3600000, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def sources():
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "src").glob("**/*.c")))


def find(pattern, text):
    return re.findall(pattern, text, re.MULTILINE | re.DOTALL)


def in_ms(value):
    """Durations can be compared so: 60s is 1m."""
    found = re.fullmatch(r"(\d+)(ms|s|m|h)", value)
    return int(found[1]) * UNITS[found[2]] if found else value


def mandoc(*arguments):
    return subprocess.run(["mandoc", *arguments], capture_output=True, text=True, timeout=60)


def check(text):
    """The effective configuration, as sections of keys."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(text)
        file.flush()
        clean = {key: value for key, value in os.environ.items() if "ANDIRON" not in key}
        done = subprocess.run([ANDIRON, "check", "-c", file.name], capture_output=True, text=True, env=clean,
                              timeout=60)
    sections = {}
    for line in done.stdout.splitlines():
        if line.startswith("["):
            keys = sections.setdefault(line.strip("[]"), {})
        elif line:
            key, _, value = line.partition("=")
            keys[key.strip()] = value.strip()
    return done, sections


class Page(unittest.TestCase):
    def page(self, name):
        return (PAGES / name).read_text(encoding="utf-8")

    def section(self, page, heading):
        """From this heading to the next one."""
        level = r"S[hs]" if heading.startswith("\\(lB") or heading == "Requests" else "Sh"
        found = re.search(rf"^\.{level} {re.escape(heading)}\n(.*?)(?=^\.{level} |\Z)", self.page(page), re.M | re.S)
        self.assertIsNotNone(found, heading)
        return found[1]

    def items(self, page, heading, macro="Cm"):
        lines = find(rf"^\.It {macro} ([^\n]*)$", self.section(page, heading))
        return [name for line in lines for name in re.split(r" , | No =| ", line)[:None if " , " in line else 1]]

    def assert_items(self, page, heading, expected, least, macro="Cm"):
        self.assertGreaterEqual(len(set(expected)), least, expected)
        self.assertEqual(sorted(self.items(page, heading, macro)), sorted(set(expected)))


class Format(Page):
    def setUp(self):
        if not shutil.which("mandoc"):
            self.skipTest("there is no mandoc here")

    def test_no_warning(self):
        for name in NAMES:
            with self.subTest(name):
                done = mandoc("-T", "lint", "-W", "warning", str(PAGES / name))
                self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_no_section_is_empty(self):
        for name in NAMES:
            done = mandoc("-T", "ascii", str(PAGES / name))
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            lines = [line for line in re.sub(r".\x08", "", done.stdout).splitlines() if line][1:-1]
            self.assertGreater(len(lines), 100)
            for line, after in zip(lines, [*lines[1:], "END"]):
                if re.match(r"( {3})?\S", line):
                    with self.subTest(page=name, section=line):
                        self.assertRegex(after, r"^ {5}")


class Program(Page):
    """andiron(1)"""

    def test_commands(self):
        commands = find(r'str_same\(line(?:->|\.)command, "(\w+)"\)', read("src/app/cli.c"))
        self.assert_items("andiron.1", "DESCRIPTION", commands, 4)

    def test_flags(self):
        cli = read("src/app/cli.c")
        longs = find(r'^\t+\{"(?:--)?([\w-]+)", ', cli)
        shorts = find(r"_argument, NULL, '(\w)'", cli)
        heads = "\n".join(find(r"^\.It (Fl [^\n]*)$", self.section("andiron.1", "DESCRIPTION")))
        self.assertGreater(len(longs), 9)
        self.assertEqual(sorted(find(r"Fl Fl ([\w-]+)", heads)), sorted(longs))
        self.assertEqual(sorted(find(r"(?<!Fl )Fl (\w)\b", heads)), sorted(shorts))
        for name in NAMES:
            used = find(r"\bFl Fl ([\w-]+)", self.page(name)) + find(r"(?<!Fl )\bFl (\w)\b", self.page(name))
            self.assertEqual(set(used) - set(longs) - set(shorts), set(), name)

    def test_the_help_has_the_same_flags(self):
        usage = subprocess.run([ANDIRON, "--help"], capture_output=True, text=True, timeout=60).stdout
        heads = "\n".join(find(r"^\.It (Fl [^\n]*)$", self.section("andiron.1", "DESCRIPTION")))
        self.assertEqual(sorted(find(r"^ [^\n]*?--([\w-]+)", usage)), sorted(find(r"Fl Fl ([\w-]+)", heads)))
        self.assertEqual(find(r"^  (\w+)  ", usage), self.items("andiron.1", "DESCRIPTION"))

    def test_exit_codes(self):
        names = set(find(r"\b(EX_[A-Z]+)\b", sources()))
        self.assertIn("EXIT_FAILURE", sources())
        codes = [str(getattr(os, name)) for name in names] + ["1"]
        self.assertGreater(len(codes), 5)
        self.assertEqual(find(r"^\.It (\d+)$", self.section("andiron.1", "EXIT STATUS")), sorted(codes, key=int))

    def test_signals(self):
        names = find(r"numbers\[\] = \{(.*?)\}", read("src/app/signals.c"))
        self.assert_items("andiron.1", "SIGNALS", names[0].split(", "), 4, "Dv")

    def test_environment(self):
        source = sources()
        names = find(r'(?:getenv|secret_take_variable|environment_value)\((?:loader, )?"(\w+)"', source)
        names += find(r'"(https_proxy|HTTPS_PROXY)"', source)
        page = self.items("andiron.1", "ENVIRONMENT", "Ev")
        page.remove("ANDIRON_")
        self.assertGreater(len(set(names)), 6)
        self.assertEqual(sorted(page), sorted(set(names)))

    def test_headers(self):
        names = {name.lower() for name in find(r'"(x-andiron-[\w-]+)"', sources().lower())}
        told = {name.lower() for name in find(r"(X-Andiron-[\w-]+)", self.section("andiron.1", "Requests"))}
        self.assertGreater(len(names), 5)
        self.assertEqual(told, names)


class Configuration(Page):
    """andiron.conf(5)"""

    def options(self):
        """key: (default, what it takes, help, built), by section."""
        sections = {}
        for heading in find(r"^\.Ss \\\(lB([\w.]+)\\\(rB$", self.page("andiron.conf.5")):
            rows = find(r'^\.It Cm (\w+) No =(?: Ar "(?:\\&)?([^"]*)")? Pq "([^"]*)"\n(?:\\&)?([^\n]*)\n(\(not built)?',
                        self.section("andiron.conf.5", f"\\(lB{heading}\\(rB"))
            sections[heading] = {key: (default, takes, text.replace("\\(ha", "^"), not later)
                                 for key, default, takes, text, later in rows}
        return sections

    def test_every_key_of_the_program_with_its_default(self):
        done, effective = check("[route.a]\npath = /*\n")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        options = self.options()
        for heading, name in (("server", "server"), ("log", "log"), ("upstream.NAME", "upstream.fireworks"),
                              ("profile.NAME", "profile.default"), ("route.NAME", "route.a")):
            with self.subTest(heading):
                told = {key: in_ms(row[0]) for key, row in options[heading].items()}
                expected = {key: in_ms(value) for key, value in effective[name].items()}
                for key, value in (("url", "https://api.fireworks.ai"), ("path", "/*")):
                    if expected.get(key) == value:
                        expected[key] = ""
                self.assertEqual(told, expected)
        self.assertEqual(len(options), 5)

    def test_what_it_takes_is_what_is_taken(self):
        """The bounds are taken, and what is beyond them is not."""
        tried = 0
        for heading, options in self.options().items():
            for key, (_, takes, _, _) in options.items():
                if not (bounds := re.search(r"(\d+)(\w*%?) to (\d+)(\w*%?)", takes)):
                    continue
                low, low_unit, high, high_unit = bounds.groups()
                section = heading.replace("NAME", "default" if "profile" in heading else "fireworks")
                good = [low + low_unit, high + high_unit, *re.findall(r"or (\w+)$", takes)]
                bad = [str(int(high) + 1) + high_unit]
                if low != "0":
                    smaller = int(low) * UNITS.get(low_unit, 1) - 1
                    bad.append(str(smaller) + ("ms" if takes.startswith("duration") and smaller else ""))
                for value, code in [(value, 0) for value in good] + [(value, 1) for value in bad]:
                    with self.subTest(key=key, value=value):
                        done, _ = check(f"[{section}]\n{key} = {value}\n")
                        self.assertEqual(done.returncode, code, done.stderr)
                tried += 1
        self.assertGreater(tried, 25)

    def test_the_page_in_docs_says_the_same(self):
        text, later = read("docs/configuration.md"), {}
        for heading, options in self.options().items():
            table = find(rf"^## `\[{re.escape(heading)}\]`\n(.*?)(?=^## )", text)
            rows = find(r"^\| `(\w+)` \| ([^|\n]*?) ?\| ([^|\n]*) \|$", table[0])
            expected = {key: (f"`{default}`" if default else "", says)
                        for key, (default, _, says, built) in options.items() if built}
            later |= {key: (heading, says) for key, (_, _, says, built) in options.items() if not built}
            if "url" in expected:
                expected["url"] = ("`https://api.fireworks.ai` (of `fireworks`)", expected["url"][1])
            with self.subTest(heading):
                self.assertEqual({key: (default, says) for key, default, says in rows}, expected)
        unbuilt = find(r"^\| `(\w+)` \| `\[([\w.]+)\]` \| ([^|\n]*) \|$", text)
        self.assertEqual({key: (heading, says) for key, heading, says in unbuilt}, later)

    def test_the_built_in_profiles(self):
        _, effective = check("")
        section = self.section("andiron.conf.5", "\\(lBprofile.NAME\\(rB")
        rows = dict(find(r"^\.It Cm (\w+)\n(\w+\\~=.*?)(?=^\.)", section))
        self.assertEqual({"profile." + name for name in [*rows, "default"]},
                         {name for name in effective if name.startswith("profile.")})
        for name, row in rows.items():
            with self.subTest(name):
                expected = effective["profile.default"] | dict(find(r"(\w+)\\~=\\~(\w+)", row))
                self.assertEqual({key: in_ms(value) for key, value in expected.items()},
                                 {key: in_ms(value) for key, value in effective["profile." + name].items()})

    def test_the_readme_has_the_same_profiles(self):
        _, effective = check("")
        rows = find(r"^\| `(\w+)` \| [^|]* \| (\w+) \| (\w+) \| (\w+) \| (\d+) \|$", read("README.md"))
        self.assertEqual(len(rows), 6)
        for name, *values in rows:
            profile = effective["profile." + name]
            keys = ("first_byte_timeout", "idle_timeout", "total_timeout", "max_attempts")
            self.assertEqual([in_ms(value) for value in values], [in_ms(profile[key]) for key in keys], name)

    def test_the_examples_are_good(self):
        examples = find(r"^\.Bd -literal -offset indent\n(.*?)^\.Ed$", self.section("andiron.conf.5", "EXAMPLES"))
        self.assertGreater(len(examples), 2)
        with tempfile.TemporaryDirectory() as scratch:
            secret = os.path.join(scratch, "secret")
            with open(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
                file.write("a-word-that-is-long-enough\n")
            for example in examples:
                with self.subTest(example):
                    done, _ = check(re.sub(r"(_file\s*=) \S+", rf"\1 {secret}", example))
                    self.assertEqual((done.returncode, done.stderr), (0, ""))


class Events(Page):
    """andiron-events(5)"""

    def test_fields(self):
        source = read("src/proxy/event.c")
        names = find(r'(?:json_\w+|add_text|add_raw_fields)\(out, (?:event, )?"(\w+)"', source)
        self.assert_items("andiron-events.5", "FIELDS", names, 35)

    def test_phases_errors_and_reasons(self):
        for heading, pattern, path, least in (
                ("PHASES", r'^PHASE\(PHASE_\w+, "(\w+)"', "src/policy/failure.def", 8),
                ("ERROR TYPES", r'^ERROR\(ERROR_\w+, "(\w+)"', "src/policy/failure.def", 20),
                ("REASONS", r'^\s+X\(RETRY_REASON_\w+, "(\w+)"', "src/policy/retry.h", 10)):
            with self.subTest(heading):
                self.assert_items("andiron-events.5", heading, find(pattern, read(path)), least)

    def test_verdicts(self):
        self.assert_items("andiron-events.5", "VERDICTS", ["invisible", "unknown", "visible"], 3)

    def test_classes(self):
        names = find(r"names\[\] = \{(.*?)\}", read("src/policy/class.c"))
        self.assert_items("andiron-events.5", "CLASSES", find(r'"(\w+)"', names[0]), 4)

    def test_states(self):
        names = find(r'(?:\bdaemon_tell_(?:state|failure)\(daemon, |\bnote\(ret, )"(\w+)"', sources())
        self.assert_items("andiron-events.5", "STATES", names, 11)

    def test_the_reserved_errors_are_made_nowhere(self):
        made = find(r"\b(ERROR_(?:DESTINATION_UNAVAILABLE|PROXY_INTERNAL_ERROR))\b", sources())
        self.assertEqual(made, [])


class Installed(unittest.TestCase):
    @unittest.skipUnless(shutil.which("meson"), "there is no meson here")
    def test_everything_has_its_place(self):
        done = subprocess.run(["meson", "introspect", "--installed", str(PAGES.parent.parent)], capture_output=True,
                              text=True, timeout=60)
        for place in ("bin/andiron", "share/man/man1/andiron.1", "share/man/man5/andiron.conf.5",
                      "share/man/man5/andiron-events.5", "share/doc/andiron/andiron.conf",
                      "share/bash-completion/completions/andiron", "share/zsh/site-functions/_andiron",
                      "share/fish/vendor_completions.d/andiron.fish", "systemd/system/andiron.service",
                      "systemd/system/andiron.socket", "systemd/user/andiron.service", "systemd/user/andiron.socket"):
            self.assertIn(f'/{place}"', done.stdout)


if __name__ == "__main__":
    sys.exit(unittest.main())
