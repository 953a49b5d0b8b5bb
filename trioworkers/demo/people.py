"""The demo's people: they write to the bots, press buttons, wait for answers and lose patience.

Each is a task that talks to one bot at a time at a human pace. Everything they do, and everything that
they are answered, is told to a :class:`Listener` as it happens.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import suppress
from itertools import cycle
from random import Random
from typing import TYPE_CHECKING, Protocol

import trio

from trioworkers.testing import Call, Message, SimBot, Telegram

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAMES = ("Alice", "Bruno", "Chen", "Dina", "Emre", "Fatou", "Goran", "Hana")
SMALL_TALK = (
    "hello there",
    "is anybody listening?",
    "what a day",
    "I think my cat runs this house",
    "тест, 测试, ✓",
    "ok bye",
)
# So ordered that the first orders show a retry, a dead letter, one that just works, and one sold out.
ORDERS = ("calzone", "fugazza", "margherita", "truffle", "marinara", "calzone", "margherita")
PATIENCE = 6.0  # seconds that somebody waits for an answer
ARRIVALS = 3.0  # seconds in which everybody has come
UNREAD = 16  # messages; who does not read loses later ones
HISTORY = 50  # messages that the simulator keeps of each chat: a demo may run for days
SENDS = frozenset({"sendMessage", "editMessageText"})


class Listener(Protocol):
    """Hears what is said. `buttons`: the inline buttons under a message of a bot."""

    def person_says(self, person: str, bot: str, what: str) -> None: ...
    def bot_says(self, bot: str, person: str, text: str, buttons: list[str], *, edited: bool) -> None: ...


class Town(Telegram):
    """A simulated Telegram in which every answer is overheard.

    Attributes:
        updates: how many updates the people made, by bot id.
        answers: how many messages the bots sent or edited, by bot id.
    """

    def __init__(self, seed: int, listener: Listener) -> None:
        super().__init__(seed, record=1, history=HISTORY)
        self.updates: Counter[int] = Counter()
        self.answers: Counter[int] = Counter()
        self._listener = listener
        self._unread: dict[tuple[int, int], _Unread] = defaultdict(_Unread)

    def note(self, call: Call) -> None:
        """Overhear a call, and keep nothing of it."""
        if not call.ok or call.method not in SENDS:
            return
        message: Message = call.result
        user_id: int = message["chat"]["id"]
        self.answers[call.bot_id] += 1
        self._listener.bot_says(
            self.bots[call.bot_id].username,
            self.users[user_id].first_name,
            message["text"],
            buttons_of(message),
            edited="edit_date" in message,
        )
        self.unread(call.bot_id, user_id).put(message)

    def unread(self, bot_id: int, user_id: int) -> _Unread:
        """What a bot said to somebody who has not looked yet."""
        return self._unread[bot_id, user_id]


class _Unread:
    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Message](UNREAD)

    def put(self, message: Message) -> None:
        with suppress(trio.WouldBlock):
            self._send.send_nowait(message)

    def skip(self) -> None:
        """Take what is there as read."""
        with suppress(trio.WouldBlock):
            while True:
                self._receive.receive_nowait()

    async def next(self) -> Message:
        return await self._receive.receive()


def buttons_of(message: Message) -> list[str]:
    """The texts of the inline buttons under a message."""
    rows = message.get("reply_markup", {}).get("inline_keyboard", [])
    return [button["text"] for row in rows for button in row]


class People:
    """Everybody who talks to the bots.

    Args:
        town: where they live.
        bots: the bots, by the names `echo`, `quiz` and `pizza`.
        count: how many people.
        seed: of all that they choose.
        listener: hears what they do.
    """

    def __init__(
        self, town: Town, bots: Mapping[str, SimBot], count: int, seed: int, listener: Listener
    ) -> None:
        orders = cycle(ORDERS)
        self._people = [
            _Person(town, bots, _name(number), Random(f"{seed}/{number}"), orders, listener)  # noqa: S311
            for number in range(count)
        ]

    async def live(self) -> None:
        """Let them talk until cancelled."""
        apart = min(0.4, ARRIVALS / len(self._people))
        async with trio.open_nursery() as nursery:
            for number, person in enumerate(self._people):
                nursery.start_soon(person.live, number, number * apart)


def _name(number: int) -> str:
    turn, place = divmod(number, len(NAMES))
    return NAMES[place] if not turn else f"{NAMES[place]} {turn + 1}"


class _Person:
    def __init__(
        self,
        town: Town,
        bots: Mapping[str, SimBot],
        name: str,
        dice: Random,
        orders: Iterator[str],
        listener: Listener,
    ) -> None:
        self._town = town
        self._bots = bots
        self._user = town.add_user(name)
        self._dice = dice
        self._orders = orders
        self._listener = listener

    async def live(self, number: int, delay: float) -> None:
        """Talk to one bot after the other, from `delay` seconds on; `number` says which comes first."""
        errands = [self._order, self._chat, self._play]
        await trio.sleep(delay + self._dice.uniform(0.1, 0.3))
        await errands[number % len(errands)]()
        while True:
            await trio.sleep(self._dice.uniform(0.8, 2.5))
            await self._dice.choice(errands)()

    async def _chat(self) -> None:
        bot = self._bots["echo"]
        if self._dice.random() < 0.08:
            self._tell(bot, "(a photo)")
            self._user.send_photo(bot, b"a photo")  # echo has nothing to say to that
            return
        await self._say(bot, self._dice.choice(SMALL_TALK))

    async def _play(self) -> None:
        bot = self._bots["quiz"]
        question = await self._say(bot, "/quiz")
        if question is None or not (choices := buttons_of(question)):
            return
        await trio.sleep(self._dice.uniform(0.6, 1.4))
        choice = self._dice.choice(choices)
        self._tell(bot, f"presses [{choice}]")
        self._user.press(bot, question, choice)
        await self._answer(bot)

    async def _order(self) -> None:
        await self._say(self._bots["pizza"], f"/order {next(self._orders)}")

    async def _say(self, bot: SimBot, text: str) -> Message | None:
        """Type, send, and wait for an answer; None when patience ran out."""
        await trio.sleep(min(1.2, 0.04 * len(text)))
        self._town.unread(bot.id, self._user.id).skip()
        self._tell(bot, text)
        self._user.send(bot, text)
        return await self._answer(bot)

    async def _answer(self, bot: SimBot) -> Message | None:
        with trio.move_on_after(PATIENCE):
            return await self._town.unread(bot.id, self._user.id).next()
        return None

    def _tell(self, bot: SimBot, what: str) -> None:
        """Say what is about to be done, which makes one update. No checkpoint comes between the two."""
        self._town.updates[bot.id] += 1
        self._listener.person_says(self._user.first_name, bot.username, what)
