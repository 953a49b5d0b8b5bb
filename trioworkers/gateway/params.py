"""The parameters of a call that is answered here, however they were sent. Pure."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec
from werkzeug.exceptions import HTTPException
from werkzeug.formparser import MultiPartParser
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_FIELDS = 100


def read_params(query: bytes, content_type: bytes, body: bytes) -> dict[str, Any]:
    """Return the parameters of query and body; those of the body win, as at the Bot API server.

    Values of a query and a form are texts, of JSON what they are. Files are left out.

    Raises:
        ValueError: they cannot be read.
    """
    params: dict[str, Any] = dict(_pairs(query)) if query else {}
    if body:
        kind = content_type.partition(b";")[0].strip().lower().decode("latin-1")
        if kind == "application/json":
            try:
                found = msgspec.json.decode(body)
            except RecursionError:
                message = "nested too deeply"
                raise ValueError(message) from None
            if not isinstance(found, dict):
                message = "expected an object"
                raise ValueError(message)
            params.update(found)
        elif kind == "application/x-www-form-urlencoded":
            params.update(_pairs(body))
        elif kind == "multipart/form-data":
            _, options = parse_options_header(content_type.decode("latin-1"))
            params.update(_multipart(options, body))
    return params


def read_first_params(query: bytes, content_type: bytes, part: bytes) -> dict[str, Any]:
    """Return the parameters that can be read where only the first part of a body is here.

    They are those of the query, and the fields of a multipart form as far as they are here.
    """
    params: dict[str, Any] = dict(_pairs(query))
    kind, options = parse_options_header(content_type.decode("latin-1"))
    boundary = options.get("boundary", "").encode()
    if kind != "multipart/form-data" or not boundary:
        return params
    decoder = MultipartDecoder(boundary, max_parts=MOST_FIELDS)
    name, value = "", b""
    with suppress(ValueError, HTTPException):
        decoder.receive_data(part)
        while not isinstance(event := decoder.next_event(), NeedData | Epilogue):
            if isinstance(event, Field):
                name, value = event.name, b""
            elif isinstance(event, File):
                name = ""
            elif isinstance(event, Data) and name:
                value += event.data
                if not event.more_data:
                    params[name] = value.decode("utf-8", "replace")
    return params


def _pairs(text: bytes) -> list[tuple[str, str]]:
    return parse_qsl(
        text.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS, separator="&"
    )


def _multipart(options: Mapping[str, str], body: bytes) -> dict[str, str]:
    boundary = options.get("boundary", "").encode()
    if not boundary:
        message = "expected a boundary"
        raise ValueError(message)
    try:
        parser = MultiPartParser(max_form_parts=MOST_FIELDS)
        fields, files = parser.parse(io.BytesIO(body), boundary, len(body))
    except HTTPException as error:
        raise ValueError(str(error)) from None
    for file in files.values():
        file.close()
    return dict(fields.items())


def read_whole(params: Mapping[str, Any], name: str, default: int) -> int:
    """Return a whole number among the parameters, the default where it is absent or none."""
    value = params.get(name, default)
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return default


def read_switch(params: Mapping[str, Any], name: str) -> bool:
    """Return whether a parameter is true, in one of the ways in which libraries write that."""
    value = params.get(name)
    return value is True or (isinstance(value, str) and value.lower() in ("true", "1", "yes"))


def read_names(params: Mapping[str, Any], name: str) -> list[str] | None:
    """Return a list of names, which forms have as JSON; None: absent, or no such list."""
    value = params.get(name)
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return None
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return value
    return None
