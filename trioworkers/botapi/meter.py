"""Counts requests to the Bot API by method and result, in a worker and in the daemon.

Methods come from handlers, which may call anything: what is not shaped like the name of a method, what the
server does not know, and what exceeds `MOST_METHODS` is counted as `other`. So neither a label nor the memory
of a counter can be filled with what a handler makes up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

CallResult = Literal[
    "ok",
    "bad_request",
    "unauthorized",
    "forbidden",
    "conflict",
    "rate_limited",
    "refused",
    "server_error",
    "failed",
]
"""How a request ended. `refused`: an error code that has no name of its own; `failed`: without an answer."""

OTHER = "other"
MOST_METHODS = 200  # the Bot API has some 170
LONGEST_METHOD = 50  # characters
UNKNOWN_METHOD = 404  # the error code for a method that the server does not know

_NAMED: dict[int, CallResult] = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    409: "conflict",
    429: "rate_limited",
}


def result_of(error_code: int) -> CallResult:
    """Return the result that a refusal with this error code is counted as."""
    return _NAMED.get(error_code) or ("server_error" if error_code >= 500 else "refused")


class CallMeter:
    """Counts requests; on one thread.

    Attributes:
        requests: how many there were, by method and result.
        waited: seconds that calls waited because the server asked them to (429).
    """

    __slots__ = ("_methods", "requests", "waited")

    def __init__(self) -> None:
        self.requests: dict[tuple[str, CallResult], int] = {}
        self.waited = 0.0
        self._methods: set[str] = set()

    def refused(self, method: str, error_code: int) -> None:
        """Count a request that the server refused."""
        self.count(OTHER if error_code == UNKNOWN_METHOD else method, result_of(error_code))

    def count(self, method: str, result: CallResult, times: int = 1) -> None:
        """Count requests that ended alike."""
        key = (method, result)
        if key not in self.requests:
            key = (self._label(method), result)
        self.requests[key] = self.requests.get(key, 0) + times

    def take(self, most: int) -> tuple[list[tuple[str, CallResult, int]], float]:
        """Return what was counted since the last time, at most so many rows, and forget it."""
        rows = [(*key, times) for key, times in self.requests.items()][:most]
        for method, result, _ in rows:
            del self.requests[method, result]
        waited, self.waited = self.waited, 0.0
        return rows, waited

    def add(self, rows: Iterable[tuple[str, CallResult, int]], waited: float) -> None:
        """Add what another meter counted."""
        for method, result, times in rows:
            self.count(method, result, times)
        self.waited += waited

    def _label(self, method: str) -> str:
        if method in self._methods:
            return method
        fits = method.isascii() and method.isalpha() and len(method) <= LONGEST_METHOD
        if not fits or len(self._methods) >= MOST_METHODS:
            return OTHER
        self._methods.add(method)
        return method
