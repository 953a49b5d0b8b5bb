"""The probe in a bot's Python: it tells the daemon how each update ended, and whose call a call is.

It is loaded by `sitecustomize.py` when the bot imports a library that it knows, and wraps the function of
that library which handles one update. What it says to the daemon is written down in docs/decisions/probe.md.
Like that file, it imports nothing else of ours.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import json
import os
import re
import socket
import sys
import sysconfig
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

BASE = os.environ.get("TRIOWORKERS_API_BASE", "")
TOKEN = os.environ.get("TRIOWORKERS_TOKEN", "")
CONNECTING = 10.0  # seconds
# the versions that were tried, the oldest and the newest, by two numbers
TRIED = {
    "aiogram": ((3, 31), (3, 31)),
    "python-telegram-bot": ((22, 8), (22, 8)),
    "pyTelegramBotAPI": ((4, 37), (4, 37)),
}
# what libraries call the refusals of the Bot API
CODES = {
    "BadRequest": 400,
    "ChatMigrated": 400,
    "TelegramBadRequest": 400,
    "TelegramMigrateToChat": 400,
    "Forbidden": 403,
    "TelegramForbiddenError": 403,
    "TelegramNotFound": 404,
    "RetryAfter": 429,
    "TelegramRetryAfter": 429,
}
# where code is that is not the bot's own; the folder of the library that is wrapped comes to it
FOREIGN = {os.path.join(sysconfig.get_path(name), "") for name in ("stdlib", "platstdlib")}
INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class Probe:
    """What this process says to the daemon. A process that was forked from it has a connection of its own.

    Attributes:
        greeting: the library, its version and how many updates it handles side by side; empty: none polls.
    """

    def __init__(self) -> None:
        self.greeting = ""
        self._socket: socket.socket | None = None
        self._process = 0
        self._lock = threading.Lock()

    def greet(self, library: str, version: str, at_once: int | None = None) -> None:
        """Say from now on which library polls, and let the daemon hear of ends."""
        self.greeting = f"{library}/{version}" + (f"; at-once={at_once}" if at_once else "")
        self.write(b"")

    def write(self, line: bytes) -> None:
        """Write a line, so that the end of this process cannot take it back."""
        with self._lock:
            for _ in range(2):  # a connection that broke is made anew
                try:
                    if self._socket is None or self._process != os.getpid():
                        self._socket, self._process = self._connect(), os.getpid()
                    if line:
                        self._socket.sendall(b"%x\r\n%s\r\n" % (len(line), line))
                    return
                except OSError:  # without the daemon this process ends, too
                    if self._socket is not None:
                        self._socket.close()
                    self._socket = None

    def _connect(self) -> socket.socket:
        parts = urlsplit(BASE)
        made = socket.create_connection((parts.hostname or "", parts.port or 80), CONNECTING)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line, kind = f"POST /bot{TOKEN}/trioworkersProbe HTTP/1.1", "Transfer-Encoding: chunked"
        made.sendall(f"{line}\r\nHost: trioworkers\r\n{kind}\r\n\r\n".encode())
        return made


class Handling:
    """The handling of one update, which ends with the last of its tasks."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._error: BaseException | None = None
        self._open = 1
        self._lock = threading.Lock()

    def add(self) -> None:
        """A further task belongs to it."""
        with self._lock:
            self._open += 1

    def failed(self, error: BaseException) -> None:
        """Something of it raised; the first that did counts."""
        self._error = self._error or error

    def done(self) -> None:
        """One of its tasks has ended: with the last, tell the daemon."""
        with self._lock:
            self._open -= 1
            if self._open:
                return
        end: dict[str, Any] = {"id": self.number}
        if self._error is not None:
            end.update(described(self._error))
        PROBE.write(json.dumps(end).encode() + b"\n")


PROBE = Probe()
CURRENT: contextvars.ContextVar[Handling | None] = contextvars.ContextVar("trioworkers", default=None)


def fields_of(address: str) -> dict[str, str]:
    """Return the fields that a request to this address has besides its own."""
    if not address.startswith(BASE):
        return {}
    handling = CURRENT.get()
    fields = {} if handling is None else {"X-Trioworkers-Update": str(handling.number)}
    if PROBE.greeting and urlsplit(address).path.lower().endswith("/getupdates"):
        fields["X-Trioworkers-Probe"] = PROBE.greeting
    return fields


