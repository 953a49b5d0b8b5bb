"""The documents as tests read them: pages, tables between marks, blocks of code, headings, links."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = sorted(DOCS.rglob("*.md"))
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *PAGES]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def page(name: str) -> str:
    """Returns the text of a page below docs/."""
    return (DOCS / name).read_text()


def section(name: str, mark: str) -> str:
    """Returns what stands in a page between the marks of that name."""
    return page(name).split(f"<!-- {mark} -->\n")[1].split(f"<!-- end of {mark} -->")[0]


def rows(name: str, mark: str) -> list[list[str]]:
    """Returns the cells of a marked table, without its head."""
    lines = [line for line in section(name, mark).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def code(text: str) -> list[str]:
    """Returns what stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def prose(text: str) -> str:
    """Returns a document without its blocks of code."""
    return _FENCE.sub("", text)


def fenced(text: str) -> list[tuple[str, str]]:
    """Returns a document's blocks of code in their order, each with its language."""
    return _FENCE.findall(text)


def blocks(text: str, language: str) -> list[str]:
    """Returns a document's blocks of code in that language."""
    return [block for found, block in fenced(text) if found == language]


def file_block(text: str, language: str, name: str) -> str:
    """Returns the block of code whose first line names that file."""
    return next(block for block in blocks(text, language) if block.startswith(f"# {name}\n"))


def links(document: Path) -> list[tuple[Path, str]]:
    """Returns the relative links of a document, as the file and the anchor that each leads to."""
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document.read_text())):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            found.append(((document.parent / path).resolve() if path else document, anchor))
    return found


def anchors(document: Path) -> list[str]:
    """Returns the anchors of a document's headings as both GitHub and Python-Markdown make them.

    GitHub makes a hyphen of each space, Python-Markdown one of all in a row; where the two differ there is
    none, so that a link to it fails in the test rather than for half of its readers.
    """
    found = []
    for heading in re.findall(r"^#+ (.*)$", prose(document.read_text()), re.MULTILINE):
        words = re.sub(r"[^\w\s-]", "", heading.lower()).strip()
        ours, theirs = words.replace(" ", "-"), re.sub(r"[-\s]+", "-", words)
        if ours == theirs and words.isascii():
            found.append(ours)
    return found
