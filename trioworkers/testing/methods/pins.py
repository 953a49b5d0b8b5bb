"""The Bot API methods that pin messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers.testing.answers import bad_request
from trioworkers.testing.methods.reading import check_right, find_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.chats import Chat, Message
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

NO_RIGHT = "not enough rights to manage pinned messages in the chat"


def _chat(world: World, bot: SimBot, params: Params) -> Chat:
    chat = world.find_chat(bot, params)
    chat.check_write(bot)
    if chat.kind != "private":
        check_right(chat, bot, "can_pin_messages", NO_RIGHT)
    return chat


def pin_chat_message(world: World, bot: SimBot, params: Params) -> object:
    """pinChatMessage: getChat shows the newest; a service message tells of it."""
    chat = _chat(world, bot, params)
    message = find_message(chat, params, "message to pin")
    message_id = message["message_id"]
    if message_id in chat.pinned:
        chat.pinned.remove(message_id)
    chat.pinned.append(message_id)
    chat.add(bot.brief, int(world.clock()), {"pinned_message": message}, by_bot=False)
    return True


def unpin_chat_message(world: World, bot: SimBot, params: Params) -> object:
    """unpinChatMessage: without an id the newest one."""
    chat = _chat(world, bot, params)
    if params.integer("message_id"):
        message_id = find_message(chat, params, "message to unpin")["message_id"]
        if message_id in chat.pinned:
            chat.pinned.remove(message_id)
    elif chat.pinned:
        chat.pinned.pop()
    else:
        raise bad_request("message to unpin not found")
    return True


def _unpin(world: World, bot: SimBot, params: Params, which: Callable[[Message], bool]) -> bool:
    chat = _chat(world, bot, params)
    chat.pinned = [one for one in chat.pinned if not which(chat.messages[one])]
    return True


def unpin_all_chat_messages(world: World, bot: SimBot, params: Params) -> object:
    """unpinAllChatMessages."""
    return _unpin(world, bot, params, lambda message: True)


def unpin_all_forum_topic_messages(world: World, bot: SimBot, params: Params) -> object:
    """unpinAllForumTopicMessages: of one topic."""
    thread_id = params.integer("message_thread_id")
    topic = world.find_chat(bot, params).topics.get(thread_id)
    if topic is None or topic.deleted:
        raise bad_request("TOPIC_ID_INVALID")
    return _unpin(world, bot, params, lambda message: message.get("message_thread_id") == thread_id)


def unpin_all_general_forum_topic_messages(world: World, bot: SimBot, params: Params) -> object:
    """unpinAllGeneralForumTopicMessages: of the general topic."""
    return _unpin(world, bot, params, lambda message: "message_thread_id" not in message)
