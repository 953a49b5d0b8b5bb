"""Speaking to a running daemon, over its control socket."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx

from trioworkers.config import FleetFileError, find_fleet_file, find_runtime_dir
from trioworkers.errors import TrioworkersError

SYSTEM_SOCKET = Path("/run/trioworkers/control.sock")
TIMEOUT = 10.0  # seconds


class NotRunningError(TrioworkersError):
    """There is no daemon behind the control socket."""


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


def ask(socket: Path, path: str) -> Any:
    """GET `path` of the daemon's API over its control socket; return the answer's JSON.

    Raises:
        NotRunningError: nobody listens there.
        PermissionError: the socket is another user's.
        UnreachableError: the daemon does not answer, or with an error.
    """
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), timeout=TIMEOUT) as client:
            response = client.get(f"http://control{path}")
            response.raise_for_status()
            return response.json()
    except httpx.ConnectError as error:
        if _is_foreign(socket):
            message = f"{socket} belongs to another user"
            raise PermissionError(message) from None
        message = f"no daemon is running: nobody listens on {socket}"
        raise NotRunningError(message) from error
    except (httpx.HTTPError, ValueError) as error:
        message = f"the daemon behind {socket} does not answer: {type(error).__name__}"
        raise UnreachableError(message) from None


def _is_foreign(socket: Path) -> bool:
    """Whether it is for want of permission that nobody was reached there."""
    try:
        return socket.exists() and not os.access(socket, os.W_OK)
    except PermissionError:  # its folder is closed to us
        return True
