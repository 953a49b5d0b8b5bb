"""What is not well with a bot, in words, since when, and what a person can do about it. Pure.

It is found in a row of the status document, so that the daemon and every program that reads the document
say the same.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_FAILED = (
    ("restart budget spent", "see `trioworkers logs BOT`, mend it, then `trioworkers bots restart BOT`"),
    ("token refused", "get the right token from @BotFather and put it where the fleet file says"),
    ("handler cannot be imported", "`trioworkers check --handlers` shows why"),
    ("internal error", "`trioworkers bots restart BOT`, and report the event bot.failed with its error"),
)
_LOG = "`trioworkers logs BOT` and `trioworkers bots show BOT` show why"
_SILENT = "its handler may block the loop: its log has the stacks when it is killed after hang_timeout"
_STUCK = "see `trioworkers logs BOT`, then `trioworkers bots restart BOT`"
_SLOT = "raise the limit that it names, or let bots start on demand"
MOST = 20  # bots that an event names
_OF_MANY = {  # of `what`; the others are the same for one and for many
    "hears nothing": "hear nothing",
    "its worker does not answer": "do not answer",
    "waits for a place": "wait for a place",
    "an update takes longer than its time limit": "are at an update that takes too long",
}
_OF_ONE = {
    "its worker does not answer": "does not answer",
    "an update takes longer than its time limit": "is at an update that takes too long",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is not well with a bot.

    Attributes:
        rank: the lower, the worse.
        what: in two or three words: `failed`, `hears nothing`.
        why: the reason, where there is one.
        since: Unix seconds, where it is known.
        remedy: what to do, with BOT for the bot's name.
    """

    rank: int
    what: str
    why: str = ""
    since: float | None = None
    remedy: str = _LOG

    @property
    def words(self) -> str:
        """What and why, without since when."""
        return f"{self.what}: {self.why}" if self.why else self.what


def trouble_of(row: Mapping[str, Any]) -> Trouble | None:
    """What is not well with the bot of this row of the status document; None: nothing."""
    state, reason = row.get("state"), row.get("reason")
    health = row.get("health") or {}
    if state == "failed":
        remedy = next((words for start, words in _FAILED if str(reason).startswith(start)), _LOG)
        return Trouble(0, "failed", str(reason or ""), remedy=remedy)
    if state == "backoff":
        if reason:
            what, _, why = str(reason).partition(": ")
            return Trouble(1, what, why, remedy=_SLOT)
        return Trouble(1, "crashed", _last_exit(row))
    if state == "stopped":
        return None
    intake = health.get("intake")
    if intake:
        return Trouble(2, "hears nothing", intake["problem"], intake["since"], intake["remedy"])
    if health.get("alive") and not health.get("responsive", True):
        return Trouble(3, "its worker does not answer", remedy=_SILENT)
    if not health.get("progressing", True):
        return Trouble(4, "an update takes longer than its time limit", remedy=_STUCK)
    return None


def _last_exit(row: Mapping[str, Any]) -> str:
    ended = row.get("last_exit")
    if not ended:
        return ""
    if ended.get("oom"):
        return "memory ran out"
    return str(ended.get("signal") or f"exit code {ended.get('code')}")


def troubles_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, Trouble]:
    """What is not well, by bot, the worst first."""
    found = [(row["bot"], trouble) for row in rows if (trouble := trouble_of(row)) is not None]
    found.sort(key=lambda pair: (pair[1].rank, pair[0]))
    return dict(found)


def tally(found: Mapping[str, Trouble]) -> str:
    """How many bots have which kind of trouble, the worst first: `3 failed, 143 hear nothing`."""
    kinds = Counter(trouble.what for trouble in found.values())
    return ", ".join(
        f"{number:,} {(_OF_ONE if number == 1 else _OF_MANY).get(what, what)}"
        for what, number in kinds.items()
    )


def unwell_words(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is not well, as an event has it: `support: failed: token refused`; at most 20, the worst first."""
    found = troubles_of(rows)
    words = [f"{bot}: {trouble.words}" for bot, trouble in list(found.items())[:MOST]]
    return words if len(found) <= MOST else [*words, f"and {len(found) - MOST} more"]
