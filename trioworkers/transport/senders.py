"""Whether a delivery comes from Telegram's networks, seen through the proxies that are trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers.ip import read_address, read_network

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trioworkers.ip import IPAddress, IPNetwork

# https://core.telegram.org/bots/webhooks#the-short-version
TELEGRAM = (read_network("149.154.160.0/20"), read_network("91.108.4.0/22"))


def is_telegram(peer: str | None, forwarded_for: str, trusted_proxies: Sequence[IPNetwork]) -> bool:
    """Whether the sender of a request is within Telegram's networks.

    Args:
        peer: the address that the connection is from; None on a Unix socket, whose other end is a proxy.
        forwarded_for: all X-Forwarded-For of the request, in their order, joined by commas.
        trusted_proxies: whose word is taken for the address that they added.
    """
    sender = find_sender(peer, forwarded_for, trusted_proxies)
    return sender is not None and _within(sender, TELEGRAM)


def find_sender(
    peer: str | None, forwarded_for: str, trusted_proxies: Sequence[IPNetwork]
) -> IPAddress | None:
    """The address of whoever made a request; None when a proxy that is trusted tells none that can be read.

    Each proxy adds at the right where it got the request from. So the entries are read from the right, as
    long as they are trusted proxies' own; what stands left of the first other one, anybody may have made up.
    """
    hops = [entry.strip() for entry in forwarded_for.split(",")] if forwarded_for.strip() else []
    address = None if peer is None else _read(peer)
    if peer is not None and (address is None or not _within(address, trusted_proxies)):
        return address
    while hops:
        address = _read(hops.pop())
        if address is None or not _within(address, trusted_proxies):
            return address
    return address


def _within(address: IPAddress, networks: Sequence[IPNetwork]) -> bool:
    return any(address in network for network in networks)


def _read(text: str) -> IPAddress | None:
    """An address as proxies write it: alone, with a port, in brackets, or IPv4 within IPv6."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return read_address(text)
    except ValueError:
        return None
