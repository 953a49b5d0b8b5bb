"""How many updates a library that handles them one after the other may have in hand. Pure.

A poll for each of them would cost such a bot half of its rate. So it is given as many as it handles in a
moment; then what waits behind a slow one waits for no longer than it would have anyway.
"""

from __future__ import annotations

AHEAD = 0.2  # seconds that what is in hand takes
FADES = 0.8  # what a long handling counts for after each further one


class Pace:
    """How long the handlings of one process take, the long ones of late above all."""

    def __init__(self) -> None:
        self._took: float | None = None

    def ended(self, took: float) -> None:
        """A handling took so many seconds."""
        self._took = took if self._took is None else max(took, FADES * self._took)

    def most(self, at_once: int, most: int) -> int:
        """How many updates to have in hand, of which `at_once` are handled side by side.

        As many as these, while nothing is known; `most` at most.
        """
        if self._took is None:
            return min(at_once, most)
        ahead = most if self._took * most <= at_once * AHEAD else int(at_once * AHEAD / self._took)
        return min(max(at_once, ahead), most)
