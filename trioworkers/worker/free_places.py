"""Takes up the free places between the objects of a process, before workers are forked from it.

A worker would put its first objects there, one to a page, and so copy all these pages (1 MB). Objects of up
to 512 bytes lie in pools, and CPython reports how many places in these pools are free
(`sys._debugmallocstats`, meant for people who look for leaks). Larger ones are the C library's: a few of each
size are enough.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LARGE = range(600, 2500, 200)  # bytes
LARGE_COUNT = 50
ROUNDS = 2  # filling frees some places, so it is repeated
MOST = 50_000  # of each size; more would be the holes of a module that was preloaded and unloaded again
_ROW = re.compile(rb"^ *\d+ +(\d+) +\d+ +\d+ +(\d+)$", re.MULTILINE)  # size of a place; free ones
_BYTES, _FLOAT = b"".__sizeof__(), (0.5).__sizeof__()


def fill_free_places() -> list[object]:
    """Take up the free places; return what lies in them, to be kept."""
    filling: list[object] = []
    for _ in range(ROUNDS):
        free = free_places()
        for size, count in free.items():
            if size > _BYTES:
                filling.append([bytes(size - _BYTES) for _ in range(count)])
            elif size >= _FLOAT:
                filling.append([number + 0.5 for number in range(count)])
    filling.append([bytes(size) for size in LARGE for _ in range(LARGE_COUNT)])
    return filling


def free_places() -> dict[int, int]:
    """How many places for small objects are free in pools that have some in use, by size in bytes.

    Empty where the interpreter has no such pools (`PYTHONMALLOC=malloc`), or reports nothing, or where it
    cannot be heard: the system may allow no file in memory, or no descriptor more.
    """
    report = getattr(sys, "_debugmallocstats", None)
    if report is None:
        return {}
    try:
        text = _heard(report)
    except OSError:
        return {}
    return {int(size): min(int(count), MOST) for size, count in _ROW.findall(text)}


def _heard(report: Callable[[], object]) -> bytes:
    """What a function of the interpreter writes to standard error.

    Raises:
        OSError: it cannot be heard; nothing was written then.
    """
    with ExitStack() as closing:
        told = os.memfd_create("free-places")
        closing.callback(os.close, told)
        kept = os.dup(2)
        closing.callback(os.close, kept)
        os.dup2(told, 2)
        closing.callback(os.dup2, kept, 2)
        report()
        return os.pread(told, os.fstat(told).st_size, 0)
