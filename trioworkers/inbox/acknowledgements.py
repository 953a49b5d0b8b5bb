"""Acknowledgements of one bot on their way to the thread that writes: many of them are one submission.

A bot at full speed ends thousands of updates per second, each with its calls: a submission and a callback
for each would take a tenth of the daemon's loop.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trioworkers.breakage import Breakage
    from trioworkers.inbox.store import Operation

Note = TypeVar("Note")


class TakesGathered(Protocol):
    """The writer, as it is used here."""

    def submit_gathered(self, gathered: Acknowledgements[Any], *, soon: bool) -> None: ...
    def hurry(self) -> None: ...


class Acknowledgements(Generic[Note]):
    """Operations that hold no update which Telegram could send again, in their order.

    Args:
        writer: it tries them until they are written, as :meth:`Writer.submit` has it.
        then: called on the loop with the notes of those that are durable.
        fault: where it is noted what `then` raises.

    Attributes:
        added: how many there ever were.
        written: how many of these are durable; they become so in their order.
    """

    def __init__(
        self, writer: TakesGathered, then: Callable[[Sequence[Note]], None], fault: Breakage
    ) -> None:
        self._writer = writer
        self._then = then
        self._fault = fault
        self._gathered: deque[tuple[Sequence[Operation], Note]] = deque()
        # whether a submission is on its way that takes what gathers. Set by the loop after it has added
        # something, unset by the thread before it takes: nothing is left behind
        self._submitted = False
        self.added = self.written = 0

    @property
    def gathering(self) -> int:
        """How many gather."""
        return len(self._gathered)

    def add(self, operations: Sequence[Operation], note: Note, *, soon: bool) -> None:
        """Commit these operations some time; `soon`: as soon as it can be, as something waits for them."""
        self._gathered.append((operations, note))
        self.added += 1
        if not self._submitted:
            self._submitted = True
            self._writer.submit_gathered(self, soon=soon)
        elif soon:
            self._writer.hurry()

    def take(self) -> list[tuple[Sequence[Operation], Note]]:
        """What has gathered by now, in the thread."""
        self._submitted = False
        gathered, taken = self._gathered, []
        while gathered:
            taken.append(gathered.popleft())
        return taken

    def durable(self, taken: Sequence[tuple[Sequence[Operation], Note]]) -> None:
        """These were committed; on the loop."""
        self.written += len(taken)
        try:
            self._then([note for _, note in taken])
        except Exception as error:
            self._fault.note(error)
