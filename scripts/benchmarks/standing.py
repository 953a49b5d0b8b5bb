"""The stand-in Bot API as a process: started, told what to send, ended."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

STANDIN = Path(__file__).with_name("standin.py")


class StandIn:
    """A running stand-in.

    Attributes:
        pid: its process.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.pid = process.pid
        self._process = process

    def answered(self, updates: int, first: int = 0) -> float:
        """Send updates to the bots in turn, from `first` on; seconds until all were answered."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{updates} {first}\n")
        self._process.stdin.flush()
        return float(json.loads(self._process.stdout.readline()))


@contextmanager
def standing_in(count: int) -> Iterator[tuple[dict[str, Any], StandIn]]:
    """Run a stand-in with so many bots; its address and their tokens, and how to send updates."""
    with subprocess.Popen(
        [sys.executable, str(STANDIN), str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline()), StandIn(process)
        finally:
            process.stdin.close()
