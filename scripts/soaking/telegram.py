"""Telegram and its people, in a process of their own, told what to do by lines of JSON.

It prints a line with its address and the bots' tokens. Each line that it reads is `{"do": …}` with arguments,
and is answered by one line. It ends with its standard input.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.testing import Telegram, faults, serve_telegram

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trioworkers.testing import SimBot
    from trioworkers.testing.calls import Call
    from trioworkers.testing.faults import Fault

CANARY = "soak-canary-text"  # in all that people say, and in no log
ECHO = "echo"  # how the answers of programs begin
PEOPLE = 20
GROUP_OF = 3  # bots in each group; a tenth of the bots are in one
TICK = 0.05  # seconds


def spoil(kind: str) -> Fault:
    """The fault of that name of `schedule.FAULTS`."""
    made = kind.startswith("made")
    kinds = {
        "500": faults.server_error(500),
        "502 page": faults.proxy_page(502),
        "429": faults.too_many_requests(1),
        "broken": faults.broken_body(executes=made),
        "truncated": faults.truncated_body(executes=made),
        "closed": faults.close_after() if made else faults.close_before(),
        "slow": faults.slow(150),
        "late": faults.hang(3),
        "forbidden": faults.forbidden(),
    }
    return kinds[kind.removeprefix("made, then ")]


class World(Telegram):
    """A Telegram that keeps of all calls only which answers were sent when.

    Attributes:
        answers: of our own bots: the update's key, and when.
        echoes: of programs, by the bot's id: the chat, and the number of what was said.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed, repeat_guard=False, record=1, history=1)
        self.answers: list[tuple[str, float]] = []
        self.echoes: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)

    def note(self, call: Call) -> None:
        if call.ok and call.method == "sendMessage":
            first, *rest = str(call.params["text"]).split()
            if first == ECHO:
                self.echoes[call.bot_id].append((int(call.params["chat_id"]), int(rest[-1])))
            else:
                self.answers.append((first, call.at))


class Play:
    """What is going on: who speaks to whom, and what goes wrong."""

    def __init__(self, world: World, seed: int, bots: int, programs: int) -> None:
        self.world = world
        own = [self.world.add_bot(f"bot{number}") for number in range(bots)]
        self.programs = [self.world.add_bot(f"program{number}") for number in range(programs)]
        self.bots = [*own, *self.programs]
        self.talked_to = self.bots  # one of them at random
        self.said: dict[int, list[int]] = {bot.id: [] for bot in self.programs}
        self.people = [self.world.add_user(f"Person{number}") for number in range(PEOPLE)]
        in_groups = own[:: max(1, 10 // GROUP_OF)]
        self.groups = [
            self.world.add_group(f"Group{start}", [*in_groups[start : start + GROUP_OF], *self.people])
            for start in range(0, len(in_groups), GROUP_OF)
        ]
        self.rate = 0.0  # of updates a second
        self.hits: Counter[str] = Counter()
        self._dice = Random(seed)
        self._numbers = count()

    async def talk(self) -> None:
        """Keep people talking, at the rate as it is."""
        owed = 0.0
        last = trio.current_time()
        while True:
            await trio.sleep(TICK)
            now = trio.current_time()
            owed = self.rate and owed + self.rate * (now - last)
            last = now
            while owed >= 1:
                owed -= self.say()

    def say(self) -> int:
        """Somebody says something; returns how many updates that are."""
        person, number = self._dice.choice(self.people), next(self._numbers)
        text = f"{CANARY} {number}"
        if self._dice.random() < 0.05:
            group = self._dice.choice(self.groups)
            bots = [self.world.bots[member] for member in group.chat.members if member in self.world.bots]
            person.send(bots[0], text, group=group)
            return len(bots)
        bot = self._dice.choice(self.talked_to)
        if bot.id in self.said:
            self.said[bot.id].append(number)
        if self._dice.random() < 0.05:
            try:
                person.edit(bot, text)
            except LookupError:
                person.send(bot, text)
        else:
            person.send(bot, text)
        return 1

    async def spoil(self, kind: str, method: str, share: float, seconds: float) -> None:
        """Let that share of a method's calls go wrong for a while."""
        rule = self.world.faults.add(respond=spoil(kind), method=method, times=None, probability=share)
        await trio.sleep(seconds)
        self.world.faults.remove(rule)
        self.hits[kind] += rule.hits

    def pending(self) -> int:
        return sum(self.world.pending(bot) for bot in self.bots)

    def report(self) -> dict[str, Any]:
        """Everything that the reckoning wants of Telegram."""
        return {
            "bots": {
                bot.username: {"id": bot.id, "confirmed": bot.queue.confirmed, "expired": bot.queue.expired}
                for bot in self.bots
            },
            "answers": self.world.answers,
            "programs": [
                {
                    "name": bot.username,
                    "id": bot.id,
                    "number": number,
                    "said": self.said[bot.id],
                    "answers": self.world.echoes[bot.id],
                }
                for number, bot in enumerate(self.programs)
            ],
            "faults": self.hits,
        }


async def main(seed: int, bots: int, programs: int) -> None:
    """Serve until standard input ends."""
    play = Play(World(seed), seed, bots, programs)
    async with trio.open_nursery() as nursery:
        base = await nursery.start(serve_telegram, play.world)
        nursery.start_soon(play.talk)
        answer({"base": base, "tokens": {bot.username: bot.token for bot in play.bots}})
        async for order in orders():
            answer(obey(play, nursery, **order))
        nursery.cancel_scope.cancel()


async def orders() -> AsyncIterator[dict[str, Any]]:
    """The orders from standard input, until it ends."""
    async for line in trio.wrap_file(sys.stdin):
        yield json.loads(line)


def obey(play: Play, nursery: trio.Nursery, do: str, **order: Any) -> object:
    """Carry out an order; return what to answer."""
    match do:
        case "talk":
            play.rate = order["rate"]
        case "fault":
            nursery.start_soon(play.spoil, order["kind"], order["method"], order["share"], order["seconds"])
        case "renew":
            bot: SimBot = play.bots[order["bot"]]
            return play.world.renew(bot)
        case "count":
            return {
                "pending": play.pending(),
                "confirmed": sum(len(bot.queue.confirmed) for bot in play.bots),
                "answers": len(play.world.answers) + sum(map(len, play.world.echoes.values())),
                "faults": sum(play.hits.values()),
            }
        case _:
            Path(order["path"]).write_text(json.dumps(play.report()))
    return True


def answer(what: object) -> None:
    """Answer an order."""
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    trio.run(partial(main, *map(int, sys.argv[1:4])))
