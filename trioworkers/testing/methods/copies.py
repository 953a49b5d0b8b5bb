"""The Bot API methods that bring a message of one chat into another."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from trioworkers.testing.answers import bad_request
from trioworkers.testing.methods.messages import place, read_caption, read_keyboard, say
from trioworkers.testing.params import read_integer

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.chats import Message
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

CONTENT = (
    "text",
    "entities",
    "caption",
    "caption_entities",
    "photo",
    "document",
    "video",
    "animation",
    "audio",
    "voice",
    "video_note",
    "sticker",
    "contact",
    "location",
    "venue",
    "dice",
    "poll",
)
"""What can be copied; service messages, invoices, giveaways and paid media cannot (Bot API, copyMessage)."""

NOT_COPIED = ("invoice", "giveaway", "giveaway_winners", "paid_media")
MOST_AT_ONCE = 100


def _can_be_copied(message: Message) -> bool:
    content = any(name in message for name in CONTENT) and not any(name in message for name in NOT_COPIED)
    return content and not message.get("has_protected_content")


def _content(message: Message) -> dict[str, Any]:
    return {name: message[name] for name in CONTENT if name in message}


def _source(world: World, bot: SimBot, params: Params, verb: str) -> Message:
    origin = world.find_chat(bot, params, "from_chat_id")
    message = origin.messages.get(params.integer("message_id"))
    if message is None:
        raise bad_request(f"message to {verb} not found")
    if not _can_be_copied(message):
        past = {"copy": "copied", "forward": "forwarded"}[verb]
        raise bad_request(f"message can't be {past}")
    return message


def copy_message(world: World, bot: SimBot, params: Params) -> object:
    """copyMessage: the content without its origin; answers with the new id only."""
    chat = world.find_chat(bot, params)
    content = _content(_source(world, bot, params, "copy"))
    if "caption" in params:
        content.update(read_caption(params.text("caption")))
    new = say(world, bot, params, chat, {**content, **read_keyboard(params)})
    return {"message_id": new["message_id"]}


def copy_messages(world: World, bot: SimBot, params: Params) -> object:
    """copyMessages: what cannot be found or copied is skipped; albums stay albums."""
    chat = world.find_chat(bot, params)
    listed = params.json("message_ids", "message identifiers")
    if not isinstance(listed, list) or not listed:
        raise bad_request("message identifiers are not specified")
    if len(listed) > MOST_AT_ONCE:
        raise bad_request("too many message identifiers specified")
    ids = [read_integer(one) for one in listed]
    if ids[0] <= 0 or any(later <= earlier for earlier, later in pairwise(ids)):
        raise bad_request("message identifiers must be in a strictly increasing order")
    origin = world.find_chat(bot, params, "from_chat_id")
    found = [origin.messages[id_] for id_ in ids if id_ in origin.messages]
    copied = [message for message in found if _can_be_copied(message)]
    if not copied:
        raise bad_request("there are no messages to forward")
    fields = place(world, bot, params, chat, len(copied))
    groups = {
        message["media_group_id"]: str(world.dice.randrange(10**16, 10**17))
        for message in copied
        if "media_group_id" in message
    }
    made = []
    for message in copied:
        album = message.get("media_group_id")
        group = {} if album is None else {"media_group_id": groups[album]}
        content = {**fields, **group, **_content(message)}
        made.append(chat.add(bot.brief, int(world.clock()), content, by_bot=True))
    return [{"message_id": message["message_id"]} for message in made]


def forward_message(world: World, bot: SimBot, params: Params) -> object:
    """forwardMessage."""
    chat = world.find_chat(bot, params)
    message = _source(world, bot, params, "forward")
    album = {"media_group_id": message["media_group_id"]} if "media_group_id" in message else {}
    origin = {"type": "user", "sender_user": message["from"], "date": message["date"]}
    return say(world, bot, params, chat, {"forward_origin": origin, **album, **_content(message)})
