"""What came of a demo: counted by the inbox on disk and by the simulated Telegram, and compared."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of updates.

    `made` by people; `unconfirmed`: Telegram would hand them out (again). `accepted` into the inbox, of
    these `done`, `dropped`, `expired`, `dead` and `pending`; `filtered`: dropped before they were accepted.
    `answered`: messages that were sent or edited. `retried`: attempts beyond the first.
    """

    made: int = 0
    unconfirmed: int = 0
    accepted: int = 0
    filtered: int = 0
    answered: int = 0
    done: int = 0
    dropped: int = 0
    expired: int = 0
    retried: int = 0
    dead: int = 0
    pending: int = 0

    def __add__(self, other: Counts) -> Counts:
        ours, theirs = asdict(self), asdict(other)
        return Counts(**{name: ours[name] + theirs[name] for name in ours})

    @property
    def agree(self) -> bool:
        """Whether each update that was made is accounted for, once."""
        ended = self.done + self.dropped + self.expired + self.dead + self.pending
        return self.accepted == ended and 0 <= self.left <= self.unconfirmed

    @property
    def left(self) -> int:
        """How many updates never reached the inbox."""
        return self.made - self.accepted - self.filtered


@dataclass(frozen=True, slots=True)
class Summary:
    """A demo that has ended. `seconds`: how long the people talked."""

    seconds: float
    people: int
    bots: Mapping[str, Counts]

    @property
    def total(self) -> Counts:
        return sum(self.bots.values(), start=Counts())

    @property
    def agrees(self) -> bool:
        """Whether the numbers agree."""
        return all(counts.agree for counts in self.bots.values())

    def document(self) -> dict[str, Any]:
        """The summary as JSON holds it: the totals, and the same for each bot."""
        return {
            "seconds": round(self.seconds, 1),
            "people": self.people,
            **asdict(self.total),
            "agrees": self.agrees,
            "bots": {name: asdict(counts) for name, counts in self.bots.items()},
        }

    def verdict(self) -> str:
        """The balance in one sentence."""
        total = self.total
        balance = (
            f"{total.accepted} accepted = {total.done} done + {total.dropped} dropped"
            f"{f' + {total.expired} expired' if total.expired else ''}"
            f" + {total.dead} dead + {total.pending} pending"
        )
        if not self.agrees:
            return f"The numbers do not agree, this is a bug: {total.made} made, {balance}."
        filtered = f"; {total.filtered} more filtered" if total.filtered else ""
        where = f"; {total.left} more still at Telegram" if total.left else ""
        return f"Nothing was lost: {balance}{filtered}{where}."
