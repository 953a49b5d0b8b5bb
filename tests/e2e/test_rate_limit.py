"""A bot with `rate_limit`, as a real daemon, against a Telegram that counts strictly.

With `CHATS=1000` the broadcast is the one of the documentation, which takes 34 s.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from fleet_project import Daemon, Project, until

from trioworkers.testing import Call, SimBot, Telegram, faults, serve_telegram

if TYPE_CHECKING:
    import trio

CHATS = int(os.environ.get("CHATS", "100"))

NEWS = """
import trio

people = []

async def handle(update, bot):
    if update.text == "/news":
        async with trio.open_nursery() as nursery:
            for chat_id in people:
                nursery.start_soon(tell, bot, chat_id)
    elif update.text == "/start":
        people.append(update.chat_id)
    elif update.text:
        await bot.send_message(chat_id=update.chat_id, text="an answer")

async def tell(bot, chat_id):
    await bot.send_message(chat_id=chat_id, text="news")
"""


class Scene:
    """One bot, its users, one daemon, and a Telegram with limits."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.world = Telegram(seed=1, repeat_guard=False, rate_limits=True)
        self.bot: SimBot = self.world.add_bot("news")
        self.keys: dict[str, Any] = {}
        self.base = ""

    async def begin(self, nursery: trio.Nursery, source: str, **keys: Any) -> Daemon:
        self.base = await nursery.start(serve_telegram, self.world)
        self.project.module("news", source)
        self.write(**keys)
        return await self.project.start().ready()

    def write(self, **keys: Any) -> None:
        settings = {"token": self.bot.token, "handler": "news:handle", "rate_limit": "telegram"}
        self.project.write(self.base, {"news": settings | keys})

    def messages(self) -> list[Call]:
        """All requests to send one."""
        return self.world.calls_of("sendMessage", self.bot)

    def refused(self) -> int:
        return sum(call.error_code == 429 for call in self.messages())


@pytest.fixture
def scene(project: Project) -> Scene:
    return Scene(project)


async def test_a_broadcast_is_never_refused(scene: Scene, nursery: trio.Nursery) -> None:
    """Every chat gets its message and none is refused; who writes meanwhile has an answer before the end.

    The waits are longer than `handler_timeout`, and there is no second attempt.
    """
    people = [scene.world.add_user(f"P{number}") for number in range(CHATS)]
    daemon = await scene.begin(nursery, NEWS, handler_timeout="2s", retry={"attempts": 1})
    for person in people:
        person.start(scene.bot)
    await until_messages(daemon, CHATS)
    admin, asker = scene.world.add_user("Admin"), scene.world.add_user("Asker")
    began = time.monotonic()
    admin.send(scene.bot, "/news")
    await until(lambda: len(scene.messages()) > 10)
    asker.send(scene.bot, "a question")
    await until(lambda: len(scene.messages()) == CHATS + 1, 120)
    row = await daemon.bot("news")
    await until_messages(daemon, CHATS + 2)
    took = time.monotonic() - began
    print(f"{CHATS} chats in {took:.2f} s")
    assert scene.refused() == 0
    texts = [call.params["text"] for call in scene.messages()]
    assert {call.params["chat_id"] for call in scene.messages()} == {one.id for one in (*people, asker)}
    assert texts.index("an answer") < CHATS // 2 + 35
    assert row["rate_limit"]["per_second"] == 30
    assert row["errors"] == 0
    assert await daemon.stop() == 0


async def until_messages(daemon: Daemon, count: int) -> None:
    async def handled() -> bool:
        return bool((await daemon.bot("news"))["messages"] == count)

    await until(handled, 120)


SLOW = """
import trio

async def start(bot):
    for number in range(3):
        await bot.send_message(chat_id=bot.settings["owner"], text=f"begun {number}")

async def handle(update, bot):
    await bot.send_message(chat_id=update.chat_id, text="an answer")
"""


