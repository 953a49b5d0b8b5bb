"""A bot's backlog without a disk, for tests of what works on it."""

from __future__ import annotations

from typing import Any

import trio
from msgspec.structs import replace

from trioworkers.inbox.feed import Feed
from trioworkers.inbox.fetch import Page
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
    """A backlog whose store commits at once: what becomes of each update is in `ends`.

    That it hands out and keeps what a backlog does is looked at in `test_desk_conformance.py`.
    """

    def __init__(self, *updates: Waiting) -> None:
        self.queue = Queue(behind=False)
        self.stored: dict[int, Waiting] = {}  # by ascending id; in flight or waiting
        self.ordinary = Feed(self.queue.take, self.queue.next_due, clock, self.queue.is_ready)
        self.suspects = Feed(self.queue.take_suspect, self.queue.next_suspect_due, clock)
        self.ends: list[Any] = []
        self.writes: list[Any] = []
        self.recorded: dict[int, dict[str, bytes | None]] = {}
        self.repeated: set[tuple[int, str]] = set()
        self.reading: trio.Event | None = None
        self.unreadable = False
        self.written = trio.Event()
        self.written.set()
        for update in updates:
            self.stored[update.id] = update
            self.queue.offer(update)

    def offer(self, update):
        self.stored[update.id] = update
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
        self._leave(update)

    def dead_letter(self, update, reason, attempts, failure=None):
        self.ends.append((update.id, "dead", reason, attempts, failure))
        self._leave(update, dead=not update.skipped)

    def retry(self, update, failure):
        self.ends.append((update, failure))
        self.stored[update.id] = update
        self.queue.put_back(update)
        self._fetch()
        self.poke()

    def put_back(self, update, due=0.0):
        self.ends.append((update.id, "put back", due))
        self.queue.put_back(replace(update, due=due))
        self.poke()

    def _leave(self, update, *, dead=False):
        self.stored.pop(update.id, None)
        self.queue.finish(update.id, dead=dead)
        self._fetch()
        self.changed()

    def _fetch(self):
        """Give the queue what it left in the store."""
        while (fetch := self.queue.wanted()) is not None:
            last = max(self.stored, default=0) if fetch.until is None else fetch.until
            found = [
                one
                for one in self.stored.values()
                if fetch.after < one.id <= last
                and (fetch.key is None if one.skipped else fetch.key in (None, one.key))
                and (one.skipped or one.key not in fetch.without)
            ]
            if len(found) > fetch.limit:
                found, last, more = found[: fetch.limit], found[fetch.limit - 1].id, True
            else:
                more = False
            self.queue.fetched(fetch, Page(found, last, more))

    def calling(self, update, key):
        calls = self.recorded.setdefault(update.id, {})
        if key in calls:
            self.repeated.add((update.id, key))
        calls.setdefault(key, None)

    def called(self, update, key, answer):
        calls = self.recorded.setdefault(update.id, {})
        if answer is not None:
            calls[key] = answer
        elif calls.get(key, b"") is None and (update.id, key) not in self.repeated:  # it was not made
            del calls[key]

    async def wait_recorded(self):
        await self.written.wait()

    async def calls(self, update):
        if self.reading is not None:
            await self.reading.wait()
        if self.unreadable:
            self.unreadable = False
            raise StoreError
        return [RecordedCall(key, 0.0, answer) for key, answer in self.recorded[update.id].items()]
