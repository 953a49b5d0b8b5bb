"""When a bot on `auto` leaves its webhook, and when it tries it again. Pure: times are arguments."""

from __future__ import annotations

FAILED_REGISTRATIONS = 3
ERROR_AGE = 120.0  # seconds; an error that Telegram reports and that is older says nothing of now
GROWTH = 60.0  # seconds for which pending updates grow before the webhook is left
FIRST_RETURN, LAST_RETURN = 600.0, 7200.0  # seconds of polling before the webhook is tried again, doubled


class AutoSwitch:
    """Decides between webhook and polling; begins with the webhook.

    Tell it what happens, and obey what it answers: a reason to leave the webhook, or None. Times are
    seconds on one clock of the caller's, `now` never less than before.

    The webhook is left after three registrations in a row that failed, or when Telegram reports a delivery
    error younger than two minutes while pending updates have grown, and not come down, for a minute. It is
    tried again after ten minutes, then after doubled times up to two hours; after ten again once a webhook
    held for longer than polling had to go on before it.

    Attributes:
        polling: whether polling is what should be done now.
    """

    def __init__(self) -> None:
        self.polling = False
        self._failures = 0
        self._pause = FIRST_RETURN
        self._left_at: float | None = None
        self._held_since: float | None = None
        self._pending = 0
        self._sampled_at = 0.0
        self._grows_since: float | None = None

    def registration_failed(self, now: float) -> str | None:
        """setWebhook failed, or getWebhookInfo when it was needed to know whether the webhook is set."""
        self._failures += 1
        if self._failures < FAILED_REGISTRATIONS:
            return None
        return self._leave(now, f"registration failed {FAILED_REGISTRATIONS} times")

    def registered(self, now: float) -> None:
        """The webhook is set as it should be, newly or still; nothing is known of its pending updates."""
        self._failures = 0
        if self._held_since is None:
            self._held_since = now
            self._pending = 0
            self._grows_since = None
            self._sampled_at = now

    def observed(self, now: float, pending: int, error_age: float | None) -> str | None:
        """What getWebhookInfo says of a webhook that is registered. `error_age`: seconds since the last
        delivery error, None without one."""
        if self._held_since is None:
            return None
        if pending < self._pending or pending == 0:
            self._grows_since = None
        elif pending > self._pending and self._grows_since is None:
            self._grows_since = self._sampled_at
        self._pending, self._sampled_at = pending, now
        grown = self._grows_since is not None and now - self._grows_since >= GROWTH
        if grown and error_age is not None and error_age < ERROR_AGE:
            return self._leave(now, "delivery errors while pending updates grew")
        return None

    def seconds_of_polling(self, now: float) -> float:
        """How long to poll yet before :meth:`try_webhook`."""
        if not self.polling or self._left_at is None:
            return 0.0
        return max(0.0, self._left_at + self._pause - now)

    def try_webhook(self) -> None:
        """The time of polling is over: the webhook's turn."""
        self.polling = False
        self._failures = 0

    def _leave(self, now: float, reason: str) -> str:
        held = 0.0 if self._held_since is None else now - self._held_since
        again = self._left_at is not None and held <= self._pause
        self._pause = min(LAST_RETURN, 2 * self._pause) if again else FIRST_RETURN
        self._left_at = now
        self._held_since = None
        self.polling = True
        return reason
