"""What a process manager runs, in words that are the same for each of them."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trioworkers.errors import TrioworkersError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LARGEST = 1024 * 1024  # bytes of a file that is read


class AdoptError(TrioworkersError):
    """A file cannot be read as what it is; the message begins with its name, and holds no value of it."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line of a file, from 1; 0 where only the file is known."""

    file: Path
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else str(self.file)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that a program is given.

    Attributes:
        text: its value; "" where it is taken from `outer`.
        place: where that is said.
        outer: the variable of the surroundings that it is taken from, if that is all there is to it.
    """

    text: str = field(repr=False)
    place: Place
    outer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One thing that a process manager runs.

    Attributes:
        name: what it is called there.
        place: where it is declared.
        command: the program and its arguments.
        cwd: its working directory.
        variables: what it is given beside the surroundings' variables.
        copies: how many processes run this command at the same time; 0: as many as there are processors.
        memory_limit: as the fleet file writes it, if there is one.
        enabled: whether it is started by itself.
        mounted: files that it finds under another path, by that path.
        obstacle: why it cannot be moved, if that can be seen without its code.
        notes: what does not come along.
    """

    name: str
    place: Place
    command: tuple[str, ...]
    cwd: Path
    variables: Mapping[str, Variable] = field(default_factory=dict)
    copies: int = 1
    memory_limit: str | None = None
    enabled: bool = True
    mounted: Mapping[str, Path] = field(default_factory=dict)
    obstacle: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Survey:
    """All that one file or folder says.

    Attributes:
        kind: what it is, in words: `a PM2 ecosystem file`.
        path: the file or folder.
        services: what is run by it.
        notes: what concerns all of them.
        stop: how it is stopped where it runs now; {} stands for a service's name. None: nobody knows.
    """

    kind: str
    path: Path
    services: tuple[Service, ...]
    notes: tuple[str, ...] = ()
    stop: str | None = None


def line_of(text: str, *words: str) -> int:
    """Return the line on which a word stands, looked for behind the words before it; 0 if it is not there."""
    at = 0
    for word in words:
        if not word:
            continue
        found = re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])").search(text, at)
        if found is None:
            return 0
        at = found.start()
    return text.count("\n", 0, at) + 1


def read_text(file: Path) -> str:
    """Return what a file holds.

    Raises:
        AdoptError: it cannot be read, is not a regular file, too large, or not UTF-8.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                message = f"{file}: expected a regular file"
                raise AdoptError(message)
            raw = stream.read(LARGEST + 1)
    except OSError as error:
        message = f"{file}: cannot be read: {(error.strerror or type(error).__name__).lower()}"
        raise AdoptError(message) from None
    except ValueError:
        message = f"{str(file)!r}: not a path"
        raise AdoptError(message) from None
    if len(raw) > LARGEST:
        message = f"{file}: too large, expected at most {LARGEST // 2**20} MB"
        raise AdoptError(message)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        message = f"{file}: expected text in UTF-8"
        raise AdoptError(message) from None


def text_or_none(file: Path) -> str | None:
    """Return what a file holds, or None if it is not there or cannot be read."""
    try:
        return read_text(file)
    except AdoptError:
        return None
