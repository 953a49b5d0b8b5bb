"""Rolling restarts, with bots that are played."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from trioworkers.nursery.rolling import MOST, STOPPED, RollingRestarts, choose_canaries


class Played:
    """A bot whose workers take a second to start."""

    def __init__(self, stage: Stage, name: str, handler: str, state: str = "running") -> None:
        self.settings: Any = SimpleNamespace(handler=handler)
        self.stage, self.name, self.state = stage, name, state
        self.tries: str | None = None
        self.starts: str | None = None

    @property
    def rests(self) -> bool:
        return self.state in ("sleeping", "stopped")

    async def try_worker(self) -> str | None:
        return await self.stage.work(f"try {self.name}", self.tries)

    async def restart(self, *, by_hand: bool) -> str | None:
        assert not by_hand
        return await self.stage.work(f"restart {self.name}", self.starts)


class Stage:
    """A fleet, what was done to it, and how much of it at once."""

    def __init__(self, **handlers: str) -> None:
        self.bots = {name: Played(self, name, handler) for name, handler in handlers.items()}
        self.done: list[str] = []
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.busy = self.most = 0
        self.restarts = RollingRestarts(self.emit)
        self.ready = trio.Event()
        self.ready.set()
        self.broken: OSError | None = None

    def emit(self, event: str, bot: str | None = None, **fields: Any) -> None:
        self.told.append((event, fields))

    async def renew(self) -> None:
        self.done.append("renew")
        if self.broken is not None:
            raise self.broken

    async def work(self, what: str, answer: str | None) -> str | None:
        self.done.append(what)
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            await trio.sleep(1)
        finally:
            self.busy -= 1
        return answer

    async def serve(self) -> None:
        await self.restarts.serve(lambda: self.bots, self.ready, self.renew)


async def test_a_canary_for_each_handler_then_all_bots(nursery: trio.Nursery, autojump_clock: object) -> None:
    """Libraries first; each handler is tried once, each bot restarted once."""
    it = Stage(a="one:h", b="one:h", c="two:h")
    nursery.start_soon(it.serve)
    rolled = await it.restarts.ask()
    assert it.done == ["renew", "try a", "try c", "restart a", "restart b", "restart c"]
    assert (rolled.refused, rolled.replaced, rolled.failed) == (None, 3, {})
    assert [event for event, _ in it.told] == ["restart.began", "restart.done"]
    it.restarts.stop()


async def test_a_canary_that_fails_stops_all(nursery: trio.Nursery, autojump_clock: object) -> None:
    """Nothing is replaced; what it said is the answer and the event."""
    it = Stage(a="one:h", c="two:h")
    it.bots["c"].tries = "handler cannot be imported"
    nursery.start_soon(it.serve)
    rolled = await it.restarts.ask()
    assert rolled.refused == "c: handler cannot be imported; nothing was replaced"
    assert not any(what.startswith("restart") for what in it.done)
    assert it.told[-1] == ("restart.refused", {"handler": "two:h", "reason": "handler cannot be imported"})
    it.restarts.stop()


async def test_libraries_that_cannot_be_renewed_stop_all(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    """Before any canary."""
    it = Stage(a="one:h")
    it.broken = OSError("no such library")
    nursery.start_soon(it.serve)
    rolled = await it.restarts.ask()
    assert rolled.refused == "no fresh start of workers: no such library; nothing was replaced"
    assert it.done == ["renew"]
    it.restarts.stop()


@pytest.mark.parametrize(("count", "window"), [(1, 1), (19, 1), (100, 10), (2000, MOST)])
async def test_the_window_is_a_tenth(
    nursery: trio.Nursery, autojump_clock: object, count: int, window: int
) -> None:
    """At least one at a time, and at most 50."""
    it = Stage(**{f"bot{number}": "one:h" for number in range(count)})
    nursery.start_soon(it.serve)
    began = trio.current_time()
    assert (await it.restarts.ask()).replaced == count
    assert it.most == window
    assert trio.current_time() - began == pytest.approx(1 + -(-count // window))
    it.restarts.stop()


async def test_a_bot_that_does_not_come_back_is_told_and_others_go_on(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    """With the reason."""
    it = Stage(a="one:h", b="one:h")
    it.bots["a"].starts = "restart budget spent"
    nursery.start_soon(it.serve)
    rolled = await it.restarts.ask()
    assert (rolled.replaced, rolled.failed) == (1, {"a": "restart budget spent"})
    assert it.told[-1] == ("restart.done", {"level": "error", "count": 1, "failed": 1})
    it.restarts.stop()


def test_bots_that_run_are_canaries_first_and_failed_ones_never() -> None:
    """A handler that only failed bots have holds up no other."""
    it = Stage(sleeps="one:h", runs="one:h", naps="two:h", broken="three:h", off="four:h")
    for name, state in (
        ("sleeps", "sleeping"),
        ("naps", "sleeping"),
        ("broken", "failed"),
        ("off", "stopped"),
    ):
        it.bots[name].state = state
    assert choose_canaries(it.bots) == ["runs", "naps"]


async def test_a_bot_without_a_process_is_left_alone(nursery: trio.Nursery, autojump_clock: object) -> None:
    """Its next worker is a fresh one anyway."""
    it = Stage(a="one:h", b="one:h")
    it.bots["b"].state = "sleeping"
    nursery.start_soon(it.serve)
    assert (await it.restarts.ask()).replaced == 1
    assert "restart b" not in it.done
    it.restarts.stop()


async def test_who_asks_while_one_is_under_way_gets_the_next(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    """What was replaced before they asked may be older than what they want; all of them share it."""
    it = Stage(a="one:h")
    nursery.start_soon(it.serve)
    answers = []

    async def ask() -> None:
        answers.append(await it.restarts.ask())

    it.restarts.request()
    await trio.sleep(0.5)
    async with trio.open_nursery() as askers:
        for _ in range(10):
            askers.start_soon(ask)
    assert it.done.count("restart a") == 2
    assert [answer.replaced for answer in answers] == [1] * 10
    it.restarts.stop()


async def test_none_begins_before_the_fleet_is_ready(nursery: trio.Nursery, autojump_clock: object) -> None:
    """A signal that comes early is not lost."""
    it = Stage(a="one:h")
    it.ready = trio.Event()
    it.restarts.request()
    nursery.start_soon(it.serve)
    await trio.sleep(10)
    assert it.done == []
    it.ready.set()
    await trio.sleep(10)
    assert it.done[-1] == "restart a"
    it.restarts.stop()


@pytest.mark.parametrize("when", ["before", "canary", "rolling", "after"])
async def test_a_stop_lets_go_and_tells_everybody(
    nursery: trio.Nursery, autojump_clock: object, when: str
) -> None:
    """Who waits is told that the daemon stops, and so is who asks later; nobody waits for ever."""
    it = Stage(a="one:h", b="one:h")
    nursery.start_soon(it.serve)
    answers = []

    async def ask() -> None:
        answers.append(await it.restarts.ask())

    if when in ("canary", "rolling"):
        nursery.start_soon(ask)
        await trio.sleep(0.5 if when == "canary" else 1.5)
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
    it.restarts.stop()
    if when == "after":
        await trio.sleep(1)
    nursery.start_soon(ask)
    with trio.fail_after(1):
        await trio.testing.wait_all_tasks_blocked()
    assert [answer.refused for answer in answers] == [STOPPED] * (3 if when in ("canary", "rolling") else 1)
    assert it.busy == 0


async def test_bots_that_are_removed_meanwhile_are_left_out(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    """One before its turn, one during it: neither is a failure, nor the end of anything."""
    it = Stage(a="one:h", b="one:h", c="one:h", d="two:h")
    it.bots["b"].starts = "the bot is stopped"
    nursery.start_soon(it.serve)
    async with trio.open_nursery() as asking:

        async def ask() -> None:
            rolled = await it.restarts.ask()
            assert (rolled.refused, rolled.failed) == (None, {})

        asking.start_soon(ask)
        await trio.sleep(0.5)
        del it.bots["d"]  # while the first canary starts
        await trio.sleep(2)
        del it.bots["b"], it.bots["c"]  # while b is restarted
    assert it.done == ["renew", "try a", "restart a", "restart b"]
    it.restarts.stop()
