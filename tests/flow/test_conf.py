"""The configuration that the repository ships, and what its README shows."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ANDIRON = os.environ.get("ANDIRON", str(ROOT / "build" / "andiron"))


def check(path):
    clean = {key: value for key, value in os.environ.items() if "ANDIRON" not in key}
    return subprocess.run([ANDIRON, "check", "-c", str(path)], capture_output=True, text=True, env=clean, timeout=60)


class Shipped(unittest.TestCase):
    def test_the_shipped_file_says_what_is_there_without_it(self):
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as empty:
            expected = check(empty.name)
        shipped = check(ROOT / "conf" / "andiron.conf")
        self.assertEqual((shipped.returncode, shipped.stderr), (0, ""))
        self.assertEqual(shipped.stdout, expected.stdout)

    def test_its_commented_route_is_right_too(self):
        text = (ROOT / "conf" / "andiron.conf").read_text(encoding="utf-8")
        lines = [line[1:] if line.startswith((";[", ";path", ";model", ";profile", ";upstream", ";fallback")) else line
                 for line in text.splitlines()]
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            checked = check(file.name)
        self.assertEqual((checked.returncode, checked.stderr), (0, ""))
        self.assertIn("[route.agents]", checked.stdout)

    def test_every_option_is_documented(self):
        """docs/configuration.md has a row for each key that `andiron check` prints."""
        documented = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
        keys = {line.split("=")[0].strip() for line in check(ROOT / "conf" / "andiron.conf").stdout.splitlines()
                if "=" in line}
        self.assertGreater(len(keys), 30)
        self.assertEqual([key for key in sorted(keys) if f"| `{key}` |" not in documented], [])


if __name__ == "__main__":
    sys.exit(unittest.main())
