"""Texts with `parse_mode` Markdown, the old one: entities cannot be nested, only `_*`[` are special."""

from __future__ import annotations

import re

from trioworkers.testing.markup.entities import BrokenMarkup, Entity, byte_offset, link_entity, utf16_length

_SPECIAL = re.compile(r"[\\_*`\[]")
_LANGUAGE = re.compile(r"[^\s`]+(?=[^`])")
_NEW_LINE = re.compile(r"\r\n|\n\r|\n|\r")
_KINDS = {"_": "italic", "*": "bold", "`": "code"}


def parse_markdown(text: str) -> tuple[str, list[Entity]]:
    """The text without its marks, and its entities.

    Raises:
        BrokenMarkup: an entity has no end; the byte offset is that of its beginning.
    """
    pieces: list[str] = []
    units = 0
    entities: list[Entity] = []
    index = 0

    def put(piece: str) -> None:
        nonlocal units
        pieces.append(piece)
        units += utf16_length(piece)

    while (found := _SPECIAL.search(text, index)) is not None:
        begin = found.start()
        put(text[index:begin])
        mark = text[begin]
        if mark == "\\":
            escaped = text[begin + 1 : begin + 2]
            put(escaped if escaped and escaped in "_*`[" else mark)
            index = begin + (2 if escaped and escaped in "_*`[" else 1)
            continue
        fence = text.startswith("```", begin)
        ending = "```" if fence else "]" if mark == "[" else mark
        index = begin + (3 if fence else 1)
        language = ""
        if fence:
            language, index = read_language(text, index)
        end = text.find(ending, index)
        if end < 0:
            where = byte_offset(text, begin)
            raise BrokenMarkup(f"Can't find end of the entity starting at byte offset {where}")
        offset, inside = units, text[index:end]
        put(inside)
        index = end + len(ending)
        span = {"offset": offset, "length": units - offset}
        url = inside
        if mark == "[" and text.startswith("(", index):
            close = text.find(")", index)
            url = text[index + 1 : close if close >= 0 else len(text)]
            index = close + 1 if close >= 0 else len(text)
        if not span["length"]:
            continue
        if mark == "[":
            linked = link_entity(url, offset, span["length"])
            entities += [] if linked is None else [linked]
        elif fence:
            entities.append({"type": "pre", **span, **({"language": language} if language else {})})
        else:
            entities.append({"type": _KINDS[mark], **span})
    put(text[index:])
    return "".join(pieces), entities


def read_language(text: str, index: int) -> tuple[str, int]:
    """The language behind ``` and where the code begins; one new line before it does not count."""
    match = _LANGUAGE.match(text, index)
    language = ""
    if match is not None and text[match.end() : match.end() + 1].isspace():
        language, index = match[0], match.end()
    line = _NEW_LINE.match(text, index)
    return language, line.end() if line is not None else index
