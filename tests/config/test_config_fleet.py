"""Reading a fleet: every key, its default, and where values come from."""

from __future__ import annotations

import os
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from trioworkers.config import Bind, FleetFileError, RateLimit, Secret, Shard, find_fleet_file, load_fleet
from trioworkers.config.messages import file_keys, model_in
from trioworkers.config.positions import Positions
from trioworkers.config.schema import TABLES, fleet_schema, reload_class

ROOT = Path(__file__).parents[2]
BOT = '[bots.echo]\ntoken = "123:abc"\nhandler = "echo:handle"\n'

# The keys of the contract's `fleet.toml` chapter, with their reload classes and defaults as read.
FLEET = {
    "name": ("live", "fleet"),
    "state_dir": ("daemon", "state"),
    "runtime_dir": ("daemon", "state/run"),
    "log_dir": ("daemon", "state/logs"),
    "api_base": ("worker", "https://api.telegram.org"),
    "python_path": ("worker", ["."]),
    "shutdown_timeout": ("live", 90.0),
    "plugins_dir": ("daemon", "plugins"),
    "plugin_modules": ("daemon", ()),
    "disabled_plugins": ("daemon", ()),
    "worker_start": ("daemon", "fork"),
    "watch": ("daemon", True),
    "preload": ("daemon", ()),
    "shard": ("live", Shard(0, 1)),
    "proxy": ("worker", None),
    "local_files": ("worker", None),
}
TABLE_KEYS: dict[str, Any] = {
    "limits": {
        "max_workers": ("live", 1000),
        "max_workers_per_core": ("live", "auto"),
        "start_rate": ("live", 50.0),
    },
    "api": {
        "bind": ("daemon", Bind("127.0.0.1", 3001)),
        "token": ("live", None),
        "metrics_public": ("live", True),
    },
    "webhook": {
        "bind": ("daemon", Bind("0.0.0.0", 8443)),  # noqa: S104
        "public_url": ("live", None),
        "secret": ("live", None),
        "tls_cert": ("daemon", None),
        "tls_key": ("daemon", None),
        "telegram_ips_only": ("live", False),
        "trusted_proxies": ("live", ()),
        "max_body": ("live", 2**20),
    },
    "store": {
        "url": ("daemon", "sqlite"),
        "durability": ("daemon", "full"),
        "dead_retention": ("live", 30 * 86400.0),
    },
    "cluster": {
        "node": ("daemon", None),
        "lease": ("daemon", 15.0),
    },
    "log": {
        "level": ("live", "info"),
        "format": ("daemon", "auto"),
        "throttle_window": ("live", 30.0),
        "summary_interval": ("live", 60.0),
        "max_size": ("live", 10 * 2**20),
        "keep": ("live", 3),
    },
}
BOT_KEYS: dict[str, Any] = {
    "token": ("worker", Secret("123:abc")),
    "handler": ("worker", "echo:handle"),
    "command": ("worker", None),
    "cwd": ("worker", None),
    "acknowledge": ("worker", "auto"),
    "order": ("live", "chat"),
    "drop_pending": ("live", "ignore"),
    "redirect": ("worker", True),
    "token_passed": ("worker", "local"),
    "enabled": ("live", True),
    "transport": ("live", "poll"),
    "settings": ("live", {}),
    "poll_timeout": ("live", 50.0),
    "allowed_updates": ("live", ()),
    "albums": ("live", 0.0),
    "callbacks": ("live", "chat"),
    "concurrency": ("live", 16),
    "handler_timeout": ("live", 90.0),
    "on_failure": ("live", "block"),
    "retry": {
        "attempts": ("live", 8),
        "initial": ("live", 1.0),
        "factor": ("live", 2.0),
        "max": ("live", 60.0),
        "deadline": ("live", 600.0),
    },
    "replay_safe": ("live", True),
    "rate_limit": ("live", None),
    "worker": ("live", "always"),
    "idle_stop": ("live", 600.0),
    "heartbeat_interval": ("live", 45.0),
    "hang_timeout": ("live", 300.0),
    "memory_limit": ("live", 150 * 2**20),
    "memory_check_interval": ("live", 300.0),
    "restart": {
        "initial": ("live", 1.0),
        "factor": ("live", 2.0),
        "max": ("live", 45.0),
        "per_hour": ("live", 5),
        "healthy_after": ("live", 600.0),
    },
    "proxy": ("worker", None),
    "test_servers": ("worker", False),
    "environment": ("worker", {}),
}


