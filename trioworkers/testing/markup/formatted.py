"""A formatted text as a call sends it: a text with a parse mode, or with entities of its own."""

from __future__ import annotations

from typing import Any

from trioworkers.testing.markup.cleaning import tidy
from trioworkers.testing.markup.entities import BrokenMarkup, Entity, utf16_length
from trioworkers.testing.markup.html import parse_html
from trioworkers.testing.markup.links import BadLink, check_link
from trioworkers.testing.markup.markdown import parse_markdown
from trioworkers.testing.markup.markdown_v2 import parse_markdown_v2

RAW_LIMIT = 1 << 15  # bytes before parsing
_PARSERS = {"html": parse_html, "markdown": parse_markdown, "markdownv2": parse_markdown_v2}
_FOUND_BY_TELEGRAM = frozenset(
    ["mention", "hashtag", "cashtag", "bot_command", "url", "email", "phone_number", "bank_card_number"]
)
MADE_BY_BOTS = frozenset(
    [
        "bold",
        "italic",
        "underline",
        "strikethrough",
        "spoiler",
        "blockquote",
        "expandable_blockquote",
        "code",
        "pre",
        "text_link",
        "text_mention",
        "custom_emoji",
        "date_time",
    ]
)
_NEEDED = {
    "text_link": "url",
    "text_mention": "user",
    "custom_emoji": "custom_emoji_id",
    "date_time": "unix_time",
}


class BadText(Exception):
    """Telegram refuses a text; the words are what follows `Bad Request: `."""


def read_formatted(text: str, parse_mode: str = "", entities: object = None) -> tuple[str, list[Entity]]:
    """The text that is shown, trimmed, and its entities; a parse mode makes Telegram ignore given entities.

    Raises:
        BadText: broken markup, an unknown parse mode, or entities that do not fit.
    """
    if len(text) > RAW_LIMIT // 4 and len(text.encode("utf-8", "surrogatepass")) > RAW_LIMIT:
        raise BadText("text is too long")
    mode = parse_mode.lower()
    if mode and mode != "none":
        parser = _PARSERS.get(mode)
        if parser is None:
            raise BadText("unsupported parse_mode")
        try:
            return tidy(*parser(text))
        except BrokenMarkup as error:
            raise BadText(f"can't parse entities: {error}") from None
    return tidy(text, read_entities(text, entities) if entities else [])


def read_entities(text: str, entities: object) -> list[Entity]:
    """Entities that a bot gave itself; those that Telegram finds by itself are left out, as Telegram does.

    Raises:
        BadText: one is not a MessageEntity, is unknown, or lies outside of the text.
    """
    if not isinstance(entities, list):
        raise BadText("expected an Array of MessageEntity")
    length = utf16_length(text)
    read: list[Entity] = []
    for given in entities:
        try:
            one = _read_entity(given)
        except BrokenMarkup as error:
            raise BadText(f"can't parse MessageEntity: {error}") from None
        offset, size = one["offset"], one["length"]
        if not 0 <= offset <= 1_000_000:
            raise BadText(f"receive an entity with incorrect offset {offset}")
        if not 0 <= size <= 1_000_000:
            raise BadText(f"receive an entity with incorrect length {size}")
        if offset + size > length:
            raise BadText(
                f"entity beginning at UTF-16 offset {offset} ends after the end of the text at UTF-16 offset "
                f"{offset + size}"
            )
        if not text.isascii():
            _check_symbols(text, offset, size)
        if one["type"] in MADE_BY_BOTS and size:
            read.append(one)
    return read


def _read_entity(given: Any) -> Entity:
    if not isinstance(given, dict):
        raise BrokenMarkup("expected an Object")
    for name in ("offset", "length", "type"):
        if given.get(name) is None:
            raise BrokenMarkup(f'Can\'t find field "{name}"')
    kind = str(given["type"])
    if kind not in MADE_BY_BOTS | _FOUND_BY_TELEGRAM:
        raise BrokenMarkup("Unsupported type specified")
    needed = _NEEDED.get(kind)
    if needed is not None and given.get(needed) is None:
        raise BrokenMarkup(f'Can\'t find field "{needed}"')
    try:
        one = {**given, "offset": int(given["offset"]), "length": int(given["length"])}
    except (TypeError, ValueError):
        raise BrokenMarkup('Field "offset" must be a valid Number') from None
    if kind == "text_link":
        try:
            one["url"] = check_link(str(given["url"]))
        except BadLink as error:
            raise BadText(f"entity {error}") from None
    return one


def _check_symbols(text: str, offset: int, length: int) -> None:
    """Refuse an entity that begins or ends between the two units of one character."""
    units = text.encode("utf-16-le", "surrogatepass")
    for position in (offset, offset + length):
        if not 0xDC00 <= int.from_bytes(units[2 * position : 2 * position + 2], "little") < 0xE000:
            continue
        before = units[: 2 * position - 2].decode("utf-16-le", "surrogatepass")
        size = len(before.encode("utf-8", "surrogatepass"))
        where = f"in a middle of a UTF-16 symbol at byte offset {size}"
        if position == offset:
            raise BadText(f"entity begins {where}")
        raise BadText(f"entity beginning at UTF-16 offset {offset} ends {where}")
