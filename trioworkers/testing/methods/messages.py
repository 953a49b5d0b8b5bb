"""The Bot API methods that send, edit and delete messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.testing.answers import bad_request
from trioworkers.testing.methods.uploads import read_file
from trioworkers.testing.params import read_integer

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.chats import Chat, Message
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

TEXT_LIMIT = 4096  # UTF-16 units
CAPTION_LIMIT = 1024
CAPTIONED = ("photo", "document", "video", "animation", "audio", "voice")
PARSE_MODES = {"", "markdown", "markdownv2", "html", "none"}
NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same as a "
    "current content and reply markup of the message"
)


def utf16_length(text: str) -> int:
    """The length of a text as Telegram counts it."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def read_text(params: Params) -> str:
    """The text of a message, stripped as Telegram strips it."""
    text = params.text("text").strip()
    if not text:
        raise bad_request("message text is empty")
    if utf16_length(text) > TEXT_LIMIT:
        raise bad_request("message is too long")
    check_parse_mode(params)
    return text


def check_parse_mode(params: Params) -> None:
    """Refuse a parse_mode that does not exist; the text itself is kept as it is."""
    if "parse_mode" in params and params.text("parse_mode").lower() not in PARSE_MODES:
        raise bad_request("unsupported parse_mode")


def read_caption(caption: str) -> dict[str, Any]:
    """The caption field of a message, absent when empty."""
    if utf16_length(caption) > CAPTION_LIMIT:
        raise bad_request("message caption is too long")
    return {"caption": caption} if caption else {}


def read_entities(params: Params, name: str = "entities") -> dict[str, Any]:
    """The entities of a text or caption as they were sent, absent when there are none."""
    entities = params.json(name, name)
    if entities is not None and not isinstance(entities, list):
        raise bad_request("expected an Array of MessageEntity")
    return {name: entities} if entities else {}


def read_keyboard(params: Params) -> dict[str, Any]:
    """The reply_markup field: an inline keyboard is kept, other keyboards are only checked."""
    if "reply_markup" not in params:
        return {}
    markup = params.json("reply_markup", "reply keyboard markup")
    if not markup:
        return {}
    if not isinstance(markup, dict):
        raise bad_request("object expected as reply markup")
    rows = markup.get("inline_keyboard")
    if rows is None:
        return {}
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise bad_request('field "inline_keyboard" of the InlineKeyboardMarkup must be an Array of Arrays')
    for row in rows:
        for button in row:
            if not isinstance(button, dict):
                raise bad_request("can't parse inline keyboard button: expected an Object")
            if not button.get("text"):
                raise bad_request('can\'t parse inline keyboard button: Field "text" must be of type String')
            if len(str(button.get("callback_data", "")).encode()) > 64:
                raise bad_request("BUTTON_DATA_INVALID")
    return {"reply_markup": {"inline_keyboard": rows}} if any(rows) else {}


def place(world: World, bot: SimBot, params: Params, chat: Chat, messages: int = 1) -> dict[str, Any]:
    """The fields that say where in a chat so many messages go: their topic, and what they answer.

    Raises:
        Refused: the bot may not write there, or too often, or what it answers is gone.
    """
    chat.check_write(bot)
    fields: dict[str, Any] = {}
    if "message_thread_id" in params:
        fields = chat.thread(bot, params.integer("message_thread_id"))
    reply_to, optional = 0, False
    if "reply_parameters" in params:
        reply = params.json("reply_parameters", "reply parameters")
        if not isinstance(reply, dict):
            raise bad_request("object expected as reply parameters")
        reply_to, optional = (
            read_integer(reply.get("message_id")),
            bool(reply.get("allow_sending_without_reply")),
        )
    elif "reply_to_message_id" in params:
        reply_to, optional = params.integer("reply_to_message_id"), params.flag("allow_sending_without_reply")
    if reply_to:
        answered = chat.messages.get(reply_to)
        if answered is None and not optional:
            raise bad_request("message to be replied not found")
        if answered is not None:
            fields["reply_to_message"] = {k: v for k, v in answered.items() if k != "reply_to_message"}
    paid = params.flag("allow_paid_broadcast")
    world.limits.check_message(bot.id, chat.id, world.clock(), messages, paid=paid)
    return fields


def say(world: World, bot: SimBot, params: Params, chat: Chat, content: dict[str, Any]) -> Message:
    """Send what was checked already."""
    fields = place(world, bot, params, chat)
    if params.flag("protect_content"):
        fields["has_protected_content"] = True
    return chat.add(bot.brief, int(world.clock()), {**fields, **content}, by_bot=True)


