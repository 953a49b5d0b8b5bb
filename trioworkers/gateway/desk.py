"""What one process of a program has in hand, and what its polls say about that. Pure.

A program confirms an update by asking for those behind it, as it would at Telegram. What that says of the
handling depends on what is promised: under `poll`, that it was handled, as for programs that poll again only
after that; under `receipt`, that it need not be given again; under `probe` and `quiet`, that the program has
it, while its end will show by other signs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trioworkers.gateway.promise import Promise
    from trioworkers.gateway.update_ids import BotIds

Item = TypeVar("Item")

MOST_UPDATES = 100  # of one answer (Bot API, getUpdates, "limit")


@dataclass(frozen=True, slots=True)
class Poll:
    """A call of getUpdates.

    Attributes:
        offset: the first update that is wanted; all below are confirmed. Negative: counted from the end.
        limit: how many at most.
        timeout: seconds that it waits.
    """

    offset: int = 0
    limit: int = MOST_UPDATES
    timeout: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict(Generic[Item]):
    """What a poll says, and what it is given.

    Attributes:
        confirmed: updates that are not in hand any more.
        received: ids of those that are, and that the program has from now on.
        again: those that it is given again, since they are not confirmed: id and update.
        is_farewell: the program is about to end: it is given nothing.
        is_negative: it would forget what waits, and is given nothing.
    """

    confirmed: list[Item] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    again: list[tuple[int, Item]] = field(default_factory=list)
    is_farewell: bool = False
    is_negative: bool = False


class Desk(Generic[Item]):
    """What one process has in hand.

    Args:
        ids: where ids come from.
    """

    def __init__(self, ids: BotIds) -> None:
        self._ids = ids
        self._in_hand: dict[int, Item] = {}  # ids ascend
        self._received: set[int] = set()  # of these, what the program has confirmed without an end
        self._has_waited = False

    def __len__(self) -> int:
        return len(self._in_hand)

    def poll(self, poll: Poll, promise: Promise) -> Verdict[Item]:
        """Take in a poll.

        One without a timeout, of a program whose polls wait, is its farewell: libraries confirm so what
        they had when they were asked to end, handled or not. Under `poll`, it therefore confirms nothing.
        """
        is_farewell = poll.timeout <= 0 and self._has_waited
        self._has_waited = self._has_waited or poll.timeout > 0
        if poll.offset < 0:
            return Verdict(is_negative=True)
        if is_farewell and promise == "poll":
            return Verdict(is_farewell=True)
        passed = [number for number in self._in_hand if number < poll.offset]
        confirmed, received = [], []
        if promise in ("probe", "quiet"):
            received = [number for number in passed if number not in self._received]
            self._received.update(received)
        else:
            confirmed = [self._take(number) for number in passed]
        self._ids.begin_at(poll.offset)
        if is_farewell:
            return Verdict(confirmed, received, is_farewell=True)
        again = [one for one in self._in_hand.items() if one[0] not in self._received]
        return Verdict(confirmed, received, again[: poll.limit])

    def give(self, item: Item) -> int:
        """Note that an update is in hand, and return the id that it has there."""
        number = self._ids.take()
        self._in_hand[number] = item
        return number

    def oldest(self, count: int) -> Iterable[Item]:
        """So many that were given first of what is in hand."""
        return islice(self._in_hand.values(), count)

    def find(self, number: int) -> Item | None:
        """Return the update in hand that has this id; None: none has it."""
        return self._in_hand.get(number)

    def end(self, number: int) -> Item | None:
        """Return the update in hand that has this id, which is not any more; None: none had it."""
        return self._take(number) if number in self._in_hand else None

    def take_back(self) -> list[Item]:
        """Return all that is in hand, which is not any more: the process has ended."""
        items = list(self._in_hand.values())
        self._in_hand.clear()
        self._received.clear()
        return items

    def _take(self, number: int) -> Item:
        self._received.discard(number)
        return self._in_hand.pop(number)
