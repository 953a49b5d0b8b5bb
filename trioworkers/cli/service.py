"""`trioworkers start`, `stop` and `restart`: the daemon of `run`, detached."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import click

from trioworkers.cli.exits import FAILED, NOT_PERMITTED, NOT_RUNNING, TRY_AGAIN, UNREACHABLE
from trioworkers.cli.failures import fail, refuse, run_or_fail
from trioworkers.cli.fleet import daemon_errors, read_fleet
from trioworkers.cli.shown import counted, printable

if TYPE_CHECKING:
    from pathlib import Path

    from trioworkers.cli.awaited_store import AwaitedStore
    from trioworkers.config import Fleet

START = """Run the fleet detached from this terminal; return when every bot has had its first verdict.

\b
Its log is in fleet.log_dir: `trioworkers logs`. Output that is not a log line goes to daemon.err there. Exit
75 when the fleet runs already, 78 when the fleet file is bad, and 1 with the reason when it does not start.

\b
  trioworkers start
  trioworkers -c /etc/trioworkers/fleet.toml start
"""
STOP = """Stop the running fleet gracefully; return when it has ended: exit 0, or 3 when none runs.

\b
It takes at most fleet.shutdown_timeout. Updates that are not finished by then are handled after the next
start.

\b
  trioworkers stop
"""
RESTART = """Replace the workers of all bots by workers that run the current code; the daemon goes on.

\b
For each handler, one worker is tried first. If one does not become ready, nothing is replaced: exit 1 and the
reason. The others follow a tenth of the fleet at a time, each after it has finished what it has in flight.
Exit 1 also when a bot has no ready worker in the end.

\b
With --daemon it is `stop` and then `start`: for keys that wait for a restart of the daemon, and for another
version of trioworkers. A daemon that systemd runs is restarted by systemctl.

\b
  trioworkers restart
  trioworkers restart --daemon
