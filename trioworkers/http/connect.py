"""Opens connections to one server: over TLS or not, by way of a proxy or not."""

from __future__ import annotations

import os
import socket
import ssl
from typing import TYPE_CHECKING

import httpx
import trio

from trioworkers.http.addresses import Addresses, open_any
from trioworkers.http.proxy import open_socks, open_tunnel
from trioworkers.http.stream import Stream
from trioworkers.http.tunnelled_tls import TunnelledTls
from trioworkers.starved import NO_ROOM

if TYPE_CHECKING:
    from trioworkers.http.addresses import Address
    from trioworkers.http.proxy import Proxy

# what a socket raises, and what a stream does whose exchange was ended meanwhile
BROKEN = (OSError, trio.ClosedResourceError)


class Connector:
    """Opens connections, and begins with another address where one failed.

    Args:
        host: the server's name or address.
        port: its port.
        tls: the context to verify it with; None speaks plain HTTP.
        proxy: by way of which; None connects directly.
    """

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, proxy: Proxy | None = None) -> None:
        self._host, self._port, self._tls, self._proxy = host, port, tls, proxy
        self._server = Addresses(host, port)
        self._proxies = None if proxy is None else Addresses(proxy.host, proxy.port)
        # of whom the address is chosen here, and another one can be begun with
        looks_up = proxy is None or proxy.scheme == "socks5"
        self._chosen = self._server if looks_up or self._proxies is None else self._proxies

    async def connect(self) -> Stream:
        """Connect, and shake hands where there is TLS.

        Raises:
            httpx.ConnectError: the server, or the proxy, cannot be reached, or is not who it should be.
            httpx.ProxyError: the proxy refused.
        """
        stream = await self._open()
        if self._tls is None:
            return stream
        address = stream.address
        try:
            stream = await _secured(stream, self._tls, self._host)
        except BaseException as error:
            self._note_failure(address)
            if not isinstance(error, OSError):
                raise
            raise httpx.ConnectError(_no_tls(f"{self._host}:{self._port}", error)) from None
        stream.address = address
        return stream

    def failed(self, stream: Stream) -> None:
        """Note that an exchange on this connection failed: the next one is opened to another address."""
        self._note_failure(stream.address)

    def worked(self, stream: Stream) -> None:
        """Note that an exchange on this connection was answered."""
        if stream.address is not None:
            self._chosen.worked(stream.address)

    def _note_failure(self, address: Address | None) -> None:
        if address is not None:
            self._chosen.failed(address)

    async def _open(self) -> Stream:
        if self._proxy is None:
            try:
                plain, address = await open_any(self._server)
            except OSError as error:
                place = f"{self._host}:{self._port}"
                raise httpx.ConnectError(f"cannot connect to {place}: {_reason(error)}") from None
            stream = Stream(plain)
            stream.address = address
            return stream
        try:
            if self._proxy.scheme.startswith("socks"):
                return await self._open_by_socks(self._proxy)
            return await self._open_by_tunnel(self._proxy)
        except BROKEN as error:
            reason = _reason(error) if isinstance(error, OSError) else "the connection broke"
            raise httpx.ConnectError(f"cannot connect to the proxy {self._proxy}: {reason}") from None

    async def _open_by_socks(self, proxy: Proxy) -> Stream:
        assert self._proxies is not None  # noqa: S101 - for mypy
        if proxy.scheme == "socks5h":
            return Stream(await open_socks(proxy, self._proxies, self._host, self._port))
        try:
            found = await self._server.find()
        except OSError as error:
            raise httpx.ConnectError(f"cannot connect to {self._host}: {_reason(error)}") from None
        refusal: httpx.ProxyError | None = None
        for address in found:
            try:
                stream = Stream(await open_socks(proxy, self._proxies, address.host, self._port))
            except httpx.ProxyError as error:
                self._note_failure(address)
                refusal = refusal or error
                continue
            except BaseException:
                self._note_failure(address)
                raise
            stream.address = address
            return stream
        raise refusal or httpx.ConnectError(f"cannot connect to {self._host}: no address")

    async def _open_by_tunnel(self, proxy: Proxy) -> Stream:
        assert self._proxies is not None  # noqa: S101 - for mypy
        plain, address = await open_any(self._proxies)
        stream = Stream(plain)
        try:
            if proxy.tls is not None:
                try:
                    stream = await _secured(stream, proxy.tls, proxy.host)
                except OSError as error:
                    raise httpx.ConnectError(_no_tls(f"the proxy {proxy}", error)) from None
            await open_tunnel(stream, proxy, self._host, self._port)
        except BaseException:
            self._note_failure(address)
            stream.close()
            raise
        stream.address = address
        return stream


async def _secured(stream: Stream, tls: ssl.SSLContext, host: str) -> Stream:
    """The same connection over TLS; it is closed where the handshake fails."""
    if stream.is_tls:
        inner = TunnelledTls(stream, tls, host)
        try:
            await inner.shake_hands()
        except BaseException:
            inner.close()
            raise
        return inner
    secure: socket.socket = stream.socket
    try:
        secure = tls.wrap_socket(stream.socket, server_hostname=host, do_handshake_on_connect=False)
        await _shake_hands(secure)
    except BaseException:
        trio.lowlevel.notify_closing(secure)
        secure.close()
        raise
    return Stream(secure)


async def _shake_hands(secure: ssl.SSLSocket) -> None:
    while True:
        try:
            secure.do_handshake()
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(secure)
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(secure)
        else:
            return


def _no_tls(place: str, error: OSError) -> str:
    return f"no TLS with {place}: {getattr(error, 'verify_message', None) or 'the handshake failed'}"


def _reason(error: OSError) -> str:
    """Why a connection could not be made, in the system's words, without addresses."""
    if isinstance(error, socket.gaierror) and error.strerror:
        return error.strerror
    if error.errno in NO_ROOM:
        from trioworkers.shortage import words_of  # only here: a worker does not carry it

        return words_of(error)
    return os.strerror(error.errno) if error.errno else "no address answers"
