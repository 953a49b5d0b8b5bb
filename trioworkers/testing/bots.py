"""A bot as Telegram knows it: its account, its update queue, its webhook, its waiting poll."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trioworkers.testing.answers import Refused
    from trioworkers.testing.queue import UpdateQueue
    from trioworkers.testing.webhook import SimulatedWebhook


class Poll:
    """One getUpdates call: what it asks for, and why it was ended before its time, if it was."""

    __slots__ = ("limit", "offset", "refused", "timeout")

    def __init__(self, offset: int, limit: int, timeout: float) -> None:
        self.offset = offset
        self.limit = limit
        self.timeout = timeout
        self.refused: Refused | None = None


class SimBot:
    """One bot of the simulated Telegram; made by :meth:`Telegram.add_bot`.

    Attributes:
        privacy: in groups it gets commands and replies only, unless it is an administrator.
        revoked: its token was revoked; every call answers 401.
        me: the User object that getMe answers with.
        brief: the User object inside messages.
        webhook: the webhook that is set, or None while it may poll.
        poll: the getUpdates call that waits now, or None.
    """

    def __init__(
        self,
        bot_id: int,
        token: str,
        username: str,
        queue: UpdateQueue,
        *,
        test: bool = False,
        privacy: bool = False,
    ) -> None:
        self.id = bot_id
        self.token = token
        self.username = username
        self.test = test
        self.privacy = privacy
        self.revoked = False
        self.queue = queue
        self.webhook: SimulatedWebhook | None = None
        self.poll: Poll | None = None
        self.brief: dict[str, Any] = {
            "id": bot_id,
            "is_bot": True,
            "first_name": username,
            "username": username,
        }
        self.me = self.brief | {
            "can_join_groups": True,
            "can_read_all_group_messages": not privacy,
            "supports_inline_queries": True,
        }
        self.commands: dict[str, list[dict[str, Any]]] = {}
        self.profile: dict[tuple[str, str], str] = {}
        self.menu_buttons: dict[int, dict[str, Any]] = {}
        self.default_rights: dict[bool, frozenset[str]] = {}
        self.last_message_id = 0
        self.last_offset: int | None = None
        self.last_poll_at = -math.inf
        self.next_conflict_at = -math.inf
        self.last_set_webhook_at = -math.inf
        self.seen_at: float | None = None
        self.locked_until = -math.inf

    def end_poll(self, refused: Refused) -> None:
        """End the call that waits for updates of this bot, if one does, with that answer."""
        poll, self.poll = self.poll, None
        if poll is not None:
            poll.refused = refused
            self.queue.changed.fire()

    def __repr__(self) -> str:
        return f"<SimBot {self.username} {self.id}>"
