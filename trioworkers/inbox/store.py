"""What a store of the inbox does: the operations, their results, and the interface.

A store is synchronous and used by one thread only, the writer's. It knows transactions and rows; the
order of updates and the policy of retries are decided elsewhere (:mod:`.queue`, :mod:`.policy`).
"""

from __future__ import annotations

from enum import Enum
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, final

import msgspec

from trioworkers.errors import TrioworkersError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path
    from uuid import UUID

    from trioworkers.inbox.fetch import Fetch, Page
    from trioworkers.inbox.tally import Tally
    from trioworkers.records import Attempt, DeadLetter, Once, RecordedCall, Waiting


FLEET = "/fleet"  # the name under which the daemon's own values are; no plugin has it


class StoreError(TrioworkersError):
    """The store could not do what was asked; nothing of the transaction took effect."""


class StoreRefusedError(StoreError):
    """The store cannot be used as it is: not ours, too new, or held by another daemon."""


class StoreTakenError(StoreRefusedError):
    """Another daemon has the store for itself."""


class StoreForbiddenError(StoreError):
    """The store may be read, but not written."""


class StoreFullError(StoreError):
    """There is no room; it comes back by itself when there is."""


class StoreDisplacedError(StoreError):
    """The store's file was removed or replaced while it was open; what it holds is being put back."""


class StoreUnreachableError(StoreError):
    """The store's server does not answer, or does not accept us; each use of the store tries again."""


class StoreUnknownError(StoreError):
    """The transaction may have taken effect after all, and its results are lost.

    The store finds out before it does anything else: what is read next is final. Updates have to be offered
    again, acknowledgements given again, and what is in memory has to be read anew.
    """


class StoreRejectedError(StoreError):
    """The transaction holds an operation that the store can never carry out, such as a number of 65 bits."""


class StoreFencedError(StoreError):
    """Another daemon has taken over: nothing that this one writes takes effect any more.

    `life`: the life of the daemon that has ended; None: that is not known.
    """

    life: UUID | None = None


class StoreDamagedError(StoreError):
    """The store's file is not whole any more; nothing may be written to it, and no method works any more."""


def store_problem(url: str) -> str | None:
    """Return why there can be no store for this `store.url` on this machine, or None."""
    if url == "sqlite" or find_spec("psycopg") is not None:
        return None
    return 'PostgreSQL needs the package psycopg, which is not installed: pip install "trioworkers[postgres]"'


class StoreWrite(msgspec.Struct, frozen=True, gc=False):
    """A plugin's value that is written together with what becomes of an update; a `value` of None removes it.

    From `until` (Unix seconds) on the value is as absent; None keeps it until it is written again.
    """

    plugin: str
    key: str
    value: bytes | None
    until: float | None = None


class Accept(msgspec.Struct, frozen=True, gc=False):
    """Keep this update, unless (`bot_id`, `update_id`) came before. `at`: Unix seconds.

    Its result is `DUPLICATE` when the id came before, in an operation of either kind, `Accept` or `Filter`.
    Otherwise the id is remembered. The result is :class:`OnceSeen` when a key of `once` still counts for
    the bot (:func:`.rules.once_seen`); the update is then counted as filtered, and none of its keys is
    committed. Otherwise the result is :class:`Kept`, and the keys and `writes` are committed together with
    the update; with every other result none of them is.
    """

    bot_id: int
    update_id: int
    key: str
    body: bytes
    at: float
    kind: str = "message"
    once: tuple[Once, ...] = ()
    writes: tuple[StoreWrite, ...] = ()


@final
class Filter(msgspec.Struct, frozen=True, gc=False):
    """Remember the id of an update that was dropped before it was kept. `at`: Unix seconds.

    Its result is `FILTERED`, or `DUPLICATE` when the id came before. An `Accept` and a `Filter` are
    operations of one kind: they take effect in the order in which they are given.
    """

    bot_id: int
    update_id: int
    at: float


class Kept(msgspec.Struct, frozen=True, gc=False):
    """The id that the inbox gave an update, and whether one before it of its key has left a gap.

    `behind`: the bot has updates of lower ids that wait, and that another daemon accepted since this one last
    read them all.
    """

    id: int
    after_gap: bool = False
    behind: bool = False


