"""HTTP of the stand-in Bot API: a request out of bytes, its parameters, an answer.

By hand, for some microseconds each: what it costs is taken from whoever is measured on the same cores. It
understands what Bot API clients send (a length, JSON, a form or parts), and says so where it does not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
TYPE = re.compile(rb"\r\ncontent-type: *([^\r;]+)(?:; *boundary=\"?([^\r\"]+))?", re.IGNORECASE)
CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
NAME = re.compile(rb'name="([^"]+)"')
decode = msgspec.json.Decoder(dict[str, Any]).decode


class NotUnderstoodError(Exception):
    """A request of a kind that no product measured here sends."""


@dataclass(slots=True)
class Request:
    """One request: `/bot<token>/<method>` taken apart, and what its query and body say."""

    token: str
    method: str
    parameters: dict[str, Any]
    close: bool


def take_request(buffer: bytearray) -> Request | None:
    """Take the first whole request out of the buffer; None while there is none.

    Raises:
        NotUnderstoodError: its body has no length, or a type that no client of the Bot API uses.
    """
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(buffer[:end])
    length = LENGTH.search(head)
    if length is None and CHUNKED.search(head):
        message = "a body in chunks"
        raise NotUnderstoodError(message)
    whole = end + 4 + (int(length[1]) if length else 0)
    if len(buffer) < whole:
        return None
    body = bytes(buffer[end + 4 : whole])
    del buffer[:whole]
    path, _, query = head.split(b" ", 2)[1].partition(b"?")
    _, bot, method = path.decode().split("/")
    parameters: dict[str, Any] = _form(query) if query else {}
    if body:
        parameters.update(_body(body, head))
    return Request(bot.removeprefix("bot"), method, parameters, CLOSE.search(head) is not None)


def _body(body: bytes, head: bytes) -> dict[str, Any]:
    kind = TYPE.search(head)
    if kind is not None and kind[1] == b"application/json":
        return decode(body)
    if kind is not None and kind[1] == b"application/x-www-form-urlencoded":
        return _form(body)
    if kind is not None and kind[1] == b"multipart/form-data" and kind[2]:
        return _parts(body, kind[2])
    message = f"a body of type {kind and kind[1]!r}"
    raise NotUnderstoodError(message)


def _form(body: bytes) -> dict[str, Any]:
    pairs = (pair.partition(b"=") for pair in body.split(b"&"))
    return {name.decode(): unquote_to_bytes(value.replace(b"+", b" ")).decode() for name, _, value in pairs}


def _parts(body: bytes, boundary: bytes) -> dict[str, Any]:
    parameters = {}
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = NAME.search(head)
        if name is not None:
            parameters[name[1].decode()] = value.removesuffix(b"\r\n").decode(errors="replace")
    return parameters


def response(body: bytes, status: bytes = b"200 OK") -> bytes:
    """The bytes of an answer with a JSON body."""
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )
