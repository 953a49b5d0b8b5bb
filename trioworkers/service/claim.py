"""Where a running daemon is found, whatever became of its files: by a socket that has no file.

A daemon that systemd runs has its folders where its unit says, which no other terminal knows; and folders can
be removed under a daemon. Its lock and its control socket are found in neither case. So each daemon also
listens on an abstract unix socket (unix(7)), whose name has digests of its fleet file and its state folder.
The kernel lists these names (/proc/net/unix), and forgets them when the process ends, however it ends.

Each network namespace has its own, so containers do not see each other; those that share one are told apart
by their root folder. A lock in /tmp or /run was rejected: services have these folders for themselves.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import struct
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trioworkers.folders import AlreadyRunningError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PREFIX = "trioworkers/"
LISTED = Path("/proc/net/unix")
PATIENCE = 5.0  # seconds for an answer
MOST = 1 << 20  # bytes of one
BACKLOG = 64
PARTS = 4  # of a name: fleet file, what it leads to, state folder, process
OF_SERVICES = range(61184, 65520)  # DynamicUser=


@dataclass(frozen=True, slots=True)
class Claimed:
    """A daemon that runs.

    Attributes:
        name: of its socket.
        pid: its process; 0 where it has no number here.
        uid: its user.
    """

    name: str
    pid: int
    uid: int


@dataclass(frozen=True, slots=True)
class Told:
    """What a daemon says of itself to its own user and to root: its folders, and its bots by their ids."""

    control: Path
    log_dir: Path
    bots: frozenset[int]


class Claim:
    """The claim of this process; `close` it.

    Args:
        file: the fleet file.
        state_dir: the state folder.

    Raises:
        OSError: the kernel refuses the socket.
    """

    def __init__(self, file: Path, state_dir: Path) -> None:
        self._file, self._state_dir = file, state_dir
        self._state = _digest(state_dir.resolve())
        self._name = "/".join((*_digests(file), self._state, str(os.getpid())))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.bind(f"\0{PREFIX}{self._name}")
            self._socket.listen(BACKLOG)
        except OSError:
            self._socket.close()
            raise

    async def serve(self, say: Callable[[], Mapping[str, Any]]) -> None:
        """Answer what `say` returns to whoever asks and may know it, until cancelled."""
        import trio  # only here: a command has no time for it

        self._socket.setblocking(False)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._socket.dup()))

        async def answer(stream: trio.SocketStream) -> None:
            with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                async with stream:
                    _, uid = _peer(stream.socket)
                    if uid in (0, os.geteuid()):
                        with trio.move_on_after(PATIENCE):
                            await stream.send_all(json.dumps(say()).encode())

        await trio.serve_listeners(answer, [listener])

    def see_alone(self, bots: frozenset[int]) -> None:
        """See that no other daemon has this state folder, whose files may have been removed, or these bots.

        Raises:
            AlreadyRunningError: one has; the message says which.
        """
        for claimed in _claims(lambda parts: parts[2] == self._state, self._file):
            if claimed.name != self._name:
                message = f"another daemon runs on {self._state_dir} (pid {claimed.pid})"
                raise AlreadyRunningError(message)
        see_no_other(self._file, bots)

    def close(self) -> None:
        """Give it up."""
        self._socket.close()


def find_claims(file: Path) -> Iterator[Claimed]:
    """The daemons that run the fleet of this file."""
    names = {*_digests(file)}
    return _claims(lambda parts: not names.isdisjoint(parts[:2]), file)


def ask_claim(claimed: Claimed) -> Told | None:
    """What a daemon says of itself; None: it is another user's, or does not answer within 5 s."""
    try:
        with closing(_connected(claimed.name)) as connection:
            said = b""
            while len(said) < MOST and (more := connection.recv(65536)):
                said += more
        found = json.loads(said)
        return Told(Path(found["control"]), Path(found["log_dir"]), frozenset(map(int, found["bots"])))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def see_no_other(file: Path, bots: frozenset[int]) -> None:
    """See that no running daemon has these bots of this fleet file.

    Two daemons may run one file with other tokens and folders, by their environments. One that does not
    answer is taken for one that has them.

    Raises:
        AlreadyRunningError: one has; the message says which.
    """
    for claimed in find_claims(file):
        told = None if claimed.pid == os.getpid() else ask_claim(claimed)
        if claimed.pid != os.getpid() and (told is None or told.bots & bots):
            where = "" if told is None else f"; its control socket is {told.control}"
            raise AlreadyRunningError(f"another daemon runs the fleet of {file} (pid {claimed.pid}){where}")


def _claims(is_wanted: Callable[[list[str]], bool], file: Path) -> Iterator[Claimed]:
    """The claims with these digests, of users who may have made them."""
    try:
        lines = LISTED.read_text(errors="replace").splitlines()
    except OSError:  # a sandbox: what locks and sockets show is all there is
        return
    names = [line.partition(f" @{PREFIX}")[2] for line in lines]
    for name in dict.fromkeys(names):  # each connection to one is listed, too
        parts = name.split("/")
        if len(parts) == PARTS and is_wanted(parts):
            with suppress(OSError), closing(_connected(name)) as connection:
                pid, uid = _peer(connection)
                if _counts(uid, file):
                    yield Claimed(name, pid, uid)


def _connected(name: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(PATIENCE)
        connection.connect(f"\0{PREFIX}{name}")
    except OSError:
        connection.close()
        raise
    return connection


def _peer(connection: Any) -> tuple[int, int]:
    """Process and user at the other end (SO_PEERCRED)."""
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid


def _counts(uid: int, file: Path) -> bool:
    """Whether a daemon of this user can be one of this fleet: a stranger cannot keep one from starting.

    root may see daemons of any user. Users above 61183 are those that systemd makes for services
    (https://systemd.io/UIDS-GIDS/).
    """
    users = {0, os.geteuid()}
    with suppress(OSError):
        users.add(file.stat().st_uid)
    return os.geteuid() == 0 or uid in users or uid in OF_SERVICES


def _digests(file: Path) -> tuple[str, str]:
    """By its name, and by the file that it leads to: a link may lead to another release meanwhile."""
    return _digest(file.absolute()), _digest(file.resolve())


def _digest(path: Path) -> str:
    root = os.stat("/")
    text = f"{root.st_dev}:{root.st_ino}:{path}"
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]