def described(error: BaseException) -> dict[str, Any]:
    """Return an exception as the daemon is told it: by type and place, never by what it says."""
    kind = type(error)
    told: dict[str, Any] = {"error": f"{kind.__name__}{place_of(error)}"}
    code = getattr(error, "error_code", None)
    if not isinstance(code, int):
        names = (
            one.__name__ for one in kind.__mro__ if one.__module__.split(".")[0] in ("aiogram", "telegram")
        )
        code = next((CODES[name] for name in names if name in CODES), None)
    if code is not None:
        told["code"] = code
    after: Any = getattr(error, "retry_after", None)
    if after is None and code is not None:
        parameters = (getattr(error, "result_json", None) or {}).get("parameters")
        after = (parameters or {}).get("retry_after")
    after = after.total_seconds() if hasattr(after, "total_seconds") else after
    if isinstance(after, (int, float)):
        told["after"] = max(0, after)
    return told


def place_of(error: BaseException) -> str:
    """Return the innermost line of the bot's own code that it passed, as ` at bot.py:12 in handle`."""
    place = ""
    is_own = False
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        own = not code.co_filename.startswith((*FOREIGN, "<")) and not any(
            one in code.co_filename for one in INSTALLED
        )
        if code.co_filename != __file__ and (own or not is_own):
            is_own = is_own or own
            place = f" at {os.path.basename(code.co_filename)}:{trace.tb_lineno} in {code.co_name}"
        trace = trace.tb_next
    return place


def is_tried(library: str, version: str) -> bool:
    """Return whether the probe was tried with this version."""
    oldest, newest = TRIED[library]
    numbers = tuple(int(one) for one in re.findall(r"\d+", version)[:2])
    return oldest <= numbers <= newest


def wrap_aiogram(module: Any, greet: Callable[[int | None], None]) -> None:
    """Let aiogram's dispatcher tell the end of each update, with the call that a handler returned."""
    dispatcher = module.Dispatcher
    polling, process = dispatcher._polling, dispatcher._process_update
    feed, answer = dispatcher.feed_update, dispatcher.silent_call_request

    async def _polling(self: Any, bot: Any, *args: Any, **options: Any) -> Any:
        if bot.token == TOKEN:
            is_serial = not options.get("handle_as_tasks", True)
            greet(1 if is_serial else options.get("tasks_concurrency_limit"))
        return await polling(self, bot, *args, **options)

    async def _process_update(self: Any, bot: Any, update: Any, *args: Any, **options: Any) -> Any:
        if bot.token != TOKEN:
            return await process(self, bot, update, *args, **options)
        handling = Handling(update.update_id)
        before = CURRENT.set(handling)
        try:
            result = await process(self, bot, update, *args, **options)
        finally:
            CURRENT.reset(before)
        handling.done()  # not when it is cancelled: it did not end then
        return result

    async def feed_update(self: Any, bot: Any, update: Any, **options: Any) -> Any:
        with Noting():
            return await feed(self, bot, update, **options)

    async def silent_call_request(bot: Any, result: Any) -> None:
        async def call(method: Any) -> Any:
            with Noting():
                return await bot(method)

        await answer(bot=call, result=result)

    dispatcher._polling, dispatcher._process_update = _polling, _process_update
    dispatcher.feed_update = feed_update
    dispatcher.silent_call_request = staticmethod(silent_call_request)


