"""The Bot API methods that bring messages of one chat into another."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from trioworkers.testing.answers import bad_request
from trioworkers.testing.methods.media import CAPTIONED, read_params
from trioworkers.testing.methods.messages import read_message_ids
from trioworkers.testing.methods.reading import place, read_caption, read_keyboard, say

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.chats import Message
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

CONTENT = (
    "text",
    "entities",
    "link_preview_options",
    "rich_message",
    "caption",
    "caption_entities",
    "show_caption_above_media",
    "has_media_spoiler",
    "photo",
    "live_photo",
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
    "game",
)
"""What can be copied; service messages, invoices, giveaways and paid media cannot (Bot API, copyMessage)."""

NOT_COPIED = ("invoice", "giveaway", "giveaway_winners", "paid_media")


def _can_be_copied(message: Message) -> bool:
    content = any(name in message for name in CONTENT) and not any(name in message for name in NOT_COPIED)
    return content and not message.get("has_protected_content")


def _can_be_forwarded(message: Message) -> bool:
    content = any(name in message for name in (*CONTENT, *NOT_COPIED))
    return content and not message.get("has_protected_content")


def _content(message: Message) -> dict[str, Any]:
    return {name: message[name] for name in CONTENT if name in message}


def _without_caption(content: dict[str, Any]) -> dict[str, Any]:
    gone = ("caption", "caption_entities", "show_caption_above_media")
    return {name: value for name, value in content.items() if name not in gone}


def _origin(message: Message) -> dict[str, Any]:
    """The fields of a forward that say whose message it was; a forward of a forward names the first."""
    origin = message.get("forward_origin") or {
        "type": "user",
        "sender_user": message["from"],
        "date": message["date"],
    }
    passed = {name: message[name] for name in (*NOT_COPIED,) if name in message}
    return {"forward_origin": origin, **passed}


def _source(world: World, bot: SimBot, params: Params, verb: str) -> Message:
    origin = world.find_chat(bot, params, "from_chat_id")
    message = origin.messages.get(params.integer("message_id"))
    if message is None:
        raise bad_request(f"message to {verb} not found")
    if not (_can_be_copied if verb == "copy" else _can_be_forwarded)(message):
        past = {"copy": "copied", "forward": "forwarded"}[verb]
        raise bad_request(f"message can't be {past}")
    return message


def copy_message(world: World, bot: SimBot, params: Params) -> object:
    """copyMessage: the content without its origin; answers with the new id only."""
    chat = world.find_chat(bot, params)
    content = _content(_source(world, bot, params, "copy"))
    if "caption" in params and any(kind in content for kind in CAPTIONED):
        content = {**_without_caption(content), **read_caption(world, read_params(params))}
    new = say(world, bot, params, chat, {**content, **read_keyboard(params, chat)})
    return {"message_id": new["message_id"]}


def forward_message(world: World, bot: SimBot, params: Params) -> object:
    """forwardMessage."""
    chat = world.find_chat(bot, params)
    message = _source(world, bot, params, "forward")
    album = {"media_group_id": message["media_group_id"]} if "media_group_id" in message else {}
    return say(world, bot, params, chat, {**_origin(message), **album, **_content(message)})


def copy_messages(world: World, bot: SimBot, params: Params) -> object:
    """copyMessages: what cannot be found or copied is skipped; albums stay albums."""
    return _bring_many(world, bot, params, forward=False)


def forward_messages(world: World, bot: SimBot, params: Params) -> object:
    """forwardMessages: what cannot be found or forwarded is skipped; albums stay albums."""
    return _bring_many(world, bot, params, forward=True)


def _bring_many(world: World, bot: SimBot, params: Params, *, forward: bool) -> list[dict[str, int]]:
    chat = world.find_chat(bot, params)
    ids = read_message_ids(params)
    if any(later <= earlier for earlier, later in pairwise(ids)):
        raise bad_request("message identifiers must be in a strictly increasing order")
    origin = world.find_chat(bot, params, "from_chat_id")
    found = [origin.messages[id_] for id_ in ids if id_ in origin.messages]
    brought = [message for message in found if (_can_be_forwarded if forward else _can_be_copied)(message)]
    if not brought:
        raise bad_request("there are no messages to forward")
    fields = place(world, bot, params, chat, len(brought))
    if params.flag("protect_content"):
        fields["has_protected_content"] = True
    groups = {
        message["media_group_id"]: str(world.dice.randrange(10**16, 10**17))
        for message in brought
        if "media_group_id" in message
    }
    made = []
    for message in brought:
        album = message.get("media_group_id")
        group = {} if album is None else {"media_group_id": groups[album]}
        content = _content(message)
        if params.flag("remove_caption"):
            content = _without_caption(content)
        whose = _origin(message) if forward else {}
        everything = {**fields, **whose, **group, **content}
        made.append(chat.add(bot.brief, int(world.clock()), everything, by_bot=True))
    return [{"message_id": message["message_id"]} for message in made]
