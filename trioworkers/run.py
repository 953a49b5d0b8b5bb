"""One run of a daemon: what it holds and what it opens, around the fleet that it runs.

What is outermost lives longest: the locks, the zygote, the web, the inbox and its writer, the fleet. A stop
travels the other way: intake, executors, workers, then the web, the writer and the zygote, under one shared
deadline.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

import trio

from trioworkers.descriptors import check_pidfds, raise_limit
from trioworkers.folders import DAEMON_LOCK, locked, make_folder
from trioworkers.holdings import Holdings, Keepsakes
from trioworkers.logs.echo import Terminal
from trioworkers.nursery.zygote import open_zygote
from trioworkers.protocol.orders import Prepare
from trioworkers.service.announcer import Announcer
from trioworkers.service.claim import Claim
from trioworkers.service.notifier import VARIABLES as OF_THE_NOTIFIER
from trioworkers.shortage import in_thread
from trioworkers.web.handed import VARIABLES as OF_SOCKETS
from trioworkers.web.handed import handed_over
from trioworkers.web.sockets import UnixSocket, listen_tcp
from trioworkers.worker.remains import begin_run

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from trioworkers.config import Bind, Fleet
    from trioworkers.daemon import Daemon
    from trioworkers.events import Events
    from trioworkers.stop import Requests

SWITCH_INTERVAL = 0.0005  # seconds until the writer's thread gets its turn from a busy loop
COLLECT = (10_000, 20, 20)  # objects, then collections, until each generation is looked through
UMASK = "TRIOWORKERS_UMASK"
"""Names the umask that the daemon was started with, which its workers get: its own hides its files."""
OURS = frozenset({*OF_SOCKETS, *OF_THE_NOTIFIER, UMASK})  # variables that are meant for the daemon alone
SCRATCH = "rehearsal"  # in the runtime folder, while a zygote warms up
CONTROL_SOCKET = "control.sock"
API_TOKEN = "api-token"  # noqa: S105 - a file's name
KEPT = "run-mark", "paused.json", "webhooks.json", "webhook-secret", "sessions.json"  # of the state folder
API_MODE = 0o666  # of a unix socket: a proxy is another user, and the API asks for the token there, too


async def run_daemon(
    fleet: Fleet,
    events: Events,
    requests: Requests,
    *,
    environ: Mapping[str, str] = os.environ,
    terminal: Terminal | None = None,
    task_status: trio.TaskStatus[Daemon] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the fleet until a stop is requested, then end it gracefully within `fleet.shutdown_timeout`.

    `task_status` is told once the listeners are bound and every bot has its first verdict. Cancelling
    ends all workers' groups at once; the inbox keeps what they had in flight.

    Args:
        fleet: as its files describe it; plugins may know of further bots.
        events: where it is emitted what happens.
        requests: what is asked of the daemon, its end above all.
        environ: the daemon's environment.
        terminal: the terminal that it runs on; None: there is none.

    Raises (in groups, what comes after the locks):
        AlreadyRunningError: another daemon holds the state directory, listens on our sockets or has bots of
            this fleet file.
        ListenError: an address is in use or is not ours.
        CertificateError: `webhook.tls_cert` and `tls_key` are no pair.
        StoreError: the inbox, or what says which bots are paused, cannot be opened.
        ZygoteError: workers cannot be started as the fleet file says; ZygoteEndedError: for another reason.
        DescriptorsError: the system allows fewer open files than the fleet needs, or no pidfds.
        OSError: a directory cannot be made; PermissionError: others can write there, or know the token.
    """
    announcer = Announcer(environ)
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.set_threshold(*COLLECT)
    handed = handed_over(environ)
    umask = environ.get(UMASK)
    environ = {name: environ[name] for name in environ if name not in OURS}
    folders = fleet.state_dir, fleet.runtime_dir, fleet.log_dir, fleet.state_dir / "fleet.d"
    with (
        _collecting_later(),
        _claimed(fleet) as claim,  # before anything is made, perhaps in another place than that daemon's
        _made(folders),
        locked(fleet.state_dir / DAEMON_LOCK, f"runs on {fleet.state_dir}") as lock,
        closing(UnixSocket(fleet.runtime_dir / CONTROL_SOCKET, key="fleet.runtime_dir")) as control,
        _listening(fleet.api.bind, handed.pop("api", [])) as api,
        closing(announcer),
    ):
        kept = Keepsakes(
            [fleet.runtime_dir / API_TOKEN, *(fleet.state_dir / name for name in KEPT)], folders[-1]
        )
        at_paths = [control, api] if isinstance(api, UnixSocket) else [control]
        holdings = Holdings(folders, lock, kept, at_paths)
        check_pidfds()
        raise_limit(0)  # before there are children, which get the same
        run = await in_thread(begin_run, fleet.state_dir / "run-mark")
        async with open_zygote(
            _prepare(fleet, umask),
            run=run,
            folder=fleet.folder,
            environ={name: environ[name] for name in environ if name not in fleet.secret_env_names},
            emit=events.emit,
        ) as zygote:
            # only now: it imports for half a second, and the zygote does so meanwhile, on another core
            from trioworkers.compose import Ground, run_fleet

            gc.freeze()  # what is imported stays
            ground = Ground(
                fleet=fleet,
                events=events,
                requests=requests,
                environ=environ,
                zygote=zygote,
                control=control,
                api=api,
                handed=handed,
                announcer=announcer,
                holdings=holdings,
                claim=claim,
                terminal=terminal or Terminal(),
            )
            await run_fleet(ground, task_status)
    events.emit("daemon.stopped")


