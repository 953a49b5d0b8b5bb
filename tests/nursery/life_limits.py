"""The restart settings of a bot in tests of the life of workers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    initial: float = 1.0
    factor: float = 2.0
    max: float = 45.0
    per_hour: int = 3
    healthy_after: float = 600.0
