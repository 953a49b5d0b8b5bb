"""Runs the soak: the daemon through its lives, Telegram beside it, and all steps at their times."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import psutil
import trio
from benchmarks.ports import free_port
from benchmarks.processes import pss

from soaking.fleet import FleetFile
from soaking.process import MARK, marked, open_telegram
from soaking.reckoning import Left, Sample, begun_calls, growth, leaks, reckon
from soaking.schedule import Step, make_schedule

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from soaking.process import TelegramProcess

RESTART_PAUSE = 0.1  # seconds, as systemd's RestartSec
PACE = 0.5  # updates a second for each bot, and not less than
LEAST_PACE = 20.0
SAMPLE_EVERY, TELL_EVERY = 2.0, 15.0  # seconds
READY_TIME, REFUSAL_TIME, DRAIN_TIME, END_TIME = 120.0, 30.0, 300.0, 40.0  # seconds


class Soak:
    """One soak in a folder of its own.

    Attributes:
        broken: what did not hold.
        done: how often each kind of step was done.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int,
        seconds: float,
        bots: int,
        programs: int,
        tell: Callable[[str], None],
    ) -> None:
        self.folder, self.seed, self.seconds, self.count = folder, seed, seconds, bots
        self.programs = programs
        self.broken: list[str] = []
        self.done: Counter[str] = Counter()
        self.figures: dict[str, Any] = {}
        self._tell = tell
        self._mark = uuid4().hex
        self._life = 0
        self._expected = ""  # why the daemon is about to end; empty: it should not
        self._over = False
        self._changed = trio.Event()  # a new life began
        self._file_lock = trio.Lock()
        self._samples: list[Sample] = []
        self._tokens: set[str] = set()
        self._untold: list[set[str]] = []
        self._inbox = folder / "state" / "inbox.db"
        self._control = folder / "state" / "run" / "control.sock"
        self._daemon: subprocess.Popen[bytes]
        self._telegram: TelegramProcess
        self._file: FleetFile
        self._began = 0.0

    async def run(self) -> None:
        """All of it; :attr:`broken` and :attr:`figures` tell how it went."""
        (self.folder / "notes").mkdir()
        telegram = open_telegram("soaking.telegram", self.seed, self.count, self.programs)
        async with telegram as (self._telegram, offered):
            tokens = offered["tokens"]
            self._tokens.update(tokens.values())
            self._file = FleetFile(self.folder, offered["base"], free_port(), tokens, self.seed)
            self._file.write()
            try:
                await self._lives()
            finally:
                self._kill_all()
            report = self.folder / "telegram.json"
            await self._telegram.ask("report", path=str(report))
            await trio.to_thread.run_sync(self._reckon, json.loads(report.read_text()))

    async def _lives(self) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self._keep_alive)
            with trio.fail_after(READY_TIME):
                await self._wait_ready()
            self._began = time.monotonic()
            nursery.start_soon(self._sample)
            nursery.start_soon(self._report)
            await self._telegram.ask("talk", rate=max(LEAST_PACE, PACE * (self.count + self.programs)))
            async with trio.open_nursery() as steps:
                for step in make_schedule(self.seed, self.seconds, self.count, self.programs):
                    await trio.sleep(max(0.0, step.at - self._elapsed()))
                    await self._do(step, steps)
                await trio.sleep(max(0.0, self.seconds - self._elapsed()))
            await self._telegram.ask("talk", rate=0)
            self._figure_growth()
            await self._drain()
            await self._end()
            nursery.cancel_scope.cancel()

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    # -- the daemon -----------------------------------------------------------------------------

    async def _keep_alive(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Start the daemon, and again whenever it ended, as systemd does."""
        environ = {**os.environ, MARK: self._mark}
        command = [sys.executable, "-m", "trioworkers.cli", "-c", str(self._file.path), "run"]
        while True:
            with open(self.folder / "daemon.log", "ab") as log:
                self._daemon = subprocess.Popen(
                    command, stdout=log, stderr=log, cwd=self.folder, env=environ, start_new_session=True
                )
            self._life += 1
            self._changed.set()
            self._changed = trio.Event()
            if self._life == 1:
                task_status.started()
            code = await trio.to_thread.run_sync(self._daemon.wait, abandon_on_cancel=True)
            if self._over:
                return
            if not self._expected:
                self.broken.append(f"the daemon ended by itself with {code} at {self._elapsed():.0f} s")
                if self._began == 0.0 or len(self.broken) > 5:
                    print((self.folder / "daemon.log").read_text(errors="replace")[-4000:], file=sys.stderr)
                    raise RuntimeError(self.broken[-1])
            elif self._expected == "stop" and code != 0:
                self.broken.append(f"the daemon was stopped, and ended with {code}")
            self._expected = ""
            if code == -signal.SIGKILL:
                self._untold.append(begun_calls(self._inbox))
            await trio.sleep(RESTART_PAUSE)

    async def _end_daemon(self, why: str, number: signal.Signals) -> None:
        """Signal the daemon, and wait until the next one was started."""
        async with self._file_lock:
            self._expected, changed = why, self._changed
            self._daemon.send_signal(number)
            await changed.wait()

    async def _request(self, method: str, path: str) -> httpx.Response | None:
        """Ask the daemon; None while it does not answer."""
        transport = httpx.AsyncHTTPTransport(uds=str(self._control))
        async with httpx.AsyncClient(transport=transport, timeout=20) as client:
            try:
                return await client.request(method, f"http://control{path}")
            except httpx.TransportError:
                return None

    async def _status(self) -> dict[str, Any] | None:
        answer = await self._request("GET", "/api/workers/status")
        return answer.json() if answer is not None and answer.status_code == 200 else None

    async def _wait_ready(self) -> None:
        while (answer := await self._request("GET", "/ready")) is None or answer.status_code != 200:
            await trio.sleep(0.1)

    def _processes(self, name: str) -> list[psutil.Process]:
        """The daemon's workers or zygote, in the order of their ids."""
        found = []
        with suppress(psutil.Error):
            for process in psutil.Process(self._daemon.pid).children(recursive=True):
                with suppress(psutil.Error):
                    if process.name() == name:
                        found.append(process)
        return sorted(found, key=lambda process: process.pid)

    def _kill_all(self) -> None:
        self._over = True
        for process in marked(self._mark):
            with suppress(psutil.Error):
                process.kill()

    # -- the steps ------------------------------------------------------------------------------

    async def _do(self, step: Step, nursery: trio.Nursery) -> None:
        how: dict[str, Any] = dict(step.how)
        self.done[step.what] += 1
        match step.what:
            case "kill worker":
                workers = self._processes("tw-worker")
                if workers:
                    with suppress(psutil.Error):
                        workers[int(how["share"] * len(workers))].kill()
            case "kill program":
                found = [one for name in ("node", "python") for one in self._processes(name)]
                if found:
                    with suppress(psutil.Error):
                        found[int(how["share"] * len(found))].kill()
            case "kill zygote":
                for zygote in self._processes("tw-zygote"):
                    with suppress(psutil.Error):
                        zygote.kill()
            case "kill daemon":
                await self._end_daemon("kill", signal.SIGKILL)
            case "stop daemon":
                await self._wait_ready()
                await self._end_daemon("stop", signal.SIGTERM)
            case "fault":
                await self._telegram.ask("fault", **how)
            case "invalid":
                await self._refused(how["kind"])
            case "new code":
                await self._wait_ready()
                self._daemon.send_signal(signal.SIGUSR2)
            case "remove" | "pause":
                nursery.start_soon(self._for_a_while, step.what, how["bot"], how["seconds"])
            case _:
                await self._edit(step, how["bot"], how)

    async def _edit(self, step: Step, bot: int, how: dict[str, Any]) -> None:
        async with self._file_lock:
            table = self._file.bots[bot]
            if step.what == "greeting":
                table["settings"]["greeting"] = f"hi {self.done['greeting']}"
            elif step.what == "transport":
                table["transport"] = how["to"]
            else:
                table["token"] = await self._telegram.ask("renew", bot=bot)
                self._tokens.add(table["token"])
            self._file.write()

    async def _for_a_while(self, what: str, bot: int, seconds: float) -> None:
        """Take a bot out of the file, or pause it, and undo that later."""
        if what == "pause":
            await self._request("POST", f"/api/bots/bot{bot}/pause")
            await trio.sleep(seconds)
            await self._request("POST", f"/api/bots/bot{bot}/resume")
            return
        for away in (True, False):
            async with self._file_lock:
                (self._file.away.add if away else self._file.away.discard)(bot)
                self._file.write()
            if away:
                await trio.sleep(seconds)

    async def _refused(self, kind: str) -> None:
        """Write an invalid file, see it refused, write the true one."""
        await self._wait_ready()
        async with self._file_lock:
            self._file.write_invalid(kind)
            try:
                with trio.move_on_after(REFUSAL_TIME) as waiting:
                    while (status := await self._status()) is None or status["fleet"]["config"][
                        "last_reload_ok"
                    ]:
                        await trio.sleep(0.1)
            finally:
                self._file.write()
        if waiting.cancelled_caught:
            self.broken.append(f"an invalid file ({kind}) was not refused within {REFUSAL_TIME:g} s")

    # -- the end --------------------------------------------------------------------------------

    async def _drain(self) -> None:
        """Let everything be handled, now that nothing goes wrong."""
        began = time.monotonic()
        with trio.move_on_after(DRAIN_TIME) as draining:
            while True:
                status = await self._status()
                for row in (status or {"workers": []})["workers"]:
                    if row["paused"]:
                        await self._request("POST", f"/api/bots/{row['bot']}/resume")
                left = (await self._telegram.ask("count"))["pending"]
                waiting = {
                    row["bot"]: {key: value for key, value in row["queue"].items() if key != "dead" and value}
                    for row in (status or {"workers": []})["workers"]
                }
                waiting = {bot: queue for bot, queue in waiting.items() if queue}
                if status is not None and not left and not waiting:
                    break
                await trio.sleep(0.5)
        if draining.cancelled_caught:
            self.broken.append(f"not drained: {left} at Telegram, in the inbox {waiting}")
        self.figures["drained after"] = round(time.monotonic() - began, 1)
        if status is not None:
            rows = status["workers"]
            self.figures["states"] = dict(Counter(row["state"] for row in rows))
            self.broken += [
                f"{row['bot']} is failed: {row['reason']}" for row in rows if row["state"] == "failed"
            ]
            self.broken += leaks([("the status", json.dumps(status))], self._tokens)

    async def _end(self) -> None:
        self._over = True
        self._daemon.send_signal(signal.SIGTERM)
        with trio.move_on_after(END_TIME):
            code = await trio.to_thread.run_sync(self._daemon.wait, abandon_on_cancel=True)
            if code:
                self.broken.append(f"the daemon was stopped, and ended with {code}")
            await trio.sleep(0.5)
            if left := [process.pid for process in marked(self._mark)]:
                self.broken.append(f"{len(left)} processes were left behind")
            return
        self.broken.append(f"the daemon did not stop within {END_TIME:g} s")

    def _figure_growth(self) -> None:
        self.figures["last life"], broken = growth(self._samples)
        self.broken += broken

    def _reckon(self, report: dict[str, Any]) -> None:
        left = Left(self._inbox, self.folder / "notes", [self.folder / "daemon.log"], self._untold)
        broken, figures = reckon(left, report, self.seed)
        logs = [self.folder / "daemon.log", *(self.folder / "state" / "logs").iterdir()]
        self.broken += broken
        self.broken += leaks(((log.name, log.read_text(errors="replace")) for log in logs), self._tokens)
        self.figures |= {"steps": dict(self.done), "lives": self._life, "faults": report["faults"], **figures}

    # -- looking on -----------------------------------------------------------------------------

    async def _sample(self) -> None:
        while True:
            with suppress(OSError):
                pid = self._daemon.pid
                descriptors = len(os.listdir(f"/proc/{pid}/fd"))
                if memory := pss(pid):
                    self._samples.append(Sample(self._life, self._elapsed(), memory, descriptors))
            await trio.sleep(SAMPLE_EVERY)

    async def _report(self) -> None:
        while True:
            await trio.sleep(TELL_EVERY)
            counts = await self._telegram.ask("count")
            last = self._samples[-1] if self._samples else Sample(0, 0, math.nan, 0)
            self._tell(
                f"{self._elapsed():5.0f} s  {counts['confirmed']} updates taken, {counts['answers']} answers,"
                f" {counts['pending']} wait; kills {self.done['kill worker']}, lives {self._life},"
                f" faults {counts['faults']}; daemon {last.memory:.0f} MB, {last.descriptors} descriptors;"
                f" {len(self.broken)} broken"
            )
