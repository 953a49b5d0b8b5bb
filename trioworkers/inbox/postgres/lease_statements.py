"""The statements by which a node keeps its lease, and what a look shows. Each is a transaction of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import psycopg

from trioworkers.inbox.postgres.schema import SCHEMA
from trioworkers.nursery.ownership import Lease, Node, View
from trioworkers.records import ANY_CALL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

CHANNEL = "trioworkers_leases"  # a bot has become free, or is to move
TOLD = "trioworkers_told"  # what one node tells all others
TIMELINE = "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"
ENTER = f"""
SET search_path = {SCHEMA}; SET jit = off;
SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') IN ('off', 'local')
"""
JOIN = "INSERT INTO node (id, name, ttl, about) VALUES (%s, %s, %s, %s)"
GRANT_FIRST = f"INSERT INTO cluster (timeline) VALUES ({TIMELINE}) ON CONFLICT DO NOTHING"
# After a failover the standby may not know the last ids that were given, and none may be given twice. A node
# joins, and so does this, before it accepts anything
SKIP_IDS = (
    "SELECT setval('inbox_id', last_value + 1000000) FROM inbox_id"
    " WHERE EXISTS (SELECT FROM cluster WHERE timeline <> %s)"
)
GRANT = f"UPDATE cluster SET timeline = {TIMELINE} WHERE timeline = %s AND {TIMELINE} = %s"
RENEW = "UPDATE node SET beat = beat + 1, seen = now() WHERE id = %s RETURNING beat"
LOOK = f"""
SELECT {TIMELINE}, (SELECT timeline FROM cluster),
    (SELECT coalesce(json_agg(json_build_array(id, name, beat, ttl, about)), '[]') FROM node)::text,
    (SELECT coalesce(json_agg(json_build_array(bot_id, owner, epoch, pinned)), '[]') FROM bot)::text
