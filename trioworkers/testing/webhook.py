"""A bot's webhook: which update goes next, what becomes of one that was refused; and its methods.

Pure: :mod:`trioworkers.testing.delivery` does the posting and obeys. The rules are those of
`WebhookActor.cpp` and of `Client.cpp`, `process_set_webhook_query`.
"""

from __future__ import annotations

import heapq
import math
import re
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from trioworkers.testing.answers import bad_request, conflict, too_many_requests
from trioworkers.testing.polling import OTHER_WEBHOOK, end_poll
from trioworkers.testing.queue import KINDS, UNASKED, parse_allowed_updates

if TYPE_CHECKING:
    from collections.abc import Hashable

    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.params import Params
    from trioworkers.testing.queue import Pending, UpdateQueue
    from trioworkers.testing.signal import Signal
    from trioworkers.testing.world import Telegram

PORTS = {80, 88, 443, 8443}
MAX_RETRY_AFTER = 3600  # seconds, on_update_error
MAX_DELAY = 60.0  # seconds, WEBHOOK_MAX_RESEND_TIMEOUT; Telegram draws between this and its double
GONE_AFTER = 23 * 3600.0  # seconds of 410, WEBHOOK_DROP_TIMEOUT
CERTIFICATE_LIMIT = 3 << 20  # bytes
_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")


@dataclass(frozen=True, slots=True)
class Described:
    """A result that comes with a `description` beside it."""

    result: object
    description: str


@dataclass(slots=True)
class _ChatLane:
    """Updates of one order key; only the first may be in flight."""

    waiting: deque[int] = field(default_factory=deque)
    delay: float = 1.0
    failures: int = 0


class SimulatedWebhook:
    """Where updates go, and in which order.

    Attributes:
        changed: fires when there may be something to send, or when the webhook is closed.
        closed: nothing may be sent any more; what is in flight is not counted.
    """

    def __init__(
        self,
        queue: UpdateQueue,
        url: str,
        *,
        secret: str = "",
        max_connections: int = 40,
        ip_address: str = "",
        certificate: bytes | None = None,
    ) -> None:
        self.url = url
        self.secret = secret
        self.max_connections = max_connections
        self.ip_address = ip_address
        self.certificate = certificate
        self.changed: Signal = queue.changed
        self.closed = False
        self.last_error: tuple[float, str] | None = None
        self._queue = queue
        self._lanes: dict[Hashable, _ChatLane] = {}
        self._due: list[tuple[float, int, Hashable]] = []
        self._order = count()
        self._loaded = 0
        self._gone_since: float | None = None

    def take(self, now: float) -> Pending | None:
        """The update to send now, which is then in flight; None if none is due."""
        self._load(now)
        while self._due and self._due[0][0] <= now and not self.closed:
            _, _, key = heapq.heappop(self._due)
            lane = self._lanes[key]
            update = self._queue.get(lane.waiting[0])
            if update is not None and update.expires_at >= now:
                return update
            self._queue.expire(lane.waiting[0])
            self._advance(key, lane, now)
        return None

    def next_due(self) -> float:
        """When something will be due, on the world's clock; infinity while nothing waits."""
        return self._due[0][0] if self._due else math.inf

    def succeeded(self, update: Pending, now: float) -> None:
        """It was taken with a 2xx: confirm it and let the next of its lane go."""
        self._gone_since = None
        if not self.closed:
            self._queue.confirm(update.update_id)
            self._advance(update.key, self._lanes[update.key], now)

    def failed(
        self, update: Pending, now: float, what: str, *, status: int | None = None, retry_after: int = 0
    ) -> bool:
        """It was not taken: send it again at once, then after 2, 4, 8, 16, 32 s, then every 60 s.

        `retry_after` (seconds, at most an hour) goes before. An update that would be sent after its
        lifetime is forgotten. Returns whether the webhook has to be closed: 410 for 23 hours.
        """
        if self.closed:
            return False
        self.last_error = (now, what)
        self._gone_since = (self._gone_since or now) if status == 410 else None
        lane = self._lanes[update.key]
        wait = float(min(max(retry_after, 0), MAX_RETRY_AFTER))
        if not wait and lane.failures:
            lane.delay = wait = min(MAX_DELAY, lane.delay * 2)
        lane.failures += 1
        if now + wait > update.expires_at:
            self._queue.expire(update.update_id)
            self._advance(update.key, lane, now)
        else:
            heapq.heappush(self._due, (now + wait, next(self._order), update.key))
            self.changed.fire()
        return self._gone_since is not None and now - self._gone_since > GONE_AFTER

    def close(self) -> None:
        """Send nothing more; what is not confirmed stays queued."""
        self.closed = True
        self.changed.fire()

    def _load(self, now: float) -> None:
        for update in self._queue.since(self._loaded):
            self._loaded = update.arrival
            lane = self._lanes.get(update.key)
            if lane is None:
                lane = self._lanes[update.key] = _ChatLane()
                heapq.heappush(self._due, (now, next(self._order), update.key))
            lane.waiting.append(update.update_id)

    def _advance(self, key: Hashable, lane: _ChatLane, now: float) -> None:
        lane.waiting.popleft()
        lane.delay, lane.failures = 1.0, 0
        if lane.waiting:
            heapq.heappush(self._due, (now, next(self._order), key))
        else:
            del self._lanes[key]
        self.changed.fire()


