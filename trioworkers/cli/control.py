"""Speaking to a running daemon, over its control socket."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx

from trioworkers.cli.exits import BAD_CONFIGURATION, FAILED, NOT_PERMITTED, TRY_AGAIN, UNREACHABLE
from trioworkers.cli.main import fail, refuse
from trioworkers.cli.shown import printable
from trioworkers.config import FleetFileError, find_fleet_file, find_runtime_dir
from trioworkers.errors import TrioworkersError

SYSTEM_SOCKET = Path("/run/trioworkers/control.sock")
TIMEOUT = 10.0  # seconds


class NotRunningError(TrioworkersError):
    """There is no daemon behind the control socket."""


class RefusedError(TrioworkersError):
    """The daemon does not do what it was asked for; the message is its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class UnreachableError(TrioworkersError):
    """There is a control socket, but it does not answer as it should."""


def find_socket(config: Path | None) -> Path:
    """The control socket of the fleet that is meant; the system's when there is no fleet file at hand.

    Nothing else of the fleet file has to be right, and no token at hand.

    Raises:
        FleetFileError: the fleet file was named and cannot be read, or there is neither file nor socket.
    """
    try:
        path = find_fleet_file(config, os.environ)
    except FleetFileError:
        if config is None and SYSTEM_SOCKET.exists():
            return SYSTEM_SOCKET
        raise
    return find_runtime_dir(path, os.environ) / "control.sock"


def ask(
    socket: Path,
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
    transport = httpx.HTTPTransport(uds=str(socket), verify=False)  # no TLS here
    try:
        with httpx.Client(transport=transport, timeout=timeout) as client:
            response = client.request(method, f"http://control{path}", json=body)
            if response.is_error:
                _raise_refused(response)
            return response.json()
    except httpx.ConnectError as error:
        if _is_foreign(socket):
            message = f"{socket} belongs to another user"
            raise PermissionError(message) from None
        message = f"no daemon is running: nobody listens on {socket}; `trioworkers start` starts one"
        raise NotRunningError(message) from error
    except (httpx.HTTPError, ValueError) as error:
        message = f"the daemon behind {socket} does not answer: {type(error).__name__}"
        raise UnreachableError(message) from None


def ask_or_fail(
    config: Path | None,
    path: str,
    body: object = None,
    *,
    timeout: float | None = TIMEOUT,
    absent: int = UNREACHABLE,
    missing: int = FAILED,
    method: str | None = None,
) -> Any:
    """As :func:`ask`, of the fleet that is meant; what goes wrong is told in one line, with an exit code.

    `absent`: the exit code where no daemon runs; `missing`: where it has not what `path` names.
    """
    try:
        return ask(find_socket(config), path, body, timeout=timeout, method=method)
    except FleetFileError as error:
        refuse([str(problem) for problem in error.problems])
    except NotRunningError as error:
        fail(str(error), absent)
    except PermissionError as error:
        fail(str(error), NOT_PERMITTED)
    except UnreachableError as error:
        fail(str(error), UNREACHABLE)
    except RefusedError as error:
        codes = {403: NOT_PERMITTED, 404: missing, 422: BAD_CONFIGURATION, 503: TRY_AGAIN}
        fail(str(error), codes.get(error.status, FAILED))


def _raise_refused(response: httpx.Response) -> None:
    """Raise what an error of the daemon's own says; another is one of HTTP."""
    answer = response.json()
    if isinstance(answer, dict) and isinstance(answer.get("error"), str):
        raise RefusedError(response.status_code, printable(answer["error"]))
    response.raise_for_status()


def _is_foreign(socket: Path) -> bool:
    """Whether it is for want of permission that nobody was reached there."""
    try:
        return socket.exists() and not os.access(socket, os.W_OK)
    except PermissionError:  # its folder is closed to us
        return True
