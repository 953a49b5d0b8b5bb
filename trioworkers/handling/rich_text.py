"""What a rich message says, as plain text.

Its blocks and their texts nest (https://core.telegram.org/bots/api#richmessage, Bot API 10.1): a text is a
string, an array of texts, or an object with a `text` of its own and some formatting. Everything is looked
for by its form, so that blocks and formatting of tomorrow are read, too.
"""

from __future__ import annotations

from typing import Any

DEEPEST = 100  # what nests deeper is left out
_TEXTS = "text", "alternative_text", "expression"  # what a text or a simple block says, the first that it has


def plain_text(rich_message: Any) -> str | None:
    """The text of a rich message, one line for each block, list item, row and caption.

    Cells of a row are separated by tabs. None where the message has no text.
    """
    lines: list[str] = []
    blocks = rich_message.get("blocks") if isinstance(rich_message, dict) else None
    _add_blocks(lines, blocks, DEEPEST)
    return "\n".join(lines) if lines else None


def _add_blocks(lines: list[str], blocks: Any, depth: int) -> None:
    if not isinstance(blocks, list) or not depth:
        return
    for block in blocks:
        if isinstance(block, dict):
            _add_block(lines, block, depth - 1)


def _add_block(lines: list[str], block: dict[str, Any], depth: int) -> None:
    """A block's own text, then what it contains, then what is said below it."""
    _add_line(lines, _said(block.get("summary"), depth))
    _add_line(lines, _own_text(block, depth))
    for item in _dicts(block.get("items")):
        _add_item(lines, item, depth)
    _add_blocks(lines, block.get("blocks"), depth)
    cells = block.get("cells")
    for row in cells if isinstance(cells, list) else ():
        _add_line(lines, "\t".join(_said(cell.get("text"), depth) for cell in _dicts(row)))
    caption = block.get("caption")
    if isinstance(caption, dict) and "credit" in caption:
        _add_line(lines, _said(caption.get("text"), depth))
        _add_line(lines, _said(caption["credit"], depth))
    else:
        _add_line(lines, _said(caption, depth))
    _add_line(lines, _said(block.get("credit"), depth))


def _add_item(lines: list[str], item: dict[str, Any], depth: int) -> None:
    """A list's item; its label stands before its first line."""
    inside: list[str] = []
    _add_blocks(inside, item.get("blocks"), depth)
    label = item.get("label")
    if isinstance(label, str) and label:
        inside[:1] = [" ".join([label, *inside[:1]])]
    lines += inside


def _add_line(lines: list[str], line: str) -> None:
    if line.strip():
        lines.append(line)


def _said(text: Any, depth: int) -> str:
    if isinstance(text, str):
        return text
    if not depth:
        return ""
    if isinstance(text, list):
        return "".join(_said(part, depth - 1) for part in text)
    return _own_text(text, depth) if isinstance(text, dict) else ""


def _own_text(owner: dict[str, Any], depth: int) -> str:
    """What an object says itself; of a custom emoji its alternative, of a formula its expression."""
    return next((_said(owner[name], depth - 1) for name in _TEXTS if name in owner), "") if depth else ""


def _dicts(values: Any) -> list[dict[str, Any]]:
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []
