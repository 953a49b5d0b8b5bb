"""A pg_dump that takes as long as is wanted: its snapshot keeps the server from removing dead rows."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Sequence

ROW = 1024  # bytes of a row that fills the table
PACE = 128 * ROW  # bytes a second that are read of the dump
FILL = """
CREATE TABLE public.filler AS
SELECT repeat(md5(number::text), %s) AS text FROM generate_series(1, %s) AS series (number)
"""
SIZES = """
SELECT relname, pg_total_relation_size(relid), n_dead_tup FROM pg_stat_user_tables
WHERE schemaname = 'trioworkers'
"""
MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Size:
    """A table with its indexes, in bytes, and its rows that nobody sees any more."""

    total: int
    dead: int


def sizes(url: str) -> dict[str, Size]:
    """The sizes of all tables of a store."""
    with psycopg.connect(url, target_session_attrs="read-write") as connection:
        return {name: Size(total, dead) for name, total, dead in connection.execute(SIZES)}


def slow_dump(program: str, url: str, seconds: float) -> int:
    """Fill a table of its own, and dump the whole database so slowly that it takes `seconds`. It blocks.

    Returns:
        The exit code of pg_dump.
    """
    with psycopg.connect(url, target_session_attrs="read-write") as connection:
        connection.execute(FILL, (ROW // 32, int(seconds * PACE / ROW)))
    command = [program, "-d", f"{url}?target_session_attrs=read-write"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as dump:
        if dump.stdout is None:
            raise ValueError("expected a pipe")
        began, read = time.monotonic(), 0
        while data := os.read(dump.stdout.fileno(), PACE // 8):
            read += len(data)
            early = read / PACE - (time.monotonic() - began)
            time.sleep(max(0.0, min(early, seconds - (time.monotonic() - began))))
    return dump.returncode


def bloat(before: dict[str, Size], during: dict[str, Size], after: dict[str, Size]) -> dict[str, str]:
    """In words, how each table grew: before the dump, at its end, and at the end of the soak."""
    found = {}
    for name, end in sorted(during.items(), key=lambda item: -item[1].total):
        stages = (before.get(name, Size(0, 0)), end, after.get(name, Size(0, 0)))
        if end.total > 2 * stages[0].total + MEGABYTE / 10 or end.dead > 1000:
            found[name] = " > ".join(f"{one.total / MEGABYTE:.1f}" for one in stages)
            found[name] += f" MB ({end.dead} dead rows)"
    return found


def answered(waits: Sequence[Sequence[float]], since: float, until: float) -> dict[str, Any]:
    """How soon messages were answered that were sent during a dump, and how soon the others were."""
    inside = [end - begin for begin, end in waits if since <= begin <= until]
    outside = [end - begin for begin, end in waits if not since <= begin <= until]
    return {
        name: f"median {median(took):.3f} s, 99 % {quantiles(took, n=100)[98]:.3f} s"
        for name, took in (("during the dump", inside), ("without it", outside))
        if len(took) > 1
    }
