"""Whether the store works, as far as its successes and failures show, and who is told of a change."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from trioworkers.inbox.store import StoreDisplacedError, StoreFullError, StoreUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.inbox.store import StoreError


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
