"""Takes up the free places between the objects of a process, before workers are forked from it.

A worker would put its first objects there, one to a page, and so copy all these pages (1 MB). Objects of up
to 512 bytes lie in pools, and how many places are free in those CPython tells (`sys._debugmallocstats`, a
report of its own for people who look for leaks). Of larger ones the C library keeps account: a few of each
size are enough.
"""

from __future__ import annotations

import os
import re
import sys

LARGE = range(600, 2500, 200)  # bytes
LARGE_COUNT = 50
ROUNDS = 2  # to take them up frees some places, too
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

    Empty where the interpreter has no such pools (`PYTHONMALLOC=malloc`), or does not tell.
    """
    report = getattr(sys, "_debugmallocstats", None)
    if report is None:
        return {}
    sys.stderr.flush()
    kept = os.dup(2)
    told = os.memfd_create("free-places")
    try:
        os.dup2(told, 2)
        report()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    try:
        text = os.pread(told, os.fstat(told).st_size, 0)
    finally:
        os.close(told)
    return {int(size): int(count) for size, count in _ROW.findall(text)}
