"""What a reload would change, as a pure decision between two fleets."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trioworkers.config import (
    FleetFileError,
    fleet_schema,
    load_fleet,
    plan_lines,
    plan_reload,
    reload_class,
    with_given,
)
from trioworkers.config.messages import file_keys
from trioworkers.config.schema import TABLES

FOLDER = Path("/nowhere")
BASE: dict[str, Any] = {
    "fleet": {"name": "one"},
    "api": {"token": "t" * 20},
    "bots": {
        "echo": {"token": "1:abc", "handler": "echo:handle", "settings": {"greeting": "hi", "n": 1}},
        "shop": {"token": "2:abc", "handler": "shop:handle", "retry": {"attempts": 5}},
    },
    "plugins": {"dedup": {"window": "30s"}},
}
OTHER = {
    "limits.max_workers_per_core": 7,
    "fleet.name": "two",
    "fleet.state_dir": "elsewhere",
    "fleet.runtime_dir": "elsewhere",
    "fleet.log_dir": "elsewhere",
    "fleet.api_base": "http://127.0.0.1:9",
    "fleet.python_path": ["lib"],
    "fleet.shutdown_timeout": 1,
    "fleet.plugins_dir": "p",
    "fleet.plugin_modules": ["p"],
    "fleet.disabled_plugins": ["p"],
    "fleet.worker_start": "spawn",
    "fleet.preload": ["json"],
    "fleet.shard": "0/1",
    "api.bind": "127.0.0.1:1",
    "api.token": "u" * 20,
    "webhook.bind": "127.0.0.1:1",
    "webhook.public_url": "https://bots.example.org",
    "webhook.secret": "s",
    "webhook.trusted_proxies": ["10.0.0.0/8"],
    "store.url": "postgresql://h/d",
    "store.durability": "normal",
    "log.level": "debug",
    "log.format": "json",
    "bots.token": "1:other",
    "bots.handler": "other:handle",
    "bots.transport": "auto",
    "bots.settings": {"greeting": "ho", "n": 1},
    "bots.allowed_updates": ["message"],
    "bots.albums": "1s",
    "bots.callbacks": "own_lane",
    "bots.on_failure": "skip",
    "bots.retry": {"attempts": 4},
    "bots.rate_limit": "telegram",
    "bots.worker": "on_demand",
    "bots.proxy": "socks5://127.0.0.1:1080",
    "bots.environment": {"A": "1"},
    "bots.cwd": "/srv",
    "bots.acknowledge": "poll",
    "bots.order": "none",
    "bots.drop_pending": "obey",
    "bots.token_passed": "real",
    "fleet.proxy": "socks5://127.0.0.1:1080",
    "fleet.local_files": "/srv",
    "bots.restart": {"per_hour": 9},
    "bots.hang_timeout": "10m",
    "bots.poll_timeout": 7,
    "bots.heartbeat_interval": 7,
}
"""Another good value for each key; what is missing is a switch or a number that can be one larger."""


def of(folder, tables, environ=None, **more):
    (folder / "fleet.toml").write_text(tables if isinstance(tables, str) else tomli_w.dumps(tables))
    return load_fleet(folder / "fleet.toml", environ or {}, **more)


def changed(**tables):
    copy = json.loads(json.dumps(BASE))
    for name, table in tables.items():
        copy.setdefault(name, {}).update(table)
    return copy


def echo(**keys):
    return changed(bots={"echo": {**BASE["bots"]["echo"], **keys}})


def other_value(table, key):
    if f"{table}.{key}" in OTHER:
        return OTHER[f"{table}.{key}"]
    default = TABLES[table].model_fields[key].get_default()
    if isinstance(default, bool):
        return not default
    return (int(re.sub(r"\D", "", default)) if isinstance(default, str) else default) + 1


ALL_KEYS = [
    (table, key)
    for table, model in TABLES.items()
    if table not in ("defaults", "cluster")
    for key in file_keys(model)
    if key not in ("tls_cert", "tls_key", "shard", "command")  # these, and [cluster], have tests of their own
]


@pytest.mark.parametrize(("table", "key"), ALL_KEYS)
def test_every_key_does_what_its_class_says(tmp_path, table, key):
    """Live touches no process, worker replaces exactly what it concerns, daemon keeps the old value."""
    old = of(tmp_path, BASE)
    value = other_value(table, key)
    new = of(tmp_path, echo(**{key: value}) if table == "bots" else changed(**{table: {key: value}}))
    plan = plan_reload(old, new)
    kind = reload_class((table, "echo", key) if table == "bots" else (table, key))
    assert (plan.added, plan.removed) == ((), ())
    if table == "bots":
        touched = plan.replaced if kind == "worker" else plan.retuned
        assert list(touched) == ["echo"]
        assert all(path.split(".")[0] == key for path in touched["echo"])
        assert (plan.unchanged, plan.changed, plan.kept) == (("shop",), (), ())
        assert kind != "worker" or not plan.retuned
        assert plan.fleet.digest == new.digest
    elif kind == "worker":
        assert plan.replaced == {"echo": (f"{table}.{key}",), "shop": (f"{table}.{key}",)}
        assert plan.changed == (f"{table}.{key}",)
    else:
        assert plan.unchanged == ("echo", "shop")
        shown = plan.changed if kind == "live" else plan.kept
        assert f"{table}.{key}" in shown
        part, before = (
            (plan.fleet, old) if table == "fleet" else (getattr(plan.fleet, table), getattr(old, table))
        )
        after = new if table == "fleet" else getattr(new, table)
        assert getattr(part, key) == getattr(before if kind == "daemon" else after, key)
        assert getattr(before, key) != getattr(after, key)
        assert plan.is_empty == (kind == "daemon")


def test_the_certificate_is_kept_with_its_key(tmp_path):
    """Both are of class daemon, so that half a pair never is in force."""
    old = of(tmp_path, BASE)
    new = of(tmp_path, changed(webhook={"tls_cert": "c", "tls_key": "k"}))
    plan = plan_reload(old, new)
    assert plan.kept == ("webhook.tls_cert", "webhook.tls_key")
    assert (plan.fleet.webhook.tls_cert, plan.fleet.webhook.tls_key) == (None, None)


def test_a_shard_takes_bots_and_gives_bots(tmp_path):
    """Bots that fall to another shard are removed here and added there; none is replaced."""
    bots = {f"b{n}": {"token": f"{n}:abc", "handler": "a:b"} for n in range(1, 40)}
    whole = of(tmp_path, {"bots": bots})
    halves = [of(tmp_path, {"fleet": {"shard": f"{n}/2"}, "bots": bots}) for n in range(2)]
    plans = [plan_reload(whole, half) for half in halves]
    assert sorted(plans[0].removed + plans[1].removed) == sorted(bots)
    assert plans[0].unchanged == plans[1].removed
    assert plan_reload(halves[0], halves[1]).added == plans[1].unchanged
    assert all(plan.changed == ("fleet.shard",) and not plan.replaced for plan in plans)


def test_added_removed_and_renamed(tmp_path):
    """A bot is its name: another name with the same id is one that goes and one that comes."""
    old = of(tmp_path, BASE)
    bots = {"echo2": BASE["bots"]["echo"], "third": {"token": "3:abc", "handler": "a:b"}}
    plan = plan_reload(old, of(tmp_path, {**BASE, "bots": bots}))
    assert plan.added == ("echo2", "third")
    assert plan.removed == ("echo", "shop")
    assert (plan.replaced, plan.retuned, plan.unchanged) == ({}, {}, ())


def test_a_key_of_the_defaults_concerns_who_has_none_of_its_own(tmp_path):
    """And one token of the defaults' file or of a variable is as good as one in the file."""
    old = of(tmp_path, BASE)
    new = of(tmp_path, changed(defaults={"retry": {"attempts": 7}, "concurrency": 3}))
    plan = plan_reload(old, new)
    assert plan.retuned == {"echo": ("concurrency", "retry.attempts"), "shop": ("concurrency",)}


