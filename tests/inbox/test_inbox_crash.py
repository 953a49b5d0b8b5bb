"""Kill −9 at random moments: what was reported durable is, whatever was under way.

Updates come in through the gate, whose judge drops some and gives others a key that a second one has, too.
"""

from __future__ import annotations

import random
import subprocess
import sys

from trioworkers.inbox.fetch import Fetch
from trioworkers.inbox.sqlite.store import open_sqlite

BOT = 7_000_000_001
LIVES = 10
CHILD = """
import os, sys, trio
from pathlib import Path
from msgspec.structs import replace
from trioworkers.errors import Drop
from trioworkers.events import Events
from trioworkers.inbox.gate import Gate
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.breakage import Breakage
from trioworkers.inbox.store import PutValue, StoreWrite
from trioworkers.records import Arrival, Attempt, Once

path, first, bot = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def judge(arrivals):
    return [judged(arrival.update_id) for arrival in arrivals]

def judged(number):
    if number % 13 == 0:
        return Drop("unlucky")
    if number % 3 == 0:
        return None
    return Once(f"{number // 8}/{number % 4}", 1e6), Once(f"of {number}", 1e6)

async def accept(inbox, lane):
    gate = Gate("crash", bot, inbox, Events(), lambda: [judge])
    number = first + lane
    while True:
        batch = [Arrival(n, "message", str(n % 7), None, None, b"{}") for n in (number, number + 4)]
        for arrival, admission in zip(batch, await gate.offer(batch), strict=True):
            say(type(admission).__name__, arrival.update_id)
        number += 8

async def handle(inbox):
    backlog = inbox.claim(bot, Breakage())
    while True:
        update = backlog.ordinary.take()
        if update is None:
            await backlog.ordinary.wait_change()
            continue
        say("took", update.key, update.id, update.update_id)
        if update.update_id % 5 == 0 and update.attempt == 0:
            again = replace(update, due=0.001, attempt=1, started_at=1.0)
            backlog.retry(again, Attempt(1.0, "ValueError"))
        elif update.update_id % 11 == 0:
            backlog.dead_letter(update, "no", 1)
        else:
            write = StoreWrite("ends", f"{update.update_id}", b"1")
            backlog.finish(update, "done", (write, StoreWrite("ends", "last", write.key.encode())))

async def count(inbox):
    before = await inbox.value("counts", "n")
    while True:
        value = b"%d" % (int(before or 0) + 1)
        assert await inbox.put(PutValue("counts", "n", value, None, before, 1.0))
        say("counted", value.decode())
        before = value

async def main():
    async with open_inbox(open_sqlite(path)) as inbox:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handle, inbox)
            nursery.start_soon(count, inbox)
            for lane in range(4):
                nursery.start_soon(accept, inbox, lane)

trio.run(main)
"""


def live(path, first, lines):
    """Let a child accept and handle until it has reported so many lines; kill it; return all it reported."""
    command = [sys.executable, "-c", CHILD, str(path), str(first), str(BOT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as child:
        assert child.stdout is not None
        said = b""
        while said.count(b"\n") < lines:
            more = child.stdout.read(4096)
            assert more, "the child died by itself"
            said += more
        child.kill()
        said += child.stdout.read()
    return [line.split() for line in said.decode().splitlines(keepends=False) if line]


def test_kill_9_loses_nothing_that_was_reported(tmp_path):
    """Ten lives over one file: every accepted update is handled or waits, every ended one stays ended.

    A child takes the next update of a key only once the one before has durably ended, so each `took`
    reports an end, too.
    """
    path, dice = tmp_path / "inbox.db", random.Random(1)
    accepted: set[int] = set()
    dropped: set[int] = set()
    taken: dict[str, tuple[int, int]] = {}  # by key: id and number of the last one
    ended: set[int] = set()
    counted = 0
    for number in range(LIVES):
        for word, *values in live(path, 1_000_000 * number, dice.randint(20, 600)):
            if word in ("Stored", "Dropped"):
                (accepted if word == "Stored" else dropped).add(int(values[0]))
                continue
            if word == "counted":
                assert int(values[0]) == counted + 1, "a value that was put is gone"
                counted += 1
                continue
            assert word == "took"
            key, id_, update_id = values[0], int(values[1]), int(values[2])
            last_id, last = taken.get(key, (0, -1))
            assert id_ >= last_id, "out of order"
            assert update_id not in ended, "handled again after its end was durable"
            if id_ > last_id and last >= 0:
                ended.add(last)
            taken[key] = (id_, update_id)
        store = open_sqlite(path)
        waits = {update.update_id for update in store.waiting(BOT, Fetch(after=0, limit=10**6)).updates}
        seen = {row[0] for row in store._connection.execute("SELECT update_id FROM seen")}
        dead = {row[0] for row in store._connection.execute("SELECT update_id FROM dead")}
        keys = {row[0] for row in store._connection.execute("SELECT key FROM once")}
        tally = store.tallies()[BOT]
        values = dict(store.values("ends", "", "", 10**6, 1.0))
        stored = int(store.value("counts", "n", 1.0) or 0)
        store.close()
        assert accepted | dropped <= seen
        assert not waits & (ended | dead)
        assert not dropped & (waits | ended | dead)
        assert tally.accepted == tally.done + tally.dead + tally.pending
        assert tally.accepted + tally.filtered == len(seen)
        # a value of its own is written with each end by success, and with nothing else
        written = {int(key) for key in values if key != "last"}
        assert len(written) == tally.done
        assert not written & (waits | dead)
        assert not written or int(values["last"]) in written
        assert stored in (counted, counted + 1)  # one may have been put that nobody heard of
        counted = stored
        # a key of its own is remembered of each update that was kept with keys, and of no other
        owners = {int(key.removeprefix("of ")) for key in keys if key.startswith("of ")}
        assert accepted - owners == {n for n in accepted if n % 3 == 0}
        assert len(keys) == 2 * len(owners)
        assert owners <= seen - dropped
        assert {n for n in waits | dead if n % 3} <= owners
        assert (len(waits), len(dead)) == (tally.pending, tally.dead)
        in_between = {last for _, last in taken.values()}  # taken last: its end is reported by nobody
        assert accepted - waits <= ended | in_between
    assert len(accepted) > 100
    assert len(dropped) > 50
    assert len(ended) > 100
    assert counted > LIVES
