"""Users, operators and kills: dialogs handed over and back under load, and what has to hold afterwards."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio
from fleet_project import Daemon, Project, alive, until, workers_of

if TYPE_CHECKING:
    from trioworkers.testing import SimBot, SimGroup, SimUser, Telegram

HANDLER = """
async def handle(update, bot):
    if update.kind == "handoff_ended":
        for said in update.raw["handoff_ended"]["unanswered"]:
            if (said["text"] or "").startswith("m"):
                await bot.send_message(chat_id=update.chat_id, text="bot: " + said["text"])
    elif update.text == "a human, please":
        await bot.handoff(update.chat_id, "asked for one")
    elif update.text:
        await bot.send_message(chat_id=update.chat_id, text="bot: " + update.text)
"""
ASKS = ("/operator", "a human, please")
MAY_BE_ANSWERED = "☝️"
WAITING = "🔔"
PATIENCE = 150  # seconds until an answer has to be there; a start of the daemon may take ten of them
KILLS = 4


@dataclass
class Person:
    """A user, what they have said, and the topic in which operators read it."""

    user: SimUser
    bot: SimBot
    said: list[str] = field(default_factory=list)


@dataclass
class Topic:
    """A topic as its operator sees it. `open`: the dialog is the operator's to answer."""

    open: bool = False
    doubtful: bool = False
    answered: set[str] = field(default_factory=set)


