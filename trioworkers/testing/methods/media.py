"""The Bot API methods that send files: one, or an album of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.testing.answers import bad_request
from trioworkers.testing.methods.reading import check_kind, place, read_caption, read_keyboard, say
from trioworkers.testing.methods.uploads import read_media
from trioworkers.testing.typed import Malformed, check_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

CAPTIONED = ("photo", "document", "video", "animation", "audio", "voice", "live_photo", "paid_media")
MIXED = frozenset({"photo", "video", "live_photo"})
"""What may be mixed in an album; documents and audio stay among themselves (Bot API, sendMediaGroup)."""

PAID_LIMIT = 25_000  # Telegram Stars, Bot API: sendPaidMedia


def read_params(params: Params) -> dict[str, Any]:
    """The parameters of a call, with the nested ones decoded."""
    return {**params.values, **params.decoded}


def sender(kind: str) -> Callable[[World, SimBot, Params], object]:
    """The method that sends files of a kind: sendPhoto, sendAudio, …"""

    def send(world: World, bot: SimBot, params: Params) -> object:
        chat = world.find_chat(bot, params)
        chat.check_write(bot)
        values = read_params(params)
        caption = read_caption(world, values) if kind in CAPTIONED else {}
        content = {**read_media(world, bot, params, kind, values), **caption, **_shown(params, caption)}
        return say(world, bot, params, chat, {**content, **read_keyboard(params, chat)})

    return send


def _shown(params: Params, caption: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if "has_spoiler" in params and params.flag("has_spoiler"):
        fields["has_media_spoiler"] = True
    if caption and "show_caption_above_media" in params and params.flag("show_caption_above_media"):
        fields["show_caption_above_media"] = True
    return fields


def read_input_media(
    world: World, bot: SimBot, params: Params, item: object, *, album: bool = False
) -> dict[str, Any]:
    """The fields of a message that an InputMedia makes.

    Raises:
        Refused: it is none, or its file or caption cannot be used.
    """
    broken = "can't parse InputMedia: "
    if not isinstance(item, dict):
        raise bad_request(f"{broken}expected an Object")
    try:
        check_object("InputMedia", item)
    except Malformed as error:
        raise bad_request(broken + error.words) from None
    kind = str(item["type"])
    if album and kind == "animation":
        raise bad_request(f'{broken}type "animation" can\'t be used in sendMediaGroup')
    name = str(item["media"])
    if not name or (name.startswith("attach://") and name.removeprefix("attach://") not in params.files):
        raise bad_request(f"{broken}media not found")
    caption = read_caption(world, item)
    fields = {**read_media(world, bot, params, kind, item, name), **caption}
    if item.get("has_spoiler"):
        fields["has_media_spoiler"] = True
    if caption and item.get("show_caption_above_media"):
        fields["show_caption_above_media"] = True
    return fields


def send_media_group(world: World, bot: SimBot, params: Params) -> object:
    """sendMediaGroup: all of it or nothing."""
    chat = world.find_chat(bot, params)
    media = params.json("media", "media")
    if not isinstance(media, list):
        raise bad_request("expected an Array of InputMedia")
    if not media:
        raise bad_request("there are no messages to send")
    if len(media) > 10:
        raise bad_request("too many messages to send as an album")
    if len(media) < 2:
        raise bad_request("media group must include 2-10 items")
    kinds = {str(item.get("type")) for item in media if isinstance(item, dict)}
    contents = [read_input_media(world, bot, params, item, album=True) for item in media]
    if len(kinds) > 1 and not kinds <= MIXED:
        raise bad_request("can't use the media of the specified type in the album")
    fields = place(world, bot, params, chat, len(contents))
    for content in contents:
        check_kind(bot, chat, content)
    if params.flag("protect_content"):
        fields["has_protected_content"] = True
    group = {"media_group_id": str(world.dice.randrange(10**16, 10**17))}
    date = int(world.clock())
    return [chat.add(bot.brief, date, {**fields, **group, **content}, by_bot=True) for content in contents]


def send_paid_media(world: World, bot: SimBot, params: Params) -> object:
    """sendPaidMedia: photos and videos that cost Telegram Stars."""
    chat = world.find_chat(bot, params)
    chat.check_write(bot)
    stars = params.integer("star_count")
    if not 1 <= stars <= PAID_LIMIT:
        raise bad_request("STARS_AMOUNT_INVALID")
    media = params.json("media", "media")
    if not isinstance(media, list):
        raise bad_request("expected an Array of InputPaidMedia")
    if not 1 <= len(media) <= 10:
        raise bad_request("wrong number of paid media specified")
    shown = []
    for item in media:
        try:
            check_object("InputPaidMedia", item)
        except Malformed as error:
            raise bad_request(f"can't parse InputPaidMedia: {error.words}") from None
        kind = str(item["type"])
        made = read_media(world, bot, params, kind, item, str(item["media"]))
        shown.append({"type": kind, kind: made[kind]})
    caption = read_caption(world, read_params(params))
    content = {"paid_media": {"star_count": stars, "paid_media": shown}, **caption, **_shown(params, caption)}
    message = say(world, bot, params, chat, {**content, **read_keyboard(params, chat)})
    if params.text("payload"):
        world.paid_media[chat.id, message["message_id"]] = params.text("payload")
    return message
