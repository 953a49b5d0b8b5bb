"""The update queue that Telegram keeps for each bot, shared by long polling and webhook.

Pure and synchronous: who waits for updates looks here, then waits for :attr:`UpdateQueue.changed`.
The rules are those of tdlib/telegram-bot-api: `Client.cpp` (`do_get_updates`, `add_update`,
`JsonUpdates`) and the TQueue of tdlib.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from trioworkers.testing.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from random import Random

DAY = 86_400.0
WEEK = 7 * DAY
LIFETIMES = {  # seconds, Client.cpp: the timeout of each add_update
    "callback_query": 150.0,
    "shipping_query": 150.0,
    "pre_checkout_query": 150.0,
    "inline_query": 30.0,
    "chosen_inline_result": 600.0,
}
KINDS = frozenset(
    [
        "message",
        "edited_message",
        "channel_post",
        "edited_channel_post",
        "business_connection",
        "business_message",
        "edited_business_message",
        "deleted_business_messages",
        "guest_message",
        "message_reaction",
        "message_reaction_count",
        "inline_query",
        "chosen_inline_result",
        "callback_query",
        "shipping_query",
        "pre_checkout_query",
        "purchased_paid_media",
        "poll",
        "poll_answer",
        "my_chat_member",
        "chat_member",
        "chat_join_request",
        "chat_boost",
        "removed_chat_boost",
        "managed_bot",
        "subscription",
    ]
)
UNASKED = frozenset({"chat_member", "message_reaction", "message_reaction_count"})
BODY_LIMIT = 1 << 22  # bytes of updates in one answer, JsonUpdates
_AHEAD = 10  # an offset further ahead than this is from another life of the queue and ignored

_encode = msgspec.json.Encoder().encode


class Pending(NamedTuple):
    """An update that is not confirmed yet.

    `body` is its JSON, `expires_at` on the world's clock; `arrival` counts up for ever, which ids do
    not.
    """

    arrival: int
    update_id: int
    kind: str
    body: bytes
    expires_at: float
    key: Hashable


def parse_allowed_updates(value: Any) -> frozenset[str] | None:
    """The kinds that `allowed_updates` asks for; None, keep the previous ones, if it cannot be read.

    An empty list, or one of unknown names only, means all kinds but three (Bot API, getUpdates).
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    if not isinstance(value, list) or not all(isinstance(kind, str) for kind in value):
        return None
    return (KINDS & {kind.lower() for kind in value}) or KINDS - UNASKED


def order_key(kind: str, content: Mapping[str, Any], update_id: int) -> Hashable:
    """What orders the webhook deliveries of an update: its chat, or its user in a lane per kind."""
    inner = content.get(kind)
    if isinstance(inner, dict):
        chat = inner.get("chat")
        if isinstance(chat, dict) and kind not in LIFETIMES:
            return ("chat", chat.get("id"))
        user = inner.get("from") or inner.get("user")
        if isinstance(user, dict):
            return (kind, user.get("id"))
    return ("update", update_id)


class UpdateQueue:
    """Updates of one bot that nobody confirmed yet, oldest first.

    Attributes:
        changed: fires when an update arrives and when waiting polls must look again.
        allowed: the kinds that are queued; others vanish as they arrive.
        confirmed: ids that the client can never ask for again, in the order of confirmation.
        expired: ids that nobody fetched in time.
    """

    def __init__(
        self, dice: Random, clock: Callable[[], float], on_confirm: Callable[[list[int]], None]
    ) -> None:
        self._dice = dice
        self._clock = clock
        self._on_confirm = on_confirm
        self._pending: OrderedDict[int, Pending] = OrderedDict()
        self._next_id = 0
        self._arrivals = 0
        self._last_push = -math.inf
        self._first_expiry = math.inf
        self.changed = Signal()
        self.allowed: frozenset[str] = KINDS - UNASKED
        self.confirmed: list[int] = []
        self.expired: list[int] = []

    def __len__(self) -> int:
        self._expire()
        return len(self._pending)

    def push(self, content: Mapping[str, Any]) -> int:
        """Queue `{kind: object}` and return its new id; 0 if the bot did not ask for that kind.

        Ids are consecutive; the first one, and the next one after a week without updates, is random.
        """
        kind = next((name for name in content if name != "update_id"), "")
        if kind in KINDS and kind not in self.allowed:
            return 0
        now = self._clock()
        if now - self._last_push > WEEK:
            # The upper half of int32 stays free, so that a long load never overflows it.
            self._next_id = self._dice.randrange(1 << 20, 1 << 30)
        self._last_push = now
        update_id = self._next_id
        self._next_id += 1
        body = b'{"update_id":%d,"%s":%s}' % (update_id, kind.encode(), _encode(content[kind]))
        expires_at = now + LIFETIMES.get(kind, DAY)
        self._arrivals += 1
        key = order_key(kind, content, update_id)
        self._pending[update_id] = Pending(self._arrivals, update_id, kind, body, expires_at, key)
        self._first_expiry = min(self._first_expiry, expires_at)
        self.changed.fire()
        return update_id

    def fetch(self, offset: int, limit: int) -> list[Pending]:
        """The updates that getUpdates answers with, after confirming those before `offset`.

        A negative offset counts from the end and forgets all before; one that cannot belong to this
        queue (too far ahead) counts as none. The batch ends where its body would pass 4 MiB.
        """
        self._expire()
        if offset < 0:
            offset += self._next_id
        if 0 < offset <= self._next_id + _AHEAD:
            self._confirm_before(offset)
        batch: list[Pending] = []
        room = BODY_LIMIT
        for update in self._pending.values():
            room -= 50 + len(update.body)
            if len(batch) == limit or room <= 0:
                break
            batch.append(update)
        return batch

    def confirm(self, update_id: int) -> None:
        """Forget one update that a webhook took. One that is gone already is ignored."""
        if self._pending.pop(update_id, None) is not None:
            self._confirmed([update_id])

    def expire(self, update_id: int) -> None:
        """Forget one update that could not be delivered in time."""
        if self._pending.pop(update_id, None) is not None:
            self.expired.append(update_id)

    def drop(self) -> None:
        """Forget all updates, as `drop_pending_updates` asks; the client gave them up itself."""
        dropped = list(self._pending)
        self._pending.clear()
        if dropped:
            self._confirmed(dropped)

    def since(self, arrival: int) -> list[Pending]:
        """All pending updates that arrived after that one, oldest first."""
        found: list[Pending] = []
        for update in reversed(self._pending.values()):
            if update.arrival <= arrival:
                break
            found.append(update)
        return found[::-1]

    def get(self, update_id: int) -> Pending | None:
        """The pending update of that id, if it still is."""
        return self._pending.get(update_id)

    def _confirm_before(self, offset: int) -> None:
        gone: list[int] = []
        for update_id in self._pending:
            if update_id >= offset:
                break
            gone.append(update_id)
        for update_id in gone:
            del self._pending[update_id]
        if gone:
            self._confirmed(gone)

    def _confirmed(self, update_ids: list[int]) -> None:
        self.confirmed += update_ids
        self._on_confirm(update_ids)

    def _expire(self) -> None:
        now = self._clock()
        if now <= self._first_expiry:
            return
        for update_id in [u.update_id for u in self._pending.values() if u.expires_at < now]:
            del self._pending[update_id]
            self.expired.append(update_id)
        self._first_expiry = min((u.expires_at for u in self._pending.values()), default=math.inf)
