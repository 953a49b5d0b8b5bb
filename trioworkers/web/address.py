"""Where the API is reached, from the socket that it listens on: it may be systemd that has bound it."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from trioworkers.ip import read_address

if TYPE_CHECKING:
    from trioworkers.ip import IPAddress

ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}  # of documentation: nobody's
OURSELVES = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def is_on_loopback(listener: socket.socket) -> bool:
    """Whether a TCP socket listens on a loopback address; a unix socket does not."""
    address = _address(listener)
    return address is not None and address.is_loopback


def reached_at(listener: socket.socket) -> str | None:
    """`http://host:port` of a listening socket; None for a unix socket.

    No browser can open `0.0.0.0`. In its place stands the address that this machine has for others, or else
    loopback. A name of the machine would often be known to itself alone.
    """
    address = _address(listener)
    if address is None:
        return None
    host = _for_others(listener.family) if address.is_unspecified else str(address)
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def _address(listener: socket.socket) -> IPAddress | None:
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    host: str = listener.getsockname()[0]
    return read_address(host.partition("%")[0])  # a link-local one has its interface behind it


def _for_others(family: int) -> str:
    """The address that this machine sends from; nothing is sent to learn it."""
    known = socket.AddressFamily(family)
    with suppress(OSError), socket.socket(known, socket.SOCK_DGRAM) as probe:
        probe.connect((ELSEWHERE[known], 9))
        host: str = probe.getsockname()[0]
        return host
    return OURSELVES[known]
