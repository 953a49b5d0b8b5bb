"""The alert rules as promtool judges them: valid, silent over a healthy fleet, each fires for its trouble."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest
from documents import ROOT, anchors
from prometheus import promtool
from trioworkers_plugins import metrics

RULES = Path(str(metrics.__file__)).with_name("alerts.yml")
NAMES = re.findall(r"- alert: (\w+)", metrics.shipped("rules"))

HEALTHY = {
    'up{job="trioworkers",instance="a"}': "1+0x120",
    'trioworkers_daemon_start_time_seconds{instance="a"}': "1000+0x120",
    'trioworkers_bot_state{instance="a",bot="shop",state="running"}': "1+0x120",
    'trioworkers_worker_restarts_total{instance="a",bot="shop"}': "7+0x120",
    'trioworkers_api_requests_total{instance="a",method="getUpdates",result="conflict"}': "3+0x120",
    'trioworkers_api_requests_total{instance="a",method="sendMessage",result="ok"}': "0+600x120",
    'trioworkers_api_requests_total{instance="a",method="sendMessage",result="failed"}': "0+6x120",
    'trioworkers_updates_dead_total{instance="a",bot="shop"}': "4+0x120",
    'trioworkers_queue_oldest_age_seconds{instance="a",bot="shop"}': "1+0x120",
    'trioworkers_store_commit_failures_total{instance="a"}': "2+0x120",
    'trioworkers_store_commit_seconds_bucket{instance="a",le="0.25"}': "0+600x120",
    'trioworkers_store_commit_seconds_bucket{instance="a",le="1.0"}': "0+600x120",
    'trioworkers_store_commit_seconds_bucket{instance="a",le="+Inf"}': "0+600x120",
    'trioworkers_reload_last_successful{instance="a"}': "1+0x120",
    'trioworkers_worker_exits_total{instance="a",cause="recycled"}': "0+0.1x120",
    'trioworkers_worker_exits_total{instance="a",cause="hung"}': "1+0x120",
    'trioworkers_worker_exits_total{instance="a",cause="oom"}': "1+0x120",
    'trioworkers_worker_heartbeat_age_seconds{instance="a",bot="shop"}': "30+0x120",
    'trioworkers_worker_slots_taken{instance="a"}': "39+0x120",
    'trioworkers_worker_slots{instance="a"}': "40+0x120",
    'trioworkers_daemon_loop_lag_seconds_bucket{instance="a",le="0.1"}': "0+120x120",
    'trioworkers_daemon_loop_lag_seconds_bucket{instance="a",le="0.5"}': "0+120x120",
    'trioworkers_daemon_loop_lag_seconds_bucket{instance="a",le="+Inf"}': "0+120x120",
    'trioworkers_api_rate_limit_wait_seconds_total{instance="a"}': "0+6x120",
    'trioworkers_webhook_deliveries_total{instance="a",status="200"}': "0+600x120",
    'trioworkers_webhook_deliveries_total{instance="a",status="401"}': "0+1x120",
    'trioworkers_cluster_lease_seconds{instance="a"}': "9+0x120",
    'trioworkers_cluster_changes_total{instance="a",change="evicted"}': "1+0x120",
    'trioworkers_plugin_disabled{instance="a",plugin="dedup"}': "0+0x120",
}
"""A healthy fleet, in steps of a minute: it had troubles once, and has a few now and then."""

A, BOT = 'instance="a"', 'instance="a",bot="shop"'
TROUBLES: dict[str, tuple[dict[str, str], str]] = {
    "TrioworkersDown": ({'up{job="trioworkers",instance="a"}': "0+0x120"}, A),
    "DaemonRestartsOften": ({'trioworkers_daemon_start_time_seconds{instance="a"}': "1000+300x120"}, A),
    "BotFailed": ({'trioworkers_bot_state{instance="a",bot="shop",state="failed"}': "1+0x120"}, BOT),
    "WorkerRestartsOften": ({'trioworkers_worker_restarts_total{instance="a",bot="shop"}': "0+1x120"}, BOT),
    "AnotherPoller": (
        {'trioworkers_api_requests_total{instance="a",method="getUpdates",result="conflict"}': "0+4x120"},
        A,
    ),
    "DeadLettersGrow": ({'trioworkers_updates_dead_total{instance="a",bot="shop"}': "0+1x120"}, BOT),
    "UpdatesWait": ({'trioworkers_queue_oldest_age_seconds{instance="a",bot="shop"}': "0+60x120"}, BOT),
    "StoreFails": ({'trioworkers_store_commit_failures_total{instance="a"}': "0+1x120"}, A),
    "StoreSlow": ({'trioworkers_store_commit_seconds_bucket{instance="a",le="0.25"}': "0+300x120"}, A),
    "ReloadRefused": ({'trioworkers_reload_last_successful{instance="a"}': "0+0x120"}, A),
    "WorkersRecycledOften": (
        {'trioworkers_worker_exits_total{instance="a",cause="recycled"}': "0+1x120"},
        A,
    ),
    "WorkersHang": ({'trioworkers_worker_exits_total{instance="a",cause="hung"}': "0+1x120"}, A),
    "OutOfMemory": ({'trioworkers_worker_exits_total{instance="a",cause="oom"}': "0+1x120"}, A),
    "WorkerSilent": (
        {'trioworkers_worker_heartbeat_age_seconds{instance="a",bot="shop"}': "0+60x120"},
        BOT,
    ),
    "SlotsTaken": ({'trioworkers_worker_slots_taken{instance="a"}': "40+0x120"}, A),
    "DaemonLoopLate": (
        {'trioworkers_daemon_loop_lag_seconds_bucket{instance="a",le="0.1"}': "0+60x120"},
        A,
    ),
    "RateLimited": ({'trioworkers_api_rate_limit_wait_seconds_total{instance="a"}': "0+120x120"}, A),
    "ApiRequestsFail": (
        {'trioworkers_api_requests_total{instance="a",method="sendMessage",result="failed"}': "0+600x120"},
        A,
    ),
    "WebhookDeliveriesRefused": (
        {'trioworkers_webhook_deliveries_total{instance="a",status="401"}': "0+60x120"},
        A,
    ),
    "LeaseNotRenewed": ({'trioworkers_cluster_lease_seconds{instance="a"}': "0+0x120"}, A),
    "NodeEvicted": (
        {'trioworkers_cluster_changes_total{instance="a",change="evicted"}': "0+1x120"},
        A,
    ),
    "PluginDisabled": (
        {'trioworkers_plugin_disabled{instance="a",plugin="dedup"}': "1+0x120"},
        'instance="a",plugin="dedup"',
    ),
}
"""What differs from a healthy fleet, and the labels of the alert."""


def judge(folder: Path, series: dict[str, str], firing: str | None) -> None:
    """Let promtool say whether exactly this alert, with these labels, fires over these series."""
    expected = [] if firing is None else [{"labels": firing, "value": 1}]
    asked = 'sum by (alertname, instance, bot, plugin) (ALERTS{alertstate="firing"})'
    document = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [{"expr": asked, "eval_time": "90m", "exp_samples": expected}],
            }
        ],
    }
    path = folder / "test.yml"
    path.write_text(json.dumps(document))  # JSON is YAML
    promtool("test", "rules", str(path))


def test_the_rules_are_valid():
    """Expressions, durations and templates are as Prometheus wants them."""
    assert f"{len(NAMES)} rules found" in promtool("check", "rules", str(RULES))


def test_every_rule_has_its_trouble():
    """A rule that is added is tested, too."""
    assert list(TROUBLES) == NAMES


def test_every_rule_names_its_section():
    """The section of its own name, which docs/runbook.md has."""
    named = re.findall(r"- alert: (\w+)\n(?: {8}.*\n)+? {10}runbook: (\S+)#(\w+)\n", metrics.shipped("rules"))
    assert named == [(name, "docs/runbook.md", name.lower()) for name in NAMES]
    assert {name.lower() for name in NAMES} <= {*anchors(ROOT / "docs/runbook.md")}


def test_rules_link_to_where_the_pages_are_served(tmp_path):
    """In the built site the pages are HTML; a rule that Prometheus refuses is not printed."""
    rules = metrics.linked(metrics.shipped("rules"), "https://docs.example.org/bots/")
    links = re.findall(r"runbook_url: '(.*)'", rules)
    assert links == [f"https://docs.example.org/bots/runbook.html#{name.lower()}" for name in NAMES]
    assert "runbook:" not in rules
    (tmp_path / "rules.yml").write_text(rules)
    promtool("check", "rules", str(tmp_path / "rules.yml"))


@pytest.mark.parametrize("docs", ["docs", "https://x/'y", "https://x/#y", "ftp://x"])
def test_an_address_that_is_no_page_is_refused(docs):
    """Before anything is printed."""
    with pytest.raises(click.BadParameter, match="http or https"):
        metrics.linked(metrics.shipped("rules"), docs)


def test_a_healthy_fleet_raises_no_alert(tmp_path):
    """Past troubles, and a few now and then, are none."""
    judge(tmp_path, HEALTHY, None)


@pytest.mark.parametrize("name", TROUBLES)
def test_each_trouble_raises_its_alert(tmp_path, name):
    """Exactly one alert, which names the bot, the plugin or the daemon."""
    trouble, labels = TROUBLES[name]
    judge(tmp_path, HEALTHY | trouble, f'{{alertname="{name}",{labels}}}')


def test_a_paused_bot_may_let_its_updates_wait(tmp_path):
    """That is what it is paused for."""
    healthy = {name: values for name, values in HEALTHY.items() if "bot_state" not in name}
    paused = {
        'trioworkers_bot_state{instance="a",bot="shop",state="paused"}': "1+0x120",
        'trioworkers_queue_oldest_age_seconds{instance="a",bot="shop"}': "0+60x120",
    }
    judge(tmp_path, healthy | paused, None)
