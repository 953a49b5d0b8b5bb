"""What plugins remember: values under keys, in the inbox's database, so as durable as the updates.

A plugin sees one of two stores. What it does with :class:`InboxPluginStore` is durable when the call returns.
What a function that handles an update does with :class:`HandlingStore` is gathered, and committed in the
transaction that ends the update: when the handling fails, or the daemon dies in it, nothing was written, and
the next handling begins where this one began.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
import trio

from trioworkers.inbox.store import ANY, PutValue, StoreError, StoreWrite

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.inbox.inbox import Inbox

MOST_KEY = 256  # characters
MOST_VALUE = 2**20  # bytes of JSON: all bots wait while the writer's thread writes it
MOST_ITEMS = 1000  # that are read at once
LEAST_INTEGER, MOST_INTEGER = -(2**63), 2**64 - 1  # beyond them the JSON decoder makes floats


class InboxPluginStore:
    """The values of one plugin.

    Keys are texts of 1 to 256 characters. A value is anything but null that JSON can hold, up to 1 MiB of it.
    Values are compared as JSON: the order of an object's keys does not matter, and 1 is not 1.0. A value that
    was set with a `ttl` is absent once so many seconds have passed.

    Every method raises ValueError or TypeError for a key, value or time that cannot be kept, and StoreError
    when the inbox cannot be read or written. A caller that is cancelled does not know whether its write was
    done.

    Args:
        inbox: where the values are.
        plugin: the plugin's name.
        clock: Unix seconds, as the inbox's.
    """

    def __init__(self, inbox: Inbox, plugin: str, clock: Callable[[], float] = time.time) -> None:
        self._inbox = inbox
        self._plugin = plugin
        self.clock = clock

    async def get(self, key: str) -> Any:
        """Return the value; None when it is absent."""
        _check_key(key)
        found = await self._inbox.value(self._plugin, key)
        return None if found is None else self.decode(found)

    async def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Write the value, whatever was there."""
        await self._put(self.write(key, value, ttl), ANY)

    async def delete(self, key: str) -> bool:
        """Remove the value; return whether there was one."""
        return await self._put(self.removal(key), ANY)

    async def compare_and_set(self, key: str, expected: Any, value: Any, ttl: float | None = None) -> bool:
        """Write the value if `expected` is there; return whether it was.

        An `expected` of None is: nothing is there. A `value` of None removes what is there.
        """
        write = self.removal(key) if value is None else self.write(key, value, ttl)
        return await self._put(write, None if expected is None else _encode(expected))

    async def items(
        self, prefix: str = "", after: str = "", limit: int = MOST_ITEMS
    ) -> list[tuple[str, Any]]:
        """Return the first `limit` keys past `after` that begin with `prefix`, and their values, by key.

        At most 1000 at once; give the last key as `after` to read on.
        """
        check_range(prefix, after, limit)
        found = await self._inbox.values(self._plugin, prefix, after, limit)
        return [(key, self.decode(value)) for key, value in found]

    def write(self, key: str, value: Any, ttl: float | None = None) -> StoreWrite:
        """Return what writes the value together with what becomes of an update."""
        _check_key(key)
        until = None if ttl is None else self.clock() + _checked(ttl)
        return StoreWrite(self._plugin, key, _encode(value), until)

    def removal(self, key: str) -> StoreWrite:
        """Return what removes the value together with what becomes of an update."""
        _check_key(key)
        return StoreWrite(self._plugin, key, None)

    def decode(self, value: bytes) -> Any:
        """Return the value as it was given.

        Raises:
            StoreError: it is not what was written.
        """
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError:  # which may quote it
            message = f"a value of the plugin {self._plugin} is not JSON any more"
            raise StoreError(message) from None

    async def _put(self, write: StoreWrite, expected: Any) -> bool:
        put = PutValue(write.plugin, write.key, write.value, write.until, expected, self.clock())
        return await self._inbox.put(put)


