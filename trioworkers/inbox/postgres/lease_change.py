"""What the steps of a lease bring, for whoever runs the bots."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from trioworkers.inbox.store import StoreError


FAILED_OVER = "a standby of the database took over: this daemon begins anew"


@dataclass(frozen=True, slots=True)
class Change:
    """What one step has brought.

    Attributes:
        gained: bots that are this node's now, with their epochs.
        give_back: bots to stop fetching for and to drain; then :meth:`NodeLease.release` them.
        lost: bots that are not this node's any more; they stop at once.
        is_over: `life` has ended, and all its bots stop at once. When nothing of them is left, and the
            writer has nothing more of them, :meth:`NodeLease.begin` another one.
        is_failover: it has ended because a standby of the database took over.
        released: bots that this node has given back, with the epochs under which it had them.
        joined, left, evicted: names of other nodes that were seen for the first time, that have gone, and
            that this node has evicted.
        told: what was told on a channel: its name and the text.
        trouble: why the server was not reached, or refused something; None: it was.
    """

    gained: Mapping[int, int] = field(default_factory=dict)
    give_back: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    is_over: bool = False
    life: UUID | None = None
    is_failover: bool = False
    released: Mapping[int, int] = field(default_factory=dict)
    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    evicted: tuple[str, ...] = ()
    told: tuple[tuple[str, str], ...] = ()
    trouble: StoreError | None = None
