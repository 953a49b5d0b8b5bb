"""How the parameters of a call become the body of a request.

Telegram's server reads a number as far as it goes and ignores the rest (`to_integer` in tdlib's
https://github.com/tdlib/td/blob/master/tdutils/td/utils/misc.h): a date as ISO text is the number of its
year, and bans for ever. So each value is sent as what it means, or refused here by the name of its parameter;
nothing is left to what an encoder makes of it.
"""

from __future__ import annotations

import math
import time
from collections import UserString
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from decimal import Decimal
from enum import Enum
from os import PathLike
from time import struct_time
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec

from trioworkers.botapi.files import InputFile
from trioworkers.errors import with_plain_words

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST_TIME: Final = (
    2**31 - 1
)  # Unix seconds; Telegram's dates have 32 bits, and a later one would wrap around
LARGEST_INTEGER: Final = 2**63 - 1
LARGEST_EXACT: Final = 2.0**53  # beyond it a float may be another number than was meant
DIGITS: Final = 30  # of a Decimal, before the point and after it
SPANS: Final = (
    "_period",
    "duration",
    "cache_time",
    "timeout",
    "start_timestamp",
    "_delay",
    "auto_delete_time",
)
"""How the names of those integers end that are a number of seconds; all other times are moments."""
TEXTS: Final = frozenset(
    ("text", "caption", "title", "description", "question", "explanation", "message_text")
)
"""The names of texts that people read: a number of seconds would be the answer to no question."""
WHAT_JSON_HOLDS: Final = "what JSON can hold, or an InputFile"


class _RefusedValue(Exception):
    """A value that cannot be sent. `path` grows on the way up."""

    def __init__(self, kind: type[Exception], words: str) -> None:
        super().__init__(words)
        self.kind = kind
        self.words = words
        self.path = ""


def split_files(
    params: Mapping[str, Any], clock: Callable[[], float] = time.time
) -> tuple[dict[str, Any], dict[str, InputFile]]:
    """Make a call's parameters what is sent, and take the files out of them.

    Returns the parameters, which consist of texts, numbers, truth values, lists and dictionaries, and the
    files by the name of their part. A file that is a parameter itself becomes the part of that name, one
    inside a parameter is replaced by `attach://<part>` (https://core.telegram.org/bots/api#sending-files).

    None is left out at every depth. A datetime becomes Unix seconds; one without time zone is local time, as
    Python means it. A timedelta becomes the moment that is so far from now, or, where Telegram expects a
    number of seconds (`open_period`, `duration`, …), that number; both are rounded up. An Enum becomes its
    value, a Decimal the same number, a dataclass, an attrs class or a Struct an object, a UUID its text.

    Args:
        params: the parameters of the call.
        clock: Unix seconds, for timedeltas.

    Raises:
        TypeError: a value cannot be sent (bytes, a set, NaN, a date without time, …). The message names the
            parameter and what to use, and quotes no value.
        ValueError: a number or a time is outside of what Telegram takes.
    """
    files: dict[str, InputFile] = {}
    plain: dict[str, Any] = {}
    walk = _Walk(files, clock)
    for name, value in params.items():
        kind = type(value)
        if kind is str or kind is bool:
            plain[name] = value
        elif isinstance(value, InputFile):
            files[name] = value
        elif value is not None:
            try:
                sent = walk.plain(value, name)
            except _RefusedValue as refused:
                message = f"{name}{refused.path}: {refused.words}"
                raise with_plain_words(refused.kind(message), f"{name}: {refused.words}") from None
            except RecursionError:
                message = f"{name}: expected a value that does not contain itself, nor nests without end"
                raise with_plain_words(ValueError(message), message) from None
            if sent is not None:
                plain[name] = sent
    return plain, files


def unencodable(params: Mapping[str, Any]) -> ValueError:
    """The error for parameters of which one holds half of a surrogate pair, which UTF-8 cannot express."""
    named = next((name for name, value in params.items() if _has_half_a_pair(value)), "a parameter")
    message = f"{named}: expected text, got half of a surrogate pair: cut texts by characters, not by UTF-16"
    return ValueError(message)


