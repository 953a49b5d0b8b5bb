"""Lives of a daemon in which the N-th step is its last, or fails: forked from here, warm.

A life is the bot's whole way in real processes: long poll, inbox on SQLite, dispatch, worker, handler.
Only Telegram is made of files, so that it outlives everybody and costs nothing. Lives are asked for as lines
of JSON on standard input (`folder`, `at`, `how`), each is answered by one when all its processes have ended.
"""

from __future__ import annotations

import gc
import json
import os
import random
import select
import signal
import socket
import sqlite3
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))

import httpx
import trio
from matrix_bot import note  # type: ignore[import-not-found] # it lies beside

from trioworkers.botapi import client
from trioworkers.call_marks import FOLDER, CallMarks
from trioworkers.config.settings import BotSettings, LogSettings
from trioworkers.events import Events
from trioworkers.http.response import Response
from trioworkers.inbox import writer
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.left_calls import take_over
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.nursery import intake, quarantine, scheduler
from trioworkers.nursery.bot import BotScope
from trioworkers.nursery.bot_context import BotContext
from trioworkers.nursery.intake import Webhooks
from trioworkers.nursery.oom import OomKills
from trioworkers.nursery.paused import PausedBots
from trioworkers.nursery.slots import WorkerSlots
from trioworkers.nursery.spawn import Exit
from trioworkers.protocol.channel import Channel
from trioworkers.transport import poll
from trioworkers.transport.deliveries import Deliveries
from trioworkers.transport.registration import Digests, Registry, Wanted
from trioworkers.worker.process import work

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.http.pool import ExchangeLimits

BOT, TOKEN = 42, "42:matrix-secret"
TEXTS = [(1, "fail"), (1, "hello"), (2, "dead"), (2, "hello"), (3, "drop")]
UPDATES = {
    number: {"message_id": number, "date": 1, "chat": {"id": chat, "type": "private"}, "text": text}
    for number, (chat, text) in enumerate(TEXTS, 101)
}
AT_ONCE = 2  # updates of one poll's answer
STEP = 40  # bytes of a line of the steps
PATIENCE = 20.0  # seconds for one life

for module, name in (
    (writer, "PAUSE_AFTER_FAILURE"),
    (scheduler, "UNREAD_PAUSE"),
    (quarantine, "FAILED_START"),
    (intake, "PAUSE"),
    (client, "FIRST_PAUSE"),
    (poll, "FIRST_PAUSE"),
    (poll, "LONGEST_PAUSE"),
    (poll, "TOO_SOON"),
):
    setattr(module, name, 0.002)


