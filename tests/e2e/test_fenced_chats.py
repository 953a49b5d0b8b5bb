"""A chat is taken from a bot whose handlers are real processes: after the fence they say nothing more in it.

The parts of a daemon that belong to one bot, a real zygote with real workers, the simulated Telegram.
"""

from __future__ import annotations

import os
import secrets
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import trio
from fleet_project import until

from trioworkers.config.settings import BotSettings, LogSettings
from trioworkers.events import Event, Events
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.nursery.bot import BotScope
from trioworkers.nursery.bot_context import BotContext
from trioworkers.nursery.bot_hooks import NoHooks
from trioworkers.nursery.intake import Webhooks
from trioworkers.nursery.oom import OomKills
from trioworkers.nursery.paused import PausedBots
from trioworkers.nursery.slots import WorkerSlots
from trioworkers.nursery.zygote import open_zygote
from trioworkers.protocol.frames import WorkerPlugin
from trioworkers.protocol.orders import Prepare
from trioworkers.testing import Telegram, faults, serve_telegram
from trioworkers.transport.deliveries import Deliveries
from trioworkers.transport.registration import Digests, Registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

HANDLERS = """
import time, trio
from trioworkers import AskRefusedError

async def handle(update, bot):
    await bot.send_message(chat_id=update.chat_id, text=f"begun {update.text}")
    if update.text == "sleep":
        await trio.sleep(10)
    if update.text == "swallow":
        while True:
            try:
                await trio.sleep(10)
            except BaseException:
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.01)
    if update.text == "block":
        time.sleep(60)
    if update.text == "hand over":
        try:
            answer = await bot.handoff(update.chat_id, "asked")
        except AskRefusedError as error:
            answer = error.reason
        await bot.send_message(chat_id=update.chat_id, text=f"handed over: {answer}")
        return
    if update.text != "quick":
        await bot.send_message(chat_id=update.chat_id, text="late")
"""
HOOKS = """
from trioworkers import hookimpl

@hookimpl
def trioworkers_before_handle(update, plugin):
    plugin.log.info("before", sign=plugin.settings["sign"])
"""


class Taken(NoHooks):
    """A route that gives chats to a desk."""

    def __init__(self) -> None:
        self.chats: set[int] = set()
        self.heard: list[str | None] = []

    def route(self, settings: Any) -> Any:
        async def run(update: Any, bot: Any) -> None:
            await trio.lowlevel.checkpoint()
            self.heard.append(update.text)

        def route(updates: Sequence[Any]) -> list[Any]:
            return [run if waiting.key in map(str, self.chats) else None for waiting in updates]

        return route


class Stage:
    """One bot, its people, and the desk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: list[Event] = []
        self.world = Telegram(seed=1)
        self.sim = self.world.add_bot("support")
        self.alice, self.bob = self.world.add_user("Alice"), self.world.add_user("Bob")
        self.desk = Taken()
        self.answers: Any = None
        self.worker = "always"
        self.plugins: list[WorkerPlugin] = []

    def settings(self, **more: Any) -> BotSettings:
        table = {
            "name": "support",
            "token": self.sim.token,
            "handler": "dialog:handle",
            "worker": self.worker,
        }
        return BotSettings.model_validate({**table, "worker": self.worker, **more})

    async def begin(self, nursery: trio.Nursery, inbox: Any, zygote: Any, base: str) -> None:
        async def at_once(*_: object) -> None:
            await trio.lowlevel.checkpoint()

        async def ask(bot: str, name: str, params: dict[str, Any]) -> Any:
            return await self.answers(bot, name, params)

        fleet: Any = SimpleNamespace(
            proxy=None,
            local_files=None,
            api_base=base,
            python_path=[self.folder],
            log_dir=self.folder,
            state_dir=self.folder,
            log=LogSettings.model_validate({}),
        )
        registry = Registry(Digests(self.folder / "digests"), at_once)
        context = BotContext(
            fleet=lambda: fleet,
            inbox=inbox,
            makes=zygote,
            events=Events(self.events.append),
            may_start=at_once,
            slots=WorkerSlots(lambda: 10),
            webhooks=Webhooks(Deliveries(), lambda bot: None, registry),
            paused=PausedBots(self.folder / "paused"),
            oom=OomKills(None),
            hooks=self.desk,
            ask=ask,
            worker_plugins=lambda: self.plugins,
        )
        self.inbox = inbox
        self.bot = BotScope(self.settings(), context)
        nursery.start_soon(self.bot.run)

    async def ready(self) -> None:
        with trio.fail_after(30):
            await self.bot.wait_judged()

    def said(self, who: Any) -> list[str]:
        return [str(message["text"]) for message in self.world.sent(self.sim, who.id)]

    def told(self, name: str) -> list[Any]:
        return [event.fields for event in self.events if event.event == name]

    async def take(self, who: Any) -> float:
        """Take a user's chat from the bot; return how long the fence took."""
        self.desk.chats.add(who.id)
        self.bot.reroute()
        began = trio.current_time()
        with trio.fail_after(20):
            await self.bot.fence(who.id, 1)
        return trio.current_time() - began


