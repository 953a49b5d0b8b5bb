"""What a probe within a program tells: how each update ended (docs/decisions/probe.md)."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import trio
from msgspec import Meta

from trioworkers.botapi.healing import can_heal
from trioworkers.gateway.messages import END, MessageError
from trioworkers.handling.failure import in_words
from trioworkers.protocol.frames import ERROR_LENGTH, LONGEST_AFTER, WORDS_LENGTH, Outcome, cut

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.botapi.errors import BotApiError
    from trioworkers.gateway.programs import ProgramConnection

GREETING, CALL_OF = b"x-trioworkers-probe", b"x-trioworkers-update"  # fields of requests
METHOD = "trioworkersprobe"  # in the place of a method, in lower case
MOST_LINE = 16 * 1024  # bytes
LOOK = 0.005  # seconds until it is looked for further ends


class End(msgspec.Struct, frozen=True):
    """An update ended. `error`: what its handling raised, by type and place; None: it returned.

    `code`: the Bot API's, where that was a refusal; `after`: seconds that Telegram asked to wait.
    """

    id: int
    error: str | None = None
    code: int | None = None
    after: Annotated[float, Meta(ge=0)] | None = None


_decode = msgspec.json.Decoder(End).decode


class EndReader:
    """Reads what one probe tells.

    While ends come one after the other, nobody waits for them: each would cost the daemon a turn of its loop,
    and on a busy machine take the processor from the program amid its work. They are read with the program's
    next request, and every few milliseconds.

    Args:
        program: the connection.
        ended: is told each end.
    """

    def __init__(self, program: ProgramConnection, ended: Callable[[End], None]) -> None:
        self._program = program
        self._ended = ended
        self._rest = b""
        self._count = 0
        self._is_over = False
        self._error: MessageError | None = None

    async def read(self, has_more: Callable[[], bool], looks: set[Callable[[], None]]) -> None:
        """Tell each end that comes on the connection, until that ends.

        Args:
            has_more: whether there are updates of which the ends are still to come.
            looks: what to call before each request of the program is answered.

        Raises:
            MessageError: it is not what a probe sends.
            OSError, trio.ClosedResourceError: the connection has ended.
        """
        while not self._is_over:
            self._take(await self._program.next_part(math.inf))
            self._take_all()
            before = 0
            looks.add(self.look)
            try:
                while self._count > before and has_more():
                    before = self._count
                    await trio.sleep(LOOK)
                    self.look()
                    if self._error is not None:
                        raise self._error
            finally:
                looks.discard(self.look)

    def look(self) -> None:
        """Tell the ends that are here. What is wrong with them :meth:`read` raises."""
        try:
            while self._error is None and not self._is_over and self._program.read_nowait():
                self._take_all()
        except MessageError as error:
            self._error = error
        except OSError:  # it is met again where the connection is waited for
            return

    def _take_all(self) -> None:
        parts = self._program.parts
        while parts and not self._is_over:
            self._take(parts.popleft())

    def _take(self, part: Any) -> None:
        if part is END:
            self._is_over = True
            return
        *lines, self._rest = (self._rest + part).split(b"\n")
        if len(self._rest) > MOST_LINE:
            message = f"a line of more than {MOST_LINE} bytes"
            raise MessageError(message)
        for line in lines:
            try:
                end = _decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                message = "not the end of an update"
                raise MessageError(message) from None
            self._count += 1
            self._ended(end)


def outcome_of(end: End, refusal: BotApiError | None) -> Outcome:
    """What an end means for its update, as the same exception does in a handler.

    `refusal`: what Telegram answered with this code in the handling, as far as it is known.
    """
    if end.error is None:
        return Outcome(0, "done")
    error = cut(" ".join(end.error.split()), ERROR_LENGTH)
    words = "" if refusal is None else cut(in_words(refusal), WORDS_LENGTH)
    if end.code is not None and not (can_heal(end.code, "") if refusal is None else refusal.heals):
        return Outcome(0, "dead", error=error, words=words)
    if end.after is not None:
        return Outcome(0, "retry", after=min(end.after, LONGEST_AFTER), counted=False, error=error)
    return Outcome(0, "retry", error=error, words=words)


class UnderWay(AbstractContextManager[None]):
    """Counts what is under way, and waits until nothing is."""

    def __init__(self) -> None:
        self._count = 0
        self._over = trio.Event()
        self._over.set()

    def one(self) -> AbstractContextManager[None]:
        """Inside, one is under way."""
        return self

    def __enter__(self) -> None:
        if not self._count:
            self._over = trio.Event()
        self._count += 1

    def __exit__(self, *_: object) -> None:
        self._count -= 1
        if not self._count:
            self._over.set()

    async def wait_over(self) -> None:
        """Return when none is under way."""
        await self._over.wait()
