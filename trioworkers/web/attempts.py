"""Wrong tokens and wrong login links are slowed down, and few are judged at the same time.

A wrong attempt is answered late: each one from the same address later than the one before, up to
:data:`SLOWEST`. So a client that guesses one token after another gets one guess in two seconds. A client
that guesses in parallel is refused, without being judged, while :data:`AT_ONCE` answers to its address are
held back; :data:`MOST_HELD` for all addresses together, since each holds a connection. A right token is
never slowed down by wrong ones that came before it: a forgotten script with an old token must not lock its
owner out.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import trio

from trioworkers.ip import read_address

if TYPE_CHECKING:
    from collections.abc import Callable

QUICKEST, SLOWEST = 0.1, 2.0  # seconds until a wrong attempt is answered: the first one, and the slowest
AT_ONCE = 4  # wrong attempts from one address whose answers are held back
MOST_HELD = 64  # of all addresses: each has one of the listener's connections
FORGET = 600.0  # seconds after which an address begins anew
MOST_ADDRESSES = 1024  # that are remembered; the one that was silent longest is forgotten for another
IPV6_NETWORK = 64  # bits: who has one address of such a network has all of them

Verdict = Literal["right", "wrong", "not judged"]


@dataclass(slots=True)
class _Address:
    """What is remembered of one address. `last`: when its last wrong attempt came."""

    wrong: int = 0
    held: int = 0
    last: float = 0.0


class Attempts:
    """Judges what is presented as a secret, and answers late where it is wrong.

    Args:
        ends: answers are not held back any more once it is set: the daemon stops.
        report: is told of each wrong attempt: the address, and what was wrong.
        clock: seconds.
    """

    def __init__(
        self,
        ends: trio.Event,
        report: Callable[[str, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ends = ends
        self._report = report
        self._clock = clock
        self._addresses: OrderedDict[str, _Address] = OrderedDict()  # the one that was silent longest first
        self._held = 0

    async def judge(self, source: str, what: str, is_right: Callable[[], bool]) -> Verdict:
        """Return whether `is_right` says so; a wrong attempt is returned from late.

        `source`: the address it comes from. `what`: what is wrong if it is, for the event. Cancelled, the
        attempt counts as a wrong one all the same.
        """
        name = _network(source)
        self._forget()
        known = self._addresses.get(name)
        if self._held >= MOST_HELD or (known is not None and self._is_full(known)):
            return "not judged"
        if is_right():
            return "right"
        address = self._remember(name)
        self._report(source, what)
        address.held += 1
        self._held += 1
        try:
            with trio.move_on_after(delay(address.wrong)):
                await self._ends.wait()
        finally:
            address.held -= 1
            self._held -= 1
        return "wrong"

    def _is_full(self, address: _Address) -> bool:
        """Whether nothing more from this address is judged now."""
        if self._ends.is_set():  # nothing slows it down then
            return address.wrong >= AT_ONCE
        return address.held >= AT_ONCE

    def _remember(self, name: str) -> _Address:
        address = self._addresses.setdefault(name, _Address())
        self._addresses.move_to_end(name)
        address.wrong += 1
        address.last = self._clock()
        if len(self._addresses) > MOST_ADDRESSES:
            self._addresses.popitem(last=False)
        return address

    def _forget(self) -> None:
        while self._addresses:
            name, address = next(iter(self._addresses.items()))
            if address.last + FORGET > self._clock():
                break
            del self._addresses[name]


def delay(wrong: int) -> float:
    """Seconds until the answer to the `wrong`-th wrong attempt of an address, counted from 1."""
    return min(SLOWEST, QUICKEST * 2.0 ** min(wrong - 1, 30))


def _network(source: str) -> str:
    """What an address is remembered by: itself, or the network of an IPv6 address."""
    try:
        address = read_address(source)
    except ValueError:
        return source
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(address), IPV6_NETWORK), strict=False))
    return str(address)
