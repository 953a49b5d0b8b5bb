"""When an update counts as handled whose end nobody tells: once its program is quiet about it. Pure.

This is the promise `quiet`. An update is done when the program has it, that is, has polled past it, and

- its last call about the same chat or query ended `PAUSE` seconds ago;
- or `WORKING` seconds ago, if that call only showed that it is at work (`sendChatAction`, `getFile`);
- or the program has had it for `SILENCE` seconds, and has made no such call.

A call that is under way keeps its update in hand. Nothing does for longer than `longest` seconds: a program
that never stops to call about a chat would never be given the next update of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

PAUSE = 0.5  # seconds: most handlers make one call at once after the other
SILENCE = 4.5  # seconds: less than an operator who takes a dialog over waits for what is in hand of it
WORKING = 6.0  # seconds: libraries that show "typing…" for as long as they work repeat that every five


@dataclass(slots=True)
class _Given:
    """An update in hand.

    Attributes:
        received_at: when the program polled past it; infinite: it has not yet.
        since: when something was heard of it last, if it is received.
        patience: for how long the program has to be quiet from then on.
        under_way: how many calls about it are.
    """

    subjects: frozenset[str]
    received_at: float = math.inf
    since: float = math.inf
    patience: float = SILENCE
    under_way: int = 0


class QuietTracker:
    """What is known of the updates in hand of one process. Numbers are their ids; times are seconds.

    Args:
        longest: how long a program may have one.
    """

    def __init__(self, longest: Callable[[], float]) -> None:
        self._longest = longest
        self._given: dict[int, _Given] = {}
        self._about: dict[str, set[int]] = {}

    def __len__(self) -> int:
        return len(self._given)

    def give(self, number: int, subjects: frozenset[str]) -> None:
        """The program is given an update that is about these."""
        self._given[number] = _Given(subjects)
        for subject in subjects:
            self._about.setdefault(subject, set()).add(number)

    def receive(self, numbers: Iterable[int], now: float) -> None:
        """The program has polled past these."""
        for number in numbers:
            one = self._given.get(number)
            if one is not None and one.received_at == math.inf:
                one.received_at = one.since = now

    def begin(self, subjects: Iterable[str]) -> frozenset[int]:
        """A call about these begins: return the updates that it may belong to. :meth:`end` it."""
        found = frozenset[int]().union(*(self._about.get(subject, ()) for subject in subjects))
        for number in found:
            self._given[number].under_way += 1
        return found

    def end(self, numbers: Collection[int], now: float, *, is_answer: bool) -> None:
        """The call that may belong to these has ended."""
        for number in numbers:
            one = self._given.get(number)
            if one is None:  # it was done before, or is not in hand any more
                continue
            one.under_way -= 1
            one.patience = PAUSE if is_answer else WORKING
            if one.received_at != math.inf:
                one.since = now

    def take(self, number: int) -> None:
        """It is not in hand any more."""
        one = self._given.pop(number, None)
        if one is None:
            return
        for subject in one.subjects:
            numbers = self._about[subject]
            numbers.discard(number)
            if not numbers:
                del self._about[subject]

    def due(self, now: float) -> list[int]:
        """Return those that count as handled by now, in the order in which they were given."""
        longest = self._longest()
        return [number for number, one in self._given.items() if _due_at(one, longest) <= now]

    def next_due(self) -> float:
        """Return when the next one will, if nothing more is heard; infinite: none does by itself."""
        longest = self._longest()
        return min((_due_at(one, longest) for one in self._given.values()), default=math.inf)


def _due_at(one: _Given, longest: float) -> float:
    return min(math.inf if one.under_way else one.since + one.patience, one.received_at + longest)
