"""Processes of a soak: the simulated Telegram, which is told what to do, and all those of its daemons."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MARK = "SOAK_RUN"  # a variable that all processes of a soak's daemons have


def marked(mark: str) -> list[psutil.Process]:
    """All processes that this soak's daemons, or their workers, left or have."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                found.append(process)
    return found


class TelegramProcess:
    """The simulated Telegram; one order at a time."""

    def __init__(self, process: trio.Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("expected a process with pipes")
        self._orders, self._answers = process.stdin, process.stdout
        self._lock = trio.Lock()
        self._read = b""

    async def receive(self) -> Any:
        """Its next line."""
        while b"\n" not in self._read:
            data = await self._answers.receive_some()
            if not data:
                message = "the simulated telegram ended"
                raise RuntimeError(message)
            self._read += data
        line, _, self._read = self._read.partition(b"\n")
        return json.loads(line)

    async def ask(self, do: str, **arguments: Any) -> Any:
        """Give an order and return the answer."""
        async with self._lock:
            with trio.CancelScope(shield=True):
                await self._orders.send_all(json.dumps({"do": do, **arguments}).encode() + b"\n")
                return await self.receive()


@asynccontextmanager
async def open_telegram(module: str, *arguments: object) -> AsyncIterator[tuple[TelegramProcess, Any]]:
    """Run this module with these arguments; give its process, and the line that it began with."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ
    )
    try:
        telegram = TelegramProcess(process)
        yield telegram, await telegram.receive()
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
