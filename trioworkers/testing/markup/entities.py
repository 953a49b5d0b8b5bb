"""Entities of a text: their order, their units, and which of them may stand inside which.

Offsets and lengths are UTF-16 code units, as in a MessageEntity. Offsets in refusals are bytes of UTF-8, as
Telegram's are.
"""

from __future__ import annotations

from typing import Any

from trioworkers.testing.markup.links import BadLink, check_link, user_id_of

Entity = dict[str, Any]

_ORDER = (
    "blockquote",
    "expandable_blockquote",
    "text_link",
    "text_mention",
    "pre",
    "code",
    "bold",
    "italic",
    "underline",
    "strikethrough",
    "spoiler",
    "custom_emoji",
    "date_time",
)
_RANK = {kind: rank for rank, kind in enumerate(_ORDER)}
_SPLIT = frozenset({"bold", "italic", "underline", "strikethrough", "spoiler"})
_ALONE = frozenset({"pre", "code"})


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


def tidy(text: str, entities: list[Entity]) -> tuple[str, list[Entity]]:
    """Trim a text and put its entities in order, as Telegram keeps them.

    Entities of white space only are left out, those of one kind that touch are joined, and nothing else may
    be set inside of code.
    """
    text = text.rstrip(" \n")
    kept = _without_space(text, _outside_of_code(entities)) if entities else []
    first = min((one["offset"] for one in kept), default=len(text))
    start = min(len(text) - len(text.lstrip(" \n")), first)
    for one in kept:
        one["offset"] -= start
    return text[start:], _sorted(_join(kept))


def _without_space(text: str, entities: list[Entity]) -> list[Entity]:
    """The entities without white space at their beginning; none reaches beyond the text, none is empty."""
    units = text.encode("utf-16-le", "surrogatepass")
    kept: list[Entity] = []
    for one in entities:
        begin = one["offset"]
        end = min(begin + one["length"], len(units) // 2)
        while begin < end and units[2 * begin : 2 * begin + 2] in (b" \0", b"\n\0"):
            begin += 1
        if begin < end:
            kept.append({**one, "offset": begin, "length": end - begin})
    return kept


def _sorted(entities: list[Entity]) -> list[Entity]:
    return sorted(entities, key=lambda one: (one["offset"], -one["length"], _RANK.get(one["type"], 0)))


def _join(entities: list[Entity]) -> list[Entity]:
    """Join the entities of each kind that may be split where they touch or overlap."""
    joined: list[Entity] = []
    last: dict[str, Entity] = {}
    for one in _sorted(entities):
        before = last.get(one["type"])
        if before is not None and one["offset"] <= before["offset"] + before["length"]:
            before["length"] = max(before["length"], one["offset"] + one["length"] - before["offset"])
            continue
        if one["type"] in _SPLIT:
            one = last[one["type"]] = dict(one)
        joined.append(one)
    return joined


def _outside_of_code(entities: list[Entity]) -> list[Entity]:
    """Cut bold and the like out of code and preformatted text, which shows none of it."""
    codes = [one for one in entities if one["type"] in _ALONE]
    if not codes:
        return entities
    cut: list[Entity] = []
    for one in entities:
        if one["type"] not in _SPLIT:
            cut.append(one)
            continue
        pieces = [(one["offset"], one["offset"] + one["length"])]
        for code in codes:
            begin, finish = code["offset"], code["offset"] + code["length"]
            pieces = [
                piece
                for left, right in pieces
                for piece in ((left, min(right, begin)), (max(left, finish), right))
                if piece[0] < piece[1]
            ]
        cut += [{**one, "offset": left, "length": right - left} for left, right in pieces]
    return cut
