"""The messages to systemd, and which of them may be sent when: sd_notify(3), systemd.service(5).

Pure: what is returned here is sent by :mod:`.announcer`. systemd takes READY=1 for the end of a start as well
as of a reload, so that a reload during the start or the stop must not be announced at all.
"""

from __future__ import annotations

from enum import Enum

LONGEST_STATUS = 500  # characters


class Phase(Enum):
    """What systemd was last told that the service is doing."""

    STARTING = "starting"
    READY = "ready"
    RELOADING = "reloading"
    STOPPING = "stopping"


class Lifecycle:
    """Makes each message, or None where systemd must not get it now.

    Attributes:
        phase: what the service is doing.
    """

    def __init__(self) -> None:
        self.phase = Phase.STARTING
        self._status = ""

    def ready(self, status: str) -> bytes | None:
        """Every bot has its first verdict."""
        if self.phase is not Phase.STARTING:
            return None
        return self._enter(Phase.READY, status, "READY=1")

    def reload_began(self, monotonic_usec: int) -> bytes | None:
        """A reload begins; `monotonic_usec` is the time of CLOCK_MONOTONIC in microseconds."""
        if self.phase is not Phase.READY:
            return None
        return self._enter(Phase.RELOADING, "reloading", "RELOADING=1", f"MONOTONIC_USEC={monotonic_usec}")

    def reload_ended(self, status: str) -> bytes | None:
        """The reload has ended, whatever came of it; `status` says what."""
        if self.phase is not Phase.RELOADING:
            return None
        return self._enter(Phase.READY, status, "READY=1")

    def stopping(self, status: str) -> bytes | None:
        """A stop was requested."""
        if self.phase is Phase.STOPPING:
            return None
        return self._enter(Phase.STOPPING, status, "STOPPING=1")

    def status(self, status: str) -> bytes | None:
        """The status line now; None when it is the one that systemd has."""
        line = one_line(status)
        if line == self._status or self.phase is Phase.RELOADING:
            return None
        return self._enter(self.phase, status)

    def extend(self, seconds: float) -> bytes | None:
        """The start or the stop may take so much longer from now on."""
        if self.phase not in (Phase.STARTING, Phase.STOPPING):
            return None
        return f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}\n".encode()

    def _enter(self, phase: Phase, status: str, *fields: str) -> bytes:
        self.phase = phase
        self._status = one_line(status)
        return "".join(f"{field}\n" for field in (*fields, f"STATUS={self._status}")).encode()


WATCHDOG = b"WATCHDOG=1\n"


def one_line(text: str) -> str:
    """The text without line breaks, which would begin another field, and not too long."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_STATUS else f"{line[: LONGEST_STATUS - 1]}…"
