"""Which requests are read at all: stricter than h11, which forgives what can be read in two ways.

A proxy in front of us may read such a request differently, and then what is the body of one request to the
proxy is the next request to us. And what only looks like a host or a target would be an error of the
framework behind, which is told to nobody but writes an error to the log. So such requests are answered 400
here, before anything else sees them, and their connection ends.

The rules are those of RFC 9112 (lines: 2.2 and 5.2, targets: 3.2, framing: 6), RFC 3986 3.2.2 (hosts) and
RFC 6455 4.2.1 (the opening handshake of a websocket), without what the RFCs let a server forgive.
"""

from __future__ import annotations

import binascii
import ipaddress
import re

import h11
from h11._receivebuffer import ReceiveBuffer

from trioworkers.errors import TrioworkersError

VERSIONS = (b"1.1", b"1.0")
EXTENSIONS = b"sec-websocket-extensions"  # of which none is offered: a message could unpack to anything
_HOST = re.compile(
    rb"(?:((?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63})\.?|\[([0-9A-Fa-f:.]{2,45})\])?(?:(?<=.):([0-9]{0,5}))?"
)
_ABSOLUTE = re.compile(rb"(https?)://([^/?#]*)([^#]*)", re.IGNORECASE)
_LONGEST_NAME = 253  # bytes of a host's name, RFC 1035 2.3.4 without the length of its first label
_PORTS = {b"http": b"80", b"https": b"443"}
_LENGTH = b"\r\ncontent-length:"


class HeadRefusedError(TrioworkersError):
    """A request is answered 400, and its connection ends; the message says why, and quotes nothing."""


class StrictConnection(h11.Connection):
    """h11's side of a server, for requests that can be read in one way only.

    Attributes:
        refusal: why a request was refused, in words of ours; h11's own quote the request.
    """

    def __init__(self, most: int) -> None:
        """`most`: bytes of a head, or of the line of a chunk."""
        super().__init__(h11.SERVER, max_incomplete_event_size=most)
        self._receive_buffer = _Lines()
        self.refusal = "the request is not valid HTTP/1.1"

    @property
    def asks_head(self) -> bool:
        """Whether the request that is being answered is a HEAD, whose answer has no body."""
        return self._request_method == b"HEAD"

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """As h11's; a request comes with an origin-form target, and without offers of extensions.

        Raises:
            h11.RemoteProtocolError: the request is refused.
        """
        try:
            event = super().next_event()
            if type(event) is h11.Request:
                return judge(event, has_more=bool(self._receive_buffer))
        except HeadRefusedError as error:
            self.refusal = str(error)
            raise h11.RemoteProtocolError(self.refusal, error_status_hint=400) from None
        return event


class _Lines(ReceiveBuffer):
    """Gives h11 the lines of a head, or of a chunked body's trailers.

    h11's own takes a line feed for the end of a line, and a line that begins with a space for more of the
    line before.
    """

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """Return the lines up to the first empty one, or None if they are not all here.

        Raises:
            HeadRefusedError: a line could be read as two, or as a part of another one; or there are two
                lengths.
        """
        data = self._data
        if data[:2] == b"\r\n":
            self._extract(2)
            return []
        end = data.find(b"\r\n\r\n", self._multiple_lines_search)
        if end < 0:
            self._multiple_lines_search = max(0, len(data) - 3)
            _judge_lines(data[:-1] if data[-1:] == b"\r" else data)
            return None
        head = self._extract(end + 4)
        del head[-2:]
        _judge_lines(head)
        _judge_lengths(head.lower())
        lines = head.split(b"\r\n")
        del lines[-1]
        return lines


def _judge_lines(head: bytearray) -> None:
    """See that lines end with CRLF, that no other CR or LF is in them, and that none goes on in the next."""
    ends = head.count(b"\r\n")
    if head.count(b"\n") != ends or head.count(b"\r") != ends:
        message = "expected each line to end with CR LF, and no other CR or LF"
        raise HeadRefusedError(message)
    if b"\n " in head or b"\n\t" in head:
        message = "expected each field on one line"
        raise HeadRefusedError(message)


def _judge_lengths(head: bytearray) -> None:
    """See that there is one Content-Length at most; h11 takes several equal ones for one."""
    at = head.find(_LENGTH)
    if at >= 0 and (head.find(_LENGTH, at + 1) >= 0 or head.find(b",", at, head.find(b"\r\n", at + 2)) >= 0):
        message = "expected one Content-Length"
        raise HeadRefusedError(message)


