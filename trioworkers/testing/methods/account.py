"""The Bot API methods of a bot's own account: who it is, its commands, its end on this server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trioworkers.testing.answers import bad_request, too_many_requests

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

LOCK = 600.0  # seconds, Bot API: close and logOut


def get_me(world: World, bot: SimBot, params: Params) -> object:
    """getMe."""
    return bot.me


def close(world: World, bot: SimBot, params: Params) -> object:
    """close: 429 in the first ten minutes after the bot's first call."""
    since = world.clock() - (bot.seen_at if bot.seen_at is not None else world.clock())
    if since < LOCK:
        raise too_many_requests(int(LOCK - since))
    bot.seen_at = None
    return True


def log_out(world: World, bot: SimBot, params: Params) -> object:
    """logOut: every further call is refused for ten minutes."""
    bot.locked_until = world.clock() + LOCK
    return True


def _scope(params: Params) -> str:
    scope = params.json("scope", "BotCommandScope")
    return f"{params.text('language_code')}/{msgspec.json.encode(scope, order='sorted').decode()}"


def set_my_commands(world: World, bot: SimBot, params: Params) -> object:
    """setMyCommands, kept for each scope and language."""
    commands = params.json("commands", "commands")
    if not isinstance(commands, list):
        raise bad_request("expected an Array of BotCommand")
    for command in commands:
        name = str(command.get("command", "")).removeprefix("/") if isinstance(command, dict) else ""
        if not 1 <= len(name) <= 32 or not name.isascii() or not name.replace("_", "a").isalnum():
            raise bad_request("BOT_COMMAND_INVALID")
        if not name.islower() or not str(command.get("description", "")):
            raise bad_request("BOT_COMMAND_INVALID" if not name.islower() else "command description is empty")
    bot.commands[_scope(params)] = commands
    return True


def get_my_commands(world: World, bot: SimBot, params: Params) -> object:
    """getMyCommands."""
    return bot.commands.get(_scope(params), [])
