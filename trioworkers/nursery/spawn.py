"""How a worker's process is made, and what the rest may ask of it.

:class:`Spawn` starts a fresh interpreter. Whatever makes processes another way has to give the same
:class:`WorkerProcess`: a session of its own, the channel's end inherited, a wait and a group to signal.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: with a `code`, or by a `signal` (`SIGKILL`)."""

    code: int | None = None
    signal: str | None = None

    def __str__(self) -> str:
        return f"exit code {self.code}" if self.signal is None else self.signal


class WorkerProcess(Protocol):
    """A running worker: the leader of a session and group of its own."""

    @property
    def pid(self) -> int: ...

    async def wait(self) -> Exit:
        """Wait until it has ended, end what is left of its group, and return how it ended."""

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to it alone."""

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to it and to everything it started in its group."""


class MakesWorkers(Protocol):
    """Makes worker processes."""

    def start(self, channel: int, output: int) -> WorkerProcess:
        """Start a worker with the descriptors `channel` (its lifeline) and `output` (stdout, stderr).

        Both stay the caller's to close.

        Raises:
            OSError: the system has no room for another process.
        """


class Spawn:
    """Starts each worker as a fresh interpreter.

    Args:
        folder: its working directory.
        environ: its environment, without secrets.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = dict(environ)

    def start(self, channel: int, output: int) -> WorkerProcess:
        # -P: the working directory does not come first in the search for modules, python_path does
        command = [sys.executable, "-P", "-m", "trioworkers.worker", str(channel)]
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            command,
            cwd=self._folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[channel],
            start_new_session=True,
        )
        return _Spawned(process)


class _Spawned:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._exit: Exit | None = None
        self._reaping = trio.Lock()
        self.pid = process.pid

    async def wait(self) -> Exit:
        async with self._reaping:
            if self._exit is None:
                descriptor = os.pidfd_open(self.pid)
                try:
                    await trio.lowlevel.wait_readable(descriptor)
                finally:
                    os.close(descriptor)
                # while the leader is not reaped its number cannot be another group's
                self.signal_group(signal.SIGKILL)
                code = self._process.wait()
                self._exit = Exit(code) if code >= 0 else Exit(signal=signal.Signals(-code).name)
            return self._exit

    def send_signal(self, number: signal.Signals) -> None:
        if self._exit is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def signal_group(self, number: signal.Signals) -> None:
        if self._exit is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)
