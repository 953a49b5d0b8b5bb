"""Encodes the multipart form of an upload (RFC 7578); the content of its files is sent from where it lies.

Rejected in its place: `urllib3.filepost` and httpx's stream are encoders within HTTP clients, and the first
copies all files into one more buffer; httpx's is private, to be had by way of a request to nowhere. The
encoder of requests-toolbelt, which streams, brings requests along and had its last release in 2023. The
`multipart` and `python-multipart` packages only parse; the former judges this module in its tests.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trioworkers.botapi.content import FileContent

# browsers write the line breaks and the quote so, and a backslash as it is
# (https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data); other control
# characters are not allowed there, and Telegram's server ends a name at a semicolon, quoted or not
_not_quotable = re.compile(r'[\x00-\x1f\x7f";]')
_is_content_type = re.compile(r"[\x20-\x7e]+").fullmatch


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file of a form.

    Attributes:
        filename: the name that the server is told; lone surrogates of it become question marks.
        content: its bytes, or the file that they are read from.
        content_type: its media type.
    """

    filename: str
    content: bytes | FileContent
    content_type: str


@dataclass(frozen=True, slots=True)
class Form:
    """An encoded form.

    Attributes:
        content_type: the value of the request's Content-Type.
        length: bytes of the whole body.
        parts: the body, in pieces; the contents of files are the objects that were given.
    """

    content_type: bytes
    length: int
    parts: tuple[bytes | FileContent, ...]


def new_boundary() -> bytes:
    """Return a boundary that no content can hold but by guessing 128 random bits."""
    return os.urandom(16).hex().encode()


def encode_form(fields: Mapping[str, str], files: Mapping[str, FilePart], boundary: bytes) -> Form:
    """Encode text fields, and files after them. Line breaks in the fields' values stay as they are.

    Raises:
        ValueError: a content type is not visible ASCII. The message does not quote it.
    """
    parts: list[bytes | FileContent] = []
    lines = bytearray()  # what has to be sent before the next file's content
    for name, text in fields.items():
        lines += b"--%s\r\n%s\r\n\r\n%s\r\n" % (boundary, _disposition(name), text.encode())
    for name, file in files.items():
        if not _is_content_type(file.content_type):
            message = "content_type of a file: expected visible ASCII characters"
            raise ValueError(message)
        lines += b"--%s\r\n%s; filename=%s\r\nContent-Type: %s\r\n\r\n" % (
            boundary,
            _disposition(name),
            _quoted(file.filename),
            file.content_type.encode(),
        )
        parts += (bytes(lines), file.content)
        lines = bytearray(b"\r\n")
    lines += b"--%s--\r\n" % boundary
    parts.append(bytes(lines))
    return Form(
        content_type=b"multipart/form-data; boundary=" + boundary,
        length=sum(map(len, parts)),
        parts=tuple(parts),
    )


def _disposition(name: str) -> bytes:
    return b"Content-Disposition: form-data; name=" + _quoted(name)


def _quoted(name: str) -> bytes:
    return b'"%s"' % _not_quotable.sub(lambda found: f"%{ord(found[0]):02X}", name).encode(errors="replace")
