"""How a worker session went, and the one cause that its end is counted under."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trioworkers.nursery.spawn import Exit
    from trioworkers.protocol.frames import Unfit


@dataclass(frozen=True, slots=True)
class Ended:
    """How a session went.

    Attributes:
        exit: how the process ended; None when it could not be started.
        lived: seconds from its start.
        why: what it was asked to end for; None when it was not, and crashed.
        unfit: the worker said that it can never work with these settings.
        oom: whether the kernel killed the process for want of memory; None when that is not known.
        problem: why the worker was not ready, where neither `exit` nor `unfit` tells.
        hung: it was killed because it hung.
        starved: the system had no room for it: no process, thread, memory or descriptor.
        last_lines: the end of what the process wrote to its standard output and error.
    """

    exit: Exit | None
    lived: float
    why: str | None
    unfit: Unfit | None = None
    oom: bool | None = False
    problem: str | None = None
    hung: bool = False
    starved: bool = False
    last_lines: tuple[str, ...] = ()

    @property
    def cause(self) -> str | None:
        """Why the process ended, one of :data:`~trioworkers.figures.EXITS`; None when there was none."""
        if self.exit is None:
            return None if self.why is not None else "not_started"
        if self.unfit is not None:
            return "unfit"
        if self.hung:
            return "hung"
        if self.why is not None:
            return self.why
        if self.oom:
            return "oom"
        return "crashed" if self.problem is None else "not_ready"
