"""Ends waits on connections that last for too long, for all connections at once.

A cancel scope around each read of a proxied call takes a sixth of the loop's time. Waits here are of minutes,
and may end some seconds late: one task looks at all of them every few seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trioworkers.awake import next_beat

if TYPE_CHECKING:
    from trioworkers.http.stream import Stream

LOOKS = 5.0  # seconds between two looks, so a wait may last so much longer


class Patience:
    """The connections of which waits are to end. :meth:`serve` looks after them."""

    def __init__(self) -> None:
        self._streams: set[Stream] = set()

    @property
    def count(self) -> int:
        """How many connections are looked after."""
        return len(self._streams)

    def watch(self, stream: Stream) -> None:
        """Look after a connection, until it is closed: it waits until its `until`."""
        self._streams.add(stream)

    def look(self) -> None:
        """End the waits that have lasted for too long, and forget the connections that are closed."""
        now = trio.current_time()
        for stream in [one for one in self._streams if one.until <= now or one.is_closed]:
            if stream.is_closed:
                self._streams.discard(stream)
            else:
                stream.is_late = True
                stream.wake()  # again with the next look, where nobody waited at this moment

    async def serve(self) -> None:
        """Look after all of them until cancelled."""
        while True:
            await trio.sleep_until(next_beat(LOOKS))
            self.look()