@pytest.fixture(params=["fork", "spawn"])
async def stage(tmp_path: Path, request: Any, nursery: trio.Nursery) -> AsyncIterator[Stage]:
    (tmp_path / "dialog.py").write_text(HANDLERS)
    stage = Stage(tmp_path)
    base = await nursery.start(serve_telegram, stage.world)
    way, _, worker = request.param.partition(" ")
    stage.worker = worker or "always"
    prepare = Prepare(way, base, (), (str(tmp_path),))
    environ = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    async with (
        open_zygote(
            prepare, run=secrets.token_hex(16), folder=tmp_path, environ=environ, emit=lambda *_, **__: None
        ) as zygote,
        open_inbox(open_sqlite(tmp_path / "inbox.db")) as inbox,
    ):
        with trio.fail_after(60):
            await zygote.warm.wait()
        async with trio.open_nursery() as bots:
            await stage.begin(bots, inbox, zygote, base)
            yield stage
            bots.cancel_scope.cancel()
    nursery.cancel_scope.cancel()


forked = pytest.mark.parametrize("stage", ["fork"], indirect=True)


@forked
async def test_a_sleeping_handler_is_cut_off_and_its_update_is_the_desks(stage: Stage) -> None:
    """At once; other chats notice nothing, and it counts as no attempt."""
    await stage.ready()
    await stage.alice.say(stage.sim, "sleep")
    await stage.bob.say(stage.sim, "quick")
    await until(lambda: stage.said(stage.alice) and stage.said(stage.bob))
    assert await stage.take(stage.alice) < 3
    await until(lambda: stage.desk.heard)
    await stage.alice.say(stage.sim, "more")
    await until(lambda: len(stage.desk.heard) == 2)
    assert stage.desk.heard == ["sleep", "more"]
    assert stage.said(stage.alice) == ["begun sleep"]
    assert (stage.told("worker.hung"), stage.told("update.retried")) == ([], [])
    assert len(stage.told("worker.ready")) == 1


@forked
@pytest.mark.parametrize(("seconds", "answered"), [(2.0, True), (20.0, False)])
async def test_a_call_under_way_is_answered_or_given_up(stage: Stage, seconds: float, answered: bool) -> None:
    """Whichever: nothing is said in the chat after the fence."""
    await stage.ready()
    stage.world.faults.add(method="sendMessage", respond=faults.hang(seconds, executes=answered), times=1)
    await stage.alice.say(stage.sim, "late")
    await until(lambda: stage.world.calls_of("sendMessage"))
    took = await stage.take(stage.alice)
    assert 0.5 < took < 4.5
    said = stage.said(stage.alice)
    await until(lambda: stage.desk.heard)
    await trio.sleep(0.5)
    assert stage.said(stage.alice) == said == (["begun late"] if answered else [])
    assert stage.told("worker.hung") == []