@pytest.fixture
def load(tmp_path):
    def load(text="", environ=None, **files):
        for name, content in {"fleet.toml": text, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return load_fleet(tmp_path / "fleet.toml", environ or {})

    return load


def test_the_models_have_exactly_the_keys_of_the_contract():
    """A key that is added, renamed or removed shows up here."""
    assert file_keys(TABLES["fleet"]) == list(FLEET)
    for table, keys in TABLE_KEYS.items():
        assert file_keys(TABLES[table]) == list(keys)
    bot = TABLES["bots"]
    assert file_keys(bot) == list(BOT_KEYS)
    assert set(bot.model_fields) - set(BOT_KEYS) == {"name"}
    for key in ("retry", "restart"):
        inner = model_in(bot.model_fields[key].annotation)
        assert inner is not None
        assert file_keys(inner) == list(BOT_KEYS[key])
    assert file_keys(RateLimit) == ["per_second", "per_chat", "per_group_minute"]
    assert set(TABLES) == {"fleet", *TABLE_KEYS, "defaults", "bots"}


def _walk(keys, prefix=()):
    for key, declared in keys.items():
        if isinstance(declared, dict):
            yield from _walk(declared, (*prefix, key))
        else:
            yield (*prefix, key), declared


def test_every_key_has_its_default_and_reload_class(load, tmp_path):
    """The defaults are those of the contract, in seconds, bytes and absolute paths."""
    fleet = load(BOT)
    for path, (reload, default) in [
        *((("fleet", *path), declared) for path, declared in _walk(FLEET)),
        *_walk(TABLE_KEYS),
        *((("bots", "echo", *path), declared) for path, declared in _walk(BOT_KEYS)),
    ]:
        value: object = fleet
        for part in path[1:] if path[0] == "fleet" else path:
            value = value[part] if isinstance(value, dict) else getattr(value, part)
        if isinstance(value, Path):
            default = tmp_path / default
        if path[-1] == "python_path":
            default = (tmp_path,)
        assert value == default, path
        assert type(value) is type(default), path
        assert reload_class(path) == reload, path
    assert fleet.path == tmp_path / "fleet.toml"
    assert fleet.folder == tmp_path
    assert fleet.bots["echo"].name == "echo"
    assert fleet.bots["echo"].bot_id == 123
    assert fleet.plugins == {}


def test_reload_classes_reach_into_open_tables():
    """What stands in settings or in a plugin's table is live; an unknown key has no class."""
    assert reload_class(("bots", "echo", "settings", "greeting")) == "live"
    assert reload_class(("defaults", "token", "env")) == "worker"
    assert reload_class(("plugins", "dedup", "window")) == "live"
    for path in (("bots", "echo", "nam"), ("nope", "x"), ("bots", "echo", "name"), ("fleet",)):
        with pytest.raises(KeyError):
            reload_class(path)


def test_every_key_is_described():
    """The schema says of each key what it is for and what a change of it does."""
    definitions = fleet_schema()["$defs"]
    for name, definition in definitions.items():
        for key, declared in definition["properties"].items():
            assert declared.get("description"), (name, key)
            assert declared["x-reload"] in ("live", "worker", "daemon")


def test_settings_are_frozen(load):
    """No part of the daemon can change what another part reads."""
    fleet = load(BOT)
    for settings in (fleet, fleet.bots["echo"], fleet.bots["echo"].retry, fleet.api):
        assert isinstance(settings, BaseModel)
        with pytest.raises(ValidationError, match="frozen"):
            settings.name = "other"  # type: ignore[attr-defined]  # that is the point
    with pytest.raises(FrozenInstanceError):
        fleet.api.bind.port = 1


def test_every_key_is_read(load, tmp_path):
    """Each key takes a value other than its default."""
    (tmp_path / "token").write_text("9:xyz\r\n")
    fleet = load(
        """
        [fleet]
        name = "big"
        state_dir = "/var/s"
        runtime_dir = "r"
        log_dir = "l"
        api_base = "http://127.0.0.1:8081/"
        python_path = ["a", "/b"]
        shutdown_timeout = "50ms"
        plugins_dir = "p"
        plugin_modules = ["x.y"]
        disabled_plugins = ["dedup"]
        worker_start = "spawn"
        preload = ["json"]
        shard = "1/3"
        [limits]
        max_workers = 2
        max_workers_per_core = 1
        start_rate = 0.5
        [api]
        bind = "[::1]:80"
        token = "t"
        metrics_public = false
        [webhook]
        bind = "unix:w.sock"
        public_url = "http://h:9/base/"
        secret = "s"
        tls_cert = "c"
        tls_key = "k"
        telegram_ips_only = true
        trusted_proxies = ["10.1.2.3/8", "::1"]
        max_body = 5
        [store]
        url = "postgresql://u:p@h/d"
        durability = "normal"
        dead_retention = "7d"
        [log]
        level = "debug"
        format = "json"
        throttle_window = 0
        summary_interval = "1h"
        [plugins.dedup]
        by = "content"
        [bots.x]
        token = { file = "token" }
        handler = "a.b:c"
        enabled = false
        transport = "webhook"
        settings = { a = { b = 1 } }
        poll_timeout = 0
        allowed_updates = ["poll", "message", "poll"]
        albums = "2s"
        callbacks = "own_lane"
        concurrency = 1
        handler_timeout = 1
        on_failure = "skip"
        retry = { attempts = 1, initial = 0, factor = 1, max = 0, deadline = 1 }
        replay_safe = false
        rate_limit = { per_second = 5, per_chat = 0.5 }
        worker = "on_demand"
        idle_stop = 1
        heartbeat_interval = 1
        hang_timeout = 2
        memory_limit = "1GB"
        memory_check_interval = 1
        restart = { initial = 0, factor = 1.5, max = 1, per_hour = 0, healthy_after = 0 }
        """
    )
    assert (fleet.name, fleet.api_base, str(fleet.shard)) == ("big", "http://127.0.0.1:8081", "1/3")
    assert (fleet.state_dir, fleet.runtime_dir) == (Path("/var/s"), tmp_path / "r")
    assert fleet.python_path == (tmp_path / "a", Path("/b"))
    assert (fleet.plugin_modules, fleet.disabled_plugins) == (("x.y",), ("dedup",))
    assert (fleet.worker_start, fleet.preload, fleet.shutdown_timeout) == ("spawn", ("json",), 0.05)
    assert fleet.limits.model_dump() == {"max_workers": 2, "max_workers_per_core": 1, "start_rate": 0.5}
    assert fleet.api.token == Secret("t")
    assert fleet.webhook.public_url == "http://h:9/base"
    assert fleet.webhook.bind.path == tmp_path / "w.sock"
    assert [str(network) for network in fleet.webhook.trusted_proxies] == ["10.0.0.0/8", "::1/128"]
    assert fleet.store.url == "postgresql://u:p@h/d"
    assert fleet.plugins == {"dedup": {"by": "content"}}
    bot = fleet.bots["x"]
    assert bot.token.reveal() == "9:xyz"
    assert bot.allowed_updates == ("message", "poll")
    assert bot.rate_limit == RateLimit(per_second=5, per_chat=0.5)
    assert bot.restart.model_dump() == {
        "initial": 0.0, "factor": 1.5, "max": 1.0, "per_hour": 0, "healthy_after": 0.0,
    }  # fmt: skip
    assert "p@h" not in repr(fleet) + fleet.store.model_dump_json()


def test_bots_merge_with_defaults_key_by_key(load):
    """A bot's own key wins, its tables merge, a token replaces the other whole."""
    fleet = load(
        """
        [defaults]
        token = { env = "DEFAULT" }
        handler = "a:b"
        settings = { greeting = "hi", deep = { x = 1, y = 2 } }
        retry = { attempts = 3, max = "5s" }
        rate_limit = { per_second = 7 }
        [bots.a]
        token = "1:a"
        settings.deep.x = 9
        retry.attempts = 4
        rate_limit = "telegram"
        [bots.b]
        rate_limit = "off"
        """,
        {"DEFAULT": "2:b"},
    )
    a, b = fleet.bots["a"], fleet.bots["b"]
    assert a.settings == {"greeting": "hi", "deep": {"x": 9, "y": 2}}
    assert (a.retry.attempts, a.retry.max, a.retry.initial) == (4, 5.0, 1.0)
    assert a.rate_limit == RateLimit(per_second=30, per_chat=1, per_group_minute=20)
    assert (b.bot_id, b.retry.attempts, b.rate_limit) == (2, 3, None)
    assert fleet.secret_env_names == {"DEFAULT", "TRIOWORKERS_API_TOKEN", "WEBHOOK_SECRET"}


def test_the_digest_follows_the_meaning(load):
    """Reordering, comments and other spellings keep it; every change of a value changes it."""
    one = load('[log]\nlevel="warn"\n' + BOT + 'poll_timeout = "5s"\n[plugins.p]\na=1\nb=2\n')
    two = load("# c\n[plugins]\np={b=2,a=1}\n" + BOT + 'poll_timeout=5.0\n[log]\nlevel = "warn"\n')
    assert one.digest == two.digest
    assert one.bots == two.bots
    seen = {load(BOT).digest}
    for text in (
        BOT.replace("abc", "abd"),
        BOT + "concurrency = 3",
        BOT + "[plugins.p]",
        "[fleet]\nname='x'\n" + BOT,
        '[store]\nurl="postgresql://u:a@h/d"\n' + BOT,
        '[store]\nurl="postgresql://u:b@h/d"\n' + BOT,
        '[webhook]\nsecret="a"\n' + BOT,
        "",
    ):
        digest = load(text).digest
        assert digest not in seen
        seen.add(digest)


def test_later_checks_have_positions(load, tmp_path):
    """A check that comes after reading reports at the value, be it the bot's or the defaults'."""
    fleet = load('[defaults]\nhandler = "d:d"\n[bots.x]\ntoken = "1:a"\n')
    assert (
        str(fleet.problem_at(("bots", "x", "handler"), "m"))
        == f"{tmp_path}/fleet.toml:2:11: bots.x.handler: m"
    )
    assert fleet.problem_at(("bots", "x", "token"), "m").line == 4
    assert fleet.problem_at(("bots", "x", "retry", "max"), "m").line == 3


def test_a_right_file_is_never_searched_for_positions(load, monkeypatch):
    """A thousand bots cost no walk through the grammar's tree; only a problem does."""
    monkeypatch.setattr(Positions, "_places", property(lambda self: pytest.fail("searched for positions")))
    bots = "".join(f'[bots.b{number}]\ntoken = "{number}:a"\nhandler = "a:b"\n' for number in range(1000))
    assert len(load("[defaults]\nconcurrency = 3\n" + bots).bots) == 1000


def test_an_empty_file_is_a_fleet_without_bots(load):
    """Zero bots is fine: bots can be added later."""
    assert load("").bots == {}


def test_the_fleet_file_is_found(tmp_path, monkeypatch):
    """Given, then $TRIOWORKERS_CONFIG, then ./fleet.toml; a named one that is absent is an error."""
    monkeypatch.chdir(tmp_path)
    given, other = tmp_path / "given.toml", tmp_path / "other.toml"
    for path in (given, other, tmp_path / "fleet.toml"):
        path.touch()
    environ = {"TRIOWORKERS_CONFIG": str(other)}
    assert find_fleet_file(given, environ) == given
    assert find_fleet_file(None, environ) == other
    assert find_fleet_file(None, {}) == Path("fleet.toml")
    with pytest.raises(FleetFileError, match="no such file, named by"):
        find_fleet_file(None, {"TRIOWORKERS_CONFIG": "absent.toml"})
    with pytest.raises(FleetFileError, match=r"^absent\.toml: no such file$"):
        find_fleet_file(Path("absent.toml"), environ)
    os.unlink("fleet.toml")
    if not Path("/etc/trioworkers/fleet.toml").exists():
        with pytest.raises(FleetFileError, match=r"looked at .*fleet\.toml and /etc/trioworkers/fleet\.toml"):
            find_fleet_file(None, {})


def test_the_example_loads_and_names_every_key():
    """The fleet file of the repository is complete, and right."""
    names = ("SUPPORT_TOKEN", "SHOP_TOKEN", "DIGEST_TOKEN")
    environ = {name: f"{number}:abc" for number, name in enumerate(names, 1)}
    fleet = load_fleet(ROOT / "fleet.toml", {**environ, "WEBHOOK_SECRET": "abc"})
    assert list(fleet.bots) == ["support", "shop", "digest"]
    assert fleet.secret_env_names == {*names, "WEBHOOK_SECRET", "TRIOWORKERS_API_TOKEN"}
    text = (ROOT / "fleet.toml").read_text()
    assert text.startswith("#:schema ")
    words = set(text.replace("=", " ").split())
    named = {part for path, _ in _walk({**FLEET, **TABLE_KEYS, **BOT_KEYS}) for part in path}
    assert named - set(TABLE_KEYS) <= words