def test_a_changed_secret_replaces_wherever_it_stands(tmp_path):
    """A token in a variable or a file is compared by what it is."""
    (tmp_path / "token").write_text("2:one\n")
    tables = changed(
        bots={
            "echo": {"token": {"env": "ECHO"}, "handler": "echo:handle"},
            "shop": {"token": {"file": "token"}, "handler": "shop:handle"},
        }
    )
    old = of(tmp_path, tables, {"ECHO": "1:one"})
    assert plan_reload(old, of(tmp_path, tables, {"ECHO": "1:one"})).is_empty
    (tmp_path / "token").write_text("2:two\n")
    plan = plan_reload(old, of(tmp_path, tables, {"ECHO": "1:one"}))
    assert plan.replaced == {"shop": ("token",)}
    assert plan_reload(old, of(tmp_path, tables, {"ECHO": "1:two"})).replaced.keys() == {"echo", "shop"}


def test_settings_are_compared_as_toml_writes_them(tmp_path):
    """1, 1.0, true and "1" are four values; where two tables meet the key inside is named."""
    for before, after in [(1, 1.0), (1, True), (1, "1"), (0.0, False), ([1], [True])]:
        plan = plan_reload(
            of(tmp_path, echo(settings={"n": before})), of(tmp_path, echo(settings={"n": after}))
        )
        assert plan.retuned == {"echo": ("settings.n",)}
    nan = of(tmp_path, echo(settings={"n": float("nan")}))
    assert plan_reload(nan, of(tmp_path, echo(settings={"n": float("nan")}))).is_empty
    deep = plan_reload(
        of(tmp_path, echo(settings={"a": {"b": 1, "c": 2}})),
        of(tmp_path, echo(settings={"a": {"c": 2, "d e": 3}})),
    )
    assert deep.retuned == {"echo": ("settings.a.b", 'settings.a."d e"')}


