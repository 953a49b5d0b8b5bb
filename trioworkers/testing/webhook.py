"""A bot's webhook: which update goes next, and what becomes of one that was refused.

Pure: :mod:`trioworkers.testing.delivery` does the posting and obeys. The rules are those of
`WebhookActor.cpp`.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from trioworkers.testing.queue import Pending, UpdateQueue
    from trioworkers.testing.signal import Signal

MAX_RETRY_AFTER = 3600  # seconds, on_update_error
MAX_DELAY = 60.0  # seconds, WEBHOOK_MAX_RESEND_TIMEOUT; Telegram draws between this and its double
GONE_AFTER = 23 * 3600.0  # seconds of 410, WEBHOOK_DROP_TIMEOUT


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
