"""What is noted of each call that reached the simulator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trioworkers.testing.params import Upload


@dataclass(frozen=True, slots=True)
class Call:
    """One call that reached the simulator, as it was answered.

    Attributes:
        at: when, on the world's clock.
        bot_id: of the token, 0 if none could be read.
        result: what a success returned; None otherwise, and for getUpdates the number of updates.
        error_code: None for a success, else the status. A fault that took the connection away
            leaves `ok` telling whether the call took effect, and no code.
        fault: whether a fault had its hand in it.
    """

    at: float
    bot_id: int
    method: str
    params: Mapping[str, Any]
    files: Mapping[str, Upload] = field(repr=False)
    ok: bool
    result: Any
    error_code: int | None
    fault: bool = False
