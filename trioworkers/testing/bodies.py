"""Request bodies: JSON, forms and multipart, as td's HttpReader takes them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec
from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from trioworkers.testing.answers import Refused, bad_request
from trioworkers.testing.params import Params, Upload

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER_LIMIT = 1 << 18  # bytes of the headers of all parts, HttpReader.h: MAX_TOTAL_HEADERS_LENGTH
HEADERS_TOO_LONG = "Request Header Fields Too Large: total headers size exceeded"


def read_params(query: str, content_type: str, body: bytes) -> Params:
    """The parameters of a request; those of the body win over those of the query.

    A body of a type that Telegram does not know is ignored, as Telegram does.

    Raises:
        Refused: 400 or 431, the body is not what its type says.
    """
    values: dict[str, Any] = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
    if not body:
        return Params(values)
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json":
        try:
            decoded = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise bad_request("can't parse JSON object") from None
        if not isinstance(decoded, dict):
            raise bad_request("JSON object expected")
        return Params(values | decoded if values else decoded)
    if kind == "application/x-www-form-urlencoded":
        try:
            pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict")
        except UnicodeDecodeError:
            raise bad_request("strings must be encoded in UTF-8") from None
        return Params(values | dict(pairs))
    if kind == "multipart/form-data":
        fields, files = split_multipart(content_type, body)
        return Params(values | fields, files)
    return Params(values)


def split_multipart(content_type: str, body: bytes) -> tuple[dict[str, str], dict[str, Upload]]:
    """The fields and files of a multipart body (RFC 7578).

    A part is a file exactly when it has a `filename`; one with `filename*` alone is a field, as at Telegram.

    Raises:
        Refused: 400, there is no boundary, the body does not keep to it, or a part's headers cannot be read;
            431, the headers of the parts are too long.
    """
    boundary = parse_options_header(content_type)[1].get("boundary")
    if not boundary:
        raise bad_request("boundary not found")
    fields: dict[str, str] = {}
    files: dict[str, Upload] = {}
    headers_length = 0
    try:
        parser = PushMultipartParser(
            boundary.encode("latin-1", "replace"), max_header_size=HEADER_LIMIT, max_header_count=math.inf
        )
        for segment, content in _parts(parser, body):
            headers_length += sum(len(name) + len(value) + 4 for name, value in segment.headerlist)
            if headers_length > HEADER_LIMIT:
                raise Refused(431, HEADERS_TOO_LONG)
            if not segment.name:
                raise bad_request("field name in multipart/form-data not found")
            if segment.filename is None:
                fields[segment.name] = content.decode("utf-8", "replace")
            else:
                media_type = segment.header("Content-Type", "").strip()
                files[segment.name] = Upload(segment.filename, media_type, content)
    except ParserLimitReached:
        raise Refused(431, HEADERS_TOO_LONG) from None
    except MultipartError as error:
        raise bad_request(f"can't parse multipart body: {error.args[0]}") from None
    try:
        parser.close()
    except MultipartError:
        raise bad_request("can't parse multipart body: the closing boundary is missing") from None
    return fields, files


def _parts(parser: PushMultipartParser, body: bytes) -> Iterator[tuple[MultipartSegment, bytes]]:
    """Yield each complete part of a body with its content; the last part may be cut off and is left out."""
    content: list[bytes] = []
    for event in parser.parse(body):
        if isinstance(event, MultipartSegment):
            segment = event
            content = []
        elif event is not None:
            content.append(event)
        else:
            yield segment, b"".join(content)
