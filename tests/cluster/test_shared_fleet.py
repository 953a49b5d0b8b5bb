"""A fleet whose bots run on several daemons: what it takes, gives back and cuts off."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
import trio.testing

from trioworkers.nursery import fleet as fleet_module
from trioworkers.nursery.fleet import FleetScope


class PlayedBot:
    """A bot that ends when its work is done, once it drains."""

    def __init__(self, settings: Any, context: Any) -> None:
        self.settings, self.context = settings, context
        self.ended, self.work = trio.Event(), trio.Event()
        self._drains = trio.Event()
        self.runs = 0

    def stop_intake(self) -> None: ...

    def drain(self) -> None:
        self._drains.set()

    def may_run_beside(self, other: PlayedBot) -> bool:
        return bool(self.settings.bot_id != other.settings.bot_id)

    async def wait_judged(self) -> None: ...

    def webhook_changed(self) -> None: ...

    async def run(self) -> None:
        self.runs += 1
        await self._drains.wait()
        await self.work.wait()


class Scene:
    """A shared fleet of three bots, of which it owns none yet."""

    def __init__(self) -> None:
        self.bots = {name: SimpleNamespace(name=name, bot_id=n) for n, name in enumerate("abc", 1)}
        self.context = _Context(self)
        self.fleet = FleetScope({}, cast("Any", self.context), is_shared=True)

    def bot(self, name: str) -> PlayedBot:
        bot: Any = self.fleet.get_bots()[name]
        assert isinstance(bot, PlayedBot)
        return bot

    def running(self) -> dict[str, int]:
        return {name: cast("Any", bot).runs for name, bot in self.fleet.get_bots().items()}

    def plan(self, **what: Any) -> Any:
        plan: dict[str, Any] = {"added": (), "removed": (), "replaced": {}, "retuned": {}, "changed": ()}
        return SimpleNamespace(**{**plan, **what}, fleet=SimpleNamespace(bots=self.bots))


class _Context:
    """As much of a context as a fleet looks at itself."""

    def __init__(self, scene: Scene) -> None:
        self.fleet = lambda: SimpleNamespace(bots=scene.bots)
        self.touched: set[str] = set()
        self.paces = None
        self.webhooks = SimpleNamespace(deliveries=SimpleNamespace(remove=lambda name: None))
        self.may_start: Any = None


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Its bots are played."""
    monkeypatch.setattr(fleet_module, "BotScope", PlayedBot)
    monkeypatch.setattr(fleet_module, "replace", lambda context, **changed: context)
    return Scene()


async def started(scene: Scene, nursery: trio.Nursery, *bots: int) -> None:
    scene.fleet.take(bots)
    nursery.start_soon(scene.fleet.run)
    await trio.testing.wait_all_tasks_blocked()


async def test_only_what_was_taken_runs(scene: Scene, nursery: trio.Nursery) -> None:
    """Before the fleet runs and after; what the fleet does not know is left out, nothing is run twice."""
    await started(scene, nursery, 1, 99)
    assert scene.fleet.ready.is_set()
    assert scene.running() == {"a": 1}
    scene.fleet.take([1, 3])
    await trio.testing.wait_all_tasks_blocked()
    assert scene.running() == {"a": 1, "c": 1}
    assert scene.context.touched >= {"a", "c"}
    scene.fleet.cut()


