"""What a Bot API server answers to a request: a result, a refusal, or something that is neither."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from trioworkers.botapi.decoding import decode
from trioworkers.botapi.errors import TransportError, UndecodableError
from trioworkers.botapi.refusals import refusal

if TYPE_CHECKING:
    from trioworkers.http.response import Response

DESCRIPTION_LIMIT = 2048  # characters of a refusal's description; Telegram's have 100
PARAMETERS_LIMIT = 4096  # bytes of a refusal's `parameters`; Telegram's have 30


class _Answer(msgspec.Struct):
    """https://core.telegram.org/bots/api#making-requests"""

    ok: bool
    result: msgspec.Raw = msgspec.Raw(b"null")
    error_code: Annotated[int, msgspec.Meta(ge=0, le=999)] = 0
    description: str = ""
    parameters: msgspec.Raw = msgspec.Raw(b"null")  # what is odd in it must not hide what the answer says


_decoder = msgspec.json.Decoder(_Answer)


async def read_answer(method: str, response: Response) -> msgspec.Raw:
    """Return the `result` of an answer, as JSON. A large answer is decoded beside the loop.

    Raises:
        BotApiError: Telegram refused the request.
        UndecodableError: a body that no decoder takes came with status 200.
        TransportError: another body that is not an answer of the Bot API.
    """
    status = response.status
    try:
        answer = await decode(_decoder.decode, response.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        if status == 413:  # Telegram's proxy says so with a page of its own, and would say it again
            raise refusal(method, status, "Request Entity Too Large") from None
        # a page of a proxy in between, a body cut short
        what = f"HTTP {status} with a body that is no answer"
        if status == 200:
            raise UndecodableError(method, what, response.body) from None
        raise TransportError(method, what) from None
    if answer.ok:
        return answer.result
    code = answer.error_code or status
    parameters = _read_parameters(answer.parameters)
    header = response.fields.get(b"retry-after", b"")
    if code == 429 and "retry_after" not in parameters and header.isdigit() and len(header) < 10:
        parameters = {**parameters, "retry_after": int(header)}
    raise refusal(method, code, answer.description[:DESCRIPTION_LIMIT], parameters)


def _read_parameters(parameters: msgspec.Raw) -> dict[str, Any]:
    """A refusal's `parameters`, of any shape; none where they are not an object, or are too large."""
    if len(parameters) > PARAMETERS_LIMIT:
        return {}
    try:
        decoded = msgspec.json.decode(parameters)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}
