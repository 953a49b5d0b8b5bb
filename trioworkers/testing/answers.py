"""What the Bot API answers: results as they are, refusals in Telegram's own words.

Refusals are raised deep inside the world and become a body at one place, :func:`encode_refusal`.
The words are those that clients match on, read from tdlib/telegram-bot-api `Client.cpp`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

_encode = msgspec.json.Encoder().encode


class Refused(Exception):
    """A call was refused; what is raised here is what the client reads.

    Attributes:
        error_code: also the HTTP status.
        description: Telegram's words, with their `Bad Request: ` or the like.
        parameters: `retry_after` (seconds) or `migrate_to_chat_id`; empty when Telegram sends none.
    """

    def __init__(
        self, error_code: int, description: str, parameters: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(f"{error_code} {description}")
        self.error_code = error_code
        self.description = description
        self.parameters: Mapping[str, Any] = parameters or {}


@dataclass(frozen=True, slots=True)
class Described:
    """A result that comes with a `description` beside it."""

    result: object
    description: str


def bad_request(what: str, **parameters: Any) -> Refused:
    """A 400 with `Bad Request: ` before what is wrong."""
    return Refused(400, f"Bad Request: {what}", parameters)


def forbidden(what: str) -> Refused:
    """A 403 with `Forbidden: ` before the reason."""
    return Refused(403, f"Forbidden: {what}")


def conflict(what: str) -> Refused:
    """A 409 with `Conflict: ` before the reason."""
    return Refused(409, f"Conflict: {what}")


def too_many_requests(retry_after: int) -> Refused:
    """A 429; `retry_after` is whole seconds and goes into the body and a header."""
    return Refused(429, f"Too Many Requests: retry after {retry_after}", {"retry_after": retry_after})


def not_found() -> Refused:
    """A 404: a path in which no token can be read, or a file that is not there."""
    return Refused(404, "Not Found")


def method_not_found() -> Refused:
    """A 404: the token is a bot's, and there is no such method."""
    return Refused(404, "Not Found: method not found")


def unauthorized() -> Refused:
    """A 401: a token that could be one and is not, or no longer."""
    return Refused(401, "Unauthorized")


def encode_result(result: object, description: str | None = None) -> bytes:
    """The body of a success; a `description` accompanies some results (setWebhook)."""
    tail = b"}" if description is None else b',"description":' + _encode(description) + b"}"
    return b'{"ok":true,"result":' + _encode(result) + tail


def encode_refusal(refused: Refused) -> bytes:
    """The body of a refusal."""
    body: dict[str, Any] = {
        "ok": False,
        "error_code": refused.error_code,
        "description": refused.description,
    }
    if refused.parameters:
        body["parameters"] = refused.parameters
    return _encode(body)