class OnceSeen(msgspec.Struct, frozen=True, gc=False):
    """The update was not kept, because `key` was committed for its bot within the window."""

    key: str


class Unkept(Enum):
    """Results that carry no data, of updates that are not kept."""

    DUPLICATE = "duplicate"
    FILTERED = "filtered"


DUPLICATE: Final = Unkept.DUPLICATE
"""The id of the update came before."""

FILTERED: Final = Unkept.FILTERED
"""The update was dropped before it was kept, and its id is remembered."""


class Finish(msgspec.Struct, frozen=True, gc=False):
    """This update needs no more handling. `outcome`: `done`, `dropped` or `expired`.

    `writes` are committed together with the end, and only if this operation is what ended the update: not if
    it did not wait any more, nor by the second of two ends in one transaction.
    """

    id: int
    bot_id: int
    outcome: str
    writes: tuple[StoreWrite, ...] = ()


class Reschedule(msgspec.Struct, frozen=True, gc=False):
    """Handle this update again, as `update` says; log the attempt that failed.

    Of `update` are kept: `attempt`, `due`, `started_at`, `suspect`, `crashes` and `skipped`; where all are
    as they were, it was rescheduled so before, and nothing changes. One that is skipped for the first time
    leaves a gap: the next of its key is marked as after it. Of more than :data:`.rules.MOST_LOGGED` attempts
    the log holds the first and the last.
    """

    update: Waiting
    failure: Attempt


class MoveToDead(msgspec.Struct, frozen=True, gc=False):
    """Put this update among the dead letters, and mark the next one of its key as after a gap.

    `attempts`: how often it was handled. `failure`: the last attempt, or None when it was not handled.
    """

    id: int
    bot_id: int
    key: str
    attempts: int
    reason: str
    at: float
    failure: Attempt | None = None


class BeginCall(msgspec.Struct, frozen=True, gc=False):
    """A Bot API call is about to be made for this update. `key` names it among the calls of one handling.

    It is marked where it, or :data:`~trioworkers.records.ANY_CALL`, is recorded: it may have been made twice.
    """

    id: int
    key: str
    at: float


class EndCall(msgspec.Struct, frozen=True, gc=False):
    """The call has this answer (JSON), or is known not to have been made (None).

    Then it is forgotten, unless it was begun more than once or has an answer.
    """

    id: int
    key: str
    answer: bytes | None


class Replay(msgspec.Struct, frozen=True, gc=False):
    """Put this dead letter at the tail of its chat, as if it were new; its recorded calls go with it.

    Its result is what it was kept as, or None when there is no such dead letter.
    """

    id: int
    bot_id: int


class Purge(msgspec.Struct, frozen=True, gc=False):
    """Forget this dead letter and its calls. Its result is whether there was one."""

    id: int
    bot_id: int


class Whatever(Enum):
    """The type of `ANY`."""

    ANY = "any"


ANY: Final = Whatever.ANY
"""A value may be written whatever stands there."""


class PutValue(msgspec.Struct, frozen=True, gc=False):
    """Write a plugin's value if `expected` stands under its key at `at`; a `value` of None removes it.

    `expected`: `ANY`, or the very bytes, or None for absent. A value whose `until` is not after `at` is as
    absent. `at` and `until` are Unix seconds; an `until` of None keeps the value until it is written again.

    The result is whether the expectation was met, and the value therefore is as given now. With `ANY` it is
    always met; there the result of a removal is whether there was a value.
    """

    plugin: str
    key: str
    value: bytes | None
    until: float | None
    expected: bytes | Whatever | None
    at: float


Operation = (
    Accept | Filter | Finish | Reschedule | MoveToDead | BeginCall | EndCall | Replay | Purge | PutValue
)
ArrivalResult: TypeAlias = Kept | OnceSeen | Unkept
"""The result of an `Accept` or a `Filter`."""

Result: TypeAlias = ArrivalResult | bool | None


