"""The addresses of a server, in the order in which they are tried.

A name may stand for several addresses, of both families. One that accepts connections and then resets them,
or says nothing, would be chosen again and again, since it connects fastest. So an address on which something
failed comes last until something works on it, or another one has failed since.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HEAD_START = 0.25  # seconds until the next address is tried beside one that has not connected (RFC 8305, 5)
LATE_START = 3.0  # seconds, where something failed on the next one


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a server. `sockaddr`: as `socket.connect` takes it."""

    family: int
    sockaddr: tuple[str | int, ...]

    @property
    def host(self) -> str:
        return str(self.sockaddr[0])


class Addresses:
    """What a host and a port stand for, and on which addresses something failed."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._failures: dict[Address, int] = {}
        self._count = 0

    async def find(self) -> list[Address]:
        """Look the addresses up; return those that are to be tried, the best first.

        Raises:
            OSError: the name is not known, or nobody can be asked.
        """
        family = _family(self.host)
        if family is not None:
            sockaddr = (self.host, self.port) if family == socket.AF_INET else (self.host, self.port, 0, 0)
            return [Address(family, sockaddr)]
        try:
            infos = await trio.socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except RuntimeError:  # no thread can be had to look the name up with
            from trioworkers.shortage import no_thread  # only here: a worker does not carry it

            raise no_thread() from None
        found = dict.fromkeys(Address(int(info[0]), _sockaddr(info[4])) for info in infos)
        return sorted(found, key=lambda address: self._failures.get(address, 0))

    def failed(self, address: Address) -> None:
        """Note that a connection to it broke, or that nothing came: others are tried before it."""
        self._count += 1
        self._failures[address] = self._count
        if len(self._failures) > 64:  # a name whose addresses change with each answer
            del self._failures[min(self._failures, key=self._failures.__getitem__)]

    def worked(self, address: Address) -> None:
        """Note that a request to it was answered."""
        if self._failures:
            self._failures.pop(address, None)

    def has_failed(self, address: Address) -> bool:
        """Whether something failed on it, and nothing has worked since."""
        return address in self._failures


async def open_any(addresses: Addresses) -> tuple[socket.socket, Address]:
    """Connect to the first address that answers; the next is tried beside one that is slow.

    Raises:
        OSError: none can be reached; the error of the first one that failed.
    """
    found = await addresses.find()
    if len(found) == 1:
        return await _open(found[0]), found[0]
    return await _race(found, addresses)


async def _race(found: Sequence[Address], addresses: Addresses) -> tuple[socket.socket, Address]:
    won: list[tuple[socket.socket, Address]] = []
    errors: list[OSError] = []

    async def attempt(address: Address, over: trio.Event) -> None:
        try:
            opened = await _open(address)
        except OSError as error:
            errors.append(error)
            over.set()
            return
        if won:
            opened.close()
            return
        won.append((opened, address))
        nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            for number, address in enumerate(found):
                over = trio.Event()
                nursery.start_soon(attempt, address, over)
                is_last = number == len(found) - 1
                if not is_last:
                    late = addresses.has_failed(found[number + 1]) and not addresses.has_failed(address)
                    with trio.move_on_after(LATE_START if late else HEAD_START):
                        await over.wait()
    except BaseException:
        for opened, _ in won:
            opened.close()
        raise
    if won:
        return won[0]
    raise errors[0]


async def _open(address: Address) -> socket.socket:
    """A connected socket that does not block."""
    plain = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        plain.setblocking(False)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(BlockingIOError):
            plain.connect(address.sockaddr)
        await trio.lowlevel.wait_writable(plain)
        failure = plain.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            raise OSError(failure, os.strerror(failure))
    except BaseException:
        trio.lowlevel.notify_closing(plain)
        plain.close()
        raise
    return plain


def _sockaddr(parts: Iterable[object]) -> tuple[str | int, ...]:
    return tuple(part for part in parts if isinstance(part, str | int))


def _family(host: str) -> socket.AddressFamily | None:
    """What kind of address the host is, when it is one and no name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError, ValueError):
            socket.inet_pton(family, host)
            return family
    return None
