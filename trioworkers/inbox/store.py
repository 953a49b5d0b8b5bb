"""What a store of the inbox does: the operations, their results, and the interface.

A store is synchronous and used by one thread only, the writer's. It knows transactions and rows; the
order of updates and the policy of retries are decided elsewhere (:mod:`.queue`, :mod:`.policy`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import msgspec

from trioworkers.errors import TrioworkersError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trioworkers.records import Waiting


class StoreError(TrioworkersError):
    """The store could not do what was asked; nothing of the transaction took effect."""


class StoreRefusedError(StoreError):
    """The store cannot be used as it is: not ours, too new, or held by another daemon."""


class Accept(msgspec.Struct, frozen=True, gc=False):
    """Keep this update, unless (`bot_id`, `update_id`) was accepted before. `at`: Unix seconds.

    Its result is the id that the inbox gave it, or None when it was accepted before.
    """

    bot_id: int
    update_id: int
    key: str
    body: bytes
    at: float
    kind: str = "message"


class Finish(msgspec.Struct, frozen=True, gc=False):
    """This update needs no more handling. `outcome`: `done`, `dropped` or `expired`."""

    id: int
    bot_id: int
    outcome: str


class Reschedule(msgspec.Struct, frozen=True, gc=False):
    """Handle this update again, not before `due` (Unix seconds), as attempt number `attempt`."""

    id: int
    bot_id: int
    attempt: int
    due: float
    started_at: float
    error: str


class Bury(msgspec.Struct, frozen=True, gc=False):
    """Put this update among the dead letters, and mark the next one of its key as after a gap."""

    id: int
    bot_id: int
    key: str
    attempts: int
    reason: str
    at: float


Operation = Accept | Finish | Reschedule | Bury


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of one bot's updates since its first.

    `accepted = done + dropped + expired + dead + pending`.
    """

    accepted: int = 0
    duplicates: int = 0
    done: int = 0
    dropped: int = 0
    expired: int = 0
    retried: int = 0
    dead: int = 0
    pending: int = field(default=0, kw_only=True)


class Store(Protocol):
    """A durable log of updates. Every method may raise :class:`StoreError`."""

    def commit(self, operations: Sequence[Operation]) -> Sequence[int | None]:
        """Run all operations in one transaction; return one result for each, in order.

        When it returns, they are durable. When it raises, none took effect. Operations on updates that
        are not there any more change nothing: each may be given twice.
        """

    def waiting(
        self, bot_id: int, *, after: int, until: int | None = None, key: str | None = None, limit: int
    ) -> Sequence[Waiting]:
        """The updates of a bot that wait, by ascending id: ids in (`after`, `until`], of `key` if given."""

    def tallies(self) -> Mapping[int, Tally]:
        """Every bot's tally, by bot id."""

    def forget(self, before: float, limit: int) -> int:
        """Forget up to `limit` keys of updates that were accepted before `before`; how many it were."""

    def close(self) -> None:
        """Give the file or connection back. Nothing may follow."""
