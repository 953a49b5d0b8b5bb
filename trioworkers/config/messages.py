"""What a validation error says to the person who wrote the file.

pydantic's own texts are not used: they quote the input, which may be a secret, and speak of Python's
types. A message is made from the error's type, the TOML type of what was found, and the value
itself only where it is harmless: a number, or a word where a choice of words was expected.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time
from itertools import islice
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from trioworkers.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic_core import ErrorDetails

    from trioworkers.config.problems import KeyPath

MOST = 100  # faults of one table
_WORD = re.compile(r"[a-z_]{1,20}")
_ANOTHER_FORM = "a string of another form"

_KINDS = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "bool_type": "true or false",
    "float_type": "a number",
    "tuple_type": "an array",
    "dict_type": "a table",
    "mapping_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_MISSING = {"token": "a string or a table"}


def toml_type(value: object) -> str:
    """Names the TOML type of `value` with its article."""
    match value:
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a float"
        case str():
            return "a string"
        case list() | tuple():
            return "an array"
        case dict():
            return "a table"
        case datetime() | date() | time():
            return "a date or a time"
        case _:
            return "something else"


def unknown_key(name: str, known: Iterable[str]) -> str:
    """Says that a key is unknown, and which known one it may have been meant to be."""
    names = list(known)
    near = nearest(name, names)
    return f"unknown key, did you mean {near}" if near else f"unknown key, expected one of {', '.join(names)}"


def faults(model: type[BaseModel], error: ValidationError) -> Iterator[tuple[KeyPath, str, bool]]:
    """Yields the faults of a table: its path below the table, the message, whether the key is at fault.

    They are the first `MOST` of them, which are more than anybody reads; the rest comes to light when they
    are gone.
    """
    for details in islice(error.errors(include_url=False), MOST):
        path, context = _path(details), details.get("ctx", {})
        unknown = details["type"] == "extra_forbidden"
        if unknown:
            yield path, unknown_key(str(path[-1]), _known(model, path[:-1])), True
        else:
            yield path, _message(details, context), False


def keys_at_fault(error: ValidationError) -> set[str | int]:
    """Returns the keys of a table in which there is any fault."""
    return {_path(details)[0] for details in error.errors(include_url=False) if details["loc"]}


def _path(details: ErrorDetails) -> KeyPath:
    path = details["loc"]
    return (*path[:-1], details["ctx"]["key"]) if details["type"] == "at_key" else path


def _message(details: ErrorDetails, context: dict[str, Any]) -> str:
    kind, found = details["type"], details["input"]
    if kind in _KINDS:
        return f"expected {_KINDS[kind]}, got {toml_type(found)}"
    if kind in _BOUNDS:
        word, bound = _BOUNDS[kind]
        return f"expected {word} {context[bound]:g}{_number(found)}"
    match kind:
        case "finite_number":
            return "expected a finite number, got inf or nan"
        case "missing":
            return f"missing, expected {_MISSING.get(str(details['loc'][-1]), 'a value')}"
        case "literal_error":
            shown = f'"{found}"' if isinstance(found, str) and _WORD.fullmatch(found) else toml_type(found)
            return f"expected {context['expected'].replace(chr(39), chr(34))}, got {shown}"
        case "string_too_short":
            return f"expected at least {_characters(context['min_length'])}, got {len(found)}"
        case "string_too_long":
            return f"expected at most {_characters(context['max_length'])}, got {len(found)}"
        case "unit" | "kind" | "secret_type":
            return f"{details['msg']}, got {_ANOTHER_FORM if isinstance(found, str) else toml_type(found)}"
        case "value":
            return f"{details['msg']}, got {_ANOTHER_FORM}" if isinstance(found, str) else details["msg"]
        case "secret" | "secret_absent" | "at_key" | "refused":
            return details["msg"]
        case _:
            return f"expected another value, got {toml_type(found)}"


def _characters(count: int) -> str:
    return "1 character" if count == 1 else f"{count} characters"


def _number(found: object) -> str:
    if isinstance(found, int | float):
        try:
            return f", got {found:g}"
        except OverflowError:
            return ", got a larger number"
    return ""


def _known(model: type[BaseModel], path: KeyPath) -> list[str]:
    """Returns the keys of the table at `path` below `model`."""
    for part in path:
        field = model.model_fields.get(str(part))
        inner = model_in(field.annotation) if field is not None else None
        if inner is None:
            return []
        model = inner
    return file_keys(model)


def file_keys(model: type[BaseModel]) -> list[str]:
    """Returns the keys that a table of this model may have in the file."""
    return [
        name
        for name, field in model.model_fields.items()
        if isinstance(field.json_schema_extra, dict) and "x-reload" in field.json_schema_extra
    ]


def model_in(annotation: object) -> type[BaseModel] | None:
    """Returns the table that a field of this type holds, if it holds one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((inner for inner in map(model_in, get_args(annotation)) if inner is not None), None)
