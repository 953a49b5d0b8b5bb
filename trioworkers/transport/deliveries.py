"""What Telegram delivers to webhooks, from a body to the inbox. Knows nothing of HTTP servers.

Each bot has an endpoint with secrets of its own. What waits at one together is accepted together: while one
batch becomes durable, the next gathers. A delivery is answered only after that.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import trio

from trioworkers.arrivals import read_update
from trioworkers.inbox.gate import Duplicate, Stored
from trioworkers.inbox.store import StoreError
from trioworkers.update_bounds import check_bounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from trioworkers.inbox.gate import TakesUpdates
    from trioworkers.records import Arrival

GRACE = 600.0  # seconds for which an old secret is good, and an endpoint that was left is open
REASONS = {
    400: "no update",
    401: "wrong secret",
    403: "foreign address",
    404: "unknown bot",
    405: "wrong method",
    408: "body too slow",
    413: "body too large",
    415: "unknown encoding",
    503: "not accepting",
}
"""Why a delivery is refused, by the status that says so."""


def derive_secret(fleet_secret: str, bot_id: int) -> str:
    """A bot's own secret, 43 characters that setWebhook takes; tells nothing of the fleet's or another's."""
    digest = hmac.digest(fleet_secret.encode(), b"trioworkers webhook %d" % bot_id, hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@dataclass(slots=True)
class Traffic:
    """What came in at one endpoint. `bytes` of bodies answered 200; seconds; `last_at` in Unix seconds."""

    accepted: int = 0
    duplicates: int = 0
    dropped: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    waited: float = 0.0
    longest: float = 0.0
    last_at: float | None = None

    def document(self) -> dict[str, object]:
        """As `GET /webhook/stats` tells it; latency is from a body's last byte to its commit."""
        answered = self.accepted + self.duplicates + self.dropped
        return {
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "dropped": self.dropped,
            "refused": dict(self.refused),
            "bytes": self.bytes,
            "latency_ms": {
                "mean": round(1000 * self.waited / answered, 3) if answered else None,
                "max": round(1000 * self.longest, 3) if answered else None,
            },
            "last_delivery_at": self.last_at,
        }


@dataclass(slots=True)
class _Batch:
    """Updates that are accepted together, and what becomes of all of them."""

    arrivals: list[Arrival] = field(default_factory=list)
    status: int = 503
    done: trio.Event = field(default_factory=trio.Event)


class WebhookEndpoint:
    """Where one bot's deliveries come in; made by :meth:`Deliveries.open`.

    Attributes:
        bot_id: whose updates they are.
        gate: takes the updates.
        traffic: what came in.
        awaited: no secret is known yet, since its bot has yet to start: deliveries come too early.
    """

    def __init__(self, bot_id: int, gate: TakesUpdates) -> None:
        self.bot_id = bot_id
        self.gate = gate
        self.traffic = Traffic()
        self.gathering: _Batch | None = None
        self.committing = False
        self.awaited = False
        self._secrets: dict[bytes, float] = {}  # each is good until then, on Trio's clock

    @property
    def is_open(self) -> bool:
        """Whether any secret is good."""
        now = trio.current_time()
        return any(now < until for until in self._secrets.values())

    def admits(self, secret: bytes) -> bool:
        """Whether a delivery with this secret is Telegram's; its duration tells nothing of the secret."""
        now = trio.current_time()
        admitted = False
        for known, until in self._secrets.items():
            admitted |= hmac.compare_digest(known, secret) and now < until
        return admitted

    def expect(self, start: bool) -> None:
        """Its bot will start, and open it then; or will not, by a webhook."""
        self.awaited = start and not self.is_open

    def add_secret(self, secret: str) -> None:
        """Take deliveries with this secret; with the others still, until :meth:`registered`."""
        self.awaited = False
        self._secrets[secret.encode()] = float("inf")

    def registered(self, secret: str) -> None:
        """Telegram uses this secret from now on: others are good for ten minutes more."""
        current = secret.encode()
        now = trio.current_time()
        kept = {known: until for known, until in self._secrets.items() if now < until}
        self._secrets = {known: min(until, now + GRACE) for known, until in kept.items()}
        self._secrets[current] = float("inf")

    def leave(self) -> None:
        """The webhook is being deleted: deliveries that are still under way are taken for ten minutes."""
        end = trio.current_time() + GRACE
        self._secrets = {known: min(until, end) for known, until in self._secrets.items()}


def judge(endpoint: WebhookEndpoint | None, secret: bytes) -> int:
    """The status of a delivery by where it comes in, and whose it is: 200 when its body may be read."""
    if endpoint is None:
        return 404
    if endpoint.awaited:
        return 503
    return 200 if endpoint.admits(secret) else 401


class FindsEndpoints(Protocol):
    """Where deliveries for bots come in that another node runs."""

    @property
    def all(self) -> Mapping[str, WebhookEndpoint]:
        """Those that there are, by the names of their bots."""

    def find(self, name: str) -> WebhookEndpoint | None:
        """The endpoint of the bot of that name, open; None: there is no such bot, or it has no webhook."""


class Deliveries:
    """The endpoints of all bots. `serve` makes durable what comes in.

    Args:
        trouble: hears, with the bot's id, of a mistake of ours that refused a batch.

    Attributes:
        refused: what was refused at no endpoint of a bot, by reason.
        answered: how many deliveries were answered with each status, those of bots that are gone included.
        foreign: the endpoints of bots that another node of the cluster runs; None: there is no cluster.
    """

    def __init__(self, trouble: Callable[[int, Exception], None] = lambda _bot_id, _error: None) -> None:
        self.refused: Counter[str] = Counter()
        self.answered: Counter[int] = Counter()
        self.foreign: FindsEndpoints | None = None
        self._trouble = trouble
        self._endpoints: dict[str, WebhookEndpoint] = {}
        self._nursery: trio.Nursery | None = None
        self._closing = trio.Event()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept until :meth:`close`, then end once what is in flight is durable.

        Cancelled, what is in flight is answered 503: it may be durable or not, and comes again.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await self._closing.wait()
            finally:
                self._nursery = None

    def close(self) -> None:
        """Accept nothing more: deliveries are answered 503 and come again."""
        self._nursery = None
        self._closing.set()

    def open(self, name: str, bot_id: int, gate: TakesUpdates) -> WebhookEndpoint:
        """The endpoint of the bot of that name, before `gate`; a new one when another bot had that name."""
        endpoint = self._endpoints.get(name)
        if endpoint is None or endpoint.bot_id != bot_id:
            endpoint = self._endpoints[name] = WebhookEndpoint(bot_id, gate)
        endpoint.gate = gate
        return endpoint

    def remove(self, name: str) -> None:
        """There is no such bot any more."""
        self._endpoints.pop(name, None)

    def endpoint(self, name: str) -> WebhookEndpoint | None:
        """Where a bot's deliveries come in, if they may, or will once it has started."""
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            return None if self.foreign is None else self.foreign.find(name)
        return endpoint if endpoint.awaited or endpoint.is_open else None

    def endpoints(self) -> Iterator[tuple[str, WebhookEndpoint]]:
        """All endpoints by the names of their bots, also those that are shut again."""
        yield from self._endpoints.items()
        if self.foreign is not None:
            yield from ((name, one) for name, one in self.foreign.all.items() if name not in self._endpoints)

    def refuse(self, endpoint: WebhookEndpoint | None, status: int) -> int:
        """Count a refusal; returns its status."""
        self.answered[status] += 1
        (self.refused if endpoint is None else endpoint.traffic.refused)[REASONS[status]] += 1
        return status

    async def deliver(self, name: str, secret: bytes, body: bytes) -> int:
        """Take one delivery; return the status to answer: 200 once it is durable, else one of `REASONS`."""
        endpoint = self.endpoint(name)
        status = judge(endpoint, secret)
        if endpoint is None or status != 200:
            return self.refuse(endpoint, status)
        return await self.take(endpoint, body)

    async def take(self, endpoint: WebhookEndpoint, body: bytes) -> int:
        """Take a body that came in at an endpoint, whose secret was right; as :meth:`deliver`.

        Cancelling it leaves open whether the update is accepted, as it does for whoever hung up.
        """
        try:
            check_bounds(body)
            arrival = read_update(body)
        except ValueError:
            return self.refuse(endpoint, 400)
        began = trio.current_time()
        batch = endpoint.gathering
        if batch is None:
            if self._nursery is None:
                return self.refuse(endpoint, 503)
            batch = endpoint.gathering = _Batch()
            if not endpoint.committing:
                endpoint.committing = True
                self._nursery.start_soon(self._commit, endpoint)
        batch.arrivals.append(arrival)
        await batch.done.wait()
        if batch.status != 200:
            return self.refuse(endpoint, batch.status)
        traffic = endpoint.traffic
        waited = trio.current_time() - began
        traffic.waited += waited
        traffic.longest = max(traffic.longest, waited)
        traffic.bytes += len(body)
        self.answered[200] += 1
        return 200

    async def _commit(self, endpoint: WebhookEndpoint) -> None:
        """Accept what has gathered, over and over, until nothing has."""
        try:
            while (batch := endpoint.gathering) is not None:
                endpoint.gathering = None
                await self._accept_batch(endpoint, batch)
        finally:
            endpoint.committing = False
            if endpoint.gathering is not None:  # cancelled
                endpoint.gathering.done.set()
                endpoint.gathering = None

    async def _accept_batch(self, endpoint: WebhookEndpoint, batch: _Batch) -> None:
        try:
            admissions = await endpoint.gate.offer(batch.arrivals)
        except StoreError:
            pass  # the inbox tells why
        except Exception as error:  # of one batch: the deliveries of other bots go on
            self._trouble(endpoint.bot_id, error)
        else:
            batch.status = 200
            traffic = endpoint.traffic
            for admission in admissions:
                if isinstance(admission, Stored):
                    traffic.accepted += 1
                elif isinstance(admission, Duplicate):
                    traffic.duplicates += 1
                else:
                    traffic.dropped += 1
            traffic.last_at = time.time()
        finally:
            batch.done.set()
