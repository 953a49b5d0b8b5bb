"""The Bot API methods that send texts and drafts, and those that delete messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers.testing.answers import bad_request
from trioworkers.testing.methods.reading import find_message, format_text, read_keyboard, read_text, say
from trioworkers.testing.params import read_integer

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.chats import Chat, Message
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

MOST_AT_ONCE = 100
DELETABLE = 48 * 3600.0  # seconds, Bot API: deleteMessage
DRAFT_LIMIT = 4096  # UTF-16 units


def send_message(world: World, bot: SimBot, params: Params) -> object:
    """sendMessage."""
    content = read_text(world, params)
    chat = world.find_chat(bot, params)
    if "reply_markup" in params.values:
        content.update(read_keyboard(params, chat))
    return say(world, bot, params, chat, content)


def send_message_draft(world: World, bot: SimBot, params: Params) -> object:
    """sendMessageDraft: the text is shown until a message is sent; `world.drafts` has the last one."""
    chat = world.find_chat(bot, params)
    if chat.kind != "private":
        raise bad_request("drafts can be sent to private chats only")
    chat.check_write(bot)
    if not params.integer("draft_id"):
        raise bad_request("draft identifier must be non-zero")
    text, _ = format_text(
        world, params.text("text"), params.text("parse_mode"), params.json("entities", "entities")
    )
    if len(text) > DRAFT_LIMIT:
        raise bad_request("message is too long")
    world.drafts[bot.id, chat.id] = text
    return True


def read_message_ids(params: Params) -> list[int]:
    """The `message_ids` of a call.

    Raises:
        Refused: it is not a list of 1-100 ids.
    """
    listed = params.json("message_ids", "message_ids")
    if not isinstance(listed, list):
        raise bad_request("expected an Array of message identifiers")
    if len(listed) > MOST_AT_ONCE:
        raise bad_request("too many message identifiers specified")
    if not listed:
        raise bad_request("message identifiers are not specified")
    ids: list[int] = []
    for one in listed:
        if isinstance(one, bool) or not isinstance(one, (int, str)):
            raise bad_request("message identifier must be a Number")
        if isinstance(one, str) and not one.strip().lstrip("-").isdigit():
            raise bad_request("can't parse message identifier as Number")
        ids.append(read_integer(one))
        if ids[-1] <= 0:
            raise bad_request("invalid message identifier specified")
    return ids


def _may_delete(world: World, bot: SimBot, chat: Chat, message: Message) -> bool:
    if world.clock() > message["date"] + DELETABLE:
        return False
    own = message["from"]["id"] == bot.id or chat.kind == "private"
    return own or chat.members[bot.id].may("can_delete_messages")


def delete_message(world: World, bot: SimBot, params: Params) -> object:
    """deleteMessage: own ones, any in a private chat, others' with the right to; none older than 48 hours."""
    chat = world.find_chat(bot, params)
    message = find_message(chat, params, "message to delete")
    if not _may_delete(world, bot, chat, message):
        raise bad_request("message can't be deleted")
    chat.delete(message["message_id"])
    return True


def delete_messages(world: World, bot: SimBot, params: Params) -> object:
    """deleteMessages: those that are not there are skipped; one that may not be deleted fails the call."""
    chat = world.find_chat(bot, params)
    found = [chat.messages[one] for one in read_message_ids(params) if one in chat.messages]
    if not all(_may_delete(world, bot, chat, message) for message in found):
        raise bad_request("message can't be deleted")
    for message in found:
        chat.delete(message["message_id"])
    return True
