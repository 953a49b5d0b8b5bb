"""Runs the soak of a cluster: its nodes, its database, Telegram beside them, and what befalls them."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psutil
import trio

from soaking.clocks import Clock
from soaking.cluster_reckoning import Absence, late, moved, strange_calls, two_pollers
from soaking.cluster_schedule import make_cluster_schedule
from soaking.cluster_stages import happened, stages
from soaking.dump import Size, answered, bloat, sizes
from soaking.fleet import cluster_tables
from soaking.networks import networks
from soaking.node import Node, Place
from soaking.process import MARK, marked, open_telegram
from soaking.reckoning import Left, leaks, reckon
from soaking.servers import Servers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from soaking.cluster_schedule import Plan
    from soaking.networks import Network
    from soaking.process import TelegramProcess
    from soaking.schedule import Step

TELL_EVERY, LOOK_EVERY = 15.0, 0.2  # seconds
READY_TIME, DRAIN_TIME, END_TIME = 120.0, 180.0, 60.0  # seconds
SETTLED = 40.0  # seconds after a server was away in which takeovers are not measured against the lease
OWNED = "SELECT bot_id FROM bot JOIN node ON owner = node.id WHERE name = %s"


class ClusterSoak:
    """One soak in a folder of its own.

    Attributes:
        broken: what did not hold.
        figures: what was counted and measured.
    """

    def __init__(self, folder: Path, plan: Plan, tell: Callable[[str], None]) -> None:
        self.broken: list[str] = []
        self.figures: dict[str, Any] = {}
        self._folder, self._plan, self._tell = folder, plan, tell
        self._mark = uuid4().hex
        self._clocks = self._make_clocks()
        nets: Sequence[Network | None] = [None] * plan.nodes
        if "cut" in plan.troubles:
            nets = networks(plan.nodes)
        self._nodes = [Node(number, folder, self._place(number, net)) for number, net in enumerate(nets)]
        self._absences: list[Absence] = []
        self._away: list[tuple[float, float]] = []  # when a server was away
        self._dumped: tuple[float, float] | None = None  # when a dump ran
        self._sizes: list[dict[str, Size]] = []  # before it, at its end, at the soak's end
        self._done: Counter[str] = Counter()
        self._awake: set[str] = set()  # bots whose workers start before they are wanted
        self._disturbing = trio.Lock()
        self._is_over = False
        self._began = 0.0
        self._telegram: TelegramProcess
        self._servers: Servers

    async def run(self) -> None:
        """All of it; :attr:`broken` and :attr:`figures` tell how it went."""
        plan = self._plan
        (self._folder / "notes").mkdir()
        telegram = open_telegram("soaking.cluster_telegram", plan.seed, plan.bots, plan.nodes)
        server_clock = self._clocks[-1].environ if self._clocks else {}
        with ExitStack() as stack:
            self._servers = stack.enter_context(closing(Servers(server_clock)))
            for node in self._nodes:
                if node.place.network is not None:
                    stack.callback(node.place.network.remove)
                    node.place.network.make()
            async with telegram as (self._telegram, offered):
                tokens = offered["tokens"]
                tables = cluster_tables(tokens, plan.seed, plan.lease)
                self._awake = {name for name, bot in tables["bots"].items() if "worker" not in bot}
                for node, port in zip(self._nodes, offered["ports"], strict=True):
                    host, url = "127.0.0.1", self._servers.url()
                    if (network := node.place.network) is not None:
                        host, url = network.telegram, self._servers.url(network.database)
                    node.write(tables, f"http://{host}:{port}", url, is_alone=plan.nodes == 1)
                try:
                    await self._lives()
                finally:
                    self._kill_all()
                path = self._folder / "telegram.json"
                await self._telegram.ask("report", path=str(path))
            copied = self._nodes[0].command("migrate-store", "sqlite")
        if copied.returncode:
            self.broken.append(f"the store could not be copied: {copied.stderr[-500:]}")
            return
        await trio.to_thread.run_sync(self._reckon, json.loads(path.read_text()), set(tokens.values()))

    def _make_clocks(self) -> list[Clock]:
        """Those of the nodes, and then that of the servers; none where none jumps."""
        if "jump" not in self._plan.troubles:
            return []
        self._folder.chmod(0o711)  # the servers are another user's
        return [Clock(self._folder / f"clock{number}") for number in range(self._plan.nodes + 1)]

    def _place(self, number: int, network: Network | None) -> Place:
        clock = self._clocks[number] if self._clocks else None
        environ = {MARK: self._mark, **(clock.environ if clock else {})}
        return Place(environ, network)

    async def _lives(self) -> None:
        async with trio.open_nursery() as nursery:
            for node in self._nodes:
                nursery.start_soon(self._keep_alive, node)
            with trio.fail_after(READY_TIME):
                for node in self._nodes:
                    while await node.ask("/ready") is None:
                        await trio.sleep(LOOK_EVERY)
                await self._wait_balanced()
            self._began = time.monotonic()
            nursery.start_soon(self._report)
            await self._telegram.ask("talk", rate=self._plan.rate)
            plan = self._plan
            schedule = make_cluster_schedule(plan)
            async with trio.open_nursery() as steps:
                for step in schedule:
                    await trio.sleep(max(0.0, step.at - self._elapsed()))
                    steps.start_soon(self._do, step)
                await trio.sleep(max(0.0, plan.seconds - self._elapsed()))
            await self._telegram.ask("talk", rate=0)
            for clock in self._clocks:
                clock.jump(0)
            await self._drain()
            await self._end()
            nursery.cancel_scope.cancel()

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    async def _rows(self, query: str, *values: Any) -> list[Any]:
        return await trio.to_thread.run_sync(self._servers.rows, query, values)

    async def _wait_balanced(self) -> None:
        """Return when each bot has a node, and none has moved for half a lease."""
        owners: list[Any] = []
        since = 0.0
        while self._plan.nodes > 1:
            found = await self._rows("SELECT bot_id, owner FROM bot WHERE owner IS NOT NULL ORDER BY bot_id")
            if found != owners or len(found) < self._plan.bots:
                owners, since = found, trio.current_time()
            elif trio.current_time() - since > self._plan.lease / 2:
                return
            await trio.sleep(LOOK_EVERY)

    # -- the nodes ------------------------------------------------------------------------------

    async def _keep_alive(self, node: Node) -> None:
        """Start its daemon, and say so when it ends by itself. One that was killed is started by its step."""
        await self._start(node)
        while not self._is_over:
            daemon = node.daemon
            if daemon is not None and daemon.poll() is not None and not node.expected:
                self.broken.append(
                    f"{node.name} ended by itself with {daemon.returncode} at {self._elapsed():.0f} s"
                )
                if len(self.broken) > 5 or self._began == 0.0:
                    message = f"{self.broken[-1]}: {node.log.read_text(errors='replace')[-3000:]}"
                    raise RuntimeError(message)
                await self._start(node)
            await trio.sleep(LOOK_EVERY)

    async def _start(self, node: Node) -> None:
        if node.life >= 0:
            await self._telegram.ask("life", node=node.number)
        node.start()

    def _kill_all(self) -> None:
        self._is_over = True
        for process in marked(self._mark):
            with suppress(psutil.Error):  # it has ended meanwhile
                process.kill()

    # -- the steps ------------------------------------------------------------------------------

    async def _do(self, step: Step) -> None:
        how = dict(step.how)
        if step.what in ("restart server", "fail over"):
            await self._disturb(step.what, how["down"])
            return
        if step.what == "jump":
            self._done["jump"] += 1
            self._clocks[how["node"]].jump(how["seconds"])
            return
        if step.what == "dump":
            await self._dump(how["seconds"])
            return
        node = self._nodes[how["node"]]
        if node.expected or node.frozen:
            return  # not back from the last time
        self._done[step.what + (" whole" if how.get("whole") else "")] += 1
        bots = [bot for (bot,) in await self._rows(OWNED, node.name)]
        life, since = node.label(), time.monotonic()
        if step.what == "kill":
            node.kill()
            await trio.sleep(how["seconds"])
            await self._start(node)
            until = since
        elif step.what == "cut" and (network := node.place.network) is not None:
            network.cut()
            await trio.sleep(how["seconds"])
            until = time.monotonic()
            network.mend()
        else:
            node.freeze(whole=how["whole"])
            await trio.sleep(how["seconds"])
            until = time.monotonic()
            await node.thaw()
        self._absences.append(Absence(life, step.what, since, until, bots))

    async def _disturb(self, what: str, down: float) -> None:
        async with self._disturbing:  # a server that is away already cannot be stopped
            await self._disturb_now(what, down)

    async def _disturb_now(self, what: str, down: float) -> None:
        self._done[what] += 1
        since = time.monotonic()
        act = self._servers.restart if what == "restart server" else self._servers.fail_over
        await trio.to_thread.run_sync(act, down)
        self._away.append((since, time.monotonic()))

    async def _dump(self, seconds: float) -> None:
        self._done["dump"] += 1
        self._sizes.append(await trio.to_thread.run_sync(sizes, self._servers.url()))
        since = time.monotonic()
        code = await trio.to_thread.run_sync(self._servers.dump, seconds, abandon_on_cancel=True)
        self._dumped = since, time.monotonic()
        self._sizes.append(await trio.to_thread.run_sync(sizes, self._servers.url()))
        if code:
            self.broken.append(f"pg_dump ended with {code}")

    # -- the end --------------------------------------------------------------------------------

    async def _drain(self) -> None:
        """Let everything be handled, now that nothing goes wrong."""
        began = time.monotonic()
        with trio.move_on_after(DRAIN_TIME) as draining:
            while True:
                ((waiting,),) = await self._rows("SELECT count(*) FROM inbox")
                left = (await self._telegram.ask("count"))["pending"]
                if not waiting and not left:
                    break
                await trio.sleep(0.5)
        if draining.cancelled_caught:
            self.broken.append(f"not drained: {left} at Telegram, {waiting} in the inbox")
        if self._dumped is not None:
            self._sizes.append(await trio.to_thread.run_sync(sizes, self._servers.url()))
        self.figures["drained after"] = round(time.monotonic() - began, 1)

    async def _end(self) -> None:
        self._is_over = True
        for node in self._nodes:
            node.stop()
        with trio.move_on_after(END_TIME) as ending:
            for node in self._nodes:
                while (code := node.daemon and node.daemon.poll()) is None:
                    await trio.sleep(LOOK_EVERY)
                if code:
                    self.broken.append(f"{node.name} was stopped, and ended with {code}")
            await trio.sleep(0.5)
            if left := marked(self._mark):
                self.broken.append(f"{len(left)} processes were left behind")
        if ending.cancelled_caught:
            self.broken.append(f"the nodes did not stop within {END_TIME:g} s")

    def _reckon(self, report: dict[str, Any], tokens: set[str]) -> None:
        turns = {int(bot): found for bot, found in report["turns"].items()}
        logs = [log for node in self._nodes for log in node.logs]
        left = Left(self._nodes[0].inbox, self._folder / "notes", [node.log for node in self._nodes])
        broken, figures = reckon(left, report, self._plan.seed)
        absences = [replace(one, is_disturbed=self._is_disturbed(one)) for one in self._absences]
        too_late, times = late(absences, turns, self._plan.lease)
        self.broken += two_pollers(report["overlaps"], absences)
        self.broken += strange_calls(report["strays"], turns)
        if not self._absences and not self._away:
            self.broken += moved(turns, self._began)
        self.broken += too_late if self._plan.nodes > 1 else []
        self.broken += broken
        self.broken += leaks(((log.name, log.read_text(errors="replace")) for log in logs), tokens)
        names = {int(bot["id"]): name for name, bot in report["bots"].items()}
        wall = time.time() - time.monotonic()
        told = happened(logs)
        self.figures["takeover by stages, s"] = stages(absences, turns, told, names, self._awake, wall)
        lives = sum(len(found) for found in turns.values())
        self.figures |= {"steps": dict(self._done), **times, "turns of bots": lives}
        self.figures |= {**self._waits(report["waits"]), **figures}
        if self._dumped is not None:
            since, until = self._dumped
            self.figures["dump, s"] = round(until - since)
            self.figures["answered"] = answered(report["waits"], since, until)
            self.figures["tables before, at the end of the dump, after"] = bloat(*self._sizes)

    def _is_disturbed(self, absence: Absence) -> bool:
        end = absence.since + self._plan.lease
        return any(begin < end and absence.since < over + SETTLED for begin, over in self._away)

    def _waits(self, waits: list[list[float]]) -> dict[str, Any]:
        took = [answered - said for said, answered in waits]
        if len(took) < 2:
            return {}
        again = [
            (round(end - begin, 1), round(min(at for _, at in waits if at > end) - begin, 1))
            for begin, end in self._away
        ]
        return {
            "server away, and first answer after, s": again,
            "answered within, median s": round(median(took), 3),
            "answered within, 99 % s": round(quantiles(took, n=100)[98], 2),
            "answered within, longest s": round(max(took), 1),
        }

    async def _report(self) -> None:
        while True:
            await trio.sleep(TELL_EVERY)
            counts = await self._telegram.ask("count")
            steps = ", ".join(f"{what} {times}" for what, times in self._done.items())
            self._tell(
                f"{self._elapsed():5.0f} s  {counts['confirmed']} updates taken, {counts['answers']} answers,"
                f" {counts['pending']} wait; {steps or 'nothing happened yet'}; {len(self.broken)} broken"
            )
