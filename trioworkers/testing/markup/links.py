"""Links in formatted texts and on buttons: which ones Telegram takes, and how it writes them."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_USER = re.compile(r"tg:(?://)?user\?id=([0-9]+)", re.IGNORECASE)
_EMOJI = re.compile(r"tg:(?://)?emoji\?id=([0-9]+)", re.IGNORECASE)
_HOST = re.compile(r"[^\s/?#@:]+\.[^\s/?#@:.]{2,}|[0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9a-fA-F:.]+\]")


class BadLink(Exception):
    """Telegram refuses a link; the words are its own: `URL '…' is invalid: …`."""


def check_link(url: str, *, https_only: bool = False) -> str:
    """A link as Telegram keeps it: `example.com` becomes `http://example.com/`.

    Raises:
        BadLink: it is not one that Telegram takes.
    """
    url = url.strip()
    scheme = _SCHEME.match(url)
    name = "http" if scheme is None else scheme[1].lower()
    if scheme is None and url.lower().startswith(("tg:", "ton:", "tonsite:")):
        name = url.partition(":")[0].lower()
    if name in {"tg", "ton", "tonsite"}:
        if https_only:
            raise BadLink(f"URL '{url}' is invalid: Only HTTP links are allowed")
        return url
    if name not in {"http", "https", "ftp"}:
        raise BadLink(f"URL '{url}' is invalid: Unsupported URL protocol")
    full = url if scheme is not None else f"http://{url}"
    try:
        parts = urlsplit(full)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise BadLink(f"URL '{url}' is invalid: Wrong HTTP URL") from None
    bare = f"[{host}]" if ":" in host else host
    if not _HOST.fullmatch(bare) or any(one.isspace() for one in url) or port == 0:
        raise BadLink(f"URL '{url}' is invalid: Wrong HTTP URL")
    if https_only and name != "https":
        raise BadLink(f"URL '{url}' is invalid: Only HTTPS links are allowed")
    if not parts.path:
        head = full.partition("?")[0].partition("#")[0]
        return f"{head}/{full[len(head) :]}"
    return full


def user_id_of(url: str) -> int:
    """The user that a `tg://user?id=…` link names, else 0."""
    match = _USER.fullmatch(url.strip())
    return int(match[1]) if match is not None else 0


def emoji_id_of(url: str) -> str:
    """The custom emoji that a `tg://emoji?id=…` link names, else ""."""
    match = _EMOJI.fullmatch(url.strip())
    return match[1] if match is not None else ""