class Noting:
    """Inside, what raises is a failure of the handling that goes on; it is raised on."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        handling = CURRENT.get()
        if handling is not None and isinstance(error, Exception):
            handling.failed(error)


def wrap_telegram(module: Any, greet: Callable[[int | None], None]) -> None:
    """Let the application of python-telegram-bot tell the end of each update, with the tasks that it began.

    An exception that an error handler ends by `ApplicationHandlerStop` is no failure.
    """
    application = module.Application
    initialize, process = application.initialize, application.process_update
    error_of, task_of = application.process_error, application.create_task

    async def initialize_(self: Any) -> None:
        if self.bot.token == TOKEN:
            greet(self.update_processor.max_concurrent_updates)
        await initialize(self)

    async def process_update(self: Any, update: Any) -> None:
        number = getattr(update, "update_id", None)
        if not isinstance(number, int) or self.bot.token != TOKEN:
            await process(self, update)
            return
        handling = Handling(number)
        before = CURRENT.set(handling)
        try:
            await process(self, update)
        except Exception as error:
            handling.failed(error)
            handling.done()
            raise
        finally:
            CURRENT.reset(before)
        handling.done()

    async def process_error(self: Any, update: Any, error: Any, *args: Any, **options: Any) -> bool:
        is_stopped: bool = await error_of(self, update, error, *args, **options)
        handling = CURRENT.get()
        if handling is not None and not is_stopped:
            handling.failed(error)
        return is_stopped

    def create_task(self: Any, coroutine: Any, update: Any = None, **options: Any) -> Any:
        task = task_of(self, coroutine, update, **options)
        handling = CURRENT.get()
        if handling is not None and update is not None:
            handling.add()
            task.add_done_callback(lambda ended: None if ended.cancelled() else handling.done())
        return task

    application.initialize, application.process_update = initialize_, process_update
    application.process_error, application.create_task = process_error, create_task


def wrap_telebot(module: Any, greet: Callable[[int | None], None]) -> None:
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
        if self.token == TOKEN:
            greet(self.worker_pool.num_threads if self.threaded else 1)
        return polling(self, *args, **options)

    def process_new_updates(self: Any, updates: Any) -> None:
        if self.token != TOKEN:
            process(self, updates)
            return
        for update in updates:
            handling = Handling(update.update_id)
            before = CURRENT.set(handling)
            try:
                process(self, [update])
            except Exception as error:
                handling.failed(error)
                log(error)
            finally:
                CURRENT.reset(before)
            handling.done()

    def _exec_task(self: Any, task: Any, *args: Any, **options: Any) -> Any:
        handling = CURRENT.get()
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
        handling = CURRENT.get()
        if handling is not None and not is_handled:
            handling.failed(exception)
        return is_handled

    bot.polling, bot.process_new_updates = polling_, process_new_updates
    bot._exec_task, bot._handle_exception = _exec_task, _handle_exception


def wrap_telebot_async(module: Any, greet: Callable[[int | None], None]) -> None:
    """As :func:`wrap_telebot`, for its asynchronous bot."""
    bot = module.AsyncTeleBot
    polling, process, handle_exception = bot._process_polling, bot.process_new_updates, bot._handle_exception

    async def _process_polling(self: Any, *args: Any, **options: Any) -> Any:
        if self.token == TOKEN:
            greet(None)
        return await polling(self, *args, **options)

    async def process_one(self: Any, update: Any) -> None:  # in a task, so in a context, of its own
        handling = Handling(update.update_id)
        CURRENT.set(handling)
        try:
            await process(self, [update])
        except Exception as error:
            handling.failed(error)
            module.logger.error("a handler raised", exc_info=error)
        handling.done()

    async def process_new_updates(self: Any, updates: Any) -> None:
        if self.token != TOKEN:
            await process(self, updates)
            return
        await asyncio.gather(*(process_one(self, update) for update in updates))

    async def _handle_exception(self: Any, exception: Any) -> Any:
        is_handled = await handle_exception(self, exception)
        handling = CURRENT.get()
        if handling is not None and not is_handled:
            handling.failed(exception)
        return is_handled

    bot._process_polling, bot.process_new_updates = _process_polling, process_new_updates
    bot._handle_exception = _handle_exception


# by the module that has the function: the library, where its version is, and what wraps it
LIBRARIES: dict[str, tuple[str, str, Callable[[Any, Callable[[int | None], None]], None]]] = {
    "aiogram.dispatcher.dispatcher": ("aiogram", "aiogram.__meta__", wrap_aiogram),
    "telegram.ext._application": ("python-telegram-bot", "telegram._version", wrap_telegram),
    "telebot": ("pyTelegramBotAPI", "telebot.version", wrap_telebot),
    "telebot.async_telebot": ("pyTelegramBotAPI", "telebot.version", wrap_telebot_async),
}


def wrap(module: Any) -> None:
    """Wrap a module of a library that the bot has just imported; of another version than tried, say so."""
    library, place, wrapper = LIBRARIES[module.__name__]
    package = sys.modules[module.__name__.partition(".")[0]]
    folder = os.path.dirname(os.path.dirname(os.path.abspath(package.__file__ or "")))
    if folder != os.path.abspath(sys.path[0] or "."):  # unless the library lies beside the bot's own code
        FOREIGN.add(os.path.join(folder, ""))
    version = str(importlib.import_module(place).__version__)
    if is_tried(library, version):
        wrapper(module, lambda at_once: PROBE.greet(library, version, at_once))
    else:
        PROBE.greeting = f"{library}/{version}; unknown"
