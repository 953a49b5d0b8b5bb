"""Nested objects of a call, checked against the table of the Bot API, in the words of Telegram's JSON reader.

Telegram's reader takes a number inside a string, and a string that is a number. It refuses other values of a
wrong type, and objects that lack a field. It ignores fields that it does not know.
"""

from __future__ import annotations

import re
from typing import Any

from trioworkers.testing.facts import Value, bot_api
from trioworkers.testing.unions import member_of, tag_field

_NUMBER = re.compile(r"\s*-?[0-9]+\s*")
_FLOAT = re.compile(r"\s*-?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?\s*")
_SCALARS = frozenset({"Integer", "Float", "String", "Boolean", "True", "InputFile"})


class Malformed(Exception):
    """A value is not what the table says; the words are those of Telegram's JSON reader."""

    @property
    def words(self) -> str:
        """What is wrong, to be put behind `can't parse …: `."""
        return str(self.args[0])


def is_structured(types: tuple[str, ...]) -> bool:
    """Whether a parameter of these types is sent as JSON."""
    return not _SCALARS.issuperset(types)


def check_object(kind: str, value: object) -> None:
    """Check an object of that type, and all that is inside it.

    Raises:
        Malformed: it is not an object, lacks a field, or has a field of a wrong type.
    """
    if not isinstance(value, dict):
        raise Malformed("expected an Object")
    type_ = bot_api().types[kind]
    if type_.one_of:
        member = member_of(kind, value)
        if member is None:
            raise Malformed(_unknown_member(kind, value))
        kind, type_ = member, bot_api().types[member]
    for name, field in type_.fields.items():
        inner = value.get(name)
        if inner is None:
            if field.required:
                raise Malformed(f'Can\'t find field "{name}"')
        else:
            _check_field(name, field, inner)


def _unknown_member(union: str, value: dict[str, Any]) -> str:
    field = tag_field(union)
    if not field:
        return (
            "Input message content is not specified" if union == "InputMessageContent" else "Unsupported type"
        )
    if value.get(field) is None:
        return f'Can\'t find field "{field}"'
    if union == "ReactionType":
        return "invalid reaction type specified"
    if union == "BotCommandScope":
        return "Unsupported type specified"
    where = " for the inline query result" if union == "InlineQueryResult" else ""
    return f'{field} "{value[field]}" is unsupported{where}'


def _check_field(name: str, field: Value, value: object) -> None:
    wrong = ""
    for one in field.types:
        wrong = wrong_type(one, value)
        if not wrong:
            break
    if wrong:
        raise Malformed(f'Field "{name}" must be {wrong}')
    if isinstance(value, (dict, list)):
        for one in field.types:
            if not wrong_type(one, value):
                check_inside(one, value)
                return


def wrong_type(kind: str, value: object) -> str:
    """What a value should be (`of type Number`), if it is something else; "" if it may be of that type."""
    if kind.startswith("Array of "):
        return "" if isinstance(value, list) else "of type Array"
    if kind in {"Integer", "Float"}:
        if isinstance(value, str):
            return "" if (_NUMBER if kind == "Integer" else _FLOAT).fullmatch(value) else "a valid Number"
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        return "" if good and (kind == "Float" or int(value) == value) else "of type Number"  # type: ignore[call-overload]
    if kind in {"String", "InputFile"}:
        good = isinstance(value, (str, int, float)) and not isinstance(value, bool)
        return "" if good else "of type String"
    if kind in {"Boolean", "True"}:
        return "" if isinstance(value, bool) else "of type Boolean"
    return "" if isinstance(value, dict) else "of type Object"


def check_inside(kind: str, value: object) -> None:
    """Check the items of a list, or the fields of an object.

    Raises:
        Malformed: one of them is not what the table says.
    """
    if kind.startswith("Array of "):
        inner = kind.removeprefix("Array of ")
        for item in value if isinstance(value, list) else ():
            wrong = wrong_type(inner, item)
            if wrong:
                raise Malformed(
                    "expected an Object" if wrong == "of type Object" else f"expected a value {wrong}"
                )
            check_inside(inner, item)
    elif kind not in _SCALARS:
        check_object(kind, value)