async def test_a_limit_is_changed_while_messages_wait(scene: Scene, nursery: trio.Nursery) -> None:
    """`start` takes its turns before the worker is ready; what waits goes when the limit is switched off."""
    owner, people = scene.world.add_user("O"), [scene.world.add_user(f"P{number}") for number in range(3)]
    owner.start(scene.bot)
    scene.world.limits.messages = False  # here it is the bot's own limit that counts
    limit = {"per_second": 1, "per_chat": 1}
    daemon = await scene.begin(nursery, SLOW, settings={"owner": owner.id}, rate_limit=limit)
    await until(lambda: len(scene.messages()) == 4)  # with the answer to the owner's first word
    times = [call.at for call in scene.messages()]
    assert all(later - earlier > 0.9 for earlier, later in itertools.pairwise(times))
    scene.write(settings={"owner": owner.id}, rate_limit={"per_second": 0.001})

    async def slow() -> bool:
        return bool((await daemon.bot("news"))["rate_limit"]["per_second"] == 0.001)

    await until(slow)
    for person in people:
        person.send(scene.bot, "hello")

    async def waiting() -> bool:
        return bool((await daemon.bot("news"))["rate_limit"]["waiting"] == len(people))

    await until(waiting)
    assert len(scene.messages()) == 4
    scene.write(settings={"owner": owner.id}, rate_limit="off")
    await until(lambda: len(scene.messages()) == 4 + len(people))
    assert (await daemon.bot("news"))["rate_limit"] is None
    assert await daemon.stop() == 0


TASKS = """
import trio

async def start(bot):
    bot.background(fails)
    bot.background(news)

async def fails(bot):
    raise ValueError(" ".join(["secret", "words"]))  # the line is in the log, its value is not

async def news(bot):
    await trio.sleep(0.2)
    await bot.send_message(chat_id=bot.settings["owner"], text="news")

async def handle(update, bot):
    if update.text == "crash":
        trio.lowlevel.spawn_system_task(fails, bot)
    elif update.text != "/start":
        await bot.send_message(chat_id=update.chat_id, text="an answer")
"""


async def test_background_work_fails_alone(scene: Scene, nursery: trio.Nursery) -> None:
    """The daemon reports the task and the worker goes on; a failed system task is reported in plain words."""
    owner = scene.world.add_user("O")
    owner.start(scene.bot)
    scene.world.faults.add(respond=faults.too_many_requests(2), method="sendMessage")
    daemon = await scene.begin(nursery, TASKS, settings={"owner": owner.id}, rate_limit="off")
    await until(lambda: [call.params["text"] for call in scene.messages() if call.ok] == ["news"])
    (told,) = await until(lambda: scene.project.events("task.failed"))
    assert told["task"] == "fails"
    assert told["error"].startswith("ValueError at news.py:")
    pid = (await daemon.bot("news"))["pid"]
    owner.send(scene.bot, "hello")
    await until(lambda: len(scene.messages()) == 3)
    assert (await daemon.bot("news"))["pid"] == pid
    owner.send(scene.bot, "crash")
    log = scene.project.folder / "state" / "logs" / "worker_news.log"
    await until(
        lambda: "a system task that the handler began ended the worker: ValueError at" in log.read_text()
    )
    text = log.read_text() + scene.project.log.read_text()
    assert "background task failed" in text
    assert "secret words" not in text
    assert "bug in Trio" not in text
    assert await daemon.stop() == 0


BROADCAST = """
import trio

async def handle(update, bot):
    if update.text == "/news":
        async with trio.open_nursery() as nursery:
            for chat_id in bot.settings["people"]:
                nursery.start_soon(tell, bot, chat_id)

async def tell(bot, chat_id):
    await bot.send_message(chat_id=chat_id, text="news")
"""


async def test_a_broadcast_goes_on_in_another_worker(scene: Scene, nursery: trio.Nursery) -> None:
    """Its worker is killed amid it: the quarantine's goes on from the record, out of the same bucket.

    Only what was under way at that moment may come twice; what waited for its turn was not begun.
    """
    people = [scene.world.add_user(f"P{number}") for number in range(100)]
    for person in people:
        person.start(scene.bot)
    quick = {"initial": "10ms", "max": "50ms"}
    daemon = await scene.begin(
        nursery, BROADCAST, settings={"people": [one.id for one in people]}, restart=quick
    )
    await until_messages(daemon, len(people))
    scene.world.add_user("Admin").send(scene.bot, "/news")
    await until(lambda: len(scene.messages()) >= 40)
    os.kill((await daemon.bot("news"))["pid"], signal.SIGKILL)
    await until_messages(daemon, len(people) + 1)
    told = [call.params["chat_id"] for call in scene.messages() if call.ok]
    assert set(told) == {one.id for one in people}
    assert scene.refused() == 0
    repeated = scene.project.events("update.repeated")
    assert len(told) - len(set(told)) <= len(repeated) <= 30
    assert (await daemon.bot("news"))["queue"]["dead"] == 0
    assert await daemon.stop() == 0
