"""The proxy that the environment names for a server, by httpx's conventions. Pure.

`HTTPS_PROXY` or `HTTP_PROXY` by the server's scheme, else `ALL_PROXY`, none for hosts in `NO_PROXY`; names in
lower case win (https://www.python-httpx.org/environment_variables/).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from trioworkers.ip import read_address, read_network

if TYPE_CHECKING:
    from collections.abc import Mapping


def environment_proxy(environ: Mapping[str, str], server: str) -> tuple[str, str] | None:
    """Return the variable that names a proxy for a server's address, and the proxy; None for none."""
    try:
        parts = urlsplit(server)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None  # the address's own check says what is wrong with it
    if any(_is_excepted(entry.strip(), parts.scheme, host, port) for entry in _no_proxy(environ).split(",")):
        return None
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            if address := environ.get(variable, "").strip():
                return variable, address
    return None


def _no_proxy(environ: Mapping[str, str]) -> str:
    return environ.get("no_proxy") or environ.get("NO_PROXY", "")


def _is_excepted(entry: str, scheme: str, host: str, port: int | None) -> bool:
    """Whether an entry of NO_PROXY is meant for a host: a name and those below it, an address, a network."""
    if entry in ("", "*"):
        return entry == "*"
    wanted, separator, rest = entry.partition("://")
    if separator:
        if wanted.lower() not in ("all", scheme):
            return False
        entry = rest
    with suppress(ValueError):
        return read_address(host) in read_network(entry.strip("[]"))
    name, colon, number = entry.lower().rpartition(":")
    if colon and number.isdigit():
        if int(number) != port:
            return False
        entry = name.strip("[]")
    entry = entry.lower()
    if entry.startswith("."):
        return host.endswith(entry)
    return host == entry or (entry != "localhost" and host.endswith(f".{entry}"))
