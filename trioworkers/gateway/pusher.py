"""Gives a program its updates by its webhook: each is posted, and the answer tells how it ended.

2xx is done. Any other answer, none within the time of a handling, and a call in the answer that could not
be made are failures, and the update is tried again as one that a handler failed at. While nobody listens, it
is posted again and again, which counts as no attempt: most programs set their webhook before they listen.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import trio
from msgspec.structs import replace

from trioworkers.gateway.hook_client import BROKEN, HookClient, UnansweredError, UnreachableError
from trioworkers.gateway.hook_reply import TooLargeError, carry_out
from trioworkers.protocol.frames import LONGEST_AFTER, Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from trioworkers.gateway.hook_client import HookConnection
    from trioworkers.gateway.local_context import Process
    from trioworkers.gateway.messages import ResponseHead
    from trioworkers.gateway.relay import Answered
    from trioworkers.gateway.webhook import Webhook

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0  # seconds between two attempts to connect, doubled each time
DONE = Outcome(0, "done")


class Pusher:
    """The webhook of one process of a program; :meth:`serve` it once.

    Args:
        bot: the process.
        ended: told how the update with an id ended.
        answer: answers methods that are not passed on, when one stands in an answer.

    Attributes:
        webhook: where updates go; None: the program polls.
        error: the last failure, and when it was, Unix seconds; None: none since the webhook was set.
    """

    def __init__(
        self,
        bot: Process,
        ended: Callable[[int, Outcome], None],
        answer: Callable[[str, Mapping[str, Any]], Awaitable[object]],
    ) -> None:
        self.webhook: Webhook | None = None
        self.error: tuple[str, float] | None = None
        self._bot = bot
        self._ended = ended
        self._answer = answer
        self._client = HookClient()
        self._nursery: trio.Nursery | None = None
        self._is_told = ""

    async def serve(self) -> None:
        """Push until cancelled, which cuts off what is under way."""
        try:
            async with trio.open_nursery() as self._nursery:
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._client.close()

    @property
    def is_served(self) -> bool:
        """Whether updates can be pushed."""
        return self._nursery is not None

    def set(self, webhook: Webhook | None) -> None:
        """Push here from now on; what is under way goes on."""
        self.webhook = webhook
        self.error = None
        self._is_told = ""

    def push(self, number: int, body: bytes) -> None:
        """Post an update, which has this id; `ended` hears of its end."""
        assert self._nursery is not None  # noqa: S101 - for mypy; `is_served`
        self._nursery.start_soon(self._push, number, body)

    async def _push(self, number: int, body: bytes) -> None:
        try:
            outcome = await self._post(body)
            self._ended(number, outcome)
        except Exception as error:  # what an update's end leads to in the bot's scheduler, say
            self._bot.context.fault(error)

    async def _post(self, body: bytes) -> Outcome:
        pause = FIRST_PAUSE
        while (webhook := self.webhook) is not None:
            seconds = self._bot.context.handler_timeout()
            judged: tuple[Outcome, ResponseHead, HookConnection] | None = None
            with trio.move_on_after(seconds) as limit:
                try:
                    head, connection = await self._client.ask(webhook, body)
                    judged = await self._judge(head, connection), head, connection
                except UnansweredError as error:
                    return self._failure(str(error))
                except UnreachableError as error:
                    self._failed(str(error))
            if judged is not None:  # what is left of the answer says nothing any more
                outcome, head, connection = judged
                await self._client.put_back(connection, head)
                return outcome
            if limit.cancelled_caught:
                return replace(self._failure(f"no answer within {seconds:g} s"), late=True)
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return Outcome(0, "retry", after=0.0, counted=False, error="the webhook was deleted")

    async def _judge(self, head: ResponseHead, connection: HookConnection) -> Outcome:
        """Return what an answer means for its update. Where it broke off, the connection is closed."""
        self._bot.heard()
        reply: Answered | None = None
        try:
            if 200 <= head.status < 300:
                reply = await carry_out(self._bot, head, connection, self._answer)
        except TooLargeError:
            connection.close()
            return self._failure("the call in its answer is too large")
        except BROKEN:
            connection.close()
            return self._failure("its answer broke off")
        except BaseException:
            connection.close()
            raise
        if not 200 <= head.status < 300:
            after = _seconds(head.field(b"retry-after"))
            return self._failure(f"answered {head.status}", after=after)
        if reply is not None and reply.status == 429:
            return self._failure("the call in its answer has to wait", after=reply.hold, counted=False)
        if reply is not None and not 0 < reply.status < 500:
            return self._failure("the call in its answer could not be made")
        self._worked()
        return DONE

    def _failure(self, reason: str, *, after: float | None = None, counted: bool = True) -> Outcome:
        self._failed(reason)
        return Outcome(0, "retry", after=after, counted=counted, error=f"webhook: {reason}")

    def _failed(self, reason: str) -> None:
        self.error = reason, time.time()
        if reason != self._is_told:
            self._is_told = reason
            self._bot.context.emit("gateway.unanswered", reason=reason)

    def _worked(self) -> None:
        if self._is_told:
            self._bot.context.emit("gateway.answered", after=self._is_told)
            self._is_told = ""


def _seconds(text: bytes) -> float | None:
    """What a Retry-After asks for, in seconds; None: nothing, or a date."""
    return min(float(text), LONGEST_AFTER) if text.isdigit() and len(text) < 10 else None
