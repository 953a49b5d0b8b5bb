"""A worker that runs a program in place of a handler: it starts it, watches it, and ends with it.

The program polls the daemon's endpoint for updates, so no update passes here. What passes is what every
worker is asked for: heartbeats with the memory of its whole session, new settings, a graceful stop. The end
of the channel is the end of the program and of all that it started, as for every worker.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from trioworkers.private import write_private
from trioworkers.protocol.frames import (
    WORDS_LENGTH,
    Drain,
    FrameError,
    Heartbeat,
    Ping,
    Retune,
    Unfit,
    cut,
)
from trioworkers.starved import EXIT_STARVED, is_starved
from trioworkers.worker.deaf import DEAF
from trioworkers.worker.remains import session_share

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trioworkers.protocol.channel import Channel
    from trioworkers.protocol.frames import Program, ToWorker

EXIT_UNFIT = 78  # EX_CONFIG of sysexits.h: it would not go better a second time
STOP_GRACE = 10.0  # seconds from TERM to KILL
FIRST_LOOK = 2.0  # seconds until the memory of a program that has just started is looked at
LOOPBACK = "127.0.0.1"
CANNOT_START = "command cannot be started"


async def serve_program(program: Program, tuning: Retune, channel: Channel, frames: list[ToWorker]) -> int:
    """Run the program to its end; return its exit code, or end by the signal that ended it.

    `frames`: those that came with the first one.
    """
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)  # its stacks say nothing of the program
    guard = _Guard(program, tuning, channel)
    try:
        guard.write_settings()
        process = await trio.lowlevel.open_process(
            program.words,
            stdin=subprocess.DEVNULL,
            cwd=program.folder,
            env=environment_of(program, os.environ),
            preexec_fn=_hear_signals,
        )
    except OSError as error:
        if is_starved(error):
            return EXIT_STARVED
        detail = f"{program.words[0]}: {error.strerror or error}"
        channel.send(Unfit(CANNOT_START, cut(detail, WORDS_LENGTH)))
        await channel.flush()
        return EXIT_UNFIT
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.serve_writes)
        nursery.start_soon(guard.listen, frames)
        nursery.start_soon(guard.stop_when_drained, process)
        nursery.start_soon(guard.beat)
        code = await process.wait()
        nursery.cancel_scope.cancel()
    if code < 0:
        _end_by(-code)
    return code


def environment_of(program: Program, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a program: those of `environ`, its own, and what makes its calls come to us.

    No proxy stands before the endpoint, and the preloads of Node.js and Python come before those that the
    user has.
    """
    variables = {**environ, **program.environ}
    capital, small = variables.get("NO_PROXY"), variables.get("no_proxy")
    # both, as some read only one; where one was missing, it must not hide what the other says
    variables["NO_PROXY"] = ",".join(filter(None, (capital or small, LOOPBACK)))
    variables["no_proxy"] = ",".join(filter(None, (small or capital, LOOPBACK)))
    if program.preload:
        quoted = f"{program.preload}/redirect.cjs".replace("\\", "\\\\").replace('"', '\\"')
        options = f'--require "{quoted}"', variables.get("NODE_OPTIONS")
        variables["NODE_OPTIONS"] = " ".join(filter(None, options))
        paths = program.preload, variables.get("PYTHONPATH")
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return variables


class _Guard:
    """What is said to and by the daemon while the program runs."""

    def __init__(self, program: Program, tuning: Retune, channel: Channel) -> None:
        self._settings_file = Path(program.settings_file)
        self._tuning = tuning
        self._channel = channel
        self._memory = 0
        self._has_polled, self._is_drained = trio.Event(), trio.Event()

    def write_settings(self) -> None:
        """Put the settings in force where the program finds them; a reader has the old or the new ones whole.

        Raises:
            OSError: they cannot be written.
        """
        self._settings_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._settings_file, json.dumps(self._tuning.settings, ensure_ascii=False).encode())

    async def listen(self, frames: list[ToWorker]) -> None:
        """Read the channel until its end, which is the end of the program, too."""
        while True:
            for frame in frames:
                self._obey(frame)
            try:
                frames = await self._channel.receive()
            except FrameError:
                frames = []
            if not frames:
                os.killpg(os.getpgrp(), signal.SIGKILL)

    def _obey(self, frame: ToWorker) -> None:
        if isinstance(frame, Retune):
            changed = frame.settings != self._tuning.settings
            self._tuning = frame
            if changed:
                with suppress(OSError):  # a full disk: the program goes on with what it has
                    self.write_settings()
        elif isinstance(frame, Ping):  # the first one says that the program has polled
            if self._has_polled.is_set():
                self._channel.send(Heartbeat(self._memory))
            self._has_polled.set()
        elif isinstance(frame, Drain):
            self._is_drained.set()

    async def stop_when_drained(self, process: trio.Process) -> None:
        """Ask the program and its children to end, and end them after a grace."""
        await self._is_drained.wait()
        # this process is deaf to it; a shell or npm in between does not pass it on
        os.killpg(os.getpgrp(), signal.SIGTERM)
        await trio.sleep(STOP_GRACE)
        process.kill()

    async def beat(self) -> None:
        """Say that the program is watched, and how much memory it and its children have."""
        await self._has_polled.wait()
        look_at = trio.current_time() + FIRST_LOOK
        while True:
            if trio.current_time() >= look_at:
                self._memory = session_share()
                look_at = trio.current_time() + self._tuning.memory_check_interval
            self._channel.send(Heartbeat(self._memory))
            next_at = trio.current_time() + self._tuning.heartbeat_interval
            await trio.sleep_until(min(next_at, look_at))


def _hear_signals() -> None:
    """Give the program the signals as a shell would (in the child, before it becomes the program)."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, DEAF)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def _end_by(number: int) -> None:
    """End as the program did, so that the daemon sees it."""
    with suppress(OSError, ValueError):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
