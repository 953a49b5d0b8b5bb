"""Entities of a text, their units, and what is broken in a markup.

Offsets and lengths are UTF-16 code units, as in a MessageEntity. Offsets in refusals are bytes of UTF-8, as
Telegram's are.
"""

from __future__ import annotations

from typing import Any

from trioworkers.testing.markup.links import BadLink, check_link, user_id_of

Entity = dict[str, Any]


class BrokenMarkup(Exception):
    """Telegram refuses a text; the words follow `can't parse entities: `."""


def utf16_length(text: str) -> int:
    """The length of a text as Telegram counts it."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def byte_offset(text: str, index: int) -> int:
    """Where a character of a text begins, in bytes of UTF-8."""
    return len(text[:index].encode("utf-8", "surrogatepass"))


def link_entity(url: str, offset: int, length: int) -> Entity | None:
    """The entity of a linked text: a link, or the mention of a user; None if Telegram shows plain text.

    The user of a mention has an `id` only; the world knows the rest.
    """
    user_id = user_id_of(url)
    if user_id:
        return {"type": "text_mention", "offset": offset, "length": length, "user": {"id": user_id}}
    try:
        return {"type": "text_link", "offset": offset, "length": length, "url": check_link(url)}
    except BadLink:
        return None