def test_a_plan_is_printed_with_keys_and_without_values(tmp_path):
    """Neither lines, document nor repr holds a token, a secret or a setting; pasted ones are masked."""
    canary = "123456:zeisig-Zeisig_ZEISIG-zeisig_zeisig"
    old = of(tmp_path, changed(bots={"gone": {"token": "9:abc", "handler": "a:b"}}))
    tables = echo(token=canary, settings={canary: "zeisig"}, concurrency=3)
    tables["bots"]["come"] = {"token": "8:zeisig", "handler": "a:b"}
    tables["bots"]["shop"]["retry"] = {"attempts": 6}
    tables["api"] = {"token": "zeisig" * 4, "bind": "127.0.0.1:5"}
    tables["store"] = {"url": "postgresql://u:zeisig@h/d"}
    tables["plugins"] = {"dedup": {"window": "zeisig"}}
    plan = plan_reload(old, of(tmp_path, tables))
    lines = plan_lines(json.loads(json.dumps(plan.document())))
    mask = "**********"
    assert lines == [
        "added come",
        "removed gone",
        f'replaced echo: token, settings."{mask}", settings.greeting, settings.n, concurrency',
        "retuned shop: retry.attempts",
        "changed api.token, plugins.dedup.window",
        "kept until the daemon is restarted: api.bind, store.url",
        "unchanged 0 bots",
    ]
    assert "zeisig" not in f"{lines}{plan.document()}{plan!r}".lower()
    again = plan_reload(old, old)
    assert plan_lines(again.document()) == ["unchanged 3 bots"]


@pytest.mark.parametrize(
    ("tables", "is_empty"),
    [
        (changed(bots={"third": {"token": "3:abc", "handler": "a:b"}}), False),
        ({**BASE, "bots": {"echo": BASE["bots"]["echo"]}}, False),
        (echo(handler="other:handle"), False),
        (echo(concurrency=3), False),
        (changed(limits={"start_rate": 7}), False),
        (changed(api={"bind": "127.0.0.1:5"}), True),
    ],
    ids=["added", "removed", "replaced", "retuned", "changed", "kept"],
)
def test_one_thing_to_do_makes_a_plan(tmp_path, tables, is_empty):
    """Whatever it is; keys that wait for a restart are nothing to do."""
    assert plan_reload(of(tmp_path, BASE), of(tmp_path, tables)).is_empty is is_empty


def test_one_bot_is_called_so(tmp_path):
    """And several are bots."""
    one, two = {**BASE, "bots": {"echo": BASE["bots"]["echo"]}}, BASE
    for tables, line in ((one, "unchanged 1 bot"), (two, "unchanged 2 bots")):
        fleet = of(tmp_path, tables)
        assert plan_lines(plan_reload(fleet, fleet).document()) == [line]


def test_variables_that_were_hidden_once_stay_hidden(tmp_path):
    """A token that is no longer read from a variable is still in it."""
    old = of(tmp_path, echo(token={"env": "ECHO"}), {"ECHO": "1:one"})
    assert "ECHO" in plan_reload(old, of(tmp_path, BASE)).fleet.secret_env_names


def test_a_running_daemons_folder_is_read_wherever_the_file_points(tmp_path):
    """state_dir waits for a restart, and with it the bots that were added by command."""
    for folder, number in (("state", 7), ("elsewhere", 8)):
        (tmp_path / folder / "fleet.d").mkdir(parents=True)
        text = f'[bots.b{number}]\ntoken = "{number}:a"\nhandler = "a:b"\n'
        (tmp_path / folder / "fleet.d/b.toml").write_text(text)
    old = of(tmp_path, BASE)
    tables = changed(fleet={"state_dir": "elsewhere"})
    plan = plan_reload(old, of(tmp_path, tables, state_dir=old.state_dir))
    assert plan.is_empty
    assert plan.kept == ("fleet.state_dir", "fleet.runtime_dir", "fleet.log_dir")
    assert plan.fleet.digest == old.digest
    assert plan_reload(old, of(tmp_path, tables)).removed == ("b7",)


