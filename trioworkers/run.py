"""One run of a daemon: what it holds and what it opens, around the fleet that it runs.

What is outermost lives longest: the locks, the zygote, the web, the inbox and its writer, the fleet. A stop
travels the other way: intake, executors, workers, then the web, the writer and the zygote, under one shared
deadline.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from trioworkers.descriptors import raise_limit
from trioworkers.folders import locked, make_folder
from trioworkers.nursery.zygote import open_zygote
from trioworkers.protocol.orders import Prepare
from trioworkers.web.handed import VARIABLES
from trioworkers.web.sockets import listen_tcp, listen_unix
from trioworkers.worker.remains import begin_run

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping

    from trioworkers.config import Bind, Fleet
    from trioworkers.daemon import Daemon
    from trioworkers.events import Events
    from trioworkers.stop import Requests

SWITCH_INTERVAL = 0.0005  # seconds until the writer's thread gets its turn from a busy loop
COLLECT = (10_000, 20, 20)  # objects, then collections, until each generation is looked through
CONTROL_SOCKET = "control.sock"


async def run_daemon(
    fleet: Fleet,
    events: Events,
    requests: Requests,
    *,
    environ: Mapping[str, str] = os.environ,
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

    Raises (in groups, what comes after the locks):
        AlreadyRunningError: another daemon holds the state directory or listens on our sockets.
        ListenError: an address is in use or is not ours.
        CertificateError: `webhook.tls_cert` and `tls_key` are no pair.
        StoreError: the inbox, or what says which bots are paused, cannot be opened.
        ZygoteError: workers cannot be started as the fleet file says; ZygoteEndedError: for another reason.
        DescriptorsError: the system allows fewer open files than the fleet needs.
        OSError: a directory cannot be made; PermissionError: others can write there, or know the token.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.set_threshold(*COLLECT)  # a thousand bots that start are no garbage: an eighth of their start's time
    for folder in (fleet.state_dir, fleet.runtime_dir, fleet.log_dir, fleet.state_dir / "fleet.d"):
        make_folder(folder)
    with (
        locked(fleet.state_dir / "daemon.lock", f"runs on {fleet.state_dir}"),
        listen_unix(fleet.runtime_dir / CONTROL_SOCKET, key="fleet.runtime_dir") as control,
        _listening(fleet.api.bind) as api,
    ):
        raise_limit(0)  # before there are children, which get the same
        run = await trio.to_thread.run_sync(begin_run, fleet.state_dir / "run-mark")
        async with open_zygote(
            Prepare(fleet.worker_start, fleet.api_base, fleet.preload, tuple(map(str, fleet.python_path))),
            run=run,
            folder=fleet.folder,
            environ={
                name: environ[name]
                for name in environ
                if name not in fleet.secret_env_names and name not in VARIABLES
            },
            emit=events.emit,
        ) as zygote:
            # only now: it imports for half a second, and the zygote does so meanwhile, on another core
            from trioworkers.compose import Ground, run_fleet

            gc.freeze()  # what is imported stays
            await run_fleet(Ground(fleet, events, requests, environ, zygote, control, api), task_status)
    events.emit("daemon.stopped")


@contextmanager
def _listening(bind: Bind) -> Iterator[socket.socket]:
    if bind.path is not None:
        with listen_unix(bind.path, key="[api] bind") as listener:
            yield listener
        return
    with listen_tcp(bind.host, bind.port, key="[api] bind") as listener:
        yield listener
