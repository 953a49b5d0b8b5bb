"""Durations and sizes: numbers in the base unit, or strings with a unit.

A duration is seconds as a float: `45`, `0.05`, `"50ms"`, `"45s"`, `"5m"`, `"1h"`, `"30d"`. A size is bytes
as an int: `1048576`, `"150MB"`. Units of sizes are powers of 1024, and `MB` is the same as `MiB`:
systemd's `MemoryMax=150M`, Docker's `--memory 150m` and PM2's `max_memory_restart: "150M"` all
mean 150 x 2^20, and a limit that moves over from there must not shrink by 5 %. Decimal units
(10^6) were rejected for that reason.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel
from pydantic_core import PydanticCustomError, core_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

DURATION_RULE = 'expected seconds or a string such as "50ms", "45s", "5m", "1h" or "30d"'
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?) ?(ms|s|m|h|d)")
_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?) ?([KMG]i?B|B)")


def parse_duration(value: object) -> float:
    """Returns the seconds that `value` stands for.

    Raises:
        ValueError: it is no duration; the text says what was expected, not what was found.
    """
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        if match is None:
            raise ValueError(DURATION_RULE)
        # Milliseconds are divided, so that "50ms" is exactly 0.05.
        number, unit = float(match[1]), match[2]
        return number / 1000 if unit == "ms" else number * _SECONDS[unit]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(DURATION_RULE)
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds):
        raise ValueError("expected a finite number of seconds")
    return seconds


def parse_size(value: object) -> int:
    """Returns the bytes that `value` stands for.

    Raises:
        ValueError: it is no size; the text says what was expected, not what was found.
    """
    if isinstance(value, str):
        match = _SIZE.fullmatch(value)
        if match is not None:
            return round(float(match[1]) * _BYTES[match[2]])
    elif isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError('expected bytes or a string such as "512KB", "150MB" or "1GB"')


@dataclass(frozen=True, slots=True)
class _Unit:
    """Makes pydantic read a number through `parse`, and the schema name both forms."""

    parse: Callable[[object], float]
    number: str
    pattern: str

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        def read(value: object) -> float:
            try:
                return self.parse(value)
            except ValueError as error:
                raise PydanticCustomError("unit", "{problem}", {"problem": str(error)}) from None

        # Before the number's own schema, not in its place: that one holds the bounds of the key.
        return core_schema.no_info_before_validator_function(read, handler(source))

    def __get_pydantic_json_schema__(
        self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"type": self.number}, {"type": "string", "pattern": self.pattern}]}


Seconds = Annotated[float, _Unit(parse_duration, "number", f"^{_DURATION.pattern}$")]
"""A duration in seconds; the file may say `"45s"`."""

Bytes = Annotated[int, _Unit(parse_size, "integer", f"^{_SIZE.pattern}$")]
"""A size in bytes; the file may say `"150MB"`, which is 150 x 2^20."""


def duration_text(seconds: float) -> str:
    """A duration as the fleet file may have it, in the largest unit that needs no fraction: `90s`, `10m`."""
    if seconds and seconds < 1:
        return f"{seconds * 1000:g}ms"
    for unit in ("d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:g}{unit}"
    return f"{seconds:g}s"


def size_text(number: int) -> str:
    """A size as the fleet file may have it, in the largest unit that needs no fraction: `150MB`."""
    for unit in ("GB", "MB", "KB"):
        if number and number % _BYTES[unit] == 0:
            return f"{number // _BYTES[unit]}{unit}"
    return f"{number}B"


def with_units(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a model, as JSON holds them, with durations and sizes as texts with their units."""
    said: dict[str, Any] = {}
    for name, value in values.items():
        field = model.model_fields.get(name)
        units = [one for one in field.metadata if isinstance(one, _Unit)] if field is not None else []
        inner = None if field is None else field.annotation
        if units and isinstance(value, int | float):
            is_size = units[0].parse is parse_size
            said[name] = size_text(int(value)) if is_size else duration_text(float(value))
        elif isinstance(value, dict) and isinstance(inner, type) and issubclass(inner, BaseModel):
            said[name] = with_units(inner, value)
        else:
            said[name] = value
    return said
