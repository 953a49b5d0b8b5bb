"""How the parameters of a call become the body of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from trioworkers.botapi.files import InputFile

if TYPE_CHECKING:
    from collections.abc import Mapping


def split_files(params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, InputFile]]:
    """Take the files out of a call's parameters.

    Returns the parameters without those that are None, and the files by the name of their part. A file
    that is a parameter itself becomes the part of that name, one inside a parameter is replaced by
    `attach://<part>` (https://core.telegram.org/bots/api#sending-files).
    """
    files: dict[str, InputFile] = {}

    def attach(value: Any) -> Any:
        if isinstance(value, InputFile):
            part = f"file{len(files)}"
            files[part] = value
            return f"attach://{part}"
        if isinstance(value, dict):
            return {key: attach(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [attach(inner) for inner in value]
        return value

    plain: dict[str, Any] = {}
    for name, value in params.items():
        if isinstance(value, InputFile):
            files[name] = value
        elif value is not None:
            plain[name] = attach(value)
    return plain, files


def form_fields(params: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as the text fields of a multipart form: whatever is not text, as JSON."""
    return {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in params.items()
    }
