"""Whether the store works, as far as its successes and failures show, and who is told of a change."""

from __future__ import annotations

import time
from enum import IntEnum
from typing import TYPE_CHECKING

from trioworkers.inbox.store import StoreDisplacedError, StoreFullError, StoreUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.inbox.store import StoreError


TOLD_AGAIN = 300.0  # seconds until the same reason is reported once more


class Proof(IntEnum):
    """What of the store works, by what succeeded; each includes those before."""

    READS = 0
    WRITES = 1
    ACCEPTS = 2


class Trouble:
    """Reports that a store begins to fail, or fails for another reason, and that it works again.

    Args:
        report: called with the error; None: it does again what it could not do.
    """

    def __init__(self, report: Callable[[StoreError | None], object]) -> None:
        self._report = report
        self._reported: str | None = None
        self._needed = Proof.READS

    @property
    def lasts(self) -> bool:
        """Whether a failure was reported, and no end of it."""
        return self._reported is not None

    def failed(self, error: StoreError, proof: Proof) -> None:
        """Something failed; `proof`: what has to succeed before it counts as over.

        On a full or read-only disk reads succeed, and with the ballast gone so do acknowledgements.
        """
        if isinstance(error, StoreFullError | StoreDisplacedError):
            proof = Proof.ACCEPTS
        elif isinstance(error, StoreUnreachableError):
            proof = Proof.READS
        self._needed = max(self._needed, proof)
        if str(error) != self._reported:
            self._reported = str(error)
            self._report(error)

    def worked(self, proof: Proof) -> None:
        """Something succeeded."""
        if self._reported is not None and proof >= self._needed:
            self._reported, self._needed = None, Proof.READS
            self._report(None)


class StartTrouble:
    """Reports why a daemon cannot start yet, and the same reason again after some minutes.

    Args:
        report: called with the error; None: it can start.
    """

    def __init__(self, report: Callable[[StoreError | None], object]) -> None:
        self._report = report
        self._reported, self._next = "", 0.0

    def failed(self, error: StoreError) -> None:
        """The store cannot be used now."""
        if str(error) != self._reported or time.monotonic() >= self._next:
            self._reported, self._next = str(error), time.monotonic() + TOLD_AGAIN
            self._report(StoreUnreachableError(f"{error}; the fleet starts when it can be used"))

    def worked(self) -> None:
        """It can be used."""
        if self._reported:
            self._report(None)
