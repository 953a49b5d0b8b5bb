"""A worker's background work: tasks that belong to no update.

What fails there is reported, and ends nothing but the task. A nursery would end the worker instead, and so
would a task of :func:`trio.lowlevel.spawn_system_task`, with Trio's words about a bug in Trio.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.errors import describe
from trioworkers.handling.bot import Bot, Handling
from trioworkers.handling.failure import failure_fields
from trioworkers.protocol.frames import ERROR_LENGTH, TASK_LENGTH, TaskFailed, cut

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from trioworkers.handling.bot import AsksDaemon
    from trioworkers.handling.log import BotLog
    from trioworkers.protocol.channel import Channel

FIRST_SOURCE = 2**48  # numbers that no delivery has; turns to send go round tasks and deliveries


class Background:
    """The tasks of one worker.

    Args:
        make_bot: makes a bot of a handling, with the settings in force.
        channel: where failures are reported.
        ask: asks the daemon, once the worker is ready.
    """

    def __init__(self, make_bot: Callable[[Handling], Bot], channel: Channel, ask: AsksDaemon) -> None:
        self._make_bot = make_bot
        self._channel = channel
        self._ask = ask
        self._bots: set[Bot] = set()
        self._nursery: trio.Nursery | None = None
        self._last = FIRST_SOURCE

    def serve_in(self, nursery: trio.Nursery) -> None:
        """Let tasks run in this nursery from now on."""
        self._nursery = nursery

    def begin(self, function: Callable[..., Awaitable[None]], args: tuple[Any, ...]) -> None:
        """Begin `function(bot, *args)`; its bot has no time limit.

        Raises:
            TypeError: it is not an async function.
            RuntimeError: the worker stops.
        """
        name = cut(getattr(function, "__qualname__", type(function).__name__), TASK_LENGTH)
        called = getattr(function, "func", function)  # of functools.partial
        if not inspect.iscoroutinefunction(called) and not inspect.iscoroutinefunction(
            getattr(called, "__call__", None)  # noqa: B004 - an object whose call is async will do
        ):
            message = f"background: expected an async function, got {name}"
            raise TypeError(message)
        if self._nursery is None or self._nursery.cancel_scope.cancel_called:
            message = "background: the worker stops"
            raise RuntimeError(message)
        self._last += 1
        handling = Handling(None, source=self._last)
        handling.background, handling.asks = self.begin, self._ask
        bot = self._make_bot(handling)
        self._bots.add(bot)
        self._nursery.start_soon(self._run, function, bot, args, name=name)

    def retune(self, settings: Mapping[str, Any], log: BotLog) -> None:
        """The settings in force have changed: tasks that run see them."""
        for bot in self._bots:
            bot.settings, bot.log = settings, log

    async def _run(self, function: Callable[..., Awaitable[None]], bot: Bot, args: tuple[Any, ...]) -> None:
        try:
            await function(bot, *args)
        except BaseException as error:
            cancelled, failed = _apart(error)
            if failed is not None:
                self._report(function, bot, failed)
            if cancelled is error:
                raise
            if cancelled is not None:
                raise cancelled from None
        finally:
            self._bots.discard(bot)

    def _report(self, function: object, bot: Bot, error: BaseException) -> None:
        name = getattr(function, "__qualname__", type(function).__name__)
        bot.log.error("background task failed", task=name, **failure_fields(error))
        self._channel.send(TaskFailed(cut(name, TASK_LENGTH), cut(describe(error), ERROR_LENGTH)))


def _apart(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """What of an exception is cancellation, which has to go on, and the rest."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)
    return (error, None) if isinstance(error, trio.Cancelled) else (None, error)
