"""What the daemon owns on disk beside its database: folders, locks, and the token that it made itself.

Whoever may write into one of these folders may be the daemon: so what others can write is refused, as
sshd refuses it, with the command that mends it. To tighten it silently would hide who could write until now.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import threading
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from trioworkers.config import Secret
from trioworkers.errors import TrioworkersError
from trioworkers.private import write_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAEMON_LOCK = "daemon.lock"  # in the state folder
TOKEN_LIMIT = 4096  # bytes


class AlreadyRunningError(TrioworkersError):
    """Another daemon holds the lock; the message says which."""


def make_folder(path: Path) -> None:
    """Make a folder for ourselves (mode 0700), or see that one that is there can be written by nobody else.

    That others may read it is its owner's affair: logs are often read by a group. Nor may others put another
    folder in its place: where all users can write above it, there has to be a sticky bit, as /tmp has.

    Raises:
        PermissionError: it is another user's, or group or others may write there, or all users above it; the
            message says what to do.
        OSError: it cannot be made.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for found in (path.lstat(), path.stat()):  # a link that is another's leads where that one wants
        if found.st_uid not in (os.geteuid(), 0):
            what = "link" if stat.S_ISLNK(found.st_mode) else "folder"
            message = f"{path} is a {what} of another user (uid {found.st_uid}), expected one of our own"
            raise PermissionError(message)
    if found.st_mode & 0o022:
        advice = (
            f"chmod go-w {path}" if _may_change(found) else f"name a folder below it, as {path}/{path.name}"
        )
        message = f"{path} can be written by other users, expected a folder of our own: {advice}"
        raise PermissionError(message)
    for above in {*path.absolute().parents, *path.resolve().parents}:
        status = above.stat()
        mode = status.st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX and not _is_given(status):
            advice = f"chmod o-w {above}" if _may_change(status) else "name a folder elsewhere"
            message = f"{above} can be written by all users, who can replace {path}: {advice}"
            raise PermissionError(message)


def _may_change(status: os.stat_result) -> bool:
    """Whether this process may change the mode of a folder."""
    return os.geteuid() in (0, status.st_uid)


def _is_given(status: os.stat_result) -> bool:
    """Whether the system made a folder for all, as an emptyDir of Kubernetes is (0777); not ours to change.

    Others may take a folder of ours away there. They cannot put another one in its place that is ours, which
    is looked at first; to refuse would leave a container without any place.
    """
    return not _may_change(status) and status.st_uid == 0


class Lock:
    """A lock file that is held for this process; the lock ends with it, however it ends.

    The file may be removed meanwhile, and another daemon could lock the next one of that name. So its holder
    asks now and then whether the name still means the file that is held. From any thread.

    Args:
        path: the file.
        what: what its holder does there, for the message.

    Raises:
        AlreadyRunningError: another holds it.
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        self._what = what
        self._turn = threading.Lock()
        self._descriptor = self._take()

    def is_lost(self) -> bool:
        """Whether the name does not mean the file that is held any more."""
        return not _names(self.path, self._descriptor)

    def hold(self) -> bool:
        """Hold the file that has the name now; return whether it is another one than before.

        Raises:
            AlreadyRunningError, OSError: as for the first one, which stays held.
        """
        with self._turn:
            if not self.is_lost():
                return False
            before, self._descriptor = self._descriptor, self._take()
            os.close(before)
            return True

    def close(self) -> None:
        """Let it go."""
        with self._turn:
            os.close(self._descriptor)

    def _take(self) -> int:
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                self._lock(descriptor)
                if _names(self.path, descriptor):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # it was removed just before it was locked

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            message = f"another daemon {self._what} (pid {holder})"
            raise AlreadyRunningError(message) from None
        with suppress(OSError):  # a full disk; the number is for people, the lock holds without it
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _names(path: Path, descriptor: int) -> bool:
    """Whether a path means the open file; also when that cannot be found out now."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # a disk that does not answer says nothing of the name
        return True


@contextmanager
def locked(path: Path, what: str) -> Iterator[Lock]:
    """Hold the lock file at `path` inside.

    Raises:
        AlreadyRunningError, OSError: as :class:`Lock`.
    """
    with closing(Lock(path, what)) as lock:
        yield lock


def kept_token(path: Path) -> Secret:
    """The token that is kept at `path` (mode 0600), made when there is none.

    Raises:
        PermissionError: what is there is not a file of ours that nobody else can open.
    """
    return _read_token(path) or _make_token(path)


def _read_token(path: Path) -> Secret | None:
    try:
        # nonblocking: a pipe that was put there must not hold the start up
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        message = f"{path} is a symbolic link, expected a file of our own: delete it, a new one is made"
        raise PermissionError(message) from None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            message = f"{path} is not ours alone, expected a file of our own with mode 0600:"
            message += " delete it, since others may know the token; a new one is made"
            raise PermissionError(message)
        kept = file.read(TOKEN_LIMIT).decode(errors="replace").strip()
    return Secret(kept) if kept else None


def _make_token(path: Path) -> Secret:
    token = secrets.token_urlsafe(32)
    write_private(path, f"{token}\n".encode())
    return Secret(token)