"""  # one statement, so that it is one snapshot
EVICT = "DELETE FROM node WHERE id = %s AND beat = %s RETURNING name"
END_PROCESSES = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE %s"
REGISTER = "INSERT INTO bot (bot_id) SELECT unnest(%s::bigint[]) ON CONFLICT DO NOTHING"
CLAIM = """
WITH free AS (
    SELECT bot_id, drained FROM bot WHERE bot_id = ANY(%s::bigint[]) AND owner IS NULL
    ORDER BY bot_id FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE bot SET owner = %s, epoch = epoch + 1, drained = false FROM free WHERE bot.bot_id = free.bot_id
RETURNING bot.bot_id, epoch, free.drained
"""
# In flight can only have been the first of each key, since the next one goes out after the commit of its end;
# what has left its lane or has no key; and any of bots that handle a key side by side. Each lane costs two
# looks into an index, however long it is. Of what has no lane, a node has the first thousands in memory.
MOST_CLAIMED = 1_000_000  # bots at a time
MOST_LANES, MOST_OTHERS = 20_000, 5_000  # of a bot
DOUBT = f"""
WITH RECURSIVE lane (bot_id, key, number) AS (
    SELECT bot_id, (
        SELECT key FROM inbox WHERE inbox.bot_id = given.bot_id AND key > '' ORDER BY key LIMIT 1
    ), 1 FROM unnest(%(bots)s::bigint[]) AS given (bot_id)
    UNION ALL
    SELECT bot_id, (
        SELECT key FROM inbox WHERE inbox.bot_id = lane.bot_id AND key > lane.key ORDER BY key LIMIT 1
    ), number + 1 FROM lane WHERE key IS NOT NULL AND number < {MOST_LANES}
), doubtful (id) AS (
    SELECT (
        SELECT id FROM inbox WHERE bot_id = lane.bot_id AND key = lane.key AND NOT skipped ORDER BY id LIMIT 1
    ) FROM lane WHERE key IS NOT NULL
    UNION SELECT id FROM inbox WHERE bot_id = ANY(%(bots)s::bigint[]) AND skipped
    UNION SELECT first.id FROM unnest(%(bots)s::bigint[]) AS given (bot_id), LATERAL (
        SELECT id FROM inbox WHERE inbox.bot_id = given.bot_id AND key = '' ORDER BY id LIMIT {MOST_OTHERS}
    ) AS first
    UNION SELECT first.id FROM (
        SELECT unnest(%(unordered)s::bigint[]) UNION SELECT bot_id FROM lane WHERE number = {MOST_LANES}
    ) AS given (bot_id), LATERAL (
        SELECT id FROM inbox WHERE inbox.bot_id = given.bot_id ORDER BY id LIMIT {MOST_OTHERS}
    ) AS first
)
INSERT INTO calls (id, key, at, repeated)
SELECT id, '{ANY_CALL}', extract(epoch FROM now()), false FROM doubtful WHERE id IS NOT NULL
ON CONFLICT DO NOTHING
"""
RELEASE = """
UPDATE bot SET owner = NULL, drained = true FROM unnest(%s::bigint[], %s::bigint[]) AS given (bot_id, epoch)
WHERE bot.bot_id = given.bot_id AND bot.epoch = given.epoch AND owner = %s
"""
TELL = f"SELECT pg_notify('{CHANNEL}', '')"
TELL_ONE = "SELECT pg_notify(%s, %s)"
DRAIN = "UPDATE node SET about = about || jsonb_build_object('drains', %s::bool) WHERE name = %s RETURNING id"
PIN = "UPDATE bot SET pinned = %s WHERE bot_id = %s RETURNING bot_id"
REMOVE = "DELETE FROM node WHERE id = %s"
ABOUT = "UPDATE node SET about = about || %s::jsonb WHERE id = %s"


def told_to(life: UUID | str) -> str:
    """The channel on which one life of a node is told something."""
    return f"trioworkers_{life}"


def claim(
    connection: psycopg.Connection[Any], bot_ids: Iterable[int], life: UUID, unordered: Iterable[int] = ()
) -> dict[int, int]:
    """Make those of these bots that are free this life's own; return their epochs, by bot id.

    A bot whose last owner did not give it back may have had updates in flight there, and nobody knows which
    calls were made for them. In the same transaction, each of them gets a record that says so.

    Args:
        connection: in no transaction.
        bot_ids: the bots.
        life: of this node.
        unordered: those that handle updates of one key side by side.

    Raises:
        psycopg.Error: none was claimed, or the connection was lost, and they may have been.
    """
    with connection.transaction():
        rows = connection.execute(CLAIM, (sorted(bot_ids), life)).fetchall()
        if doubtful := {bot_id for bot_id, _, drained in rows if not drained}:
            connection.execute("SET LOCAL enable_seqscan = off")
            lists = {"bots": sorted(doubtful), "unordered": sorted(doubtful & {*unordered})}
            connection.execute(DOUBT, lists)
    return {bot_id: epoch for bot_id, epoch, _ in rows}


class Claims:
    """Claims as many bots at a time as the server manages in the time that it has for a statement.

    So much may wait that it is too slow for all of them. Each try is a call of its own, as the lease has to
    be renewed between two of them.
    """

    def __init__(self) -> None:
        self._most = MOST_CLAIMED

    def claim(
        self,
        connection: psycopg.Connection[Any],
        bot_ids: Sequence[int],
        life: UUID,
        unordered: Iterable[int] = (),
    ) -> dict[int, int]:
        """As :func:`claim`, of the first of these bots; none, where fewer are to be tried next."""
        chosen = bot_ids[: self._most]
        try:
            epochs = claim(connection, chosen, life, unordered)
        except psycopg.errors.QueryCanceled:
            if len(chosen) == 1:
                raise
            self._most = len(chosen) // 2
            return {}
        self._most = min(2 * self._most, MOST_CLAIMED)
        return epochs


def read_view(row: Any) -> View:
    """What a row of `LOOK` shows."""
    timeline, granted, nodes, bots = row
    return View(
        nodes=[
            Node(life, name, beat, ttl, about.pop("fleet", ""), bool(about.pop("drains", False)), about)
            for life, name, beat, ttl, about in msgspec.json.decode(nodes)
        ],
        leases={bot: Lease(owner, epoch, pinned) for bot, owner, epoch, pinned in msgspec.json.decode(bots)},
        timeline=timeline,
        granted=granted or timeline,
    )
