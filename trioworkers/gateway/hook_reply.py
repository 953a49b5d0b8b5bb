"""A call of the Bot API in the answer of a webhook, carried out as if the program had made it.

Telegram takes such a reply as JSON or as a form with files, names the method in a field of that name, and
lets nobody know what came of it (Bot API, "Making requests when getting updates"). It is passed on
block by block as every call is, and is not larger in memory than two blocks.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec
from werkzeug.http import parse_options_header

from trioworkers.gateway.messages import END, RequestHead
from trioworkers.gateway.params import read_params
from trioworkers.gateway.relay import Answered, relay
from trioworkers.gateway.targets import LOCAL, Target

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from trioworkers.gateway.hook_client import HookConnection
    from trioworkers.gateway.local_context import Process
    from trioworkers.gateway.messages import ResponseHead

MOST_JSON = 2**20  # bytes
LOOKED_AT = 64 * 1024  # bytes of a form in which the method is looked for; libraries put it first
_METHOD = re.compile(r"[A-Za-z]{1,64}")
_NAMED = re.compile(rb'\r\ncontent-disposition:[^\r\n]*[; ]name="?method"?\s*(?:;|\r\n|$)', re.IGNORECASE)


class _Source:
    """The body of an answer, as a program's request is read; what is sent back is for nobody.

    Attributes:
        is_read: it has been read to its end.
    """

    def __init__(self, connection: HookConnection, body: bytes | None = None) -> None:
        """`body`: it was read already, and this is all of it."""
        self._connection = connection
        self._parts: deque[Any] = connection.parts if body is None else deque([body, END])
        self.is_read = False

    @property
    def parts(self) -> deque[Any]:
        """What has been read and not been taken."""
        return self._parts

    async def next_part(self) -> Any:
        """Return the next block of the body, or its end; raises what reading raises."""
        part = self.parts.popleft() if self.parts else await self._connection.next_part()
        self.is_read = part is END
        return part

    def take_blocks(self) -> tuple[list[bytes], bool]:
        """Return what has been read of the body, and whether that is all of it."""
        blocks: list[bytes] = []
        while self.parts:
            part = self.parts.popleft()
            if part is END:
                self.is_read = True
                return blocks, True
            blocks.append(part)
        return blocks, False

    async def gather(self, most: int) -> None:
        """Read until the body has ended, or so many bytes of it have been read; nothing of it is taken."""
        while END not in self.parts:
            if sum(len(part) for part in self.parts) >= most:
                return
            await self._connection.feed()

    async def send(self, data: bytes) -> None:
        """Let it go."""


class TooLargeError(Exception):
    """The reply is larger than any call without files."""


async def carry_out(
    bot: Process,
    head: ResponseHead,
    connection: HookConnection,
    answer: Callable[[str, Mapping[str, Any]], Awaitable[object]],
) -> Answered | None:
    """Make the call that an answer holds; return what it was answered with, or None when it holds none.

    What was not read of the answer, its end at least, is still to be read from the connection then.

    Args:
        bot: whose call it is.
        head: of the answer.
        connection: where the rest of it comes.
        answer: answers methods that are not passed on.

    Raises:
        TooLargeError: it is too large.
        OSError, MessageError, trio.ClosedResourceError: the answer broke off.
    """
    kind, options = parse_options_header(head.field(b"content-type").decode("latin-1"))
    if head.length == 0:
        return None
    if kind == "application/json":
        return await _carry_out_json(bot, connection, answer)
    if kind == "multipart/form-data" and options.get("boundary"):
        source = _Source(connection)
        await source.gather(LOOKED_AT)
        start = b"".join(part for part in source.parts if isinstance(part, bytes))
        method = _method_of(start, options["boundary"].encode("latin-1"))
        if method and method.lower() not in LOCAL:
            answered = await _relay(bot, source, method, head.field(b"content-type"), head.length)
            if source.is_read:
                connection.parts.append(END)
            return answered
    return None


async def _carry_out_json(
    bot: Process,
    connection: HookConnection,
    answer: Callable[[str, Mapping[str, Any]], Awaitable[object]],
) -> Answered | None:
    source = _Source(connection)
    await source.gather(MOST_JSON + 1)
    blocks, is_whole = source.take_blocks()
    body = b"".join(blocks)
    if not is_whole or len(body) > MOST_JSON:
        raise TooLargeError
    connection.parts.append(END)  # whoever gives the connection back reads to the end
    try:
        params = read_params(b"", b"application/json", body)
    except (ValueError, msgspec.MsgspecError):
        return None
    method = params.get("method")
    if not isinstance(method, str) or _METHOD.fullmatch(method) is None:
        return None
    if method.lower() in LOCAL:
        await answer(method.lower(), params)
        return None
    return await _relay(bot, _Source(connection, body), method, b"application/json", len(body))


async def _relay(bot: Process, source: _Source, method: str, kind: bytes, length: int | None) -> Answered:
    fields = [(b"content-type", kind)]
    if length is not None:
        fields.append((b"content-length", b"%d" % length))
    target = Target(b"", is_file=False, is_test=False, rest=method.encode())
    head = RequestHead(b"POST", b"", tuple(fields), True, True, length, False, True)
    answered = Answered()
    await relay(bot, head, target, source, answered)
    return answered


def _method_of(start: bytes, boundary: bytes) -> str:
    """Return the method that a form names, as far as that is in its beginning; empty: none."""
    for part in start.split(b"--" + boundary):
        names, gap, value = part.partition(b"\r\n\r\n")
        if gap and _NAMED.search(names + b"\r\n"):
            method = value.strip().decode("latin-1")
            return method if _METHOD.fullmatch(method) else ""
    return ""
