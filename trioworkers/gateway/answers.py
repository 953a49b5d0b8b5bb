"""Answers of ours to programs, in the Bot API's form."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode


def result(value: Any) -> bytes:
    """The body of an answer that has this result."""
    return b'{"ok":true,"result":%s}' % _encode(value)


def whole(status: int, body: bytes, *, keeps_alive: bool = True) -> bytes:
    """A whole response with a JSON body."""
    return b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%s\r\n%s" % (
        _status(status),
        len(body),
        b"" if keeps_alive else b"connection: close\r\n",
        body,
    )


@cache
def _status(status: int) -> bytes:
    return f"{status} {HTTPStatus(status).phrase}".encode()


def refused(status: int, words: str = "") -> bytes:
    """The body of an answer that says why there is no result."""
    described = f"{HTTPStatus(status).phrase}: {words}" if words else HTTPStatus(status).phrase
    return _encode({"ok": False, "error_code": status, "description": described})
