"""Telegram for a cluster: that of :mod:`soaking.telegram`, with an address for each node to tell it by."""

from __future__ import annotations

import socket
import sys
import time
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from soaking.fleet import BUSY
from soaking.pollers import Connection, Pollers
from soaking.telegram import Play, World, answer, obey, orders
from trioworkers.testing.delivery import deliver_webhooks
from trioworkers.testing.faults import Faults
from trioworkers.testing.server import serve_connection

if TYPE_CHECKING:
    from random import Random

    from trioworkers.testing import SimBot
    from trioworkers.testing.calls import Call
    from trioworkers.testing.faults import Fault

CLIENT: ContextVar[Connection] = ContextVar("CLIENT")


class Watching(Faults):
    """Is asked at the beginning of each call, and takes note of it."""

    def __init__(self, dice: Random, pollers: Pollers) -> None:
        super().__init__(dice)
        self._pollers = pollers

    def match(self, method: str, bot: SimBot, chat_id: object) -> Fault | None:
        client, now = CLIENT.get(), time.monotonic()
        if method == "getUpdates":
            self._pollers.polls(bot.id, client, now)
        else:
            self._pollers.calls(bot.id, client.life, now)
        return super().match(method, bot, chat_id)


class ClusterWorld(World):
    """A Telegram that sees which node calls.

    Attributes:
        lives: how many each node had, by its number.
        said: when each message was said, in the order of their numbers.
        waits: of each first answer, when what it answers was said, and when it came.
    """

    def __init__(self, seed: int, nodes: int) -> None:
        super().__init__(seed)
        self.pollers = Pollers()
        self.faults = Watching(self.dice, self.pollers)
        self.lives = [0] * nodes
        self.said: list[float] = []
        self.waits: list[tuple[float, float]] = []
        self._answered: set[str] = set()

    def note(self, call: Call) -> None:
        super().note(call)
        if call.ok and call.method == "sendMessage":
            key, *_, number = str(call.params["text"]).split()
            if key not in self._answered:
                self._answered.add(key)
                self.waits.append((self.said[int(number)], time.monotonic()))
        if call.method == "getUpdates":
            self.pollers.polled(call.bot_id, CLIENT.get(), time.monotonic())

    async def serve(self, node: int, *, task_status: trio.TaskStatus[int]) -> None:
        """Serve a node, until cancelled; the started value is its port."""

        async def handle(stream: trio.SocketStream) -> None:
            def is_closed() -> bool:
                try:
                    return not stream.socket._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)  # type: ignore[attr-defined]
                except BlockingIOError:
                    return False
                except OSError:
                    return True

            client = Connection(f"node{node}/{self.lives[node]}", is_closed)
            CLIENT.set(client)
            try:
                await serve_connection(self, stream)
            finally:
                for bot in self.bots:
                    self.pollers.polled(bot, client, time.monotonic())

        listeners = await trio.open_tcp_listeners(0, host="0.0.0.0")  # noqa: S104 - for nodes in networks of their own
        port = listeners[0].socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, handle, listeners)
            task_status.started(port)


class ClusterPlay(Play):
    """Remembers when what was said, too, and reports what the pollers did."""

    world: ClusterWorld

    def __init__(self, world: ClusterWorld, seed: int, bots: int) -> None:
        super().__init__(world, seed, bots, 0)
        busy = self.bots[:BUSY]
        self.talked_to = self.bots + busy * (9 * len(self.bots) // len(busy))

    def say(self) -> int:
        self.world.said.append(time.monotonic())
        return super().say()

    def report(self) -> dict[str, Any]:
        pollers = self.world.pollers
        seen = {"turns": pollers.turns, "overlaps": pollers.overlaps, "strays": pollers.strays}
        return super().report() | seen | {"waits": self.world.waits}


async def main(seed: int, bots: int, nodes: int) -> None:
    """Serve until standard input ends."""
    world = ClusterWorld(seed, nodes)
    play = ClusterPlay(world, seed, bots)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deliver_webhooks, world)
        ports = [await nursery.start(world.serve, node) for node in range(nodes)]
        nursery.start_soon(play.talk)
        answer({"ports": ports, "tokens": {bot.username: bot.token for bot in play.bots}})
        async for order in orders():
            if order["do"] == "life":
                world.lives[order["node"]] += 1
                answer(True)
            else:
                answer(obey(play, nursery, **order))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(partial(main, *map(int, sys.argv[1:4])))
