"""Request bodies: JSON, forms and multipart, as td's HttpReader takes them."""

from __future__ import annotations

from email.message import Message as Headers
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from trioworkers.testing.answers import bad_request
from trioworkers.testing.params import Params, Upload


def read_params(query: str, content_type: str, body: bytes) -> Params:
    """The parameters of a request; those of the body win over those of the query.

    A body of a type that Telegram does not know is ignored, as Telegram does.

    Raises:
        Refused: 400, the body is not what its type says.
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

    Raises:
        Refused: 400, there is no boundary, or the body does not keep to it.
    """
    boundary = _parameter("content-type", content_type, "boundary")
    if not boundary:
        raise bad_request("boundary not found")
    delimiter = b"\r\n--" + boundary.encode()
    parts = (b"\r\n" + body).split(delimiter)
    if len(parts) < 2 or not parts[-1].startswith(b"--"):
        raise bad_request("can't parse multipart body: the closing boundary is missing")
    fields: dict[str, str] = {}
    files: dict[str, Upload] = {}
    for part in parts[1:-1]:
        head, separator, content = part.partition(b"\r\n\r\n")
        headers = _headers(head)
        disposition = headers.get("content-disposition", "")
        name = _parameter("content-disposition", disposition, "name")
        if not separator or not name:
            raise bad_request("can't parse multipart body: a part has no name")
        filename = _parameter("content-disposition", disposition, "filename")
        if filename is None:
            fields[name] = content.decode("utf-8", "replace")
        else:
            files[name] = Upload(filename, headers.get("content-type", ""), content)
    return fields, files


def _headers(head: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in head.decode("utf-8", "replace").split("\r\n"))
    return {name.strip().lower(): value.strip() for name, colon, value in lines if colon}


def _parameter(header: str, value: str, name: str) -> str | None:
    parsed = Headers()
    parsed[header] = value
    found = parsed.get_param(name, header=header)
    if found is None:
        return None
    return found if isinstance(found, str) else found[2]
