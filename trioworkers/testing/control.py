"""Requests to a daemon over its control socket, from a test that waits for the answer.

The standard library's client is enough, and closes its socket also when nobody listens yet.
"""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

CALL_LIMIT = 60.0  # seconds for each step of a request


@dataclass(frozen=True, slots=True)
class Answer:
    """The daemon's answer to a request: its HTTP status and its body."""

    status: int
    text: str

    def json(self) -> Any:
        """The body, as JSON."""
        return json.loads(self.text)


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("control", timeout=CALL_LIMIT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(CALL_LIMIT)
        self.sock.connect(str(self._path))


def ask(control: Path, method: str, path: str, body: object = None) -> Answer:
    """Make a request and return the answer; a body is sent as JSON.

    Raises:
        OSError, http.client.HTTPException: nobody listens there, or the connection ended before the answer.
    """
    data = None if body is None else json.dumps(body).encode()
    with closing(_Connection(control)) as connection:
        connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
        response = connection.getresponse()
        return Answer(response.status, response.read().decode())
