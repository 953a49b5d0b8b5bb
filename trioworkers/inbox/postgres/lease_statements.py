"""The statements by which a node keeps its lease, and what a look shows. Each is a transaction of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from trioworkers.inbox.postgres.schema import SCHEMA
from trioworkers.nursery.ownership import Lease, Node, View

if TYPE_CHECKING:
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
    SELECT bot_id FROM bot WHERE bot_id = ANY(%s) AND owner IS NULL
    ORDER BY bot_id FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE bot SET owner = %s, epoch = epoch + 1 FROM free WHERE bot.bot_id = free.bot_id
RETURNING bot.bot_id, epoch
"""
RELEASE = """
UPDATE bot SET owner = NULL FROM unnest(%s::bigint[], %s::bigint[]) AS given (bot_id, epoch)
WHERE bot.bot_id = given.bot_id AND bot.epoch = given.epoch AND owner = %s
"""
TELL = f"SELECT pg_notify('{CHANNEL}', '')"
TELL_ONE = "SELECT pg_notify(%s, %s)"
EVICT_NAME = "DELETE FROM node WHERE name = %s RETURNING id"
DRAIN = "UPDATE node SET about = about || jsonb_build_object('drains', %s::bool) WHERE name = %s RETURNING id"
PIN = "UPDATE bot SET pinned = %s WHERE bot_id = %s RETURNING bot_id"
REMOVE = "DELETE FROM node WHERE id = %s"
ABOUT = "UPDATE node SET about = about || %s::jsonb WHERE id = %s"


def told_to(life: UUID | str) -> str:
    """The channel on which one life of a node is told something."""
    return f"trioworkers_{life}"


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
