"""The Bot API methods of forum topics, and the rights that they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers.testing.answers import bad_request
from trioworkers.testing.chats import Topic
from trioworkers.testing.methods.reading import check_right

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.chats import Chat
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

NAME_LIMIT = 128  # characters
ICON_COLORS = frozenset({0x6FB9F0, 0xFFD67E, 0xCB86DB, 0x8EEE98, 0xFF93B2, 0xFB6F5F})
GENERAL = "general_forum_topic"


def _forum(world: World, bot: SimBot, params: Params, verb: str) -> Chat:
    chat = world.find_chat(bot, params)
    if chat.kind != "supergroup" or not chat.forum:
        raise bad_request("the chat is not a forum")
    check_right(chat, bot, "can_manage_topics", f"not enough rights to {verb} a topic")
    return chat


def _topic(chat: Chat, params: Params) -> Topic:
    thread_id = params.integer("message_thread_id")
    if thread_id <= 0:
        raise bad_request("invalid message thread identifier specified")
    topic = chat.topics.get(thread_id)
    if topic is None or topic.deleted:
        raise bad_request("TOPIC_ID_INVALID")
    return topic


def _name(params: Params) -> str:
    name = params.text("name").strip()
    if not name:
        raise bad_request("title must be non-empty")
    return name[:NAME_LIMIT]


def _tell(world: World, bot: SimBot, chat: Chat, topic: Topic, kind: str, **content: object) -> None:
    place = {"message_thread_id": topic.thread_id, "is_topic_message": True, kind: content}
    chat.add(bot.brief, int(world.clock()), place, by_bot=False)


def create_forum_topic(world: World, bot: SimBot, params: Params) -> object:
    """createForumTopic; a topic's id is that of the service message that opens it."""
    chat = _forum(world, bot, params, "create")
    topic = Topic(chat.last_message_id + 1, _name(params))
    topic.icon_color = params.integer("icon_color", topic.icon_color)
    if topic.icon_color not in ICON_COLORS:
        raise bad_request("invalid icon color specified")
    topic.icon_custom_emoji_id = params.text("icon_custom_emoji_id")
    chat.topics[topic.thread_id] = topic
    _tell(world, bot, chat, topic, "forum_topic_created", name=topic.name, icon_color=topic.icon_color)
    return {"message_thread_id": topic.thread_id, "name": topic.name, "icon_color": topic.icon_color}


def edit_forum_topic(world: World, bot: SimBot, params: Params) -> object:
    """editForumTopic."""
    chat = _forum(world, bot, params, "edit")
    topic = _topic(chat, params)
    name = _name(params) if "name" in params else topic.name
    icon = (
        params.text("icon_custom_emoji_id")
        if "icon_custom_emoji_id" in params
        else topic.icon_custom_emoji_id
    )
    if (name, icon) == (topic.name, topic.icon_custom_emoji_id):
        raise bad_request("TOPIC_NOT_MODIFIED")
    topic.name, topic.icon_custom_emoji_id = name, icon
    _tell(world, bot, chat, topic, "forum_topic_edited", name=name)
    return True


def _set_closed(world: World, bot: SimBot, params: Params, closed: bool) -> bool:
    chat = _forum(world, bot, params, "close" if closed else "reopen")
    topic = _topic(chat, params)
    if topic.closed == closed:
        raise bad_request("TOPIC_NOT_MODIFIED")
    topic.closed = closed
    _tell(world, bot, chat, topic, "forum_topic_closed" if closed else "forum_topic_reopened")
    return True


def close_forum_topic(world: World, bot: SimBot, params: Params) -> object:
    """closeForumTopic."""
    return _set_closed(world, bot, params, True)


def reopen_forum_topic(world: World, bot: SimBot, params: Params) -> object:
    """reopenForumTopic."""
    return _set_closed(world, bot, params, False)


def delete_forum_topic(world: World, bot: SimBot, params: Params) -> object:
    """deleteForumTopic: the topic and all its messages."""
    chat = _forum(world, bot, params, "delete")
    topic = _topic(chat, params)
    if not chat.members[bot.id].may("can_delete_messages"):
        raise bad_request("not enough rights to delete a topic")
    chat.delete_topic(topic)
    return True


def _tell_general(world: World, bot: SimBot, chat: Chat, kind: str, **content: object) -> bool:
    chat.add(bot.brief, int(world.clock()), {kind: content}, by_bot=False)
    return True


def _general(chat: Chat) -> Topic:
    return chat.topics.setdefault(1, Topic(1, "General"))


def edit_general_forum_topic(world: World, bot: SimBot, params: Params) -> object:
    """editGeneralForumTopic."""
    chat = _forum(world, bot, params, "edit")
    general, name = _general(chat), _name(params)
    if general.name == name:
        raise bad_request("TOPIC_NOT_MODIFIED")
    general.name = name
    return _tell_general(world, bot, chat, "forum_topic_edited", name=name)


def _set_general(world: World, bot: SimBot, params: Params, closed: bool) -> bool:
    chat = _forum(world, bot, params, "close" if closed else "reopen")
    general = _general(chat)
    if general.closed == closed:
        raise bad_request("TOPIC_NOT_MODIFIED")
    general.closed = closed
    if not closed:
        general.hidden = False
    return _tell_general(world, bot, chat, "forum_topic_closed" if closed else "forum_topic_reopened")


def close_general_forum_topic(world: World, bot: SimBot, params: Params) -> object:
    """closeGeneralForumTopic."""
    return _set_general(world, bot, params, True)


def reopen_general_forum_topic(world: World, bot: SimBot, params: Params) -> object:
    """reopenGeneralForumTopic; a hidden one is shown again."""
    return _set_general(world, bot, params, False)


def _hide_general(world: World, bot: SimBot, params: Params, hidden: bool) -> bool:
    chat = _forum(world, bot, params, "hide" if hidden else "unhide")
    general = _general(chat)
    if general.hidden == hidden:
        raise bad_request("TOPIC_NOT_MODIFIED")
    general.hidden = hidden
    general.closed = general.closed or hidden
    return _tell_general(world, bot, chat, f"{GENERAL}_{'hidden' if hidden else 'unhidden'}")


def hide_general_forum_topic(world: World, bot: SimBot, params: Params) -> object:
    """hideGeneralForumTopic; it is closed, too."""
    return _hide_general(world, bot, params, True)


def unhide_general_forum_topic(world: World, bot: SimBot, params: Params) -> object:
    """unhideGeneralForumTopic."""
    return _hide_general(world, bot, params, False)
