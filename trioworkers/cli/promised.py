"""What is promised for the updates of a bot that is a program, in words (docs/command-bots.md). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_DONE = {
    "probe": "as for handlers: at least once, with retries and dead letters, and no call is made twice",
    "poll": "at least once: an update is done when a later poll confirms it",
    "webhook": "at least once: an update is done when the program has answered it with 2xx",
    "receipt": "at most once from when the program has an update",
    "quiet": "at least once, as far as a pause in the program's calls for a chat shows its updates' end",
    "auto": "as for handlers where the probe knows the library, else at most once from when it has an update",
}
_IN_ORDER = "each chat in order"
_ORDER_OF_PROGRAM = "the order within a chat is the program's own affair"
_NO_ORDER = "several updates of a chat at the same time, in no order"


def promise_of(settings: Mapping[str, Any], in_force: str | None = None) -> str | None:
    """Return the promise that a bot's settings make; None: the bot is no program.

    `settings`: those in force, as the API shows them. `in_force`: the promise that its process
    keeps; None: it has none yet.
    """
    if not settings.get("command"):
        return None
    acknowledge = in_force or settings["acknowledge"]
    if settings["order"] == "none":
        order = _NO_ORDER
    else:
        order = _IN_ORDER if acknowledge in ("probe", "poll", "quiet", "webhook") else _ORDER_OF_PROGRAM
    return f"{_DONE[acknowledge]}; {order}"
