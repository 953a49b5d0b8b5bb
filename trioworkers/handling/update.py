"""The update as a handler sees it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from trioworkers.records import decode_body, read_update


class Update:
    """One update.

    Attributes:
        update_id: Telegram's number for it.
        kind: `message`, `callback_query`, … as in https://core.telegram.org/bots/api#update
        chat_id: the chat it belongs to; None for kinds without one (inline queries, say).
        user_id: who sent it; None where nobody did.
        attempt: how often it was handled before: 0 the first time.
        idempotency_key: `<bot_id>:<update_id>`, the same at each attempt.
        trace_id: 32 hexadecimal digits, the same at each attempt; every log line about it has them.
        after_gap: an update before it in this chat ended among the dead letters while this one waited.
    """

    def __init__(self, body: bytes, *, bot_id: int, attempt: int, after_gap: bool, trace_id: str) -> None:
        head = read_update(body)
        self.update_id = head.update_id
        self.kind = head.kind
        self.chat_id = head.chat_id
        self.user_id = head.user_id
        self.attempt = attempt
        self.after_gap = after_gap
        self.trace_id = trace_id
        self.idempotency_key = f"{bot_id}:{head.update_id}"
        self._body = body

    def __repr__(self) -> str:
        return f"<Update {self.idempotency_key} {self.kind} attempt={self.attempt}>"

    @cached_property
    def raw(self) -> dict[str, Any]:
        """The update as Telegram sent it."""
        return decode_body(self._body)

    @property
    def text(self) -> str | None:
        """The text of a message or post, or the caption of its file; None where there is none."""
        content = self.raw.get(self.kind)
        if not isinstance(content, dict):
            return None
        text = content.get("text", content.get("caption"))
        return text if isinstance(text, str) else None
