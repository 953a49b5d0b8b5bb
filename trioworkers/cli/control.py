"""Speaking to a running daemon, over its control socket."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from trioworkers.cli.exits import BAD_CONFIGURATION, FAILED, NOT_PERMITTED, TRY_AGAIN, UNREACHABLE
from trioworkers.cli.failures import fail, refuse
from trioworkers.cli.shown import printable_lines
from trioworkers.config import FleetFileError, find_fleet_file, find_runtime_dir
from trioworkers.errors import TrioworkersError
from trioworkers.service.claim import PATIENCE, Claimed, Told, ask_claim, find_claims
from trioworkers.service.places import CONTROL_SOCKET, service_socket

if TYPE_CHECKING:
    from collections.abc import Callable

SYSTEM_SOCKET = Path("/run/trioworkers/control.sock")
TIMEOUT = 10.0  # seconds
PUT_BACK = 5.0  # seconds in which a daemon puts a socket back that was removed
LOOK_EVERY = 0.05  # seconds


@dataclass(frozen=True, slots=True)
class Codes:
    """Exit codes: `absent` where no daemon runs, `missing` where it does not have what was asked for.

    With a code of `quiet` nothing is printed when the daemon refuses, which has logged why. `cited` says each
    problem of a refused fleet in other words.
    """

    absent: int = UNREACHABLE
    missing: int = FAILED
    quiet: frozenset[int] = frozenset()
    cited: Callable[[str], str] = str


USUAL = Codes()


class NotRunningError(TrioworkersError):
    """There is no daemon behind the control socket."""


class DaemonRefusedError(TrioworkersError):
    """The daemon does not do what it was asked for; the message is its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class UnreachableError(TrioworkersError):
    """There is a control socket, but it does not answer as it should."""


def find_socket(config: Path | None) -> Path:
    """The control socket of the fleet that is meant; the system's when there is no fleet file at hand.

    It is the first at which somebody listens: where the fleet file says, where the unit of this file has it,
    or where a running daemon of this file says (:mod:`trioworkers.service.claim`). A daemon that systemd runs
    has its socket where its unit says, which may be anywhere. One whose folders were removed puts its socket
    back within a second, for which this waits.

    Nothing else of the fleet file has to be right, and no token at hand.

    Raises:
        FleetFileError: the fleet file was named and cannot be read, or there is neither file nor socket.
        PermissionError: a daemon of the fleet runs as another user.
        UnreachableError: a daemon of the fleet runs and does not say where its socket is.
    """
    try:
        path = find_fleet_file(config, os.environ)
    except FleetFileError:
        if config is None and SYSTEM_SOCKET.exists():
            return SYSTEM_SOCKET
        raise
    places = find_runtime_dir(path, os.environ) / CONTROL_SOCKET, service_socket(path)
    deadline = time.monotonic() + PUT_BACK
    while True:
        for control in places:
            if _listens(control):
                return control
        if (claimed := next(find_claims(path), None)) is None:
            return next((control for control in places if control.exists()), places[0])
        told = ask_claim(claimed)
        if told is not None and _listens(told.control):
            return told.control
        if told is None or time.monotonic() > deadline:
            _explain_unfound(claimed, told)
        time.sleep(LOOK_EVERY)


def _explain_unfound(claimed: Claimed, told: Told | None) -> NoReturn:
    """Raise why a daemon that runs cannot be reached."""
    if told is not None:
        message = f"the daemon (pid {claimed.pid}) runs, but nobody listens on {told.control}"
        raise UnreachableError(message)
    if claimed.uid not in (0, os.geteuid()) or os.geteuid() not in (0, claimed.uid):
        message = f"the daemon (pid {claimed.pid}) runs as another user (uid {claimed.uid})"
        raise PermissionError(message)
    message = f"the daemon (pid {claimed.pid}) does not answer within {PATIENCE:g} s"
    raise UnreachableError(message)


