"""The inbox in memory: the store for tests, and the plainest account of what a store does.

It keeps every promise of :class:`~trioworkers.inbox.store.Store` but to last.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace as changed
from itertools import islice
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from trioworkers.inbox.fetch import Page
from trioworkers.inbox.rules import Committed, logged, once_seen, put_result
from trioworkers.inbox.store import (
    DUPLICATE,
    FILTERED,
    Accept,
    BeginCall,
    EndCall,
    Filter,
    Finish,
    Kept,
    MoveToDead,
    Operation,
    Purge,
    PutValue,
    Replay,
    Reschedule,
    StoreError,
    StoreWrite,
    Unkept,
)
from trioworkers.inbox.tally import Tally
from trioworkers.records import ANY_CALL, DeadLetter, RecordedCall, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from trioworkers.inbox.fetch import Fetch
    from trioworkers.inbox.store import ArrivalResult, Result
    from trioworkers.records import Attempt

ORDER = (
    *((BeginCall, EndCall), (Finish,), (Reschedule,), (MoveToDead,)),
    *((Accept, Filter), (Replay,), (Purge,), (PutValue,)),
)


class MemoryStore:
    """A :class:`~trioworkers.inbox.store.Store` that ends with its process.

    `fault` is called with each operation before it is done, and with the name of each read: what it raises
    is what the store fails with. All of a commit are asked before the first is done, so a fault at any of
    them leaves everything as it was.
    """

    is_shared = False

    def __init__(self, fault: Callable[[Operation | str], None] = lambda _: None) -> None:
        self.fault = fault
        self._last_id = 0
        self._seen: dict[tuple[int, int], float] = {}
        self._once: dict[tuple[int, str], Committed] = {}
        self._inbox: dict[int, Waiting] = {}  # ids ascend, so it is in their order
        self._dead: dict[int, DeadLetter] = {}
        self._history: dict[int, tuple[Attempt, ...]] = {}
        self._calls: defaultdict[int, dict[str, RecordedCall]] = defaultdict(dict)
        self._gaps: set[tuple[int, str]] = set()
        self._counts: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self._values: dict[tuple[str, str], tuple[bytes, float | None]] = {}

    def commit(self, operations: Sequence[Operation]) -> Sequence[Result]:
        for operation in operations:
            self.fault(operation)
        do: dict[type, Callable[[Any], Result]] = {
            BeginCall: self._calling,
            EndCall: self._called,
            Finish: self._finish,
            Reschedule: self._reschedule,
            MoveToDead: self._dead_letter,
            Accept: self._accept,
            Filter: self._filter,
            Replay: self._replay,
            Purge: self._purge,
            PutValue: self._put,
        }
        results: list[Result] = [None] * len(operations)
        for kinds in ORDER:
            for place, operation in enumerate(operations):
                if isinstance(operation, kinds):
                    results[place] = do[type(operation)](operation)
        return results

    def waiting(
        self,
        bot_id: int,
        fetch: Fetch,
    ) -> Page:
        self.fault("waiting")
        last = self._last_id if fetch.until is None else min(fetch.until, self._last_id)
        found: list[Waiting] = []
        looked_at = 0
        for update in self._inbox.values():
            if update.bot_id != bot_id or not fetch.after < update.id <= last:
                continue
            looked_at += 1
            asked_for = fetch.key is None if update.skipped else fetch.key in (None, update.key)
            if asked_for and (update.skipped or update.key not in fetch.without):
                found.append(replace(update, called=bool(self._calls.get(update.id))))
            if len(found) == fetch.limit or looked_at == fetch.most:
                return Page(found, update.id, more=update.id < last)
        return Page(found, last, more=False)

    def known(self, bot_id: int, update_ids: Collection[int]) -> set[int]:
        self.fault("known")
        return {update_id for update_id in update_ids if (bot_id, update_id) in self._seen}

    def calls(self, id: int) -> Sequence[RecordedCall]:
        self.fault("calls")
        return sorted(self._calls.get(id, {}).values(), key=lambda call: (call.at, call.key))

    def recorded(self, calls: Sequence[tuple[int, str]]) -> set[tuple[int, str]]:
        self.fault("recorded")
        return {(id_, key) for id_, key in calls if key in self._calls.get(id_, {})}

    def dead(
        self,
        *,
        ids: Sequence[int] | None = None,
        bot_id: int | None = None,
        died_by: float | None = None,
        after: int = 0,
        limit: int,
    ) -> Sequence[DeadLetter]:
        self.fault("dead")
        found = (
            letter
            for id_, letter in sorted(self._dead.items())
            if id_ > after
            and (ids is None or id_ in ids)
            and (bot_id is None or letter.bot_id == bot_id)
            and (died_by is None or letter.died_at <= died_by)
        )
        return list(islice(found, limit))

    def tallies(self, bot_ids: Collection[int] | None = None) -> Mapping[int, Tally]:
        self.fault("tallies")
        pending = Counter(update.bot_id for update in self._inbox.values())
        return {
            bot_id: changed(Tally(**counts), pending=pending[bot_id])
            for bot_id, counts in self._counts.items()
            if bot_ids is None or bot_id in bot_ids
        }

    def news(self, after: Mapping[int, int]) -> Collection[int]:
        self.fault("news")
        return {one.bot_id for one in self._inbox.values() if one.id > after.get(one.bot_id, one.id)}

    def forget(self, before: float, limit: int) -> int:
        self.fault("forget")
        old = list(islice((key for key, at in self._seen.items() if at < before), limit))
        for key in old:
            del self._seen[key]
        return len(old)

    def forget_keys(self, now: float, limit: int) -> int:
        self.fault("forget_keys")
        old = sorted((key.until, place) for place, key in self._once.items() if key.until <= now)[:limit]
        for _, place in old:
            del self._once[place]
        return len(old)

    def value(self, plugin: str, key: str, now: float) -> bytes | None:
        self.fault("value")
        return self._value(plugin, key, now)

    def values(
        self, plugin: str, prefix: str, after: str, limit: int, now: float
    ) -> Sequence[tuple[str, bytes]]:
        self.fault("values")
        found = (
            (key, value)
            for (owner, key), (value, until) in sorted(self._values.items())
            if owner == plugin and key > after and key.startswith(prefix) and (until is None or until > now)
        )
        return list(islice(found, limit))

    def forget_values(self, now: float, limit: int) -> int:
        self.fault("forget_values")
        ends = ((until, place) for place, (_, until) in self._values.items() if until is not None)
        old = sorted(end for end in ends if end[0] <= now)[:limit]
        for _, place in old:
            del self._values[place]
        return len(old)

    def tend(self, *, prove: bool = False) -> int:
        """Nothing has to be looked after."""
        return 0

    def holders(self) -> Sequence[str]:
        """Nobody else can have it open."""
        return ()

    def backup(self, path: Path) -> None:
        message = f"cannot copy what is in memory to {path}"
        raise StoreError(message)

    def close(self) -> None:
        """Nothing has to be given back."""

    def _calling(self, operation: BeginCall) -> None:
        if operation.id in self._inbox:
            calls = self._calls[operation.id]
            before = calls.get(operation.key)
            if before is None:
                calls[operation.key] = RecordedCall(operation.key, operation.at, repeated=ANY_CALL in calls)
            else:
                calls[operation.key] = replace(before, repeated=True)

    def _called(self, operation: EndCall) -> None:
        if operation.id not in self._inbox:
            return
        calls = self._calls[operation.id]
        call = calls.get(operation.key)
        if operation.answer is not None:
            calls[operation.key] = replace(call or RecordedCall(operation.key, 0.0), answer=operation.answer)
        elif call and call.answer is None and not call.repeated:
            del calls[operation.key]

    def _finish(self, operation: Finish) -> None:
        if self._inbox.pop(operation.id, None):
            self._history.pop(operation.id, None)
            self._calls.pop(operation.id, None)
            self._counts[operation.bot_id][operation.outcome] += 1
            self._write(operation.writes)

    def _reschedule(self, operation: Reschedule) -> None:
        now, before = operation.update, self._inbox.get(operation.update.id)
        if before is None:
            return
        after = replace(
            before,
            attempt=now.attempt,
            due=now.due,
            started_at=now.started_at,
            suspect=now.suspect,
            crashes=now.crashes,
            skipped=now.skipped,
        )
        if after == before:
            return
        self._inbox[now.id] = after
        self._counts[now.bot_id]["retried"] += 1
        self._history[now.id] = logged(self._history.get(now.id, ()), operation.failure)
        if now.skipped and not before.skipped:
            self._leave_gap(before)

    def _dead_letter(self, operation: MoveToDead) -> None:
        update = self._inbox.pop(operation.id, None)
        if update is None:
            return
        history = self._history.pop(update.id, ())
        self._dead[update.id] = DeadLetter(
            *(update.id, update.bot_id, update.update_id, update.key, update.kind, update.body),
            *(update.accepted_at, operation.attempts, operation.at, operation.reason),
            history if operation.failure is None else logged(history, operation.failure),
        )
        self._counts[operation.bot_id]["dead"] += 1
        if not update.skipped:
            self._leave_gap(update)

    def _filter(self, operation: Filter) -> Unkept:
        if self._is_known(operation):
            return DUPLICATE
        self._counts[operation.bot_id]["filtered"] += 1
        return FILTERED

    def _is_known(self, operation: Accept | Filter) -> bool:
        """Whether the update came before; if not, its id is remembered."""
        if (operation.bot_id, operation.update_id) in self._seen:
            self._counts[operation.bot_id]["duplicates"] += 1
            return True
        self._seen[operation.bot_id, operation.update_id] = operation.at
        return False

    def _accept(self, operation: Accept) -> ArrivalResult:
        if self._is_known(operation):
            return DUPLICATE
        if (repeated := once_seen(operation, self._once.get)) is not None:
            self._counts[operation.bot_id]["filtered"] += 1
            return repeated
        for once in operation.once:
            key = operation.bot_id, once.key
            self._once[key] = Committed(operation.at, operation.at + once.window)
        self._write(operation.writes)
        self._counts[operation.bot_id]["accepted"] += 1
        kept = self._keep(operation.bot_id, operation.key)
        self._inbox[kept.id] = Waiting(
            kept.id,
            after_gap=kept.after_gap,
            bot_id=operation.bot_id,
            update_id=operation.update_id,
            key=operation.key,
            body=operation.body,
            accepted_at=operation.at,
            kind=operation.kind,
        )
        return kept

    def _replay(self, operation: Replay) -> Kept | None:
        letter = self._dead.pop(operation.id, None)
        if letter is None:
            return None
        kept = self._keep(letter.bot_id, letter.key)
        self._inbox[kept.id] = Waiting(
            kept.id,
            after_gap=kept.after_gap,
            bot_id=letter.bot_id,
            update_id=letter.update_id,
            key=letter.key,
            body=letter.body,
            accepted_at=letter.accepted_at,
            kind=letter.kind,
        )
        self._history[kept.id] = letter.history
        if operation.id in self._calls:
            self._calls[kept.id] = self._calls.pop(operation.id)
        self._counts[operation.bot_id]["dead"] -= 1
        return kept

    def _purge(self, operation: Purge) -> bool:
        purged = self._dead.pop(operation.id, None) is not None
        if purged:
            self._calls.pop(operation.id, None)
            self._counts[operation.bot_id].update(dead=-1, purged=1)
        return purged

    def _put(self, operation: PutValue) -> bool:
        met = put_result(operation, self._value(operation.plugin, operation.key, operation.at))
        if met:
            self._write([StoreWrite(operation.plugin, operation.key, operation.value, operation.until)])
        return met

    def _write(self, writes: Sequence[StoreWrite]) -> None:
        for write in writes:
            if write.value is None:
                self._values.pop((write.plugin, write.key), None)
            else:
                self._values[write.plugin, write.key] = write.value, write.until

    def _value(self, plugin: str, key: str, now: float) -> bytes | None:
        value, until = self._values.get((plugin, key), (None, None))
        return value if until is None or until > now else None

    def _keep(self, bot_id: int, key: str) -> Kept:
        self._last_id += 1
        after_gap = (bot_id, key) in self._gaps
        self._gaps.discard((bot_id, key))
        return Kept(self._last_id, after_gap)

    def _leave_gap(self, update: Waiting) -> None:
        if not update.key:
            return
        following = next(self._behind(update), None)
        if following is None:
            self._gaps.add((update.bot_id, update.key))
        else:
            self._inbox[following.id] = replace(following, after_gap=True)

    def _behind(self, update: Waiting) -> Iterator[Waiting]:
        return (
            other
            for other in self._inbox.values()
            if (other.bot_id, other.key) == (update.bot_id, update.key)
            and other.id > update.id
            and not other.skipped
        )
