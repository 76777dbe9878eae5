"""What the pages in docs/ say, held against the names that the program has."""

import os
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from markdown import ROOT, anchors_of, find_pages, without_blocks


def find(pattern, path):
    return re.findall(pattern, (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)


class Tables(unittest.TestCase):
    def assert_rows(self, heading, expected, least, page="failures.md"):
        """Between this heading and the next one a table has a row for each name, and no others."""
        page = (ROOT / "docs" / page).read_text(encoding="utf-8")
        section = re.search(rf"^#+ {heading}\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
        self.assertIsNotNone(section, heading)
        rows = re.findall(r"^\| `(\w+)` \|.*\n(?!\|-)", section[1], re.MULTILINE)
        self.assertGreaterEqual(len(expected), least, expected)
        self.assertEqual(sorted(rows), sorted(expected))


class Failures(Tables):
    def test_every_error_has_a_row(self):
        names = find(r'^ERROR\(ERROR_\w+, "(\w+)"', "src/policy/failure.def")
        self.assert_rows("Errors", names, 20)

    def test_every_phase_has_a_row(self):
        names = find(r'^PHASE\(PHASE_\w+, "(\w+)"', "src/policy/failure.def")
        self.assert_rows("Phases and their time-outs", names, 8)

    def test_every_reason_has_a_row(self):
        names = find(r'^\s+X\(RETRY_REASON_\w+, "(\w+)"', "src/policy/retry.h")
        self.assert_rows("`reason`", names, 10)

    def test_every_verdict_has_a_row(self):
        names = find(r'names\[\] = \{"(\w+)", "(\w+)", "(\w+)"\}', "src/policy/failure.c")
        self.assert_rows("`dashboard`", names and names[0], 3)

    def test_the_status_is_the_one_that_the_client_gets(self):
        """As far as the table has a plain number."""
        statuses = dict(find(r'^ERROR\(ERROR_\w+, "(\w+)", (\d+)', "src/policy/failure.def"))
        told = find(r"^\| `(\w+)` \|.*\| (\d{3}) \|$", "docs/failures.md")
        self.assertGreater(len(told), 15)
        self.assertEqual([(name, status) for name, status in told if statuses[name] != status], [])


class Operations(Tables):
    def test_every_metric_has_a_row(self):
        names = find(r'^METRIC\(METRIC_\w+, \w+, "(\w+)"', "src/base/metrics.def")
        self.assert_rows("Metrics", names, 18, "operations.md")

    def test_its_labels_are_told(self):
        labels = dict(find(r'^METRIC\(METRIC_\w+, \w+, "(\w+)", (?:NO_)?LABELS(.*?),(?: NO_B|$)',
                           "src/base/metrics.def"))
        rows = dict(find(r"^\| `(andiron_\w+)` \|(.*?)\|", "docs/operations.md"))
        self.assertEqual({name: re.findall(r"`(\w+)`", row) for name, row in rows.items()},
                         {name: re.findall(r'"(\w+)"', given) for name, given in labels.items()})

    def test_every_field_of_status_has_a_row(self):
        names = find(r'(?:json_|add_)\w+\(out, "(\w+)"', "src/admin/status.c")
        names += find(r'add_budget\(out, "\w+", "(\w+)"', "src/admin/status.c")
        self.assert_rows("Status", set(names), 25, "operations.md")


class Links(unittest.TestCase):
    def test_every_local_link_leads_somewhere(self):
        lost = []
        for page in find_pages():
            for target in re.findall(r"\]\(([^)\s]+)\)", without_blocks(page)):
                path, _, anchor = target.partition("#")
                if ":" in path:
                    continue
                there = ((ROOT / page).parent / path).resolve() if path else ROOT / page
                if not there.exists() or (anchor and anchor not in anchors_of(there.relative_to(ROOT))):
                    lost.append(f"{page}: {target}")
        self.assertEqual(lost, [])

    def test_every_page_is_found(self):
        pages = find_pages()
        self.assertEqual([page for page in ("README.md", "docs/sdks/README.md", "tests/flow/README.md")
                          if page not in pages], [])

    def test_no_page_of_docs_is_lost(self):
        """Something links to it, or to its folder."""
        linked = set()
        for page in find_pages():
            for target in re.findall(r"\]\(([^)#:\s]+)", without_blocks(page)):
                there = ((ROOT / page).parent / target).resolve()
                linked.add(there.relative_to(ROOT).as_posix())
        self.assertEqual([page for page in find_pages() if page.startswith("docs/")
                          and not {page, os.path.dirname(page)} & linked], [])


if __name__ == "__main__":
    sys.exit(unittest.main())
