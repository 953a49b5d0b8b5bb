"""What an error of SQLite means for a store (https://sqlite.org/rescode.html)."""

from __future__ import annotations

import sqlite3

from trioworkers.inbox.store import StoreDamagedError, StoreError, StoreForbiddenError, StoreFullError

KINDS = {
    sqlite3.SQLITE_FULL: StoreFullError,
    sqlite3.SQLITE_IOERR_SHMSIZE: StoreFullError,  # the index of the journal could not grow
    sqlite3.SQLITE_IOERR_SHORT_READ: StoreDamagedError,  # the journal is shorter than what was written to it
    sqlite3.SQLITE_IOERR_DATA: StoreDamagedError,
    sqlite3.SQLITE_IOERR_CORRUPTFS: StoreDamagedError,
    sqlite3.SQLITE_CORRUPT: StoreDamagedError,
    sqlite3.SQLITE_NOTADB: StoreDamagedError,
    sqlite3.SQLITE_READONLY: StoreForbiddenError,
    sqlite3.SQLITE_PERM: StoreForbiddenError,
}


def store_error(what: str, error: sqlite3.Error) -> StoreError:
    """The store's error for one of SQLite; its message shows nothing of what is stored."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None and "decode" in str(error):  # Python's own, and it quotes the text
        return StoreDamagedError(f"{what}: a text in it is not UTF-8")
    kind = KINDS.get(code or 0) or KINDS.get((code or 0) & 0xFF, StoreError)
    return kind(f"{what}: {error}")
