"""Tries to import handlers, in a process that is thrown away: what they do on import stays there."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import msgspec
import trio

from trioworkers.worker.handler import HandlerError, import_handler

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

TIME_LIMIT = 20.0  # seconds


def probe_handler(
    handler: str, python_path: Sequence[str], folder: Path, environ: Mapping[str, str]
) -> str | None:
    """Import a handler in another process; return what is wrong with it, None when nothing is.

    Blocks until it is imported, at most `TIME_LIMIT` seconds.

    Args:
        handler: `module:function`.
        python_path: where its module is looked for.
        folder: the working directory.
        environ: the environment, without secrets.
    """
    with _importing(handler, python_path, folder, environ) as trial:
        trial.in_time = bool(select.select([trial.ended], [], [], TIME_LIMIT)[0])
    return trial.verdict()


async def wait_handler_probed(
    handler: str, python_path: Sequence[str], folder: Path, environ: Mapping[str, str]
) -> str | None:
    """Do as :func:`probe_handler` without blocking; cancelling kills the other process."""
    with _importing(handler, python_path, folder, environ) as trial:
        with trio.move_on_after(TIME_LIMIT):
            await trio.lowlevel.wait_readable(trial.ended)
            trial.in_time = True
    return trial.verdict()


@dataclass(slots=True)
class _Trial:
    """A handler that is being imported elsewhere. `ended`: a pidfd of the process that does it."""

    handler: str
    ended: int = -1
    in_time: bool = False
    code: int = 0
    said: bytes = b""

    def verdict(self) -> str | None:
        if not self.in_time:
            return f"{self.handler}: importing it took longer than {TIME_LIMIT:g} s"
        if not self.said:
            return f"{self.handler}: importing it ended the process (exit code {self.code})"
        try:
            return msgspec.json.decode(self.said, type=str | None)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return f"{self.handler}: importing it wrote to a descriptor that is not its own"


@contextmanager
def _importing(
    handler: str, python_path: Sequence[str], folder: Path, environ: Mapping[str, str]
) -> Iterator[_Trial]:
    """Start the process; when the block ends kill its group, reap it and take in what it said."""
    reads, writes = os.pipe()
    with open(reads, "rb") as answer:
        try:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "trioworkers.worker",
                    "probe",
                    str(writes),
                    handler,
                    *python_path,
                ],
                cwd=folder,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[writes],
                start_new_session=True,
            )
        finally:
            os.close(writes)
        trial = _Trial(handler)
        try:
            trial.ended = os.pidfd_open(process.pid)
            yield trial
        finally:
            if trial.ended >= 0:
                os.close(trial.ended)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # before it is reaped: then it may be another's
            trial.code = process.wait()
        os.set_blocking(reads, False)
        trial.said = answer.read() or b""


def answer_probe(descriptor: int, handler: str, python_path: Sequence[str]) -> NoReturn:
    """Be the process that tries it; what is wrong is written to the pipe at `descriptor`."""
    problem = None
    try:
        import_handler(handler, python_path)
    except HandlerError as error:
        problem = str(error)
    os.write(descriptor, msgspec.json.encode(problem))
    os._exit(0)  # whatever threads the module started
