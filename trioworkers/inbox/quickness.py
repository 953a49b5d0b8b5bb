"""Whether the loop may commit a lone update itself: a pure decision.

To wake a thread for a commit, and the loop again for its result, takes longer than a commit on a quick disk.
On a slow one the loop would stand still meanwhile, and at full speed the thread gathers more for each commit.
"""

from __future__ import annotations

QUICK = 0.0025  # seconds that a commit may take
SLOW = 0.05  # seconds: of a disk where a commit took that long, the next may take any time
WARY = 600.0  # seconds after such a commit for which the loop does none
IN_A_ROW = 4  # quick commits, before the loop commits again after one that was not
ALONE = 0.002  # seconds since the last commit: before that, updates come so fast that they gather
ON_LOOP = 64  # commits of the loop in a row; then the thread does one, which may empty the journal
OPERATIONS = 32  # that the loop commits at once, at the most


class Quickness:
    """What the commits of a store took, and who did them."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._on_loop = 0
        self._ended = 0.0
        self._wary_until = 0.0

    def note(self, began: float, ended: float, *, on_loop: bool) -> None:
        """A commit succeeded; both times by one clock that never goes back."""
        self._in_a_row = self._in_a_row + 1 if ended - began < QUICK else 0
        self._on_loop = self._on_loop + 1 if on_loop else 0
        self._ended = ended
        if ended - began >= SLOW:
            self._wary_until = ended + WARY

    def failed(self) -> None:
        """A commit did not succeed, or not at once."""
        self._in_a_row = 0

    def allows(self, now: float) -> bool:
        """Whether the loop may do the next commit."""
        return (
            self._in_a_row >= IN_A_ROW
            and now - self._ended >= ALONE
            and self._on_loop < ON_LOOP
            and now >= self._wary_until
        )
