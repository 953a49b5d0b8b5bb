"""The exceptions of trioworkers, told apart by whose fault they are.

Handlers raise :class:`Retry`, :class:`Dead` and :class:`Drop` to say what becomes of an update;
they catch :class:`BotApiError`. Everything else here is raised by trioworkers at its own edges.
No message of these exceptions contains a token or the text of a message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class TrioworkersError(Exception):
    """Base of every error that trioworkers raises."""


class Retry(TrioworkersError):
    """Raised by a handler: handle this update again.

    Args:
        after: seconds to wait; None leaves it to the bot's `retry` settings.
    """

    def __init__(self, after: float | None = None) -> None:
        super().__init__("retry" if after is None else f"retry after {after:g} s")
        self.after = after


class Dead(TrioworkersError):
    """Raised by a handler: this update can never be handled; keep it among the dead letters."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Drop(TrioworkersError):
    """Raised by a handler: this update needs no handling; forget it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BotApiError(TrioworkersError):
    """The Bot API refused a call.

    Attributes:
        method: the method that was called.
        error_code: as in the answer (400, 401, 403, 404, 409, 429, …).
        description: Telegram's own words.
        parameters: `retry_after` and `migrate_to_chat_id`, where Telegram sent them.
    """

    def __init__(
        self, method: str, error_code: int, description: str, parameters: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(f"{method}: {error_code} {description}")
        self.method = method
        self.error_code = error_code
        self.description = description
        self.parameters: Mapping[str, Any] = parameters or {}


class TransportError(TrioworkersError):
    """The Bot API could not be reached, or answered with something that is not its protocol.

    Whether the call took effect is unknown.
    """

    def __init__(self, method: str, what: str) -> None:
        super().__init__(f"{method}: {what}")
        self.method = method
        self.what = what
