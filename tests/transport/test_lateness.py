"""Deadlines of many exchanges, which one task keeps."""

from __future__ import annotations

import trio

from trioworkers.http.lateness import lateness


class Exchange:
    """Notes when it was told that it is late."""

    def __init__(self, seconds):
        self.deadline = trio.current_time() + seconds
        self.told = []

    def late(self):
        self.told.append(trio.current_time())


async def test_each_is_told_at_its_deadline(autojump_clock):
    """Also one that comes later and is over earlier; each once."""
    began = trio.current_time()
    slow, quick = Exchange(70), Exchange(3)
    lateness().begin(slow)
    await trio.sleep(1)
    lateness().begin(quick)
    await trio.sleep(200)
    assert (quick.told, slow.told) == ([began + 3], [began + 70])


async def test_a_deadline_may_move_and_who_has_ended_is_left_alone(autojump_clock):
    """The task finds out when it wakes."""
    began = trio.current_time()
    moved, ended = Exchange(5), Exchange(5)
    for one in (moved, ended):
        lateness().begin(one)
    await trio.sleep(4)
    moved.deadline += 10
    lateness().end(ended)
    lateness().end(ended)
    await trio.sleep(200)
    assert (moved.told, ended.told) == ([began + 15], [])


async def test_one_looks_after_all_of_a_loop(autojump_clock):
    """So that a thousand exchanges are one task."""
    began = trio.current_time()
    assert lateness() is lateness()
    exchanges = [Exchange(seconds) for seconds in (3, 1, 2)]
    for one in exchanges:
        lateness().begin(one)
    await trio.sleep(2.5)
    assert [one.told for one in exchanges] == [[], [began + 1], [began + 2]]
