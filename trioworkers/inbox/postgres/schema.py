"""The tables in PostgreSQL, and how those of an earlier version become those of this one.

A schema that was released is never edited: a new version is a step here. Steps only expand what there is, so
that a daemon of the version before goes on meanwhile; what is not needed any more is removed by a later step,
when no daemon that needs it can live.

Times of updates are Unix seconds, given by the daemon, as in SQLite. Keys of `once` and `plugin_values` are
bytes: any text has some, and they order as Python orders texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.inbox.store import StoreForbiddenError, StoreRefusedError

if TYPE_CHECKING:
    import psycopg

SCHEMA = "trioworkers"
LOCK = 0x74726977  # "triw", of advisory locks
MIGRATING, ALONE = 1, 2  # what they stand for
COUNTS = ("accepted", "duplicates", "done", "dropped", "expired", "retried", "dead", "purged", "filtered")
_COUNTS = ", ".join(f"{name} bigint NOT NULL DEFAULT 0" for name in COUNTS)

STEPS = (
    f"""
CREATE TABLE node (                      -- one row for each life of a daemon; who deletes it ends that life
    id uuid PRIMARY KEY, name text NOT NULL, beat bigint NOT NULL DEFAULT 0, ttl float8 NOT NULL DEFAULT 0,
    seen timestamptz NOT NULL DEFAULT now(), about jsonb NOT NULL DEFAULT '{{}}'
) WITH (fillfactor = 10);
CREATE TABLE mark (                      -- one row for each commit: its foreign key is the fence
    node uuid NOT NULL CONSTRAINT mark_node_fkey REFERENCES node ON DELETE CASCADE, batch bigint NOT NULL,
    PRIMARY KEY (node, batch)
);
CREATE TABLE bot (
    bot_id bigint PRIMARY KEY, owner uuid REFERENCES node ON DELETE SET NULL,
    epoch bigint NOT NULL DEFAULT 0, pinned text
) WITH (fillfactor = 50);
CREATE INDEX bot_owner ON bot (owner);
CREATE TABLE head (bot_id bigint PRIMARY KEY);  -- locked by whoever gives ids to a bot's updates
CREATE SEQUENCE inbox_id;
CREATE TABLE seen (
    bot_id bigint NOT NULL, update_id bigint NOT NULL, at float8 NOT NULL, PRIMARY KEY (bot_id, update_id)
);
CREATE INDEX seen_by_time ON seen USING brin (at);
CREATE TABLE inbox (
    id bigint PRIMARY KEY,
    bot_id bigint NOT NULL, update_id bigint NOT NULL, key text COLLATE "C" NOT NULL, kind text NOT NULL,
    body bytea NOT NULL, checksum bigint NOT NULL, accepted_at float8 NOT NULL,
    attempt int NOT NULL DEFAULT 0, due float8 NOT NULL DEFAULT 0, started_at float8,
    after_gap bool NOT NULL DEFAULT false, suspect bool NOT NULL DEFAULT false,
    crashes int NOT NULL DEFAULT 0, skipped bool NOT NULL DEFAULT false,
    history text[] NOT NULL DEFAULT '{{}}'
);
ALTER TABLE inbox ALTER body SET STORAGE EXTERNAL;
CREATE INDEX inbox_by_bot ON inbox (bot_id, id);
CREATE INDEX inbox_by_key ON inbox (bot_id, key, id);
CREATE TABLE dead (
    id bigint PRIMARY KEY,
    bot_id bigint NOT NULL, update_id bigint NOT NULL, key text COLLATE "C" NOT NULL, kind text NOT NULL,
    body bytea NOT NULL, checksum bigint NOT NULL, accepted_at float8 NOT NULL,
    attempts int NOT NULL, died_at float8 NOT NULL, reason text NOT NULL, history text[] NOT NULL
);
CREATE INDEX dead_by_bot ON dead (bot_id, id);
CREATE INDEX dead_by_time ON dead (died_at);
CREATE TABLE gaps (bot_id bigint NOT NULL, key text COLLATE "C" NOT NULL, PRIMARY KEY (bot_id, key));
CREATE TABLE calls (
    id bigint NOT NULL, key text COLLATE "C" NOT NULL, at float8 NOT NULL, answer bytea,
    repeated bool NOT NULL, PRIMARY KEY (id, key)
);
CREATE TABLE once (
    bot_id bigint NOT NULL, key bytea NOT NULL, at float8 NOT NULL, until float8 NOT NULL,
    PRIMARY KEY (bot_id, key)
);
CREATE INDEX once_by_time ON once (until, bot_id, key);
CREATE TABLE plugin_values (
    plugin text COLLATE "C" NOT NULL, key bytea NOT NULL, value bytea NOT NULL, until float8,
    PRIMARY KEY (plugin, key)
);
CREATE INDEX plugin_values_by_time ON plugin_values (until, plugin, key) WHERE until IS NOT NULL;
CREATE TABLE tally (bot_id bigint PRIMARY KEY, {_COUNTS}) WITH (fillfactor = 50);
CREATE TABLE delta (                     -- what a commit adds to the tallies; added to them each second
    node uuid NOT NULL, batch bigint NOT NULL, bot_id bigint NOT NULL, {_COUNTS}
);
CREATE INDEX delta_by_batch ON delta (node, batch);
""",
    """