"""
LOOK_EVERY = 0.05  # seconds
LAST_LINES = 20
PATIENCE = 2.0  # seconds; a daemon that waits for its database answers nobody
FIRST_ANSWERS = 1.0  # seconds in which Telegram usually refuses a token that is none


@click.command(help=START)
@click.pass_obj
def start(config: Path | None) -> None:
    fleet = read_fleet(config)
    run_or_fail(lambda: _start(fleet))


@click.command(help=STOP)
@click.pass_obj
def stop(config: Path | None) -> None:
    _stop(config)
    click.echo("stopped")


def _stop(config: Path | None, *, to_start: Fleet | None = None) -> None:
    """Ask the daemon to stop, and return when it has ended; exits with 3 when none runs.

    `to_start`: the fleet that is started afterwards; exits with 1 when systemd runs its daemon.
    """
    from trioworkers.cli.control import UnreachableError, find_socket
    from trioworkers.config import FleetFileError
    from trioworkers.service.places import service_name

    try:
        control = find_socket(config)
        daemon, pid = _find_daemon(control)
    except FleetFileError as error:
        refuse([str(problem) for problem in error.problems])
    except PermissionError as error:
        fail(f"{error.filename} belongs to another user" if error.filename else str(error), NOT_PERMITTED)
    except UnreachableError as error:
        fail(str(error), UNREACHABLE)
    with open(daemon, "rb"):  # closes it
        if to_start is not None and (control.parent != to_start.runtime_dir or _is_service(pid)):
            unit = service_name(to_start.path)
            fail(f"systemd runs the daemon (pid {pid}): `systemctl restart {unit}` restarts it", FAILED)
        try:
            signal.pidfd_send_signal(daemon, signal.SIGTERM)
        except ProcessLookupError:
            pass  # it has just ended
        except PermissionError:
            fail("the daemon runs as another user", NOT_PERMITTED)
        select.select([daemon], [], [])


@click.command(help=RESTART)
@click.option("--daemon", "is_whole", is_flag=True, help="Stop the daemon, too, and start it again.")
@click.pass_obj
def restart(config: Path | None, is_whole: bool) -> None:
    from trioworkers.cli.control import ask_or_fail

    if is_whole:
        fleet = read_fleet(config)  # a bad file must not end a daemon that runs
        _stop(config, to_start=fleet)
        click.echo("stopped")
        run_or_fail(lambda: _start(fleet))
        return
    done = ask_or_fail(config, "/api/restart", {}, timeout=None)
    click.echo(f"replaced {counted(done['replaced'], 'worker')}")
    for bot, reason in done["failed"].items():
        click.echo(f"trioworkers: {bot} has no ready worker: {printable(reason)}", err=True)
    if done["failed"]:
        sys.exit(FAILED)


def _start(fleet: Fleet) -> None:
    """Start the daemon and wait until it is ready; exits with its code, and what it said, when it ends.

    Raises:
        AlreadyRunningError: a daemon runs bots of this fleet somewhere else.
        OSError: its log folder cannot be made, or no process started; PermissionError: others write there.
    """
    from trioworkers.cli.awaited_store import AwaitedStore
    from trioworkers.cli.control import UnreachableError
    from trioworkers.folders import make_folder
    from trioworkers.service.claim import see_no_other
    from trioworkers.service.places import service_socket

    control = fleet.runtime_dir / "control.sock"
    try:
        running = _ask_status(control) or _ask_status(service_socket(fleet.path))
    except (UnreachableError, PermissionError) as error:
        fail(str(error), TRY_AGAIN)
    if running is not None:
        fail(f"a daemon is running already (pid {running['fleet']['pid']})", TRY_AGAIN)
    see_no_other(fleet.path, frozenset(bot.bot_id for bot in fleet.bots.values()))
    errors = daemon_errors(fleet)
    umask = os.umask(0o077)  # the state folder is often made on the way to that of the logs
    make_folder(fleet.log_dir)
    if errors.exists() and errors.stat().st_size:
        errors.replace(f"{errors}.1")  # how the last one ended may be in it
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    with (
        closing(AwaitedStore(fleet.log_dir / "master.log", _tell)) as store,
        open(os.open(errors, flags, 0o600), "w") as sink,
    ):
        daemon = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-P", "-m", "trioworkers.cli", "-c", str(fleet.path), "run"],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
            umask=umask,  # which is the bots'; the daemon sets its own
        )
        if _wait_running(daemon, control, store):
            daemon.returncode = 0  # it lives on without us
            _show_started(control, daemon.pid)
            return
    for line in errors.read_text(errors="replace").splitlines()[-LAST_LINES:]:
        click.echo(printable(line), err=True)
    sys.exit(daemon.returncode if daemon.returncode > 0 else FAILED)


def _wait_running(daemon: subprocess.Popen[bytes], control: Path, store: AwaitedStore) -> bool:
    """Whether the fleet runs, once it does or its daemon has ended."""
    from trioworkers.cli.control import UnreachableError

    while daemon.poll() is None:
        document = None
        if not store.is_away():  # nothing is answered before it is there
            with suppress(UnreachableError):
                document = _ask_status(control, PATIENCE)
        if document and document["fleet"]["pid"] == daemon.pid and document["fleet"]["state"] == "running":
            return True
        time.sleep(LOOK_EVERY)
    return False


def _tell(line: str) -> None:
    click.echo(printable(line), err=True)


def _show_started(control: Path, pid: int) -> None:
    """Say that it runs, and what is not well.

    A token that Telegram refuses is known a moment after READY, which waits for no answer of Telegram's. So
    this looks after that moment.
    """
    from trioworkers.cli.fleet_screen import trouble_lines
    from trioworkers.cli.shown import find_paper
    from trioworkers.config.worker_places import held_back_now
    from trioworkers.status import summary

    time.sleep(FIRST_ANSWERS)
    document = _ask_status(control)
    if document is None:
        fail("the daemon was ready and has ended: see `trioworkers logs`", FAILED)
    click.echo(f"runs with pid {pid}, {summary(document['workers'])}")
    if (waits := held_back_now(document["workers"])) is not None:
        click.echo(printable(waits))
    for line in trouble_lines(document["workers"], find_paper(), time.time()):
        click.echo(line)


def _ask_status(control: Path, timeout: float | None = None) -> Any:
    """The status document of the daemon that listens there; None when none does."""
    from trioworkers.cli.control import TIMEOUT, NotRunningError, ask

    try:
        return ask(control, "/api/workers/status", timeout=timeout or TIMEOUT)
    except NotRunningError:
        return None


def _is_service(pid: int) -> bool:
    """Whether a service manager waits for what the process has to say."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as environ:
            return any(variable.startswith(b"NOTIFY_SOCKET=") for variable in environ.read().split(b"\0"))
    except OSError:  # it has just ended, or it is another user's, who says so when it is signalled
        return False


def _find_daemon(control: Path) -> tuple[int, int]:
    """A descriptor of the process that listens there, and its number; exits with 3 when none does.

    The kernel says which it is, whatever the daemon answers, or if it answers at all; and the descriptor
    means that process and never another that got its number.

    Raises:
        PermissionError: the socket is another user's.
    """
    import socket
    import struct

    from trioworkers.cli.control import NotRunningError, UnreachableError, connect

    try:
        connection = connect(control)
    except NotRunningError:
        fail(f"no daemon is running: nobody listens on {control}", NOT_RUNNING)
    except UnreachableError as error:
        fail(str(error), UNREACHABLE)
    with closing(connection):
        peer = connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid, _, _ = struct.unpack("3i", peer)
        try:
            return os.pidfd_open(pid), pid
        except ProcessLookupError:
            fail("no daemon is running: it has just ended", NOT_RUNNING)
        except OSError:  # of another container, it has no number here
            fail(f"the process that listens on {control} cannot be seen from here", UNREACHABLE)