class HandlingStore:
    """A plugin's values, as one handling of an update sees and changes them.

    Reads give what is committed, changed by what this handling has written. Writes carry no expectation: the
    updates of a chat are handled one after the other, so no other handling changes what belongs to the chat.
    What several chats share may change meanwhile; :class:`InboxPluginStore` has `compare_and_set` for that.

    Args:
        base: what is committed.
        writes: takes the writes, at most one of each key, in the order of their first one.
    """

    def __init__(self, base: InboxPluginStore, writes: list[StoreWrite]) -> None:
        self._base = base
        self._writes = writes
        self._places: dict[str, int] = {}

    async def get(self, key: str) -> Any:
        """Return the value; None when it is absent."""
        if key not in self._places:
            return await self._base.get(key)
        await trio.lowlevel.checkpoint()
        return self._own(key)

    async def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Write the value with the end of the update."""
        write = self._base.write(key, value, ttl)
        await trio.lowlevel.checkpoint()
        self._gather(write)

    async def delete(self, key: str) -> bool:
        """Remove the value with the end of the update; return whether there is one."""
        removal = self._base.removal(key)
        there = await self.get(key) is not None
        self._gather(removal)
        return there

    async def compare_and_set(
        self, key: str, expected: Any, value: Any, ttl: float | None = None
    ) -> NoReturn:
        """Refuse: whether the expectation is met then cannot be known before the update ends.

        Raises:
            NotImplementedError: always.
        """
        message = "a handling's writes are committed with the end of its update, without an expectation;"
        raise NotImplementedError(f"{message} use `set`, or `plugin.store` for what chats share")

    async def items(
        self, prefix: str = "", after: str = "", limit: int = MOST_ITEMS
    ) -> list[tuple[str, Any]]:
        """As :meth:`InboxPluginStore.items`."""
        check_range(prefix, after, limit)
        found: dict[str, Any] = {}
        last, more = after, True
        while more and len(found) < limit:  # own removals may leave fewer of a page than were asked for
            page = await self._base.items(prefix, last, limit)
            found.update((key, value) for key, value in page if key not in self._places)
            more = len(page) == limit
            last = page[-1][0] if page else last
        for key in self._places:
            if key > after and key.startswith(prefix) and (value := self._own(key)) is not None:
                found[key] = value
        # of what is committed all up to `last` was seen, and what lies past it is past the limit, too
        return sorted(found.items(), key=lambda item: item[0])[:limit]

    def _own(self, key: str) -> Any:
        write = self._writes[self._places[key]]
        if write.value is None or (write.until is not None and write.until <= self._base.clock()):
            return None
        return self._base.decode(write.value)

    def _gather(self, write: StoreWrite) -> None:
        place = self._places.setdefault(write.key, len(self._writes))
        self._writes[place : place + 1] = [write]


def check_range(prefix: object, after: object, limit: object) -> None:
    """Raise ValueError or TypeError for what `items` cannot be asked for."""
    for name, text in (("prefix", prefix), ("after", after)):
        _check_text(name, text)
    if type(limit) is not int:
        message = f"limit: expected an integer, got {type(limit).__name__}"
        raise TypeError(message)
    if not 1 <= limit <= MOST_ITEMS:
        message = f"limit: expected 1 to {MOST_ITEMS}, got {limit}"
        raise ValueError(message)


def _check_key(key: object) -> None:
    length = _check_text("key", key)
    if not 1 <= length <= MOST_KEY:
        message = f"key: expected 1 to {MOST_KEY} characters, got {length}"
        raise ValueError(message)


def _check_text(name: str, text: object) -> int:
    """The length of a text that every database can hold."""
    if not isinstance(text, str):
        message = f"{name}: expected a text, got {type(text).__name__}"
        raise TypeError(message)
    if "\0" in text or not _is_encodable(text):
        message = f"{name}: expected a text without null characters and surrogates"
        raise ValueError(message)
    return len(text)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _checked(ttl: object) -> float:
    if isinstance(ttl, bool) or not isinstance(ttl, int | float):
        message = f"ttl: expected seconds, got {type(ttl).__name__}"
        raise TypeError(message)
    if not 0 < ttl < math.inf:
        message = f"ttl: expected more than 0 seconds, got {ttl}"
        raise ValueError(message)
    return float(ttl)


def _encode(value: object) -> bytes:
    """JSON of the value, the same for equal values."""
    if value is None:
        message = "value: expected a JSON value, got None, which stands for an absent one"
        raise TypeError(message)
    try:
        _check_value(value)
        encoded = msgspec.json.encode(value, order="sorted")
    except RecursionError:
        message = "value: expected a JSON value, got one that is nested too deeply"
        raise ValueError(message) from None
    except UnicodeEncodeError:  # which holds the text
        message = "value: expected texts without surrogates"
        raise ValueError(message) from None
    if len(encoded) > MOST_VALUE:
        message = f"value: expected at most {MOST_VALUE} bytes of JSON, got {len(encoded)}"
        raise ValueError(message)
    return encoded


def _check_value(value: object) -> None:
    """Raise ValueError or TypeError for what does not come back from JSON as it was given."""
    if isinstance(value, dict):
        for key, one in value.items():
            if type(key) is not str:
                message = f"value: expected texts as keys of objects, got {type(key).__name__}"
                raise TypeError(message)
            _check_value(one)
    elif isinstance(value, list | tuple):
        for one in value:
            _check_value(one)
    elif type(value) is float:
        if not math.isfinite(value):
            message = f"value: expected a JSON value, got {value}"
            raise ValueError(message)
    elif type(value) is int:
        if not LEAST_INTEGER <= value <= MOST_INTEGER:
            message = "value: expected integers of at most 64 bits"
            raise ValueError(message)
    elif type(value) not in (str, bool) and value is not None:
        message = f"value: expected a JSON value, got {type(value).__name__}"
        raise TypeError(message)
