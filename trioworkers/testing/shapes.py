"""Results of calls and the table of the Bot API: whether one agrees with the other, and examples from it.

An example has the required fields only. It is what a method answers when the simulator knows nothing better.
"""

from __future__ import annotations

from typing import Any

from trioworkers.testing.facts import bot_api
from trioworkers.testing.unions import member_of, tag_field, tag_of

_EXAMPLES: dict[str, Any] = {
    "Integer": 1,
    "Float": 1.0,
    "String": "example",
    "Boolean": True,
    "True": True,
}
_PYTHON = {"Integer": int, "String": str, "Boolean": bool, "True": bool}


def find_faults(types: tuple[str, ...], value: object, path: str = "result") -> list[str]:
    """Where a result differs from what the table says; an empty list if it agrees.

    Args:
        types: what it may be, as the table has it.
        path: what the result is called in the list.
    """
    found: list[str] = []
    for kind in types:
        found = _faults(kind, value, path)
        if not found:
            return []
    return found


def _faults(kind: str, value: object, path: str) -> list[str]:
    if kind.startswith("Array of "):
        if not isinstance(value, list):
            return [f"{path}: expected an array, got {value!r}"]
        inner = kind.removeprefix("Array of ")
        return [fault for i, item in enumerate(value) for fault in _faults(inner, item, f"{path}[{i}]")]
    if kind in _PYTHON:
        good = isinstance(value, _PYTHON[kind]) and (
            kind in {"Boolean", "True"} or not isinstance(value, bool)
        )
        return [] if good else [f"{path}: expected {kind}, got {value!r}"]
    if kind == "Float":
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        return [] if good else [f"{path}: expected Float, got {value!r}"]
    type_ = bot_api().types[kind]
    if not isinstance(value, dict):
        others = tuple(one for one in type_.one_of if one not in bot_api().types)
        if others and not find_faults(others, value, path):
            return []
        return [f"{path}: expected {kind}, got {value!r}"]
    if type_.one_of:
        member = member_of(kind, value)
        return [f"{path}: no {kind}: {value!r}"] if member is None else _faults(member, value, path)
    found = [f"{path}: {kind} has no field {name}" for name in value if name not in type_.fields]
    for name, field in type_.fields.items():
        if name in value:
            found += find_faults(field.types, value[name], f"{path}.{name}")
        elif field.required:
            found.append(f"{path}: {kind} needs the field {name}")
    return found


def example(types: tuple[str, ...]) -> Any:
    """A value of the first of these types; lists are empty, objects have their required fields."""
    kind = types[0]
    if kind.startswith("Array of "):
        return []
    if kind in _EXAMPLES:
        return _EXAMPLES[kind]
    type_ = bot_api().types[kind]
    if type_.one_of:
        member = next(one for one in type_.one_of if one in bot_api().types)
        tag = {tag_field(kind): tag_of(kind, member)} if tag_field(kind) else {}
        return {**example((member,)), **tag}
    return {name: example(field.types) for name, field in type_.fields.items() if field.required}
