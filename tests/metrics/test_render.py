"""The text of the metrics: valid as Prometheus judges it, bounded, alike in each format, documented."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any

import pytest
from documents import code, rows
from prometheus import promtool
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from trioworkers_plugins.metrics import shipped
from trioworkers_plugins.metrics.families import METRICS, View
from trioworkers_plugins.metrics.render import compressed, make_process_collector, render, sizes

from trioworkers.figures import EXITS, BotFigures, ClusterFigures, Figures, FleetFigures, ReloadFigures
from trioworkers.transport.deliveries import REASONS

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
TEXT = "text/plain;version=0.0.4"
MOST_OF_A_BOT = 15
WHOLE: dict[str, Any] = {
    "bot": "shop",
    "state": "running",
    "accepted": 10,
    "handled": 5,
    "dropped": 1,
    "retried": 2,
    "dead": 1,
    "expired": 0,
    "ready": 1,
    "in_flight": 1,
    "retry": 1,
    "dead_letters": 1,
    "oldest_at": 990.0,
    "restarts": 3,
    "memory": 5_000_000,
    "heartbeat_age": 1.5,
}


def bot(**fields: Any) -> BotFigures:
    return BotFigures(**(WHOLE | fields))


def view(*bots: BotFigures) -> View:
    figures = Figures()
    figures.handling.observe(0.003)
    figures.calls.count("sendMessage", "ok", 4)
    figures.calls.count("sendMessage", "rate_limited")
    snapshot = FleetFigures(
        at=1000.0,
        version="0.1.0",
        started_at=900.0,
        bots=bots,
        handling=figures.handling.taken(),
        end_to_end=figures.end_to_end.taken(),
        lag=figures.lag.taken(),
        loop=figures.loop.taken(),
        commit_seconds=figures.commits.seconds.taken(),
        commit_operations=figures.commits.operations.taken(),
        commits_failed=0,
        requests=tuple((*key, times) for key, times in figures.calls.requests.items()),
        waited=1.5,
        exits=dict.fromkeys(EXITS, 0),
        deliveries=dict.fromkeys((200, *REASONS), 0),
        reloads=ReloadFigures(1, 0, True, 950.0, 0.2),
        workers=1,
        most_workers=40,
        cluster=ClusterFigures(
            {"running": 2, "draining": 0, "silent": 1}, 7, {"acquired": 9, "evicted": 1}, 8.5
        ),
    )
    row = {"calls": 5, "failures": 1, "seconds": 0.5, "missed_events": 2}
    plugins = [{"name": "dedup", "state": "active", **row}, {"name": "trace", "state": "off", **row}]
    return View(snapshot, plugins, {"database": 4096, "wal": 0})


def text_of(shown: View, accept: str = TEXT) -> str:
    body, _ = render(shown, make_process_collector(), accept)
    return str(body, "utf-8")


def test_promtool_has_nothing_to_say():
    """Names, units and help as Prometheus's own linter wants them; what it is given is valid."""
    assert promtool("check", "metrics", text=text_of(view(bot(), bot(bot="quiz")))) == ""


def test_every_name_is_ours():
    """All of them begin with our name, so that none collides with another program's."""
    names = {family.name for family in read_text(text_of(view(bot())))}
    assert [name for name in names if not name.startswith("trioworkers_")] == []


def test_both_formats_say_the_same():
    """The lines that are written here are as right in OpenMetrics as in the older format."""
    shown = view(bot(bot='a"b\\c\nd'), bot(bot="quiz", memory=None, heartbeat_age=None, oldest_at=None))

    def samples(families: Any) -> dict[tuple[str, ...], float]:
        return {
            (sample.name, *map(str, sorted(sample.labels.items()))): sample.value
            for family in families
            if "_process_" not in family.name
            for sample in family.samples
        }

    older = samples(read_text(text_of(shown)))
    assert older == samples(read_openmetrics(text_of(shown, OPENMETRICS)))
    assert sum('a\\"b' in str(key) or 'a"b' in str(key) for key in older) == MOST_OF_A_BOT


