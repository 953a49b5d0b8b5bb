"""What calls that send or edit messages have in common: their text, caption, keyboard and place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.testing.answers import bad_request
from trioworkers.testing.keyboards import BadKeyboard, read_markup
from trioworkers.testing.markup.cleaning import clean, is_blank
from trioworkers.testing.markup.entities import utf16_length
from trioworkers.testing.markup.formatted import BadText, read_formatted
from trioworkers.testing.params import read_integer
from trioworkers.testing.typed import Malformed, check_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.chats import Chat, Message
    from trioworkers.testing.markup.entities import Entity
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

TEXT_LIMIT = 4096  # UTF-16 units after parsing
CAPTION_LIMIT = 1024
_PLAIN_REPLY = frozenset({"message_id", "allow_sending_without_reply"})


def format_text(world: World, text: str, parse_mode: str, entities: object) -> tuple[str, list[Entity]]:
    """The text that is shown and its entities; who is mentioned without being known is not mentioned.

    Raises:
        Refused: broken markup, or entities that do not fit.
    """
    try:
        shown, found = read_formatted(text, parse_mode, entities)
    except BadText as error:
        raise bad_request(str(error)) from None
    known = []
    for one in found:
        if one["type"] == "text_mention":
            account = world.account(read_integer(one["user"].get("id")))
            if account is None:
                continue
            one = {**one, "user": account}
        known.append(one)
    return shown, known


def read_text(world: World, params: Params) -> dict[str, Any]:
    """The text of a message and its entities, as fields of it.

    Raises:
        Refused: it is empty, too long after parsing, or its markup is broken.
    """
    text = params.text("text")
    values = params.values
    if "parse_mode" not in values and "entities" not in values:
        shown = clean(text).strip(" \n")
        content: dict[str, Any] = {"text": shown}
    else:
        if not text:
            raise bad_request("message text is empty")
        shown, entities = format_text(
            world, text, params.text("parse_mode"), params.json("entities", "entities")
        )
        content = {"text": shown, "entities": entities} if entities else {"text": shown}
    if is_blank(shown):
        raise bad_request("text must be non-empty" if text else "message text is empty")
    if len(shown) > TEXT_LIMIT or utf16_length(shown) > TEXT_LIMIT:
        raise bad_request("message is too long")
    if "link_preview_options" in values:
        options = params.json("link_preview_options", "link preview options")
        return {**content, "link_preview_options": options} if options else content
    return content


def read_caption(world: World, values: Mapping[str, Any], name: str = "caption") -> dict[str, Any]:
    """The caption of a message and its entities, as fields of it; empty when there is none.

    Args:
        world: knows who is mentioned.
        values: parameters of a call with nested ones decoded, or an InputMedia.
        name: of the text; `<name>_entities` are its entities.

    Raises:
        Refused: it is too long after parsing, or its markup is broken.
    """
    text = str(values.get(name) or "")
    mode = str(values.get("parse_mode" if name == "caption" else f"{name}_parse_mode") or "")
    shown, entities = format_text(world, text, mode, values.get(f"{name}_entities"))
    if utf16_length(shown) > CAPTION_LIMIT:
        raise bad_request("message caption is too long")
    if not shown:
        return {}
    return {name: shown, f"{name}_entities": entities} if entities else {name: shown}


def read_keyboard(params: Params, chat: Chat | None, *, invoice: bool = False) -> dict[str, Any]:
    """The reply_markup field: an inline keyboard is kept, other keyboards are only checked.

    Args:
        params: of the call.
        chat: where the message is; None for a message that was sent through inline mode.
        invoice: whether the message is one.
    """
    if "reply_markup" not in params:
        return {}
    markup = params.json("reply_markup", "reply keyboard markup")
    if not markup and not isinstance(markup, list):
        return {}
    return keep_keyboard(markup, chat is None or chat.kind == "private", invoice=invoice)


def keep_keyboard(markup: object, private: bool, *, invoice: bool = False) -> dict[str, Any]:
    """The reply_markup field of a message that is sent with that keyboard.

    Raises:
        Refused: Telegram takes no such keyboard.
    """
    try:
        kept = read_markup(markup, private=private, invoice=invoice)
    except BadKeyboard as error:
        raise bad_request(str(error)) from None
    return {"reply_markup": kept} if kept else {}


def place(world: World, bot: SimBot, params: Params, chat: Chat, messages: int = 1) -> dict[str, Any]:
    """The fields that say where in a chat so many messages go: their topic, and what they answer.

    Raises:
        Refused: the bot may not write there, or too often, or what it answers is gone.
    """
    chat.check_write(bot)
    fields: dict[str, Any] = {}
    if "message_thread_id" in params or chat.forum:
        fields = chat.thread(bot, params.integer("message_thread_id"))
    if "reply_parameters" in params:
        fields.update(_read_reply(world, bot, chat, params.json("reply_parameters", "reply parameters")))
    elif "reply_to_message_id" in params:
        optional = params.flag("allow_sending_without_reply")
        fields.update(_answered(chat, params.integer("reply_to_message_id"), optional))
    paid = params.flag("allow_paid_broadcast")
    world.limits.check_message(bot.id, chat.id, world.clock(), messages, paid=paid)
    return fields


def _answered(chat: Chat, message_id: int, optional: bool) -> dict[str, Any]:
    if not message_id:
        return {}
    answered = chat.messages.get(message_id)
    if answered is None:
        if not optional:
            raise bad_request("message to be replied not found")
        return {}
    return {"reply_to_message": {k: v for k, v in answered.items() if k != "reply_to_message"}}


def _read_reply(world: World, bot: SimBot, chat: Chat, reply: Any) -> dict[str, Any]:
    if not isinstance(reply, dict):
        raise bad_request("object expected as reply parameters")
    if not reply:
        return {}
    if "message_id" not in reply or any(name not in _PLAIN_REPLY for name in reply):
        try:
            check_object("ReplyParameters", reply)
        except Malformed as error:
            raise bad_request(error.words[0].lower() + error.words[1:]) from None
    message_id, optional = read_integer(reply["message_id"]), bool(reply.get("allow_sending_without_reply"))
    origin = chat
    if reply.get("chat_id"):
        origin = world.chat_of(bot, reply["chat_id"], "chat_id")
    fields = _answered(origin, message_id, optional)
    if not fields:
        return {}
    answered: Message = fields["reply_to_message"]
    if origin is not chat:
        sender = {"type": "user", "sender_user": answered["from"], "date": answered["date"]}
        fields = {"external_reply": {"origin": sender, "chat": origin.brief, "message_id": message_id}}
    if reply.get("quote"):
        shown, entities = format_text(
            world, str(reply["quote"]), str(reply.get("quote_parse_mode") or ""), reply.get("quote_entities")
        )
        position = str(answered.get("text") or answered.get("caption") or "").find(shown)
        if position < 0:
            raise bad_request("QUOTE_TEXT_INVALID")
        quote = {"text": shown, "position": position, "is_manual": True}
        fields["quote"] = {**quote, "entities": entities} if entities else quote
    return fields


_KINDS = {
    "photo": ("can_send_photos", "photos"),
    "video": ("can_send_videos", "videos"),
    "audio": ("can_send_audios", "music"),
    "document": ("can_send_documents", "documents"),
    "voice": ("can_send_voice_notes", "voice notes"),
    "video_note": ("can_send_video_notes", "video notes"),
    "animation": ("can_send_other_messages", "animations"),
    "sticker": ("can_send_other_messages", "stickers"),
    "game": ("can_send_other_messages", "games"),
    "dice": ("can_send_other_messages", "dice"),
    "poll": ("can_send_polls", "polls"),
}


def check_kind(bot: SimBot, chat: Chat, content: Mapping[str, Any]) -> None:
    """Refuse a kind of message that this bot may not send in that chat, in Telegram's words."""
    if not chat.restricts(bot):
        return
    for kind, (right, words) in _KINDS.items():
        if kind in content:
            if not chat.allows(bot, right):
                raise bad_request(f"not enough rights to send {words} to the chat")
            return
    if not chat.allows(bot, "can_send_messages"):
        raise bad_request("not enough rights to send text messages to the chat")


