"""A node of a cluster on the overview: which one it is, and what is the matter with others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cluster_scene import Cluster, cluster_of
from playwright.sync_api import expect
from postgres_server import needs_postgres, postgres_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dashboard_browser import Screen


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    needs_postgres()
    with cluster_of(tmp_path, postgres_server(), 2) as cluster:
        yield cluster


def test_a_person_sees_the_nodes(cluster: Cluster, open_dashboard: Callable[..., Screen]) -> None:
    """How many there are, that one drains, and that it does no more."""
    cluster.start("a", "b")
    cluster.settle("a", "b")
    page = open_dashboard(cluster.nodes["a"]).page
    expect(page.get_by_text("node a of 2")).to_be_visible()
    cluster.nodes["a"].command("nodes", "drain", "b")
    expect(page.get_by_text("Node b drains")).to_be_visible()
    cluster.nodes["a"].command("nodes", "drain", "b", "--undo")
    expect(page.get_by_text("Node b drains")).to_have_count(0)
