"""Which of its members a value of the Bot API's "one of" types is.

Most of these types carry a tag: a field `type`, `source` or `status` whose value is the member's name in
snake case, with a few exceptions. The others are told apart by the fields that only one of them has.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from trioworkers.testing.facts import bot_api

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TAG_FIELDS = ("type", "source", "status")
_NAMED_OTHERWISE = {
    "ChatMemberOwner": "creator",
    "ChatMemberBanned": "kicked",
    "PassportElementErrorDataField": "data",
    "RichBlockSectionHeading": "heading",
    "RichBlockPreformatted": "pre",
    "RichBlockBlockQuotation": "blockquote",
    "RichBlockPullQuotation": "pullquote",
}


def snake_case(name: str) -> str:
    """`LivePhoto` is `live_photo`."""
    return _WORD.sub("_", name).lower()


@cache
def tag_of(union: str, member: str) -> str:
    """The value of the tag field of a member: `InputMediaLivePhoto` of `InputMedia` is `live_photo`."""
    if member in _NAMED_OTHERWISE:
        return _NAMED_OTHERWISE[member]
    members = [one for one in bot_api().types[union].one_of if one in bot_api().types]
    prefix = members[0]
    while not all(one.startswith(prefix) for one in members):
        prefix = prefix[:-1]
    rest = member.removeprefix("InlineQueryResultCached").removeprefix(prefix)
    return snake_case(rest).replace("mpeg4gif", "mpeg4_gif")


@cache
def tag_field(union: str) -> str:
    """The name of the field that tells the members apart; "" where there is none."""
    kinds = bot_api().types
    members = [one for one in kinds[union].one_of if one in kinds]
    for name in _TAG_FIELDS if not union.startswith("PassportElementError") else ("source",):
        if all(
            kinds[one].fields.get(name) is not None and kinds[one].fields[name].required for one in members
        ):
            return name
    return ""


def member_of(union: str, value: dict[str, Any]) -> str | None:
    """The name of the member that a value is; None if its tag is unknown or it fits no member."""
    kinds = bot_api().types
    members = [one for one in kinds[union].one_of if one in kinds]
    field = tag_field(union)
    if field:
        tagged = [one for one in members if tag_of(union, one) == value.get(field)]
        if len(tagged) <= 1:
            return tagged[0] if tagged else None
        members = tagged
    fitting = [one for one in members if _required(one) <= value.keys()]
    if fitting:
        return max(fitting, key=lambda one: len(_required(one)))
    return max(members, key=lambda one: len(_required(one) & value.keys())) if field else None


@cache
def _required(kind: str) -> frozenset[str]:
    return frozenset(name for name, field in bot_api().types[kind].fields.items() if field.required)
