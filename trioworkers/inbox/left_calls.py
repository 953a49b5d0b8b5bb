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
    calls = [(mark.id, mark.key) for mark in marks]
    recorded = store.recorded(calls)  # a call that was reported is on record: begun, or with its answer
    new = [BeginCall(*call, now) for call in calls if call not in recorded]
    if new:
        store.commit(new)
    for path in files:
        path.unlink(missing_ok=True)
    return len(new)
