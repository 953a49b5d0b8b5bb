"""What a node of a cluster does with the others: built here, and served by its member."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from trioworkers.cluster.added_bots import AddedBots
from trioworkers.cluster.foreign import ForeignEndpoints
from trioworkers.cluster.requests import Requests
from trioworkers.cluster.wakes import Wakes
from trioworkers.figures import ClusterFigures
from trioworkers.inbox.gate import Gate
from trioworkers.version import __version__
from trioworkers.web.peers import Peers, answer_node
from trioworkers.web.plugin_nodes import NodesOfPlugin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trioworkers.cluster.member import Member
    from trioworkers.config import BotSettings
    from trioworkers.fleet_state import FleetState
    from trioworkers.nursery.bot_context import BotContext
    from trioworkers.reload import Reload

    App = Callable[..., Awaitable[object]]

STATES = "running", "draining", "silent"
CHANGES = "acquired", "released", "lost", "evicted"


class Neighbours:
    """The other nodes, as the daemon around this one deals with them.

    Args:
        member: this node.
        context: what bots need of the daemon.
        state: what the daemon keeps beside updates.

    Attributes:
        peers: for the routes.
    """

    def __init__(self, member: Member, context: BotContext, state: FleetState) -> None:
        nodes, webhooks = member.nodes, context.webhooks
        self._member = member
        self._context = context
        self._requests = Requests(nodes)
        self._for_plugins: dict[str, NodesOfPlugin] = {}
        self.peers = Peers(
            nodes,
            self._requests,
            lambda: {name: bot.bot_id for name, bot in context.fleet().bots.items()},
            lambda: context.fleet().cluster.lease,
        )
        webhooks.deliveries.foreign = ForeignEndpoints(
            lambda: context.fleet().bots, webhooks.wanted, self._make_gate
        )
        nodes.publish({"version": __version__})
        member.arrive = state.arrive
        member.services.append(Wakes(nodes, context.inbox).serve)

    def serve_by(self, app: App, reload: Reload) -> None:
        """Let the application answer what other nodes ask, and reloads apply what they change."""
        nodes, context = self._member.nodes, self._context
        added = AddedBots(nodes, context.inbox, context.fleet().state_dir, reload, time.time)
        self.peers.shares = added.share
        self._member.services += [partial(self._requests.serve, partial(answer_node, app)), added.serve]

    def for_plugin(self, name: str) -> NodesOfPlugin:
        """The other nodes, as a plugin deals with them."""
        if name not in self._for_plugins:
            self._for_plugins[name] = NodesOfPlugin(self.peers, name)
        return self._for_plugins[name]

    def figures(self) -> ClusterFigures:
        """What metrics show of the cluster."""
        lease = self._context.fleet().cluster.lease
        nodes = Counter(node.state(lease) for node in self._member.nodes.nodes())
        return ClusterFigures(
            nodes={state: nodes[state] for state in STATES},
            bots=self._member.running,
            changes={change: self._member.changes[change] for change in CHANGES},
            lease_left=self._member.nodes.lease_left,
        )

    def _make_gate(self, settings: Callable[[], BotSettings]) -> Gate:
        bot, context = settings(), self._context
        return Gate(
            bot.name,
            bot.bot_id,
            context.inbox,
            context.events,
            context.hooks.judges(settings),
            lambda: settings().callbacks == "own_lane",
        )
