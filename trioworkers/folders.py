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
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from trioworkers.config import Secret
from trioworkers.errors import TrioworkersError
from trioworkers.private import write_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
        message = f"{path} can be written by other users, expected a folder of our own: chmod go-w {path}"
        raise PermissionError(message)
    for above in {*path.absolute().parents, *path.resolve().parents}:
        mode = above.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            message = f"{above} can be written by all users, who can replace {path}: chmod o-w {above}"
            raise PermissionError(message)


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file at `path` for this process; the lock ends with it, however it ends.

    Raises:
        AlreadyRunningError: another holds it; `what` says what it does there.
        OSError: the file cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            message = f"another daemon {what} (pid {holder})"
            raise AlreadyRunningError(message) from None
        with suppress(OSError):  # a full disk; the number is for people, the lock holds without it
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


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
