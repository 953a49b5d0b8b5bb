"""The free places between the objects of a process, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

FILLS = """
import json, sys
floats = [number + 0.5 for number in range(50_000)]
del floats[::2]
kept = [object() for _ in range(50_000)]
del kept[::2]  # leaves holes
from trioworkers.worker.free_places import fill_free_places, free_places
before = free_places()
filling = fill_free_places()
print(json.dumps([before, free_places()]))
print("still here", file=sys.stderr)
"""
UNHEARD = """
import os
from trioworkers.worker.free_places import fill_free_places, free_places

def refused(name):
    raise PermissionError

os.memfd_create = refused
before = os.listdir("/proc/self/fd")
assert fill_free_places()
assert (free_places(), os.listdir("/proc/self/fd")) == ({}, before)
"""


def run(program: str = FILLS, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, env={**os.environ, **environ}, capture_output=True, text=True, check=True, timeout=60
    )


def test_free_places_are_taken_up():
    """Most of them: to count them needs some. What the interpreter tells goes to nobody's terminal."""
    ended = run()
    before, after = ({int(size): count for size, count in one.items()} for one in json.loads(ended.stdout))
    assert before[16] > 20_000  # of a bare object
    sizes = [size for size in before if size > 32]
    assert sum(size * after[size] for size in sizes) < sum(size * before[size] for size in sizes)
    assert after[32] < before[32]  # of a float
    assert ended.stderr == "still here\n"


def test_where_it_cannot_be_heard_what_is_free_the_start_goes_on():
    """The system may refuse files in memory (vm.memfd_noexec)."""
    run(UNHEARD)


def test_an_interpreter_without_pools_has_none():
    """Then nothing but large objects is made."""
    assert run(PYTHONMALLOC="malloc").stdout.strip() == "[{}, {}]"
