"""Reads HTTP/1.1 responses out of bytes, however they arrive, and accepts no more than RFC 9112 allows.

llhttp, which is Node's parser, splits the bytes by way of httptools. It refuses two lengths, a length beside
chunks, lines that end in a bare line feed, folded lines and spaces around a chunk's size. A client that knows
what it asked for can be stricter, so this module also refuses other transfer codings and chunks that were
coded twice, any content coding, a change of protocol (101), a body of an interim response, versions other
than 1.0 and 1.1, and whatever is larger than expected.

What httptools cannot do: it does not report the size of a chunk before its bytes arrive, so a chunk that is
too large is refused once as many bytes have arrived as are allowed. After an interim response it accepts
blank lines, and RTSP's or ICE's name in the place of HTTP's; neither changes where a response ends.

One parser serves all responses of a connection, since making a parser takes longer than reading a response.
Compared in pairs with a reader of our own that matched a head with one regular expression: reading a typical
answer takes 0.9 of its time, and a whole exchange on one loopback connection 0.99.
"""

from __future__ import annotations

import re

import httpx
import msgspec
from httptools import HttpParserCallbackError, HttpParserError, HttpResponseParser

MOST_HEAD = 16 * 1024  # bytes of all that is not body: heads, lines of chunks, trailers
CHUNK_LINES = 16  # bytes for each chunk that do not count as such: its size and two line breaks
LONGEST_LENGTH = 18  # digits

_is_text = re.compile(rb"[\t\x20-\x7e\x80-\xff]*").fullmatch
_KEPT = frozenset(
    (b"content-length", b"content-encoding", b"transfer-encoding", b"connection", b"retry-after")
)
FIRST_BYTE = b"H"[0]
LINE_BREAKS = b"\r\n"
EARLY = "the server closed early"
NOT_HTTP = "the server sent what is no answer of HTTP/1.1"
COMPRESSED = "an answer that is compressed, which nobody asked for"


class Response(msgspec.Struct, frozen=True, gc=False):
    """A whole response.

    `fields`: the fields of its header that a caller may need, by names in lower case and with values in lower
    case; several fields of one name are joined by commas. `is_last`: the connection cannot be used for
    another request, or must not.
    """

    status: int
    fields: dict[bytes, bytes]
    body: bytes
    is_last: bool


class _RefusedError(Exception):
    """Ends the parser's run from within one of its callbacks; the message is for the caller."""