# Fleets at random: what is drawn is made of keys that exist, with the values that are tried above.
LIVE_KEYS = [key for key in file_keys(TABLES["bots"]) if key not in ("token", "handler")]
VALUES = st.one_of(st.integers(-5, 5), st.booleans(), st.floats(allow_nan=True), st.text(max_size=5))
BOT = st.fixed_dictionaries(
    {"handler": st.sampled_from(["a:b", "c:d"]), "secret": st.sampled_from(["x", "y"])},
    optional={
        "settings": st.dictionaries(st.text(max_size=3), VALUES, max_size=3),
        "concurrency": st.integers(1, 3),
        "enabled": st.booleans(),
        "retry": st.fixed_dictionaries(
            {}, optional={"attempts": st.integers(1, 3), "factor": st.integers(1, 2)}
        ),
        "rate_limit": st.sampled_from(["off", "telegram"]),
        "allowed_updates": st.lists(st.sampled_from(["message", "poll"]), max_size=2),
    },
)
FLEETS = st.builds(
    lambda bots, fleet, limits, api: {
        "fleet": fleet,
        "limits": limits,
        "api": api,
        "bots": {
            f"b{number}": {
                **{k: v for k, v in bot.items() if k != "secret"},
                "token": f"{number}:{bot['secret']}",
            }
            for number, bot in bots.items()
        },
    },
    st.dictionaries(st.integers(1, 5), BOT, max_size=4),
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.sampled_from(["one", "two"]),
            "shard": st.sampled_from(["0/1", "1/2"]),
            "preload": st.sampled_from([["json"], []]),
            "api_base": st.sampled_from(["http://127.0.0.1:1", "http://127.0.0.1:2"]),
        },
    ),
    st.fixed_dictionaries({}, optional={"start_rate": st.integers(1, 3)}),
    st.fixed_dictionaries({}, optional={"bind": st.sampled_from(["127.0.0.1:1", "127.0.0.1:2"])}),
)
AT_RANDOM = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@AT_RANDOM
@given(tables=FLEETS, seed=st.integers(0, 99))
def test_reordering_and_comments_change_nothing(tmp_path, tables, seed):
    """However the file is written, the same settings are the same fleet."""
    dice = random.Random(seed)

    def shuffled(value):
        if not isinstance(value, dict):
            return value
        return {key: shuffled(value[key]) for key in dice.sample(sorted(value), len(value))}

    text = re.sub(r"\n", "   # why\n\n  ", tomli_w.dumps(shuffled(tables), multiline_strings=False))
    plan = plan_reload(of(tmp_path, tables), of(tmp_path, "# first\n" + text))
    assert plan.is_empty
    assert (plan.changed, plan.kept) == ((), ())


@AT_RANDOM
@given(before=FLEETS, after=FLEETS)
def test_a_plan_leads_there_and_is_done_then(tmp_path, before, after):
    """Applied, nothing is left but what waits for a restart; every bot is in one place of the plan."""
    old, new = of(tmp_path, before), of(tmp_path, after)
    plan = plan_reload(old, new)
    again = plan_reload(plan.fleet, new)
    assert again.is_empty
    assert again.kept == plan.kept
    assert again.fleet.digest == plan.fleet.digest
    if plan.fleet.digest == old.digest:
        assert plan.is_empty
    if not plan.kept:
        assert plan.fleet.digest == new.digest
    own = {name for name, bot in new.bots.items() if new.shard.owns(bot.bot_id)}
    had = {name for name, bot in old.bots.items() if old.shard.owns(bot.bot_id)}
    assert own == {*plan.added, *plan.replaced, *plan.retuned, *plan.unchanged}
    assert had == {*plan.removed, *plan.replaced, *plan.retuned, *plan.unchanged}
    assert len(own) == len(plan.added) + len(plan.replaced) + len(plan.retuned) + len(plan.unchanged)


def test_every_key_of_the_schema_has_a_class():
    """No key can be added without saying what its change touches."""
    for name in ("Bot", "FleetKeys", "Limits", "Api", "Webhook", "StoreSettings", "LogSettings"):
        for key, node in fleet_schema()["$defs"][name]["properties"].items():
            assert node["x-reload"] in ("live", "worker", "daemon"), key


