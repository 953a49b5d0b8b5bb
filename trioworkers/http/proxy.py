"""Proxies: how they are written, and how a connection through one is opened.

CONNECT is spoken here, over the streams that this package has: python-socks takes the first bytes that come
for the whole answer, and has no TLS to a proxy. SOCKS 5 is spoken by python-socks.
"""

from __future__ import annotations

import base64
import re
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import httpx

if TYPE_CHECKING:
    import ssl

    from trioworkers.http.addresses import Addresses
    from trioworkers.http.stream import Stream

PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
RULE = "http, https, socks5 or socks5h, ://, and user:password@ before host:port where they are needed"
MOST_HEAD = 16 * 1024  # bytes of the answer to CONNECT
LONGEST_CREDENTIAL = 255  # bytes of a user or a password (RFC 1929, 2)
AUTHENTICATE = 407
_status = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r\n").match


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy. As a text it is shown without its user and password.

    Attributes:
        scheme: `http` and `https` speak CONNECT, the latter over TLS; `socks5` is given an address that was
            looked up here, `socks5h` the server's name.
        tls: what an `https` proxy is verified with.
    """

    scheme: str
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.scheme}://{_authority(self.host, self.port)}"


def read_proxy(text: str) -> Proxy:
    """Return the proxy that an address names; without a scheme it is one of `http`.

    Raises:
        ValueError: it is not the address of a proxy. The message does not quote it.
    """
    if not text.isascii() or not text.isprintable():
        raise ValueError(RULE)
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme not in PORTS:
        raise ValueError(RULE)
    port = PORTS[parts.scheme] if parts.port is None else parts.port
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not parts.hostname or not port or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(RULE)
    if parts.scheme.startswith("socks") and not (
        (user + password).isascii() and max(len(user), len(password)) <= LONGEST_CREDENTIAL
    ):
        raise ValueError(f"{RULE}; for SOCKS they are ASCII, {LONGEST_CREDENTIAL} characters at most")
    if bool(user) < bool(password):
        raise ValueError(RULE)
    return Proxy(parts.scheme, parts.hostname, port, user, password)


async def open_tunnel(stream: Stream, proxy: Proxy, host: str, port: int) -> None:
    """Ask the proxy at the other end of `stream` for a connection to a server.

    Raises:
        httpx.ProxyError: it refused, or does not speak HTTP.
        OSError, trio.ClosedResourceError: the connection broke.
    """
    target = _authority(host, port).encode()
    head = b"CONNECT %s HTTP/1.1\r\nhost: %s\r\nuser-agent: trioworkers\r\n" % (target, target)
    if proxy.user:
        credentials = base64.b64encode(f"{proxy.user}:{proxy.password}".encode())
        head += b"proxy-authorization: Basic %s\r\n" % credentials
    head += b"\r\n"
    sent = 0
    while True:
        sent += stream.send_nowait(head[sent:])
        if sent == len(head):
            break
        await stream.wait_writable()
    answer = b""
    while True:
        answer, status = _read_status(answer)
        if status:
            break
        data = await stream.receive()
        if not data or len(answer) > MOST_HEAD:
            raise httpx.ProxyError(f"the proxy {proxy} closed early, or sent what is no answer of HTTP/1.1")
        answer += data
    if status == AUTHENTICATE:
        raise httpx.ProxyError(f"the proxy {proxy} wants a user and a password, or others: HTTP 407")
    if not 200 <= status < 300 or answer:
        raise httpx.ProxyError(f"the proxy {proxy} does not connect to {host}:{port}: HTTP {status}")


def _read_status(answer: bytes) -> tuple[bytes, int]:
    """What follows the head of an answer, and its status; 0 until a head has come that is not interim."""
    while b"\r\n\r\n" in answer:
        head, _, answer = answer.partition(b"\r\n\r\n")
        found = _status(head + b"\r\n")
        if found is None:
            raise httpx.ProxyError("the proxy sent what is no answer of HTTP/1.1")
        if int(found[1]) >= 200:
            return answer, int(found[1])
    return answer, 0


async def open_socks(proxy: Proxy, addresses: Addresses, host: str, port: int) -> socket.socket:
    """Return a socket that does not block, connected to a server by way of a SOCKS 5 proxy.

    Args:
        proxy: as which user, and with which password.
        addresses: those of the proxy.
        host: a name, which the proxy looks up, or an address.
        port: of the server.

    Raises:
        OSError: the proxy cannot be reached.
        httpx.ProxyError: it refused, or does not speak SOCKS 5.
    """
    from python_socks import ProxyConnectionError, ProxyError, ProxyType
    from python_socks.async_.trio import Proxy as SocksProxy

    refused: OSError = OSError("no address")
    for address in await addresses.find():
        user, password = proxy.user or None, proxy.password if proxy.user else None
        socks = SocksProxy(ProxyType.SOCKS5, address.host, proxy.port, user, password, rdns=True)
        try:
            opened = await socks.connect(host, port, timeout=float("inf"))
        except ProxyConnectionError as error:
            refused = OSError(error.errno, str(error))
            continue
        except ProxyError as error:
            raise httpx.ProxyError(f"the proxy {proxy} does not connect to {host}:{port}: {error}") from None
        except (ValueError, IndexError, AssertionError):  # what its parser makes of an odd answer
            raise httpx.ProxyError(f"the proxy {proxy} does not speak SOCKS 5") from None
        plain = socket.socket(fileno=opened.detach())
        plain.setblocking(False)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return plain
    raise refused


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
