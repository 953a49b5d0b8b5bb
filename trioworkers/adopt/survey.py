"""Finds out what a path is, and has it read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers.adopt import compose_file, pm2, supervisord
from trioworkers.adopt.folder import is_project, read_folder
from trioworkers.adopt.service import AdoptError, Survey, read_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_PROJECTS = 500
EXPECTED = (
    "expected an ecosystem file of PM2, a configuration of supervisord, a file of Docker Compose,"
    " or a folder with one of them, with package.json, requirements.txt or pyproject.toml"
)


def survey(path: Path) -> list[Survey]:
    """Return what a file or folder runs; of a folder of projects, one survey for each.

    Raises:
        AdoptError: it is none of what can be read, or cannot be read.
    """
    try:
        if path.is_dir():
            return _folder(path)
        return [_file(path)]
    except ValueError:  # a NUL in the name
        message = f"{str(path)!r}: not a path"
        raise AdoptError(message) from None


def _file(path: Path) -> Survey:
    text = read_text(path)
    if path.suffix in (".js", ".cjs", ".mjs", ".json"):
        if path.name == "package.json":
            return read_folder(path.parent)
        return pm2.read_pm2(path)
    if path.suffix in (".yml", ".yaml"):
        is_pm2 = path.name in pm2.NAMES or "apps:" in text.partition("services:")[0]
        return pm2.read_pm2(path) if is_pm2 else compose_file.read_compose(path)
    if supervisord.is_supervisord(text):
        return supervisord.read_supervisord(path)
    message = f"{path}: {EXPECTED}"
    raise AdoptError(message)


def _folder(folder: Path) -> list[Survey]:
    found = list(_known(folder))
    if found:
        first = _file(found[0])
        others = ", ".join(path.name for path in found[1:])
        notes = (
            (*first.notes, f"{others} beside it was not read: name it to adopt it") if others else first.notes
        )
        return [Survey(first.kind, first.path, first.services, notes, first.stop)]
    if is_project(folder):
        return [read_folder(folder)]
    try:
        inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        message = f"{folder}: cannot be read: {(error.strerror or '').lower()}"
        raise AdoptError(message) from None
    projects = [path for path in inner[:MOST_PROJECTS] if is_project(path)]
    if not projects:
        message = f"{folder}: {EXPECTED}"
        raise AdoptError(message)
    return [read_folder(path) for path in projects]


def _known(folder: Path) -> Iterator[Path]:
    """The files of process managers in a folder, the one that is taken first."""
    for name in (*pm2.NAMES, *supervisord.NAMES, *compose_file.NAMES):
        if (folder / name).is_file():
            yield folder / name
