"""Values that a handler has remembered for it, as JSON that gives back what it was given."""

from __future__ import annotations

import math
from typing import Any

import msgspec


def encode_remembered(name: str, value: object) -> msgspec.Raw:
    """The value in a list, as JSON, so that null is a value, too.

    Raises:
        TypeError: JSON cannot express it, or only as something else (bytes, NaN, infinity). The message names
            what was to be remembered, and does not quote it.
    """
    plain = msgspec.to_builtins(value, builtin_types=(bytes, bytearray, memoryview))
    odd = _find_odd(plain)
    if odd:
        message = f"remember {name!r}: expected a value that JSON can express, got {odd}"
        raise TypeError(message)
    return msgspec.Raw(msgspec.json.encode([plain]))


def _find_odd(value: Any) -> str:
    """What in a value would come back as something else; empty when nothing would."""
    if isinstance(value, bytes | bytearray | memoryview):
        return type(value).__name__
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN or infinity"
    if isinstance(value, dict):
        return next(filter(None, map(_find_odd, value.values())), "")
    if isinstance(value, list | tuple | set | frozenset):
        return next(filter(None, map(_find_odd, value)), "")
    return ""
