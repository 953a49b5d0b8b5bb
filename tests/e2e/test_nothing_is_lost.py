"""SIGKILL of a worker, of the daemon, of both, in the middle of 5,000 updates: nothing is missing after."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
from contextlib import closing
from functools import partial

import pytest
import trio
from fleet_project import Daemon, Project, alive, until, workers_of

from trioworkers.testing import SimBot, Telegram, serve_telegram

CHATS, LINES = 50, 100  # 5,000 updates
KILLS = 10


def kill_worker(daemon: Daemon, rng: random.Random) -> None:
    """Kill one of its workers, as the kernel would for memory."""
    workers = workers_of(daemon.process.pid)
    if workers:
        os.kill(rng.choice(workers), signal.SIGKILL)


async def kill_daemon(project: Project, daemon: Daemon) -> Daemon:
    """Kill the daemon with its workers alive; start another one once they have gone by themselves."""
    workers = workers_of(daemon.process.pid)
    daemon.process.kill()
    await daemon.wait()
    await until(lambda: not any(alive(pid) for pid in workers))
    return project.start()


@pytest.mark.parametrize("victims", ["worker", "daemon", "both"])
async def test_ten_kills_amid_5000_updates_lose_nothing(
    project: Project, world: Telegram, nursery: trio.Nursery, victims: str
) -> None:
    """Every update is handled at least once, none is confirmed before it is durable."""
    too_early: list[int] = []

    def check_durable(bot: SimBot, ids: list[int]) -> None:
        with closing(sqlite3.connect(f"file:{project.database}?mode=ro", uri=True)) as inbox:
            marks = ", ".join("?" * len(ids))
            known = inbox.execute(
                f"SELECT update_id FROM seen WHERE bot_id = ? AND update_id IN ({marks})", (bot.id, *ids)
            )
            too_early.extend(set(ids) - {row[0] for row in known})

    world.on_confirm = check_durable
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("sturdy")
    bots = {
        "sturdy": {
            "token": bot.token,
            "handler": "echo:handle",
            "restart": {"initial": "10ms", "max": "50ms", "per_hour": 100},
            "retry": {"attempts": 50, "initial": "10ms", "max": "50ms"},
        }
    }
    project.write(base, bots)
    rng = random.Random(victims)
    people = [world.add_user(f"Person{number}") for number in range(CHATS)]
    daemon = await project.start().ready()
    for number in range(LINES):
        for person in people:
            person.send(bot, f"line {number}")

    def reached(goal: int) -> bool:
        return sum(len(world.sent(bot, person.id)) for person in people) >= goal

    for kill in range(KILLS):
        answered = sum(len(world.sent(bot, person.id)) for person in people)
        goal = min(answered + 300, (kill + 1) * 450)
        await until(partial(reached, goal))
        await trio.sleep(rng.uniform(0, 0.05))
        if victims == "worker" or (victims == "both" and kill % 2):
            kill_worker(daemon, rng)
        if victims != "worker":
            daemon = await kill_daemon(project, daemon)
    await until(lambda: project.tally(bot)["done"] == CHATS * LINES)
    lines = [f"line {number}" for number in range(LINES)]
    for person in people:
        texts = [message["text"] for message in world.sent(bot, person.id)]
        assert set(texts) == set(lines)
        first_answers = list(dict.fromkeys(texts))
        assert first_answers == lines, "in order, repeats of an answer left aside"
    tally = project.tally(bot)
    assert tally["accepted"] == CHATS * LINES
    assert tally["done"] + tally["dropped"] + tally["dead"] + tally["pending"] == tally["accepted"]
    assert not too_early, "the offset at Telegram ran ahead of the inbox"
    assert await (await daemon.ready()).stop() == 0
    nursery.cancel_scope.cancel()
