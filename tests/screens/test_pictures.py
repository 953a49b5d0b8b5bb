"""The pictures of the documentation: drawn by the code as it is now, shown somewhere, and small."""

from __future__ import annotations

import re
import runpy
from xml.etree import ElementTree

import pytest
from documents import DOCS, DOCUMENTS, README, links

SCRIPT = runpy.run_path(str(DOCS / "pictures.py"))
DRAWN: dict[str, str] = SCRIPT["drawn"]()
FOLDER = DOCS / "pictures"
LARGEST = 150_000  # bytes


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_as_the_code_draws_it(name: str) -> None:
    """After a change of a screen: `python docs/pictures.py`, and look at the pictures."""
    assert (FOLDER / name).read_text() == DRAWN[name]


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_holds_what_the_screen_says(name: str) -> None:
    """It is well-formed, loads nothing, and each word of the screen is in it, in its order."""
    root = ElementTree.fromstring(DRAWN[name])  # noqa: S314 - our own text
    said = "".join(root.itertext()).replace("\N{NO-BREAK SPACE}", " ").split()
    recorded = SCRIPT["json"].loads((FOLDER / "fleet.json").read_text())
    lines = SCRIPT["PICTURES"][name.removesuffix(".svg")](recorded)
    words = "".join(line.plain for line in lines).split()
    assert "".join(words) in "".join(said)
    assert re.findall("(?:href|src|url|@import)", DRAWN[name]) == []


def test_every_picture_is_shown() -> None:
    """Each file is in a page, with words for those who cannot see it; the README has one."""
    shown = {path for document in DOCUMENTS for path, _ in links(document) if path.parent == FOLDER}
    assert shown == {path for path in FOLDER.iterdir() if path.suffix != ".json"}
    texts = [re.findall(r"!\[(.*?)\]\(", document.read_text()) for document in DOCUMENTS]
    assert [words for found in texts for words in found if len(words) < 40] == []
    assert README.read_text().count("![") == 1


def test_pictures_are_small() -> None:
    """They are part of every clone."""
    assert [path.name for path in FOLDER.iterdir() if path.stat().st_size > LARGEST] == []
