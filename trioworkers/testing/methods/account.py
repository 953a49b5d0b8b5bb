"""The Bot API methods of a bot's own account: who it is, its commands, its end on this server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trioworkers.testing.answers import bad_request, too_many_requests
from trioworkers.testing.markup.links import BadLink, check_link
from trioworkers.testing.memberships import ALL_RIGHTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

    Run = Callable[[World, SimBot, Params], object]

MOST_COMMANDS = 100
DESCRIPTION_LIMIT = 256  # characters of a command's description
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


def _scope(world: World, bot: SimBot, params: Params) -> str:
    scope = params.json("scope", "BotCommandScope") or {"type": "default"}
    if "chat_id" in scope:
        chat = world.chat_of(bot, scope["chat_id"])
        if chat.kind == "private" and scope["type"] != "chat":
            raise bad_request("can't parse BotCommandScope: private chats have no members")
        scope = {**scope, "chat_id": chat.id}
    language = params.text("language_code")
    if language and not (len(language) == 2 and language.isascii() and language.islower()):
        raise bad_request("invalid language code specified")
    return f"{language}/{msgspec.json.encode(scope, order='sorted').decode()}"


def set_my_commands(world: World, bot: SimBot, params: Params) -> object:
    """setMyCommands, kept for each scope and language."""
    commands = params.json("commands", "commands")
    if len(commands) > MOST_COMMANDS:
        raise bad_request("BOT_COMMANDS_TOO_MUCH")
    kept = []
    for command in commands:
        name, description = str(command["command"]).removeprefix("/"), str(command["description"]).strip()
        if not 1 <= len(name) <= 32 or not name.isascii() or not name.replace("_", "a").isalnum():
            raise bad_request("BOT_COMMAND_INVALID")
        if not name.islower():
            raise bad_request("BOT_COMMAND_INVALID")
        if not description:
            raise bad_request("command description is empty")
        if len(description) > DESCRIPTION_LIMIT:
            raise bad_request("BOT_COMMAND_DESCRIPTION_INVALID")
        kept.append({"command": name, "description": description})
    bot.commands[_scope(world, bot, params)] = kept
    return True


def delete_my_commands(world: World, bot: SimBot, params: Params) -> object:
    """deleteMyCommands, of one scope and language."""
    bot.commands.pop(_scope(world, bot, params), None)
    return True


def get_my_commands(world: World, bot: SimBot, params: Params) -> object:
    """getMyCommands."""
    return bot.commands.get(_scope(world, bot, params), [])


def profile_setter(name: str, limit: int) -> Run:
    """The method that sets the bot's name or one of its descriptions, by language; "" takes it away."""

    def set_text(world: World, bot: SimBot, params: Params) -> object:
        text = params.text(name)
        if len(text) > limit:
            raise bad_request(f"BOT_{name.upper()}_TOO_LONG")
        bot.profile[name, params.text("language_code")] = text
        if not text:
            del bot.profile[name, params.text("language_code")]
        return True

    return set_text


def profile_getter(name: str) -> Run:
    """The method that tells the bot's name or a description, in a language or in none."""

    def get_text(world: World, bot: SimBot, params: Params) -> object:
        fallback = bot.profile.get((name, ""), bot.brief["first_name"] if name == "name" else "")
        return {name: bot.profile.get((name, params.text("language_code")), fallback)}

    return get_text


def set_chat_menu_button(world: World, bot: SimBot, params: Params) -> object:
    """setChatMenuButton: of one private chat, or of all that have none of their own."""
    button = params.json("menu_button", "menu button") or {"type": "default"}
    if button["type"] == "web_app":
        try:
            check_link(str(button["web_app"]["url"]), https_only=True)
        except BadLink as error:
            raise bad_request(f"menu button Web App {error}") from None
    bot.menu_buttons[_private_chat(world, bot, params)] = button
    return True


def get_chat_menu_button(world: World, bot: SimBot, params: Params) -> object:
    """getChatMenuButton."""
    chat_id = _private_chat(world, bot, params)
    return bot.menu_buttons.get(chat_id) or bot.menu_buttons.get(0) or {"type": "commands"}


def _private_chat(world: World, bot: SimBot, params: Params) -> int:
    if "chat_id" not in params:
        return 0
    chat = world.find_chat(bot, params)
    if chat.kind != "private":
        raise bad_request("invalid chat_id specified")
    return chat.id


def set_my_default_administrator_rights(world: World, bot: SimBot, params: Params) -> object:
    """setMyDefaultAdministratorRights; without any they are cleared."""
    rights = params.json("rights", "rights") or {}
    bot.default_rights[params.flag("for_channels")] = frozenset(
        name for name, value in rights.items() if value
    )
    return True


def get_my_default_administrator_rights(world: World, bot: SimBot, params: Params) -> object:
    """getMyDefaultAdministratorRights."""
    channels = params.flag("for_channels")
    rights = bot.default_rights.get(channels, frozenset())
    return {name: name in rights for name in ("is_anonymous", *ALL_RIGHTS)}


def get_user_profile_photos(world: World, bot: SimBot, params: Params) -> object:
    """getUserProfilePhotos: nobody has any here."""
    if world.account(params.integer("user_id")) is None:
        raise bad_request("user not found")
    return {"total_count": 0, "photos": []}
