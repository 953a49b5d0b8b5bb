"""How a command fails: what goes wrong becomes a line for each problem, and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from trioworkers.cli.exits import BAD_CONFIGURATION, FAILED, NOT_PERMITTED, TRY_AGAIN
from trioworkers.cli.streams import has_room

if TYPE_CHECKING:
    from collections.abc import Callable


def refuse(problems: list[str]) -> NoReturn:
    """Tell each problem on a line of its own and exit with 78."""
    for problem in problems:
        _say(problem)
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    _say(f"{count}: nothing was started or changed")
    sys.exit(BAD_CONFIGURATION)


def fail(message: str, code: int = FAILED) -> NoReturn:
    """Tell one line and exit."""
    _say(f"trioworkers: {message}")
    sys.exit(code)


def _say(text: str) -> None:
    """Write to standard error; to the journal each line with the priority of an error."""
    from trioworkers.service.journal import PRIORITY, is_journal

    prefix = PRIORITY["error"] if is_journal(sys.stderr, os.environ) else ""
    for line in text.splitlines() or [""]:
        if _is_read():
            click.echo(f"{prefix}{line}", err=True)


def _is_read() -> bool:
    """Whether standard error takes a line: who ends does not wait for ever for a reader of a pipe."""
    try:
        return has_room(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):  # there is no descriptor, or no stream
        return True


def run_or_fail(work: Callable[[], None]) -> None:
    """Do the work of a daemon; turn what can be expected to go wrong into one line and an exit code."""
    from trioworkers.config import FleetFileError
    from trioworkers.descriptors import DescriptorsError
    from trioworkers.folders import AlreadyRunningError
    from trioworkers.inbox.store import StoreError, StoreForbiddenError, StoreRefusedError, StoreTakenError
    from trioworkers.nursery.zygote import ZygoteEndedError, ZygoteError
    from trioworkers.shortage import NoThreadError, no_memory, no_thread
    from trioworkers.starved import NO_THREAD, find_starved
    from trioworkers.web.sockets import ListenError, SocketPathError
    from trioworkers.web.tls import CertificateError

    codes: dict[type[Exception], int] = {
        SocketPathError: BAD_CONFIGURATION,
        CertificateError: BAD_CONFIGURATION,
        StoreTakenError: TRY_AGAIN,
        StoreRefusedError: BAD_CONFIGURATION,
        ZygoteError: BAD_CONFIGURATION,
        StoreForbiddenError: NOT_PERMITTED,
        DescriptorsError: NOT_PERMITTED,
        AlreadyRunningError: TRY_AGAIN,
        ListenError: TRY_AGAIN,
        StoreError: FAILED,
        ZygoteEndedError: FAILED,
        PermissionError: NOT_PERMITTED,
        NoThreadError: TRY_AGAIN,
        OSError: FAILED,
    }
    try:
        work()
    except Exception as error:
        expected = only_leaf(error)
        if isinstance(expected, RuntimeError) and str(expected) == NO_THREAD:
            expected = no_thread()
        if isinstance(find_starved(error), MemoryError):  # Trio's own errors come of one, too
            fail(f"memory: {no_memory()}")
        if isinstance(expected, FleetFileError):  # of plugins, which are loaded by the daemon
            refuse([str(problem) for problem in expected.problems])
        for kind, code in codes.items():
            if isinstance(expected, kind):
                read_only = isinstance(expected, OSError) and expected.errno == errno.EROFS
                fail(_words(expected), NOT_PERMITTED if read_only else code)
        raise


def _words(error: BaseException) -> str:
    """What an error says, as one line; the system's own with the path first, as everywhere here."""
    if isinstance(error, OSError) and error.strerror:
        from trioworkers.shortage import words_of

        of_file = isinstance(error.filename, str | bytes) and error.errno != errno.EAGAIN
        where = f"{os.fsdecode(error.filename)}: " if of_file else ""
        return f"{where}{words_of(error)}"
    return str(error)


def only_leaf(error: BaseException) -> BaseException:
    """The exception inside groups of one; a group of several stays what it is."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
