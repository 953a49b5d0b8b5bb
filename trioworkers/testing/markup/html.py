"""Texts with `parse_mode` HTML."""

from __future__ import annotations

import re
from typing import NamedTuple

from trioworkers.testing.markup.entities import BrokenMarkup, Entity, byte_offset, link_entity, utf16_length

_SPECIAL = re.compile(r"[<&]")
_SPACE = " \t\r\n\0\v"
_NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
_REFERENCE = re.compile(r"&(?:#x([0-9a-fA-F]+)|#([0-9]+)|([a-zA-Z]+));?")
_TOKEN = re.compile(r"[a-zA-Z0-9.-]*")
_SIMPLE = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "tg-spoiler": "spoiler",
    "span": "spoiler",
    "code": "code",
    "pre": "pre",
}
_TAGS = frozenset(_SIMPLE) | {"a", "blockquote", "tg-emoji", "tg-time"}


class _Open(NamedTuple):
    tag: str
    attributes: dict[str, str]
    units: int
    piece: int


def decode_reference(text: str, index: int) -> tuple[str, int]:
    """The character that a reference at `&` means, and where it ends; "" if it stands for itself."""
    match = _REFERENCE.match(text, index)
    if match is None:
        return "", index
    hexadecimal, decimal, name = match.groups()
    if name is not None:
        return _NAMED.get(name, ""), match.end()
    code = int(hexadecimal, 16) if hexadecimal else int(decimal)
    length = len(match[0].removesuffix(";"))
    if not 0 < code < 0x10FFFF or length >= 10:
        return "", index
    return chr(code), match.end()


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.pieces: list[str] = []
        self.units = 0
        self.open: list[_Open] = []
        self.entities: list[Entity] = []

    def put(self, piece: str) -> None:
        self.pieces.append(piece)
        self.units += utf16_length(piece)

    def broken(self, words: str, index: int) -> BrokenMarkup:
        return BrokenMarkup(f"{words} at byte offset {byte_offset(self.text, index)}")

    def read(self) -> None:
        text, index = self.text, 0
        while (found := _SPECIAL.search(text, index)) is not None:
            begin = found.start()
            if begin > index:
                self.put(text[index:begin])
            if text[begin] == "&":
                character, index = decode_reference(text, begin)
                if not character:
                    character, index = "&", begin + 1
                self.put(character)
            elif text.startswith("</", begin):
                index = self.read_end_tag(begin)
            else:
                index = self.read_start_tag(begin)
        if index < len(text):
            self.put(text[index:])
        if self.open:
            raise BrokenMarkup(f'Can\'t find end tag corresponding to start tag "{self.open[-1].tag}"')

    def skip_space(self, index: int) -> int:
        while index < len(self.text) and self.text[index] in _SPACE:
            index += 1
        return index

    def read_start_tag(self, begin: int) -> int:
        text, index = self.text, begin + 1
        while index < len(text) and text[index] not in _SPACE and text[index] != ">":
            index += 1
        if index == len(text):
            raise self.broken("Unclosed start tag", begin)
        tag = text[begin + 1 : index].lower()
        if tag not in _TAGS:
            raise self.broken(f'Unsupported start tag "{tag}"', begin)
        attributes: dict[str, str] = {}
        while True:
            index = self.skip_space(index)
            if index == len(text):
                raise self.broken("Unclosed start tag", begin)
            if text[index] == ">":
                break
            index = self.read_attribute(tag, attributes, begin, index)
        if tag == "span" and attributes.get("class") != "tg-spoiler":
            raise self.broken('Tag "span" must have class "tg-spoiler"', begin)
        self.open.append(_Open(tag, attributes, self.units, len(self.pieces)))
        return index + 1

    def read_attribute(self, tag: str, attributes: dict[str, str], begin: int, index: int) -> int:
        text, start = self.text, index
        while index < len(text) and text[index] not in _SPACE and text[index] not in "=>":
            index += 1
        name = text[start:index]
        if not name:
            raise self.broken(f'Empty attribute name in the tag "{tag}"', begin)
        index = self.skip_space(index)
        if index == len(text) or text[index] != "=":
            if index < len(text) and tag == "blockquote" and name == "expandable":
                attributes[name] = "1"
                return index
            words = f'Expected equal sign in declaration of an attribute of the tag "{tag}"'
            raise self.broken(words, begin)
        index = self.skip_space(index + 1)
        if index == len(text):
            raise self.broken(f'Unclosed start tag "{tag}"', begin)
        if text[index] not in "'\"":
            match = _TOKEN.match(text, index)
            token = match[0] if match is not None else ""
            end = index + len(token)
            if end < len(text) and text[end] not in _SPACE and text[end] != ">":
                raise self.broken("Unexpected end of name token", index)
            attributes[name] = token.lower()
            return end
        quote, index, value = text[index], index + 1, ""
        while index < len(text) and text[index] != quote:
            character, end = decode_reference(text, index) if text[index] == "&" else ("", index)
            value, index = (value + character, end) if character else (value + text[index], index + 1)
        if index >= len(text) - 1:
            raise self.broken("Unclosed start tag", begin)
        attributes[name] = value
        return index + 1

    def read_end_tag(self, begin: int) -> int:
        if not self.open:
            raise self.broken("Unexpected end tag", begin)
        text, index = self.text, begin + 2
        while index < len(text) and text[index] not in _SPACE and text[index] != ">":
            index += 1
        name = text[begin + 2 : index].lower()
        index = self.skip_space(index)
        if index == len(text) or text[index] != ">":
            raise self.broken("Unclosed end tag", begin)
        opened = self.open.pop()
        if name and name != opened.tag:
            where = byte_offset(text, begin)
            raise BrokenMarkup(
                f'Unmatched end tag at byte offset {where}, expected "</{opened.tag}>", found "</{name}>"'
            )
        if self.units > opened.units:
            self.close(opened)
        return index + 1

    def close(self, opened: _Open) -> None:
        offset, length = opened.units, self.units - opened.units
        span = {"offset": offset, "length": length}
        attributes = opened.attributes
        if opened.tag == "a":
            url = attributes.get("href") or "".join(self.pieces[opened.piece :])
            linked = link_entity(url, offset, length)
            if linked is not None:
                self.entities.append(linked)
        elif opened.tag == "blockquote":
            kind = "expandable_blockquote" if "expandable" in attributes else "blockquote"
            self.entities.append({"type": kind, **span})
        elif opened.tag == "tg-emoji":
            emoji = attributes.get("emoji-id", "")
            if not emoji.isdigit() or int(emoji) == 0:
                raise BrokenMarkup("Invalid custom emoji identifier specified")
            self.entities.append({"type": "custom_emoji", **span, "custom_emoji_id": emoji})
        elif opened.tag == "tg-time":
            unix, form = attributes.get("unix", ""), attributes.get("format")
            if not unix.isdigit():
                raise BrokenMarkup("Invalid date specified")
            shown = {"date_time_format": form} if form else {}
            self.entities.append({"type": "date_time", **span, "unix_time": int(unix), **shown})
        else:
            self.close_simple(opened, span)

    def close_simple(self, opened: _Open, span: dict[str, int]) -> None:
        kind = _SIMPLE[opened.tag]
        language = opened.attributes.get("class", "")
        before = self.entities[-1] if self.entities else {}
        same = before and (before["offset"], before["length"]) == (span["offset"], span["length"])
        if opened.tag == "code" and language.startswith("language-"):
            self.entities.append({"type": "code", **span, "language": language.removeprefix("language-")})
        elif opened.tag == "pre" and same and before["type"] == "code":
            before["type"] = "pre"
        else:
            self.entities.append({"type": kind, **span})


def parse_html(text: str) -> tuple[str, list[Entity]]:
    """The text without its tags, and its entities.

    Raises:
        BrokenMarkup: with the byte offset of what is wrong.
    """
    reader = _Reader(text)
    reader.read()
    for one in reader.entities:
        if one["type"] == "code":
            one.pop("language", None)
    return "".join(reader.pieces), reader.entities
