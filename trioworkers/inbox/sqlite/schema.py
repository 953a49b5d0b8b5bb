"""The tables of the inbox's file, and how a file of an earlier version becomes one of this.

A schema that was released is never edited: a new version is a step here, and a test opens a file of
every earlier version.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from trioworkers.inbox.store import StoreRefusedError

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

APPLICATION_ID = 0x74726977  # "triw", in the file's header: https://sqlite.org/fileformat.html#application_id
STEPS = (
    """
CREATE TABLE seen (
    bot_id INTEGER NOT NULL, update_id INTEGER NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (bot_id, update_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    bot_id INTEGER NOT NULL, update_id INTEGER NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL,
    body BLOB NOT NULL, checksum INTEGER NOT NULL, accepted_at REAL NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL DEFAULT 0, started_at REAL,
    after_gap INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX inbox_by_bot ON inbox (bot_id);
CREATE INDEX inbox_by_key ON inbox (bot_id, key);
CREATE TABLE dead (
    id INTEGER PRIMARY KEY,
    bot_id INTEGER NOT NULL, update_id INTEGER NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL,
    body BLOB NOT NULL, checksum INTEGER NOT NULL, accepted_at REAL NOT NULL,
    attempts INTEGER NOT NULL, started_at REAL, died_at REAL NOT NULL,
    reason TEXT NOT NULL, error TEXT NOT NULL
) STRICT;
CREATE INDEX dead_by_bot ON dead (bot_id);
CREATE TABLE tally (
    bot_id INTEGER PRIMARY KEY,
    accepted INTEGER NOT NULL, duplicates INTEGER NOT NULL, done INTEGER NOT NULL,
    dropped INTEGER NOT NULL, expired INTEGER NOT NULL, retried INTEGER NOT NULL, dead INTEGER NOT NULL
) STRICT;
""",
    """
ALTER TABLE inbox ADD COLUMN suspect INTEGER NOT NULL DEFAULT 0;
ALTER TABLE inbox ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE inbox ADD COLUMN skipped INTEGER NOT NULL DEFAULT 0;
ALTER TABLE inbox ADD COLUMN history TEXT NOT NULL DEFAULT '[]';
UPDATE inbox SET history = json_array(json_array(coalesce(started_at, accepted_at), error)) WHERE error <> '';
ALTER TABLE inbox DROP COLUMN error;
ALTER TABLE dead ADD COLUMN history TEXT NOT NULL DEFAULT '[]';
UPDATE dead SET history = json_array(json_array(died_at, error)) WHERE error <> '';
ALTER TABLE dead DROP COLUMN error;
ALTER TABLE dead DROP COLUMN started_at;
CREATE INDEX dead_by_time ON dead (died_at);
ALTER TABLE tally ADD COLUMN purged INTEGER NOT NULL DEFAULT 0;
CREATE TABLE gaps (
    bot_id INTEGER NOT NULL, key TEXT NOT NULL, PRIMARY KEY (bot_id, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE calls (
    id INTEGER NOT NULL, key TEXT NOT NULL, at REAL NOT NULL, answer BLOB, repeated INTEGER NOT NULL,
    PRIMARY KEY (id, key)
) STRICT, WITHOUT ROWID;
""",
    """
ALTER TABLE tally ADD COLUMN filtered INTEGER NOT NULL DEFAULT 0;
CREATE TABLE once (
    bot_id INTEGER NOT NULL, key TEXT NOT NULL, at REAL NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (bot_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX once_by_time ON once (until, bot_id, key);
""",
    """
CREATE TABLE plugin_values (
    id INTEGER PRIMARY KEY,
    plugin TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, until REAL,
    UNIQUE (plugin, key)
) STRICT;
CREATE INDEX plugin_values_by_time ON plugin_values (until, plugin, key) WHERE until IS NOT NULL;
""",
    """
ALTER TABLE once RENAME TO once_by_key;
CREATE TABLE once (
    until REAL NOT NULL, bot_id INTEGER NOT NULL, key TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (until, bot_id, key)
) STRICT, WITHOUT ROWID;
INSERT INTO once (until, bot_id, key, at) SELECT until, bot_id, key, at FROM once_by_key;
DROP TABLE once_by_key;
""",
)
"""`STEPS[n]` makes version n + 1 of version n; 0 is an empty file."""

SCHEMA_VERSION = len(STEPS)


def prepare(connection: sqlite3.Connection, path: Path, durability: str) -> None:
    """Set the connection up, and bring its file to this version's schema, in one transaction.

    Raises:
        StoreRefusedError: it is another program's, or a newer version's.
        sqlite3.Error: SQLite refused something; the file is as it was.
    """

    def number(pragma: str) -> int:
        return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])

    version, owner = number("user_version"), number("application_id")
    empty = number("schema_version") == 0
    if not empty and owner != APPLICATION_ID:
        message = f"{path} is a database of another program"
        raise StoreRefusedError(message)
    if version > SCHEMA_VERSION:
        message = f"{path} has schema {version} of a newer trioworkers, this one knows {SCHEMA_VERSION}"
        raise StoreRefusedError(message)
    if empty:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # has to come before the first table
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {'NORMAL' if durability == 'normal' else 'FULL'}")
    connection.execute("PRAGMA journal_size_limit = 67108864")
    if version < SCHEMA_VERSION:
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE; {''.join(STEPS[version:])} PRAGMA application_id = {APPLICATION_ID};"
                f" PRAGMA user_version = {SCHEMA_VERSION}; COMMIT"
            )
        except BaseException:
            with suppress(connection.Error):
                connection.execute("ROLLBACK")
            raise
