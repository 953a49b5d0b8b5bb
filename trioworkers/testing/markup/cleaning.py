"""What becomes of a text and its entities before Telegram keeps them: cleaned, nested and trimmed.

As TDLib's `fix_formatted_text` in `MessageEntity.cpp`, and `clean_input_string` and
`strip_empty_characters` in `misc.cpp`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import TYPE_CHECKING

from trioworkers.testing.markup.entities import utf16_length
from trioworkers.testing.markup.nesting import CODE, QUOTES, end_of, nest

if TYPE_CHECKING:
    from trioworkers.testing.markup.entities import Entity

_CONTROL = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f]")
_DROPPED = re.compile("[\r\u2028-\u202e\u0333\u033f\u030a]")
_SEEN = re.compile(
    "[^ \n\u00a0\u1680\u180e\u2000-\u200f\u202e\u202f\u205f\u2800\u3000\ufeff\ufffc\U000e0000-\U000e007f]"
)
_KEPT_BLANK = CODE | {"text_link", "text_mention"}  # there is more to them than is seen


def clean(text: str) -> str:
    """The text as Telegram keeps it: control characters become spaces, carriage returns go."""
    if text.isascii() and text.isprintable():
        return text
    return _DROPPED.sub("", _CONTROL.sub(" ", text))


def is_blank(text: str) -> bool:
    """Whether nothing of a text would be seen; Telegram refuses such messages."""
    return _SEEN.search(text) is None


def tidy(text: str, entities: list[Entity]) -> tuple[str, list[Entity]]:
    """A text and its entities as Telegram keeps them."""
    if not entities:
        return clean(text).strip(" \n"), []
    kept = _without_dropped(text, nest(entities))
    text = clean(text)
    kept = nest(_without_space(text, kept))
    text = text.rstrip(" \n")
    kept = nest(_within(kept, utf16_length(text)))
    first = min((one["offset"] for one in kept), default=len(text))
    start = min(len(text) - len(text.lstrip(" \n")), first)
    return text[start:], [{**one, "offset": one["offset"] - start} for one in kept]


def _without_dropped(text: str, entities: list[Entity]) -> list[Entity]:
    """The entities with their places in the cleaned text."""
    gone = [utf16_length(text[: match.start()]) for match in _DROPPED.finditer(text)]
    if not gone:
        return entities
    moved: list[Entity] = []
    for one in entities:
        begin, end = one["offset"], end_of(one)
        begin, end = begin - bisect_left(gone, begin), end - bisect_left(gone, end)
        moved.append({**one, "offset": begin, "length": end - begin})
    return moved


def _without_space(text: str, entities: list[Entity]) -> list[Entity]:
    """The entities without white space at their beginning, which links and code keep."""
    units = text.encode("utf-16-le", "surrogatepass")
    trimmed: list[Entity] = []
    for number, one in enumerate(entities):
        begin, end = one["offset"], end_of(one)
        if one["type"] not in _KEPT_BLANK:
            stop = _first_kept(entities, number, end) if one["type"] in QUOTES else end
            while begin < stop and units[2 * begin : 2 * begin + 2] in (b" \0", b"\n\0"):
                begin += 1
        trimmed.append({**one, "offset": begin, "length": end - begin})
    return trimmed


def _first_kept(entities: list[Entity], number: int, end: int) -> int:
    """Where the first link or code inside of a quotation begins, else its end."""
    for inner in entities[number + 1 :]:
        if inner["offset"] >= end:
            break
        if inner["type"] in _KEPT_BLANK:
            begin: int = inner["offset"]
            return begin
    return end


def _within(entities: list[Entity], length: int) -> list[Entity]:
    """The entities cut to a text of that length."""
    return [
        {**one, "length": min(end_of(one), length) - one["offset"]}
        for one in entities
        if one["offset"] < length
    ]