@contextmanager
def _collecting_later() -> Iterator[None]:
    """Do not look for garbage, until the daemon begins to (:mod:`trioworkers.daemon`), or ends.

    A thousand bots that start are no garbage; to look through them again and again takes an eighth of their
    start's time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _prepare(fleet: Fleet, umask: str | None) -> Prepare:
    path = tuple(map(str, fleet.python_path))
    mask = None if umask is None else int(umask, 8)
    return Prepare(
        way=fleet.worker_start,
        api_base=fleet.api_base,
        preload=fleet.preload,
        python_path=path,
        folder=str(fleet.folder),
        umask=mask,
        scratch=str(fleet.runtime_dir / SCRATCH),
    )


@contextmanager
def _made(folders: Sequence[Path]) -> Iterator[None]:
    """Folders of the daemon, which stay.

    Raises:
        OSError: one cannot be made; PermissionError: others can write there.
    """
    for folder in folders:
        make_folder(folder)
    yield


@contextmanager
def _claimed(fleet: Fleet) -> Iterator[Claim | None]:
    """The claim of this daemon, after it was seen that no other one has its bots; None where that cannot be.

    Raises:
        AlreadyRunningError: another one has.
    """
    try:
        claim = Claim(fleet.path, fleet.state_dir)
    except OSError:  # a sandbox without abstract sockets: the locks are all there is
        yield None
        return
    with closing(claim):
        own = frozenset(bot.bot_id for bot in fleet.bots.values() if fleet.shard.owns(bot.bot_id))
        claim.see_alone(frozenset() if fleet.cluster.node is not None else own)
        yield claim


@contextmanager
def _listening(bind: Bind, handed: Sequence[socket.socket]) -> Iterator[Sequence[socket.socket] | UnixSocket]:
    """The sockets of the API: those that systemd handed over, or one of our own."""
    if handed:
        with ExitStack() as stack:
            for listener in handed:
                stack.enter_context(listener)
            yield handed
        return
    if bind.path is not None:
        with closing(UnixSocket(bind.path, key="[api] bind", mode=API_MODE)) as held:
            yield held
        return
    with listen_tcp(bind.host, bind.port, key="[api] bind") as listener:
        yield [listener]
