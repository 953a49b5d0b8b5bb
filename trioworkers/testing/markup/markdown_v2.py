"""Texts with `parse_mode` MarkdownV2: entities can be nested, and every special character must be escaped."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl

from trioworkers.testing.markup.entities import BrokenMarkup, Entity, byte_offset, link_entity, utf16_length
from trioworkers.testing.markup.links import emoji_id_of
from trioworkers.testing.markup.markdown import read_language

_SPECIAL = re.compile(r"[\\_*\[\]()~`>#+\-=|{}.!\n]")
_IN_CODE = re.compile(r"[\\`]")
_MARKS = {
    "*": "Bold",
    "_": "Italic",
    "__": "Underline",
    "~": "Strikethrough",
    "||": "Spoiler",
    "[": "TextUrl",
    "![": "CustomEmoji",
}
_ENDS = {name: mark for mark, name in _MARKS.items()} | {
    "TextUrl": "]",
    "CustomEmoji": "]",
    "Code": "`",
    "Pre": "```",
    "PreCode": "```",
}
_PLAIN = {"Bold", "Italic", "Underline", "Strikethrough", "Spoiler", "Code"}
_QUOTE = "BlockQuote"


class _Open(NamedTuple):
    kind: str
    units: int
    begin: int
    piece: int
    language: str = ""


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.pieces: list[str] = []
        self.units = 0
        self.open: list[_Open] = []
        self.entities: list[Entity] = []
        self.quoting = False
        self.line_start = True

    def put(self, piece: str) -> None:
        if piece:
            self.pieces.append(piece)
            self.units += utf16_length(piece)
            self.line_start = False

    def unfinished(self, opened: _Open) -> BrokenMarkup:
        where = byte_offset(self.text, opened.begin)
        return BrokenMarkup(f"Can't find end of {opened.kind} entity at byte offset {where}")

    def read(self) -> None:
        text, index = self.text, 0
        while True:
            in_code = bool(self.open) and self.open[-1].kind in {"Code", "Pre", "PreCode"}
            found = (_IN_CODE if in_code else _SPECIAL).search(text, index)
            if found is None:
                break
            begin = found.start()
            self.put(text[index:begin])
            index = self.read_special(begin)
        self.put(text[index:])
        self.finish()

    def read_special(self, begin: int) -> int:
        text, mark = self.text, self.text[begin]
        if mark == "\\":
            escaped = text[begin + 1 : begin + 2]
            taken = bool(escaped) and 0 < ord(escaped) <= 126
            self.put(escaped if taken else mark)
            return begin + (2 if taken else 1)
        if mark == "\n":
            return self.read_line_end(begin)
        if self.open and self.ends(self.open[-1].kind, begin):
            return self.close(begin)
        return self.open_entity(begin)

    def ends(self, kind: str, begin: int) -> bool:
        if kind == _QUOTE:
            return False
        if kind == "Italic" and self.text.startswith("__", begin):
            return False
        return self.text.startswith(_ENDS[kind], begin)

    def open_entity(self, begin: int) -> int:
        text, mark = self.text, self.text[begin]
        if mark == ">" and self.line_start:
            if not self.quoting:
                self.quoting = True
                self.open.append(_Open(_QUOTE, self.units, begin, len(self.pieces)))
            return begin + 1
        if mark == "`":
            if text.startswith("```", begin):
                language, index = read_language(text, begin + 3)
                kind = "PreCode" if language else "Pre"
                self.open.append(_Open(kind, self.units, begin, len(self.pieces), language))
                return index
            self.open.append(_Open("Code", self.units, begin, len(self.pieces)))
            return begin + 1
        if self.line_start and text.startswith("**>", begin):
            # An empty bold entity only parts one quotation from the next.
            return begin + 2
        pair = text[begin : begin + 2]
        mark = pair if pair in _MARKS else mark
        if mark not in _MARKS:
            raise BrokenMarkup(f"Character '{mark}' is reserved and must be escaped with the preceding '\\'")
        self.open.append(_Open(_MARKS[mark], self.units, begin, len(self.pieces)))
        return begin + len(mark)

    def read_line_end(self, begin: int) -> int:
        quote_ends = self.quoting and not self.text.startswith(">", begin + 1)
        if quote_ends:
            self.end_quote(begin, with_line=True)
        else:
            self.put("\n")
        self.line_start = True
        return begin + 1

    def end_quote(self, end: int, *, with_line: bool) -> None:
        kind = "blockquote"
        opened = self.open[-1]
        if opened.kind == "Spoiler" and opened.begin == end - 2:
            self.open.pop()
            kind = "expandable_blockquote"
        if self.open[-1].kind != _QUOTE:
            raise self.unfinished(self.open[-1])
        quote = self.open.pop()
        self.quoting = False
        if with_line:
            self.put("\n")
        if self.units > quote.units:
            self.entities.append({"type": kind, "offset": quote.units, "length": self.units - quote.units})

    def close(self, begin: int) -> int:
        opened = self.open.pop()
        index = begin + len(_ENDS[opened.kind])
        span = {"offset": opened.units, "length": self.units - opened.units}
        made: Entity | None
        if opened.kind in _PLAIN:
            made = {"type": opened.kind.lower(), **span}
        elif opened.kind in {"Pre", "PreCode"}:
            made = {"type": "pre", **span, **({"language": opened.language} if opened.language else {})}
        elif opened.kind == "TextUrl":
            url = "".join(self.pieces[opened.piece :])
            if self.text.startswith("(", index):
                url, index = self.read_url(index + 1, "a URL")
            made = link_entity(url, opened.units, span["length"])
        else:
            if not self.text.startswith("(", index):
                raise BrokenMarkup("Custom emoji entity must contain a tg://emoji URL")
            url, index = self.read_url(index + 1, "a custom emoji URL")
            made = {**span, **_emoji_or_time(url)}
        if made is not None and span["length"]:
            self.entities.append(made)
        return index

    def read_url(self, begin: int, what: str) -> tuple[str, int]:
        text, index, url = self.text, begin, ""
        while index < len(text) and text[index] != ")":
            if text[index] == "\\" and 0 < ord(text[index + 1 : index + 2] or "\0") <= 126:
                index += 1
            url += text[index]
            index += 1
        if index >= len(text):
            raise BrokenMarkup(f"Can't find end of {what} at byte offset {byte_offset(text, begin)}")
        return url, index + 1

    def finish(self) -> None:
        if self.quoting and self.open:
            last = self.open[-1]
            spoiler = last.kind == "Spoiler" and last.begin == len(self.text) - 2
            if last.kind == _QUOTE or spoiler:
                self.end_quote(len(self.text), with_line=False)
        if self.open:
            raise self.unfinished(self.open[-1])


def _emoji_or_time(url: str) -> Entity:
    emoji = emoji_id_of(url)
    if emoji:
        return {"type": "custom_emoji", "custom_emoji_id": emoji}
    head, _, query = url.partition("?")
    values = dict(parse_qsl(query))
    if head.lower() == "tg://time" and values.get("unix", "").isdigit():
        shown = {"date_time_format": values["format"]} if values.get("format") else {}
        return {"type": "date_time", "unix_time": int(values["unix"]), **shown}
    raise BrokenMarkup("Custom emoji URL must have scheme tg")


def parse_markdown_v2(text: str) -> tuple[str, list[Entity]]:
    """The text without its marks, and its entities.

    Raises:
        BrokenMarkup: a special character is not escaped, or an entity has no end, with its byte offset.
    """
    reader = _Reader(text)
    reader.read()
    return "".join(reader.pieces), reader.entities
