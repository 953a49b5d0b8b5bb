"""Local tokens: what a program knows its bot by. Each is for one start of one process."""

from __future__ import annotations

import hmac
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

Owner = TypeVar("Owner")

SECRET_BYTES = 32


def make_token(bot_id: int) -> str:
    """Return a new one: the bot's id, which libraries read out of it, and 256 random bits."""
    return f"{bot_id}:{secrets.token_urlsafe(SECRET_BYTES)}"


class Tokens(Generic[Owner]):
    """Whose token is whose, as long as a process lives: one that was left behind is nobody any more."""

    def __init__(self) -> None:
        self._owners: dict[bytes, dict[bytes, Owner]] = {}  # by bot id, which is no secret, and token

    @contextmanager
    def known(self, token: str, owner: Owner) -> Iterator[None]:
        """Inside, the token is this owner's."""
        whole = token.encode()
        bot_id = whole.partition(b":")[0]
        tokens = self._owners.setdefault(bot_id, {})
        tokens[whole] = owner
        try:
            yield
        finally:
            if tokens.get(whole) is owner:  # the bot's own token is that of its next process, too
                del tokens[whole]
            if not tokens:
                self._owners.pop(bot_id, None)

    def find(self, token: bytes) -> Owner | None:
        """Return the owner of a token, in a time that says nothing of how much of it was right."""
        found: Owner | None = None
        for known, owner in self._owners.get(token.partition(b":")[0], {}).items():
            if hmac.compare_digest(known, token):
                found = owner
        return found
