"""The statements of a commit. Each takes as many rows as there are, as columns (:mod:`.arrays`).

Rows are looked up by `= ANY`, or in a subquery of their own (`OFFSET 0`), never by joining a large table: its
statistics may be of a time when it was empty, and the planner would read all of it for each commit.
"""

from __future__ import annotations

from trioworkers.inbox.postgres.schema import COUNTS
from trioworkers.inbox.rules import MOST_LOGGED
from trioworkers.records import ANY_CALL

# claims the number of this commit, and locks the row of this life, or fails where that has ended
FENCE = "INSERT INTO mark (node, batch) VALUES (%b::uuid, %b::int8)"
HEADS = "INSERT INTO head SELECT unnest(%b::int8[]) ON CONFLICT DO NOTHING"
# ids of a bot become visible in their order: without it a reader passed over 1,655 of 80,664 updates
LOCK = "SELECT FROM head WHERE bot_id = ANY(%b::int8[]) ORDER BY bot_id FOR NO KEY UPDATE"
BEHIND = (
    "SELECT given.bot_id FROM unnest(%b::int8[], %b::int8[]) AS given (bot_id, last),"
    " LATERAL (SELECT FROM inbox WHERE inbox.bot_id = given.bot_id AND id > last LIMIT 1) AS found"
)
COUNT = (
    f"INSERT INTO delta (node, batch, bot_id, {', '.join(COUNTS)}) SELECT %b::uuid, %b::int8, *"
    f" FROM unnest({', '.join(['%b::int8[]'] * (1 + len(COUNTS)))})"
)
KNOWN = (
    "SELECT asked.bot_id, asked.update_id FROM unnest(%b::int8[], %b::int8[]) AS asked (bot_id, update_id),"
    " LATERAL (SELECT FROM seen WHERE seen.bot_id = asked.bot_id AND seen.update_id = asked.update_id"
    " OFFSET 0) AS found"
)
RECORDED = (
    "SELECT asked.id, asked.key FROM unnest(%b::int8[], %b::text[]) AS asked (id, key),"
    " LATERAL (SELECT FROM calls WHERE calls.id = asked.id AND calls.key = asked.key OFFSET 0) AS found"
)
SEEN = "INSERT INTO seen (bot_id, update_id, at) SELECT * FROM unnest(%b::int8[], %b::int8[], %b::float8[])"
COMMITTED = (
    "SELECT asked.bot_id, asked.key, at, until FROM unnest(%b::int8[], %b::bytea[]) AS asked (bot_id, key),"
    " LATERAL (SELECT at, until FROM once WHERE once.bot_id = asked.bot_id AND once.key = asked.key OFFSET 0)"
    " AS found"
)
ONCE = (
    "INSERT INTO once (bot_id, key, at, until) SELECT *"
    " FROM unnest(%b::int8[], %b::bytea[], %b::float8[], %b::float8[])"
)
ONCE_AGAIN = f"{ONCE} ON CONFLICT (bot_id, key) DO UPDATE SET at = excluded.at, until = excluded.until"
# `first`: of its key in this commit. What follows a gap closes it
KEEP = """
WITH came AS (
    SELECT * FROM unnest(%b::int8[], %b::int8[], %b::text[], %b::text[], %b::bytea[], %b::int8[],
        %b::float8[], %b::bool[])
    AS c (bot_id, update_id, key, kind, body, checksum, at, first)
), closed AS (
    DELETE FROM gaps USING came WHERE first AND gaps.bot_id = came.bot_id AND gaps.key = came.key
        AND gaps.bot_id = ANY(ARRAY(SELECT bot_id FROM came WHERE first))
    RETURNING gaps.bot_id, gaps.key
)
INSERT INTO inbox (id, bot_id, update_id, key, kind, body, checksum, accepted_at, after_gap)
SELECT nextval('inbox_id'), bot_id, update_id, key, kind, body, checksum, at,
    first AND EXISTS (SELECT FROM closed WHERE closed.bot_id = came.bot_id AND closed.key = came.key)
FROM came RETURNING id, after_gap
"""
FINISH = """
WITH ends AS MATERIALIZED (
    SELECT * FROM unnest(%b::int8[], %b::int8[]) AS e (id, outcome)
), gone AS (
    DELETE FROM inbox WHERE id = ANY(ARRAY(SELECT id FROM ends)) RETURNING id, bot_id
), forgotten AS (
    DELETE FROM calls WHERE id = ANY(ARRAY(SELECT id FROM gone))
), counted AS (
    INSERT INTO delta (node, batch, bot_id, done, dropped, expired)
    SELECT %b::uuid, %b::int8, bot_id, count(*) FILTER (WHERE outcome = 0),
        count(*) FILTER (WHERE outcome = 1), count(*) FILTER (WHERE outcome = 2)
    FROM gone JOIN ends USING (id) GROUP BY bot_id
)
SELECT id FROM gone
"""
_LOG = (
    "CASE WHEN %(failure)s::text IS NULL THEN history"
    f" ELSE history[1:{MOST_LOGGED - 1}] || %(failure)s::text END"
)
# the next one of the key that is not skipped, or the gap is left open for one that comes
_LEAVE = """
, following AS (
    SELECT bot_id, key, (
        SELECT min(id) FROM inbox
        WHERE inbox.bot_id = {left}.bot_id AND inbox.key = {left}.key AND id > {left}.id AND NOT skipped
    ) AS id
    FROM {left} WHERE {leaves} AND NOT {left}.skipped AND {left}.key <> ''
), marked AS (
    UPDATE inbox SET after_gap = true WHERE id = ANY(ARRAY(SELECT id FROM following))
)
INSERT INTO gaps (bot_id, key) SELECT bot_id, key FROM following WHERE id IS NULL ON CONFLICT DO NOTHING
"""
RESCHEDULE = f"""
WITH before AS (
    SELECT id, bot_id, key, skipped FROM inbox
    WHERE id = %(id)s::int8 AND (attempt, due, started_at, suspect, crashes, skipped) IS DISTINCT FROM (
        %(attempt)s::int, %(due)s::float8, %(started_at)s::float8, %(suspect)s::bool, %(crashes)s::int,
        %(skipped)s::bool
    )
), changed AS (
    UPDATE inbox SET attempt = %(attempt)s, due = %(due)s, started_at = %(started_at)s, suspect = %(suspect)s,
        crashes = %(crashes)s, skipped = %(skipped)s, history = {_LOG}
    WHERE id = ANY(ARRAY(SELECT id FROM before)) RETURNING bot_id
), counted AS (
    INSERT INTO delta (node, batch, bot_id, retried)
    SELECT %(node)s::uuid, %(batch)s::int8, bot_id, 1 FROM changed
) {_LEAVE.format(left="before", leaves="%(skipped)s::bool")}
"""
MOVE_TO_DEAD = f"""
WITH gone AS (
    DELETE FROM inbox WHERE id = %(id)s::int8 RETURNING *
), letter AS (
    INSERT INTO dead (id, bot_id, update_id, key, kind, body, checksum, accepted_at, attempts, died_at,
        reason, history)
    SELECT id, bot_id, update_id, key, kind, body, checksum, accepted_at, %(attempts)s::int, %(at)s::float8,
        %(reason)s::text, {_LOG} FROM gone
), counted AS (
    INSERT INTO delta (node, batch, bot_id, dead) SELECT %(node)s::uuid, %(batch)s::int8, bot_id, 1 FROM gone
) {_LEAVE.format(left="gone", leaves="true")}
"""
# what is begun again may have been made twice; of what does not wait nothing is changed
RECORD = f"""
INSERT INTO calls (id, key, at, answer, repeated)
SELECT i, k, came.at, came.answer,
    begun > 1 OR (begun > 0 AND EXISTS (
        SELECT FROM calls WHERE calls.id = i AND calls.key IN (k, '{ANY_CALL}') OFFSET 0
    ))
FROM unnest(%b::int8[], %b::text[], %b::float8[], %b::bytea[], %b::int8[]) AS came (i, k, at, answer, begun),
    LATERAL (SELECT FROM inbox WHERE inbox.id = i OFFSET 0) AS waiting
ON CONFLICT (id, key) DO UPDATE
SET answer = coalesce(excluded.answer, calls.answer), repeated = calls.repeated OR excluded.repeated
"""
_OF_WAITING = "id = %b::int8 AND key = %b::text AND EXISTS (SELECT FROM inbox WHERE inbox.id = calls.id)"
NOT_MADE = f"DELETE FROM calls WHERE {_OF_WAITING} AND answer IS NULL AND NOT repeated"
BEGUN_AGAIN = f"UPDATE calls SET repeated = true WHERE {_OF_WAITING}"
REPLAY = """
WITH gone AS (
    DELETE FROM dead WHERE id = %(id)s::int8 RETURNING *
), closed AS (
    DELETE FROM gaps WHERE bot_id = (SELECT bot_id FROM gone) AND key = (SELECT key FROM gone) RETURNING 1
), new AS (
    INSERT INTO inbox (id, bot_id, update_id, key, kind, body, checksum, accepted_at, after_gap, history)
    SELECT nextval('inbox_id'), bot_id, update_id, key, kind, body, checksum, accepted_at,
        EXISTS (SELECT FROM closed), history
    FROM gone RETURNING id, after_gap
), moved AS (
    UPDATE calls SET id = new.id FROM new WHERE calls.id = %(id)s::int8
), counted AS (
    INSERT INTO delta (node, batch, bot_id, dead) SELECT %(node)s::uuid, %(batch)s::int8, bot_id, -1 FROM gone
)
SELECT id, after_gap FROM new
"""
PURGE = """
WITH gone AS (
    DELETE FROM dead WHERE id = %(id)s::int8 RETURNING bot_id
), forgotten AS (
    DELETE FROM calls WHERE id = %(id)s::int8 AND EXISTS (SELECT FROM gone)
), counted AS (
    INSERT INTO delta (node, batch, bot_id, dead, purged)
    SELECT %(node)s::uuid, %(batch)s::int8, bot_id, -1, 1 FROM gone
)
SELECT 1 FROM gone
"""
VALUES = (
    "SELECT asked.p, asked.k, value, until FROM unnest(%b::text[], %b::bytea[]) AS asked (p, k),"
    " LATERAL (SELECT value, until FROM plugin_values WHERE plugin = asked.p AND key = asked.k OFFSET 0)"
    " AS found"
)
# Other nodes write values, too. So in a cluster a commit that reads or removes values locks all their rows
# first, and all nodes lock in the same order. A row that is missing is made first, so that there is one to
# lock: it is born expired, and upkeep removes it
MAKE_VALUES = (
    "INSERT INTO plugin_values (plugin, key, value, until)"
    " SELECT p, k, '', 0 FROM unnest(%b::text[], %b::bytea[]) AS given (p, k) ON CONFLICT DO NOTHING"
)
LOCK_VALUES = (
    "SELECT FROM unnest(%b::text[], %b::bytea[]) AS asked (p, k),"
    " LATERAL (SELECT FROM plugin_values WHERE plugin = asked.p AND key = asked.k OFFSET 0 FOR UPDATE)"
    " AS held"
)
PUT = (
    "INSERT INTO plugin_values (plugin, key, value, until)"
    " SELECT p, k, v, NULLIF(u, 'Infinity') FROM unnest(%b::text[], %b::bytea[], %b::bytea[], %b::float8[])"
    " AS given (p, k, v, u)"
    " ON CONFLICT (plugin, key) DO UPDATE SET value = excluded.value, until = excluded.until"
)
REMOVE = (
    "DELETE FROM plugin_values USING unnest(%b::text[], %b::bytea[]) AS given (p, k)"
    " WHERE plugin = p AND key = k"
)
_ADDED = ", ".join(f"{name} = tally.{name} + excluded.{name}" for name in COUNTS)
_OF_COMMITS = "node = %b::uuid AND batch > %b::int8 AND batch <= %b::int8"
FOLD = (
    f"WITH folded AS (DELETE FROM delta WHERE {_OF_COMMITS} RETURNING *)"
    f" INSERT INTO tally (bot_id, {', '.join(COUNTS)})"
    f" SELECT bot_id, {', '.join(f'sum({name})' for name in COUNTS)} FROM folded"
    " GROUP BY bot_id ORDER BY bot_id"
    f" ON CONFLICT (bot_id) DO UPDATE SET {_ADDED}"
)
FOLD_OLD = FOLD.replace(_OF_COMMITS, "node NOT IN (SELECT id FROM node)")
FORGET_MARKS = f"DELETE FROM mark WHERE {_OF_COMMITS}"
