"""A session whose worker runs a program: what the program is given, and when it is ready.

Everything else of its life (starts, ends, hangs, memory, output) is that of any session.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
import trio

from trioworkers.call_marks import FOLDER, CallMarks
from trioworkers.config.checks import OFFICIAL_API
from trioworkers.config.command import filled
from trioworkers.gateway import endpoint as gateway_endpoint
from trioworkers.gateway.local_bot import LocalBot
from trioworkers.gateway.local_context import LocalContext
from trioworkers.gateway.tokens import make_token
from trioworkers.gateway.upstream import Upstream
from trioworkers.nursery.command_executor import CommandExecutor, Recording
from trioworkers.nursery.session import WorkerSession
from trioworkers.protocol.frames import FrameError, Ping, Program, Ready, Unfit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from trioworkers.botapi.messages import Turns
    from trioworkers.botapi.meter import CallMeter
    from trioworkers.botapi.server import Server
    from trioworkers.config import Fleet
    from trioworkers.gateway.endpoint import Endpoint
    from trioworkers.gateway.update_ids import UpdateIds
    from trioworkers.nursery.delivery import Settling
    from trioworkers.nursery.delivery_recorder import DeliveryRecorder
    from trioworkers.nursery.ended import Ended
    from trioworkers.nursery.scheduler import Scheduler
    from trioworkers.nursery.session import SessionContext, SessionKind
    from trioworkers.nursery.worker import ConnectedWorker
    from trioworkers.protocol.frames import Configure
    from trioworkers.protocol.held_back import HeldBack

PRELOAD = Path(gateway_endpoint.__file__).parent / "preload-files"
PROBED = ("auto", "probe")  # what lets the preloads change libraries; else they leave them as they are
MORE_CALLS = 112  # that can be marked at once than handlings, with those whose ends are not durable yet
NO_PROBE = "acknowledge is probe, and there is none"


@dataclass(frozen=True, slots=True)
class Commands:
    """What the daemon has for all programs: the endpoint, and the ids of their updates.

    Attributes:
        held_back: where calls of handlings are held back; None: they are not.
    """

    endpoint: Endpoint
    ids: UpdateIds
    held_back: HeldBack[DeliveryRecorder] | None = None


@dataclass(frozen=True, slots=True)
class CommandContext:
    """What a bot's programs need besides what its sessions need.

    Attributes:
        commands: what the daemon has for all of them.
        fleet: the fleet in force.
        server: the Bot API server and the token in force.
        scheduler: hands them updates.
        settling: what deliveries need.
        fault: is given what breaks where the endpoint asks for something.
        pending: how many updates wait for the bot.
        drop: drops what waits for it, see :class:`~trioworkers.gateway.local_context.LocalContext`.
        allows: is told which kinds of updates a program asks for.
        meter: counts requests to the Bot API; None: they are not counted.
        turns: where messages wait for their turn; None: they do not.
        may_call: whether calls may be made at this moment, as far as leases go.
    """

    commands: Commands
    fleet: Callable[[], Fleet]
    server: Callable[[], tuple[Server, str]]
    scheduler: Scheduler
    settling: Settling
    fault: Callable[[Exception], None]
    pending: Callable[[], int]
    drop: Callable[[int], Awaitable[int]]
    allows: Callable[[Sequence[str]], None]
    meter: CallMeter | None = None
    turns: Turns | None = None
    may_call: Callable[[], bool] = lambda: True


class CommandSession:
    """One process of a program, a :class:`~trioworkers.nursery.session.Session`; :meth:`run` it once."""

    def __init__(
        self,
        command: CommandContext,
        context: SessionContext,
        kind: SessionKind,
        on_ready: Callable[[str | None], None] | None = None,
    ) -> None:
        self._command = command
        self._settings = settings = context.settings()
        self._output = context.output
        server, token = command.server()
        self._is_local = settings.token_passed != "real"  # noqa: S105 - no token
        self._token = make_token(settings.bot_id) if self._is_local else token
        self._upstream = Upstream(server, token, command.commands.endpoint.patience, command.may_call)
        self._bot = LocalBot(
            LocalContext(
                ids=command.commands.ids.of(settings.bot_id),
                upstream=self._upstream,
                acknowledge=lambda: settings.acknowledge,
                most=lambda: context.settings().concurrency,
                handler_timeout=lambda: context.settings().handler_timeout,
                emit=context.emit,
                fault=command.fault,
                pending=command.pending,
                drop=command.drop,
                may_drop=lambda: context.settings().drop_pending == "obey",
                allows=command.allows,
                meter=command.meter,
                turns=command.turns,
            )
        )
        self._marks: CallMarks | None = None
        self._configure_worker = context.configure
        self._session = WorkerSession(
            replace(
                context,
                configure=self._configure,
                make_executor=self._make_executor,
                first_word=self._first_word,
            ),
            kind,
            on_ready,
        )

    @property
    def worker(self) -> ConnectedWorker | None:
        return self._session.worker

    @property
    def is_ready(self) -> bool:
        return self._session.is_ready

    @property
    def why(self) -> str | None:
        return self._session.why

    @property
    def idle_since(self) -> float:
        return self._session.idle_since

    @property
    def held_for(self) -> float:
        return self._session.held_for

    def end(self, why: str) -> None:
        """As :meth:`WorkerSession.end`."""
        self._session.end(why)

    async def fence(self, chat_id: int, epoch: int) -> None:
        """As :meth:`WorkerSession.fence`."""
        await self._session.fence(chat_id, epoch)

    async def run(self) -> Ended:
        """As :meth:`WorkerSession.run`; its token is known for as long as the process lives."""
        self._output.hide(self._token)
        try:
            with self._command.commands.endpoint.known(self._token, self._bot), self._marking():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._bot.serve)
                    ended = await self._session.run()
                    nursery.cancel_scope.cancel()
            return ended
        finally:
            self._bot.close()
            self._upstream.close()
            if self._is_local:  # it opens nothing any more
                self._output.forget(self._token)

    @contextmanager
    def _marking(self) -> Iterator[None]:
        """Inside, calls are marked, if a file for that can be made."""
        path = self._command.fleet().state_dir / FOLDER / secrets.token_hex(8)
        with suppress(OSError):
            self._marks = CallMarks(str(path), self._settings.concurrency + MORE_CALLS)
        try:
            yield
        finally:
            if self._marks is not None:
                self._marks.close()
                path.unlink(missing_ok=True)

    def _configure(self) -> Configure:
        """Say which program to run; the worker itself needs no token.

        Raises:
            OSError: the endpoint cannot listen.
        """
        fleet, settings = self._command.fleet(), self._settings
        base = self._command.commands.endpoint.address
        file = settings_file(fleet.runtime_dir, settings.name)
        values = {"token": self._token, "api": base, "files": f"{base}/file"}
        environ = {
            "TRIOWORKERS_API_BASE": base,
            "TRIOWORKERS_FILE_BASE": f"{base}/file",
            "TRIOWORKERS_TOKEN": self._token,
            "TRIOWORKERS_SETTINGS": str(file),
            "TELOXIDE_API_URL": base,
            **filled(settings.environment, values),
        }
        preload = str(PRELOAD) if settings.redirect else ""
        if settings.redirect:
            environ["TRIOWORKERS_REDIRECT"] = ",".join(redirected_hosts(fleet.api_base))
            if settings.acknowledge in PROBED:
                environ["TRIOWORKERS_PROBE"] = "1"
        words, folder = list(settings.command or ()), str(settings.cwd or fleet.folder)
        program = Program(words, folder, environ, str(file), preload)
        return msgspec.structs.replace(self._configure_worker(), token="", proxy="", program=program)

    async def _first_word(self, worker: ConnectedWorker) -> Ready | Unfit | None:
        """It is ready once it asks for updates; the worker hears of that, and sends heartbeats from then on.

        Raises:
            FrameError: the worker sent something that is not a valid frame.
        """
        word: Ready | Unfit | None = None
        error: FrameError | None = None

        async def listen() -> None:
            nonlocal word, error
            try:
                word = await worker.first_word()
            except FrameError as found:  # raised below, where the nursery makes no group of it
                error = found
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await self._bot.polled.wait()
            word = Ready("") if self._bot.unfit is None else Unfit(NO_PROBE, self._bot.unfit)
            nursery.cancel_scope.cancel()
        if error is not None:
            raise error
        if isinstance(word, Ready):
            worker.send(Ping())
        return word

    def _make_executor(self, worker: ConnectedWorker) -> CommandExecutor:
        command = self._command
        recording = Recording(self._marks, command.commands.held_back, command.fault)
        return CommandExecutor(worker, self._bot, command.scheduler, command.settling, recording)


def redirected_hosts(api_base: str) -> list[str]:
    """The hosts whose requests a program's preload sends to the endpoint, with their ports where unusual."""
    parts = urlsplit(api_base)
    usual = 443 if parts.scheme == "https" else 80
    own = parts.hostname or ""
    if parts.port not in (None, usual):
        own = f"{own}:{parts.port}"
    return sorted({urlsplit(OFFICIAL_API).hostname or "", own})


def settings_file(runtime_dir: Path, name: str) -> Path:
    """Where the settings of a bot's program are, as JSON."""
    return runtime_dir / "settings" / f"{name}.json"
