"""Hides what looks like a bot's token in a text of somebody else: a second lock, where no token should be."""

from __future__ import annotations

import re

MASK = "**********"

# <bot id>:<secret>, see "Authorizing your bot" in the Bot API. Real secrets have 35 characters;
# eight are enough to be careful.
_TOKEN_LIKE = re.compile(r"(?<!\d)\d+:[A-Za-z0-9_-]{8,}")  # a number is looked at once, however long


def mask_tokens(text: str) -> str:
    """Replace everything in `text` that looks like a bot token."""
    return _TOKEN_LIKE.sub(MASK, text)
