"""Kill −9 of a process that holds the webhook listener and the inbox, while a simulated Telegram delivers.

The simulator behaves as Telegram does: up to 40 kept-alive connections for each bot, one delivery in flight
for each chat, what fails comes again. The listening socket outlives the processes, as systemd's does. In the
end every update has to be in the inbox once, each chat's in order. The tests run a small one of these.
"""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio

from trioworkers.inbox.sqlite import open_sqlite
from trioworkers.testing import SimBot, Telegram, serve_telegram

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SECRET = "s" * 43
TIME = 600.0  # seconds for all of it
CHILD = """
import socket, sys, trio
from pathlib import Path
from trioworkers.config.settings import Webhook
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.sqlite import open_sqlite
from trioworkers.transport.deliveries import Deliveries
from trioworkers.web.connections import Bounds, Connections
from trioworkers.web.webhook import WebhookApp

descriptor, path, secret, *bots = sys.argv[1:]

async def main():
    async with open_inbox(open_sqlite(Path(path))) as inbox, trio.open_nursery() as nursery:
        deliveries, settings, stop = Deliveries(inbox.accept), Webhook(), trio.Event()
        await nursery.start(deliveries.serve)
        for bot in bots:
            deliveries.open(bot, int(bot)).add_secret(secret)
        app = WebhookApp(deliveries, lambda: settings, "token")
        listener = socket.socket(fileno=int(descriptor))
        await nursery.start(Connections(app, bounds=Bounds()).serve, [listener], stop)
        with trio.open_signal_receiver(15) as signals:
            print("ready", flush=True)
            async for _ in signals:
                break
        deliveries.close()
        stop.set()

trio.run(main)
"""


@contextmanager
def life(listener: socket.socket, path: Path, bots: Sequence[SimBot]) -> Iterator[subprocess.Popen[bytes]]:
    """One process over the same socket and file; killed at the end if it still lives."""
    descriptor = listener.fileno()
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(descriptor), str(path), SECRET, *(str(bot.id) for bot in bots)],
        pass_fds=[descriptor],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def run(bots: int, updates: int, kills: int) -> None:
    """Run one and say how long it took."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as folder:
        duplicates = trio.run(deliver_through_kills, Path(folder) / "inbox.db", bots, updates, kills)
    seconds = time.perf_counter() - began
    print(f"{updates} updates of {bots} bots through {kills} kills in {seconds:.0f} s: each is in the inbox")
    print(f"once, each chat's in order; {duplicates} came twice and were known")


async def deliver_through_kills(path: Path, bots: int, updates: int, kills: int) -> int:
    """Deliver so many updates to an inbox at `path`, whose process is killed so often at random moments, and
    at last stopped. Returns how many came more than once.

    Raises:
        AssertionError: something was lost, doubled or out of order.
    """
    dice = random.Random(5)  # noqa: S311 - moments of kills
    world = Telegram(seed=5, repeat_guard=False, record=False)
    cast = [world.add_bot(f"bot{number}") for number in range(bots)]
    people = [world.add_user(f"Person{number}") for number in range(4 * bots)]
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_telegram, world)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/webhook/"
            for bot in cast:
                world.call(bot, "setWebhook", url=url + str(bot.id), secret_token=SECRET)
            for number in range(updates):
                people[number % len(people)].send(cast[(number // 7) % bots], f"{number}")
            for kill in range(kills):
                with life(listener, path, cast) as process:
                    await _until(cast, round((kill + dice.random()) * updates / (kills + 1)))
                    process.kill()
            with life(listener, path, cast) as process:
                await _until(cast, updates)
                process.send_signal(signal.SIGTERM)
                with trio.fail_after(20):
                    assert await trio.to_thread.run_sync(process.wait) == 0
            nursery.cancel_scope.cancel()
    return _check(path, world, cast, updates)


async def _until(cast: Sequence[SimBot], count: int) -> None:
    with trio.fail_after(TIME):
        while sum(len(bot.queue.confirmed) for bot in cast) < count:
            await trio.sleep(0.001)


def _check(path: Path, world: Telegram, cast: Sequence[SimBot], updates: int) -> int:
    store = open_sqlite(path)
    found = duplicates = 0
    for bot in cast:
        waiting = store.waiting(bot.id, after=0, limit=10**6)
        ids = [update.update_id for update in waiting]
        assert sorted(ids) == sorted(world.confirmed(bot)), "lost, or doubled"
        found += len(ids)
        last: dict[str, int] = {}
        for update in waiting:
            number = int(msgspec.json.decode(update.body)["message"]["text"])
            assert number > last.get(update.key, -1), "out of order"
            last[update.key] = number
        duplicates += store.tallies()[bot.id].duplicates
    store.close()
    assert found == updates
    return duplicates
