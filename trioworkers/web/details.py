"""One bot in detail: `GET /api/bots/<name>` and its log.

Settings are shown without secrets: its token is masked, and of the handler's own settings only the names and
kinds are told, since nobody but the handler knows which of them are secret. The log is what the bot wrote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from pydantic import Field
from quart import Blueprint

from trioworkers.described import Description, described
from trioworkers.logs.page import PlaceError, last_lines, lines_after
from trioworkers.shortage import in_thread, words_of
from trioworkers.web.answers import BotDetails, LogLines
from trioworkers.web.asked import Asked, RequestRefusedError, read_query
from trioworkers.web.bots import NO_BOT, bot_row, find_bot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trioworkers.config import BotSettings, Fleet
    from trioworkers.logs.page import LogPage
    from trioworkers.nursery.bot import BotScope

MOST_LINES = 1000
READERS = 2  # logs that are read at the same time, in threads: they may have some ten megabytes
_KINDS = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    tuple: "a list",
}


class LogAsked(Asked):
    """The query of `GET /api/bots/<name>/log`."""

    lines: int = Field(200, ge=1, le=MOST_LINES, description=f"a number from 1 to {MOST_LINES}")
    after: str | None = Field(None, max_length=50, description="the next of an earlier page")


def detail_routes(bots: Callable[[], Mapping[str, BotScope]], fleet: Callable[[], Fleet]) -> Blueprint:
    """`GET /api/bots/<name>` and `GET /api/bots/<name>/log`. `fleet`: the one in force."""
    routes = Blueprint("details", __name__, url_prefix="/api")
    readers = trio.CapacityLimiter(READERS)

    @routes.get("/bots/<name>")
    @described(Description("Show a bot, and its settings without secrets", BotDetails, refusals=NO_BOT))
    async def shown(name: str) -> dict[str, Any]:
        bot = find_bot(bots(), name)
        return {
            **bot_row(bot),
            **bot.status(),
            "settings": shown_settings(bot.settings),
            "origin": str(fleet().origin(name)),
        }

    @routes.get("/bots/<name>/log")
    @described(
        Description(
            "The last lines of a bot's log, or those after an earlier page",
            LogLines,
            query=LogAsked,
            refusals={**NO_BOT, 503: "the log cannot be read"},
        )
    )
    async def log(name: str) -> dict[str, Any]:
        path = find_bot(bots(), name).log_path
        asked = read_query(LogAsked)

        def read() -> LogPage:
            if asked.after is None:
                return last_lines(path, asked.lines)
            return lines_after(path, asked.after, asked.lines)

        try:
            page = await in_thread(read, limiter=readers)
        except PlaceError as error:
            raise RequestRefusedError(400, f"after: {error}") from None
        except OSError as error:
            reason = words_of(error)
            raise RequestRefusedError(503, f"the log cannot be read: {reason}") from None
        return {
            "lines": list(page.lines),
            "next": page.next,
            "skipped": page.skipped,
            "missed": page.missed,
        }

    return routes


def shown_settings(settings: BotSettings) -> dict[str, Any]:
    """The settings of a bot as everybody with the API's token may see them."""
    shown: dict[str, Any] = settings.model_dump(mode="json", exclude={"name", "settings"})
    shown["settings"] = {name: _kind(value) for name, value in settings.settings.items()}
    shown["environment"] = {name: _kind(value) for name, value in settings.environment.items()}
    return shown


def _kind(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _kind(one) for name, one in value.items()}
    return _KINDS.get(type(value), "a value")
