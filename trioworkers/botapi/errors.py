"""What becomes of a Bot API call that has no result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.botapi.healing import can_heal
from trioworkers.errors import TrioworkersError

if TYPE_CHECKING:
    from collections.abc import Mapping


class BotApiError(TrioworkersError):
    """The Bot API refused a call. Calls raise its subclasses in `botapi.refusals`, where one fits.

    Attributes:
        method: the method that was called.
        error_code: as in the answer (400, 401, 403, 404, 409, 429, …).
        description: Telegram's own words.
        parameters: `retry_after` and `migrate_to_chat_id`, where Telegram sent them.
        heals: whether the same call may succeed later. It decides what becomes of the update when a handler
            lets the error through: another attempt, or the dead letters. A handler may set it.
    """

    def __init__(
        self, method: str, error_code: int, description: str, parameters: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(f"{method}: {error_code} {description}")
        self.method = method
        self.error_code = error_code
        self.description = description
        self.parameters: Mapping[str, Any] = parameters or {}
        self.heals = can_heal(error_code, description)


class TransportError(TrioworkersError):
    """The Bot API could not be reached, or answered with something that is not its protocol.

    Whether the call took effect is unknown.

    Attributes:
        method: the method that was called; `download` for a file.
        what: what happened, in words without addresses.
        heals: whether the same may succeed later. A file that the server does not have will not come.
    """

    def __init__(self, method: str, what: str, *, heals: bool = True) -> None:
        super().__init__(f"{method}: {what}")
        self.method = method
        self.what = what
        self.heals = heals


class UndecodableError(TransportError):
    """A successful answer is not JSON, or not JSON that can be decoded.

    Attributes:
        body: what came. It may hold anything, and belongs into no log.
    """

    def __init__(self, method: str, what: str, body: bytes) -> None:
        super().__init__(method, what)
        self.body = body
