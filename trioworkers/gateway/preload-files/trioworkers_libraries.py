"""Where the probe is in libraries of Python: it wraps the function of each which handles one update.

Loaded by `sitecustomize.py`, which gives it `trioworkers_probe.py` as `probe`.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import importlib
import os
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# the versions that were tried, the oldest and the newest, by two numbers
TRIED = {
    "aiogram": ((3, 7), (3, 31)),
    "python-telegram-bot": ((20, 8), (22, 8)),
    "pyTelegramBotAPI": ((4, 22), (4, 37)),
}


def is_tried(library: str, version: str) -> bool:
    """Return whether the probe was tried with this version."""
    oldest, newest = TRIED[library]
    numbers = tuple(int(one) for one in re.findall(r"\d+", version)[:2])
    return oldest <= numbers <= newest


def wrap_aiogram(module: Any, probe: Any, greet: Callable[[int | None], None]) -> None:
    """Let aiogram's dispatcher tell the end of each update, with the call that a handler returned."""
    dispatcher = module.Dispatcher
    polling, process = dispatcher._polling, dispatcher._process_update
    feed, answer = dispatcher.feed_update, dispatcher.silent_call_request

    async def _polling(self: Any, bot: Any, *args: Any, **options: Any) -> Any:
        if bot.token == probe.TOKEN:
            is_serial = not options.get("handle_as_tasks", True)
            greet(1 if is_serial else options.get("tasks_concurrency_limit"))
        return await polling(self, bot, *args, **options)

    async def _process_update(self: Any, bot: Any, update: Any, *args: Any, **options: Any) -> Any:
        if bot.token != probe.TOKEN:
            return await process(self, bot, update, *args, **options)
        handling = probe.Handling(update.update_id)
        before = probe.CURRENT.set(handling)
        try:
            result = await process(self, bot, update, *args, **options)
        finally:
            probe.CURRENT.reset(before)
        handling.done()  # not when it is cancelled: it did not end then
        return result

    async def feed_update(self: Any, bot: Any, update: Any, **options: Any) -> Any:
        with probe.Noting():
            return await feed(self, bot, update, **options)

    async def silent_call_request(bot: Any, result: Any) -> None:
        async def call(method: Any) -> Any:
            with probe.Noting():
                return await bot(method)

        await answer(bot=call, result=result)

    dispatcher._polling, dispatcher._process_update = _polling, _process_update
    dispatcher.feed_update = feed_update
    dispatcher.silent_call_request = staticmethod(silent_call_request)


def wrap_telegram(module: Any, probe: Any, greet: Callable[[int | None], None]) -> None:
    """Let the application of python-telegram-bot tell the end of each update, with the tasks that it began.

    An exception that an error handler ends by `ApplicationHandlerStop` is no failure.
    """
    application = module.Application
    initialize, process = application.initialize, application.process_update
    error_of, task_of = application.process_error, application.create_task

    async def initialize_(self: Any) -> None:
        if self.bot.token == probe.TOKEN:
            handlers = (one for group in self.handlers.values() for one in group)
            # those that do not block are handled side by side, whatever the number says
            is_blocking = all(handler.block for handler in handlers)
            greet(self.update_processor.max_concurrent_updates if is_blocking else None)
        await initialize(self)

    async def process_update(self: Any, update: Any) -> None:
        number = getattr(update, "update_id", None)
        if not isinstance(number, int) or self.bot.token != probe.TOKEN:
            await process(self, update)
            return
        handling = probe.Handling(number)
        before = probe.CURRENT.set(handling)
        try:
            await process(self, update)
        except Exception as error:
            handling.failed(error)
            handling.done()
            raise
        finally:
            probe.CURRENT.reset(before)
        handling.done()

    async def process_error(self: Any, update: Any, error: Any, *args: Any, **options: Any) -> bool:
        is_stopped: bool = await error_of(self, update, error, *args, **options)
        handling = probe.CURRENT.get()
        if handling is not None and not is_stopped:
            handling.failed(error)
        return is_stopped

    def create_task(self: Any, coroutine: Any, update: Any = None, **options: Any) -> Any:
        task = task_of(self, coroutine, update, **options)
        handling = probe.CURRENT.get()
        if handling is not None and update is not None:
            handling.add()
            task.add_done_callback(lambda ended: None if ended.cancelled() else handling.done())
        return task

    application.initialize, application.process_update = initialize_, process_update
    application.process_error, application.create_task = process_error, create_task