@pytest.mark.parametrize(
    ("table", "key", "values", "ordered"),
    [
        ("webhook", "trusted_proxies", ["10.0.0.0/8", "::1", "127.0.0.1"], False),
        ("fleet", "disabled_plugins", ["b", "a"], False),
        ("bots", "allowed_updates", ["poll", "message"], False),
        ("fleet", "python_path", ["b", "a"], True),
        ("fleet", "preload", ["b", "a"], True),
    ],
)
def test_the_order_of_a_list_counts_where_it_means_something(tmp_path, table, key, values, ordered):
    """Where it means nothing, neither order nor repetition changes the fleet."""
    digests = []
    for written in (values, values[::-1], [*values, values[0]]):
        more = {key: written}
        digests.append(of(tmp_path, echo(**more) if table == "bots" else changed(**{table: more})).digest)
    assert len(set(digests)) == (3 if ordered else 1)


def test_what_a_bad_file_depends_on_is_known(tmp_path):
    """A missing secret's file is watched, so that the fleet mends itself once it is there."""
    with pytest.raises(FleetFileError) as caught:
        of(tmp_path, {"bots": {"a": {"token": {"file": "late"}, "handler": "a:b"}}})
    assert caught.value.watched is not None
    assert caught.value.watched.files == {tmp_path / "fleet.toml", tmp_path / "late"}
    assert caught.value.watched.folders == {tmp_path / "fleet.d", tmp_path / "state/fleet.d"}


GIVEN = {"token": "3:abc", "handler": "given:handle"}
BAD = {**GIVEN, "concurrency": "many"}


def of_source(folder, rows, tables=BASE):
    return with_given(of(folder, tables), {"api": rows})


def test_a_given_bot_whose_row_went_bad_stays_as_it_was(tmp_path):
    """A row that is wrong today is told, and ends no bot; one that is gone does."""
    old = of_source(tmp_path, {"a": GIVEN, "b": {**GIVEN, "token": "4:abc"}})
    plan = plan_reload(old, of_source(tmp_path, {"a": BAD}))
    assert plan.removed == ("b",)
    assert set(plan.unchanged) == {"a", "echo", "shop"}
    assert plan.fleet.bots["a"].digest == old.bots["a"].digest
    assert plan.fleet.sources == {"a": "api"}


@pytest.mark.parametrize(
    ("name", "bot"),
    [
        ("a", {"token": "9:abc", "handler": "file:handle"}),
        ("z", {"token": "3:abc", "handler": "file:handle"}),
    ],
)
def test_a_given_bot_whose_row_went_bad_gives_way_to_the_file(tmp_path, name, bot):
    """Where the file has its name or its bot id by now, the file's bot is the one."""
    old = of_source(tmp_path, {"a": GIVEN})
    plan = plan_reload(old, of_source(tmp_path, {"a": BAD}, changed(bots={name: bot})))
    assert plan.fleet.bots.keys() == {"echo", "shop", name}
    assert plan.fleet.bots[name].handler == "file:handle"
    assert plan.fleet.sources == {}


def test_a_bot_of_the_file_is_never_kept_for_a_bad_row(tmp_path):
    """It left the file; a plugin's bad row of its name does not bring it back."""
    old = of(tmp_path, changed(bots={"a": GIVEN}))
    plan = plan_reload(old, of_source(tmp_path, {"a": BAD}))
    assert plan.removed == ("a",)
    assert plan.fleet.bots.keys() == {"echo", "shop"}


def test_a_given_bot_that_the_new_file_makes_impossible_is_not_kept(tmp_path):
    """Its webhook needs an address that the file has no more: it ends, as its row is bad, too."""
    hooked = {**GIVEN, "transport": "webhook"}
    reachable = changed(webhook={"public_url": "https://bots.example.org"})
    old = of_source(tmp_path, {"a": hooked}, reachable)
    assert plan_reload(old, of_source(tmp_path, {"a": BAD}, reachable)).unchanged[0] == "a"
    assert plan_reload(old, of_source(tmp_path, {"a": BAD})).removed == ("a",)


def test_a_value_that_becomes_a_table_is_a_change_of_its_key(tmp_path):
    """And back; nothing is looked for inside."""
    plain = of(tmp_path, changed(bots={"echo": {**BASE["bots"]["echo"], "settings": {"x": 1}}}))
    table = of(tmp_path, changed(bots={"echo": {**BASE["bots"]["echo"], "settings": {"x": {"y": 1}}}}))
    assert plan_reload(plain, table).retuned == {"echo": ("settings.x",)}
    assert plan_reload(table, plain).retuned == {"echo": ("settings.x",)}
