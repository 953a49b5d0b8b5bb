"""What the queue has to hold, with whole fleets: a storm of failures and kills, a chat that blocks, a million
chats that wait.

The storm is checked, not only measured: nothing lost, nothing repeated that was not told, chats in order.
The simulated Telegram runs in this process; it shares the machine.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import tomli_w
import trio

from benchmarks.fleet import wait_ready
from benchmarks.processes import pss
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.inbox.store import Accept
from trioworkers.testing import SimBot, Telegram, serve_telegram
from trioworkers.testing.invariants import Handled, broken_order, broken_replies, broken_tally

if TYPE_CHECKING:
    from collections.abc import Iterator

CHATS = 50
KILL_EVERY = 1.0  # seconds
LATENCY_SECONDS = 20.0
LATENCY_PER_SECOND = 50
STORM = """
import os, random

notes = os.open("notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

async def handle(update, bot):
    os.write(notes, f"{update.chat_id} {update.update_id} {update.after_gap:d}\\n".encode())
    await bot.send_message(chat_id=update.chat_id, text=update.text)
    if random.random() < 0.2:
        raise ValueError
"""
BLOCKS = """
import trio

async def handle(update, bot):
    if update.text == "block":
        await trio.sleep_forever()
    await bot.send_message(chat_id=update.chat_id, text=update.text)
"""


def run(parts: list[str], updates: int, waiting: int, limit: float) -> None:
    """Do the named parts. Exits with 1 when the storm broke what must hold."""
    for part in parts:
        with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as folder:
            if part == "storm":
                broken = trio.run(_storm, Path(folder), updates, limit)
                print(*(broken or ["nothing is broken"]), sep="\n", flush=True)
                if broken:
                    raise SystemExit(1)
            elif part == "blocked":
                trio.run(_blocked, Path(folder), updates)
            else:
                _million(Path(folder), waiting)


async def _storm(folder: Path, updates: int, limit: float) -> list[str]:
    """Handle all updates while every fifth handling fails and a worker is killed each second."""
    confirmed: list[int] = []
    world = Telegram(seed=1, repeat_guard=False, history=1, on_confirm=lambda _, ids: confirmed.extend(ids))
    bot = world.add_bot("storm")
    people = [world.add_user(f"Person{number}") for number in range(CHATS)]
    for number in range(updates):
        people[number % CHATS].send(bot, str(number))
    quick = {"initial": "1ms", "max": "10ms"}
    keys = {"retry": {"attempts": 50, **quick}, "restart": {"per_hour": 10**6, **quick}}
    kills = 0
    async with trio.open_nursery() as nursery:
        base = await nursery.start(serve_telegram, world)
        with _daemon(folder, base, bot, STORM, **keys) as daemon:
            await trio.to_thread.run_sync(wait_ready, _control(folder), daemon)
            began = time.monotonic()
            left = updates
            while left:
                await trio.sleep(KILL_EVERY)
                if time.monotonic() - began > limit:
                    nursery.cancel_scope.cancel()
                    return [f"{left} of {updates} updates were left after {limit:g} s"]
                if workers := _workers(daemon.pid):
                    os.kill(workers[kills % len(workers)], signal.SIGKILL)
                    kills += 1
                left = updates - _over(folder)
                if kills % 10 == 0:
                    print(f"{time.monotonic() - began:5.0f} s: {left} left, {kills} kills", flush=True)
            took = time.monotonic() - began
            await trio.to_thread.run_sync(_stop, daemon)
        nursery.cancel_scope.cancel()
    print(
        f"storm: {updates} updates of {CHATS} chats in {took:.0f} s ({updates / took:,.0f}/s), {kills} kills"
    )
    return _broken(folder, world, bot, confirmed, kills)


def _broken(folder: Path, world: Telegram, bot: SimBot, confirmed: list[int], kills: int) -> list[str]:
    """What did not hold, and a line with the figures."""
    path = folder / "state" / "inbox.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as inbox:
        gaps = {id_ for (id_,) in inbox.execute("SELECT update_id FROM dead")}
    handled = [line.split() for line in (folder / "notes").read_text().splitlines()]
    lines = [json.loads(line) for line in (folder / "log").read_text().splitlines() if line[:1] == "{"]
    ended = sum(line["event"] == "worker.exited" for line in lines)
    told = [line for line in lines if line["event"] in ("update.repeated", "update.retried")]
    marked = Counter(line["trace_id"] for line in told if line["event"] == "update.repeated")
    made = [call.params["text"] for call in world.calls_of("sendMessage", bot) if call.ok]
    repeats = sum(times - 1 for times in Counter(made).values())
    retried = len(told) - marked.total()
    print(
        f"{len(handled)} handlings, {retried} retries, {len(gaps)} dead; {repeats} replies were repeated, ",
        end="",
    )
    print(f"{marked.total()} told as such")
    order = [Handled(chat, int(update_id), gap == "1") for chat, update_id, gap in handled]
    traces = _traces(bot, world, made)
    return [
        *([f"{kills} workers were killed, {ended} ended"] if ended < kills else []),
        *broken_tally(path, bot.id, confirmed),
        *broken_order(order, gaps=gaps),
        *broken_replies(traces, marked=marked),
    ]


def _traces(bot: SimBot, world: Telegram, made: list[str]) -> list[str]:
    """The trace id of each reply's update: updates have ascending ids, texts are their numbers."""
    first = min(world.confirmed(bot))
    names = (f"{bot.id}:{first + int(text)}" for text in made)
    return [blake2b(name.encode(), digest_size=16).hexdigest() for name in names]


async def _blocked(folder: Path, updates: int) -> None:
    """The latency of other chats beside one whose first update is in flight and never ends, and without."""
    for behind in (0, updates):
        place = folder / str(behind)
        place.mkdir()
        world = Telegram(seed=1, repeat_guard=False, record=100_000, history=1)
        bot = world.add_bot("blocked")
        if behind:
            _fill(place, bot.id, behind, chats=1)
        people = [world.add_user(f"Person{number}") for number in range(CHATS)]
        async with trio.open_nursery() as nursery:
            base = await nursery.start(serve_telegram, world)
            with _daemon(place, base, bot, BLOCKS, handler_timeout="1h") as daemon:
                await trio.to_thread.run_sync(wait_ready, _control(place), daemon)
                sent: dict[str, float] = {}
                for number in range(round(LATENCY_SECONDS * LATENCY_PER_SECOND)):
                    sent[str(number)] = time.time()
                    people[number % CHATS].send(bot, str(number))
                    await trio.sleep(1 / LATENCY_PER_SECOND)
                with trio.move_on_after(30):
                    while len(world.calls_of("sendMessage", bot)) < len(sent):
                        await trio.sleep(0.1)
                waits = sorted(
                    call.at - sent[call.params["text"]] for call in world.calls_of("sendMessage", bot)
                )
                daemon.send_signal(signal.SIGQUIT)
                await trio.to_thread.run_sync(daemon.wait)
            nursery.cancel_scope.cancel()
        middle, late = waits[len(waits) // 2] * 1e3, waits[len(waits) * 99 // 100] * 1e3
        print(
            f"{behind:>7} updates behind a blocked chat: {len(waits)} of {len(sent)} others answered,"
            f" p50 {middle:.1f} ms, p99 {late:.1f} ms",
            flush=True,
        )


def _million(folder: Path, waiting: int) -> None:
    """The daemon's memory with so many updates of as many chats waiting, beside an empty inbox."""
    world = Telegram(seed=1)
    bot = world.add_bot("many")
    sizes = []
    for number in (0, waiting):
        place = folder / str(number)
        place.mkdir()
        if number:
            began = time.monotonic()
            _fill(place, bot.id, number, chats=number)
            print(f"filled in {time.monotonic() - began:.0f} s", flush=True)
        began = time.monotonic()
        with _daemon(place, "http://127.0.0.1:9", bot, BLOCKS, handler_timeout="1h") as daemon:
            status = wait_ready(_control(place), daemon)
            ready = time.monotonic() - began
            time.sleep(3)
            sizes.append(pss(daemon.pid))
            queue = status["workers"][0]["queue"]
            print(f"{number:>9} waiting: ready after {ready:.1f} s, {sizes[-1]:.1f} MB, {queue}", flush=True)
            daemon.send_signal(signal.SIGQUIT)
            daemon.wait()
    print(f"grown by {sizes[1] - sizes[0]:.1f} MB")


def _fill(folder: Path, bot_id: int, updates: int, *, chats: int) -> None:
    """Write updates into a new inbox, as accepted now."""
    (folder / "state").mkdir(mode=0o700)
    store = open_sqlite(folder / "state" / "inbox.db")
    for start in range(0, updates, 5000):
        batch = []
        for number in range(start, min(start + 5000, updates)):
            chat = -(number % chats + 1)
            text = (
                '"message_id":1,"date":1,"text":"block","from":{"id":1,"is_bot":false,"first_name":"Alice"}'
            )
            body = f'{{"update_id":{number},"message":{{"chat":{{"id":{chat},"type":"group"}},{text}}}}}'
            batch.append(Accept(bot_id, number, str(chat), body.encode(), time.time()))
        store.commit(batch)
    store.close()


@contextmanager
def _daemon(
    folder: Path, base: str, bot: SimBot, source: str, **keys: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon with one bot; killed at the end when it still runs."""
    (folder / "handler.py").write_text(source)
    fleet = {
        "fleet": {"api_base": base},
        "api": {"bind": "127.0.0.1:0"},
        "log": {"throttle_window": 0},  # each repetition is told
        "bots": {bot.username: {"token": bot.token, "handler": "handler:handle", **keys}},
    }
    path = folder / "fleet.toml"
    path.write_text(tomli_w.dumps(fleet))
    path.chmod(0o600)
    command = [sys.executable, "-m", "trioworkers.cli", "-c", str(path), "run"]
    with open(folder / "log", "wb") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        yield daemon
    finally:
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    daemon.send_signal(signal.SIGTERM)
    daemon.wait()


def _control(folder: Path) -> Path:
    return folder / "state" / "run" / "control.sock"


def _over(folder: Path) -> int:
    """How many updates need no more handling."""
    path = folder / "state" / "inbox.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as inbox:
        row = inbox.execute("SELECT done + dropped + expired + dead FROM tally").fetchone()
    return row[0] if row else 0


def _workers(daemon: int) -> list[int]:
    """The worker processes of a daemon: children of its zygote, and its own once that zygote has ended."""
    found = []
    for process in psutil.Process(daemon).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name() == "tw-worker":
                found.append(process.pid)
    return found
