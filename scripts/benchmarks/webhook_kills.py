"""Kill −9 of a daemon, over and over, while a simulated Telegram delivers to its webhooks: nothing is lost.

The simulator behaves as Telegram does: up to 40 kept-alive connections for each bot, one delivery in flight
for each chat, what fails comes again. The daemon is a real one, with a worker for each bot. In the end every
update was confirmed, accepted and done once, and was handled in its chat's order. The tests run a small one.
"""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import tomli_w
import trio

from benchmarks.ports import free_port
from trioworkers.testing import SimBot, Telegram, serve_telegram
from trioworkers.testing.invariants import Handled, broken_order, broken_tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TIME = 600.0  # seconds for all of it
HANDLER = """
import os

async def handle(update, bot):
    notes = os.open(f"notes.{bot.id}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(notes, f"{update.chat_id} {update.update_id}\\n".encode())
    os.close(notes)
"""


def run(bots: int, updates: int, kills: int) -> None:
    """Run one and say how long it took."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as folder:
        repeats = trio.run(deliver_through_kills, Path(folder), bots, updates, kills)
    seconds = time.perf_counter() - began
    print(f"{updates} updates of {bots} bots through {kills} kills of the daemon in {seconds:.0f} s: each")
    print(f"is done, in its chat's order; {repeats} were in flight at a kill, and handled again")


async def deliver_through_kills(folder: Path, bots: int, updates: int, kills: int) -> int:
    """Deliver so many updates to a daemon in `folder`, that is killed so often at random moments, and at last
    stopped. Returns how many handlings were repeated.

    Raises:
        AssertionError: something was lost, doubled or out of order.
    """
    dice = random.Random(5)  # noqa: S311 - moments of kills
    world = Telegram(seed=5, repeat_guard=False, record=False, history=1)
    cast = [world.add_bot(f"bot{number}") for number in range(bots)]
    people = [world.add_user(f"Person{number}") for number in range(4 * bots)]
    async with trio.open_nursery() as nursery:
        _write(folder, await nursery.start(serve_telegram, world), cast)
        for number in range(updates):
            people[number % len(people)].send(cast[(number // 7) % bots], f"{number}")
        for kill in range(kills):
            with _life(folder) as daemon:
                goal = round((kill + dice.random()) * updates / (kills + 1))
                await _until(partial(_has_confirmed, cast, goal), daemon)
        with _life(folder) as daemon:
            await _until(lambda: _done(folder) == updates, daemon)
            daemon.send_signal(signal.SIGTERM)
            assert await trio.to_thread.run_sync(daemon.wait) == 0
        nursery.cancel_scope.cancel()
    return _check(folder, world, cast, updates)


def _write(folder: Path, base: str, cast: Sequence[SimBot]) -> None:
    """The fleet: a bot for each of the cast, all on one port."""
    address = f"127.0.0.1:{free_port()}"
    bot = {"handler": "handler:handle", "transport": "webhook", "restart": {"initial": "10ms"}}
    fleet = {
        "fleet": {"api_base": base},
        "limits": {"max_workers_per_core": len(cast)},
        "api": {"bind": "127.0.0.1:0"},
        "webhook": {"bind": address, "public_url": f"http://{address}"},
        "bots": {one.username: bot | {"token": one.token} for one in cast},
    }
    (folder / "handler.py").write_text(HANDLER)
    path = folder / "fleet.toml"
    path.write_text(tomli_w.dumps(fleet))
    path.chmod(0o600)


@contextmanager
def _life(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One life of the daemon; killed at the end if it still lives."""
    command = [sys.executable, "-m", "trioworkers.cli", "-c", str(folder / "fleet.toml"), "run"]
    with open(folder / "log", "ab") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        yield daemon
    finally:
        daemon.kill()
        daemon.wait()


async def _until(condition: Callable[[], bool], daemon: subprocess.Popen[bytes]) -> None:
    with trio.fail_after(TIME):
        while not condition():
            assert daemon.poll() is None, "the daemon ended by itself"
            await trio.sleep(0.02)


def _confirmed(cast: Sequence[SimBot]) -> int:
    return sum(len(bot.queue.confirmed) for bot in cast)


def _has_confirmed(cast: Sequence[SimBot], goal: int) -> bool:
    return _confirmed(cast) >= goal


def _done(folder: Path) -> int:
    path = folder / "state" / "inbox.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as inbox:
        return int(inbox.execute("SELECT coalesce(sum(done), 0) FROM tally").fetchone()[0])


def _check(folder: Path, world: Telegram, cast: Sequence[SimBot], updates: int) -> int:
    handlings = 0
    broken: list[str] = []
    for bot in cast:
        confirmed = world.confirmed(bot)
        lines = (folder / f"notes.{bot.id}").read_text().splitlines()
        handled = [Handled(chat, int(update_id)) for chat, update_id in map(str.split, lines)]
        handlings += len(handled)
        broken += broken_tally(folder / "state" / "inbox.db", bot.id, confirmed)
        broken += broken_order(handled)
        if {one.update_id for one in handled} != set(confirmed):
            broken.append(f"{bot.username}: not all were handled, or others")
    assert not broken, broken
    assert _confirmed(cast) == updates
    return handlings - updates
