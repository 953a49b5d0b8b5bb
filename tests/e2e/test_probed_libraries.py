"""Bots of other libraries under `acknowledge = "probe"`: real libraries, real processes, real kills.

Each handler says `begun`, works for a while, and says `echo`, or raises. Its code knows nothing of us.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fleet_project import Daemon, Project, children_of, until, workers_of

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

    from trioworkers.testing import SimBot, SimUser

ROOT = Path(__file__).parents[2]
BOTS = ROOT / "tests" / "libraries" / "probed"
LIBRARIES = ROOT / ".tools" / "libraries"
QUICK = {"initial": "10ms", "max": "50ms", "per_hour": 99}

pytestmark = pytest.mark.skipif(
    not (LIBRARIES / "installed").exists() and not os.environ.get("CI"),
    reason="scripts/test fetches the libraries",
)

NODE, PYTHON = shutil.which("node") or "node", sys.executable
MODES = {
    "telegraf": (NODE, "telegraf.js"),
    "grammy": (NODE, "grammy.js"),
    "grammy-runner": (NODE, "grammy_runner.js"),
    "grammy-runner-sequentialize": (NODE, "grammy_runner.js", "sequentialize"),
    "node-telegram-bot-api": (NODE, "node_telegram_bot_api.js"),
    "aiogram": (PYTHON, "aiogram_bot.py"),
    "aiogram-serial": (PYTHON, "aiogram_bot.py", "serial"),
    "python-telegram-bot": (PYTHON, "python_telegram_bot.py"),
    "python-telegram-bot-concurrent": (PYTHON, "python_telegram_bot.py", "concurrent"),
    "telebot": (PYTHON, "telebot_bot.py"),
    "telebot-serial": (PYTHON, "telebot_bot.py", "serial"),
    "telebot-async": (PYTHON, "telebot_async.py"),
}
SERIAL = ("grammy", "aiogram-serial", "python-telegram-bot", "telebot-serial")
MORE_MODES = {"unblocked": (PYTHON, "python_telegram_bot.py", "unblocked")}


class Scene:
    """One bot, its people, and the daemon."""

    def __init__(self, project: Project, world: Telegram, mode: str) -> None:
        self.project, self.world, self.mode = project, world, mode
        self.bot: SimBot = world.add_bot("shop")
        self.people: list[SimUser] = []
        self.base = ""
        self.keys: dict[str, Any] = {}

    async def begin(self, nursery: trio.Nursery, people: int, **keys: Any) -> Daemon:
        """Start the fleet."""
        self.base = await nursery.start(serve_telegram, self.world)
        self.people = [self.world.add_user(f"user{number}") for number in range(people)]
        self.write(**keys)
        return await self.project.start().ready()

    def write(self, slow: float = 0.0, **keys: Any) -> None:
        """Write the fleet file."""
        environ = {
            "BOT_TOKEN": "{token}",
            "PYTHONPATH": str(LIBRARIES / "python"),
            "NODE_PATH": str(LIBRARIES / "node_modules"),
            "SLOW": str(slow),
        }
        table = {
            "token": self.bot.token,
            "command": list((MODES | MORE_MODES)[self.mode]),
            "cwd": str(BOTS),
            "environment": environ,
            "acknowledge": "probe",
            "restart": QUICK,
            "retry": {"initial": "10ms", "max": "50ms", "attempts": 3},
            **keys,
        }
        self.project.write(self.base, {"shop": table}, fleet={"watch": False})

    async def say(self, words: Callable[[int], str], each: int) -> None:
        """Each person says so many things, in turns."""
        for number in range(each):
            for one in self.people:
                await one.say(self.bot, words(number))

    def said(self, one: SimUser) -> list[str]:
        """What the bot said to a person."""
        return [message["text"] for message in self.world.sent(self.bot, one.id)]

    def program(self, daemon: Daemon) -> int | None:
        """The process of the bot, if it runs now."""
        return next((child for one in workers_of(daemon.process.pid) for child in children_of(one)), None)

    def done(self, count: int) -> Callable[[], bool]:
        """Whether so many updates are done."""
        return lambda: self.project.tally(self.bot)["done"] >= count

    def unmarked(self) -> dict[str, int]:
        """What was said more often than it may be by the repetitions that were reported, per chat."""
        told = Counter(event["dialog"].split("/")[1] for event in self.project.events("update.repeated"))
        over: Counter[str] = Counter()
        for one in self.people:
            for count in Counter(self.said(one)).values():
                over[str(one.id)] += count - 1
        return {chat: count - told[chat] for chat, count in over.items() if count > told[chat]}


@pytest.fixture
def make_scene(project: Project, world: Telegram) -> Callable[[str], Scene]:
    return lambda mode: Scene(project, world, mode)


@pytest.mark.parametrize("mode", MODES)
async def test_updates_are_handled_once_and_in_order_and_a_stop_under_load_waits(
    make_scene: Callable[[str], Scene], nursery: trio.Nursery, mode: str
) -> None:
    """300 updates in 30 chats, with a stop of the daemon amid them: each is answered once, in order."""
    scene = make_scene(mode)
    daemon = await scene.begin(nursery, people=30)
    await scene.say(lambda number: f"m{number}", 10)
    await until(scene.done(100), 40)
    assert await daemon.stop(seconds=60) == 0
    assert scene.project.tally(scene.bot)["pending"] > 0
    daemon = await scene.project.start().ready()
    await until(scene.done(300), 40)
    wanted = [f"{word} m{number}" for number in range(10) for word in ("begun", "echo")]
    for one in scene.people:
        assert scene.said(one) == wanted
    assert await daemon.stop() == 0
    assert scene.project.tally(scene.bot) | {"done": 300, "pending": 0} == scene.project.tally(scene.bot)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("mode", MODES)
async def test_kills_lose_nothing_and_repeat_nothing_unmarked(
    make_scene: Callable[[str], Scene], nursery: trio.Nursery, mode: str
) -> None:
    """Handlers of half a second; the bot and then the daemon are killed amid them. KILLS=10 for more."""
    scene = make_scene(mode)
    daemon = await scene.begin(nursery, people=8, slow=0.5)
    await scene.say(lambda number: f"m{number}", 3)
    for number in range(int(os.environ.get("KILLS", "2"))):
        begun = len(scene.world.calls_of("sendMessage"))
        await until(lambda before=begun: len(scene.world.calls_of("sendMessage")) > before)  # type: ignore[misc]
        if number % 2:
            daemon.process.kill()
            await daemon.wait()
            daemon = await scene.project.start().ready()
        elif (program := scene.program(daemon)) is not None:
            os.kill(program, signal.SIGKILL)
    await until(scene.done(24), 60)
    for one in scene.people:
        told = list(dict.fromkeys(scene.said(one)))
        assert told == [f"{word} m{number}" for number in range(3) for word in ("begun", "echo")]
    assert scene.unmarked() == {}
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("mode", SERIAL)
async def test_a_kill_amid_quick_handlers_blames_the_one_that_was_handled(
    make_scene: Callable[[str], Scene], nursery: trio.Nursery, mode: str
) -> None:
    """A library that handles one at a time has several in hand: those behind it were not begun."""
    scene = make_scene(mode)
    daemon = await scene.begin(nursery, people=12, slow=0.005)
    await scene.say(lambda number: f"m{number}", 12)
    in_hand = []
    for number, count in enumerate((30, 60, 90)):
        await until(scene.done(count), 40)
        in_hand.append((await daemon.bot("shop"))["queue"]["in_flight"])
        if number == 1:
            daemon.process.kill()
            await daemon.wait()
            daemon = await scene.project.start().ready()
        elif (program := scene.program(daemon)) is not None:
            os.kill(program, signal.SIGKILL)
    await until(scene.done(144), 60)
    wanted = [f"{word} m{number}" for number in range(12) for word in ("begun", "echo")]
    for one in scene.people:
        assert list(dict.fromkeys(scene.said(one))) == wanted
    assert scene.unmarked() == {}
    assert max(in_hand) > 1
    assert len(scene.project.events("worker.exited")) == 2
    assert len(scene.project.events("update.retried")) <= 2
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("mode", MODES)
async def test_what_raises_is_tried_again_a_setting_changes_no_process_and_a_command_one(
    make_scene: Callable[[str], Scene], nursery: trio.Nursery, mode: str
) -> None:
    """It is tried three times and then dead, others go on, and nothing that it says of users is logged."""
    scene = make_scene(mode)
    daemon = await scene.begin(nursery, people=3)
    first, *others = scene.people
    program = scene.program(daemon)
    await first.say(scene.bot, "fail secretly")
    await scene.say(lambda number: f"m{number}", 3)
    await until(scene.done(9))
    wanted = [f"{word} m{number}" for number in range(3) for word in ("begun", "echo")]
    assert scene.said(first) == ["begun fail secretly", *wanted], "what it said before is not said again"
    assert all(scene.said(one) == wanted for one in others)
    assert scene.project.tally(scene.bot)["dead"] == 1
    retried = scene.project.events("update.retried")
    assert [event["attempt"] for event in retried] == [1, 2]
    place = "handle.js" if MODES[mode][0] == NODE else MODES[mode][1]
    assert {event["error"].partition(":")[0] for event in retried} == {f"ValueError at {place}"}
    assert "secretly" not in scene.project.log.read_text()
    scene.write(settings={"greeting": "hello"}, handler_timeout="80s")
    assert scene.project.run("reload").returncode == 0
    await scene.say(lambda number: f"n{number}", 1)
    await until(scene.done(12))
    assert scene.program(daemon) == program
    scene.write(settings={"greeting": "hello"}, handler_timeout="80s", slow=0.01)  # its environment
    await scene.say(lambda number: f"n{number + 1}", 4)
    assert scene.project.run("reload").returncode == 0
    await until(scene.done(24))
    await until(lambda: scene.program(daemon) not in (None, program))
    assert len(scene.project.events("worker.exited")) == 1
    wanted += [f"{word} n{number}" for number in range(5) for word in ("begun", "echo")]
    assert all(scene.said(one) == wanted for one in others)
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_task_that_python_telegram_bot_begins_belongs_to_its_update(
    make_scene: Callable[[str], Scene], nursery: trio.Nursery
) -> None:
    """A handler that is not waited for (`block=False`) ends the update when it ends, and its raise counts."""
    scene = make_scene("unblocked")
    daemon = await scene.begin(nursery, people=2, slow=0.2)
    first, second = scene.people
    await first.say(scene.bot, "fail")
    await scene.say(lambda number: f"m{number}", 2)
    await until(scene.done(4))
    wanted = ["begun m0", "echo m0", "begun m1", "echo m1"]
    assert scene.said(first) == ["begun fail", *wanted]
    assert scene.said(second) == wanted
    assert scene.project.tally(scene.bot)["dead"] == 1
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_handling_that_does_not_end_ends_the_program(
    make_scene: Callable[[str], Scene], nursery: trio.Nursery
) -> None:
    """Its loop lives and polls, and only one chat stands still: the update is handled alone, then dead."""
    scene = make_scene("aiogram")
    quick = {"heartbeat_interval": "200ms", "hang_timeout": "1s", "handler_timeout": "1s"}
    daemon = await scene.begin(nursery, people=2, **quick)
    first, second = scene.people
    await first.say(scene.bot, "stand still")
    await second.say(scene.bot, "m")
    await until(lambda: scene.project.tally(scene.bot)["dead"] == 1, 60)
    assert scene.said(second) == ["begun m", "echo m"]
    assert scene.said(first) == ["begun stand still"]
    assert {event["how"] for event in scene.project.events("worker.exited")} == {"SIGKILL"}
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_auto_is_probe_where_the_library_is_known_and_says_so(
    make_scene: Callable[[str], Scene], nursery: trio.Nursery
) -> None:
    """Elsewhere it is receipt, with one event; and `probe` fails the bot, with the reason."""
    scene = make_scene("telebot")
    daemon = await scene.begin(nursery, people=1, acknowledge="auto")
    (alice,) = scene.people
    await alice.say(scene.bot, "m")
    await until(scene.done(1))
    assert (await daemon.bot("shop"))["acknowledge"] == "probe"
    assert "as for handlers" in scene.project.run("bots", "show", "shop").stdout
    # a version that was not tried
    folder = scene.project.folder / "other" / "telebot"
    folder.mkdir(parents=True)
    for part in (LIBRARIES / "python" / "telebot").iterdir():
        (folder / part.name).symlink_to(part)
    (folder / "version.py").unlink()
    (folder / "version.py").write_text("__version__ = '99.0.1'\n")
    paths = os.pathsep.join((str(folder.parent), str(LIBRARIES / "python")))
    environ = {"BOT_TOKEN": "{token}", "PYTHONPATH": paths}
    scene.write(acknowledge="auto", environment=environ)
    assert scene.project.run("reload").returncode == 0
    (event,) = await until(lambda: scene.project.events("gateway.unprobed"))
    assert (event["acknowledge"], event["bot"]) == ("receipt", "shop")
    assert event["reason"] == "the probe was not tried with pyTelegramBotAPI 99.0.1"
    await alice.say(scene.bot, "n")
    await until(lambda: scene.said(alice) == ["begun m", "echo m", "begun n", "echo n"])
    assert (await daemon.bot("shop"))["acknowledge"] == "receipt"
    assert "at most once" in scene.project.run("bots", "show", "shop").stdout
    scene.write(acknowledge="probe", environment=environ | {"SLOW": "0.1"})
    assert scene.project.run("reload").returncode == 0

    async def reason() -> object:
        row = await daemon.bot("shop")
        return row["state"] == "failed" and row["reason"]

    assert await until(reason) == "acknowledge is probe, and there is none"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
