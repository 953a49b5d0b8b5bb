"""Kill −9 of a process that holds the listener and the inbox, while Telegram delivers: nothing is lost."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager

import msgspec
import trio

from trioworkers.inbox.sqlite import open_sqlite
from trioworkers.records import read_update
from trioworkers.testing import Telegram, serve_telegram

BOTS, PEOPLE, UPDATES, KILLS = 5, 20, 1500, 3
SECRET = "s" * 43
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
def life(listener, path, bots):
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


async def test_kill_9_of_the_listener_loses_nothing(tmp_path, nursery):
    """Three kills in the middle of it, and a graceful stop: every update is there once, each chat in order.

    The socket outlives the processes, as systemd's does. What Telegram repeats is answered as known.
    """
    dice = random.Random(5)
    world = Telegram(seed=5, repeat_guard=False, record=False)
    bots = [world.add_bot(f"bot{number}") for number in range(BOTS)]
    people = [world.add_user(f"Person{number}") for number in range(PEOPLE)]
    await nursery.start(serve_telegram, world)
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/webhook/"
    sent: Counter[int] = Counter()
    path = tmp_path / "inbox.db"

    def confirmed() -> int:
        return sum(len(world.confirmed(bot)) for bot in bots)

    async def until(count: int) -> None:
        with trio.fail_after(60):
            while confirmed() < count:  # noqa: ASYNC110 - the other side of a socket has no event
                await trio.sleep(0.001)

    for bot in bots:
        world.call(bot, "setWebhook", url=url + str(bot.id), secret_token=SECRET)
    for number in range(UPDATES):
        bot = bots[number % BOTS]
        people[number % PEOPLE].send(bot, f"{number}")
        sent[bot.id] += 1
    for kill in range(KILLS):
        with life(listener, path, bots) as process:
            await until(round((kill + dice.random()) * UPDATES / (KILLS + 1)))
            process.kill()
    with life(listener, path, bots) as process:
        await until(UPDATES)
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(20):
            assert await trio.to_thread.run_sync(process.wait) == 0
    listener.close()
    store = open_sqlite(path)
    for bot in bots:
        waiting = store.waiting(bot.id, after=0, limit=10**6)
        ids = [update.update_id for update in waiting]
        assert sorted(ids) == sorted(world.confirmed(bot))
        assert len(set(ids)) == len(ids) == sent[bot.id]
        for person in people:
            said = [update.body for update in waiting if update.key == str(person.id)]
            numbers = [int(msgspec.json.decode(body)["message"]["text"]) for body in said]
            assert numbers == sorted(numbers)
            assert all(read_update(body).key == str(person.id) for body in said)
    store.close()
    nursery.cancel_scope.cancel()
