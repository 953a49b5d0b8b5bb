"""The Bot API methods that edit a message of the bot's, in a chat or sent through inline mode by a user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trioworkers.testing.answers import bad_request
from trioworkers.testing.methods.contents import FOREVER, read_checklist, read_location
from trioworkers.testing.methods.media import CAPTIONED, read_input_media, read_params
from trioworkers.testing.methods.reading import find_message, read_caption, read_keyboard, read_text
from trioworkers.testing.methods.rich import read_rich_message

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.chats import Chat, Message
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same as a "
    "current content and reply markup of the message"
)
_MEDIA = ("photo", "document", "video", "animation", "audio", "live_photo")
_GONE_WITH_MEDIA = (
    *_MEDIA,
    "caption",
    "caption_entities",
    "has_media_spoiler",
    "show_caption_above_media",
    "text",
    "entities",
)


@dataclass(frozen=True, slots=True)
class _Target:
    """The message that is edited; one of inline mode has no chat that the bot knows."""

    message: Message
    chat: Chat | None

    def result(self) -> object:
        return self.message if self.chat is not None else True


def _target(world: World, bot: SimBot, params: Params, what: str = "message to edit") -> _Target:
    if not params.text("chat_id") and not params.integer("message_id"):
        inline_id = params.text("inline_message_id")
        if not inline_id:
            raise bad_request("message identifier is not specified")
        owner, message = world.inline_messages.get(inline_id, (0, {}))
        if owner != bot.id:
            raise bad_request("MESSAGE_ID_INVALID")
        return _Target(message, None)
    chat = world.find_chat(bot, params)
    message = find_message(chat, params, what)
    if message["from"]["id"] != bot.id or "forward_origin" in message:
        raise bad_request("message can't be edited")
    return _Target(message, chat)


def _edit(world: World, target: _Target, content: dict[str, Any]) -> object:
    """Change these fields; None takes one away.

    Raises:
        Refused: all of them are as they were.
    """
    message = target.message
    if all(message.get(name) == value for name, value in content.items()):
        raise bad_request(NOT_MODIFIED)
    for name, value in content.items():
        if value is None:
            message.pop(name, None)
        else:
            message[name] = value
    message["edit_date"] = int(world.clock())
    if target.chat is not None:
        target.chat.changed.fire()
    return target.result()


def _keyboard(params: Params, target: _Target) -> dict[str, Any]:
    invoice = "invoice" in target.message
    return {"reply_markup": None, **read_keyboard(params, target.chat, invoice=invoice)}


def edit_message_text(world: World, bot: SimBot, params: Params) -> object:
    """editMessageText; the keyboard goes unless it is sent again."""
    target = _target(world, bot, params)
    if "rich_message" in params:
        rich = {"rich_message": read_rich_message(params), "text": None, "entities": None}
        return _edit(world, target, {**rich, **_keyboard(params, target)})
    content = read_text(world, params)
    if "text" not in target.message and "rich_message" not in target.message:
        raise bad_request("there is no text in the message to edit")
    plain = {"entities": None, "link_preview_options": None, "rich_message": None}
    return _edit(world, target, {**plain, **content, **_keyboard(params, target)})


def edit_message_caption(world: World, bot: SimBot, params: Params) -> object:
    """editMessageCaption; an empty one takes the caption away. The keyboard goes unless it is sent again."""
    target = _target(world, bot, params)
    caption = read_caption(world, read_params(params))
    if not any(kind in target.message for kind in CAPTIONED):
        raise bad_request("there is no caption in the message to edit")
    content = {"caption": None, "caption_entities": None, **caption}
    return _edit(world, target, {**content, **_keyboard(params, target)})


def edit_message_media(world: World, bot: SimBot, params: Params) -> object:
    """editMessageMedia: another file, with its caption; members of an album stay of their kind."""
    target = _target(world, bot, params)
    media = params.json("media", "input media")
    message = target.message
    fields = read_input_media(world, bot, params, media)
    if not any(kind in message for kind in (*_MEDIA, "text")):
        raise bad_request("message can't be edited")
    album = "media_group_id" in message
    if album and media["type"] in {"document", "audio"} and media["type"] not in message:
        raise bad_request("message content type can't be used in an album")
    gone = dict.fromkeys(_GONE_WITH_MEDIA)
    return _edit(world, target, {**gone, **fields, **_keyboard(params, target)})


def edit_message_reply_markup(world: World, bot: SimBot, params: Params) -> object:
    """editMessageReplyMarkup; without one the keyboard goes."""
    target = _target(world, bot, params)
    return _edit(world, target, _keyboard(params, target))


def _live(world: World, target: _Target) -> dict[str, Any]:
    location: dict[str, Any] = target.message.get("location", {})
    period = location.get("live_period")
    if period is None or target.message.get("venue"):
        raise bad_request("message can't be edited")
    if period != FOREVER and world.clock() > target.message["date"] + period:
        raise bad_request("message can't be edited")
    return location


def edit_message_live_location(world: World, bot: SimBot, params: Params) -> object:
    """editMessageLiveLocation: until its period is over or it is stopped."""
    target = _target(world, bot, params)
    old = _live(world, target)
    period = params.integer("live_period") or old["live_period"]
    location = read_location({**params.values, "live_period": period})
    return _edit(world, target, {"location": location, **_keyboard(params, target)})


def stop_message_live_location(world: World, bot: SimBot, params: Params) -> object:
    """stopMessageLiveLocation: what it shows stays where it was last."""
    target = _target(world, bot, params)
    live = ("live_period", "heading", "proximity_alert_radius")
    location = {name: value for name, value in _live(world, target).items() if name not in live}
    return _edit(world, target, {"location": location, **_keyboard(params, target)})


def edit_message_checklist(world: World, bot: SimBot, params: Params) -> object:
    """editMessageChecklist."""
    target = _target(world, bot, params)
    if "checklist" not in target.message:
        raise bad_request("message can't be edited")
    return _edit(world, target, {"checklist": read_checklist(world, params), **_keyboard(params, target)})


def set_game_score(world: World, bot: SimBot, params: Params) -> object:
    """setGameScore: a lower score needs `force`."""
    target = _target(world, bot, params, "message to set game score")
    if "game" not in target.message:
        raise bad_request("message to set game score not found")
    user_id, score = params.integer("user_id"), params.integer("score")
    if world.account(user_id) is None:
        raise bad_request("USER_ID_INVALID")
    scores = world.scores.setdefault(target.message["game"]["title"], {})
    if score < 0 or (score <= scores.get(user_id, -1) and not params.flag("force")):
        raise bad_request("BOT_SCORE_NOT_MODIFIED")
    scores[user_id] = score
    return target.result()


def get_game_high_scores(world: World, bot: SimBot, params: Params) -> object:
    """getGameHighScores: of everybody, the best first."""
    target = _target(world, bot, params, "message to get game high scores")
    if "game" not in target.message:
        raise bad_request("message to get game high scores not found")
    scores = world.scores.get(target.message["game"]["title"], {})
    best = sorted(scores.items(), key=lambda item: -item[1])
    return [
        {"position": place, "user": world.account(user_id), "score": score}
        for place, (user_id, score) in enumerate(best, 1)
    ]
