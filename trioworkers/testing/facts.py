"""The Bot API as facts: which methods and types there are, read from `bot_api.txt` beside this module."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Value:
    """A parameter of a method, or a field of a type."""

    types: tuple[str, ...]
    """Names of what it may be: `Integer`, `String`, `Boolean`, `Float`, `InputFile`, `True`, a type of the
    table, or `Array of` one of these.
    """
    required: bool


@dataclass(frozen=True, slots=True)
class Method:
    """A method: what it returns, and its parameters by name in the documentation's order."""

    returns: tuple[str, ...]
    parameters: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Type:
    """A type: either one of several others, or an object with these fields."""

    one_of: tuple[str, ...] = ()
    fields: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BotApi:
    """All methods and types by name."""

    methods: dict[str, Method]
    types: dict[str, Type]


@cache
def bot_api() -> BotApi:
    """Reads the table, once."""
    return parse(files(__package__).joinpath("bot_api.txt").read_text("utf-8"))


def parse(text: str) -> BotApi:
    """Reads a table in the form that its first lines describe."""
    found = BotApi({}, {})
    into: dict[str, Value] = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("  "):
            name, _, types = line.strip().partition(": ")
            into[name.removesuffix("?")] = Value(tuple(types.split(" | ")), not name.endswith("?"))
        elif " -> " in line:
            name, _, returns = line.partition(" -> ")
            found.methods[name] = method = Method(tuple(returns.split(" | ")))
            into = method.parameters
        else:
            name, _, others = line.partition(" = ")
            found.types[name] = kind = Type(tuple(others.split(" | ")) if others else ())
            into = kind.fields
    return found
