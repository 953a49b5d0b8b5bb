"""Templates, rendered to files: all of a set are written, or none.

A template is a file below `template-files/`, a name that no package can have. Its own name ends in `.in`, so
that no tool takes it for source. In its path, `NAME` stands for the name; in its text, `$name`,
`$distribution`, `$title` and `$variable` are replaced (:class:`string.Template`).
"""

from __future__ import annotations

import os
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from trioworkers.errors import TrioworkersError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from importlib.resources.abc import Traversable
    from pathlib import Path

SUFFIX = ".in"


class FilesExistError(TrioworkersError):
    """Files that would be written are there already; nothing was written."""


def plugin_files(name: str) -> dict[str, str]:
    """Return the files of a new plugin: their texts by their paths, below a folder of its name."""
    return {f"{name}/{path}": text for path, text in _render("plugin", name).items()}


def bot_files(name: str) -> dict[str, str]:
    """Return the files of a new bot: their texts by their paths, below the folder of its fleet file."""
    return _render("bot", name)


def bot_table(name: str) -> str:
    """Return the table of a new bot, for a fleet file."""
    return _render("table", name)["table.toml"]


def fleet_files(name: str) -> dict[str, str]:
    """Return the files of a new fleet with one new bot: their texts by their paths."""
    texts = {**_render("fleet", name), **bot_files(name)}
    texts["fleet.toml"] += bot_table(name)
    return texts


def _render(kind: str, name: str) -> dict[str, str]:
    words = {
        "name": name,
        "distribution": f"trioworkers-{name.replace('_', '-')}",
        "title": name.replace("_", " ").capitalize(),
        "variable": f"{name.upper()}_TOKEN",
    }
    rendered = {}
    for path, template in _templates(files("trioworkers.scaffold") / "template-files" / kind):
        text = Template(template.read_text(encoding="utf-8")).substitute(words)
        rendered[path.replace("NAME", name).removesuffix(SUFFIX)] = text
    return dict(sorted(rendered.items()))


def write_files(folder: Path, texts: Mapping[str, str], private: Collection[str] = ()) -> None:
    """Write files into a folder, which is made where it does not exist.

    Args:
        folder: where they go.
        texts: what they hold, by their paths.
        private: those that only their owner may read, and whose folders only their owner may enter.

    Raises:
        FilesExistError: one of them exists, whatever it is. None was written then.
        OSError: one cannot be written; those before it are removed again.
    """
    if there := [name for name in texts if (folder / name).exists() or (folder / name).is_symlink()]:
        raise FilesExistError(f"{folder}: {', '.join(there)}: expected not to exist; nothing was written")
    written: list[Path] = []
    try:
        for name, text in texts.items():
            path = folder / name
            mode = 0o600 if name in private else 0o666  # what the umask leaves of it
            folder.mkdir(parents=True, exist_ok=True)
            path.parent.mkdir(0o700 if name in private else 0o777, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            with open(descriptor, "w", encoding="utf-8") as file:
                written.append(path)
                file.write(text)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def _templates(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        path = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _templates(entry, f"{path}/")
        elif path.endswith(SUFFIX):
            yield path, entry