async def test_what_was_taken_over_is_known_from_what_the_daemon_began_with(
    scene: Scene, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bot that another daemon ran may take in its updates before its worker is ready."""
    changed: list[dict[str, Any]] = []

    def replaced(context: Any, **what: Any) -> Any:
        changed.append(what)
        return context

    monkeypatch.setattr(fleet_module, "replace", replaced)
    await started(scene, nursery, 1)
    assert changed == []
    scene.fleet.take([2])
    assert [what["is_taken_over"] for what in changed] == [True]
    scene.fleet.cut()


async def test_what_is_given_back_drains_and_is_then_gone(scene: Scene, nursery: trio.Nursery) -> None:
    """Taken again meanwhile, it waits for the end of what it was."""
    await started(scene, nursery, 1, 2)
    former = scene.bot("a")
    scene.fleet.give_back([1])
    assert scene.running() == {"b": 1}
    gone = trio.Event()

    async def wait() -> None:
        await scene.fleet.wait_gone([1])
        gone.set()

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    scene.fleet.take([1])
    await trio.testing.wait_all_tasks_blocked()
    assert (scene.running(), gone.is_set()) == ({"b": 1, "a": 0}, False)
    former.work.set()
    await former.ended.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert gone.is_set()
    assert scene.running() == {"b": 1, "a": 1}
    scene.fleet.cut()


async def test_a_cut_ends_all_at_once_also_what_drains(scene: Scene, nursery: trio.Nursery) -> None:
    """Of some bots, or of all, and even where the fleet does not run yet."""
    await started(scene, nursery, 1, 2, 3)
    scene.fleet.give_back([1])
    scene.fleet.cut([2])
    with trio.fail_after(5):
        await scene.fleet.wait_gone([2])
    assert scene.running() == {"c": 1}
    assert [bot.settings.name for bot in scene.fleet.everyone] == ["c", "a"]
    scene.fleet.cut()
    with trio.fail_after(5):
        await scene.fleet.wait_gone()
    assert scene.fleet.everyone == []
    fresh = Scene()
    fresh.fleet.take([1])
    fresh.fleet.cut()
    nursery.start_soon(fresh.fleet.run)
    with trio.fail_after(5):
        await fresh.fleet.wait_gone()


async def test_a_plan_begins_only_what_is_owned(scene: Scene, nursery: trio.Nursery) -> None:
    """Bots of other nodes are in it, too; one that is switched off and on stays where it is."""
    await started(scene, nursery, 1)
    scene.bots["d"] = SimpleNamespace(name="d", bot_id=4)
    scene.fleet.apply(scene.plan(added=("d",), removed=("b",), retuned={"c": ("order",)}))
    await trio.testing.wait_all_tasks_blocked()
    assert scene.running() == {"a": 1}
    scene.bot("a").work.set()
    scene.fleet.apply(scene.plan(retuned={"a": ("enabled",)}))
    await trio.testing.wait_all_tasks_blocked()
    assert scene.running() == {"a": 1}
    scene.fleet.take([4])
    await trio.testing.wait_all_tasks_blocked()
    assert scene.running() == {"a": 1, "d": 1}
    scene.fleet.cut()


async def test_a_fleet_that_stops_takes_nothing(scene: Scene, nursery: trio.Nursery) -> None:
    """A claim may have been under way."""
    await started(scene, nursery, 1)
    scene.fleet.stop()
    scene.fleet.take([2])
    assert scene.running() == {"a": 1}
    scene.bot("a").work.set()


async def test_a_bot_is_gone_only_when_those_who_serve_it_have_ended(
    scene: Scene, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Drained, they may finish; cut off, they are cancelled. Taken again, it is another one."""
    told: list[str] = []

    async def serve(resident: Any) -> None:
        told.append(f"begin {resident.name}")
        try:
            await resident.wait_ending()
            await trio.sleep(1)
            told.append("finished")
        finally:
            told.append("end")

    nursery.start_soon(scene.fleet.residents.serve_each, serve)
    await started(scene, nursery, 1)
    scene.bot("a").work.set()
    scene.fleet.give_back([1])
    began = trio.current_time()
    await scene.fleet.wait_gone([1])
    assert (trio.current_time() - began, told) == (1, ["begin a", "finished", "end"])
    scene.fleet.take([1])
    await trio.testing.wait_all_tasks_blocked()
    scene.fleet.cut([1])
    await scene.fleet.wait_gone([1])
    assert told[3:] == ["begin a", "end"]
    assert trio.current_time() - began == 1
