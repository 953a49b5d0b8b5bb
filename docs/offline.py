"""Checks that a built site loads nothing from another host: `python docs/offline.py FOLDER`.

Prints each script, style, font, picture or frame that a page or a style sheet takes from elsewhere, and exits
with 1 if there is one. Links that a reader may follow are not loaded, and may lead anywhere.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

_ABROAD = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_IN_CSS = re.compile(r"""url\(\s*["']?([^"')]+)|@import\s+["']([^"']+)""")
_LOADS = ("src", "srcset", "poster", "data", "background")


def foreign_in_css(text: str) -> list[str]:
    """Returns the addresses on other hosts that a style sheet loads."""
    found = [address or imported for address, imported in _IN_CSS.findall(text)]
    return [address for address in found if _ABROAD.match(address)]


def foreign_in_html(text: str) -> list[str]:
    """Returns the addresses on other hosts that a page loads; those of its inline styles, too."""
    page = _Page()
    page.feed(text)
    page.close()
    return page.found


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_style = tag == "style"
        loads = (*_LOADS, "href") if tag in ("link", "image", "use", "base") else _LOADS
        for name, value in attrs:
            if value is None:
                continue
            if name in loads:
                addresses = [part.strip() for part in value.split(",")] if name == "srcset" else [value]
                self.found += [address for address in addresses if _ABROAD.match(address)]
            elif name == "style":
                self.found += foreign_in_css(value)

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.found += foreign_in_css(data)


def check(folder: Path) -> list[str]:
    """Returns one line for each address on another host, in all pages and style sheets below a folder.

    Raises:
        FileNotFoundError: there is no page.
    """
    pages = sorted(folder.rglob("*.html"))
    if not pages:
        message = f"no page below {folder}"
        raise FileNotFoundError(message)
    found = {path: foreign_in_html(path.read_text()) for path in pages}
    found |= {path: foreign_in_css(path.read_text()) for path in sorted(folder.rglob("*.css"))}
    return [f"{path.relative_to(folder)}: {address}" for path, all_of in found.items() for address in all_of]


if __name__ == "__main__":
    problems = check(Path(sys.argv[1]))
    print(*problems, sep="\n", end="\n" if problems else "")
    sys.exit(1 if problems else 0)
