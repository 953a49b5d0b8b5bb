"""Which refusals of Telegram another try may heal: a table, and the function that reads it. Pure.

It is asked about an update whose handler let a refusal through. What heals is handled again; what does not
would be refused again each time, and its chat would wait for nothing.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from trioworkers.botapi.quoted import without_quotes


class Rule(NamedTuple):
    """What becomes of the refusals that it fits.

    Attributes:
        first: the lowest code that it is about.
        last: the highest one.
        words: what the description contains, in lower case; empty: whatever it says.
        heals: whether another try may succeed.
        why: the reason, in words.
        source: where this is known from.
    """

    first: int
    last: int
    words: str
    heals: bool
    why: str
    source: str


API: Final = "https://core.telegram.org/bots/api"
SERVER: Final = "https://github.com/tdlib/telegram-bot-api/blob/master/telegram-bot-api/Client.cpp"
MTPROTO: Final = "https://core.telegram.org/api/errors"
HTTP: Final = "https://www.rfc-editor.org/rfc/rfc9110#section-15.5"

RULES: Final = (
    Rule(
        400,
        400,
        "failed to get http url content",
        heals=True,
        why="the site from which Telegram fetches a file may answer the next time",
        source=f"{SERVER} (WEBPAGE_CURL_FAILED)",
    ),
    Rule(
        400,
        400,
        "webpage_curl_failed",
        heals=True,
        why="the same in the words of some methods",
        source=f"{SERVER} (WEBPAGE_CURL_FAILED)",
    ),
    Rule(
        400,
        400,
        "temporarily unavailable",
        heals=True,
        why="Telegram says itself that it passes",
        source=f"{SERVER} (getFile: wrong file_id or the file is temporarily unavailable)",
    ),
    Rule(
        400,
        400,
        "logged out",
        heals=True,
        why="the bot was logged out of this server: the update is not to blame, and may be answered later",
        source=f"{API}#logout",
    ),
    Rule(
        400,
        400,
        "",
        heals=False,
        why="the call is wrong as it is: what it names does not exist, is too old, or cannot be read",
        source=f"{MTPROTO}#400-bad-request",
    ),
    Rule(
        401,
        401,
        "",
        heals=True,
        why="the token is refused: the bot is to blame, not the update, until it has another token",
        source=f"{MTPROTO}#401-unauthorized",
    ),
    Rule(
        403,
        403,
        "",
        heals=False,
        why="the user has blocked the bot, or it was removed: a later answer would not arrive either",
        source=f"{MTPROTO}#403-forbidden",
    ),
    Rule(
        404,
        404,
        "",
        heals=False,
        why="there is no such method or chat, and it is not there at the next try either",
        source=f"{MTPROTO}#404-not-found",
    ),
    Rule(408, 408, "", heals=True, why="the request took too long", source=f"{HTTP}.9"),
    Rule(
        409,
        409,
        "",
        heals=True,
        why="another program uses the token at this moment",
        source=f"{SERVER} (Conflict: terminated by …)",
    ),
    Rule(420, 420, "", heals=True, why="a flood wait, which passes", source=f"{MTPROTO}#420-flood"),
    Rule(
        425,
        425,
        "",
        heals=True,
        why="too early, by its name",
        source="https://www.rfc-editor.org/rfc/rfc8470",
    ),
    Rule(429, 429, "", heals=True, why="Telegram names the wait", source=f"{API}#responseparameters"),
    Rule(400, 499, "", heals=False, why="the request is at fault", source=HTTP),
)
"""The first rule that fits counts. What none fits (5xx, and codes that are no HTTP status) may heal."""


def can_heal(error_code: int, description: str) -> bool:
    """Whether the same call may succeed later.

    Args:
        error_code: as Telegram's answer has it.
        description: likewise.
    """
    said = without_quotes(description).lower()  # what a user wrote decides nothing
    for rule in RULES:
        if rule.first <= error_code <= rule.last and rule.words in said:
            return rule.heals
    return True
