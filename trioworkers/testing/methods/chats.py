"""The Bot API methods of a chat itself: what it is called, what it shows, and what a bot is doing there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.testing.answers import bad_request
from trioworkers.testing.memberships import PERMISSIONS
from trioworkers.testing.methods.reading import check_right

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.chats import Chat
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

ACTIONS = frozenset(
    [
        "cancel",
        "typing",
        "upload_photo",
        "record_video",
        "upload_video",
        "record_audio",
        "record_voice",
        "upload_audio",
        "upload_voice",
        "upload_document",
        "choose_sticker",
        "pick_up_location",
        "find_location",
        "record_video_note",
        "upload_video_note",
    ]
)
TITLE_LIMIT = 128  # characters
DESCRIPTION_LIMIT = 255
_GIFTS = ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels")


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
    gifts = dict.fromkeys(_GIFTS, chat.kind == "private")
    full: dict[str, Any] = {
        **chat.brief,
        "accent_color_id": 0,
        "max_reaction_count": 11,
        "accepted_gift_types": gifts,
    }
    if chat.pinned:
        full["pinned_message"] = chat.messages[chat.pinned[-1]]
    if chat.kind != "private":
        full["permissions"] = chat.permissions or dict.fromkeys(PERMISSIONS, True)
    if chat.username:
        full["active_usernames"] = [chat.username]
    return {**full, **chat.settings}


def _chat(world: World, bot: SimBot, params: Params, what: str) -> Chat:
    chat = world.find_chat(bot, params)
    if chat.kind == "private":
        raise bad_request(f"can't change private chat {what}")
    check_right(chat, bot, "can_change_info", f"not enough rights to change chat {what}")
    return chat


def _tell(world: World, bot: SimBot, chat: Chat, content: dict[str, Any]) -> bool:
    chat.add(bot.brief, int(world.clock()), content, by_bot=False)
    return True


def set_chat_title(world: World, bot: SimBot, params: Params) -> object:
    """setChatTitle."""
    chat = _chat(world, bot, params, "title")
    title = params.text("title").strip()
    if not title:
        raise bad_request("title must be non-empty")
    chat.rename(title[:TITLE_LIMIT])
    return _tell(world, bot, chat, {"new_chat_title": chat.title})


def set_chat_description(world: World, bot: SimBot, params: Params) -> object:
    """setChatDescription; an empty one takes it away."""
    chat = _chat(world, bot, params, "description")
    description = params.text("description").strip()[:DESCRIPTION_LIMIT]
    if description == chat.settings.get("description", ""):
        raise bad_request("chat description is not modified")
    chat.settings["description"] = description
    if not description:
        del chat.settings["description"]
    return True


def set_chat_photo(world: World, bot: SimBot, params: Params) -> object:
    """setChatPhoto: it has to be uploaded."""
    chat = _chat(world, bot, params, "photo")
    name = params.text("photo").removeprefix("attach://") or "photo"
    upload = params.files.get(name) or params.files.get("photo")
    if upload is None:
        raise bad_request("photo must be uploaded as an InputFile")
    stored = world.files.put(bot, "photo", upload)
    small = {"small_file_id": stored.file_id, "small_file_unique_id": stored.unique_id}
    chat.settings["photo"] = {**small, "big_file_id": stored.file_id, "big_file_unique_id": stored.unique_id}
    return _tell(world, bot, chat, {"new_chat_photo": stored.sizes()})


def delete_chat_photo(world: World, bot: SimBot, params: Params) -> object:
    """deleteChatPhoto."""
    chat = _chat(world, bot, params, "photo")
    if chat.settings.pop("photo", None) is None:
        raise bad_request("CHAT_NOT_MODIFIED")
    return _tell(world, bot, chat, {"delete_chat_photo": True})


def set_chat_sticker_set(world: World, bot: SimBot, params: Params) -> object:
    """setChatStickerSet: of a supergroup."""
    chat = _supergroup(world, bot, params)
    chat.settings["sticker_set_name"] = params.text("sticker_set_name")
    return True


def delete_chat_sticker_set(world: World, bot: SimBot, params: Params) -> object:
    """deleteChatStickerSet."""
    _supergroup(world, bot, params).settings.pop("sticker_set_name", None)
    return True


def _supergroup(world: World, bot: SimBot, params: Params) -> Chat:
    chat = world.find_chat(bot, params)
    if chat.kind != "supergroup":
        raise bad_request("method is available only for supergroups")
    check_right(chat, bot, "can_change_info", "not enough rights to change supergroup sticker set")
    return chat
