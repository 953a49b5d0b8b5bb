"""Where a daemon and its logs are found, for those who only speak to it or read them.

The variables that hold the tokens are set where the daemon runs, not in every terminal; and a file that
somebody is editing must not hide the daemon that was started from it. So only the keys that say where
these are, and the names of bots, are read, as the daemon reads them, whatever else is wrong.
"""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from trioworkers.config.bounds import too_deep_key
from trioworkers.config.environment import Environment
from trioworkers.config.problems import FleetFileError
from trioworkers.config.toml import LARGEST, Source, read_source
from trioworkers.config.values import BOT_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KEYS = ("state_dir", "runtime_dir", "log_dir")
_LONGEST_LINE = 8192  # characters: a path has 4096 at most, path_resolution(7), and each may be escaped
_HEADER = re.compile(r"\s*\[\s*(\S*?)\s*\]\s*(#.*)?")


def find_runtime_dir(path: Path, environ: Mapping[str, str]) -> Path:
    """Returns `fleet.runtime_dir` of the fleet file at `path`, as :func:`load_fleet` would.

    Of a value that is wrong nothing is taken, as if its key were absent.

    Raises:
        FleetFileError: the file cannot be read.
    """
    return _folder(path, environ, "runtime_dir")


def find_state_dir(path: Path, environ: Mapping[str, str]) -> Path:
    """Returns `fleet.state_dir` in the same way.

    Raises:
        FleetFileError: the file cannot be read.
    """
    return _folder(path, environ, "state_dir")


def find_log_dir(path: Path, environ: Mapping[str, str]) -> Path:
    """Returns `fleet.log_dir` in the same way.

    Raises:
        FleetFileError: the file cannot be read.
    """
    return _folder(path, environ, "log_dir")


def find_bot_names(path: Path, environ: Mapping[str, str]) -> set[str]:
    """Returns the names of the bots of the fleet file at `path` and of both `fleet.d`.

    Those in a file that is not good TOML are missing.

    Raises:
        FleetFileError: the fleet file cannot be read.
    """
    folders = {path.absolute().parent / "fleet.d", find_state_dir(path, environ) / "fleet.d"}
    files = [path, *(file for folder in folders for file in folder.glob("*.toml"))]
    tables = [source.tables.get("bots") for source in map(read_source, files) if isinstance(source, Source)]
    return {name for table in tables if isinstance(table, dict) for name in table if BOT_NAME.fullmatch(name)}


def _folder(path: Path, environ: Mapping[str, str], key: str) -> Path:
    path = path.absolute()
    source = read_source(path)
    if isinstance(source, Source):
        table = source.tables.get("fleet")
    else:
        if not path.is_file():  # a fifo would block
            raise FleetFileError(source)
        try:
            with path.open(encoding="utf-8-sig", errors="replace") as stream:
                table = _lines_of_fleet(stream.read(LARGEST))
        except (OSError, ValueError):
            raise FleetFileError(source) from None
    given = table if isinstance(table, dict) else {}
    usable = {key: given[key] for key in KEYS if _is_path(given.get(key))}
    filled = Environment(environ).fill_fleet(usable)
    return path.parent / str(filled.get(key, "state"))


def _is_path(value: object) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value


def _lines_of_fleet(text: str) -> dict[str, Any]:
    """Returns the keys of `[fleet]` that stand on a good line, of a text that is not TOML as a whole."""
    table = ""
    found: dict[str, Any] = {}
    for line in text.split("\n"):
        if line.lstrip().startswith("["):
            header = _HEADER.fullmatch(line.rstrip()) if len(line) <= _LONGEST_LINE else None
            table = header[1] if header else "?"
        if table not in ("", "fleet") or len(line) > _LONGEST_LINE or too_deep_key(line) is not None:
            continue
        with suppress(ValueError, RecursionError):
            read = tomllib.loads(line)
            inner = read if table == "fleet" else read.get("fleet") if table == "" else None
            found.update(inner if isinstance(inner, dict) else {})
    return found
