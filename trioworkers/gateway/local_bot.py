"""One process of a program, as the endpoint sees it: what it asks of its bot, and is answered here.

The endpoint calls this from its own tasks. What breaks in here is noted as the bot's breakage, so that it
ends that bot's run, and no other's connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import trio

from trioworkers.gateway.account import Account, NotDroppedError
from trioworkers.gateway.answers import refused, result
from trioworkers.gateway.desk import MOST_UPDATES, Desk, Poll
from trioworkers.gateway.params import read_names, read_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trioworkers.gateway.local_context import LocalContext

LONGEST_POLL = 50.0  # seconds, as at Telegram
LET_GO = 1.0  # seconds that a poll waits at most while the process is about to end: it must not spin
LARGEST_BATCH = 4 * 2**20  # bytes of one answer, from which on it takes no more; as at Telegram


class Held(Protocol):
    """An update that a program has in hand."""

    @property
    def body(self) -> bytes:
        """The update as Telegram sent it."""


class Hands(Protocol):
    """Gives updates to a program, and takes them back: its executor."""

    def confirm(self, items: Sequence[Any]) -> None:
        """The program has these no more."""

    def refill(self) -> None:
        """The program asks for more: give what there is, at once."""


class _Waiting:
    """A poll that is to be answered."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.given: list[bytes] = []
        self.size = 0
        self.woken = trio.Event()


class LocalBot:
    """One process of a program.

    Attributes:
        context: what it works with.
        polled: set once it has asked for updates: it is ready.
        polled_at: when it asked for them last, or was answered, trio time.
        connections: how many it has at the endpoint; the endpoint counts.
    """

    def __init__(self, context: LocalContext) -> None:
        self.context = context
        self.polled = trio.Event()
        self.polled_at = trio.current_time()
        self.connections = 0
        self._desk: Desk[Held] = Desk(context.ids)
        self._account = Account(context)
        self._waiting: _Waiting | None = None
        self._hands: Hands | None = None
        self._lets_go = False
        self._is_over = False

    # -- for the executor ---------------------------------------------------------------------------

    @property
    def in_hand(self) -> int:
        """How many updates it has in hand."""
        return len(self._desk)

    @property
    def waits(self) -> bool:
        """Whether a poll of it waits to be answered."""
        return self._waiting is not None

    def serve_with(self, hands: Hands) -> None:
        """Ask `hands` for updates from now on."""
        self._hands = hands

    def room(self) -> int:
        """How many updates the poll that waits can still be given."""
        waiting = self._waiting
        if waiting is None or self._lets_go or waiting.size >= LARGEST_BATCH:
            return 0
        return waiting.room - len(waiting.given)

    def give(self, item: Held) -> None:
        """Answer the poll that waits with this update, and others that are given in this turn of the loop."""
        waiting = self._waiting
        assert waiting is not None  # noqa: S101 - for mypy; there was room
        body = with_id(item.body, self._desk.give(item))
        waiting.given.append(body)
        waiting.size += len(body)
        waiting.woken.set()

    def let_go(self) -> None:
        """The process is about to be asked to end: answer its polls with nothing."""
        self._lets_go = True
        if self._waiting is not None:
            self._waiting.woken.set()

    def close(self) -> list[Held]:
        """The process has ended: return what it had in hand."""
        self._is_over = True
        self._hands = None
        if self._waiting is not None:
            self._waiting.woken.set()
        return self._desk.take_back()

    # -- for the endpoint ---------------------------------------------------------------------------

    async def answer(
        self, method: str, params: Mapping[str, Any], gone: trio.Event
    ) -> tuple[int, bytes] | None:
        """Answer a method of :data:`~.account.LOCAL` with a status and a body; None: there is no answer now.

        `gone`: set when the connection has ended.
        """
        if self._is_over:
            return None
        try:
            if method == "getupdates":
                body = await self._get_updates(params, gone)
                return None if body is None else (200, body)
            return await self._account.answer(method, params)
        except NotDroppedError:
            return 502, refused(502, "what waits could not be dropped")
        except Exception as error:  # what an update's end leads to in the bot's scheduler, say
            self.context.fault(error)
            return None

    async def _get_updates(self, params: Mapping[str, Any], gone: trio.Event) -> bytes | None:
        context = self.context
        poll = Poll(
            read_whole(params, "offset", 0),
            min(max(1, read_whole(params, "limit", MOST_UPDATES)), MOST_UPDATES),
            min(max(0, read_whole(params, "timeout", 0)), LONGEST_POLL),
        )
        kinds = read_names(params, "allowed_updates")
        if kinds is not None:
            context.allows(kinds)
        strict = context.is_strict()
        verdict = self._desk.poll(poll, strict=strict)
        self.polled_at = trio.current_time()
        if verdict.confirmed and self._hands is not None:
            self._hands.confirm(verdict.confirmed)
        is_refused = verdict.is_negative and not await self._account.drop("getUpdates", -poll.offset)
        self.polled.set()
        if is_refused or verdict.is_farewell:
            return result([])
        if verdict.again:
            return _updates([with_id(item.body, number) for number, item in verdict.again])
        room = min(poll.limit, context.most() - len(self._desk)) if strict else poll.limit
        given = await self._wait(room, min(poll.timeout, LET_GO) if self._lets_go else poll.timeout, gone)
        self.polled_at = trio.current_time()
        # what was given to a connection that is gone stays in hand: the next poll is given it again
        return None if gone.is_set() or self._is_over else _updates(given)

    async def _wait(self, room: int, seconds: float, gone: trio.Event) -> list[bytes]:
        """Ask for updates, and wait until there are some, or nobody waits for them any more."""
        before, self._waiting = self._waiting, _Waiting(room)
        waiting = self._waiting
        if before is not None:  # a library that polls twice must not be told of a conflict: it would end
            before.woken.set()
        try:
            if self._hands is not None:
                self._hands.refill()
            if not waiting.given and seconds > 0 and not self._is_over:
                with trio.move_on_after(seconds):
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(_wake_when_gone, gone, waiting.woken)
                        await waiting.woken.wait()
                        nursery.cancel_scope.cancel()
        finally:
            if self._waiting is waiting:
                self._waiting = None
        return waiting.given


async def _wake_when_gone(gone: trio.Event, woken: trio.Event) -> None:
    await gone.wait()
    woken.set()


def with_id(body: bytes, number: int) -> bytes:
    """Return an update with another `update_id`, all else as it stands."""
    update = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    update["update_id"] = msgspec.Raw(b"%d" % number)
    return msgspec.json.encode(update)


def _updates(bodies: Sequence[bytes]) -> bytes:
    return b'{"ok":true,"result":[%s]}' % b",".join(bodies)
