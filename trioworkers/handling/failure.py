"""A failure of a bot's own code, as the bot's own log shows it: in words, with a traceback without values."""

from __future__ import annotations

import linecache
import traceback

from trioworkers.botapi.errors import BotApiError, TransportError
from trioworkers.botapi.quoted import without_quotes
from trioworkers.errors import describe, is_ours, is_own, leaves, own_place_of, place_in

METHOD = 200  # characters of a method's name, which a handler may have made up
MOST_LINES = 30  # of a traceback; of more, those in the middle are left out
MOST_CAUSES = 5  # exceptions that led to it
SOURCE_LENGTH = 120  # characters of a line of source
LED_TO = "which led to"


def failure_fields(error: BaseException) -> dict[str, str]:
    """The fields `error` and `traceback` of a line about an exception; the second is of several lines, and
    left out where no code of the bot took part.

    Neither has what the exception says, which may quote a user. Of a refusal there is Telegram's description,
    without what that quotes.
    """
    passed = traceback_of(error)
    return {"error": in_words(error), **({"traceback": passed} if passed else {})}


def in_words(error: BaseException) -> str:
    """An exception by type and place; a refusal by what Telegram said, others of calls by what failed."""
    first = leaves(error)[0]
    if isinstance(first, BotApiError):
        said = f"{first.method[:METHOD]}: {first.error_code} {without_quotes(first.description)}"
        return said + own_place_of(error)
    if isinstance(first, TransportError):
        return f"TransportError {first.method[:METHOD]}: {first.what}{own_place_of(error)}"
    return describe(error)


def traceback_of(error: BaseException) -> str:
    """The lines of code that an exception passed, outermost first, from the bot's own code on.

    The bot's own lines are shown with their source; ours and Trio's are left out. What led to the exception
    stands before it, as Python shows it. There is no exception's message, and no value.
    """
    parts: list[str] = []
    seen: set[int] = set()
    first: BaseException | None = leaves(error)[0]
    while first is not None and id(first) not in seen and len(parts) < MOST_CAUSES:
        seen.add(id(first))
        parts.append("\n".join([*_lines(first), *([in_words(first), LED_TO] if parts else [])]))
        first = first.__cause__ or (None if first.__suppress_context__ else first.__context__)
    linecache.clearcache()  # a worker keeps no sources
    return "\n".join(part for part in reversed(parts) if part)


def _lines(error: BaseException) -> list[str]:
    passed = [(frame.f_code, number) for frame, number in traceback.walk_tb(error.__traceback__)]
    found = [(code, number) for code, number in passed if not is_ours(code.co_filename)]
    begin = next((place for place, (code, _) in enumerate(found) if is_own(code.co_filename)), 0)
    lines = []
    for code, number in found[begin:]:
        source = linecache.getline(code.co_filename, number or 0).strip() if is_own(code.co_filename) else ""
        lines.append(place_in(code, number) + (f": {source[:SOURCE_LENGTH]}" if source else ""))
    if len(lines) > MOST_LINES:
        half = MOST_LINES // 2
        lines[half:-half] = [f"… {len(lines) - 2 * half} lines"]
    return lines
