"""The stand-in Bot API as a process: started, told what to send, ended."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

STANDIN = Path(__file__).with_name("standin.py")


@dataclass(frozen=True)
class Told:
    """What became of the updates of one order.

    Attributes:
        updates: how many were sent.
        seconds: until all were answered, or it was given up.
        latencies: seconds from an update's arrival to its answer, for each that was answered.
        twice: answers beyond an update's first.
        disordered: answers that came after a later update's, of one bot and chat.
        wrong: messages that answer nothing, or in another chat.
        cpu: seconds of processor that the stand-in used.
    """

    updates: int
    seconds: float
    latencies: list[float]
    twice: int
    disordered: int
    wrong: int
    cpu: float

    @property
    def lost(self) -> int:
        return self.updates - len(self.latencies)

    def percentile(self, percent: int) -> float:
        """Seconds within which so many of the answers came."""
        return quantiles(self.latencies, n=100, method="inclusive")[percent - 1]


class StandIn:
    """A running stand-in.

    Attributes:
        pid: its process.
        base: its address.
        tokens: of its bots.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.pid = process.pid
        self._process = process
        offered = self._read()
        self.base: str = offered["base"]
        self.tokens: list[str] = offered["tokens"]

    def answered(self, updates: int, first: int = 0) -> float:
        """Send updates to the bots in turn, from `first` on; seconds until all were answered."""
        self.send(updates, first=first)
        told = self.told()
        if told.lost:
            message = f"{told.lost} of {updates} updates were not answered"
            raise SystemExit(message)
        return told.seconds

    def send(self, updates: int, **order: Any) -> None:
        """Let updates come, as `Order` in `standin.py` says; what becomes of them is `told()`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"updates": updates, **order}) + "\n")
        self._process.stdin.flush()

    def told(self) -> Told:
        """Wait until all that were sent are answered, or nothing is to be hoped for."""
        return Told(**self._read())

    def wait_polled(self, limit: float = 180.0) -> float:
        """Wait until every bot has asked for updates once; returns when, by `time.perf_counter`."""
        self.send(0, patience=limit)
        polling = self._read()["polling"]
        if polling < len(self.tokens):
            message = f"{polling} of {len(self.tokens)} bots poll after {limit:g} s"
            raise SystemExit(message)
        return time.perf_counter()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        document: dict[str, Any] = json.loads(self._process.stdout.readline())
        return document


@contextmanager
def standing_in(count: int) -> Iterator[StandIn]:
    """Run a stand-in with so many bots."""
    with subprocess.Popen(
        [sys.executable, str(STANDIN), str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        try:
            yield StandIn(process)
        finally:
            process.stdin.close()
