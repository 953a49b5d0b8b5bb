"""Keys of values and of `once` as the tables hold them, and the order in which rows of values are locked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers.inbox.postgres.arrays import Blobs, Texts, text

if TYPE_CHECKING:
    from collections.abc import Iterable


def encoded_key(key: str) -> bytes:
    """A once key or a plugin's key as the tables hold it."""
    return key.encode(errors="surrogatepass")


def in_order(values: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Values, by plugin and key, in the order in which all nodes lock them: so none waits in a circle."""
    return sorted(values, key=lambda value: (text(value[0]), encoded_key(value[1])))


def places(values: Iterable[tuple[str, str]]) -> tuple[Texts, Blobs]:
    """The columns of their plugins and keys, in that order."""
    ordered = in_order(values)
    return Texts(plugin for plugin, _ in ordered), Blobs(encoded_key(key) for _, key in ordered)
