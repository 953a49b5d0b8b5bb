"""Bots that are added and removed while the daemon runs: one file each, in `<state_dir>/fleet.d`.

A change is drafted first. The fleet is read with the draft in place of the file, so that what is wrong is
refused before anything is on disk: a bad file there would keep the daemon from its next start.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tomli_w

from trioworkers.config.positions import Positions
from trioworkers.config.problems import FleetFileError, Problem, dotted
from trioworkers.config.toml import Source, refused
from trioworkers.config.values import BOT_NAME, BOT_NAME_RULE
from trioworkers.errors import TrioworkersError
from trioworkers.private import sync_folder, write_private

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trioworkers.config.fleet import Fleet

HEAD = "# Written by trioworkers, which writes it anew: `trioworkers bots` changes it.\n"


class NotDynamicError(TrioworkersError):
    """The bot was not added by command; the message says where it stands."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A file of `<state_dir>/fleet.d` as it is going to be.

    Attributes:
        file: the file.
        source: what it will hold; None: it will be gone.
    """

    file: Path
    source: Source | None = field(repr=False)
    _content: bytes = field(default=b"", repr=False)

    def commit(self) -> None:
        """Write the file whole, with mode 0600, or remove it; on disk when this returns.

        Raises:
            OSError: it cannot be written or removed; what was there stays.
        """
        if self.source is None:
            self.file.unlink(missing_ok=True)
            sync_folder(self.file.parent)
        else:
            self.file.parent.mkdir(mode=0o700, exist_ok=True)
            write_private(self.file, self._content)


def draft_bot(state_dir: Path, name: str, table: Mapping[str, Any]) -> Draft:
    """Returns the draft of a bot that is added, or of its new table in the place of the old.

    Whether the table is right shows when the fleet is read with it.

    Raises:
        FleetFileError: the name is none, or the table holds what TOML cannot (null).
    """
    if BOT_NAME.fullmatch(name) is None:  # also what keeps the file inside its folder
        raise FleetFileError(
            [
                Problem(
                    state_dir / "fleet.d", 0, 0, dotted(("bots", name)), f"expected a name of {BOT_NAME_RULE}"
                )
            ]
        )
    file = _file(state_dir, name)
    tables = {"bots": {name: dict(table)}}
    problems = [Problem(file, 0, 0, dotted(path), message) for path, message in refused(tables)]
    if problems:
        raise FleetFileError(problems)
    try:
        content = (HEAD + tomli_w.dumps(tables)).encode()
    except (TypeError, ValueError):
        message = "expected strings, numbers, booleans, arrays and tables only"
        raise FleetFileError([Problem(file, 0, 0, dotted(("bots", name)), message)]) from None
    return Draft(file, Source(file, tables, Positions(content)), content)


def draft_removal(fleet: Fleet, name: str) -> Draft:
    """Returns the draft of a bot's removal.

    Raises:
        NotDynamicError: it stands elsewhere: in a file that somebody else writes, with others, or in no file.
        KeyError: the fleet has no such bot.
    """
    origin = fleet.origin(name)
    file = _file(fleet.state_dir, name)
    beside = [other for other in fleet.bots if other != name and fleet.origin(other) == origin]
    if os.path.realpath(origin) != os.path.realpath(file) or beside:
        message = f'the bot "{name}" stands in {origin}, expected one that was added by command'
        raise NotDynamicError(message)
    return Draft(file, None)


def _file(state_dir: Path, name: str) -> Path:
    return state_dir / "fleet.d" / f"{name}.toml"
