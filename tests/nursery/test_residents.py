"""Bots that run here, and who serves them: an end waits for these, but not for ever."""

from __future__ import annotations

import trio
import trio.testing

from trioworkers.nursery.residents import GRACE, PATIENCE, Resident, Residents

settle = trio.testing.wait_all_tasks_blocked


class Scene:
    """Who serves, and what they did. `ends`, `clings`: seconds that they take at the end, when cancelled."""

    def __init__(self, ends: float = 0.0, clings: float = 0.0) -> None:
        self.residents = Residents()
        self.told: list[str] = []
        self.ends, self.clings = ends, clings

    async def serve(self, resident: Resident) -> None:
        self.told.append(f"begin {resident.name}")
        try:
            await resident.wait_ending()
            self.told.append(f"ending {resident.name}")
            await trio.sleep(self.ends)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.clings)
            self.told.append(f"end {resident.name}")


async def test_each_is_served_as_long_as_it_runs_here(nursery, autojump_clock):
    """Those that were there before, and those that come; a bot that comes again is another one."""
    scene = Scene()
    first = scene.residents.begin("a", 1)
    nursery.start_soon(scene.residents.serve_each, scene.serve)
    await settle()
    second = scene.residents.begin("b", 2)
    await settle()
    await scene.residents.end(first)
    await scene.residents.cut(first)
    scene.residents.begin("a", 1)
    await settle()
    assert scene.told == ["begin a", "begin b", "ending a", "end a", "begin a"]
    await scene.residents.cut(second)
    assert scene.told[5:] == ["ending b", "end b"] or scene.told[5:] == ["end b"]


async def test_an_end_waits_until_what_was_under_way_is_done(nursery, autojump_clock):
    """But for a few seconds only, then it is cancelled."""
    for ends, waits in ((2.0, 2.0), (100.0, GRACE)):
        scene = Scene(ends=ends)
        resident = scene.residents.begin("a", 1)
        nursery.start_soon(scene.residents.serve_each, scene.serve)
        await settle()
        began = trio.current_time()
        await scene.residents.end(resident)
        assert (trio.current_time() - began, scene.told[-1]) == (waits, "end a")


async def test_a_bot_that_is_cut_off_is_left_at_once(nursery, autojump_clock):
    """Also amid an end; one that does not leave is not waited for without end, even if that is cancelled."""
    scene = Scene(ends=3.0, clings=100.0)
    resident = scene.residents.begin("a", 1)
    nursery.start_soon(scene.residents.serve_each, scene.serve)
    await settle()
    began = trio.current_time()
    with trio.move_on_after(1):
        await scene.residents.end(resident)
    with trio.CancelScope() as scope:
        scope.cancel()
        await scene.residents.cut(resident)
    assert trio.current_time() - began == 1 + PATIENCE
    nursery.cancel_scope.cancel()


async def test_nobody_is_waited_for_where_nobody_serves(autojump_clock):
    """As in a daemon without such a plugin, or when its service has ended."""
    scene = Scene()
    resident = scene.residents.begin("a", 1)
    async with trio.open_nursery() as serving:
        serving.start_soon(scene.residents.serve_each, scene.serve)
        await settle()
        serving.cancel_scope.cancel()
    began = trio.current_time()
    await scene.residents.end(resident)
    await scene.residents.cut(resident)
    assert trio.current_time() == began
