"""Whether a bot's updates reach us, for how long they do not, and what to do about it. Pure.

A bot whose polls all fail has a worker in good health. So how its way in fares is kept apart from its worker.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

BRIEF = 10.0  # seconds of failing that nobody needs to know of
BETTER = 5.0  # seconds: a poll that waits for so much longer than the one that failed does not fail likewise
RETURNS = 120.0  # seconds without a conflict after which the other poller is taken to be gone
UNDELIVERED = 300.0  # seconds; Telegram tries a delivery again after 120 at most

INBOX = "the inbox does not accept"
OTHER_POLLER = "another poller uses this token"
OTHER_WEBHOOK = "somebody set a webhook"
WEBHOOK_REMOVED = "a webhook is set, it is removed"
RATE = "429 Too Many Requests"
NOT_REACHED = "Telegram does not reach the webhook"
NOT_REGISTERED = "the webhook cannot be set"
BROKE = "internal error"

_REMEDIES = (
    (OTHER_POLLER, "stop the other program that uses the token, or get a new token from @BotFather"),
    (OTHER_WEBHOOK, "stop the other program that sets webhooks for this token"),
    (WEBHOOK_REMOVED, "stop the other program that sets webhooks for this token"),
    (RATE, "wait: Telegram says when it may be asked again"),
    (NOT_REACHED, "look at webhook.public_url, its certificate and the firewall"),
    (NOT_REGISTERED, "look at webhook.public_url, at its certificate and at this machine's way to Telegram"),
    (INBOX, "make room on the disk of state_dir: Telegram keeps the updates meanwhile"),
    (BROKE, "report the event transport.trouble with its error"),
    ("HTTP 5", "wait, if it is Telegram that fails; else look at fleet.api_base and the proxy"),
)
_ELSE = "look at this machine's network, at fleet.api_base and at the proxy"


@dataclass(frozen=True, slots=True)
class Deafness:
    """Why no updates come in. `since`: Unix seconds."""

    problem: str
    since: float

    def document(self) -> dict[str, Any]:
        """Return it as the status document has it."""
        return {"problem": self.problem, "since": self.since, "remedy": remedy_for(self.problem)}


def remedy_for(problem: str) -> str:
    """What a person can do about it."""
    return next((remedy for start, remedy in _REMEDIES if problem.startswith(start)), _ELSE)


class Reception:
    """How one bot's way in fares, told by whoever polls or looks after its webhook.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._failing: Deafness | None = None
        self._began = self._took = 0.0
        self._is_under_way = False
        self._conflict: Deafness | None = None
        self._conflicts, self._last_conflict = 0, -RETURNS
        self._undelivered: Deafness | None = None

    def failed(self, problem: str) -> None:
        """A poll failed, or a webhook could not be set."""
        now = self._clock()
        self._took = now - self._began if self._is_under_way else 0.0
        self._is_under_way = False
        self._failing = Deafness(problem, now if self._failing is None else self._failing.since)

    def conflicted(self, problem: str) -> None:
        """A poll was thrown out for another one. That one may get updates, so that a success ends nothing."""
        now = self._clock()
        if now - self._last_conflict >= RETURNS or self._conflict is None:
            self._conflict, self._conflicts = Deafness(problem, now), 0
        self._conflict = Deafness(problem, self._conflict.since)
        self._conflicts += 1
        self._last_conflict = now

    def tries(self) -> None:
        """A poll begins after one that failed."""
        self._began, self._is_under_way = self._clock(), True

    def recovered(self) -> None:
        """A poll succeeded, or the webhook is set."""
        self._failing, self._is_under_way = None, False

    def observed(self, pending: int, error_at: float | None, error: str) -> None:
        """What Telegram says of a webhook that is set: updates that wait, its last failed delivery."""
        if not pending or error_at is None or self._clock() - error_at > UNDELIVERED:
            self._undelivered = None
            return
        since = error_at if self._undelivered is None else self._undelivered.since
        self._undelivered = Deafness(f"{NOT_REACHED}: {error}" if error else NOT_REACHED, since)

    def left(self) -> None:
        """The way in is another one from now on."""
        self._failing = self._conflict = self._undelivered = None
        self._is_under_way = False

    def deafness(self) -> Deafness | None:
        """Why no updates come in, now; None: they do, or have not failed for long enough to say so."""
        now = self._clock()
        if self._conflict is not None and self._conflicts > 1 and now - self._last_conflict < RETURNS:
            return self._conflict
        failing = self._failing
        waits = now - self._began if self._is_under_way else 0.0
        if failing is not None and now - failing.since >= BRIEF and waits <= self._took + BETTER:
            return failing
        return self._undelivered