class Steps:
    """Counts the steps of all processes of a life; the N-th ends its process, or fails.

    The count is the length of a file that all append to.
    """

    def __init__(self, at: int, how: str, role: str) -> None:
        self._at, self._how, self._role = at, how, role
        self._file = os.open("steps", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def here(self, name: str, fail: Any = None) -> None:
        """A step; `fail` is called when it shall fail, and None where nothing can."""
        os.write(self._file, f"{self._role} {name}"[: STEP - 1].ljust(STEP - 1).encode() + b"\n")
        if os.lseek(self._file, 0, os.SEEK_CUR) != STEP * self._at:
            return
        if self._how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif fail is not None:
            fail()


class _WatchedEnd:
    """One end of a channel, of whose writes and reads steps are made."""

    def __init__(self, end: socket.socket, steps: Steps) -> None:
        self._end, self._steps = end, steps
        self.fileno, self.close = end.fileno, end.close

    def send(self, data: memoryview) -> int:
        def fail() -> None:  # as it fails in truth: for both, once what was sent has been read
            self._end.shutdown(socket.SHUT_RDWR)
            raise BrokenPipeError

        self._steps.here("sends a frame", fail)
        taken = self._end.send(data)
        self._steps.here("has sent a frame")
        return taken

    def recv(self, most: int) -> bytes:
        data = self._end.recv(most)
        self._steps.here("has received a frame")
        return data


def watch_steps(steps: Steps) -> None:
    """Make steps of what this process does with its channels and its database, from now on."""
    open_channel = Channel.__init__

    def watched(self: Channel, end: socket.socket, incoming: Any) -> None:
        open_channel(self, end, incoming)
        self._end = _WatchedEnd(end, steps)  # type: ignore[assignment]

    Channel.__init__ = watched  # type: ignore[method-assign]
    write = CallMarks.write

    def watched_write(self: CallMarks, *mark: Any) -> None:
        steps.here("marks a call")
        write(self, *mark)
        steps.here("has marked a call")

    setattr(CallMarks, "write", watched_write)  # noqa: B010 - it is not the method's own

    class Watched(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            def fail() -> None:
                raise sqlite3.OperationalError("disk I/O error")

            word = sql.split(maxsplit=1)[0]
            if word in ("BEGIN", "COMMIT", "INSERT", "DELETE", "UPDATE", "WITH"):
                steps.here(f"before {word}", fail)
            elif word == "SELECT":
                steps.here("reads", fail)
            cursor = super().execute(sql, *values)
            if word == "COMMIT":
                steps.here("has committed")
            return cursor

    sqlite3.connect = partial(sqlite3.connect, factory=Watched)  # type: ignore[assignment]


class FileTelegram:
    """The wire to a Bot API that notes calls in the life's folder, and hands out what is not confirmed."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    async def call(self, method: str, body: bytes, limits: ExchangeLimits) -> Response:
        def fail() -> None:
            raise httpx.ReadError("the connection ended")

        params = json.loads(body)
        self._steps.here(f"calls {method}", fail)
        result = await self._answer(method, params)
        self._steps.here(f"has called {method}", fail)
        answer = json.dumps({"ok": True, "result": result})
        return Response(status=200, fields={}, body=answer.encode(), is_last=False)

    def close(self) -> None:
        """Nothing is open."""

    async def _answer(self, method: str, params: dict[str, Any]) -> object:
        if method.startswith("send"):
            note(
                note="call",
                chat=params["chat_id"],
                method=method,
                text=params.get("text") or params["caption"],
            )
            return {"message_id": 1}
        if method != "getUpdates":
            return True
        if params.get("offset"):
            Path("confirmed").write_text(str(params["offset"] - 1))
        left = [number for number in UPDATES if number > confirmed()]
        if not left:
            await trio.sleep(0.02)
        return [{"update_id": number, "message": UPDATES[number]} for number in left[:AT_ONCE]]


def confirmed() -> int:
    """The last id that Telegram will not give again; 0 before any."""
    try:
        return int(Path("confirmed").read_text() or 0)
    except FileNotFoundError:
        return 0


class Forked:
    """A worker that was forked for this daemon, which is not its parent."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._waiting = trio.Lock()

    async def wait(self) -> Exit:
        async with self._waiting:
            await trio.lowlevel.wait_readable(self._pidfd)
        self.signal_group(signal.SIGKILL)
        return Exit(0)

    def send_signal(self, number: signal.Signals) -> None:
        signal.pidfd_send_signal(self._pidfd, number)

    def signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)


class Forks:
    """Asks the driver for workers."""

    def __init__(self, driver: socket.socket) -> None:
        self._driver = driver

    async def start(self, channel: int, output: int) -> Forked:
        socket.send_fds(self._driver, [b"worker"], [channel, output])
        word, (pidfd,), _, _ = socket.recv_fds(self._driver, 16, 1)
        return Forked(int(word), pidfd)


async def live(steps: Steps, driver: socket.socket) -> None:
    """Run the bot until all of Telegram's updates are confirmed and none waits."""

    async def at_once(*_: object) -> None:
        await trio.lowlevel.checkpoint()

    emit = Events(
        lambda event: (
            note(note=event.event, trace=event.trace_id, **event.fields)
            if event.event in ("update.repeated", "update.retried", "update.dead", "update.done")
            else None
        ),
        least="debug",
    )
    settings = BotSettings.model_validate(
        {
            "name": "matrix",
            "token": TOKEN,
            "handler": "matrix_bot:handle",
            "retry": {"initial": 0.001, "max": 0.01},
            "restart": {"initial": 0.001, "max": 0.01, "per_hour": 100},
        }
    )
    fleet: Any = SimpleNamespace(
        proxy=None,
        local_files=None,
        api_base="http://files",
        python_path=[Path(__file__).parent],
        log_dir=Path.cwd(),
        state_dir=Path.cwd(),
        log=LogSettings.model_validate({"level": "error"}),
    )
    store = open_sqlite(Path("inbox.db"))
    take_over(store, Path.cwd() / FOLDER, time.time())
    async with open_inbox(store) as inbox:
        around = BotContext(
            fleet=lambda: fleet,
            inbox=inbox,
            makes=Forks(driver),
            events=emit,
            may_start=at_once,
            slots=WorkerSlots(lambda: 10),
            webhooks=Webhooks(
                Deliveries(),
                lambda bot: Wanted("https://example.org", "secret"),
                Registry(Digests(Path("digests")), at_once),
            ),
            paused=PausedBots(Path("paused")),
            oom=OomKills(None),
        )
        bot = BotScope(settings, around)

        def all_done() -> bool:
            return confirmed() == max(UPDATES) and inbox.tally(BOT).pending == 0

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bot.run)
                while not all_done():  # noqa: ASYNC110 - told by nobody: it is in a file
                    await trio.sleep(0.002)
                bot.stop_intake()
                bot.drain()