def judge(request: h11.Request, *, has_more: bool) -> h11.Request:
    """Return the request as it is read: its target in origin-form, a handshake without extensions.

    `has_more`: bytes came behind the head.

    Raises:
        HeadRefusedError: the request could be read in two ways, or its target or host is not valid.
    """
    host = upgrade = b""
    length: bytes | None = None
    chunked = False
    for _, name, value in request.headers._full_items:  # its own iterator takes ten times as long
        if name == b"host":
            host = value
        elif name == b"content-length":
            length = value
        elif name == b"transfer-encoding":
            chunked = True
        elif name == b"upgrade":
            upgrade = value
    if request.http_version not in VERSIONS:
        message = "expected HTTP/1.1 or HTTP/1.0"
        raise HeadRefusedError(message)
    if chunked and (length is not None or request.http_version == b"1.0"):
        message = "expected either Content-Length or, in HTTP/1.1, Transfer-Encoding"
        raise HeadRefusedError(message)
    if host and not is_host(host):
        message = "expected the header Host to be a host, and perhaps a port"
        raise HeadRefusedError(message)
    target = request.target
    if not request.method.isupper():  # hypercorn would write it so, RFC 9110 9.1 tells them apart
        message = "expected a method in capital letters"
        raise HeadRefusedError(message)
    if request.method == b"CONNECT":
        message = "expected another method than CONNECT, which is for proxies"
        raise HeadRefusedError(message)
    if target[:1] != b"/":
        target = _origin_form(request.method, target, host)
        request = _changed(request, target, request.headers.raw_items())
    if upgrade and request.method == b"GET" and upgrade.lower() == b"websocket" and _asks_upgrade(request):
        _judge_handshake(request, has_body=has_more or chunked or bool(length and int(length)))
        kept = [item for item in request.headers.raw_items() if item[0].lower() != EXTENSIONS]
        request = _changed(request, target, kept)
    return request


def is_host(value: bytes) -> bool:
    """Whether a `Host` is a name, an IPv4 address or an IPv6 address in brackets, and perhaps a port."""
    found = _HOST.fullmatch(value)
    if found is None:
        return False
    name, address, port = found.groups()
    if address is not None:
        try:
            ipaddress.IPv6Address(address.decode())
        except ValueError:
            return False
    elif name is None or len(name) > _LONGEST_NAME:
        return False
    return not port or int(port) < 65536


def _origin_form(method: bytes, target: bytes, host: bytes) -> bytes:
    """The path and query of a target that is a whole address, RFC 9112 3.2.2, or `*`, 3.2.4.

    Raises:
        HeadRefusedError: it is neither, or it has another host than the header.
    """
    if target == b"*" and method == b"OPTIONS":
        return target
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        message = "expected a target that begins with / or is an http or https address"
        raise HeadRefusedError(message)
    scheme, authority, rest = found.groups()
    if not is_host(authority) or _plain(authority, scheme) != _plain(host or authority, scheme):
        message = "expected the target to have the host of the header Host"
        raise HeadRefusedError(message)
    return rest if rest[:1] == b"/" else b"/" + rest


def _plain(host: bytes, scheme: bytes) -> bytes:
    """A host as it is compared: without the scheme's own port."""
    name, colon, port = host.lower().rpartition(b":")
    return name if colon and port in (b"", _PORTS[scheme.lower()]) else host.lower()


def _asks_upgrade(request: h11.Request) -> bool:
    tokens = b",".join(value for name, value in request.headers if name == b"connection")
    return any(token.strip().lower() == b"upgrade" for token in tokens.split(b","))


def _judge_handshake(request: h11.Request, *, has_body: bool) -> None:
    """See that what asks for a websocket is a whole handshake, and nothing behind it.

    A client may send nothing before it has the answer. Hypercorn would take a body, too, for messages.
    """
    fields = {name: value for name, value in request.headers if name.startswith(b"sec-websocket-")}
    try:
        nonce = binascii.a2b_base64(fields.get(b"sec-websocket-key", b""), strict_mode=True)
    except ValueError:
        nonce = b""
    is_current = fields.get(b"sec-websocket-version") == b"13" and request.http_version == b"1.1"
    if len(nonce) != 16 or not is_current or not all(value.isascii() for value in fields.values()):
        message = "expected a websocket handshake of HTTP/1.1, with a key and version 13"
        raise HeadRefusedError(message)
    if has_body:
        message = "expected nothing behind the handshake of a websocket"
        raise HeadRefusedError(message)


def _changed(request: h11.Request, target: bytes, headers: list[tuple[bytes, bytes]]) -> h11.Request:
    return h11.Request(
        method=request.method, target=target, headers=headers, http_version=request.http_version
    )
