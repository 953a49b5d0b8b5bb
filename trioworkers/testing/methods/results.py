"""What a user sends who chooses an inline result: the message that an InlineQueryResult stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.testing.answers import bad_request
from trioworkers.testing.markup.entities import utf16_length
from trioworkers.testing.methods.contents import read_contact, read_location, read_venue
from trioworkers.testing.methods.reading import TEXT_LIMIT, format_text, keep_keyboard, read_caption
from trioworkers.testing.params import Upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.world import World

ID_LIMIT = 64  # bytes
_CAPTIONED = frozenset({"photo", "gif", "mpeg4_gif", "video", "audio", "voice", "document"})


def content_of(world: World, bot: SimBot, result: dict[str, Any]) -> dict[str, Any]:
    """The fields of the message that a result makes.

    Raises:
        Refused: its id, text, file, caption or keyboard is not one that Telegram takes.
    """
    if not 1 <= len(str(result["id"]).encode()) <= ID_LIMIT:
        raise bad_request("RESULT_ID_INVALID")
    markup = result.get("reply_markup")
    keyboard = keep_keyboard(markup, private=False) if markup else {}
    given = result.get("input_message_content")
    if given:
        return {**_input_content(world, given), **keyboard}
    kind = str(result["type"])
    caption = read_caption(world, result) if kind in _CAPTIONED else {}
    return {**_own_content(world, bot, kind, result), **caption, **keyboard}


def _input_content(world: World, given: dict[str, Any]) -> dict[str, Any]:
    if "message_text" in given:
        text, entities = format_text(
            world, str(given["message_text"]), str(given.get("parse_mode") or ""), given.get("entities")
        )
        if not text:
            raise bad_request("message text is empty")
        if utf16_length(text) > TEXT_LIMIT:
            raise bad_request("message is too long")
        return {"text": text, "entities": entities} if entities else {"text": text}
    if "rich_message" in given:
        rich = given["rich_message"]
        text = str(rich.get("html") or rich.get("markdown") or "")
        return {"rich_message": {"blocks": [{"type": "paragraph", "text": text}]}}
    if "payload" in given:
        total = sum(int(price["amount"]) for price in given["prices"])
        names = ("title", "description", "currency")
        return {
            "invoice": {**{name: given[name] for name in names}, "start_parameter": "", "total_amount": total}
        }
    return _simple("venue" if "address" in given else "location" if "latitude" in given else "contact", given)


def _simple(kind: str, values: dict[str, Any]) -> dict[str, Any]:
    readers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
        "venue": read_venue,
        "location": read_location,
        "contact": read_contact,
    }
    made = readers[kind](values)
    return {kind: made, "location": made["location"]} if kind == "venue" else {kind: made}


def _own_content(world: World, bot: SimBot, kind: str, result: dict[str, Any]) -> dict[str, Any]:
    if kind in {"venue", "location", "contact"}:
        return _simple(kind, result)
    if kind == "game":
        name = str(result["game_short_name"])
        return {"game": {"title": name, "description": name, "photo": []}}
    source = kind.removesuffix("_gif") if kind == "mpeg4_gif" else kind
    file_id = result.get(f"{source}_file_id")
    into = "animation" if kind in {"gif", "mpeg4_gif"} else kind
    if file_id is None:
        url = str(result.get(f"{source}_url"))
        upload = Upload(
            url.rpartition("/")[2], str(result.get("mime_type") or ""), world.web.get(url, url.encode())
        )
        return world.files.put(bot, into, upload).in_message()
    stored = world.files.by_id(bot, str(file_id))
    if stored is None or stored.kind != into:
        raise bad_request(
            "wrong file identifier/HTTP URL specified" if stored is None else "FILE_REFERENCE_INVALID"
        )
    return stored.in_message()
