"""Bots over HTTP: listed, shown, paused, resumed, restarted one by one or all in a rolling way.

What is done is told as `control.action`.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from quart import Blueprint, g

from trioworkers.web.asked import RequestRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from trioworkers.events import Events
    from trioworkers.nursery.bot import BotScope
    from trioworkers.nursery.rolling import RollingRestarts


def bot_routes(
    bots: Callable[[], Mapping[str, BotScope]], restarts: RollingRestarts, events: Events
) -> Blueprint:
    """`/api/bots` and what is below it, and `POST /api/restart`. `bots`: those that there are, by name."""
    routes = Blueprint("bots", __name__, url_prefix="/api")

    @routes.get("/bots")
    async def listed() -> dict[str, Any]:
        return {"bots": [_row(bot) for _, bot in sorted(bots().items())]}

    @routes.get("/bots/<name>")
    async def shown(name: str) -> dict[str, Any]:
        bot = find(name)
        return {**_row(bot), **bot.status()}

    @routes.post("/bots/<name>/pause")
    async def pause(name: str) -> dict[str, Any]:
        return await durably("bots.pause", find(name), find(name).pause)

    @routes.post("/bots/<name>/resume")
    async def resume(name: str) -> dict[str, Any]:
        return await durably("bots.resume", find(name), find(name).resume)

    @routes.post("/bots/<name>/restart")
    async def restart(name: str) -> dict[str, Any]:
        bot = find(name)
        reason: str | None = "cut off: who asked has left, or the daemon stops"
        try:
            reason = await bot.restart()
        finally:
            done("bots.restart", bot, reason)
        if reason is not None:
            raise RequestRefusedError(409, f"{name} has no ready worker: {reason}")
        return _row(bot)

    @routes.post("/restart")
    async def restart_all() -> dict[str, Any]:
        events.emit("control.action", action="restart", by=g.by)
        rolled = await restarts.ask()
        if rolled.refused is not None:
            raise RequestRefusedError(409, rolled.refused)
        return {"replaced": rolled.replaced, "failed": dict(rolled.failed)}

    def find(name: str) -> BotScope:
        try:
            return bots()[name]
        except KeyError:
            near = difflib.get_close_matches(name, bots(), n=1)
            hint = f", did you mean {near[0]}" if near else ""
            raise RequestRefusedError(404, f"this daemon runs no bot of that name{hint}") from None

    async def durably(action: str, bot: BotScope, change: Callable[[], Awaitable[None]]) -> dict[str, Any]:
        try:
            await change()
        except OSError as error:
            reason = f"it could not be made durable: {(error.strerror or 'unknown error').lower()}"
            done(action, bot, reason)
            raise RequestRefusedError(503, f"{reason}; nothing was changed") from None
        done(action, bot, None)
        return _row(bot)

    def done(action: str, bot: BotScope, reason: str | None) -> None:
        level = None if reason is None else "error"
        events.emit("control.action", bot.settings.name, level=level, action=action, by=g.by, reason=reason)

    return routes


def _row(bot: BotScope) -> dict[str, Any]:
    """What a list of bots tells of one; never its `settings`, which may hold secrets of its handler's."""
    settings, status = bot.settings, bot.status()
    return {
        "bot": settings.name,
        "bot_id": settings.bot_id,
        "handler": settings.handler,
        "enabled": settings.enabled,
        "worker": settings.worker,
        **{name: status[name] for name in ("state", "reason", "paused", "pid", "code", "transport")},
    }
