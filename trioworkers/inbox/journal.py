"""When it is reported that a store's journal cannot be emptied, because another program reads the store.

A journal that is not emptied grows with each update until the disk is full. Nothing can be done about it here
but to say so, with its size and with who holds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class JournalWatch:
    """Reports a journal that cannot be emptied, again when it has doubled, and once when it can be.

    Args:
        report: called with its size in bytes, 0 once it can be emptied again, and who holds it.
    """

    def __init__(self, report: Callable[[int, Sequence[str]], object]) -> None:
        self._report = report
        self._reported = 0

    def note(self, held: int, holders: Callable[[], Sequence[str]]) -> None:
        """Note its size, 0 when nobody keeps it from being emptied. `holders` is asked only for a report."""
        if held and held >= 2 * self._reported:
            self._reported = held
            self._report(held, holders())
        elif not held and self._reported:
            self._reported = 0
            self._report(0, ())
