"""A bot on the simulated Telegram within the test's own process: handlers are called as functions.

    async with open_bot(settings={"greeting": "hi"}) as bot:
        update = make_update(bot, "there")
        await handle(update, bot)
        assert bot.sent(update.chat_id)[-1]["text"] == "hi there"

No daemon and no worker runs. The bot's calls go through the product's own client to the simulator, over a
socket of this machine. What the daemon adds is not here: retries, recorded calls, time limits, the order of a
chat. For those, run a fleet (:mod:`trioworkers.testing.fleet`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from trioworkers.botapi.client import BotApi
from trioworkers.errors import AskRefusedError, leaves
from trioworkers.handling.bot import Bot, Handling
from trioworkers.handling.log import BotLog
from trioworkers.handling.update import Update
from trioworkers.testing.params import Upload
from trioworkers.testing.queue import KINDS
from trioworkers.testing.server import serve_telegram
from trioworkers.testing.telegram import Telegram

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.chats import Message
    from trioworkers.testing.users import SimGroup, SimUser

    Function = Callable[[Bot], Awaitable[None]]

UPLOADED = {"photo": ("photo.jpg", "image/jpeg"), "document": ("file.bin", "application/octet-stream")}


class SimulatedBot(Bot):
    """A bot whose Telegram is a simulator in this process; made by :func:`open_bot`.

    Attributes:
        telegram: the simulator: people, groups, faults, the calls that were made.
        sim: the bot as the simulator knows it, for its people: `alice.send(bot.sim, "hello")`.
        handoffs: the chats that `bot.handoff` gave to operators, each with its reason.
    """

    def __init__(
        self, name: str, settings: Mapping[str, Any], api: BotApi, telegram: Telegram, sim: SimBot
    ) -> None:
        self.telegram = telegram
        self.sim = sim
        self.handoffs: list[tuple[int, str]] = []
        self._people: dict[str, SimUser] = {}
        handling = Handling(None)
        handling.asks = self._answer
        super().__init__(name, sim.id, _as_json(settings), BotLog("debug", bot=name), api, handling)
        self._around: list[Bot] = []  # those of `start` and of background tasks

    def user(self, first_name: str = "Alice") -> SimUser:
        """A person of that name, the same one each time."""
        if first_name not in self._people:
            self._people[first_name] = self.telegram.add_user(first_name)
        return self._people[first_name]

    def next_update(self, *, attempt: int = 0, after_gap: bool = False) -> Update:
        """The oldest update that waits for the bot: of whatever people did in the simulator.

        Raises:
            LookupError: none waits.
        """
        waiting = self.sim.queue.fetch(0, 1)
        if not waiting:
            message = f"no update waits for {self!r}"
            raise LookupError(message)
        return self._take(waiting[0].update_id, attempt=attempt, after_gap=after_gap)

    def sent(self, chat_id: int) -> list[Message]:
        """What the bot said in a chat, in order, as it stands now: edits are in it."""
        return self.telegram.sent(self.sim, chat_id)

    async def change_settings(
        self, settings: Mapping[str, Any], settings_changed: Function | None = None
    ) -> None:
        """Give the bot other settings, and await the handler's `settings_changed`, as a reload does."""
        self.settings = _as_json(settings)
        for bot in self._around:
            bot.settings = self.settings
        if settings_changed is not None:
            await settings_changed(self._around[0])

    def _take(self, update_id: int, *, attempt: int = 0, after_gap: bool = False) -> Update:
        pending = self.sim.queue.get(update_id)
        if pending is None:
            message = f"the bot gets no update for this: {self!r} is not in that chat, or may not read there"
            raise LookupError(message)
        self.sim.queue.confirm(update_id)
        return Update(pending.body, bot_id=self.id, attempt=attempt, after_gap=after_gap)

    async def _answer(self, name: str, params: bytes) -> msgspec.Raw:
        asked = msgspec.json.decode(params)
        if name != "handoff":
            raise AskRefusedError(f"{name}: the test's bot has nobody who answers that")
        self.handoffs.append((asked["chat_id"], asked["reason"]))
        return msgspec.Raw(b'{"state":"waiting","epoch":%d}' % len(self.handoffs))


