"""How a command fails: what goes wrong becomes a line for each problem, and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from trioworkers.cli.exits import BAD_CONFIGURATION, FAILED, NOT_PERMITTED, TRY_AGAIN

if TYPE_CHECKING:
    from collections.abc import Callable


def refuse(problems: list[str]) -> NoReturn:
    """Tell each problem on a line of its own and exit with 78."""
    for problem in problems:
        click.echo(problem, err=True)
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    click.echo(f"{count}: nothing was started or changed", err=True)
    sys.exit(BAD_CONFIGURATION)


def fail(message: str, code: int = FAILED) -> NoReturn:
    """Tell one line and exit."""
    click.echo(f"trioworkers: {message}", err=True)
    sys.exit(code)


def run_or_fail(work: Callable[[], None]) -> None:
    """Do the work of a daemon; turn what can be expected to go wrong into one line and an exit code."""
    from trioworkers.descriptors import DescriptorsError
    from trioworkers.folders import AlreadyRunningError
    from trioworkers.inbox.store import StoreError, StoreForbiddenError, StoreRefusedError
    from trioworkers.nursery.zygote import ZygoteEndedError, ZygoteError
    from trioworkers.web.sockets import ListenError, SocketPathError
    from trioworkers.web.tls import CertificateError

    codes: dict[type[Exception], int] = {
        SocketPathError: BAD_CONFIGURATION,
        CertificateError: BAD_CONFIGURATION,
        StoreRefusedError: BAD_CONFIGURATION,
        ZygoteError: BAD_CONFIGURATION,
        StoreForbiddenError: NOT_PERMITTED,
        DescriptorsError: NOT_PERMITTED,
        AlreadyRunningError: TRY_AGAIN,
        ListenError: TRY_AGAIN,
        StoreError: FAILED,
        ZygoteEndedError: FAILED,
        PermissionError: NOT_PERMITTED,
        OSError: FAILED,
    }
    try:
        work()
    except Exception as error:
        expected = _only_leaf(error)
        for kind, code in codes.items():
            if isinstance(expected, kind):
                read_only = isinstance(expected, OSError) and expected.errno == errno.EROFS
                fail(_words(expected), NOT_PERMITTED if read_only else code)
        raise


def _words(error: BaseException) -> str:
    """What an error says, as one line; the system's own with the path first, as everywhere here."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return f"{where}{error.strerror.lower()}"
    return str(error)


def _only_leaf(error: BaseException) -> BaseException:
    """The exception inside groups of one; a group of several stays what it is."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
