"""Where the time of takeovers went, from the nodes' logs and what Telegram saw."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from soaking.cluster_reckoning import Absence
from soaking.cluster_stages import happened, stages

if TYPE_CHECKING:
    from pathlib import Path

WALL = 1_000_000_000.0


def test_each_stage_counts_from_the_moment_at_which_the_node_was_gone(tmp_path: Path) -> None:
    """What happened before it does not count, nor does a worker that is started when it is wanted."""
    lines = [
        {"event": "lease.acquired", "at": "2001-09-09T01:46:41Z", "bot": "one", "epoch": 1},
        {"event": "node.evicted", "at": "2001-09-09T01:47:02Z", "node": "a"},
        {"event": "lease.acquired", "at": "2001-09-09T01:47:03Z", "bot": "one", "epoch": 2},
        {"event": "lease.acquired", "at": "2001-09-09T01:47:05Z", "bot": "two", "epoch": 2},
        {"event": "worker.ready", "at": "2001-09-09T01:47:05Z", "bot": "one", "pid": 7},
        {"event": "worker.ready", "at": "2001-09-09T01:48:05Z", "bot": "two", "pid": 8},
    ]
    log = tmp_path / "log"
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    turns: dict[int, list[list[Any]]] = {
        bot: [["a/0", 0.0, 9.0, 10.0], ["b/0", 14.0 + bot, 30.0, None]] for bot in (1, 2)
    }
    absences = [Absence("a/0", "kill", 10.0, 10.0, [1, 2]), Absence("b/0", "kill", 0.0, 0.0, [], True)]
    assert stages(absences, turns, happened([log]), {1: "one", 2: "two"}, {"one"}, WALL) == {
        "evicted": "12.0 and 12.0",
        "claimed and prepared": "14.0 and 15.0",
        "first poll": "5.5 and 6.0",
        "worker ready": "15.0 and 15.0",
    }
