"""The last reloads, for people who ask what changed, when and by whom. In memory: a restart begins anew.

A plan names keys, never values, and problems hold no tokens: neither needs to be kept secret here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST = 50  # reloads; a plan that replaces 1,000 bots takes some 100 kB


@dataclass(frozen=True, slots=True)
class PastReload:
    """One reload that is over.

    Attributes:
        at: when it ended, Unix seconds.
        seconds: how long it took.
        by: who or what caused it, in words.
        result: `applied`; `refused`: nothing was changed; `failed`: it broke while it was applied.
        plan: what was done, as :meth:`Plan.document` describes it; None unless it was applied.
        problems: why it was refused or failed, one line each.
        left_out: what is wrong with bots of plugins that were left out of an applied fleet.
    """

    at: float
    seconds: float
    by: str
    result: Literal["applied", "refused", "failed"]
    plan: Mapping[str, Any] | None = field(default=None)
    problems: Sequence[str] = ()
    left_out: Sequence[str] = ()

    def document(self, number: int) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {
            "number": number,
            "at": self.at,
            "seconds": round(self.seconds, 3),
            "by": self.by,
            "result": self.result,
            "plan": None if self.plan is None else dict(self.plan),
            "problems": list(self.problems),
            "left_out": list(self.left_out),
        }


class ReloadHistory:
    """Keeps the last `most` reloads, numbered from 1 since the daemon's start."""

    def __init__(self, most: int = MOST) -> None:
        self._kept: deque[tuple[int, PastReload]] = deque(maxlen=most)
        self._count = 0

    def add(self, past: PastReload) -> None:
        """Keep a reload; the oldest one is forgotten when there are too many.

        A refusal that only repeats the last one takes its place: the same files are read again and again
        while they are bad.
        """
        if self._kept and past.result == "refused":
            number, last = self._kept[-1]
            if (last.result, last.by, last.problems) == (past.result, past.by, past.problems):
                self._kept[-1] = number, past
                return
        self._count += 1
        self._kept.append((self._count, past))

    def documents(self, limit: int, before: int | None = None) -> tuple[list[dict[str, Any]], int | None]:
        """Return the last `limit` reloads that are older than number `before`, the newest first.

        The second value is what to give as `before` for the next page; None on the last one.
        """
        older = [one for one in reversed(self._kept) if before is None or one[0] < before]
        page = [past.document(number) for number, past in older[:limit]]
        return page, page[-1]["number"] if len(older) > limit else None
