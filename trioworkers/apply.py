"""Puts a plan in force: the second phase of a reload."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trioworkers.config import FleetInForce, Plan
    from trioworkers.events import Events
    from trioworkers.nursery.fleet import FleetScope
    from trioworkers.nursery.slots import WorkerSlots
    from trioworkers.nursery.zygote import Zygote
    from trioworkers.web.listener import WebhookListener


class Applier:
    """Does what a plan says, to the parts of the daemon that a plan can change.

    Args:
        in_force: the fleet in force, which is the plan's already.
        events: have a level of their own.
        zygote: must not show the workers of this plan what they must not see.
        listener: listens from the moment a bot needs it.
        slots: how many workers there may be.
        fleet: the bots.
    """

    def __init__(
        self,
        in_force: FleetInForce,
        events: Events,
        zygote: Zygote,
        listener: WebhookListener,
        slots: WorkerSlots,
        fleet: FleetScope,
    ) -> None:
        self._in_force = in_force
        self._events = events
        self._zygote = zygote
        self._listener = listener
        self._slots = slots
        self._fleet = fleet

    async def __call__(self, plan: Plan) -> None:
        """Apply a plan."""
        fleet = self._in_force()
        self._events.set_least(fleet.log.level)
        if self._in_force.wants_webhook():
            self._listener.want()
        self._zygote.hide(fleet.secret_env_names)  # first: who starts by this plan must not see them
        self._fleet.apply(plan)
        self._fleet.hooks_changed()
        self._slots.look_again()
        for name in plan.added:
            self._events.emit("bot.added", name)
        for name in plan.removed:
            self._events.emit("bot.removed", name)