def test_a_bot_has_at_most_fifteen_series():
    """A thousand bots are 15,000 series, whatever they do."""
    few, more = text_of(view(bot())), text_of(view(bot(), bot(bot="quiz")))
    lines = [line for line in more.splitlines() if not line.startswith("#")]
    of_bot = [line for line in lines if 'bot="quiz"' in line]
    assert len(of_bot) == MOST_OF_A_BOT
    assert len(lines) - len([line for line in few.splitlines() if not line.startswith("#")]) == MOST_OF_A_BOT


def test_a_bot_without_a_worker_has_no_figures_of_one():
    """Nothing is shown that is not known; and nothing of a bot that is gone."""
    text = text_of(view(bot(memory=None, heartbeat_age=None, state="sleeping")))
    assert 'worker_memory_bytes{bot="shop"}' not in text
    assert 'worker_heartbeat_age_seconds{bot="shop"}' not in text
    assert 'trioworkers_bot_state{bot="shop",state="sleeping"} 1' in text
    assert "shop" not in text_of(view())


def test_the_age_of_the_oldest_is_never_negative():
    """A clock that was set back must not give a time from the future."""
    text = text_of(view(bot(oldest_at=2000.0)))
    assert 'trioworkers_queue_oldest_age_seconds{bot="shop"} 0.0' in text


def test_buckets_are_cumulative_and_end_in_infinity():
    """As Prometheus demands it; the count is that of the last bucket."""
    lines = [line for line in text_of(view()).splitlines() if line.startswith("trioworkers_handling_seconds")]
    counts = [float(line.rpartition(" ")[2]) for line in lines if "_bucket" in line]
    assert counts == sorted(counts)
    assert 'trioworkers_handling_seconds_bucket{le="0.0025"} 0.0' in lines
    assert 'trioworkers_handling_seconds_bucket{le="0.005"} 1.0' in lines
    assert 'trioworkers_handling_seconds_bucket{le="+Inf"} 1.0' in lines
    assert "trioworkers_handling_seconds_count 1.0" in lines


def test_what_is_compressed_is_the_same():
    """In gzip for whoever takes it, else as it is."""
    assert gzip.decompress(compressed(b"text", "deflate, gzip;q=0.8") or b"") == b"text"
    assert compressed(b"text", "deflate") is None


def test_the_sizes_of_files_that_are_not_there_are_missing(tmp_path):
    """A store without a journal, or without a file, has nothing to show."""
    (tmp_path / "inbox.db").write_bytes(b"1234")
    assert sizes(tmp_path / "inbox.db") == {"database": 4}
    assert sizes(None) == {}


def described() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Every metric that is shown, by the name that a query has: its type and its labels."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for family in read_text(text_of(view(bot()))):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[name] = family.type, tuple(sorted(labels))
    return found


def test_the_table_of_metrics_is_that_of_the_code():
    """Each metric with its type and labels, and no others."""
    documented = {
        code(name)[0]: (kind, tuple(sorted(code(labels))))
        for name, kind, labels, _ in rows("metrics.md", "metrics")
    }
    assert documented == described()


def test_the_documented_meanings_are_those_of_the_code():
    """What a table says is what `# HELP` says."""
    documented = {code(row[0])[0]: row[3] for row in rows("metrics.md", "metrics")}
    for metric in METRICS:
        assert documented[metric.name] == metric.meaning, metric.name


def test_every_metric_is_in_a_panel_or_a_rule():
    """What nobody looks at need not be counted."""
    seen = shipped("dashboard") + shipped("rules")
    names = set(re.findall(r"trioworkers_\w+", seen))
    bases = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}
    assert [name for name in described() if name not in names | bases] == []
    assert [name for name in bases if name not in described()] == []


def test_the_dashboard_is_whole():
    """Each panel has a place of its own, a title, and a data source that is chosen in Grafana."""
    dashboard = json.loads(shipped("dashboard"))
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert len({panel["title"] for panel in panels}) == len(panels)
    places = [
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) == 23
    for panel in panels:
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}


@pytest.mark.parametrize("name", ["dashboard", "rules"])
def test_what_ships_holds_no_address(name):
    """Neither loads anything from another host."""
    assert "://" not in shipped(name)