CREATE TABLE cluster (                   -- one row: the server's timeline under which bots have owners
    one bool PRIMARY KEY DEFAULT true CHECK (one), timeline text NOT NULL
);
""",
    """
ALTER TABLE bot ADD drained bool NOT NULL DEFAULT true;  -- its last owner gave it back, nothing in flight
CREATE UNLOGGED TABLE request (          -- what a daemon asks another one, for seconds
    id uuid PRIMARY KEY, node uuid NOT NULL, asked bytea NOT NULL, answer bytea,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX request_by_node ON request (node) WHERE answer IS NULL;
""",
    # what asks for an id alone must not be able to use these: where a table was empty when it was analysed,
    # the planner takes reading the whole of such an index for as cheap as looking one row up
    """
DROP INDEX inbox_by_bot, inbox_by_key, dead_by_bot, once_by_time;
CREATE INDEX inbox_by_bot ON inbox (bot_id, id) WHERE bot_id IS NOT NULL;
CREATE INDEX inbox_by_key ON inbox (bot_id, key, id) WHERE key IS NOT NULL;
CREATE INDEX dead_by_bot ON dead (bot_id, id) WHERE bot_id IS NOT NULL;
CREATE INDEX once_by_time ON once (until, bot_id, key) WHERE until IS NOT NULL;
""",
    """
ALTER TABLE version ADD oldest int NOT NULL DEFAULT 0;  -- the oldest version that can use these tables
CREATE INDEX inbox_skipped ON inbox (bot_id) WHERE skipped;
""",
)
"""`STEPS[n]` makes version n + 1 of version n; 0 is an empty database."""

SCHEMA_VERSION = len(STEPS)
OLDEST = 5
"""The oldest version that can use the tables of this one, so that nodes of a cluster are upgraded one by one.

A step that only adds what older versions leave alone does not change it. What they still need is taken away
by a later step, whose version can only be used by those that do without.
"""


def prepare(connection: psycopg.Connection[Any]) -> None:
    """Bring the tables to this version, in one transaction; daemons that start together wait for each other.

    Raises:
        StoreRefusedError: they are a newer version's, or not ours.
        StoreForbiddenError: the role may not make or change them.
        psycopg.Error: the server refused something; nothing has changed.
    """
    version, oldest = _version(connection)
    if oldest <= SCHEMA_VERSION <= version:
        return
    with connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '10s'")
        connection.execute("SET LOCAL statement_timeout = 0")  # that of a lease is too short for an index
        connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (LOCK, MIGRATING))
        version, oldest = _version(connection)
        if oldest > SCHEMA_VERSION:
            message = (
                f"the database has schema {version} of a newer trioworkers, this one knows {SCHEMA_VERSION}:"
                " install the newer one here, too"
            )
            raise StoreRefusedError(message)
        if version >= SCHEMA_VERSION:
            return
        _see_allowed(connection, new=version == 0)
        if version == 0:
            if not _is_there(connection):  # IF NOT EXISTS wants the right to make one, all the same
                connection.execute(f"CREATE SCHEMA {SCHEMA}")
            connection.execute("CREATE TABLE version (number int NOT NULL)")
            connection.execute("INSERT INTO version VALUES (0)")
        for step in STEPS[version:]:
            connection.execute(step, prepare=False)
        connection.execute("UPDATE version SET number = %s, oldest = %s", (SCHEMA_VERSION, OLDEST))


def _version(connection: psycopg.Connection[Any]) -> tuple[int, int]:
    """The version of the tables, and the oldest that can use them; 0 where there are none."""
    # of the catalogue itself: to_regclass answers from a cache, which does not know of what was just made
    table = "SELECT FROM pg_tables WHERE schemaname = %s AND tablename = 'version'"
    if connection.execute(table, (SCHEMA,)).fetchone() is None:
        return 0, 0
    query = "SELECT number, coalesce((to_jsonb(version) ->> 'oldest')::int, number) FROM version"
    number, oldest = connection.execute(query).fetchone() or (0, 0)
    return int(number), int(oldest)


def _is_there(connection: psycopg.Connection[Any]) -> bool:
    return connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", (SCHEMA,)).fetchone() is not None


def _see_allowed(connection: psycopg.Connection[Any], *, new: bool) -> None:
    query = (
        "SELECT current_user, coalesce("
        " (SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = %s),"
        " has_database_privilege(current_database(), 'CREATE'))"
    )
    row = connection.execute(query, (SCHEMA,)).fetchone()
    if row is not None and not row[1]:
        message = (
            f"the role {row[0]} may not {'make' if new else 'change'} the tables, expected one that owns the"
        )
        message += f" schema: CREATE SCHEMA {SCHEMA} AUTHORIZATION {row[0]}"
        raise StoreForbiddenError(message)
