"""What a handler finds as the text of an update, rich messages included."""

from __future__ import annotations

import json

import pytest

from trioworkers.handling.rich_text import DEEPEST, plain_text
from trioworkers.handling.update import Update


def text_of(kind, content):
    return Update(json.dumps({"update_id": 1, kind: content}).encode(), bot_id=7).text


def paragraph(text):
    return {"type": "paragraph", "text": text}


BOLD = {"type": "bold", "text": ["very ", {"type": "italic", "text": "much"}]}
EMOJI = {"type": "custom_emoji", "custom_emoji_id": "1", "alternative_text": "☺"}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"text": "hi"}, "hi"),
        ({"text": ""}, ""),
        ({"caption": "below"}, "below"),
        ({"text": 7}, None),
        ({"photo": []}, None),
        ({"rich_message": {"blocks": [paragraph("one"), paragraph("two")]}}, "one\ntwo"),
        ({"text": "plain", "rich_message": {"blocks": [paragraph("rich")]}}, "plain"),
        ({"rich_message": {"blocks": []}}, None),
        ({"rich_message": "x"}, None),
        (
            {"rich_message": {"blocks": [paragraph(["I like it ", BOLD, " ", EMOJI])]}},
            "I like it very much ☺",
        ),
    ],
)
@pytest.mark.parametrize(
    "kind", ["message", "edited_message", "channel_post", "business_message", "guest_message"]
)
def test_the_text_is_what_was_said(kind, content, text):
    """Of a message or post of each kind."""
    assert text_of(kind, content) == text


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"type": "heading", "text": "Title", "size": 1}, "Title"),
        ({"type": "divider"}, None),
        ({"type": "mathematical_expression", "expression": "a+b"}, "a+b"),
        (
            {
                "type": "list",
                "items": [
                    {"label": "1.", "blocks": [paragraph("first"), paragraph("more")]},
                    {"label": "2.", "blocks": [{"type": "list", "items": [{"label": "-", "blocks": []}]}]},
                ],
            },
            "1. first\nmore\n2. -",
        ),
        ({"type": "blockquote", "blocks": [paragraph("quoted")], "credit": "by her"}, "quoted\nby her"),
        ({"type": "pullquote", "text": "pulled", "credit": BOLD}, "pulled\nvery much"),
        ({"type": "details", "summary": "more", "blocks": [paragraph("inside")]}, "more\ninside"),
        (
            {
                "type": "table",
                "cells": [[{"text": "a"}, {"text": BOLD}], [{"align": "left"}]],
                "caption": "c",
            },
            "a\tvery much\nc",
        ),
        ({"type": "photo", "photo": [], "caption": {"text": "said", "credit": "whose"}}, "said\nwhose"),
        ({"type": "photo", "photo": [], "caption": {"text": "said"}}, "said"),
        ({"type": "collage", "blocks": [{"type": "photo", "caption": {"text": "in it"}}]}, "in it"),
        ({"type": "of tomorrow", "text": "words"}, "words"),
    ],
)
def test_each_block_is_its_lines(block, text):
    """Quotations, lists, tables, what folds open, captions and who is credited."""
    assert plain_text({"blocks": [block]}) == text


def test_nesting_ends_somewhere():
    """What is deeper is left out, and nothing breaks."""
    deep: object = "deep"
    for _ in range(10 * DEEPEST):
        deep = {"type": "bold", "text": deep}
    assert plain_text({"blocks": [paragraph(deep), paragraph("on")]}) == "on"
    inside = paragraph("deep")
    for _ in range(10 * DEEPEST):
        inside = {"type": "blockquote", "blocks": [inside]}
    assert plain_text({"blocks": [inside, paragraph("on")]}) == "on"
