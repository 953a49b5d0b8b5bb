"""The table `[cluster]`: what it needs, what stands in its way, and what a change of it does."""

from __future__ import annotations

import socket

import pytest

from trioworkers.config import FleetFileError, load_fleet, plan_reload

BOT = '[bots.echo]\ntoken = "1:a"\nhandler = "echo:handle"\n'
STORE = '[store]\nurl = "postgresql://h/d"\n'


def _load(folder, text):
    (folder / "fleet.toml").write_text(text + BOT)
    return load_fleet(folder / "fleet.toml", {})


def _refused(folder, text):
    with pytest.raises(FleetFileError) as refused:
        _load(folder, text)
    return str(refused.value).removeprefix(f"{folder}/")


def test_a_table_alone_makes_a_node_of_the_hosts_name(tmp_path):
    """Without the table there is no cluster."""
    assert _load(tmp_path, STORE).cluster.node is None
    fleet = _load(tmp_path, STORE + "[cluster]\n")
    assert (fleet.cluster.node, fleet.cluster.lease) == (socket.gethostname(), 15.0)
    fleet = _load(tmp_path, STORE + '[cluster]\nnode = "north"\nlease = "1m"\n')
    assert (fleet.cluster.node, fleet.cluster.lease) == ("north", 60.0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '[cluster]\nnode = "a"\n',
            "cluster: expected a PostgreSQL server as store.url, postgresql://…, got sqlite",
        ),
        (
            f'[fleet]\nshard = "0/2"\n{STORE}[cluster]\n',
            "fleet.shard: expected no shard beside [cluster], whose nodes divide the bots themselves",
        ),
        (f"{STORE}[cluster]\nlease = 1\n", "cluster.lease: expected at least 3"),
        (f'{STORE}[cluster]\nlease = "1h"\n', "cluster.lease: expected at most 600"),
        (f'{STORE}[cluster]\nnode = "a b"\n', "cluster.node: expected"),
        (f'{STORE}[cluster]\nnode = ""\n', "cluster.node: expected"),
    ],
)
def test_what_stands_in_its_way_is_told_in_words(tmp_path, text, problem):
    """Each with the key that is wrong."""
    assert problem in _refused(tmp_path, text)


def test_a_daemon_becomes_a_node_or_leaves_only_by_a_restart(tmp_path):
    """A reload keeps the name, the lease, and that there is a cluster; and no shard comes in beside it."""
    alone = _load(tmp_path, STORE)
    node = _load(tmp_path, STORE + '[cluster]\nnode = "a"\n')
    plan = plan_reload(alone, node)
    assert (plan.kept, plan.fleet.cluster.node, plan.is_empty) == (("cluster.node",), None, True)
    sharded = _load(tmp_path, '[fleet]\nshard = "0/2"\n' + STORE)
    plan = plan_reload(node, sharded)
    assert plan.kept == ("cluster.node", "fleet.shard")
    assert (plan.fleet.cluster.node, str(plan.fleet.shard), plan.is_empty) == ("a", "0/1", True)
