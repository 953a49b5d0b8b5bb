"""Finds rows on the pages of a file whose tables do not lead to them any more.

A page that is lost takes what is below it along: without a table's first page every row is out of reach,
though it is still there. Free pages hold rows, too, of updates that were done long ago. So only rows that an
index still lists are taken, and only when their body is the one that was written.
Format: https://sqlite.org/fileformat.html, "B-tree Pages", "Record Format".
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

PAGE = 4096  # bytes, SQLite's own size since 3.12
TABLE_LEAF = 0x0D
MOST_LOCAL, LEAST_LOCAL = PAGE - 35, (PAGE - 12) * 32 // 255 - 23  # bytes of a row on its page
INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
BOT_ID, BODY, CHECKSUM = 1, 5, 6  # columns of inbox and dead


def find_rows(path: Path, wanted: Mapping[int, int], columns: int) -> Iterator[tuple[Any, ...]]:
    """The rows of inbox or dead with `columns` columns whose id and bot id are among `wanted`."""
    with path.open("rb") as file:
        pages = path.stat().st_size // PAGE

        def read(number: int) -> bytes:
            if not 1 <= number <= pages:
                raise ValueError(number)
            file.seek((number - 1) * PAGE)
            return file.read(PAGE)

        for number in range(2, pages + 1):
            page = read(number)
            if page[0] != TABLE_LEAF:
                continue
            (cells,) = struct.unpack_from(">H", page, 3)
            for cell in range(min(cells, (PAGE - 8) // 2)):
                try:
                    (at,) = struct.unpack_from(">H", page, 8 + 2 * cell)
                    length, at = _varint(page, at)
                    id_, at = _varint(page, at)
                    if id_ not in wanted:
                        continue
                    row = (id_, *_record(_payload(page, at, length, read))[1:])
                    if (
                        len(row) == columns
                        and row[BOT_ID] == wanted[id_]
                        and zlib.crc32(row[BODY]) == row[CHECKSUM]
                    ):
                        yield row
                except (ValueError, LookupError, TypeError, struct.error):
                    continue


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(8):
        byte = data[at + place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + place + 1
    return value << 8 | data[at + 8], at + 9


def _payload(page: bytes, at: int, length: int, read: Callable[[int], bytes]) -> bytes:
    """A row's bytes, with those on the pages that it flows over to."""
    if length <= MOST_LOCAL:
        return page[at : at + length]
    local = LEAST_LOCAL + (length - LEAST_LOCAL) % (PAGE - 4)
    if local > MOST_LOCAL:
        local = LEAST_LOCAL
    parts, missing = [page[at : at + local]], length - local
    (following,) = struct.unpack_from(">I", page, at + local)
    while missing > 0:
        more = read(following)
        (following,) = struct.unpack_from(">I", more)
        parts.append(more[4 : 4 + missing])
        missing -= PAGE - 4
    return b"".join(parts)


def _record(payload: bytes) -> list[Any]:
    header, at = _varint(payload, 0)
    kinds = []
    while at < header:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    values: list[Any] = []
    for kind in kinds:
        value, size = _value(kind, payload, at)
        if at + size > len(payload):
            raise ValueError(kind)
        values.append(value)
        at += size
    return values


def _value(kind: int, payload: bytes, at: int) -> tuple[Any, int]:
    if kind >= 12:
        size = (kind - 12) // 2
        content = payload[at : at + size]
        return (content.decode(errors="replace") if kind % 2 else content), size
    if kind in INTEGERS:
        size = INTEGERS[kind]
        return int.from_bytes(payload[at : at + size], "big", signed=True), size
    if kind == 7:
        return struct.unpack_from(">d", payload, at)[0], 8
    return {0: None, 8: 0, 9: 1}[kind], 0  # KeyError: a reserved kind
