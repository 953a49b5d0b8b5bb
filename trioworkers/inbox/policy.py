"""When a failed update is handled again, and when it is dead. Pure: time and random numbers are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from random import Random


class RetryLimits(Protocol):
    """The `retry` table of a bot. Times are seconds."""

    @property
    def attempts(self) -> int: ...
    @property
    def initial(self) -> float: ...
    @property
    def factor(self) -> float: ...
    @property
    def max(self) -> float: ...
    @property
    def deadline(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Again:
    """Handle it again at `due` (Unix seconds)."""

    due: float


@dataclass(frozen=True, slots=True)
class Never:
    """It is dead, for `reason`."""

    reason: str


LIFETIMES = {
    "callback_query": 150.0,
    "shipping_query": 150.0,
    "pre_checkout_query": 10.0,
    "inline_query": 30.0,
    "chosen_inline_result": 600.0,
}
"""Seconds after which an answer of that kind is refused (`query is too old`), so that handling it is of
no use: 10 by the Bot API's words (answerPreCheckoutQuery), else as long as Telegram's own server keeps them
(Client.cpp of tdlib/telegram-bot-api). Messages and the rest never expire here: Telegram drops them after a
day, what was accepted is kept until it is handled.
"""
JOIN_QUERY = 10.0  # seconds: "within 10 seconds", ChatJoinRequest.query_id of the Bot API 10.1
_URGENT = ("pre_checkout_query/", "chat_join_request/")
_WITH_OWN_LANE = (*_URGENT, "shipping_query/", "inline_query/")


def lifetime(kind: str, key: str) -> float | None:
    """The seconds for which an update of that kind and order key can be answered; None: for ever.

    The key tells a join request that the bot is asked about from one that it only hears of.
    """
    if kind == "chat_join_request" and key.startswith("chat_join_request/"):
        return JOIN_QUERY
    return LIFETIMES.get(kind)


def is_urgent(key: str) -> bool:
    """Whether the order key is that of queries with :data:`JOIN_QUERY` seconds to be answered, or as few."""
    return key.startswith(_URGENT)


def is_query(key: str) -> bool:
    """Whether the order key is that of queries to be answered at once, of which none depends on another."""
    return key.startswith(_WITH_OWN_LANE)


def has_expired(kind: str, key: str, accepted_at: float, now: float) -> bool:
    """Whether an update of that kind and order key is too old to be handled. Times are Unix seconds."""
    seconds = lifetime(kind, key)
    return seconds is not None and now - accepted_at > seconds


def backoff(attempt: int, *, initial: float, factor: float, ceiling: float, rng: Random) -> float:
    """Seconds to wait before the `attempt`-th repetition (from 1): full jitter.

    Drawn evenly from nothing to :func:`longest_backoff`; the spread is what keeps a thousand failures of
    one cause from returning at one moment (Exponential Backoff And Jitter, AWS Architecture Blog, 2015).
    """
    return rng.uniform(0, longest_backoff(attempt, initial=initial, factor=factor, ceiling=ceiling))


def longest_backoff(attempt: int, *, initial: float, factor: float, ceiling: float) -> float:
    """`initial * factor ** (attempt - 1)` seconds, at most `ceiling`."""
    try:
        return min(ceiling, initial * factor ** (attempt - 1))
    except OverflowError:
        return ceiling


LATE_SHARE = 0.25  # of the time that a handling took which took too long


def backoff_when_late(handled: int, took: float, limits: RetryLimits, rng: Random) -> float:
    """Seconds to wait after the `handled`-th handling of an update, which was ended as it took too long.

    As :func:`backoff`, but `initial` is at least a share of the seconds that it `took`. What takes too long
    mostly waits for something that is overloaded, perhaps by these very handlings: to repeat them after the
    pause for an error, which comes at once, keeps it overloaded.
    """
    initial = max(limits.initial, LATE_SHARE * took)
    return backoff(handled, initial=initial, factor=limits.factor, ceiling=limits.max, rng=rng)


def after_failure(
    handled: int,
    started_at: float,
    now: float,
    limits: RetryLimits,
    rng: Random,
    *,
    wait: float | None = None,
) -> Again | Never:
    """Decide on an update that failed.

    Args:
        handled: how often it was handled, this time included.
        started_at: when it was handled first, Unix seconds.
        now: Unix seconds.
        limits: the bot's `retry` settings.
        rng: where the jitter comes from.
        wait: seconds that the handler (or a 429) asked for, in place of the back-off.
    """
    if handled >= limits.attempts:
        return Never(f"failed {handled} times")
    if wait is None:
        wait = backoff(handled, initial=limits.initial, factor=limits.factor, ceiling=limits.max, rng=rng)
    due = now + max(0.0, wait)
    if due - started_at > limits.deadline:
        return Never(f"failed {handled} times, past its deadline")
    return Again(due)


def in_time(verdict: Again | Never, now: float, until: float, *, asked: bool) -> Again | Never:
    """What the verdict about a failed query becomes by `until`, when an answer is too late (Unix seconds).

    A back-off takes at most half of the time that is left; a wait that was `asked` for is kept, or too long.
    """
    if isinstance(verdict, Never):
        return verdict
    due = verdict.due if asked else min(verdict.due, (now + until) / 2)
    return Again(due) if due < until else Never("failed, too late for an answer")


MOST_CRASHES = 3  # workers that an update may end while it is handled alone


def after_crash(crashes: int, now: float, limits: RetryLimits, rng: Random) -> Again | Never:
    """Decide on an update that was handled alone when its worker died, for the `crashes`-th time.

    One that was in flight with others is only a suspect, and is not judged.
    """
    if crashes >= MOST_CRASHES:
        return Never(f"its worker died {crashes} times")
    pause = backoff(crashes, initial=limits.initial, factor=limits.factor, ceiling=limits.max, rng=rng)
    return Again(now + pause)
