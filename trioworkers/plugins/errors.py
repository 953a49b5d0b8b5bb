"""What goes wrong in plugins, without their words, which may quote a token or a message."""

from __future__ import annotations

from trioworkers.errors import TrioworkersError

RAISED = (Exception, SystemExit)
"""What a plugin's function may raise: `sys.exit()` in a plugin is a failure of the plugin like any other."""


class LeakError(Exception):
    """A plugin's async function returned with a nursery open."""


class PluginError(TrioworkersError):
    """A hook raised or was late; the message says which plugin, which hook, and what by type and place."""


def kind_and_place(error: BaseException) -> str:
    """An exception by its type and the place that raised it."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" at {place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place is not None else ""
    return f"{type(error).__name__}{where}"