class Load:
    """Runs dialogs against a real daemon.

    Args:
        project: the fleet.
        world: Telegram.
        dialogs: how many users there are.
        rounds: how often each is handed over.
    """

    def __init__(self, project: Project, world: Telegram, dialogs: int, rounds: int) -> None:
        self.project, self.world, self.rounds = project, world, rounds
        self.rng = random.Random(dialogs)
        self.anna = world.add_user("Anna")
        self.bots = [world.add_bot(name) for name in ("alpha", "beta")]
        self.group: SimGroup = world.add_group("Operators", [self.anna], admins=self.bots, forum=True)
        self.people = [
            Person(world.add_user(f"User{number}"), self.bots[number % 2]) for number in range(dialogs)
        ]
        self.topics: dict[int, Topic] = defaultdict(Topic)
        self.kills: Counter[str] = Counter()
        self.daemon: Daemon | None = None
        self.done = 0

    def write(self, api_base: str) -> None:
        """Write the fleet file."""
        self.project.module("human", HANDLER)
        table = {
            "handler": "human:handle",
            "restart": {"initial": "10ms", "max": "50ms", "per_hour": 1000},
            "retry": {"attempts": 50, "initial": "10ms", "max": "200ms"},
        }
        handoff = {
            "group": self.group.id,
            "group_per_minute": 1_000_000,
            "flood": 1_000_000,
            "queue_timeout": "10m",
            "queued_text": "",
        }
        bots = {bot.username: {**table, "token": bot.token} for bot in self.bots}
        self.project.write(api_base, bots, plugins={"handoff": handoff})

    async def run(self, kill_every: float) -> None:
        """Run all dialogs to their ends, with kills; then check what has to hold."""
        self.daemon = await self.project.start().ready()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._operate)
            nursery.start_soon(self._kill, kill_every)
            async with trio.open_nursery() as people:
                for person in self.people:
                    people.start_soon(self._live, person)
            nursery.cancel_scope.cancel()
        daemon = self.daemon
        assert daemon is not None
        assert self.kills["daemon"] > 0
        await daemon.ready()
        await until(lambda: self._is_over(daemon), PATIENCE)
        await self._check(daemon)
        assert await daemon.stop() == 0

    # -- a user

    async def _live(self, person: Person) -> None:
        await trio.sleep(self.rng.uniform(0, 2))
        for _ in range(self.rounds):
            await self._say(person, 2)
            person.user.send(person.bot, self.rng.choice(ASKS))
            await self._say(person, self.rng.randint(2, 4))
            await self._wait_answered(person)
            thread = await until(lambda: self._open_topic(person), PATIENCE)
            self.topics[thread].open = False
            self.anna.send(person.bot, "/close", group=self.group, thread_id=thread)
            await self._say(person, 2)  # some before the close, some after: the bot answers all of them
            await self._wait_answered(person)
        self.done += 1

    async def _wait_answered(self, person: Person) -> None:
        try:
            with trio.fail_after(PATIENCE):
                while not self._all_answered(person):
                    await self.world.dialog(person.bot, person.user.id).changed.wait()
        except trio.TooSlowError:
            raise AssertionError(self._story(person)) from None

    def _story(self, person: Person) -> str:
        """What is not answered, and what both sides read."""
        answers = self._answers(person)
        name = f"{person.user.first_name} · {person.bot.username}"
        threads = [thread for thread, topic in self.group.chat.topics.items() if topic.name == name]
        shown = [m for m in self.group.chat.messages.values() if m.get("message_thread_id") in threads]
        return "\n".join(
            [
                f"not answered: {[text for text in person.said if text not in answers]}",
                f"topics: { {thread: self.topics[thread] for thread in threads} }",
                *(f"group: {m['from']['first_name']}: {m.get('text')!r}" for m in shown),
                *(f"user: {m['text']}" for m in self.world.sent(person.bot, person.user.id)),
            ]
        )

    async def _say(self, person: Person, count: int) -> None:
        for _ in range(count):
            text = f"m{person.user.id}.{len(person.said)}"
            person.said.append(text)
            person.user.send(person.bot, text)
            await trio.sleep(self.rng.uniform(0, 0.3))

    def _answers(self, person: Person) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for message in self.world.sent(person.bot, person.user.id):
            who, _, text = message["text"].partition(": ")
            found[text].add(who)
        return found

    def _all_answered(self, person: Person) -> bool:
        answers = self._answers(person)
        return all(text in answers for text in person.said)

    def _open_topic(self, person: Person) -> int | None:
        name = f"{person.user.first_name} · {person.bot.username}"
        for thread, topic in self.group.chat.topics.items():
            if topic.name == name and self.topics[thread].open:
                return thread
        return None

    # -- the operator

    async def _operate(self) -> None:
        """Answer what is shown in open topics, once; what the bot may have answered only if it has not."""
        seen = 0
        while True:
            chat = self.group.chat
            while seen < len(chat.sent):
                message = chat.sent[seen]
                seen += 1
                if message["from"]["id"] != self.anna.id and "text" in message:
                    self._read(message)
            await chat.changed.wait()

    def _read(self, message: dict[str, Any]) -> None:
        topic, text = self.topics[message.get("message_thread_id", 0)], message["text"]
        if text.startswith(WAITING):
            topic.open = True
        elif text.startswith(MAY_BE_ANSWERED):
            topic.doubtful = True
        elif text.startswith("m"):
            doubtful, topic.doubtful = topic.doubtful, False
            if topic.open and text not in topic.answered and not (doubtful and self._has_answered(text)):
                topic.answered.add(text)
                thread, bot = message["message_thread_id"], self.world.bots[message["from"]["id"]]
                self.anna.send(bot, f"op: {text}", group=self.group, thread_id=thread)

    def _has_answered(self, text: str) -> bool:
        """What a person would ask the user: whether the bot's answer was there."""
        person = next(one for one in self.people if text.startswith(f"m{one.user.id}."))
        return "bot" in self._answers(person).get(text, ())

    # -- the kills

    async def _kill(self, every: float) -> None:
        """Kill a worker and the daemon by turns, `KILLS` times each; what is left runs to its end."""
        for _ in range(KILLS):
            for kill in (self._kill_worker, self._kill_daemon):
                await trio.sleep(self.rng.uniform(0.5, 1.5) * every)
                with trio.CancelScope(shield=True):  # the dialogs may end before the daemon is there again
                    await kill()

    async def _kill_worker(self) -> None:
        assert self.daemon is not None
        workers = workers_of(self.daemon.process.pid)
        if workers:
            os.kill(self.rng.choice(workers), signal.SIGKILL)
            self.kills["worker"] += 1

    async def _kill_daemon(self) -> None:
        assert self.daemon is not None
        workers = workers_of(self.daemon.process.pid)
        self.daemon.process.kill()
        await self.daemon.wait()
        self.kills["daemon"] += 1
        await until(lambda: not any(alive(pid) for pid in workers))
        self.daemon = await self.project.start().ready()

    # -- what has to hold

    async def _is_over(self, daemon: Daemon) -> bool:
        found = await daemon.ask("/api/handoffs")
        pending = sum(self.project.tally(bot)["pending"] for bot in self.bots)
        return found is not None and found["handoffs"] == [] and pending == 0

    async def _check(self, daemon: Daemon) -> None:
        handed = 0
        for person in self.people:
            answers = self._answers(person)
            wrong = {text: answers.get(text) for text in person.said if len(answers.get(text, ())) != 1}
            assert wrong == {}, f"each is answered by the bot or by a human\n{self._story(person)}"
            user, operator = await self._transcript(daemon, person)
            assert user == sorted(set(user), key=person.said.index), "in order, and none twice"
            by_human = [text for text in person.said if answers[text] == {"op"}]
            assert set(by_human) <= set(user), "what a human has answered is in the transcript"
            delivered = list(
                dict.fromkeys(
                    message["text"]
                    for message in self.world.sent(person.bot, person.user.id)
                    if message["text"].startswith("op: ")
                )
            )
            assert operator == delivered == [f"op: {text}" for text in by_human]
            handed += len(by_human)
        assert handed >= len(self.people) * self.rounds, "humans have answered at least once in each handoff"
        dead = sum(self.project.tally(bot)["dead"] for bot in self.bots)
        assert dead == 0

    async def _transcript(self, daemon: Daemon, person: Person) -> tuple[list[str], list[str]]:
        lines: list[dict[str, Any]] = []
        after = ""
        while after is not None:
            path = f"/api/handoffs/{person.bot.username}:{person.user.id}?limit=500&after={after}"
            page = await daemon.ask(path)
            assert page is not None
            lines += page["transcript"]
            after = page["next"]
        said = [line for line in lines if line["kind"] == "text" and line.get("text", "")[:1] in "mo"]
        user = [line["text"] for line in said if line["who"] == "user"]
        return user, [line["text"] for line in said if line["who"] == "operator"]
