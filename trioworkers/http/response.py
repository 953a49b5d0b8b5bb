"""Reads one HTTP/1.1 response out of bytes, however they arrive, and believes no more than RFC 9112 allows.

Written here because an answer of the Bot API is a head and a length, which a match of one expression reads
in a tenth of the time that a general parser takes; and because a client that knows what it asked for can be
stricter than one. What may be read in two ways is refused: two lengths, a length beside chunks, lines that
end in a bare line feed, lines that go on in the next one, a coding that nobody asked for.
"""

from __future__ import annotations

import re
from typing import NoReturn

import httpx
import msgspec

MOST_HEAD = 16 * 1024  # bytes of a head, of trailers, or of the line before a chunk

_TEXT = rb"[\t\x20-\x7e\x80-\xff]*"
_FIELDS = rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:" + _TEXT + rb"\r\n)*"
_head = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: " + _TEXT + rb")?\r\n(" + _FIELDS + rb")\r\n")
_named = re.compile(rb"\n(content-length|content-encoding|transfer-encoding|connection|retry-after):([^\r]*)")
_trailers = re.compile(_FIELDS + rb"\r\n")
_chunk = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;" + _TEXT + rb")?\r\n")
_length = re.compile(rb"[0-9]{1,18}")
START = b"HTTP/1."
EARLY = "the server closed early"


class Response(msgspec.Struct, frozen=True, gc=False):
    """A whole response.

    `fields`: those of its header that anybody asks for, by names in lower case and with values in lower
    case; what came more than once is joined by commas. `is_last`: the connection cannot be used for another
    request, or must not.
    """

    status: int
    fields: dict[bytes, bytes]
    body: bytes
    is_last: bool


class ResponseReader:
    """One response to a request that was neither HEAD nor CONNECT.

    Args:
        limit: bytes of its body, and within a head's length of all that arrives.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._arrived = 0
        self._kept = b""  # what cannot be understood yet
        self._status = 0  # until there is a head
        self._fields: dict[bytes, bytes] = {}
        self._is_last = self._is_chunked = self._is_at_trailers = False
        self._length: int | None = None
        self._body = bytearray()
        self._due = 0  # bytes until the chunk is whole, the line break behind it included

    def feed(self, data: bytes) -> Response | None:
        """The response, if it is complete with `data`; empty data is the end of the connection.

        Raises:
            httpx.RemoteProtocolError: there is none. The message quotes nothing of what came.
        """
        if not data:
            return self._end()
        self._arrived += len(data)
        if self._arrived > self._limit + MOST_HEAD:
            self._refuse_size()
        if self._kept:
            data, self._kept = self._kept + data, b""
        if self._status == 0:
            end = self._read_head(data)
            if end is None:
                return None
            data = data[end:]
        if self._is_chunked:
            return self._read_chunks(data)
        if self._length is None:
            self._body += data
            if len(self._body) > self._limit:
                self._refuse_size()
            return None
        if len(data) == self._length and not self._body:
            return Response(self._status, self._fields, data, self._is_last)
        self._body += data
        return None if len(self._body) < self._length else self._whole(len(self._body) - self._length)

    def _end(self) -> Response:
        """A body without a length is as long as the connection."""
        if self._status == 0 or self._is_chunked or self._length is not None:
            raise httpx.RemoteProtocolError(EARLY)
        return self._whole(0)

    def _whole(self, surplus: int) -> Response:
        """The response; bytes behind it would be taken for the next one, so that it is the last then."""
        if surplus and not self._is_chunked:
            del self._body[-surplus:]
        return Response(self._status, self._fields, bytes(self._body), self._is_last or surplus > 0)

    def _read_head(self, data: bytes) -> int | None:
        """Take in the head, past those that only inform; return where it ends, None while it has not."""
        start = 0
        while True:
            end = data.find(b"\r\n\r\n", start) + 4
            if end < 4 or end - start > MOST_HEAD:
                self._keep(data[start:])
                if not START.startswith(self._kept[: len(START)]):
                    self._refuse()
                return None
            match = _head.fullmatch(data, start, end)
            if match is None:
                self._refuse()
            version, status, lines = match.groups()
            if not status.startswith(b"1"):
                break
            if status == b"101":  # another protocol, which nobody asked for
                self._refuse()
            start = end
        # all the others of a dozen are passed over in one go, at a third of what a loop over them takes
        for name, value in _named.findall(b"\n" + lines.lower()):
            value = value.strip(b" \t")
            self._fields[name] = self._fields[name] + b"," + value if name in self._fields else value
        self._status = int(status)
        self._frame(version == b"1")
        return end

    def _frame(self, is_new: bool) -> None:
        """Find out where the body ends (https://www.rfc-editor.org/rfc/rfc9112#section-6.3)."""
        field = self._fields.get
        if field(b"content-encoding", b"identity") != b"identity":
            raise httpx.RemoteProtocolError("an answer that is compressed, which nobody asked for")
        length, coding = field(b"content-length"), field(b"transfer-encoding")
        # whatever is close to it is one: a connection too many costs nothing
        self._is_last = not is_new or b"close" in field(b"connection", b"")
        if length is not None and (coding is not None or not _length.fullmatch(length)):
            self._refuse()
        if coding is not None and (not is_new or coding != b"chunked"):
            self._refuse()
        if self._status in (204, 304):
            self._length = 0
        elif coding is not None:
            self._is_chunked = True
        elif length is None:
            self._is_last = True
        else:
            self._length = int(length)
            if self._length > self._limit:
                self._refuse_size()

    def _read_chunks(self, data: bytes) -> Response | None:
        """https://www.rfc-editor.org/rfc/rfc9112#section-7.1; extensions and trailers are read over."""
        at = 0
        while not self._is_at_trailers:
            if self._due:
                part = data[at : at + self._due]
                at += len(part)
                self._due -= len(part)
                self._body += part
                if self._due:
                    return None
                if not self._body.endswith(b"\r\n"):
                    self._refuse()
                del self._body[-2:]
            end = data.find(b"\r\n", at) + 2
            if end < 2:
                self._keep(data[at:])
                return None
            match = _chunk.fullmatch(data, at, min(end, at + MOST_HEAD))
            if match is None:
                self._refuse()
            at, size = end, int(match[1], 16)
            if len(self._body) + size > self._limit:
                self._refuse_size()
            self._due = size + 2
            self._is_at_trailers = size == 0
        if data.startswith(b"\r\n", at):
            end = at + 2
        elif (end := data.find(b"\r\n\r\n", at) + 4) < 4:
            self._keep(data[at:])
            return None
        if not _trailers.fullmatch(data, at, min(end, at + MOST_HEAD)):
            self._refuse()
        return self._whole(len(data) - end)

    def _keep(self, data: bytes) -> None:
        """Wait for the rest of a line, or of trailers, which have an end."""
        if len(data) > MOST_HEAD:
            self._refuse()
        self._kept = data

    def _refuse(self) -> NoReturn:
        raise httpx.RemoteProtocolError("the server sent what is no answer of HTTP/1.1")

    def _refuse_size(self) -> NoReturn:
        message = f"an answer of more than {self._limit} bytes"
        raise httpx.RemoteProtocolError(message)
