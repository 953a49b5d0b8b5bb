"""Joins the cluster that the fleet file names, before its store is opened, and leaves it at the end."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from trioworkers.inbox.store import StoreError, StoreRefusedError, StoreUnreachableError, store_problem
from trioworkers.inbox.trouble import StartTrouble

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from trioworkers.cluster.member import Member
    from trioworkers.config import Fleet, FleetInForce
    from trioworkers.events import Events
    from trioworkers.inbox.postgres.lease import NodeLease

LOOK_EVERY = 0.02  # seconds


@asynccontextmanager
async def joined_cluster(
    in_force: FleetInForce, events: Events, trouble: Callable[[StoreError | None], None], stop: trio.Event
) -> AsyncIterator[Member | None]:
    """This daemon is a node of its cluster; None: its fleet file names none.

    A server that cannot be reached is reported, and waited for until `stop`. Leaving gives up everything that
    the node still owns, so nothing may run or be written any more by then.

    Raises (perhaps in groups):
        StoreRefusedError, StoreForbiddenError: the database cannot be used as it is, or not by a cluster.
        StoreUnreachableError: the daemon is to stop, and the server was not reached before.
        NoThreadError: there is no thread for the lease.
        OSError: what workers read it from cannot be made.
    """
    if in_force().cluster.node is None:
        yield None
        return
    member = _make(in_force, events)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(member.tick)
        nursery.start_soon(member.thread.serve)
        try:
            await _wait_joined(member, trouble, stop)
            yield member
        finally:
            member.thread.end()
            nursery.cancel_scope.cancel()  # which does not reach the thread


def _make(in_force: FleetInForce, events: Events) -> Member:
    fleet = in_force()
    if problem := store_problem(fleet.store.url):
        message = f"store.url: {problem}"
        raise StoreRefusedError(message)
    from trioworkers.cluster.life_file import LifeFile
    from trioworkers.cluster.member import Member, Pulse
    from trioworkers.inbox.postgres.lease import NodeLease
    from trioworkers.lease_page import NAME, LeasePage
    from trioworkers.nursery.ownership import Terms

    terms = Terms(fleet.cluster.lease)
    pulse = Pulse(2 * terms.beat)
    life = LifeFile(fleet.state_dir)
    lease = NodeLease(
        fleet.store.url,
        fleet.cluster.node or "",
        (),
        terms,
        is_alive=pulse.is_there,
    )
    lease.former = life.read()
    lease.joins = life.write
    share_bots(lease, fleet)

    def names() -> Mapping[int, str]:
        return {bot.bot_id: name for name, bot in in_force().bots.items()}

    page = LeasePage(str(fleet.state_dir / NAME))
    lease.renewed = page.write
    return Member(lease, pulse, page, events.emit, names)


def share_bots(lease: NodeLease, fleet: Fleet) -> None:
    """Let the nodes of the cluster divide the bots of this fleet."""
    bots = fleet.bots.values()
    lease.unordered = frozenset(bot.bot_id for bot in bots if bot.order == "none")
    lease.change_bots([bot.bot_id for bot in bots])


async def _wait_joined(member: Member, report: Callable[[StoreError | None], None], stop: trio.Event) -> None:
    trouble = StartTrouble(report)
    while not member.lease.has_joined:
        error = member.trouble
        if error is not None:
            if not isinstance(error, StoreUnreachableError) or stop.is_set():
                raise error
            trouble.failed(error)
        await trio.sleep(LOOK_EVERY)
    trouble.worked()
