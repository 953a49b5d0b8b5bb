"""One process of a program, as the endpoint sees it: what it asks of its bot, and is answered here.

The endpoint calls this from its own tasks. What breaks in here is noted as the bot's breakage, so that it
ends that bot's run, and no other's connection.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import trio
from msgspec.structs import replace

from trioworkers.gateway.account import Account, NotDroppedError
from trioworkers.gateway.answers import refused, result
from trioworkers.gateway.desk import MOST_UPDATES, Desk, Poll
from trioworkers.gateway.pace import Pace
from trioworkers.gateway.params import read_names, read_whole
from trioworkers.gateway.polls import Waiting, updates_of, with_id
from trioworkers.gateway.probe import UnderWay, outcome_of
from trioworkers.gateway.programs import GoneError
from trioworkers.gateway.promise import Greeting, Promise, lacking, promise_of
from trioworkers.gateway.pusher import Pusher
from trioworkers.gateway.quiet_ends import QuietEnds
from trioworkers.protocol.frames import LONGEST_STOOD, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from trioworkers.gateway.handling import Handling
    from trioworkers.gateway.hands import Hands, Held, MayBeGone
    from trioworkers.gateway.local_context import LocalContext
    from trioworkers.gateway.probe import End

LONGEST_POLL = 50.0  # seconds, as at Telegram
LET_GO = 1.0  # seconds that a poll waits at most while the process is about to end: it must not spin
LONGEST_ID = 16  # digits of an update's id
LAST_ENDS, LAST_CALLS = 1.0, 5.0  # seconds that what an ended process told and asked is waited for


class LocalBot:
    """One process of a program.

    Attributes:
        context: what it works with.
        polled: set once it has asked for updates: it is ready, or cannot be.
        unfit: why it cannot be given updates; None: it can.
        heard_at: when it asked for them last, was answered, or told an end, trio time.
        connections: how many it has at the endpoint; the endpoint counts.
        probes: connections on which ends are told.
        looks: what takes in the ends that were told and nobody waited for.
        speaking: calls of its handlings that are under way.
    """

    def __init__(self, context: LocalContext) -> None:
        self.context = context
        self.polled = trio.Event()
        self.unfit: str | None = None
        self.heard_at = trio.current_time()
        self.connections = 0
        self.probes, self.speaking = UnderWay(), UnderWay()
        self.looks: set[Callable[[], None]] = set()
        self._greeting: Greeting | None = None
        self._is_told = False
        self._desk: Desk[Held] = Desk(context.ids)
        self._pace = Pace()
        self._pusher = Pusher(self, self._pushed, self._answer_call)
        self._pushing: dict[int, Held] = {}
        self._quiet = QuietEnds(context.handler_timeout, self._quietly_done)
        self._account = Account(context, self._pusher, self._hooked)
        self._waiting: Waiting | None = None
        self._hands: Hands | None = None
        self._lets_go = False
        self._is_ending = self._is_over = False

    # -- for the executor ---------------------------------------------------------------------------

    @property
    def in_hand(self) -> int:
        """How many updates it has in hand."""
        return len(self._desk) + len(self._pushing)

    @property
    def waits(self) -> bool:
        """Whether a poll of it waits to be answered, or its webhook has nothing to answer."""
        if self._pusher.webhook is not None:
            return not self._pushing
        return self._waiting is not None

    async def serve(self) -> None:
        """Push updates to its webhook, while it has one, and end those it is quiet about, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pusher.serve)
            if self.context.acknowledge() == "quiet":
                nursery.start_soon(self._quiet.serve)

    def heard(self) -> None:
        """Note a sign of life."""
        self.heard_at = trio.current_time()

    @property
    def promise(self) -> Promise:
        """What is promised for its updates now."""
        return promise_of(self.context.acknowledge(), self._greeting)

    @property
    def acknowledged_by(self) -> str:
        """What counts as the end of an update: that promise, or the answer of its webhook."""
        return self.promise if self._pusher.webhook is None else "webhook"

    def serve_with(self, hands: Hands) -> None:
        """Ask `hands` for updates from now on."""
        self._hands = hands

    def room(self) -> int:
        """How many updates the poll that waits can still be given, or the webhook."""
        if self._lets_go or self._is_over:
            return 0
        webhook = self._pusher.webhook
        if webhook is not None:
            most = min(webhook.most, self.context.most()) if self._pusher.is_served else 0
            return most - self.in_hand
        waiting = self._waiting
        room = 0 if waiting is None else waiting.room
        return room if self.promise == "receipt" else min(room, self._most() - len(self._desk))

    def _most(self) -> int:
        at_once, most = self._at_once, self.context.most()
        return most if at_once is None else self._pace.most(at_once, most)

    @property
    def _at_once(self) -> int | None:
        return None if self._greeting is None or self.promise != "probe" else self._greeting.at_once

    def _begin(self, at_once: int) -> None:
        """What the program handles now are the oldest that it has, as many as its library handles at once."""
        for item in self._desk.oldest(at_once):
            if item.began_at is None:
                item.begin()

    def give(self, item: Held) -> None:
        """Answer the poll that waits with this update, and others that are given in this turn of the loop.

        While the program has others to begin, the answer waits for more, or for those to be begun. Where the
        program has a webhook, push it there.
        """
        if self._pusher.webhook is not None:
            if not self._pushing:
                self.heard()
            self._push(self.context.ids.take(), item)
            return
        waiting = self._waiting
        assert waiting is not None  # noqa: S101 - for mypy; there was room
        number = self._desk.give(item)
        if self.promise == "quiet":
            self._quiet.give(number, item.body)
        body = with_id(item.body, number)
        waiting.add(body)
        at_once = self._at_once
        if at_once is None:
            item.begin()
        else:
            self._begin(at_once)
        self._wake(waiting, at_once)

    def _wake(self, waiting: Waiting, at_once: int | None) -> None:
        """Answer a poll, if it is time for what it was given."""
        if waiting.given and (at_once is None or len(self._desk) - len(waiting.given) <= at_once):
            waiting.woken.set()

    def let_go(self) -> None:
        """The process is about to be asked to end: answer its polls with nothing."""
        self._lets_go = True
        if self._waiting is not None:
            self._waiting.woken.set()

    async def wait_over(self) -> None:
        """The process has ended: return when all is heard that it told, and its calls are over.

        No call of its handlings begins any more. A call that lasts for long is not waited for.
        """
        self._is_ending = True
        with trio.move_on_after(LAST_ENDS):  # a child of it may hold its connection open
            await self.probes.wait_over()
        with trio.move_on_after(LAST_CALLS):
            await self.speaking.wait_over()

    def close(self) -> list[Held]:
        """The process has ended: return what it had in hand."""
        self._is_over = True
        self._hands = None
        if self._waiting is not None:
            self._waiting.woken.set()
        pushed = list(self._pushing.values())
        self._pushing.clear()
        return self._desk.take_back() + pushed

    # -- for its webhook ----------------------------------------------------------------------------

    def _hooked(self) -> None:
        """It has set a webhook: it is ready, and what it had in hand by polls is pushed."""
        for item in self._desk.take_back():
            self._push(self.context.ids.take(), item)
        self._greeting = None  # the probe tells the ends of what is polled
        self.heard()
        self.polled.set()
        if self._waiting is not None:
            self._waiting.woken.set()
        if self._hands is not None:
            self._hands.refill()

    def _push(self, number: int, item: Held) -> None:
        if item.began_at is None:
            item.begin()
        self._pushing[number] = item
        self._pusher.push(number, with_id(item.body, number))

    def _pushed(self, number: int, outcome: Outcome) -> None:
        item = self._pushing.pop(number, None)
        if item is not None and self._hands is not None:
            self._hands.end(item, outcome)

    async def _answer_call(self, method: str, params: Mapping[str, Any]) -> None:
        if method != "getupdates":
            await self.answer(method, params, trio.Event())

    # -- for the endpoint ---------------------------------------------------------------------------

    def handling_of(self, number: bytes) -> Handling | None:
        """Return where a call is recorded that was made in the handling of this update; None: nowhere.

        Raises:
            GoneError: the process has ended, and the handling will be repeated: the call is not to be made.
        """
        if number and self._is_ending:
            raise GoneError
        if not number.isdigit() or len(number) > LONGEST_ID or self.promise != "probe":
            return None
        item = self._desk.find(int(number))
        if item is not None and item.began_at is None:  # whatever its library said
            item.begin()
        return None if item is None else item.handling

    @contextmanager
    def calling(self, method: str, params: Mapping[str, Any]) -> Iterator[Handling | None]:
        """Inside, a call is under way. It gives where that is recorded; None: nowhere.

        Raises:
            GoneError: the process has ended, and the handling will be repeated: the call is not to be made.
        """
        with self._quiet.calling(method, params) as number:
            if number is not None and self._is_ending:
                raise GoneError
            item = None if number is None else self._desk.find(number)
            yield None if item is None else item.handling

    def _quietly_done(self, number: int) -> None:
        """It is quiet about this one. When the process has ended meanwhile, that says nothing."""
        item = None if self._is_ending else self._desk.end(number)
        if item is not None and self._hands is not None:
            try:
                self._hands.end(item, Outcome(0, "done"))
            except Exception as error:
                self.context.fault(error)

    def ended(self, end: End) -> None:
        """The probe tells the end of an update. What is not in hand is passed over."""
        try:
            self.heard()
            item = self._desk.end(end.id) if self.promise == "probe" else None
            if item is not None and self._hands is not None:
                if item.began_at is not None:
                    self._pace.ended(self.heard_at - item.began_at)
                if (at_once := self._at_once) is not None:
                    self._begin(at_once)
                handling = item.handling
                refusal = None if handling is None or end.code is None else handling.refusals.get(end.code)
                outcome = outcome_of(end, refusal)
                if handling is not None and handling.stood:
                    outcome = replace(outcome, stood=min(handling.stood, LONGEST_STOOD))
                self._hands.end(item, outcome)
                if self._waiting is not None:
                    self._wake(self._waiting, at_once)
        except Exception as error:
            self.context.fault(error)

    async def answer(
        self, method: str, params: Mapping[str, Any], gone: MayBeGone, greeting: Greeting | None = None
    ) -> tuple[int, bytes] | None:
        """Answer a method of :data:`~.targets.LOCAL` with a status and a body; None: there is no answer now.

        `gone`: whether the connection has ended. `greeting`: what the program's probe says of itself.
        """
        if self._is_over:
            return None
        try:
            if method == "getupdates":
                if not self._may_poll(greeting, read_whole(params, "offset", 0)):
                    return None
                body = await self._get_updates(params, gone)
                return None if body is None else (200, body)
            return await self._account.answer(method, params)
        except NotDroppedError:
            return 502, refused(502, "what waits could not be dropped")
        except Exception as error:  # what an update's end leads to in the bot's scheduler, say
            self.context.fault(error)
            return None

    def _may_poll(self, greeting: Greeting | None, offset: int) -> bool:
        """Note who polls; return whether what is asked for can be promised to it.

        A poll with a negative offset decides nothing: a library may make it before it is itself.
        """
        if greeting is not None or offset >= 0:
            self._greeting = greeting
        asked = self.context.acknowledge()
        if asked in ("poll", "receipt", "quiet") or self.promise == "probe" or offset < 0:
            return self.unfit is None
        if asked == "probe" and not self.polled.is_set():
            self.unfit = lacking(greeting)
            self.polled.set()
        elif not self._is_told and self.unfit is None:
            self._is_told = True
            self.context.emit("gateway.unprobed", reason=lacking(greeting), acknowledge=self.promise)
        return self.unfit is None

    async def _get_updates(self, params: Mapping[str, Any], gone: MayBeGone) -> bytes | None:
        context = self.context
        poll = Poll(
            read_whole(params, "offset", 0),
            min(max(1, read_whole(params, "limit", MOST_UPDATES)), MOST_UPDATES),
            min(max(0, read_whole(params, "timeout", 0)), LONGEST_POLL),
        )
        kinds = read_names(params, "allowed_updates")
        if kinds is not None:
            context.allows(kinds)
        verdict = self._desk.poll(poll, self.promise)
        self.heard()
        self._quiet.receive(verdict.received)
        if verdict.confirmed and self._hands is not None:
            self._hands.confirm(verdict.confirmed)
        if self._pusher.webhook is not None:
            await self._wait_hooked(poll, gone)
            return result([])
        is_refused = verdict.is_negative and not await self._account.drop("getUpdates", -poll.offset)
        self.polled.set()
        if is_refused or verdict.is_farewell:
            return result([])
        if verdict.again:
            return updates_of([with_id(item.body, number) for number, item in verdict.again])
        given = await self._wait(
            poll.limit, min(poll.timeout, LET_GO) if self._lets_go else poll.timeout, gone
        )
        self.heard()
        # what was given to a connection that is gone stays in hand: the next poll is given it again
        return None if gone.is_set() or self._is_over else updates_of(given)

    async def _wait_hooked(self, poll: Poll, gone: MayBeGone) -> None:
        """A poll beside a webhook is given nothing. Telegram answers 409, at which libraries end."""
        self.context.emit("gateway.withheld", method="getUpdates", reason="a poll beside the bot's webhook")
        with trio.move_on_after(max(LET_GO, poll.timeout)):
            await gone.wait()

    async def _wait(self, limit: int, seconds: float, gone: MayBeGone) -> list[bytes]:
        """Ask for updates, and wait until there are some, or nobody waits for them any more."""
        before, self._waiting = self._waiting, Waiting(limit)
        waiting = self._waiting
        if before is not None:  # a library that polls twice must not be told of a conflict: it would end
            before.woken.set()
        try:
            if self._hands is not None:
                self._hands.refill()
            if not waiting.woken.is_set() and seconds > 0 and not self._is_over:
                with trio.move_on_after(seconds):
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(_wake_when_gone, gone, waiting.woken)
                        await waiting.woken.wait()
                        nursery.cancel_scope.cancel()
        finally:
            if self._waiting is waiting:
                self._waiting = None
        return waiting.given


async def _wake_when_gone(gone: MayBeGone, woken: trio.Event) -> None:
    await gone.wait()
    woken.set()
