"""A copy of the state while the daemon runs, asked for over the control socket."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import Field
from quart import Blueprint, g

from trioworkers.described import Description, described
from trioworkers.folders import make_folder
from trioworkers.inbox.store import StoreError
from trioworkers.web.acts import CONTROL, emit_action
from trioworkers.web.answers import Backup
from trioworkers.web.asked import Asked, RequestRefusedError, read_body

if TYPE_CHECKING:
    from trioworkers.events import Events


class BacksUp(Protocol):
    """What can write a consistent copy of itself."""

    async def backup(self, path: Path) -> None:
        """Write the copy to `path`, whole or not at all; StoreError or OSError when it cannot be."""


class BackupAsked(Asked):
    """The body of `POST /api/backup`."""

    path: str | None = Field(None, min_length=1, description="the absolute path of a new file or of a folder")


REFUSED = {
    403: "it was not asked for over the control socket, or the file may not be written",
    409: "something is at the path already",
    500: "the copy failed",
}


def backup_routes(inbox: BacksUp, folder: Path, events: Events) -> Blueprint:
    """`POST /api/backup`. `folder`: where copies go that name no other place; made when it is needed."""
    routes = Blueprint("backup", __name__)

    @routes.post("/api/backup")
    @described(Description("Copy the state into one file", Backup, body=BackupAsked, refusals=REFUSED))
    async def backup() -> dict[str, Any]:
        if g.by != CONTROL:  # who has the API's token may not write where the daemon may
            raise RequestRefusedError(403, "backups are made over the control socket only")
        asked = await read_body(BackupAsked)
        try:
            path = _target(asked.path, folder)
            await inbox.backup(path)
            size = path.stat().st_size
        except (StoreError, OSError) as error:
            reason = _words(error)
            emit_action(events, "backup", level="error", reason=reason)
            raise RequestRefusedError(403 if isinstance(error, PermissionError) else 500, reason) from None
        emit_action(events, "backup", path=str(path), bytes=size)
        return {"path": str(path), "bytes": size}

    return routes


def _target(asked: str | None, folder: Path) -> Path:
    """Where the copy goes.

    Raises:
        RefusedError: it is not an absolute path, or something is there already.
        OSError: the folder cannot be made.
    """
    if asked is None:
        make_folder(folder)
        path = folder
    elif not asked.startswith("/") or "\0" in asked:
        raise RequestRefusedError(400, "path: expected the absolute path of a new file or of a folder")
    else:
        path = Path(asked)
    if path.is_dir():
        path /= time.strftime("inbox-%Y%m%dT%H%M%SZ.db", time.gmtime())
    if path.is_symlink() or path.exists():  # it might be the database itself
        raise RequestRefusedError(409, f"{path} is there already, expected the path of a new file")
    return path


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}" if error.filename else error.strerror.lower()
    return str(error)
