"""The settings' values that are neither plain numbers nor secrets, and how they are written.

Each type reads the string of the fleet file and passes its own instances through, so that settings
can also be built in code. Messages say what was expected and never repeat what was found: a value
in the wrong place may be a secret.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from trioworkers.config.secret import SecretContext
from trioworkers.ip import IPNetwork, is_loopback, read_network
from trioworkers.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

# Bot API, "Update", and setWebhook's and getUpdates' `allowed_updates`; read at version 10.2.
UPDATE_KINDS = (
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "business_connection",
    "business_message",
    "edited_business_message",
    "deleted_business_messages",
    "guest_message",
    "message_reaction",
    "message_reaction_count",
    "inline_query",
    "chosen_inline_result",
    "callback_query",
    "shipping_query",
    "pre_checkout_query",
    "purchased_paid_media",
    "poll",
    "poll_answer",
    "my_chat_member",
    "chat_member",
    "chat_join_request",
    "chat_boost",
    "removed_chat_boost",
    "managed_bot",
    "subscription",
)

BOT_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
BOT_NAME_RULE = 'letters, digits, "_", "-" and single dots, at most 64, the first a letter or a digit'


def expected(what: str) -> PydanticCustomError:
    """Returns the error of a value that is not what the key wants."""
    return PydanticCustomError("value", "{problem}", {"problem": f"expected {what}"})


def refused(problem: str) -> PydanticCustomError:
    """Returns the error of a value that cannot be used, for a reason that is not its form."""
    return PydanticCustomError("refused", "{problem}", {"problem": problem})


def read_text(value: object, what: str) -> str:
    """Returns `value` if it is a string; PydanticCustomError of type `kind` otherwise."""
    if not isinstance(value, str):
        raise PydanticCustomError("kind", "{problem}", {"problem": f"expected {what}"})
    return value


@dataclass(frozen=True, slots=True)
class Bind:
    """Where a listener listens: a host and a port, or a Unix socket.

    Attributes:
        host: a name or an address, IPv6 without brackets; empty for a Unix socket.
        port: 0 lets the system choose; 0 for a Unix socket.
        path: the Unix socket, else None.
    """

    host: str
    port: int
    path: Path | None = None

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it: loopback or a Unix socket."""
        if self.path is not None or self.host == "localhost":
            return True
        return is_loopback(self.host)

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_BIND_RULE = '"host:port", "[ipv6]:port" or "unix:/path"'
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")


def _bind(value: object, info: ValidationInfo) -> Bind:
    if isinstance(value, Bind):
        return value
    text = read_text(value, _BIND_RULE)
    if text.startswith("unix:"):
        return Bind("", 0, _path(text.removeprefix("unix:"), info))
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise expected(_BIND_RULE) from None
    elif _HOST.fullmatch(host) is None:
        raise expected(_BIND_RULE)
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise expected(f"{_BIND_RULE} with a port from 0 to 65535")
    return Bind(host, int(port))


@dataclass(frozen=True, slots=True)
class Shard:
    """This daemon's part of the fleet: number `index`, from 0, of `count`."""

    index: int
    count: int

    def owns(self, bot_id: int) -> bool:
        """Whether a bot falls to this daemon; the same answer in every process and version."""
        digest = hashlib.sha256(str(bot_id).encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def _shard(value: object) -> Shard:
    if isinstance(value, Shard):
        return value
    rule = '"I/N" with 0 <= I < N'
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", read_text(value, rule))
    if match is None or not int(match[1]) < int(match[2]):
        raise expected(rule)
    return Shard(int(match[1]), int(match[2]))


def _path(value: object, info: ValidationInfo) -> Path:
    text = str(value) if isinstance(value, Path) else read_text(value, "a path")
    if not text or "\0" in text:
        raise expected("a path that is not empty")
    surroundings = info.context
    # Lexically: a symbolic link that is set to another release must not freeze at load time.
    return surroundings.folder / text if isinstance(surroundings, SecretContext) else Path(text)


def split_url(text: str, rule: str) -> tuple[str, str, int | None]:
    """Returns the scheme, host and port of an http or https URL.

    Raises:
        PydanticCustomError: it is none, or has a user, a query or a fragment.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise expected(rule) from None
    odd = parts.query or parts.fragment or "@" in parts.netloc or re.search(r"[\s\x00-\x1f\x7f]", text)
    if parts.scheme not in ("http", "https") or not parts.hostname or odd:
        raise expected(rule)
    return parts.scheme, parts.hostname, port


def _url(value: object) -> str:
    rule = "an http or https address without user, query and fragment"
    text = read_text(value, rule)
    split_url(text, rule)
    return text.rstrip("/")


def _handler(value: object) -> str:
    rule = '"module:function"'
    text = read_text(value, rule)
    module, _, function = text.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), function)):
        raise expected(rule)
    return text


def _module(value: object) -> str:
    text = read_text(value, "the name of a module")
    if not all(part.isidentifier() for part in text.split(".")):
        raise expected("the name of a module")
    return text


def _auto_or_count(value: object) -> object:
    # a boolean is an integer in Python
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise expected('"auto" or an integer from 1 on')


def _network(value: object) -> IPNetwork:
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    rule = 'an address or a network such as "10.0.0.0/8"'
    text = read_text(value, rule)
    try:
        return read_network(text)
    except ValueError:
        raise expected(rule) from None


def _update_kind(value: object) -> str:
    kind = read_text(value, "a kind of update")
    if kind not in UPDATE_KINDS:
        near = nearest(kind, UPDATE_KINDS)
        raise expected("a kind of update that the Bot API knows" + (f', perhaps "{near}"' if near else ""))
    return kind


MOST_ITEMS = 1000  # of an array: each of them may be a fault that needs its words


def _few(value: object) -> object:
    """Judge the length of an array before what is in it."""
    if isinstance(value, list | tuple) and len(value) > MOST_ITEMS:
        raise refused(f"expected at most {MOST_ITEMS:,} values, got {len(value):,}")
    return value


FEW = BeforeValidator(_few)
"""Bounds an array of settings."""


def sorted_once(items: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the items sorted, each once: where order means nothing, it must change nothing."""
    return tuple(sorted(set(items)))


def _string(**more: Any) -> WithJsonSchema:
    schema: Mapping[str, Any] = {"type": "string", **more}
    return WithJsonSchema(dict(schema))


_as_text = PlainSerializer(str, return_type=str, when_used="json")

FolderPath = Annotated[Path, PlainValidator(_path), _string(minLength=1)]
"""An absolute path; the file may give it relative to its own folder."""

BindAddress = Annotated[
    Bind,
    PlainValidator(_bind),
    _as_text,
    _string(pattern=r"^(unix:.+|\[[0-9A-Fa-f:.]+\]:\d{1,5}|[^:/]+:\d{1,5})$"),
]
ShardOf = Annotated[Shard, PlainValidator(_shard), _as_text, _string(pattern=r"^\d{1,6}/\d{1,6}$")]
Url = Annotated[str, PlainValidator(_url), _string(pattern="^https?://")]
Handler = Annotated[str, PlainValidator(_handler), _string(pattern=r"^[^\s:]+:[^\s:.]+$")]
ModuleName = Annotated[str, PlainValidator(_module), _string(minLength=1)]
AutoOrCount = Annotated[
    int | Literal["auto"],
    PlainValidator(_auto_or_count),
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1}]}),
]
Network = Annotated[IPNetwork, PlainValidator(_network), _as_text, _string(minLength=2)]
UpdateKind = Annotated[str, PlainValidator(_update_kind), _string(enum=list(UPDATE_KINDS))]
