"""A webhook as a program sets it: an address of this machine. Pure.

The daemon calls it, so it must lead nowhere else: neither into a network that only the daemon reaches, nor
to a name that somebody else could let lead there. Only literal loopback addresses and `localhost`, which is
never looked up, are taken.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from trioworkers.errors import TrioworkersError
from trioworkers.gateway.params import read_whole
from trioworkers.ip import read_address

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_CONNECTIONS, DEFAULT_CONNECTIONS = 100, 40  # as at Telegram (Bot API, setWebhook, "max_connections")
MOST_URL = 2048  # characters
_PORTS = {"http": 80, "https": 443}
_PRINTABLE = re.compile(r"[!-~]+")
_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")  # Bot API, setWebhook, "secret_token"
_ELSEWHERE = (
    "trioworkers calls webhooks on this machine only:"
    " set it to http://127.0.0.1:PORT/PATH, where the bot listens, or let the bot poll"
)


class WebhookRefusedError(TrioworkersError):
    """It cannot be the webhook of a program; the text says why, and what to do. It quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook of a program.

    Attributes:
        url: as the program gave it, which it is shown again.
        hosts: the addresses to connect to; the first that answers is taken.
        port: where the program listens.
        place: host and port as they stand in the url.
        target: path and query.
        secret: what is sent with each update as a proof; empty: nothing.
        most: how many updates are sent at the same time at most.
    """

    url: str = field(repr=False)
    hosts: tuple[str, ...]
    port: int
    place: str
    target: str = field(repr=False)
    secret: str = field(repr=False)
    most: int


def read_webhook(params: Mapping[str, Any]) -> Webhook:
    """Return the webhook that the parameters of setWebhook ask for; their `url` is not empty.

    `https` is taken for `http`: some libraries write it whatever they are told, as they expect something in
    front of them that does TLS. Nothing is in front of them here.

    Raises:
        WebhookRefusedError: it cannot be served.
    """
    url = params.get("url")
    if not isinstance(url, str) or len(url) > MOST_URL or _PRINTABLE.fullmatch(url) is None:
        message = "expected an url of at most 2,048 printable characters"
        raise WebhookRefusedError(message)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        message = "the url cannot be read"
        raise WebhookRefusedError(message) from None
    hosts = _loopback(parts.hostname or "")
    if parts.scheme not in _PORTS or not hosts:
        raise WebhookRefusedError(_ELSEWHERE)
    if "@" in parts.netloc or port == 0:
        message = "expected an url of the form http://127.0.0.1:PORT/PATH"
        raise WebhookRefusedError(message)
    secret = params.get("secret_token") or ""
    if secret and (not isinstance(secret, str) or _SECRET.fullmatch(secret) is None):
        message = 'expected a secret_token of 1 to 256 characters of A-Z, a-z, 0-9, "_" and "-"'
        raise WebhookRefusedError(message)
    most = read_whole(params, "max_connections", DEFAULT_CONNECTIONS) or DEFAULT_CONNECTIONS
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    port = port or _PORTS[parts.scheme]
    return Webhook(url, hosts, port, parts.netloc, target, secret, min(max(1, most), MOST_CONNECTIONS))


def _loopback(host: str) -> tuple[str, ...]:
    """The addresses that a host stands for; none where it is not this machine."""
    if host == "localhost":
        return "127.0.0.1", "::1"
    try:
        address = read_address(host)
    except ValueError:
        return ()
    return (str(address),) if address.is_loopback and "%" not in host else ()
