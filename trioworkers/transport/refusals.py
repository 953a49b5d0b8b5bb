"""What a refusal of getUpdates or of a webhook's methods means. Pure.

The words of reports are our own: a server's may hold anything. The descriptions are those of
https://github.com/tdlib/telegram-bot-api, `Client.cpp` and `ClientManager.cpp`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trioworkers.botapi.errors import BotApiError

REFUSED = (401, 404)  # error codes for a token that is unknown, or malformed
_SERVERS_OWN = "api-id/api-hash"  # 401 as well, but of the server's own registration
_LOGGED_OUT = (
    "the bot is logged out of this Bot API server: it belongs to another server now, "
    "or to none in the 10 minutes after logOut"
)
_MEANINGS = (
    ("logged out", _LOGGED_OUT),
    (_SERVERS_OWN, "the api-id or api-hash of the Bot API server itself is not valid"),
    ("misdirected request", "this Bot API server serves other bots only (its --filter)"),
    ("server error: restart", "the Bot API server restarts"),
    ("bot is closed", "the bot was closed at this Bot API server (close); it opens with its next call"),
)


def is_token_refused(error: BotApiError) -> bool:
    """Whether the server does not know the token, as opposed to any other refusal."""
    return error.error_code in REFUSED and _SERVERS_OWN not in error.description.lower()


def in_words(error: BotApiError) -> str:
    """Return what a refusal means, without a word of the server's."""
    said = error.description.lower()
    for theirs, ours in _MEANINGS:
        if theirs in said:
            return f"{error.error_code}: {ours}"
    return f"HTTP {error.error_code}"
