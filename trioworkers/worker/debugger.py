"""`breakpoint()` in a bot, for `run --debug`: the daemon's terminal becomes this worker's input and output.

It is so from the first prompt until `continue` or `quit`, or until the handling in which the breakpoint
stands has ended. While another bot is at a breakpoint, this one waits for the terminal. Its loop stands still
all the while, which nobody minds: a daemon that debugs has no time limits.
"""

from __future__ import annotations

import os
import pdb
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.awake import AwakeClock
from trioworkers.terminal import end_turn, open_terminal, wait_turn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import FrameType

    from trioworkers.handling.bot import Bot
    from trioworkers.handling.log import BotLog
    from trioworkers.handling.update import Update
    from trioworkers.worker.handler import Handler

# through which a step goes without a stop
OURS = ("trioworkers", "trioworkers.*", "trio", "trio.*", "outcome", "outcome.*", "contextlib")
VARIABLE = "PYTHONBREAKPOINT"  # see `sys.breakpointhook`


class Console:
    """The terminal, as this worker's standard input and output while it has it.

    Args:
        path: the terminal's.
        bot: the bot's name, which people read.
    """

    def __init__(self, path: str, bot: str) -> None:
        self._path = path
        self._bot = bot
        self._edits_lines = _edits_lines()
        self._terminal: int | None = None
        self._before: tuple[int, int, Any, Any] | None = None

    def take(self) -> bool:
        """Wait for the terminal, and take it; False when this worker has it already.

        Raises:
            OSError: it cannot be opened.
        """
        if self._terminal is not None:
            return False
        terminal = open_terminal(self._path)
        wait_turn(terminal, alone=True)
        sys.stdout.flush()
        self._before = os.dup(0), os.dup(1), sys.stdin, sys.stdout
        os.dup2(terminal, 0)
        os.dup2(terminal, 1)
        # new ones: lines are edited on the descriptors 0 and 1 only; without that, a prompt would go to 2
        into, out = (0, 1) if self._edits_lines else (terminal, terminal)
        sys.stdin = open(into, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
        sys.stdout = open(out, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
        self._terminal = terminal
        print(f"\n--- the terminal is the bot {self._bot}'s until you continue ---")
        return True

    def give_back(self) -> None:
        """Let others have the terminal. Idempotent."""
        if self._terminal is None or self._before is None:
            return
        print(f"--- the bot {self._bot} goes on ---")
        sys.stdout.flush()
        stdin, stdout, sys.stdin, sys.stdout = self._before
        for kept, descriptor in ((stdin, 0), (stdout, 1)):
            os.dup2(kept, descriptor)
            os.close(kept)
        end_turn(self._terminal)
        os.close(self._terminal)
        self._terminal = self._before = None


class _Pdb(pdb.Pdb):
    """Python's debugger, on the console. `nosigint`: Ctrl-C is the daemon's."""

    def __init__(self, console: Console, bot: str) -> None:
        super().__init__(nosigint=True, skip=OURS)
        self.prompt = f"(Pdb {bot}) "
        self._console = console

    def interaction(self, *args: Any, **kwargs: Any) -> None:
        if self._console.take():
            self.stdin, self.stdout = sys.stdin, sys.stdout
        super().interaction(*args, **kwargs)

    def user_exception(self, frame: FrameType, exc_info: Any) -> None:
        if not self.is_skipped_module(frame.f_globals.get("__name__", "")):  # the end of a coroutine is one
            super().user_exception(frame, exc_info)

    def set_continue(self) -> None:
        super().set_continue()
        self._console.give_back()

    def set_quit(self) -> None:
        super().set_quit()
        self._console.give_back()


class Debugger:
    """The debugger of one worker.

    Args:
        terminal: the daemon's terminal; empty where it has none.
        log: is told of breakpoints that have no terminal.
        bot: the bot's name.
    """

    def __init__(self, terminal: str, log: BotLog, bot: str) -> None:
        self._console = Console(terminal, bot) if terminal else None
        self._pdb: _Pdb | None = None
        self._bot = bot
        self._log = log
        self._call: ContextVar[object | None] = ContextVar("call", default=None)
        self._stopped: object | None = None  # the call that is debugged

    def install(self) -> None:
        """Be what `breakpoint()` calls; the time of the loop stands still at each. On the loop."""
        clock = trio.lowlevel.current_clock()
        if isinstance(clock, AwakeClock):
            clock.count_no_steps()
        sys.breakpointhook = self.stop_at

    def around(self, handler: Handler) -> Handler:
        """The same handler, of which the debugger knows when each call of a function has ended."""

        async def handle(update: Update, bot: Bot) -> None:
            with self._one_call():
                await handler.handle(update, bot)

        return replace(
            handler,
            handle=handle,
            start=self._around(handler.start),
            stop=self._around(handler.stop),
            settings_changed=self._around(handler.settings_changed),
        )

    def stop_at(self, *args: Any, **kwargs: Any) -> Any:
        """Stop in the caller. Arguments are for another debugger, which $PYTHONBREAKPOINT names.

        Raises:
            OSError: the terminal cannot be opened.
        """
        frame = sys._getframe(1)
        other = os.environ.get(VARIABLE, "")
        if other == "0":
            return None
        if self._console is None:
            self._log.warning("breakpoint ignored: the daemon has no terminal", place=_place(frame))
            return None
        self._stopped = self._call.get()
        if other:
            self._console.take()
            return sys.__breakpointhook__(*args, **kwargs)
        if self._pdb is None:
            self._pdb = _Pdb(self._console, self._bot)
        self._pdb.set_trace(frame)
        return None

    def _around(
        self, function: Callable[[Bot], Awaitable[None]] | None
    ) -> Callable[[Bot], Awaitable[None]] | None:
        if function is None:
            return None

        @wraps(function)
        async def call(bot: Bot) -> None:
            with self._one_call():
                await function(bot)

        return call

    @contextmanager
    def _one_call(self) -> Iterator[None]:
        this = object()
        token = self._call.set(this)
        try:
            yield
        finally:
            self._call.reset(token)
            if self._stopped is this:
                self._stopped = None
                if self._pdb is not None:
                    self._pdb.set_continue()
                if self._console is not None:
                    self._console.give_back()


def _edits_lines() -> bool:
    """Whether `input` lets people edit what they type, which it does from now on."""
    try:
        import readline  # noqa: F401 - not every Python has it
    except ImportError:
        return False
    return True


def _place(frame: FrameType) -> str:
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
