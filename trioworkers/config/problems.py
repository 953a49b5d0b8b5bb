"""What is wrong with a fleet file: one record per fault, all of them raised together.

A problem never shows the value of a token or a secret. Whoever builds one takes care of that; as
a second lock every text that looks like a token is masked here, wherever it came from (a token
pasted as a bot's name, as a key, as the name of a variable).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trioworkers.errors import TrioworkersError
from trioworkers.masking import mask_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from trioworkers.config.watched import Watched

_LONGEST_KEY = 200  # characters of a key that are shown
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

KeyPath = tuple[str | int, ...]
"""Where a value is: keys from the outermost table inwards, an int where an array is entered."""


def dotted(path: Iterable[str | int]) -> str:
    """Writes a path as TOML would: `bots."a.b".token`; elements of arrays as `[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        if len(part) > _LONGEST_KEY:
            part = f"{part[:_LONGEST_KEY]}…"
        key = part if _BARE_KEY.fullmatch(part) else f'"{_printable(part)}"'
        text += f".{key}" if text else key
    return text


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a fleet file; its text is one line, `file:line:column: path: message`.

    Attributes:
        file: the file in which it is.
        line: 1-based; 0 if the fault has no place in the file (then neither is shown).
        column: 1-based, in characters; 0 with `line`.
        path: the key's dotted path; empty where no key is concerned (broken TOML).
        message: what is wrong and what was expected, lowercase, without a full stop.
    """

    file: Path
    line: int
    column: int
    path: str
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", mask_tokens(self.path))
        object.__setattr__(self, "message", mask_tokens(_printable(self.message)))

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else str(self.file)
        return ": ".join(part for part in (where, self.path, self.message) if part)


class FleetFileError(TrioworkersError):
    """The fleet file cannot be used; the settings in force stay in force.

    Attributes:
        problems: all faults that were found, in the order of files, lines and columns.
        watched: what a change of may mend it, as far as that was found out; None when nothing was read.
    """

    def __init__(self, problems: Iterable[Problem], watched: Watched | None = None) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        self.watched = watched
        super().__init__("\n".join(map(str, self.problems)))
