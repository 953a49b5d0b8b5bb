"""IP addresses and networks, of which IPv4 within IPv6 is IPv4 (`::ffff:10.0.0.1`, RFC 4291 2.5.5.2).

A socket that listens for both families reports the peers of IPv4 like that. It is the same machine and the
same network; taken for another one, a proxy is not trusted, and this machine does not count as local.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

_MAPPED = IPv6Network("::ffff:0:0/96")


def read_address(text: str) -> IPAddress:
    """Read an address.

    Raises:
        ValueError: it is not one.
    """
    address = ip_address(text)
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def read_network(text: str) -> IPNetwork:
    """Read a network, or an address as a network of its own. Bits beyond the mask do not matter.

    Raises:
        ValueError: it is neither.
    """
    network = ip_network(text, strict=False)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        mapped = network.network_address.ipv4_mapped
        return IPv4Network((int(mapped or 0), network.prefixlen - _MAPPED.prefixlen))
    return network


def is_loopback(text: str) -> bool:
    """Whether a text is an address of this machine for itself."""
    try:
        return read_address(text).is_loopback
    except ValueError:
        return False
