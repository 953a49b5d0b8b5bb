"""`top` as tasks: the stream and the keys change the state, and the screen is drawn when it has changed."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.client import live
from trioworkers.top.render import render
from trioworkers.top.state import Act, Quit, TopState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike

    from rich.text import Text

    from trioworkers.top.render import Screen
    from trioworkers.top.terminal import Terminal

    Asks = Callable[[Act], str | None]

FRAME = 0.1  # seconds from one drawing to the next, at least
PAPER = 20  # lines besides the table's rows
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH)
DONE = {"pause": "is paused", "resume": "goes on", "restart": "was restarted"}


class Top:
    """The running `top` on a terminal.

    Args:
        target: the daemon, as for :func:`trioworkers.client.live`.
        terminal: it is held by the caller.
        asks: asks the daemon for something, in a thread; returns why it was not done, or None.
    """

    def __init__(self, target: str | PathLike[str], terminal: Terminal, asks: Asks) -> None:
        self._target = target
        self._terminal = terminal
        self._asks = asks
        self._state = TopState(time.monotonic())
        self._changed = trio.Event()

    async def run(self) -> None:
        """Run until the person quits, the terminal goes, or a signal comes.

        Raises (in groups):
            LiveRefusedError: the daemon does not serve the stream to us.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            nursery.start_soon(self._tick)
            nursery.start_soon(self._draw)
            nursery.start_soon(self._heed_signals, nursery.cancel_scope)
            async for key in self._terminal.keys():
                done = self._state.key(key, time.monotonic())
                self._changed.set()
                if isinstance(done, Quit):
                    break
                if isinstance(done, Act):
                    nursery.start_soon(self._act, done)
            nursery.cancel_scope.cancel()

    async def _follow(self) -> None:
        async with live(self._target) as stream:
            async for message in stream:
                self._state.apply(message, time.monotonic())
                self._changed.set()

    async def _tick(self) -> None:
        while True:
            await trio.sleep(1)
            self._state.tick(time.monotonic())
            self._changed.set()

    async def _draw(self) -> None:
        while True:
            self._changed = trio.Event()
            self._terminal.draw(render(self._state, self._terminal.screen, time.monotonic()))
            await self._changed.wait()
            await trio.sleep(FRAME)

    async def _act(self, act: Act) -> None:
        if act.verb == "restart":
            self._state.note(f"restarting {act.bot} …", time.monotonic())
            self._changed.set()
        problem = await trio.to_thread.run_sync(self._asks, act, abandon_on_cancel=True)
        text = f"{act.bot} {DONE[act.verb]}" if problem is None else f"{act.verb} {act.bot}: {problem}"
        self._state.note(text, time.monotonic(), is_bad=problem is not None)
        self._changed.set()

    async def _heed_signals(self, scope: trio.CancelScope) -> None:
        with trio.open_signal_receiver(*SIGNALS) as signals:
            async for number in signals:
                if number != signal.SIGWINCH:
                    scope.cancel()
                self._changed.set()


async def print_tables(
    target: str | PathLike[str], times: int, screen: Screen, show: Callable[[Sequence[Text]], None]
) -> None:
    """Show the table so many times, two seconds apart, on `screen`, which grows with it.

    Raises:
        LiveRefusedError: the daemon does not serve the stream to us.
    """
    state = TopState(time.monotonic())
    async with live(target) as stream, trio.open_nursery() as nursery:
        filled = trio.Event()

        async def follow() -> None:
            async for message in stream:
                state.apply(message, time.monotonic())
                if message["type"] == "snapshot":
                    filled.set()

        nursery.start_soon(follow)
        await filled.wait()
        state.tick(time.monotonic())
        for _ in range(times):
            for _ in range(2):  # rates are differences from one second to the next
                await trio.sleep(1)
                state.tick(time.monotonic())
            now = time.monotonic()
            show(render(state, replace(screen, height=len(state.mirror.rows) + PAPER), now))
        nursery.cancel_scope.cancel()


async def print_messages(
    target: str | PathLike[str], times: int | None, show: Callable[[dict[str, Any]], None]
) -> None:
    """Show each message of the stream, so many of the daemon's, or for ever.

    Raises:
        LiveRefusedError: the daemon does not serve the stream to us.
    """
    left = times
    async with live(target) as stream:
        async for message in stream:
            show(message)
            if left is not None and message["type"] not in ("online", "offline"):
                left -= 1
                if left <= 0:
                    return