def _listens(control: Path) -> bool:
    """Whether somebody listens there, or it cannot be seen from here: whoever connects learns why."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            probe.connect(str(control))
    except (BlockingIOError, PermissionError):
        return True
    except OSError:
        return False
    return True


class Connection(http.client.HTTPConnection):
    """A connection to a unix socket; the standard library's, as a command has no time to import another."""

    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("control", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)  # or it waits for ever at a daemon that takes no more
        self.sock.connect(str(self._path))
        self.sock.settimeout(self.timeout)


def ask(
    control: Path,
    path: str,
    body: object = None,
    *,
    timeout: float | None = TIMEOUT,
    method: str | None = None,
) -> Any:
    """GET `path` of the daemon's API over its control socket, or POST a JSON body; return the answer's JSON.

    `timeout`: seconds for each step of it; None waits as long as the daemon takes.

    Raises:
        NotRunningError: nobody listens there.
        PermissionError: the socket is another user's.
        RefusedError: the daemon does not do it, and says why.
        UnreachableError: the daemon does not answer, or not as it should.
    """
    method = method or ("GET" if body is None else "POST")
    data = None if body is None else json.dumps(body).encode()
    with closing(connect(control, timeout)) as connection:
        answer: Any = None
        try:
            with suppress(BrokenPipeError):  # it has its answer before it was told everything
                connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
            response = connection.getresponse()
            said = response.read()
            with suppress(ValueError):
                answer = json.loads(said)
        except (http.client.HTTPException, OSError) as error:
            raise _unreachable(control, type(error).__name__) from None
    if answer is None:
        raise _unreachable(control, f"HTTP {response.status} without JSON")
    if response.status < 400:
        return answer
    if isinstance(answer, dict) and isinstance(answer.get("error"), str):
        raise DaemonRefusedError(response.status, printable_lines(answer["error"]))
    raise _unreachable(control, f"HTTP {response.status}")


def ask_or_fail(
    config: Path | None,
    path: str,
    body: object = None,
    *,
    timeout: float | None = TIMEOUT,
    codes: Codes = USUAL,
    method: str | None = None,
) -> Any:
    """As :func:`ask`, of the fleet that is meant; what goes wrong is said in one line, with an exit code."""
    try:
        return ask(find_socket(config), path, body, timeout=timeout, method=method)
    except FleetFileError as error:
        refuse([str(problem) for problem in error.problems])
    except NotRunningError as error:
        fail(str(error), codes.absent)
    except PermissionError as error:
        fail(str(error), NOT_PERMITTED)
    except UnreachableError as error:
        fail(str(error), UNREACHABLE)
    except DaemonRefusedError as error:
        by_status = {403: NOT_PERMITTED, 404: codes.missing, 422: BAD_CONFIGURATION, 503: TRY_AGAIN}
        code = by_status.get(error.status, FAILED)
        if code in codes.quiet:
            sys.exit(code)
        if error.status == 422:
            refuse([codes.cited(problem) for problem in str(error).splitlines()])
        fail(str(error), code)


def connect(control: Path, timeout: float | None = TIMEOUT) -> Connection:
    """A connection to whoever listens there; `timeout`: seconds for each step of what is asked over it.

    Raises:
        NotRunningError, PermissionError, UnreachableError: as :func:`ask`.
    """
    connection = Connection(control, timeout)
    try:
        connection.connect()
    except BlockingIOError:  # unix(7) does not wait there, whatever time there is
        connection.close()
        raise _unreachable(control, "it takes no connection") from None
    except OSError as error:
        connection.close()
        if _is_foreign(control):
            message = f"{control} belongs to another user"
            raise PermissionError(message) from None
        message = f"no daemon is running: nobody listens on {control}; `trioworkers start` starts one"
        raise NotRunningError(message) from error
    return connection


def _unreachable(control: Path, why: str) -> UnreachableError:
    return UnreachableError(f"the daemon behind {control} does not answer: {why}")


def _is_foreign(control: Path) -> bool:
    """Whether it is for want of permission that nobody was reached there."""
    try:
        return control.exists() and not os.access(control, os.W_OK)
    except PermissionError:  # its folder is closed to us
        return True