class Store(Protocol):
    """A durable log of updates. Every method may raise :class:`StoreError`.

    Attributes:
        is_shared: other daemons may use the same store at the same time. What is waiting and what is counted
            then changes without this one. Who owns which bot is not the store's matter.
    """

    @property
    def is_shared(self) -> bool: ...

    def news(self, after: Mapping[int, int]) -> Collection[int]:
        """Those of these bots that have updates waiting with a higher id than is given here, by bot id."""

    def commit(self, operations: Sequence[Operation]) -> Sequence[Result]:
        """Run all operations in one transaction; return one result for each, in order.

        When it returns, they are durable. When it raises, none took effect, but for
        :class:`StoreUnknownError`. Operations on updates that do not wait any more change nothing, those on
        dead letters included: an end may be given twice. They take effect by kind: calls, finished,
        rescheduled, dead, accepted or filtered, replayed, purged, values put; within a kind in the order
        given. Ids ascend in that order, and none is given twice. What comes with an update is written when
        that takes effect: of two writes of one key an `Accept`'s replaces a `Finish`'s, and a `PutValue` sees
        and replaces both.
        """

    def waiting(
        self,
        bot_id: int,
        fetch: Fetch,
    ) -> Page:
        """The updates of a bot that wait, as far as `fetch` asks for them: ids in (`after`, `until`]."""

    def known(self, bot_id: int, update_ids: Collection[int]) -> set[int]:
        """Those of these update ids of a bot that came before, whether they were accepted or filtered."""

    def calls(self, id: int) -> Sequence[RecordedCall]:
        """The recorded calls of an update or dead letter, by when they were begun, then by key."""

    def recorded(self, calls: Sequence[tuple[int, str]]) -> set[tuple[int, str]]:
        """Those of these calls, by the id of an update or dead letter and by key, that are on record."""

    def dead(
        self,
        *,
        ids: Sequence[int] | None = None,
        bot_id: int | None = None,
        died_by: float | None = None,
        after: int = 0,
        limit: int,
    ) -> Sequence[DeadLetter]:
        """Dead letters by ascending id, from past `after`: those of `ids`, of a bot, that died by then."""

    def tallies(self, bot_ids: Collection[int] | None = None) -> Mapping[int, Tally]:
        """The tally of each of these bots that has one, by bot id; None: of every bot."""

    def forget(self, before: float, limit: int) -> int:
        """Forget up to `limit` ids of updates that came before `before`; returns their number.

        They are new if they come again; what waits or is dead stays. It may look at part of the ids only,
        and at the others when it is called again.
        """

    def forget_keys(self, now: float, limit: int) -> int:
        """Forget up to `limit` once keys that do not count any more at `now`; returns their number.

        Those that ended first are forgotten first.
        """

    def value(self, plugin: str, key: str, now: float) -> bytes | None:
        """A plugin's value; None when there is none, or it is not kept any more at `now`."""

    def values(
        self, plugin: str, prefix: str, after: str, limit: int, now: float
    ) -> Sequence[tuple[str, bytes]]:
        """The first `limit` keys of a plugin past `after` that begin with `prefix`, with their values.

        By ascending key, as Python orders texts; values that are not kept any more at `now` are left out.
        """

    def forget_values(self, now: float, limit: int) -> int:
        """Forget up to `limit` values that are not kept any more at `now`; returns their number.

        Those that ended first are forgotten first.
        """

    def tend(self, *, prove: bool = False) -> int:
        """Do a moment's upkeep; called about each second.

        `prove`: also write something, which changes nothing, to see that writing works. Returns the bytes of
        a journal that grows because another program keeps it from being emptied; 0 when there is none.

        Raises:
            StoreFullError: new updates are not accepted now; the room for them was looked at anew.
        """

    def holders(self) -> Sequence[str]:
        """The other processes that have the store open, as people know them: `sqlite3 (pid 123)`."""

    def backup(self, path: Path) -> None:
        """Put a consistent copy at `path`, in whole or not at all; commits go on meanwhile.

        This method alone may be called from any thread.
        """

    def close(self) -> None:
        """Give the file or connection back. Nothing may follow."""
