"""Reads the answer to a getUpdates: how many updates, of which size and shape, is the server's choice alone.

Of a list that is longer than was asked for, the first updates are taken, and the rest is only read over: it
is not confirmed and comes again. Each step is bounded, as :mod:`trioworkers.update_bounds` explains.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from trioworkers.arrivals import UpdateIdError, read_update
from trioworkers.botapi.errors import TransportError, UndecodableError
from trioworkers.json_outline import elements, member
from trioworkers.update_bounds import UpdateBoundsError, check_bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trioworkers.records import Arrival

NO_LIST = "an answer that is no list of updates"
MOST_UPDATES = 100  # of one answer, the most that Telegram gives
SHORT = 8 * 2**10  # bytes of an answer of which all items are made: 0.1 ms for the most that it can hold
LARGEST_ANSWER = 6 * 2**20  # bytes; Telegram ends an answer with the update that makes it exceed 4 MiB

# reads over what exceeds its fields; a list of msgspec's makes an object of each item before it counts them
_Listed = msgspec.defstruct(
    "_Listed",
    [(f"item{number}", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for number in range(MOST_UPDATES + 1)],
    array_like=True,
    gc=False,
)
_listed = msgspec.json.Decoder(_Listed)
_short = msgspec.json.Decoder(list[msgspec.Raw])


class _Numbered(msgspec.Struct):
    update_id: int


_numbered = msgspec.json.Decoder(_Numbered)


@dataclass(slots=True)
class Batch:
    """What one answer brought.

    Attributes:
        arrivals: the updates that could be read, as they came.
        problems: why others could not, without their content.
        refused: the ids of those among the others whose id could be read.
        without_id: how many of them have an `update_id` that cannot be read.
    """

    arrivals: list[Arrival] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    without_id: int = 0

    def next_offset(self) -> int | None:
        """The offset that confirms what was read, and nothing else; None for none.

        A negative offset would count from the end and forget all before it.
        """
        return max([-1, *(arrival.update_id for arrival in self.arrivals), *self.refused]) + 1 or None


def read_batch(answer: msgspec.Raw) -> Batch:
    """Read an answer's updates, at most as many as were asked for.

    Raises:
        UndecodableError: no decoder takes it as a list: :func:`read_broken_batch` may read it.
        TransportError: it is longer than was asked for and not in the order of its ids, so that an offset
            might confirm what was not read.
    """
    try:
        if len(answer) <= SHORT:
            return _read(_short.decode(answer)[: MOST_UPDATES + 1])
        items = msgspec.structs.astuple(_listed.decode(answer))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise UndecodableError("getUpdates", NO_LIST, b'{"result":%b}' % bytes(answer)) from None
    return _read([item for item in items if item is not msgspec.UNSET])


def read_broken_batch(body: bytes) -> Batch:
    """As :func:`read_batch`, of the whole body of an answer that no decoder takes; it is slow.

    One update that nobody can decode must not keep back all that comes after it.

    Raises:
        TransportError: as above, or this is not a list of updates either way.
    """
    result = member(body, b"result")
    updates = None if result is None else elements(result)
    if updates is None:
        raise TransportError("getUpdates", NO_LIST if result else "HTTP 200 with a body that is no answer")
    return _read(updates[: MOST_UPDATES + 1])


def _read(updates: Sequence[bytes | msgspec.Raw]) -> Batch:
    batch = Batch()
    for update in updates[:MOST_UPDATES]:
        _read_into(batch, update)
    if len(updates) > MOST_UPDATES:
        ids = [arrival.update_id for arrival in batch.arrivals]
        last = _read_id(updates[-1])
        if last is None or not all(one < next_ for one, next_ in pairwise([*ids, last])):
            what = f"an answer of more than {MOST_UPDATES} updates that are not in order"
            raise TransportError("getUpdates", what)
    return batch


def _read_into(batch: Batch, update: bytes | msgspec.Raw) -> None:
    try:
        check_bounds(update)
        batch.arrivals.append(read_update(update))
    except UpdateBoundsError as error:
        batch.problems.append(str(error))
        update_id = _read_id(update)
        if update_id is None:
            batch.without_id += 1
        else:
            batch.refused.append(update_id)
    except ValueError as error:
        batch.problems.append(str(error))
        batch.without_id += isinstance(error, UpdateIdError)


def _read_id(update: bytes | msgspec.Raw) -> int | None:
    """An update's id, all else being read over; None where it has no 32-bit one."""
    try:
        update_id = _numbered.decode(update).update_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return update_id if -(2**31) <= update_id < 2**31 else None
