"""What becomes of a dialog by what happens to it. Pure: no clock, no store, no calls.

```
            request                  take                   close, idle
   bot ───────────────▶ queued ───────────────▶ assigned ───────────────▶ closing
    │                     │                        ▲                        │
    │        take         │ close, queue timeout   │                        │ returned
    ├─────────────────────┼────────────────────────┘                        │
    │                     └───────────────────────────────────▶ closing ────┴──▶ bot
    └── ban (from any state but banned) ──▶ banned ── unban ──▶ closing
```

What changes nothing is answered with the same dialog and no effects: everything may happen twice, since
whoever reports it may have been killed before it noted that it had.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from trioworkers_plugins.handoff.state import (
    Ban,
    Close,
    Fence,
    Fenced,
    GiveBack,
    Report,
    Request,
    Reroute,
    Returned,
    TakeOver,
    TellDesk,
    TellUser,
    Tick,
    Unban,
)

if TYPE_CHECKING:
    from trioworkers_plugins.handoff.state import Dialog, Effect, Happening, Limits, Notice

Step = tuple["Dialog", tuple["Effect", ...]]


def step(dialog: Dialog, happening: Happening, limits: Limits, now: float) -> Step:
    """Return the dialog after what happened, and what follows from it, in order.

    The dialog has to be durable before anything of what follows is done. `now`: Unix seconds.
    """
    if isinstance(happening, Request):
        return _request(dialog, happening, now)
    if isinstance(happening, TakeOver):
        return _take(dialog, happening, now)
    if isinstance(happening, Fenced):
        return _fenced(dialog, happening)
    if isinstance(happening, Close):
        if happening.expected not in (None, dialog.holder):
            return dialog, ()
        return _close(dialog, happening.why, "released", now)
    if isinstance(happening, Returned):
        return _returned(dialog, happening, now)
    if isinstance(happening, Tick):
        return _tick(dialog, happening, limits, now)
    if isinstance(happening, Ban):
        return _ban(dialog, happening, now)
    return _unban(dialog, happening, now)


def turn(dialog: Dialog) -> Literal["bot", "operators", "later", "nobody"]:
    """Return who gets what the user says now; `later`: that is known once the dialog has gone back."""
    if dialog.state in ("queued", "assigned"):
        return "operators"
    if dialog.state == "closing":
        return "later"
    return "nobody" if dialog.state == "banned" else "bot"


def resume(dialog: Dialog) -> tuple[Effect, ...]:
    """Return what has to be done again for a dialog that a former run of the daemon left in this state."""
    if dialog.state == "queued":
        return (TellDesk("requested"),)
    if dialog.state in ("assigned", "banned") and not dialog.is_fenced:
        return (Fence(dialog.epoch),)
    if dialog.state == "closing":
        return (GiveBack(dialog.epoch),)
    return ()


def _request(dialog: Dialog, request: Request, now: float) -> Step:
    if dialog.state != "bot":
        return dialog, ()
    queued = replace(_taken(dialog, now), state="queued", reason=request.reason, operator="", name="")
    return queued, (
        Reroute(),
        TellDesk("requested"),
        TellUser("queued"),
        Report("handoff.requested"),
    )


def _take(dialog: Dialog, take: TakeOver, now: float) -> Step:
    if take.expected is not None and dialog.holder not in (take.expected, take.operator):
        return dialog, ()
    if dialog.state == "bot":
        taken = replace(_by(_taken(dialog, now), take), state="assigned", reason="operator")
        return taken, (Reroute(), Report("handoff.requested"), TellDesk("assigned"), Fence(taken.epoch))
    if dialog.state == "queued":
        taken = replace(_by(dialog, take), state="assigned", since=now)
        return taken, (TellDesk("assigned"), Fence(dialog.epoch))
    if dialog.state == "assigned" and dialog.operator != take.operator:
        taken = _by(dialog, take)
        follows: tuple[Effect, ...] = (TellDesk("assigned"),)
        if dialog.is_fenced:
            return taken, (*follows, TellUser("assigned"), Report("handoff.assigned"))
        return taken, (*follows, Fence(dialog.epoch))
    if dialog.state == "assigned" and not dialog.is_fenced:
        return dialog, (Fence(dialog.epoch),)
    return dialog, ()


def _taken(dialog: Dialog, now: float) -> Dialog:
    return replace(dialog, epoch=dialog.epoch + 1, began=now, since=now, ends="")


def _by(dialog: Dialog, done: TakeOver | Ban | Unban) -> Dialog:
    return replace(dialog, operator=done.operator, name=done.name)


def _fenced(dialog: Dialog, fenced: Fenced) -> Step:
    if fenced.epoch != dialog.epoch or dialog.is_fenced:
        return dialog, ()
    noted = replace(dialog, fenced=fenced.epoch)
    if dialog.state == "assigned":
        return noted, (TellUser("assigned"), Report("handoff.assigned"))
    return noted, ()


def _close(dialog: Dialog, why: str, notice: Notice, now: float) -> Step:
    if dialog.state not in ("queued", "assigned"):
        return dialog, ()
    closing = replace(dialog, state="closing", since=now, ends=why)
    return closing, (TellUser(notice), TellDesk("closing"), GiveBack(dialog.epoch))


def _returned(dialog: Dialog, returned: Returned, now: float) -> Step:
    if dialog.state != "closing" or returned.epoch != dialog.epoch:
        return dialog, ()
    back = replace(dialog, state="bot", since=now)
    return back, (Reroute(), TellDesk("returned"), Report("handoff.released"))


def _tick(dialog: Dialog, tick: Tick, limits: Limits, now: float) -> Step:
    if dialog.state == "queued" and now >= dialog.since + limits.queue:
        return _close(dialog, "queue timeout", "timed_out", now)
    if dialog.state == "assigned" and now >= max(dialog.since, tick.active_at) + limits.idle:
        return _close(dialog, "idle timeout", "released", now)
    return dialog, ()


def _ban(dialog: Dialog, ban: Ban, now: float) -> Step:
    if dialog.state == "banned":
        return dialog, ()
    # from the bot it is a take-over, too: a handler in flight would still answer
    taken = _taken(dialog, now) if dialog.state == "bot" else dialog
    banned = replace(_by(taken, ban), state="banned", since=now, ends="banned")
    follows: tuple[Effect, ...] = (Reroute(), TellDesk("banned"))
    if dialog.state != "bot":
        follows = (*follows, Report("handoff.released"))
    return banned, follows if banned.is_fenced else (*follows, Fence(banned.epoch))


def _unban(dialog: Dialog, unban: Unban, now: float) -> Step:
    if dialog.state != "banned":
        return dialog, ()
    closing = replace(_by(dialog, unban), state="closing", since=now, ends="unbanned")
    return closing, (TellDesk("closing"), GiveBack(dialog.epoch))
