"""Takes over what workers of a run that ended had called and not reported, before anything is handled again.

After the death of a daemon, its workers' marks say more than its database: a call may have been made that
the daemon heard nothing of, or had not committed yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers.call_marks import read_marks
from trioworkers.folders import make_folder
from trioworkers.inbox.store import BeginCall

if TYPE_CHECKING:
    from pathlib import Path

    from trioworkers.call_marks import Mark
    from trioworkers.inbox.store import Store


def take_over(store: Store, folder: Path, now: float) -> int:
    """Record the calls that are marked in the files of `folder`, and remove these; return how many were new.

    All processes of that run have ended. The folder is made where there is none. `now`: Unix seconds.

    Raises:
        StoreError: they cannot be recorded; the files stay.
        OSError: the folder cannot be made or read.
    """
    make_folder(folder)
    files = [path for path in folder.iterdir() if path.is_file()]
    marks = [mark for path in files for mark in read_marks(str(path))]
    new = [BeginCall(mark.id, mark.key, now) for mark in marks if _is_new(store, mark)]
    if new:
        store.commit(new)
    for path in files:
        path.unlink(missing_ok=True)
    return len(new)


def _is_new(store: Store, mark: Mark) -> bool:
    """A call that was reported is recorded: begun, or with its answer."""
    return all(call.key != mark.key for call in store.calls(mark.id))
