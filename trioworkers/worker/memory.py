"""How much memory a worker has, as its heartbeats say, and when it collects garbage for that."""

from __future__ import annotations

import gc
import math
import resource

import trio

SLACK = 8 * 2**20  # bytes that a worker may gain unseen
GROWN = 32 * 2**20  # bytes
LOOK_EVERY = 0.01  # seconds
REST = 10  # times as long as it took until garbage is collected again: who keeps much would stand still


class Memory:
    """This process's proportional share of memory (PSS), measured now and then.

    RSS would count pages that forked workers share once for each of them. The kernel adds up PSS page by
    page, 3 ms beside a thousand workers; so it is asked only when the process can have grown by more than
    `SLACK`: each page that it gains costs it a page fault, and these the kernel counts anyway. Before that
    is so for the first time, the pages that it has touched are its share.
    """

    def __init__(self) -> None:
        self.last = 0
        self._next_at = self._tidy_at = -math.inf
        self._measured_at = 0  # page faults
        self._tidied_at = _page_faults()

    def tidy(self) -> None:
        """Collect garbage where the process has grown much since it was done last; cheap to call often.

        Python counts objects: a picture in a frame that an exception refers to is a few of them.
        """
        now = trio.current_time()
        if now < self._tidy_at:
            return
        self._tidy_at = now + LOOK_EVERY
        faults = _page_faults()
        if (faults - self._tidied_at) * resource.getpagesize() > GROWN:
            self._tidied_at = faults
            gc.collect()
            after = trio.current_time()
            self._tidy_at = after + REST * (after - now)

    def share(self, interval: float) -> int:
        """The share in bytes, as it was at most `interval` seconds ago, or up to `SLACK` less; 0 where the
        kernel does not tell."""
        now = trio.current_time()
        if now >= self._next_at:
            self._next_at = now + interval
            faults = _page_faults()
            gained = (faults - self._measured_at) * resource.getpagesize()
            if gained > SLACK:
                self.last, self._measured_at = _proportional_share(), faults
            elif not self._measured_at:
                self.last = gained
        return self.last


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _proportional_share() -> int:
    try:
        with open("/proc/self/smaps_rollup", "rb") as rollup:
            for line in rollup:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
