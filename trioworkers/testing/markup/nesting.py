"""Which entities may stand inside which, and what Telegram makes of those that may not.

The rules are those of the Bot API ("Formatting options"), the outcome is that of `fix_entities` in TDLib's
`MessageEntity.cpp`: bold, italic, underline, strikethrough and spoiler are cut into pieces wherever another
entity begins or ends; code shows none of them; of others that overlap, the first one is kept.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trioworkers.testing.markup.entities import Entity

CODE = frozenset({"pre", "code"})
QUOTES = frozenset({"blockquote", "expandable_blockquote"})
_STYLES = frozenset({"bold", "italic", "underline", "strikethrough", "spoiler"})
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


def end_of(one: Entity) -> int:
    """Where an entity ends."""
    end: int = one["offset"] + one["length"]
    return end


def nest(entities: Iterable[Entity]) -> list[Entity]:
    """The entities in order, each either inside of another or apart from it. Pure.

    Doing it twice changes nothing.
    """
    given = _ordered(one for one in entities if one["length"])
    if len(given) < 2:
        return given
    quotes = _apart(one for one in given if one["type"] in QUOTES)
    others = _apart(one for one in given if one["type"] not in QUOTES | _STYLES)
    whole = quotes + [one for one in others if not any(_crosses(one, quote) for quote in quotes)]
    styles = [one for one in given if one["type"] in _STYLES]
    return _ordered(whole + _cut(styles, whole))


def _ordered(entities: Iterable[Entity]) -> list[Entity]:
    return sorted(entities, key=lambda one: (one["offset"], -one["length"], _RANK.get(one["type"], 0)))


def _apart(entities: Iterable[Entity]) -> list[Entity]:
    """Those that begin behind the end of the one before them."""
    kept: list[Entity] = []
    for one in entities:
        if not kept or one["offset"] >= end_of(kept[-1]):
            kept.append(one)
    return kept


def _crosses(one: Entity, quote: Entity) -> bool:
    meets = one["offset"] < end_of(quote) and quote["offset"] < end_of(one)
    return meets and not (quote["offset"] <= one["offset"] and end_of(one) <= end_of(quote))


def _cut(styles: list[Entity], whole: list[Entity]) -> list[Entity]:
    """The styles in pieces that cross nothing, outside of code; those that touch are joined first."""
    runs = [run for kind in _STYLES for run in _join(one for one in styles if one["type"] == kind)]
    edges = {run["offset"] for run in runs}.union(*({one["offset"], end_of(one)} for one in whole))
    codes = [(one["offset"], end_of(one)) for one in whole if one["type"] in CODE]
    pieces: list[Entity] = []
    for run in runs:
        begin, end = run["offset"], end_of(run)
        marks = [begin, *sorted(edge for edge in edges if begin < edge < end), end]
        pieces += [
            {**run, "offset": left, "length": right - left}
            for left, right in pairwise(marks)
            if not any(first <= left < last for first, last in codes)
        ]
    return pieces


def _join(styles: Iterable[Entity]) -> list[Entity]:
    runs: list[Entity] = []
    for one in styles:
        if runs and one["offset"] <= end_of(runs[-1]):
            runs[-1]["length"] = max(end_of(runs[-1]), end_of(one)) - runs[-1]["offset"]
        else:
            runs.append(dict(one))
    return runs