def wrap_telebot(module: Any, probe: Any, greet: Callable[[int | None], None]) -> None:
    """Let pyTelegramBotAPI handle update by update, and tell the end of each.

    What a handler raises goes to the exception handler and to the log, and not on into the polling, which
    it would hold up for all others. An exception that an exception handler has handled is no failure.
    """
    bot = module.TeleBot
    polling, process = bot.polling, bot.process_new_updates
    execute, handle_exception = bot._exec_task, bot._handle_exception

    def log(error: Exception) -> None:
        module.logger.error("a handler raised", exc_info=error)

    def polling_(self: Any, *args: Any, **options: Any) -> Any:
        if self.token == probe.TOKEN:
            greet(self.worker_pool.num_threads if self.threaded else 1)
        return polling(self, *args, **options)

    def process_new_updates(self: Any, updates: Any) -> None:
        if self.token != probe.TOKEN:
            process(self, updates)
            return
        for update in updates:
            handling = probe.Handling(update.update_id)
            before = probe.CURRENT.set(handling)
            try:
                process(self, [update])
            except Exception as error:
                handling.failed(error)
                log(error)
            finally:
                probe.CURRENT.reset(before)
            handling.done()

    def _exec_task(self: Any, task: Any, *args: Any, **options: Any) -> Any:
        handling = probe.CURRENT.get()
        if handling is None or not self.threaded:
            return execute(self, task, *args, **options)

        def run() -> None:
            try:
                task(*args, **options)
            except Exception as error:
                if not self._handle_exception(error):
                    log(error)
            handling.done()

        handling.add()
        return execute(self, contextvars.copy_context().run, run)

    def _handle_exception(self: Any, exception: Any) -> Any:
        is_handled = handle_exception(self, exception)
        handling = probe.CURRENT.get()
        if handling is not None and not is_handled:
            handling.failed(exception)
        return is_handled

    bot.polling, bot.process_new_updates = polling_, process_new_updates
    bot._exec_task, bot._handle_exception = _exec_task, _handle_exception


def wrap_telebot_async(module: Any, probe: Any, greet: Callable[[int | None], None]) -> None:
    """As :func:`wrap_telebot`, for its asynchronous bot."""
    bot = module.AsyncTeleBot
    polling, process, handle_exception = bot._process_polling, bot.process_new_updates, bot._handle_exception

    async def _process_polling(self: Any, *args: Any, **options: Any) -> Any:
        if self.token == probe.TOKEN:
            greet(None)
        return await polling(self, *args, **options)

    async def process_one(self: Any, update: Any) -> None:  # in a task, so in a context, of its own
        handling = probe.Handling(update.update_id)
        probe.CURRENT.set(handling)
        try:
            await process(self, [update])
        except Exception as error:
            handling.failed(error)
            module.logger.error("a handler raised", exc_info=error)
        handling.done()

    async def process_new_updates(self: Any, updates: Any) -> None:
        if self.token != probe.TOKEN:
            await process(self, updates)
            return
        await asyncio.gather(*(process_one(self, update) for update in updates))

    async def _handle_exception(self: Any, exception: Any) -> Any:
        is_handled = await handle_exception(self, exception)
        handling = probe.CURRENT.get()
        if handling is not None and not is_handled:
            handling.failed(exception)
        return is_handled

    bot._process_polling, bot.process_new_updates = _process_polling, process_new_updates
    bot._handle_exception = _handle_exception


# by the module that has the function: the library, where its version is, and what wraps it
LIBRARIES: dict[str, tuple[str, str, Callable[[Any, Any, Callable[[int | None], None]], None]]] = {
    "aiogram.dispatcher.dispatcher": ("aiogram", "aiogram.__meta__", wrap_aiogram),
    "telegram.ext._application": ("python-telegram-bot", "telegram._version", wrap_telegram),
    "telebot": ("pyTelegramBotAPI", "telebot.version", wrap_telebot),
    "telebot.async_telebot": ("pyTelegramBotAPI", "telebot.version", wrap_telebot_async),
}


def wrap(module: Any, probe: Any) -> None:
    """Wrap a module of a library that the bot has just imported; of another version than tried, say so.

    A version that lacks one of the functions is such a one, whatever it calls itself.
    """
    library, place, wrapper = LIBRARIES[module.__name__]
    package = sys.modules[module.__name__.partition(".")[0]]
    folder = os.path.dirname(os.path.dirname(os.path.abspath(package.__file__ or "")))
    if folder != os.path.abspath(sys.path[0] or "."):  # unless the library lies beside the bot's own code
        probe.FOREIGN.add(os.path.join(folder, ""))
    version = str(importlib.import_module(place).__version__)
    probe.PROBE.greeting = f"{library}/{version}; unknown"
    if is_tried(library, version):
        with contextlib.suppress(AttributeError):  # raised before anything is changed
            wrapper(module, probe, lambda at_once: probe.PROBE.greet(library, version, at_once))
            probe.PROBE.greeting = ""  # until it polls
