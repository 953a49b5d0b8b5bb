"""What a zygote does before it starts workers: it imports and runs what they need, and they share that."""

from __future__ import annotations

import gc
import importlib
import os
from typing import TYPE_CHECKING

from trioworkers.user_modules import forget_listings, search_in
from trioworkers.worker.free_places import fill_free_places
from trioworkers.worker.own_process import write_lines

if TYPE_CHECKING:
    from trioworkers.protocol.orders import Prepare


class UnfitError(Exception):
    """Workers cannot be started like this; the message says why."""


def warm(prepare: Prepare) -> list[object]:
    """Import and run all that a worker needs, and keep the collector from it.

    Returns what has to be kept as long as workers are forked.

    Raises:
        UnfitError: a module to preload cannot be imported, or something started a thread, which a fork
            would leave behind with whatever it holds.
    """
    from trioworkers.botapi.wire import Wire
    from trioworkers.worker.rehearsal import rehearse

    rehearse(prepare.scratch)
    # makes the TLS context, and takes the server's address apart, 4 % of a worker's start; only now, since of
    # addresses the last few are kept, and each rehearsal has its own
    Wire(prepare.api_base, 0, "", connections=1)
    if _threads() != 1:
        message = "worker_start: warming up started a thread, expected none: spawn workers instead"
        raise UnfitError(message)
    # only what is named here may come from the fleet's folders, and only where it hides nothing
    search_in(prepare.python_path, last=True)
    for name in prepare.preload:
        try:
            importlib.import_module(name)
        except BaseException as error:  # not ours: SystemExit and the like are no reason to die silently
            from trioworkers.errors import describe

            itself = isinstance(error, ModuleNotFoundError) and error.name == name
            what = "no such module was found" if itself else f"importing it raised {describe(error)}"
            message = f"preload: {name}: {what}"
            raise UnfitError(message) from None
        if _threads() != 1:
            message = f"preload: {name}: importing it started a thread, expected a module that can be forked"
            raise UnfitError(message)
    search_in(prepare.python_path)  # as each worker does, where there is nothing left to do then
    forget_listings()  # here: for each of them a worker would copy a page
    _write_lines()
    gc.collect()
    filling = fill_free_places()
    gc.freeze()
    return filling


def _write_lines() -> None:
    """Make the streams of workers, whose standard output and error are pipes: for that, these are, too."""
    reads, writes = os.pipe2(os.O_CLOEXEC)
    kept = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    for descriptor in kept:
        os.dup2(writes, descriptor)
    write_lines()
    for descriptor, own in kept.items():
        os.dup2(own, descriptor)
    for descriptor in (reads, writes, *kept.values()):
        os.close(descriptor)


def _threads() -> int:
    """The threads of this process, also those that Python does not know of."""
    return len(os.listdir("/proc/self/task"))