def send_message(world: World, bot: SimBot, params: Params) -> object:
    """sendMessage."""
    text = read_text(params)
    chat = world.find_chat(bot, params)
    return say(world, bot, params, chat, {"text": text, **read_entities(params), **read_keyboard(params)})


def send_photo(world: World, bot: SimBot, params: Params) -> object:
    """sendPhoto."""
    return _send_file(world, bot, params, "photo")


def send_document(world: World, bot: SimBot, params: Params) -> object:
    """sendDocument."""
    return _send_file(world, bot, params, "document")


def _send_file(world: World, bot: SimBot, params: Params, kind: str) -> Message:
    chat = world.find_chat(bot, params)
    chat.check_write(bot)
    caption = read_caption(params.text("caption"))
    check_parse_mode(params)
    file = read_file(world, bot, params, kind)
    return say(world, bot, params, chat, {**file.in_message(), **caption, **read_keyboard(params)})


def send_media_group(world: World, bot: SimBot, params: Params) -> object:
    """sendMediaGroup: all of it or nothing."""
    chat = world.find_chat(bot, params)
    media = params.json("media", "media")
    if not isinstance(media, list):
        raise bad_request("expected an Array of InputMedia")
    if not 2 <= len(media) <= 10:
        raise bad_request("media group must include 2-10 items")
    contents = []
    for item in media:
        if not isinstance(item, dict) or item.get("type") not in {"photo", "document"}:
            raise bad_request("can't parse InputMedia: Type is not supported by the simulator")
        file = read_file(world, bot, params, item["type"], str(item.get("media", "")))
        contents.append({**file.in_message(), **read_caption(str(item.get("caption", "")))})
    fields = place(world, bot, params, chat, len(contents))
    group = {"media_group_id": str(world.dice.randrange(10**16, 10**17))}
    date = int(world.clock())
    return [chat.add(bot.brief, date, {**fields, **group, **content}, by_bot=True) for content in contents]


def _own(world: World, bot: SimBot, params: Params) -> tuple[Chat, Message]:
    chat = world.find_chat(bot, params)
    if not params.integer("message_id"):
        raise bad_request("message identifier is not specified")
    message = chat.messages.get(params.integer("message_id"))
    if message is None:
        raise bad_request("message to edit not found")
    if message["from"]["id"] != bot.id:
        raise bad_request("message can't be edited")
    return chat, message


def _edit(world: World, chat: Chat, message: Message, content: dict[str, Any]) -> Message:
    if all(message.get(name) == value for name, value in content.items()):
        raise bad_request(NOT_MODIFIED)
    message.update(content)
    for name in ("reply_markup", "caption", "entities", "caption_entities"):
        if message.get(name) is None:
            message.pop(name, None)
    message["edit_date"] = int(world.clock())
    chat.changed.fire()
    return message


def edit_message_text(world: World, bot: SimBot, params: Params) -> object:
    """editMessageText; the keyboard goes unless it is sent again."""
    chat, message = _own(world, bot, params)
    text = read_text(params)
    if "text" not in message:
        raise bad_request("there is no text in the message to edit")
    content = {"text": text, "entities": None, **read_entities(params)}
    return _edit(world, chat, message, {**content, "reply_markup": None, **read_keyboard(params)})


def edit_message_caption(world: World, bot: SimBot, params: Params) -> object:
    """editMessageCaption; an empty one takes the caption away. The keyboard goes unless it is sent again."""
    chat, message = _own(world, bot, params)
    caption = read_caption(params.text("caption"))
    check_parse_mode(params)
    if not any(kind in message for kind in CAPTIONED):
        raise bad_request("there is no caption in the message to edit")
    entities = read_entities(params, "caption_entities")
    content = {"caption": None, "caption_entities": None, **caption, **entities}
    return _edit(world, chat, message, {**content, "reply_markup": None, **read_keyboard(params)})


def edit_message_reply_markup(world: World, bot: SimBot, params: Params) -> object:
    """editMessageReplyMarkup; without one the keyboard goes."""
    chat, message = _own(world, bot, params)
    return _edit(world, chat, message, {"reply_markup": None, **read_keyboard(params)})


def delete_message(world: World, bot: SimBot, params: Params) -> object:
    """deleteMessage: own ones, any in a private chat, others' with the right to."""
    chat = world.find_chat(bot, params)
    if not params.integer("message_id"):
        raise bad_request("message identifier is not specified")
    message = chat.messages.get(params.integer("message_id"))
    if message is None:
        raise bad_request("message to delete not found")
    own = message["from"]["id"] == bot.id or chat.kind == "private"
    if not own and not chat.members[bot.id].may("can_delete_messages"):
        raise bad_request("message can't be deleted")
    del chat.messages[message["message_id"]]
    return True
