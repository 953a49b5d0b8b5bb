"""Reads HTTP/1.1 messages part by part: heads, blocks of bodies, ends. Pure: bytes in, parts out.

llhttp, which is Node's parser, splits the bytes by way of httptools. What it accepts without a bound (the
lines of a head, of a chunk, of trailers) is bounded here by the bytes that go by without anything of a body.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import httptools
import msgspec

from trioworkers.errors import TrioworkersError

if TYPE_CHECKING:
    from collections.abc import Iterable

READ_SIZE = 64 * 1024  # bytes of one read, so of the parts that wait at a time
MOST_HEAD = 16 * 1024  # bytes of a request's or a response's line and header
# of the connection, not of the message (RFC 9110 7.6.1), and what a probe says to us; the body's framing is
# made anew from the parts
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"expect",
        b"host",
        b"x-trioworkers-probe",
        b"x-trioworkers-update",
    )
)


def _first(fields: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes:
    for key, value in fields:  # a generator would take three times as long
        if key == name:
            return value
    return b""


class MessageError(TrioworkersError):
    """The bytes are not a valid message; the text quotes nothing of them."""


class RequestHead(msgspec.Struct, frozen=True):
    """The head of a request.

    Attributes:
        method: GET, POST or another.
        target: as it stands in the first line.
        fields: names in lower case, and values.
        keeps_alive: another request may follow on the connection.
        has_body: a body follows, of `length` bytes, or in chunks where that is None.
        length: the body's length, if it is known.
        waits: the sender waits for 100 before it sends the body.
        takes_chunks: the sender knows chunks (HTTP/1.1).
    """

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    keeps_alive: bool
    has_body: bool
    length: int | None
    waits: bool
    takes_chunks: bool

    def field(self, name: bytes) -> bytes:
        """The value of the first field of a name; empty where there is none."""
        return _first(self.fields, name)


class ResponseHead(msgspec.Struct, frozen=True):
    """The head of a response that is not an interim one.

    Attributes:
        status: 200 to 599.
        reason: the words behind it.
        fields: names in lower case, and values.
        keeps_alive: the connection may be used again, once the body has ended.
        length: the body's length; None where it ends with its chunks or the connection.
        to_end: the body ends with the connection.
    """

    status: int
    reason: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    keeps_alive: bool
    length: int | None
    to_end: bool

    def field(self, name: bytes) -> bytes:
        """The value of the first field of a name; empty where there is none."""
        return _first(self.fields, name)


class End:
    """The end of a message."""


END = End()


class _Reader:
    """What both readers have in common: the parser's calls.

    Attributes:
        parts: heads, blocks and ends, in the order of the bytes; whoever reads takes them out.
    """

    def __init__(self) -> None:
        self.parts: deque[Any] = deque()
        self._fields: list[tuple[bytes, bytes]] = []
        self._in_head = True
        self._around = 0  # bytes since the last block of a body, or the last end
        self._sized = 0  # bytes of this head

    def _count(self, data: bytes) -> None:
        self._around += len(data)
        if self._around > MOST_HEAD + READ_SIZE:
            message = "a head, or what stands between the blocks of a body, is too long"
            raise MessageError(message)

    def on_message_begin(self) -> None:
        self._fields = []
        self._in_head = True
        self._sized = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field. Trailers come here, too, and are left out."""
        if self._in_head:
            self._grow(len(name) + len(value) + 4)
            self._fields.append((name.lower(), value))

    def _grow(self, size: int) -> None:
        self._sized += size
        if self._sized > MOST_HEAD:
            message = f"a head of more than {MOST_HEAD} bytes"
            raise MessageError(message)

    def on_body(self, block: bytes) -> None:
        self._around = 0
        self.parts.append(block)

    def on_message_complete(self) -> None:
        self._around = 0
        self._in_head = True
        self.parts.append(END)

    def _length(self) -> int | None:
        length = _first(self._fields, b"content-length")
        return int(length) if length else None

    def _has(self, name: bytes, word: bytes) -> bool:
        return any(key == name and word in value.lower() for key, value in self._fields)


class RequestReader(_Reader):
    """Reads the requests of one connection."""

    def __init__(self) -> None:
        super().__init__()
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""

    def feed(self, data: bytes) -> None:
        """Append to `parts` what is complete with `data`.

        Raises:
            MessageError: it is not a valid request.
        """
        self._count(data)
        _parse(self._parser, data)

    def close(self) -> None:
        """Let go of the parser, which refers to this reader: no cycle is left to the garbage collector."""
        del self._parser

    def on_url(self, part: bytes) -> None:
        if self._in_head and not self._fields:
            self._target = self._target + part if self._sized else part
        self._grow(len(part))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._around = 0
        parser = self._parser
        chunked = self._has(b"transfer-encoding", b"chunked")
        length = None if chunked else self._length()
        self.parts.append(
            RequestHead(
                parser.get_method(),
                self._target,
                tuple(self._fields),
                parser.should_keep_alive(),
                chunked or bool(length),
                length,
                self._has(b"expect", b"100-continue"),
                parser.get_http_version() == "1.1",
            )
        )


class ResponseReader(_Reader):
    """Reads the responses of one connection, each to a request that was not HEAD."""

    def __init__(self) -> None:
        super().__init__()
        self._parser = httptools.HttpResponseParser(self)
        self._reason = b""
        self._to_end = self._is_interim = False

    def feed(self, data: bytes) -> None:
        """Append to `parts` what is complete with `data`; empty data is the end of the connection.

        Raises:
            MessageError: it is not a valid response, or ends early.
        """
        if not data:
            if not self._to_end:
                message = "the server closed early"
                raise MessageError(message)
            self._to_end = False
            self.parts.append(END)
            return
        self._count(data)
        _parse(self._parser, data)

    def close(self) -> None:
        """Let go of the parser, which refers to this reader: no cycle is left to the garbage collector."""
        del self._parser

    def on_status(self, reason: bytes) -> None:
        self._reason = reason

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._around = 0
        parser = self._parser
        status = parser.get_status_code()
        self._is_interim = status < 200
        if self._is_interim:
            return
        length = self._length()
        chunked = self._has(b"transfer-encoding", b"chunked")
        self._to_end = not chunked and length is None and status not in (204, 304)
        self.parts.append(
            ResponseHead(
                status,
                self._reason,
                tuple(self._fields),
                parser.should_keep_alive() and not self._to_end,
                None if chunked else length,
                self._to_end,
            )
        )

    def on_message_complete(self) -> None:
        if self._is_interim:
            self._in_head = True
        elif not self._to_end:
            super().on_message_complete()


def _parse(parser: Any, data: bytes) -> None:
    try:
        parser.feed_data(data)
    except httptools.HttpParserCallbackError as error:
        if isinstance(error.__context__, MessageError):
            raise error.__context__ from None
        raise
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        message = "not a valid message of HTTP/1.1"
        raise MessageError(message) from None