def form_fields(params: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as the text fields of a multipart form: whatever is not text, as JSON."""
    return {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in params.items()
    }


def opened(value: Any) -> Any:
    """An Enum's value, or the fields of an object whose class declares them; any other value as it is."""
    while isinstance(value, Enum):
        value = value.value
    fields = _fields(value)
    return value if fields is None else fields


class _Walk:
    """Makes the values of one call what is sent, and collects the files in them."""

    __slots__ = ("_clock", "_files")

    def __init__(self, files: dict[str, InputFile], clock: Callable[[], float]) -> None:
        self._files = files
        self._clock = clock

    def plain(self, value: Any, name: str) -> Any:
        """What is sent for `value`, which stands under `name`; None: it is left out."""
        kind = type(value)
        if kind is str or kind is bool:
            return value
        if kind is int:
            return _integer(value)
        if kind is dict:
            return self._object(value)
        if kind is list or kind is tuple:
            return self._array(value, name)
        if kind is float:
            return _float(value)
        return self._unusual(value, name)

    def _object(self, given: Mapping[Any, Any]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in given.items():
            if value is None:
                continue
            name = key if type(key) is str else _key(key)
            try:
                sent = self.plain(value, name)
            except _RefusedValue as refused:
                refused.path = f".{name}{refused.path}"
                raise
            if sent is not None:
                made[name] = sent
        return made

    def _array(self, given: list[Any] | tuple[Any, ...], name: str) -> list[Any]:
        made: list[Any] = []
        for place, value in enumerate(given):
            if value is None:
                continue
            try:
                sent = self.plain(value, name)
            except _RefusedValue as refused:
                refused.path = f"[{place}]{refused.path}"
                raise
            if sent is not None:
                made.append(sent)
        return made

    def _unusual(self, value: Any, name: str) -> Any:
        """A value of any other type, tried by what it is: subclasses count as what they extend."""
        if isinstance(value, InputFile):
            part = f"file{len(self._files)}"
            self._files[part] = value
            return f"attach://{part}"
        if isinstance(value, Enum):
            return None if value.value is None else self.plain(value.value, name)
        if isinstance(value, datetime | timedelta) and name in TEXTS:
            raise _RefusedValue(TypeError, f"expected a text, got {_type_name(value)}")
        if isinstance(value, datetime):
            if _is_span(name):
                raise _RefusedValue(TypeError, "expected a timedelta, or a number of seconds, got datetime")
            return _moment(value)
        if isinstance(value, timedelta):
            seconds = value.total_seconds()
            return math.ceil(seconds) if _is_span(name) else _in_range(math.ceil(self._clock() + seconds))
        if isinstance(value, Decimal):
            return _decimal(value)
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, int):
            return _integer(int.__pos__(value))
        if isinstance(value, float):
            return _float(float.__pos__(value))
        if isinstance(value, msgspec.Raw):  # JSON already
            return value
        if isinstance(value, Mapping):
            return self._object(value)
        if isinstance(value, struct_time):
            raise _refused(value)
        if isinstance(value, list | tuple):
            return self._array(value, name)
        if isinstance(value, UUID):
            return str(value)
        fields = _fields(value)
        if fields is not None:
            return self._object(fields)
        raise _refused(value)


def _has_half_a_pair(value: Any) -> bool:
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        return True
    except (TypeError, ValueError, RecursionError):  # the fault of another one is not looked for
        return False
    return False


def _is_span(name: str) -> bool:
    return name.endswith(SPANS)


def _integer(value: int) -> int:
    if -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
        return value
    raise _RefusedValue(ValueError, "expected an integer of at most 64 bits, got a larger one")


def _float(value: float) -> float | int:
    """A float as it is; a whole one as an integer, since `5.0` is refused where an integer belongs."""
    if not math.isfinite(value):
        raise _RefusedValue(TypeError, "expected a finite number, got NaN or infinity")
    if not value.is_integer():
        return value
    if abs(value) < LARGEST_EXACT:
        return int(value)
    raise _RefusedValue(ValueError, "expected an integer, got a float that is too large to be exact")


def _decimal(value: Decimal) -> int | msgspec.Raw:
    """The same number, digit by digit."""
    if not value.is_finite():
        raise _RefusedValue(TypeError, "expected a finite number, got NaN or infinity")
    _, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or not -DIGITS <= exponent <= DIGITS or len(digits) > 2 * DIGITS:
        raise _RefusedValue(
            ValueError, f"expected a Decimal of at most {DIGITS} digits on each side of its point"
        )
    if value == value.to_integral_value():
        return _integer(int(value))
    return msgspec.Raw(format(value, "f").encode())


def _moment(value: datetime) -> int:
    try:
        seconds = math.floor(value.timestamp())
    except (OverflowError, ValueError, OSError):
        seconds = -1
    return _in_range(seconds)


def _in_range(seconds: int) -> int:
    if 0 <= seconds <= LARGEST_TIME:
        return seconds
    raise _RefusedValue(ValueError, "expected a time from 1970 to January 2038, which is what Telegram takes")


def _key(key: Any) -> str:
    value = key.value if isinstance(key, Enum) else key
    if isinstance(value, str):
        return str.__str__(value)
    raise _RefusedValue(
        TypeError, f"expected texts as the names of an object's fields, got {_type_name(key)}"
    )


def _fields(value: Any) -> dict[str, Any] | None:
    """The fields of an object whose class declares them; None for any other value."""
    cls = type(value)
    if isinstance(value, msgspec.Struct):
        config = cls.__struct_config__
        names = zip(cls.__struct_encode_fields__, cls.__struct_fields__, strict=True)
        tag = {} if config.tag_field is None else {config.tag_field: config.tag}
        given = {encoded: getattr(value, name) for encoded, name in names}
        return tag | {name: inner for name, inner in given.items() if inner is not msgspec.UNSET}
    declared = getattr(cls, "__dataclass_fields__", None)
    if declared is not None:
        return {name: getattr(value, name) for name in declared if hasattr(value, name)}
    attributes = getattr(cls, "__attrs_attrs__", None)
    if attributes is not None:
        return {attribute.name: getattr(value, attribute.name) for attribute in attributes}
    return None


def _refused(value: Any) -> _RefusedValue:
    """Why a value cannot be sent, and what to use instead."""
    if isinstance(value, bytes | bytearray | memoryview):
        use = "InputFile(content) for a file, or a text"
    elif isinstance(value, PathLike):
        use = "InputFile(path) for a file, or a text"
    elif hasattr(value, "read"):
        use = "InputFile(content) for a file"
    elif isinstance(value, set | frozenset):
        use = "a list, which has an order"
    elif isinstance(value, date | clock_time | struct_time):
        use = "a datetime, or Unix seconds"
    elif isinstance(value, Iterable) and not isinstance(value, UserString | type):
        use = "a list"
    else:
        use = WHAT_JSON_HOLDS
    return _RefusedValue(TypeError, f"expected {use}, got {_type_name(value)}")


def _type_name(value: Any) -> str:
    return type(value).__name__
