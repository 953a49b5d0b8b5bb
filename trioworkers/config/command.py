"""The settings of a bot that is a program of its own, in place of a handler."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, PlainValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from trioworkers.config.declare import at_key
from trioworkers.config.values import MOST_ITEMS, refused

if TYPE_CHECKING:
    from pathlib import Path

_RULE = 'an array of strings, the first of them a program: ["node", "bot.js"]'
_TABLE = 'a table of variables for the command: { BOT_TOKEN = "{token}" }'
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _command(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise PydanticCustomError("kind", "{problem}", {"problem": f"expected {_RULE}"})
    if len(value) > MOST_ITEMS:
        raise refused(f"expected at most {MOST_ITEMS:,} values, got {len(value):,}")
    words = [word for word in value if isinstance(word, str) and "\0" not in word]
    if len(words) < len(value) or not words or not words[0]:
        raise refused(f"expected {_RULE}")
    return tuple(words)


def _environment(value: object) -> object:
    if value == "test":
        raise refused(f"expected {_TABLE}; for a bot at Telegram's test servers, set test_servers = true")
    if not isinstance(value, Mapping):
        raise PydanticCustomError("kind", "{problem}", {"problem": f"expected {_TABLE}"})
    for name, text in value.items():
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise refused("expected names of letters, digits and underscores that do not begin with a digit")
        if not isinstance(text, str) or "\0" in text:
            raise refused(f"expected a string for {name}")
    return dict(value)


def either(command: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
    """Returns the command, which stands in place of a handler, never beside one."""
    if "handler" in info.data and (info.data["handler"] is None) == (command is None):
        if command is None:
            raise at_key("handler", 'missing, expected "module:function", or a command')
        raise at_key("command", "expected either handler or command, got both")
    return command


def no_albums(seconds: float, info: ValidationInfo) -> float:
    """Returns the time for albums, of which a program knows nothing: it gathers them itself."""
    if seconds and info.data.get("command") is not None:
        raise at_key("albums", "expected 0 beside command: a program is given albums part by part")
    return seconds


Command = Annotated[
    tuple[str, ...],
    PlainValidator(_command),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "minItems": 1}),
]
Environment = Annotated[
    Mapping[str, str],
    BeforeValidator(_environment),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
]


def filled(environment: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a bot's table, with `{token}`, `{api}` and `{files}` replaced by `values`.

    Other braces stay: a variable may hold JSON.
    """
    variables: dict[str, str] = {}
    for name, text in environment.items():
        for key, value in values.items():
            text = text.replace(f"{{{key}}}", value)
        variables[name] = text
    return variables


def program_problem(command: tuple[str, ...], folder: Path, path: str | None) -> str | None:
    """Return why a command cannot be started from a folder, as far as that can be seen; None: nothing.

    Args:
        command: its words.
        folder: where it would run.
        path: the variable PATH that it would have.
    """
    import shutil

    if not folder.is_dir():
        return f"the folder {folder} does not exist, expected the command's working directory"
    program = command[0]
    where = str(folder / program) if "/" in program else program
    if shutil.which(where, path=path) is None:
        place = f"in {folder}" if "/" in program else "in any folder of PATH"
        return f"no program of the name {program} was found {place}"
    return None
