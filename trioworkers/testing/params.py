"""The parameters of a call, read as Telegram reads them.

A client may send JSON, a form, a query or multipart; numbers may be strings and nested objects may
be JSON inside a string. :class:`Params` hides that. Where Telegram is lenient (a number that cannot
be read is 0), so is this; where it refuses, the words are Telegram's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from trioworkers.testing.answers import bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping

_LEADING = re.compile(r"\s*-?[0-9]{1,19}")


class Upload(msgspec.Struct, frozen=True):
    """A file inside a request."""

    filename: str
    content_type: str
    content: bytes


class Params:
    """The named values of one request and the files that came with it.

    Attributes:
        decoded: nested objects that came as JSON in a string, as far as they were read already.
    """

    __slots__ = ("decoded", "files", "values")

    def __init__(self, values: Mapping[str, Any], files: Mapping[str, Upload] | None = None) -> None:
        self.values = values
        self.files: Mapping[str, Upload] = files or {}
        self.decoded: dict[str, Any] = {}

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def text(self, name: str) -> str:
        """A string; "" when absent. Numbers, booleans and objects become what JSON writes for them."""
        value = self.values.get(name)
        if isinstance(value, str):
            return value
        return "" if value is None else msgspec.json.encode(value).decode()

    def integer(self, name: str, default: int = 0) -> int:
        """An integer; `default` when absent, 0 when it cannot be read (td::to_integer)."""
        value = self.values.get(name)
        return default if value is None or value == "" else read_integer(value)

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean: true, yes, 1 and the like, in any case (td::to_bool)."""
        value = self.values.get(name)
        if value is None:
            return default
        if isinstance(value, str):
            return value.strip().lower() in {"true", "yes", "1"}
        return bool(value)

    def json(self, name: str, what: str) -> Any:
        """A nested object or list; None when absent or empty.

        Raises:
            Refused: `can't parse {what} JSON object`.
        """
        value = self.values.get(name)
        if not isinstance(value, str):
            return value
        if name in self.decoded:
            return self.decoded[name]
        if not value.strip():
            return None
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError:
            raise bad_request(f"can't parse {what} JSON object") from None


def read_integer(value: object) -> int:
    """What an int64 field makes of a value: a string's leading integer, 0 for what is none."""
    if isinstance(value, str):
        match = _LEADING.match(value)
        value = int(match[0]) if match is not None else 0
    if not isinstance(value, (int, float)) or not -(2**63) <= value < 2**63:
        return 0
    return int(value)