class ResponseReader:
    """Reads the responses of one connection, each to a request that was neither HEAD nor CONNECT.

    :meth:`begin` each of them. After a refusal, an end, or a response that is the last, use it no more.
    """

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self.begin(0)

    def begin(self, limit: int) -> None:
        """Expect another response, with at most `limit` bytes of body, and `MOST_HEAD` around it."""
        self._limit = limit
        self._arrived = self._size = 0
        self._around = MOST_HEAD
        self._status = 0  # until the head of the response has been read
        self._fields: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._is_whole = self._is_last = self._lasts_to_end = False

    def close(self) -> None:
        """Let go of the parser, which refers to this reader: no cycle is left to the garbage collector."""
        del self._parser

    @property
    def status(self) -> int:
        """The status of the response; 0 until its head has been read."""
        return self._status

    def take(self) -> bytes:
        """Return the body as far as it has come, and keep it no more."""
        part = b"".join(self._body)
        self._body.clear()
        return part

    def feed(self, data: bytes) -> Response | None:
        """Return the response, if it is complete with `data`; empty data is the end of the connection.

        Raises:
            httpx.RemoteProtocolError: this is not a valid response. The message quotes nothing of it.
        """
        if not data:
            if not self._lasts_to_end:
                raise httpx.RemoteProtocolError(EARLY)
            return self._response()
        if not self._arrived and data[0] != FIRST_BYTE:  # llhttp reads over blank lines, and knows RTSP
            raise httpx.RemoteProtocolError(NOT_HTTP)
        self._arrived += len(data)
        if self._arrived > self._limit + MOST_HEAD:
            raise httpx.RemoteProtocolError(self._too_large())
        has_surplus = self._parse(data)
        if self._arrived - self._size > self._around and not has_surplus:
            raise httpx.RemoteProtocolError(NOT_HTTP)
        return self._response() if self._is_whole else None

    def _response(self) -> Response:
        return Response(self._status, self._fields, b"".join(self._body), self._is_last)

    def _parse(self, data: bytes) -> bool:
        """Parse `data`; return whether the response was whole before the last byte of it.

        Bytes behind it would be taken for the next one's. httptools does not tell where a response ended, but
        the parser begins another one then, unless line breaks are all there is: it reads over those. Where
        the last byte is one, it therefore is given to the parser on its own.
        """
        ends_in_break = data[-1] in LINE_BREAKS
        try:
            self._parser.feed_data(data[:-1] if ends_in_break else data)
            if not ends_in_break:
                return False
            if not self._is_whole:
                self._parser.feed_data(data[-1:])
                return False
        except HttpParserError as error:
            reason = error.__context__ if isinstance(error, HttpParserCallbackError) else None
            if reason is not None and not isinstance(reason, _RefusedError):
                raise reason from None  # a defect here, or an interrupt: not the server's doing
            if not self._is_whole:
                raise httpx.RemoteProtocolError(str(reason or NOT_HTTP)) from None
        self._is_last = True
        return True

    # -- called by the parser -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._is_whole:  # and these bytes are surplus
            raise _RefusedError(NOT_HTTP)

    def on_status(self, reason: bytes) -> None:
        """Check a part of the reason phrase, in which llhttp accepts any byte."""
        if not _is_text(reason):
            raise _RefusedError(NOT_HTTP)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field. Trailers come here, too, and are left out."""
        name = name.lower()
        if name in _KEPT and not self._status:
            value = value.strip(b" \t").lower()
            self._fields[name] = self._fields[name] + b"," + value if name in self._fields else value

    def on_headers_complete(self) -> None:
        """Check the head, and find out where the body ends.

        https://www.rfc-editor.org/rfc/rfc9112#section-6.3
        """
        status, version = self._parser.get_status_code(), self._parser.get_http_version()
        field = self._fields.get
        length, coding = field(b"content-length"), field(b"transfer-encoding")
        if status < 200:
            # 101 changes the protocol; a body here is one that some parsers see, and others do not
            if status < 100 or status == 101 or length is not None or coding is not None:
                raise _RefusedError(NOT_HTTP)
            self._fields.clear()
            return
        if version != "1.1" and (version != "1.0" or coding is not None):
            raise _RefusedError(NOT_HTTP)
        if field(b"content-encoding", b"identity") != b"identity":
            raise _RefusedError(COMPRESSED)
        if coding is not None and coding != b"chunked":
            raise _RefusedError(NOT_HTTP)
        self._status = status
        # whatever resembles "close" is taken for it: a connection too many costs nothing
        self._is_last = version != "1.1" or b"close" in field(b"connection", b"")
        if status in (204, 304):
            return
        if length is not None:
            if len(length) > LONGEST_LENGTH:
                raise _RefusedError(NOT_HTTP)
            if int(length) > self._limit:
                raise _RefusedError(self._too_large())
        elif coding is None:
            self._lasts_to_end = self._is_last = True

    def on_body(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limit:
            raise _RefusedError(self._too_large())
        self._body.append(part)

    def on_chunk_header(self) -> None:
        self._around += CHUNK_LINES

    def on_message_complete(self) -> None:
        if self._status:  # else it was an interim response
            self._is_whole = True
            # asked for only now: the parser obeys Proxy-Connection, and fields of the trailers, too
            self._is_last = self._is_last or not self._parser.should_keep_alive()

    def _too_large(self) -> str:
        return f"an answer of more than {self._limit} bytes"
