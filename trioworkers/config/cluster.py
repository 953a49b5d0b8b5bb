"""The table `[cluster]`: it makes this daemon one of several that run one fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from trioworkers.config.declare import Table, Text, per_daemon
from trioworkers.config.units import Seconds  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trioworkers.config.checks import Fault
    from trioworkers.config.settings import FleetKeys, StoreSettings

NodeName = Annotated[Text, Field(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")]


class ClusterSettings(Table):
    """What makes a daemon one of several that run one fleet, on one PostgreSQL database."""

    node: NodeName | None = per_daemon(
        None, "this daemon's name; in a table without it, the host's name; without the table: no cluster"
    )
    lease: Seconds = per_daemon(
        "15s", "how soon others run the bots of a daemon that died or is cut off", ge=3, le=600
    )


def cluster_checks(
    keys: FleetKeys | None,
    store: StoreSettings | None,
    cluster: ClusterSettings | None,
) -> Iterator[Fault]:
    """Yields what stands in the way of a cluster; None is a table that is wrong by itself."""
    if cluster is None or cluster.node is None:
        return
    if store is not None and store.url == "sqlite":
        yield ("cluster",), "expected a PostgreSQL server as store.url, postgresql://…, got sqlite"
    if keys is not None and keys.shard.count > 1:
        yield ("fleet", "shard"), "expected no shard beside [cluster], whose nodes divide the bots themselves"
