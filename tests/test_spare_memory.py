"""What a process keeps of memory that it does not use."""

from __future__ import annotations

import subprocess
import sys

import trio

from trioworkers import spare_memory
from trioworkers.shortage import NoThreadError
from trioworkers.spare_memory import EVERY, give_back, serve_spare_memory

LEAVES_HOLES = """
from pathlib import Path
from trioworkers.spare_memory import give_back

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

pieces = [bytes(1000) for _ in range(60_000)]
kept = pieces[::100]
del pieces
before = resident()
give_back()
print(before - resident())
"""


def test_what_is_free_between_objects_goes_back_to_the_system():
    """The C library alone gives back what is behind the last of them."""
    ended = subprocess.run(
        [sys.executable, "-c", LEAVES_HOLES], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(ended.stdout) > 40_000_000


async def test_it_is_done_once_a_minute(autojump_clock, monkeypatch):
    """Also after a time in which there was no thread for it."""
    asked: list[float] = []

    async def in_thread(function):
        await trio.lowlevel.checkpoint()
        assert function is give_back
        asked.append(trio.current_time())
        if len(asked) == 3:
            raise NoThreadError

    monkeypatch.setattr(spare_memory, "in_thread", in_thread)
    with trio.move_on_after(10.5 * EVERY):
        await serve_spare_memory()
    assert len(asked) == 10
