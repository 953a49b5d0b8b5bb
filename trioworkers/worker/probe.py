"""Tries to import handlers, in a process that is thrown away: what they do on import stays there."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from trioworkers.worker.handler import HandlerError, import_handler

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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
    reads, writes = os.pipe()
    with open(reads, "rb") as answer:
        try:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter
                [sys.executable, "-P", "-m", "trioworkers.worker.probe", str(writes), handler, *python_path],
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
        in_time = _has_ended(process.pid, TIME_LIMIT)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # before it is reaped: then its number may be another's
        process.wait()
        if not in_time:
            return f"{handler}: importing it took longer than {TIME_LIMIT:g} s"
        os.set_blocking(reads, False)
        said = answer.read()
    if not said:
        return f"{handler}: importing it ended the process (exit code {process.returncode})"
    try:
        return msgspec.json.decode(said, type=str | None)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return f"{handler}: importing it wrote to a descriptor that is not its own"


def _has_ended(pid: int, seconds: float) -> bool:
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def _main(descriptor: int, handler: str, python_path: Sequence[str]) -> None:
    problem = None
    try:
        import_handler(handler, python_path)
    except HandlerError as error:
        problem = str(error)
    os.write(descriptor, msgspec.json.encode(problem))
    os._exit(0)  # whatever threads the module started


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
