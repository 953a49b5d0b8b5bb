"""The dashboard: pages of plain ES modules, served by :mod:`trioworkers.web.static`. No build step."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable


def static_files() -> dict[str, bytes]:
    """Read every file of the dashboard; keys are paths such as `pages/desk.js`."""
    return dict(_below(files(__name__) / "static-files", ""))


def _below(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _below(entry, f"{path}{entry.name}/")
        else:
            yield f"{path}{entry.name}", entry.read_bytes()
