"""Which updates are traced, and the ids of their spans. Pure; the daemon and workers compute the same.

A span's id is made of what it is about. So a worker knows the id of the span that it works within without
being told, and the bot's own spans join the daemon's trace.
"""

from __future__ import annotations

from hashlib import blake2b

ROOT = "update"
_ALL = 2**32


def in_sample(trace_id: str, share: float) -> bool:
    """Whether an update belongs to the share of updates that is traced: all of its events do, or none."""
    return share >= 1.0 or int(trace_id[:8], 16) < share * _ALL


def span_id(trace_id: str, name: str) -> str:
    """The id of a span of a trace, 16 hexadecimal digits; `name` tells it from the trace's other spans."""
    return blake2b(f"{trace_id} {name}".encode(), digest_size=8).hexdigest()


def handling(attempt: int, repeat: int = 0) -> str:
    """The name, for :func:`span_id`, of the span of one handling.

    Args:
        attempt: how often the update was handled before.
        repeat: how many handlings of this attempt came before that count as no attempt.
    """
    return f"process {attempt} {repeat}"