@asynccontextmanager
async def open_bot(
    name: str = "bot",
    *,
    settings: Mapping[str, Any] | None = None,
    start: Function | None = None,
    stop: Function | None = None,
    telegram: Telegram | None = None,
) -> AsyncIterator[SimulatedBot]:
    """A bot on a simulated Telegram, to be given to a handler.

    `start` and `stop` are the handler's functions of that name, awaited at the begin and at the end. Tasks
    that `start` begins with `bot.background` run until the end. What such a task raises ends the block.
    Exceptions leave the block as they are, not in a group.

    Args:
        name: the bot's name.
        settings: its settings. They arrive as JSON can express them, as in a fleet.
        start, stop: see above.
        telegram: a simulator of your own, say with `rate_limits=True`; a new one by default.
    """
    telegram = Telegram() if telegram is None else telegram
    sim = telegram.add_bot(name)
    sim.queue.allowed = KINDS  # a test says by itself which updates there are
    raised: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            base_url = await nursery.start(serve_telegram, telegram)
            async with BotApi(base_url, sim.token) as api:
                async with trio.open_nursery() as background:
                    bot = SimulatedBot(name, settings or {}, api, telegram, sim)
                    around = _around(bot, api, background)
                    if start is not None:
                        await start(around)
                    yield bot
                    background.cancel_scope.cancel()
                if stop is not None:
                    await stop(around)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        first, *others = leaves(group)
        if others:
            raise
        raised = first
    if raised is not None:  # out here, so that it has no group as its context
        raise raised


def _around(bot: SimulatedBot, api: BotApi, background: trio.Nursery) -> Bot:
    """The bot of `start`, `stop`, `settings_changed` and background tasks: it may begin tasks."""

    def begin(function: Callable[..., Awaitable[None]], args: tuple[Any, ...]) -> None:
        background.start_soon(function, made(), *args)

    def made() -> Bot:
        handling = Handling(None)
        handling.background, handling.asks = begin, bot._answer
        one = Bot(bot.name, bot.id, bot.settings, bot.log, api, handling)
        bot._around.append(one)
        return one

    return made()


def make_update(
    bot: SimulatedBot,
    what: str | Sequence[Mapping[str, Any]] | Mapping[str, Any] = "",
    *,
    user: SimUser | None = None,
    group: SimGroup | None = None,
    attempt: int = 0,
    **content: Any,
) -> Update:
    """An update, as Telegram sends it when somebody writes to the bot.

    Its chat exists in the simulator, so that the bot can answer.

    Args:
        bot: the bot that gets it.
        what: a text; or a list, the contents of an album (`[{"photo": b"…", "caption": "…"}, …]`); or a
            dictionary, any other update without its id: `{"inline_query": {…}}`.
        user: who does it; Alice by default.
        group: where; in the private chat with the bot by default.
        attempt: how often the update was handled before.
        content: further fields of the message: `reply_to_message=…`. `photo` and `document` may be bytes,
            a file that the bot can fetch.

    Raises:
        LookupError: the bot gets no update for this.
    """
    who = bot.user() if user is None else user
    if isinstance(what, str):
        fields = _stored(bot, content)
        if what and fields.keys() & UPLOADED.keys():
            fields["caption"], what = what, ""
        update_id = who.send(bot.sim, what, group=group, **fields)
        return bot._take(update_id, attempt=attempt)
    if isinstance(what, Mapping):
        return bot._take(bot.telegram.enqueue(bot.sim, what), attempt=attempt)
    parts = [_stored(bot, part) for part in what]
    first, *others = [bot._take(one, attempt=attempt) for one in who.send_album(bot.sim, parts, group=group)]
    first.join([part.body for part in others])
    return first


def make_press(
    bot: SimulatedBot, button: str, *, message: Message | None = None, user: SimUser | None = None
) -> Update:
    """The update of somebody who presses an inline button of the bot, by its text or its data.

    Args:
        bot: the bot.
        button: the button's text, or its `callback_data`.
        message: the message that has it; by default the last one that the bot sent to the user.
        user: who presses it; Alice by default.

    Raises:
        LookupError: there is no such button.
    """
    who = bot.user() if user is None else user
    if message is None:
        sent = bot.sent(who.id)
        if not sent:
            raise LookupError(f"{bot!r} has sent nothing to {who!r} yet")
        message = sent[-1]
    return bot._take(who.press(bot.sim, message, button))


def _stored(bot: SimulatedBot, content: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a message; files that are given as bytes are kept by the simulator."""
    fields = dict(content)
    for kind, (filename, content_type) in UPLOADED.items():
        if isinstance(fields.get(kind), bytes):
            stored = bot.telegram.files.put(bot.sim, kind, Upload(filename, content_type, fields.pop(kind)))
            fields |= stored.in_message()
    return fields


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(settings))
    return plain