def fork(role: Callable[[], object]) -> int:
    """Fork a process for `role`, which never returns; its output goes to the life's `output`."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        random.seed()
        output = os.open("output", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        role()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def daemon(at: int, how: str, driver: socket.socket, drivers: socket.socket) -> None:
    drivers.close()
    steps = Steps(at, how, "daemon")
    watch_steps(steps)
    setattr(client, "Wire", lambda *_, **__: FileTelegram(steps))  # noqa: B010 - it is not the client's own
    trio.run(live, steps, driver)


def worker(at: int, how: str, channel: int, drivers: socket.socket) -> None:
    drivers.close()
    steps = Steps(at, how, "worker")
    watch_steps(steps)
    setattr(client, "Wire", lambda *_, **__: FileTelegram(steps))  # noqa: B010 - it is not the client's own
    raise SystemExit(work(channel))


def run(folder: str, at: int, how: str) -> dict[str, Any]:
    """One life, to the end of all its processes."""
    os.chdir(folder)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    first = fork(partial(daemon, at, how, theirs, ours))
    theirs.close()
    pids = [first]
    pidfd = os.pidfd_open(first)
    poller = select.poll()
    poller.register(ours, select.POLLIN)
    poller.register(pidfd, select.POLLIN)
    deadline = time.monotonic() + 2 * PATIENCE
    while time.monotonic() < deadline:
        ready = dict(poller.poll(1000))
        if ready.get(ours.fileno(), 0) & select.POLLIN:
            word, descriptors, _, _ = socket.recv_fds(ours, 16, 2)
            if word:
                channel, output = descriptors
                pid = fork(partial(worker, at, how, channel, ours))
                handle = os.pidfd_open(pid)
                socket.send_fds(ours, [str(pid).encode()], [handle])
                for descriptor in (channel, output, handle):
                    os.close(descriptor)
                pids.append(pid)
                continue
        if pidfd in ready:
            break
    os.close(pidfd)
    ours.close()
    ends = [_end(pid, deadline) for pid in pids]
    steps = Path("steps").read_text().splitlines() if Path("steps").exists() else []
    return {
        "daemon": ends[0],
        "workers": ends[1:],
        "steps": len(steps),
        "step": steps[at - 1].strip() if 0 < at <= len(steps) else None,
    }


def _end(pid: int, deadline: float) -> int:
    """Wait for a process; one that is late is killed, and told by None's stand-in, -99."""
    handle = os.pidfd_open(pid)
    try:
        late = not select.select([handle], [], [], max(0.1, deadline - time.monotonic()))[0]
    finally:
        os.close(handle)
    if late:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return -99 if late else os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    gc.freeze()  # a collection in a fork would copy what it shares
    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), flush=True)
