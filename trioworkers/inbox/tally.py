"""How many of a bot's updates there were, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of one bot's updates since its first.

    `accepted = done + dropped + expired + dead + purged + pending`; `dead` are those that still lie there.
    `filtered` are those that were dropped before they were accepted, by a `Filter` or by a once key. All that
    were offered are `accepted + duplicates + filtered`.
    """

    accepted: int = 0
    duplicates: int = 0
    done: int = 0
    dropped: int = 0
    expired: int = 0
    retried: int = 0
    dead: int = 0
    purged: int = 0
    filtered: int = 0
    pending: int = field(default=0, kw_only=True)
