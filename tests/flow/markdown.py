"""The Markdown files of the repository: their code blocks, and the anchors of their headings."""

import collections
import pathlib
import re
import textwrap

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FOREIGN = re.compile(r"(^|/)(node_modules|build[^/]*|\.[^/]+)/")

# page: relative to the repository; language: of a fence, "" if it names none, "indented" without a
# fence; line: where the text begins
Block = collections.namedtuple("Block", "page language text line")


def find_pages():
    paths = (path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.md"))
    return sorted(path for path in paths if not FOREIGN.search(path))


def read_page(page):
    return (ROOT / page).read_text(encoding="utf-8")


def find_blocks(page):
    blocks, inside, prose_before = [], None, True
    for number, line in enumerate(read_page(page).splitlines(), 1):
        fence = re.match(r"\s*```(\S*)", line)
        if fence and inside is None:
            inside = (fence[1], number + 1, [])
        elif fence:
            language, first, lines = inside
            blocks.append(Block(page, language, dedent(lines), first))
            inside = None
        elif inside is not None:
            inside[2].append(line)
        elif re.match(r"    +\S", line):
            if prose_before:
                blocks.append(Block(page, "indented", "", number))
            if blocks and blocks[-1].language == "indented":
                blocks[-1] = blocks[-1]._replace(text=blocks[-1].text + line.strip() + "\n")
        if inside is None:
            prose_before = not line.strip() or bool(fence)
    if inside is not None:
        raise AssertionError(f"{page}:{inside[1]}: a block that does not end")
    return blocks


def dedent(lines):
    return textwrap.dedent("\n".join(lines)) + "\n"


def without_blocks(page):
    return re.sub(r"^\s*```.*?^\s*```$", "", read_page(page), flags=re.DOTALL | re.MULTILINE)


def anchors_of(page):
    """As GitHub makes them of headings."""
    seen, anchors = collections.Counter(), set()
    for heading in re.findall(r"^#+ (.*)$", without_blocks(page), re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        anchors.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return anchors
