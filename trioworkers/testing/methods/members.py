"""The Bot API methods of chats and their members, and what a bot does there without a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.testing.answers import bad_request
from trioworkers.testing.chats import Member

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.chats import Chat
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

ACTIONS = frozenset(
    [
        "typing",
        "upload_photo",
        "record_video",
        "upload_video",
        "record_voice",
        "upload_voice",
        "upload_document",
        "choose_sticker",
        "find_location",
        "record_video_note",
        "upload_video_note",
    ]
)


def send_chat_action(world: World, bot: SimBot, params: Params) -> object:
    """sendChatAction."""
    if params.text("action").lower() not in ACTIONS:
        raise bad_request("wrong parameter action in request")
    chat = world.find_chat(bot, params)
    chat.check_write(bot)
    chat.thread(bot, params.integer("message_thread_id"))
    return True


def get_chat(world: World, bot: SimBot, params: Params) -> object:
    """getChat; a user who never wrote to the bot is no chat of its."""
    chat = world.find_chat(bot, params)
    if chat.kind == "private" and not chat.started:
        raise bad_request("chat not found")
    return {**chat.brief, "accent_color_id": 0, "max_reaction_count": 11}


def _describe_member(world: World, chat: Chat, user_id: int) -> dict[str, Any]:
    member = chat.members.get(user_id) or Member("left")
    account: SimBot | None = world.bots.get(user_id)
    user = account.brief if account is not None else world.users[user_id].brief
    body: dict[str, Any] = {"user": user, "status": member.status}
    return body | dict.fromkeys(sorted(member.rights), True)


def get_chat_member(world: World, bot: SimBot, params: Params) -> object:
    """getChatMember."""
    chat = world.find_chat(bot, params)
    user_id = params.integer("user_id")
    if user_id <= 0:
        raise bad_request("invalid user_id specified")
    if user_id not in world.users and user_id not in world.bots:
        raise bad_request("member not found")
    return _describe_member(world, chat, user_id)


def ban_chat_member(world: World, bot: SimBot, params: Params) -> object:
    """banChatMember."""
    chat = world.find_chat(bot, params)
    if chat.kind == "private":
        raise bad_request("can't ban members in private chats")
    if not chat.members[bot.id].may("can_restrict_members"):
        raise bad_request("not enough rights to restrict/unrestrict chat member")
    user_id = params.integer("user_id")
    if user_id not in world.users and user_id not in world.bots:
        raise bad_request("invalid user_id specified")
    if chat.members.get(user_id, Member()).status in {"creator", "administrator"}:
        raise bad_request("user is an administrator of the chat")
    chat.members[user_id] = Member("kicked")
    return True
