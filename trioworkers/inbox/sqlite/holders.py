"""Who else has a database open: for people, who have to end a program that was forgotten."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROCESSES = Path("/proc")
MOST = 5


def holders_of(path: Path) -> Sequence[str]:
    """Up to five other processes that have the database open: `sqlite3 (pid 123)`.

    Those of other users are seen by root alone. It looks at every descriptor of the system that it may see.
    """
    found = []
    for process in PROCESSES.glob("[0-9]*"):
        if int(process.name) != os.getpid() and any(link == os.fspath(path) for link in _opened(process)):
            name = ""
            with suppress(OSError):
                name = (process / "comm").read_text(errors="replace").strip()
            found.append(f"{name or 'a process'} (pid {process.name})")
            if len(found) == MOST:
                break
    return found


def _opened(process: Path) -> Iterator[str]:
    with suppress(OSError):
        for descriptor in os.listdir(process / "fd"):
            with suppress(OSError):
                yield os.readlink(process / "fd" / descriptor)
