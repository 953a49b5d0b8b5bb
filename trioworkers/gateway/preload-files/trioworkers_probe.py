"""The probe in a bot's Python: it tells the daemon how each update ended, and whose call a call is.

It is loaded by `sitecustomize.py` when the bot imports a library that `trioworkers_libraries.py` knows. What
it says to the daemon is written down in docs/decisions/probe.md. Like those files, it imports nothing else of
ours.
"""

from __future__ import annotations

import contextvars
import json
import os
import socket
import sysconfig
import threading
from typing import Any
from urllib.parse import urlsplit

BASE = os.environ.get("TRIOWORKERS_API_BASE", "")
TOKEN = os.environ.get("TRIOWORKERS_TOKEN", "")
CONNECTING = 10.0  # seconds
# what libraries call the refusals of the Bot API
CODES = {
    "BadRequest": 400,
    "ChatMigrated": 400,
    "TelegramBadRequest": 400,
    "TelegramMigrateToChat": 400,
    "Forbidden": 403,
    "TelegramForbiddenError": 403,
    "TelegramNotFound": 404,
    "RetryAfter": 429,
    "TelegramRetryAfter": 429,
}
# where code is that is not the bot's own; the folder of the library that is wrapped comes to it
FOREIGN = {os.path.join(sysconfig.get_path(name), "") for name in ("stdlib", "platstdlib")}
INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class Probe:
    """What this process says to the daemon. A process that was forked from it has a connection of its own.

    Attributes:
        greeting: the library, its version and how many updates it handles side by side; empty: none polls.
    """

    def __init__(self) -> None:
        self.greeting = ""
        self._socket: socket.socket | None = None
        self._process = 0
        self._lock = threading.Lock()

    def greet(self, library: str, version: str, at_once: int | None = None) -> None:
        """Say from now on which library polls, and let the daemon hear of ends."""
        self.greeting = f"{library}/{version}" + (f"; at-once={at_once}" if at_once else "")
        self.write(b"")

    def write(self, line: bytes) -> None:
        """Write a line, so that the end of this process cannot take it back."""
        with self._lock:
            for _ in range(2):  # a connection that broke is made anew
                try:
                    if self._socket is None or self._process != os.getpid():
                        self._socket, self._process = self._connect(), os.getpid()
                    if line:
                        self._socket.sendall(b"%x\r\n%s\r\n" % (len(line), line))
                    return
                except OSError:  # without the daemon this process ends, too
                    if self._socket is not None:
                        self._socket.close()
                    self._socket = None

    def _connect(self) -> socket.socket:
        parts = urlsplit(BASE)
        made = socket.create_connection((parts.hostname or "", parts.port or 80), CONNECTING)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line, kind = f"POST /bot{TOKEN}/trioworkersProbe HTTP/1.1", "Transfer-Encoding: chunked"
        made.sendall(f"{line}\r\nHost: trioworkers\r\n{kind}\r\n\r\n".encode())
        return made


class Handling:
    """The handling of one update, which ends with the last of its tasks."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._error: BaseException | None = None
        self._open = 1
        self._lock = threading.Lock()

    def add(self) -> None:
        """A further task belongs to it."""
        with self._lock:
            self._open += 1

    def failed(self, error: BaseException) -> None:
        """Something of it raised; the first that did counts."""
        self._error = self._error or error

    def done(self) -> None:
        """One of its tasks has ended: with the last, tell the daemon."""
        with self._lock:
            self._open -= 1
            if self._open:
                return
        end: dict[str, Any] = {"id": self.number}
        if self._error is not None:
            end.update(described(self._error))
        PROBE.write(json.dumps(end).encode() + b"\n")


PROBE = Probe()
CURRENT: contextvars.ContextVar[Handling | None] = contextvars.ContextVar("trioworkers", default=None)


def fields_of(address: str) -> dict[str, str]:
    """Return the fields that a request to this address has besides its own."""
    if not address.startswith(BASE):
        return {}
    handling = CURRENT.get()
    fields = {} if handling is None else {"X-Trioworkers-Update": str(handling.number)}
    if PROBE.greeting and urlsplit(address).path.lower().endswith("/getupdates"):
        fields["X-Trioworkers-Probe"] = PROBE.greeting
    return fields


def described(error: BaseException) -> dict[str, Any]:
    """Return an exception as the daemon is told it: by type and place, never by what it says."""
    kind = type(error)
    told: dict[str, Any] = {"error": f"{kind.__name__}{place_of(error)}"}
    code = getattr(error, "error_code", None)
    if not isinstance(code, int):
        names = (
            one.__name__ for one in kind.__mro__ if one.__module__.split(".")[0] in ("aiogram", "telegram")
        )
        code = next((CODES[name] for name in names if name in CODES), None)
    if code is not None:
        told["code"] = code
    after: Any = getattr(error, "retry_after", None)
    if after is None and code is not None:
        parameters = (getattr(error, "result_json", None) or {}).get("parameters")
        after = (parameters or {}).get("retry_after")
    after = after.total_seconds() if hasattr(after, "total_seconds") else after
    if isinstance(after, (int, float)):
        told["after"] = max(0, after)
    return told


def place_of(error: BaseException) -> str:
    """Return the innermost line of the bot's own code that it passed, as ` at bot.py:12 in handle`."""
    place = ""
    is_own = False
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        own = not code.co_filename.startswith((*FOREIGN, "<")) and not any(
            one in code.co_filename for one in INSTALLED
        )
        if code.co_filename != __file__ and (own or not is_own):
            is_own = is_own or own
            place = f" at {os.path.basename(code.co_filename)}:{trace.tb_lineno} in {code.co_name}"
        trace = trace.tb_next
    return place


class Noting:
    """Inside, what raises is a failure of the handling that goes on; it is raised on."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        handling = CURRENT.get()
        if handling is not None and isinstance(error, Exception):
            handling.failed(error)
