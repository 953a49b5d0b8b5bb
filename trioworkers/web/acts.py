"""Who acts over HTTP, and from where: noted when a request is admitted, told with what was done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quart import g, has_request_context

if TYPE_CHECKING:
    from trioworkers.events import Events

CONTROL = "control socket"
LOCAL = "local"  # the source of what comes by a unix socket


def note_actor(who: str, source: str) -> None:
    """Note who makes the request (or the websocket) that is being answered, and its address.

    `who`: such as `session`; over TCP the address is put behind it.
    """
    g.by = who if source == LOCAL else f"{who} from {source}"
    g.source = source


def acting() -> str | None:
    """The address of the request that is being answered, whose act is told now; None outside of requests."""
    if not has_request_context():
        return None
    g.acted = True
    source: str | None = g.get("source")
    return source


def has_acted() -> bool:
    """Whether somebody was told of the act of the request that is being answered."""
    return bool(g.get("acted", False))


def emit_action(
    events: Events, action: str, bot: str | None = None, *, level: str | None = None, **fields: Any
) -> None:
    """Emit `control.action` with who acts in the request that is being answered, and from where."""
    g.acted = True
    events.emit("control.action", bot, level=level, action=action, by=g.by, source=g.source, **fields)
