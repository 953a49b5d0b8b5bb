"""The update as a handler sees it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from trioworkers.arrivals import read_update
from trioworkers.handling.rich_text import plain_text
from trioworkers.records import decode_body
from trioworkers.records import trace_id as trace_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trioworkers import types

    MaybeNone = (
        Any  # None at times; to say so would make every handler of messages check for it (typeshed's way)
    )


class UpdateHead(Protocol):
    """What orders and names an update."""

    @property
    def update_id(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def chat_id(self) -> int | None: ...
    @property
    def user_id(self) -> int | None: ...


class Update:
    """One update.

    Attributes:
        update_id: Telegram's number for it.
        kind: `message`, `callback_query`, … as in https://core.telegram.org/bots/api#update
        key: what orders it: updates of one key are handled one after the other. The chat's id, with the
            topic's in a forum or in a channel's direct messages (`-100123/7`); for queries their kind and the
            user's id, for polls the poll's; empty: it waits for nothing.
        chat_id: the chat it belongs to: of a callback that of its message, of a business connection the
            private chat with its user. None for kinds without one (inline queries, payments, polls).
        user_id: who caused it: who sent it, voted, joined, or boosted; None where nobody is named.
        attempt: how often it was handled before: 0 the first time.
        body: the update as JSON, as it came.
        idempotency_key: `<bot_id>:<update_id>`, the same at each attempt.
        after_gap: an update before it in this chat ended among the dead letters while this one waited.
        album: where `albums` of the bot is set, and it is of an album: all parts in their order, itself
            the first. They are handled once, and share its end. Empty otherwise.
    """

    kind: types.UpdateKind
    chat_id: int | MaybeNone
    user_id: int | MaybeNone

    def __init__(
        self,
        body: bytes,
        *,
        bot_id: int,
        attempt: int = 0,
        after_gap: bool = False,
        head: UpdateHead | None = None,
    ) -> None:
        """`head`: where it is known; it is read from the body otherwise."""
        if head is None:
            head = read_update(body)
        self.update_id = head.update_id
        self.kind = head.kind  # type: ignore[assignment] # a kind that is newer than the table stays as it is
        self.key = head.key
        self.chat_id = head.chat_id
        self.user_id = head.user_id
        self.attempt = attempt
        self.after_gap = after_gap
        self.body = body
        self.album: tuple[Update, ...] = ()
        self._bot_id = bot_id

    @property
    def idempotency_key(self) -> str:
        """`<bot_id>:<update_id>`."""
        return f"{self._bot_id}:{self.update_id}"

    def join(self, parts: Sequence[bytes]) -> None:
        """Make it the first of an album, with these as the others."""
        others = [Update(body, bot_id=self._bot_id, attempt=self.attempt) for body in parts]
        self.album = (self, *others)

    @cached_property
    def trace_id(self) -> str:
        """32 hexadecimal digits, the same at each attempt; every log line about the update has them."""
        return trace_of(self._bot_id, self.update_id)

    def __repr__(self) -> str:
        return f"<Update {self.idempotency_key} {self.kind} attempt={self.attempt}>"

    @cached_property
    def raw(self) -> types.Update:
        """The update as Telegram sent it."""
        return decode_body(self.body)  # type: ignore[return-value] # as Telegram sent it, whatever that is

    @property
    def text(self) -> str | None:
        """The text of a message or post, or the caption of its file; None where there is none.

        Of a rich message it is what stands in its blocks, in lines.
        """
        content: Any = self.raw.get(self.kind)
        if not isinstance(content, dict):
            return None
        text = content.get("text", content.get("caption"))
        if text is None and "rich_message" in content:
            return plain_text(content["rich_message"])
        return text if isinstance(text, str) else None