def say(world: World, bot: SimBot, params: Params, chat: Chat, content: dict[str, Any]) -> Message:
    """Send what was checked already."""
    values = params.values
    fields = place(world, bot, params, chat)
    if chat.members or chat.permissions:
        check_kind(bot, chat, content)
    if len(values) > 2:  # more than a chat and a text
        fields.update(_read_options(params, chat))
    return chat.add(bot.brief, int(world.clock()), {**fields, **content}, by_bot=True)


def _read_options(params: Params, chat: Chat) -> dict[str, Any]:
    """The fields of a message that come from how it is sent, not from what it is."""
    fields: dict[str, Any] = {}
    if params.flag("protect_content"):
        fields["has_protected_content"] = True
    if params.text("message_effect_id"):
        if chat.kind != "private":
            raise bad_request("message effects can be used only in private chats")
        fields["effect_id"] = params.text("message_effect_id")
    if params.text("business_connection_id"):
        fields["business_connection_id"] = params.text("business_connection_id")
    return fields


def find_message(chat: Chat, params: Params, what: str) -> Message:
    """The message that a call names; `what` is it in the refusal: `message to delete`.

    Raises:
        Refused: none is named, or there is no such message.
    """
    if not params.integer("message_id"):
        raise bad_request("message identifier is not specified")
    message = chat.messages.get(params.integer("message_id"))
    if message is None:
        raise bad_request(f"{what} not found")
    return message


def check_right(chat: Chat, bot: SimBot, right: str, words: str) -> None:
    """Refuse a bot that is not an administrator with that right, in Telegram's words.

    Raises:
        Refused: 400 with these words; 403 for a bot that is not in the group.
    """
    chat.check_member(bot)
    member = chat.members.get(bot.id)
    if member is None or not member.may(right):
        raise bad_request(words)
