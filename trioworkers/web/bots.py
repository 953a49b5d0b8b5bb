"""Bots over HTTP: listed, paused, resumed, restarted one by one or all in a rolling way.

What is done is told as `control.action`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quart import Blueprint

from trioworkers.botapi.errors import BotApiError, TransportError
from trioworkers.described import Description, described
from trioworkers.nearest import nearest
from trioworkers.shortage import words_of
from trioworkers.web.acts import emit_action
from trioworkers.web.answers import BotList, BotRow, PendingDropped, Restarted
from trioworkers.web.asked import RequestRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from trioworkers.events import Events
    from trioworkers.nursery.bot import BotScope
    from trioworkers.nursery.rolling import RollingRestarts
    from trioworkers.web.peers import Peers

NO_BOT = {404: "this daemon runs no bot of that name"}
NOT_DURABLE = {503: "it could not be made durable, and nothing was changed"}


def bot_routes(
    bots: Callable[[], Mapping[str, BotScope]],
    restarts: RollingRestarts,
    events: Events,
    peers: Peers | None = None,
) -> Blueprint:
    """`/api/bots` and what is below it, and `POST /api/restart`. `bots`: those that there are, by name."""
    routes = Blueprint("bots", __name__, url_prefix="/api")

    @routes.get("/bots")
    @described(Description("List the bots", BotList))
    async def listed() -> dict[str, Any]:
        own = {"bots": [bot_row(bot) for _, bot in sorted(bots().items())]}
        return own if peers is None else await peers.with_all(own, "bots")

    @routes.post("/bots/<name>/pause")
    @described(Description("Handle none of a bot's updates", BotRow, refusals=NO_BOT | NOT_DURABLE))
    async def pause(name: str) -> dict[str, Any]:
        return await durably("bots.pause", find(name), find(name).pause)

    @routes.post("/bots/<name>/resume")
    @described(Description("Handle a paused bot's updates again", BotRow, refusals=NO_BOT | NOT_DURABLE))
    async def resume(name: str) -> dict[str, Any]:
        return await durably("bots.resume", find(name), find(name).resume)

    @routes.post("/bots/<name>/restart")
    @described(
        Description(
            "Replace a bot's worker", BotRow, refusals={**NO_BOT, 409: "there is no ready worker now"}
        )
    )
    async def restart(name: str) -> dict[str, Any]:
        bot = find(name)
        reason: str | None = "cut off: who asked has left, or the daemon stops"
        try:
            reason = await bot.restart()
        finally:
            done("bots.restart", bot, reason)
        if reason is not None:
            raise RequestRefusedError(409, f"{name} has no ready worker: {reason}")
        return bot_row(bot)

    @routes.post("/bots/<name>/drop-pending")
    @described(
        Description(
            "Drop the updates that wait for a bot at Telegram",
            PendingDropped,
            refusals={**NO_BOT, 409: "Telegram refused it, or was not reached"},
        )
    )
    async def drop_pending(name: str) -> dict[str, Any]:
        bot = find(name)
        reason: str | None = "cut off: who asked has left, or the daemon stops"
        try:
            dropped = await bot.drop_pending()
            reason = None
        except BotApiError as error:
            reason = f"Telegram refused {error.method}: {error.error_code}"
        except TransportError as error:
            reason = f"{error.method}: {error.what}"
        finally:
            done("bots.drop_pending", bot, reason)
        if reason is not None:
            raise RequestRefusedError(409, reason)
        return {"dropped": dropped}

    @routes.post("/restart")
    @described(
        Description(
            "Replace all workers, one after another", Restarted, refusals={409: "nothing was replaced"}
        )
    )
    async def restart_all() -> dict[str, Any]:
        emit_action(events, "restart")
        rolled = await restarts.ask()
        if rolled.refused is not None:
            raise RequestRefusedError(409, rolled.refused)
        return {"replaced": rolled.replaced, "failed": dict(rolled.failed)}

    def find(name: str) -> BotScope:
        return find_bot(bots(), name)

    async def durably(action: str, bot: BotScope, change: Callable[[], Awaitable[None]]) -> dict[str, Any]:
        try:
            await change()
        except OSError as error:
            reason = f"it could not be made durable: {words_of(error)}"
            done(action, bot, reason)
            raise RequestRefusedError(503, f"{reason}; nothing was changed") from None
        done(action, bot, None)
        return bot_row(bot)

    def done(action: str, bot: BotScope, reason: str | None) -> None:
        level = None if reason is None else "error"
        emit_action(events, action, bot.settings.name, level=level, reason=reason)

    return routes


def find_bot(bots: Mapping[str, BotScope], name: str) -> BotScope:
    """The bot of that name.

    Raises:
        RefusedError: 404, there is none.
    """
    try:
        return bots[name]
    except KeyError:
        near = nearest(name, bots)
        hint = f", did you mean {near}" if near else ""
        raise RequestRefusedError(404, f"this daemon runs no bot of that name{hint}") from None


def bot_row(bot: BotScope) -> dict[str, Any]:
    """What a list of bots tells of one; never its `settings`, which may hold secrets of its handler's."""
    settings, status = bot.settings, bot.status()
    return {
        "bot": settings.name,
        "bot_id": settings.bot_id,
        "handler": settings.handler,
        "command": None if settings.command is None else list(settings.command),
        "enabled": settings.enabled,
        "worker": settings.worker,
        **{name: status[name] for name in ("state", "reason", "paused", "pid", "code", "transport")},
    }
