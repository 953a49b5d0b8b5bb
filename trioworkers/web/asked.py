"""What a request asks for, read against its declaration; and how what cannot be is answered.

Each field of a declaration describes what it expects, in words for the person who asks: these are the
message, whatever was found. What was found is not repeated, since it may be anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, ValidationError
from quart import has_websocket_context, request, websocket

from trioworkers.errors import TrioworkersError

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST_ID = 2**63 - 1
MOST_CONTAINERS = (
    20_000  # in a body, brackets in its texts included: each takes half a microsecond of the loop
)


MOST_MEMBERS = 100  # of a body itself; each unknown one is an error of its own, which takes two microseconds
NARROW = 5_000  # bytes, which cannot hold too many members
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class RequestRefusedError(TrioworkersError):
    """A request is answered with `status` and the message, and nothing was done."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Asked(BaseModel):
    """Base of the declarations of bodies and queries."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


M = TypeVar("M", bound=Asked)


def read_query(model: type[M]) -> M:
    """The query of the request, or of the websocket.

    Raises:
        RefusedError: 400, with every fault.
    """
    try:
        asking = websocket if has_websocket_context() else request
        return model.model_validate(asking.args.to_dict())
    except ValidationError as error:
        raise RequestRefusedError(400, "; ".join(_faults(model, error))) from None


async def read_body(model: type[M]) -> M:
    """The request's JSON body; no body is an empty one.

    Raises:
        RefusedError: 400, with every fault.
    """
    raw = bytes(await request.get_data(as_text=False))  # type: ignore[arg-type]  # bytes, as asked
    if raw.count(b"[") + raw.count(b"{") > MOST_CONTAINERS:
        raise RequestRefusedError(400, f"expected at most {MOST_CONTAINERS:,} arrays and objects")
    if len(raw) > NARROW and _is_wide(raw):
        raise RequestRefusedError(400, _unknown(model))
    try:
        return model.model_validate_json(raw or b"{}", strict=True)
    except ValidationError as error:
        raise RequestRefusedError(400, "; ".join(_faults(model, error))) from None


def _is_wide(raw: bytes) -> bool:
    try:
        return len(_members(raw)) > MOST_MEMBERS
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False  # what cannot be read is refused for that


def _unknown(model: type[Asked]) -> str:
    return f"unknown key, expected only {', '.join(model.model_fields)}"


def _faults(model: type[Asked], error: ValidationError) -> Iterator[str]:
    fields = model.model_fields
    told = set()
    for details in error.errors(include_url=False, include_input=False):
        name = str(details["loc"][0]) if details["loc"] else ""
        known = name if name in fields else "?" if name else ""  # all unknown ones are one fault
        if known in told:
            continue
        told.add(known)
        if name in fields:
            yield f"{name}: expected {fields[name].description}"
        elif name:
            yield _unknown(model)
        else:
            yield _whole(details)


def _whole(details: Any) -> str:
    """What is wrong with all of it: a rule between fields says it itself."""
    if details["type"] == "rule":
        return str(details["msg"])
    return "expected a JSON object"
