"""What becomes of an update before it is handled, and by how its handling ended. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec.structs import replace

from trioworkers.inbox.policy import (
    Again,
    Never,
    after_crash,
    after_failure,
    backoff_when_late,
    has_expired,
    in_time,
    is_query,
    lifetime,
)

if TYPE_CHECKING:
    from random import Random

    from trioworkers.inbox.policy import RetryLimits
    from trioworkers.protocol.frames import Outcome
    from trioworkers.records import Waiting

SHORTEST_WAIT = 1.0  # seconds; what counts as no attempt has no other bound, whatever a worker says
ENDED = "the worker ended"
BROKEN = "its body cannot be decoded"


class SettleLimits(Protocol):
    """What of a bot's settings decides."""

    @property
    def retry(self) -> RetryLimits: ...
    @property
    def on_failure(self) -> str: ...


class Finished(msgspec.Struct, frozen=True, gc=False):
    """It needs no more handling. `outcome`: `done`, `dropped` or `expired`."""

    outcome: str


class Rescheduled(msgspec.Struct, frozen=True, gc=False):
    """It is handled again, as `update` says. `counted`: as a failed attempt."""

    update: Waiting
    error: str
    counted: bool = True


class DeadLettered(msgspec.Struct, frozen=True, gc=False):
    """It goes to the dead letters after `attempts` handlings.

    `shown` stands for the reason in logs: a reason may be the handler's own words or Telegram's, which may
    quote a user.
    `error`: how the last handling failed; None when it was not handled.
    """

    reason: str
    attempts: int
    shown: str
    error: str | None = None


DONE = Finished("done")
Decision = Finished | Rescheduled | DeadLettered


class Lost(msgspec.Struct, frozen=True, gc=False):
    """Its executor ended with it in flight. `alone`: it had nothing else, so that this update is to blame.

    `how`: the signal or the exit code of its process; empty when that is not known.
    """

    alone: bool
    how: str = ""


class Moment(msgspec.Struct, frozen=True):
    """When it was handed out and when that ended, Unix seconds, and where jitter comes from.

    `away`: seconds since it was handled first for which this process did not run (it was frozen, or asleep);
    they do not count towards the deadline.
    """

    handed_at: float
    now: float
    rng: Random
    away: float = 0.0


def judge_before(update: Waiting, now: float, *, broken: bool) -> Finished | DeadLettered | None:
    """Decide on an update that is about to be handled; None is: handle it.

    `now`: Unix seconds. `broken`: nobody can decode it.
    """
    if update.damaged:
        return DeadLettered("damaged on disk", update.attempt, "damaged on disk")
    if broken:
        return DeadLettered(BROKEN, update.attempt, BROKEN)
    if has_expired(update.kind, update.key, update.accepted_at, now):
        return Finished("expired")
    return None


def settle(update: Waiting, end: Outcome | Lost, limits: SettleLimits, moment: Moment) -> Decision:
    """Decide what becomes of an update by how its handling ended.

    - `done` and `drop` finish it, `dead` makes a dead letter of it.
    - A failure is retried after a back-off, or after what the handler asked for, within attempts and
      deadline. After a handling that took too long, the back-off begins at a share of that time.
    - A query of a lane of its own leaves its lane when it failed: no other query waits for it.
    - A retry that counts as no attempt (Telegram asked to wait) moves the deadline by its wait.
    - Whatever the handling waited for its turn to send, or because Telegram asked it to, moves it, too.
    - If a worker ended with several updates in flight, each becomes a suspect and is handled alone, at once.
      If it ended while it handled one alone, that one is tried again until it has ended `MOST_CRASHES`
      workers.
    """
    if isinstance(end, Lost):
        return _lost(update, end, limits, moment)
    if end.result == "done":
        return DONE
    if end.result == "drop":
        return Finished("dropped")
    if end.result == "dead":
        return DeadLettered(end.words or end.error, update.attempt + 1, end.error, end.error)
    # no more than the handling took: what a worker says must not put the deadline off for ever
    stood = min(end.stood, max(0.0, moment.now - moment.handed_at))
    if stood:
        update = replace(update, started_at=_started(update, moment) + stood)
    if not end.counted:
        wait = max(SHORTEST_WAIT, end.after or 0.0)
        started_at = _started(update, moment) + wait
        waits = replace(update, due=moment.now + wait, started_at=started_at, suspect=False)
        if is_query(update.key):
            waits = replace(waits, skipped=True)
        return Rescheduled(waits, end.error, counted=False)
    pause = end.after
    if pause is None and end.late:
        took = max(0.0, moment.now - moment.handed_at - stood)
        pause = backoff_when_late(update.attempt + 1, took, limits.retry, moment.rng)
    verdict = after_failure(
        update.attempt + 1,
        _started(update, moment) + moment.away,
        moment.now,
        limits.retry,
        moment.rng,
        wait=pause,
    )
    seconds = lifetime(update.kind, update.key)
    if seconds is not None:
        verdict = in_time(verdict, moment.now, update.accepted_at + seconds, asked=end.after is not None)
    again = replace(update, suspect=False, skipped=_skips(update, limits))
    return _again(again, end.error, verdict, moment, end.words)


def _lost(update: Waiting, end: Lost, limits: SettleLimits, moment: Moment) -> Decision:
    update = replace(update, skipped=_skips(update, limits))
    error = f"{ENDED}: {end.how}" if end.how else ENDED
    if not end.alone:
        return _again(replace(update, suspect=True), error, Again(0.0), moment)
    crashes = update.crashes + 1
    verdict = after_crash(crashes, moment.now, limits.retry, moment.rng)
    return _again(replace(update, crashes=crashes), error, verdict, moment)


def _again(update: Waiting, error: str, verdict: Again | Never, moment: Moment, words: str = "") -> Decision:
    attempt = update.attempt + 1
    if isinstance(verdict, Never):
        reason = f"{verdict.reason}, last: {words or error}"
        return DeadLettered(reason, attempt, f"{verdict.reason}, last: {error}", error)
    started_at = _started(update, moment)
    return Rescheduled(replace(update, attempt=attempt, due=verdict.due, started_at=started_at), error)


def _skips(update: Waiting, limits: SettleLimits) -> bool:
    if update.parts:  # they would be left behind, and handled as an album without it
        return update.skipped
    return update.skipped or limits.on_failure == "skip" or is_query(update.key)


def _started(update: Waiting, moment: Moment) -> float:
    return moment.handed_at if update.started_at is None else update.started_at