def _check_url(telegram: Telegram, url: str) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise bad_request("invalid webhook URL specified") from None
    if not parts.hostname or parts.scheme not in {"http", "https"}:
        raise bad_request("invalid webhook URL specified")
    if telegram.local:
        return
    if parts.scheme != "https":
        raise bad_request("bad webhook: HTTPS url must be provided for webhook")
    if port not in PORTS | {None}:
        raise bad_request("bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443")


def set_webhook(telegram: Telegram, bot: SimBot, params: Params) -> object:
    """setWebhook; without a URL it is deleteWebhook. The same one again changes nothing."""
    url = params.text("url").strip()
    if not url:
        return delete_webhook(telegram, bot, params)
    if "://" not in url:
        url = f"https://{url}"
    secret = params.text("secret_token")
    connections = min(max(params.integer("max_connections", 40), 1), 100_000 if telegram.local else 100)
    certificate = params.files.get("certificate")
    allowed = parse_allowed_updates(params.values.get("allowed_updates"))
    now = telegram.clock()
    old = bot.webhook
    dropping = params.flag("drop_pending_updates")
    same = (
        old is not None
        and (url, secret, connections, params.text("ip_address"))
        == (old.url, old.secret, old.max_connections, old.ip_address)
        and certificate is None
        and old.certificate is None
        and (allowed is None or allowed == bot.queue.allowed)
        and not dropping
    )
    if same:
        return Described(True, "Webhook is already set")
    if telegram.repeat_guard and now < bot.last_set_webhook_at + 1.0:
        raise too_many_requests(1)
    bot.last_set_webhook_at = now
    _check_url(telegram, url)
    if secret and not _SECRET.fullmatch(secret):
        what = "is too long" if len(secret) > 256 else "contains unallowed characters"
        raise bad_request(f"secret token {what}")
    if certificate is not None and len(certificate.content) > CERTIFICATE_LIMIT:
        raise bad_request(f"certificate size is too big ({len(certificate.content)} bytes)")
    close_webhook(telegram, bot)
    if dropping:
        bot.queue.drop()
    end_poll(bot, conflict(OTHER_WEBHOOK))
    if allowed is not None:
        bot.queue.allowed = allowed
    bot.webhook = SimulatedWebhook(
        bot.queue,
        url,
        secret=secret,
        max_connections=connections,
        ip_address=params.text("ip_address"),
        certificate=None if certificate is None else certificate.content,
    )
    telegram.webhooks_changed.fire()
    return Described(True, "Webhook was set")


def delete_webhook(telegram: Telegram, bot: SimBot, params: Params) -> object:
    """deleteWebhook; what is pending stays, unless `drop_pending_updates` is set."""
    was_set = bot.webhook is not None
    close_webhook(telegram, bot)
    if params.flag("drop_pending_updates"):
        bot.queue.drop()
    return Described(True, "Webhook was deleted" if was_set else "Webhook is already deleted")


def close_webhook(telegram: Telegram, bot: SimBot) -> None:
    """Take a bot's webhook away, if it has one; what is pending stays queued."""
    if bot.webhook is not None:
        bot.webhook.close()
        bot.webhook = None
        telegram.webhooks_changed.fire()


def get_webhook_info(telegram: Telegram, bot: SimBot, params: Params) -> object:
    """getWebhookInfo."""
    webhook = bot.webhook
    info: dict[str, Any] = {
        "url": webhook.url if webhook is not None else "",
        "has_custom_certificate": webhook is not None and webhook.certificate is not None,
        "pending_update_count": len(bot.queue),
    }
    if webhook is not None:
        info["max_connections"] = webhook.max_connections
        info["ip_address"] = webhook.ip_address or "127.0.0.1"
        if webhook.last_error is not None:
            info["last_error_date"] = int(webhook.last_error[0])
            info["last_error_message"] = webhook.last_error[1]
    if bot.queue.allowed != KINDS - UNASKED:
        info["allowed_updates"] = sorted(bot.queue.allowed)
    return info