@forked
@pytest.mark.parametrize("way", ["swallow", "block"])
async def test_a_worker_whose_handler_does_not_let_go_is_killed(stage: Stage, way: str) -> None:
    """Five seconds; the desk has the update, and the bot gets another worker."""
    await stage.ready()
    await stage.alice.say(stage.sim, way)
    await until(lambda: stage.said(stage.alice))
    assert 5 < await stage.take(stage.alice) < 10
    (hung,) = stage.told("worker.hung")
    assert (hung["reason"], hung["dialog"]) == ("fence not answered", f"support/{stage.alice.id}")
    await until(lambda: stage.desk.heard == [way])
    await stage.bob.say(stage.sim, "quick")
    await until(lambda: stage.said(stage.bob))
    assert stage.said(stage.alice) == [f"begun {way}"]
    assert stage.told("update.retried") == []


@forked
async def test_the_old_and_the_new_worker_are_fenced_at_once(stage: Stage) -> None:
    """A worker that is being replaced may still have an update of the chat."""
    await stage.ready()
    await stage.alice.say(stage.sim, "sleep")
    await until(lambda: stage.said(stage.alice))
    stage.bot.replace(stage.settings(concurrency=3), fetch_anew=False)
    await until(lambda: len(stage.told("worker.ready")) == 2)
    await stage.bob.say(stage.sim, "sleep")
    await until(lambda: stage.said(stage.bob))
    assert await stage.take(stage.alice) < 3
    assert await stage.take(stage.bob) < 3
    await until(lambda: stage.desk.heard == ["sleep", "sleep"])
    assert (stage.said(stage.alice), stage.said(stage.bob)) == (["begun sleep"], ["begun sleep"])


@pytest.mark.parametrize("stage", ["fork on_demand"], indirect=True)
async def test_a_bot_without_a_worker_needs_no_fence(stage: Stage) -> None:
    """A bot that sleeps has nothing in flight."""
    await stage.ready()
    assert stage.bot.state == "sleeping"
    assert await stage.take(stage.alice) < 1
    await stage.alice.say(stage.sim, "x")
    await until(lambda: stage.desk.heard == ["x"])
    assert stage.told("worker.starting") == []


@forked
async def test_a_dialog_is_handed_over_or_refused(stage: Stage) -> None:
    """The answer of whoever has operators, or why there is none."""
    asked: list[Any] = []

    async def answers(bot: str, name: str, params: dict[str, Any]) -> Any:
        await trio.lowlevel.checkpoint()
        asked.append((bot, name, params))
        return "place 2"

    stage.answers = answers
    await stage.ready()
    await stage.alice.say(stage.sim, "hand over")
    await until(lambda: len(stage.said(stage.alice)) == 2)
    assert stage.said(stage.alice)[1] == "handed over: place 2"
    assert asked == [("support", "handoff", {"chat_id": stage.alice.id, "reason": "asked"})]
    stage.answers = None
    await stage.bob.say(stage.sim, "hand over")
    await until(lambda: len(stage.said(stage.bob)) == 2)
    assert "TypeError" in stage.said(stage.bob)[1]


async def test_plugins_have_hooks_in_real_workers(stage: Stage) -> None:
    """However workers start; their settings change with the bot's, and no process."""
    (stage.folder / "hooks.py").write_text(HOOKS)
    stage.plugins.append(WorkerPlugin("signs", None, str(stage.folder / "hooks.py"), {"sign": "one"}))
    await stage.ready()
    log = stage.folder / "worker_support.log"

    def logged(sign: str) -> bool:
        return log.exists() and f'"{sign}"' in log.read_text()

    await stage.alice.say(stage.sim, "quick")
    await until(lambda: logged("one"))
    stage.plugins[:] = [WorkerPlugin("signs", None, str(stage.folder / "hooks.py"), {"sign": "two"})]
    stage.bot.retune(stage.settings())
    await stage.alice.say(stage.sim, "quick")
    await until(lambda: logged("two"))
    assert len(stage.told("worker.ready")) == 1
