"""A bot's backlog without a disk, for tests of what works on it."""

from __future__ import annotations

from typing import Any

import trio
from msgspec.structs import replace

from trioworkers.inbox.feed import Feed
from trioworkers.inbox.queue import Queue
from trioworkers.inbox.store import StoreError
from trioworkers.records import RecordedCall, Waiting

BOT, START = 7, 1_700_000_000.0


def clock() -> float:
    """Unix seconds that go with trio's."""
    return START + trio.current_time()


def update(id_: int, key: str = "", **more: Any) -> Waiting:
    return Waiting(id_, BOT, id_, key or str(id_), b'{"update_id":%d}' % id_, START, **more)


class Desk:
    """A backlog whose store commits at once: what becomes of each update is in `ends`."""

    def __init__(self, *updates: Waiting) -> None:
        self.queue = Queue(behind=False)
        self.ordinary = Feed(self.queue.take, self.queue.next_due, clock, self.queue.is_ready)
        self.suspects = Feed(self.queue.take_suspect, self.queue.next_suspect_due, clock)
        self.ends: list[Any] = []
        self.writes: list[Any] = []
        self.recorded: dict[int, dict[str, bytes | None]] = {}
        self.reading: trio.Event | None = None
        self.unreadable = False
        self.written = trio.Event()
        self.written.set()
        for update in updates:
            self.queue.offer(update)

    def offer(self, update):
        self.queue.offer(update)
        self.poke()

    def poke(self):
        self.ordinary.poke()
        self.suspects.poke()

    def changed(self):
        self.ordinary.changed()
        self.suspects.changed()

    def finish(self, update, outcome, writes=()):
        self.ends.append((update.id, outcome))
        self.writes += writes
        self.queue.finish(update.id)
        self.changed()

    def dead_letter(self, update, reason, attempts, failure=None):
        self.ends.append((update.id, "dead", reason, attempts, failure))
        self.queue.finish(update.id, dead=True)
        self.changed()

    def retry(self, update, failure):
        self.ends.append((update, failure))
        self.queue.put_back(update)
        self.poke()

    def put_back(self, update, due=0.0):
        self.ends.append((update.id, "put back", due))
        self.queue.put_back(replace(update, due=due))
        self.poke()

    def calling(self, update, key):
        self.recorded.setdefault(update.id, {}).setdefault(key, None)

    def called(self, update, key, answer):
        self.recorded.setdefault(update.id, {})[key] = answer

    async def wait_recorded(self):
        await self.written.wait()

    async def calls(self, update):
        if self.reading is not None:
            await self.reading.wait()
        if self.unreadable:
            self.unreadable = False
            raise StoreError
        return [RecordedCall(key, 0.0, answer) for key, answer in self.recorded[update.id].items()]
