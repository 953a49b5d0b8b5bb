# ruff: noqa: E501 - a fault and its line stand beside each other
"""What is wrong with a fleet file is told all at once, with places, and without secrets."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from trioworkers.config import FleetFileError, Problem, load_fleet

CANARY = "123456:zeisig-Zeisig_ZEISIG-zeisig_zeisig"  # a canary, under a name that no traceback quotes
BOT = '[bots.echo]\ntoken = "123:abc"\nhandler = "echo:handle"\n'
KINDS = '"host:port", "[ipv6]:port" or "unix:/path"'
DURATION = 'seconds or a string such as "50ms", "45s", "5m", "1h" or "30d"'


def problems_of(folder, text, environ=None, **files):
    """Returns the problems of a fleet file as lines without the folder; none if it is right."""
    for name, content in {"fleet.toml": text, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        load_fleet(folder / "fleet.toml", environ or {})
    except FleetFileError as error:
        return [line.removeprefix(f"{folder}/") for line in str(error).split("\n")]
    return []


ONE_FAULT = [
    ("limitz = 1", "1:1: limitz: unknown key, did you mean limits"),
    ("limits = 1", "1:10: limits: expected a table, got an integer"),
    ("[fleet]\nnam = 1", "2:1: fleet.nam: unknown key, did you mean name"),
    ("[store]\nx = 1", "2:1: store.x: unknown key, expected one of url, durability, dead_retention"),
    ('[fleet]\nname = ""', "2:8: fleet.name: expected at least 1 character, got 0"),
    ("[fleet]\nname = 1979-05-27", "2:8: fleet.name: expected a string, got a date or a time"),
    ("[fleet]\nstate_dir = 5", "2:13: fleet.state_dir: expected a path, got an integer"),
    (
        '[fleet]\nlog_dir = ""',
        "2:11: fleet.log_dir: expected a path that is not empty, got a string of another form",
    ),
    (
        '[fleet]\nplugins_dir = "a\\u0000"',
        "2:15: fleet.plugins_dir: expected a path that is not empty, got a string of another form",
    ),
    ('[fleet]\npython_path = ["a", 5]', "2:21: fleet.python_path[1]: expected a path, got an integer"),
    ('[fleet]\npython_path = "a"', "2:15: fleet.python_path: expected an array, got a string"),
    ("[fleet]\ndisabled_plugins = [1]", "2:21: fleet.disabled_plugins[0]: expected a string, got an integer"),
    (
        '[fleet]\npreload = ["a-b"]',
        "2:12: fleet.preload[0]: expected the name of a module, got a string of another form",
    ),
    (
        '[fleet]\nworker_start = "thread"',
        '2:16: fleet.worker_start: expected "fork" or "spawn", got "thread"',
    ),
    (
        '[fleet]\nshard = "3/3"',
        '2:9: fleet.shard: expected "I/N" with 0 <= I < N, got a string of another form',
    ),
    ("[fleet]\nshutdown_timeout = true", f"2:20: fleet.shutdown_timeout: expected {DURATION}, got a boolean"),
    (
        "[fleet]\nshutdown_timeout = '5 min'",
        f"2:20: fleet.shutdown_timeout: expected {DURATION}, got a string of another form",
    ),
    ("[fleet]\nshutdown_timeout = -1", "2:20: fleet.shutdown_timeout: expected at least 0, got -1"),
    (
        "[fleet]\nshutdown_timeout = nan",
        "2:20: fleet.shutdown_timeout: expected a finite number of seconds, got a float",
    ),
    (
        '[fleet]\napi_base = "ftp://x"',
        "2:12: fleet.api_base: expected an http or https address without user, query and fragment, got a string of another form",
    ),
    ("[limits]\nmax_workers = 0", "2:15: limits.max_workers: expected at least 1, got 0"),
    ("[limits]\nmax_workers = 2.0", "2:15: limits.max_workers: expected an integer, got a float"),
    ("[limits]\nmax_workers = true", "2:15: limits.max_workers: expected an integer, got a boolean"),
    (
        "[limits]\nmax_workers = 99999999999999999999",
        "2:15: limits.max_workers: expected an integer of 64 bits, got a larger one",
    ),
    ("[limits]\nstart_rate = 0", "2:14: limits.start_rate: expected more than 0, got 0"),
    ("[limits]\nstart_rate = inf", "2:14: limits.start_rate: expected a finite number, got inf or nan"),
    ("[limits]\nstart_rate = true", "2:14: limits.start_rate: expected a number, got a boolean"),
    ('[api]\nbind = "x"', f"2:8: api.bind: expected {KINDS}, got a string of another form"),
    ('[api]\nbind = "::1:80"', f"2:8: api.bind: expected {KINDS}, got a string of another form"),
    ('[api]\nbind = "[x]:80"', f"2:8: api.bind: expected {KINDS}, got a string of another form"),
    (
        '[api]\nbind = "h:65536"',
        f"2:8: api.bind: expected {KINDS} with a port from 0 to 65535, got a string of another form",
    ),
    ("[api]\nmetrics_public = 1", "2:18: api.metrics_public: expected true or false, got an integer"),
    (
        '[api]\ntoken = "a b"',
        "2:9: api.token: expected printable characters without spaces, got a string of another form",
    ),
    ("[api]\ntoken = []", "2:9: api.token: expected a string or a table, got an array"),
    (
        '[webhook]\nsecret = "a b"',
        '2:10: webhook.secret: expected 1 to 256 characters of A-Z, a-z, 0-9, "_" and "-", got a string of another form',
    ),
    ('[webhook]\ntls_cert = "a"', "2:12: webhook.tls_cert: needs tls_key beside it"),
    ('[webhook]\ntls_key = "a"', "2:11: webhook.tls_key: needs tls_cert beside it"),
    (
        '[webhook]\npublic_url = "http://h"',
        "2:14: webhook.public_url: expected an https address, because api_base is Telegram's own",
    ),
    (
        '[webhook]\npublic_url = "https://h:3000"',
        "2:14: webhook.public_url: expected a port that Telegram delivers to (443, 80, 88, 8443), got 3000",
    ),
    (
        '[webhook]\ntrusted_proxies = ["::1", "x"]',
        '2:27: webhook.trusted_proxies[1]: expected an address or a network such as "10.0.0.0/8", got a string of another form',
    ),
    (
        '[webhook]\nmax_body = "1 parsec"',
        '2:12: webhook.max_body: expected bytes or a string such as "512KB", "150MB" or "1GB", got a string of another form',
    ),
    ("[webhook]\nmax_body = 0", "2:12: webhook.max_body: expected at least 1, got 0"),
    (
        '[store]\nurl = "mysql://u:p@h"',
        '2:7: store.url: expected "sqlite" or an address that begins with postgresql://, got a string of another form',
    ),
    (
        '[log]\nlevel = "warning"',
        '2:9: log.level: expected "debug", "info", "warn" or "error", got "warning"',
    ),
    ("[log]\nlevel = 3", '2:9: log.level: expected "debug", "info", "warn" or "error", got an integer'),
    ("[plugins]\ndedup = 1", "2:9: plugins.dedup: expected a table, got an integer"),
    ("[bots]\na = 1", "2:5: bots.a: expected a table, got an integer"),
    (
        BOT.replace("echo]", '"a..b"]'),
        '1:7: bots."a..b": expected a name of letters, digits, "_", "-" and single dots, at most 64, the first a letter or a digit',
    ),
    (
        BOT + "name = 'x'",
        "4:1: bots.echo.name: unknown key, expected one of token, handler, command, cwd, acknowledge, order, drop_pending, redirect, token_passed, enabled, transport, settings, poll_timeout, allowed_updates, albums, callbacks, concurrency, handler_timeout, on_failure, retry, replay_safe, rate_limit, worker, idle_stop, heartbeat_interval, hang_timeout, memory_limit, memory_check_interval, restart, proxy, test_servers, environment",
    ),
    ("[bots.x]\nhandler = 'a:b'", "1:1: bots.x.token: missing, expected a string or a table"),
    ("[bots.x]\ntoken = '1:a'", '1:1: bots.x.handler: missing, expected "module:function", or a command'),
    (BOT + "poll_timeout = 51", "4:16: bots.echo.poll_timeout: expected at most 50, got 51"),
    (BOT + "poll_timeout = '1m'", "4:16: bots.echo.poll_timeout: expected at most 50, got 60"),
    (BOT + "concurrency = 0", "4:15: bots.echo.concurrency: expected at least 1, got 0"),
    (BOT + "settings = 1", "4:12: bots.echo.settings: expected a table, got an integer"),
    (BOT + "retry = 1", "4:9: bots.echo.retry: expected a table, got an integer"),
    (BOT + "retry = { attemps = 1 }", "4:11: bots.echo.retry.attemps: unknown key, did you mean attempts"),
    (BOT + "retry = { attempts = 0 }", "4:22: bots.echo.retry.attempts: expected at least 1, got 0"),
    (BOT + "retry = { factor = 0.5 }", "4:20: bots.echo.retry.factor: expected at least 1, got 0.5"),
    (
        BOT + 'retry = { initial = "2m" }',
        "4:21: bots.echo.retry.initial: expected at most max, which is 60 s, got 120 s",
    ),
    (
        BOT + "restart = { max = 0 }",
        "4:11: bots.echo.restart.initial: expected at most max, which is 0 s, got 1 s",
    ),
    (
        BOT + "hang_timeout = 45",
        "4:16: bots.echo.hang_timeout: expected more than heartbeat_interval, which is 45 s, got 45 s",
    ),
    (
        BOT + 'allowed_updates = ["mesage"]',
        '4:20: bots.echo.allowed_updates[0]: expected a kind of update that the Bot API knows, perhaps "message", got a string of another form',
    ),
    (
        BOT + 'rate_limit = "fast"',
        '4:14: bots.echo.rate_limit: expected "off", "telegram" or a table, got a string of another form',
    ),
    (
        BOT + "rate_limit = 5",
        '4:14: bots.echo.rate_limit: expected "off", "telegram" or a table, got an integer',
    ),
    (
        BOT + "rate_limit = { per_second = 0 }",
        "4:29: bots.echo.rate_limit.per_second: expected more than 0, got 0",
    ),
    (
        BOT + 'transport = "webhook"',
        '4:13: bots.echo.transport: "webhook" needs webhook.public_url, which is not set',
    ),
    (BOT.replace('"123:abc"', "5"), "2:9: bots.echo.token: expected a string or a table, got an integer"),
    (BOT.replace('"123:abc"', '""'), "2:9: bots.echo.token: expected a string that is not empty"),
    (
        BOT.replace("123:abc", "abc"),
        "2:9: bots.echo.token: expected a bot token as BotFather gives it, digits:letters, got a string of another form",
    ),
    (
        BOT.replace('"123:abc"', "{}"),
        "2:9: bots.echo.token: expected a table with one of the keys env, file and credential, got one with 0 keys",
    ),
    (
        BOT.replace('"123:abc"', "{ enw = 'X' }"),
        "2:9: bots.echo.token: expected a table with one of the keys env, file and credential, got one with another key",
    ),
    (
        BOT.replace('"123:abc"', "{ env = 5 }"),
        "2:9: bots.echo.token: expected the name of an environment variable as a string",
    ),
    (
        BOT.replace('"123:abc"', "{ env = 'a b' }"),
        "2:9: bots.echo.token: expected the name of an environment variable after env",
    ),
    (
        BOT.replace('"123:abc"', "{ env = 'NOPE' }"),
        "2:9: bots.echo.token: the environment variable NOPE is not set",
    ),
    (
        BOT.replace('"123:abc"', "{ env = 'EMPTY' }"),
        "2:9: bots.echo.token: the environment variable EMPTY is empty",
    ),
    (
        BOT.replace('"123:abc"', "{ file = 'no/pe' }"),
        '2:9: bots.echo.token: the file "no/pe" cannot be read: no such file or directory',
    ),
    (BOT.replace('"123:abc"', "{ file = '.' }"), '2:9: bots.echo.token: the file "." is not a regular file'),
    (
        BOT.replace('"123:abc"', "{ file = '/dev/zero' }"),
        '2:9: bots.echo.token: the file "/dev/zero" is not a regular file',
    ),
    (
        BOT.replace('"123:abc"', "{ credential = 'x' }"),
        '2:9: bots.echo.token: the credential "x" cannot be read: the environment variable CREDENTIALS_DIRECTORY is not set',
    ),
    (
        BOT.replace('"123:abc"', "{ credential = '../x' }"),
        "2:9: bots.echo.token: expected the name of a credential after credential",
    ),
    (
        BOT.replace("echo:handle", "echo.handle"),
        '3:11: bots.echo.handler: expected "module:function", got a string of another form',
    ),
    (
        BOT + BOT.replace(".echo", ".b"),
        '5:9: bots.b.token: the bots "echo" and "b" have the same bot id, expected one bot per id',
    ),
    ("x" * 5, "1:6: not TOML: expected '=' after a key in a key/value pair"),
    (BOT + BOT, "4:11: not TOML: a second table of this name, expected each table once"),
    (BOT + "settings." + ".".join("a" * 40) + " = 1", None),
    (
        "[plugins.p]\nx = 9223372036854775808",
        "2:5: plugins.p.x: expected an integer of 64 bits, got a larger one",
    ),
]


@pytest.mark.parametrize(("text", "problem"), ONE_FAULT)
def test_each_fault_has_its_place_and_words(tmp_path, text, problem):
    """One fault gives one line: where it is, what is wrong and what was expected."""
    found = problems_of(tmp_path, text, {"EMPTY": ""})
    assert len(found) == 1
    if problem is None:
        assert found[0].endswith("nested too deeply, expected at most 32 levels")
    else:
        assert found == [f"fleet.toml:{problem}"]


def test_all_problems_are_reported_at_once(tmp_path):
    """Faults of all tables and files come together, in the order of files, lines and columns."""
    found = problems_of(
        tmp_path,
        "[defaults]\npoll_timeout = 99\n[bots.a]\ntoken = 1\n[bots.b]\nretry = { attempts = 0, factor = 0 }\n"
        "[api]\nbind = 1\n[fleet]\nnope = 1\n",
        **{"fleet.d/c.toml": "[bots.c]\nhandler = 1\n", "state/fleet.d/d.toml": "[bots.d\n"},
    )
    assert [line.partition(" ")[0] for line in found] == [
        "fleet.toml:2:16:",
        "fleet.toml:3:1:",
        "fleet.toml:4:9:",
        "fleet.toml:5:1:",
        "fleet.toml:5:1:",
        "fleet.toml:6:22:",
        "fleet.toml:6:34:",
        "fleet.toml:8:8:",
        "fleet.toml:10:1:",
        "fleet.d/c.toml:1:1:",
        "fleet.d/c.toml:2:11:",
        "state/fleet.d/d.toml:1:8:",
    ]


def test_no_fault_hides_behind_another(tmp_path):
    """Rules between keys and between tables are told together with what else is wrong in these tables."""
    text = """
        [fleet]
        nam = 1
        [webhook]
        tls_cert = "c"
        max_body = 0
        public_url = "http://h"
        [bots.a]
        token = "1:a"
        handler = "a:b"
        [bots."not so"]
        token = "1:b"
        retry = { factor = 0, initial = 5, max = 1 }
        hang_timeout = 1
        [bots.c]
        token = { env = "NOPE" }
        transport = "webhook"
        """
    assert [line.partition(": ")[2] for line in problems_of(tmp_path, text)] == [
        "fleet.nam: unknown key, did you mean name",
        "webhook.tls_cert: needs tls_key beside it",
        "webhook.max_body: expected at least 1, got 0",
        "webhook.public_url: expected an https address, because api_base is Telegram's own",
        'bots."not so".handler: missing, expected "module:function", or a command',
        'bots."not so": expected a name of letters, digits, "_", "-" and single dots, at most 64, the first a letter or a digit',
        'bots."not so".token: the bots "a" and "not so" have the same bot id, expected one bot per id',
        'bots."not so".retry.factor: expected at least 1, got 0',
        'bots."not so".retry.initial: expected at most max, which is 1 s, got 5 s',
        'bots."not so".hang_timeout: expected more than heartbeat_interval, which is 45 s, got 1 s',
        'bots.c.handler: missing, expected "module:function", or a command',
        "bots.c.token: the environment variable NOPE is not set",
    ]


def test_a_fault_of_the_defaults_is_reported_once(tmp_path):
    """A thousand bots that inherit a fault are not at fault; a bot's own combination is."""
    text = "[defaults]\nconcurrency = 0\nretry.initial = '30s'\n" + "".join(
        f'[bots.b{number}]\ntoken = "{number}:a"\nhandler = "a:b"\n' for number in range(1, 20)
    )
    assert problems_of(tmp_path, text) == [
        "fleet.toml:2:15: defaults.concurrency: expected at least 1, got 0"
    ]
    text = text.replace("concurrency = 0\n", "") + "retry.max = '10s'\n"
    assert problems_of(tmp_path, text) == [
        "fleet.toml:2:17: bots.b19.retry.initial: expected at most max, which is 10 s, got 30 s"
    ]


def test_several_syntax_faults_are_found(tmp_path):
    """Faults that both parsers see are reported together; none is invented."""
    text = "[bots.a]\ntoken = 12:abc\nhandler = \nenabled = true\n[bots.b\nconcurrency = 1\n"
    assert problems_of(tmp_path, text) == [
        "fleet.toml:2:11: not TOML: expected newline or end of document after a statement",
        "fleet.toml:3:11: not TOML: invalid value",
        "fleet.toml:5:8: not TOML: expected ']' at the end of a table declaration",
    ]
    assert len(problems_of(tmp_path, 'a = "never closed\nb = 1\nc = [1,\n')) <= 2
    assert problems_of(tmp_path, "a = 1\n[a]\n[a]\nb = 1\nb = 2\n")[0].startswith(
        "fleet.toml:2:3: not TOML: "
    )


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"# \xc3\xa9\na = '\xff'", "fleet.toml:2:6: not UTF-8, which TOML is written in"),
        (b"a = " + b"9" * 5000, "fleet.toml: not TOML: a number is too long"),
        (b"a = " + b"[" * 5000, "fleet.toml: nested too deeply, expected at most 32 levels"),
        (b"a = {", None),
        (b"\xef\xbb\xbfa = 1", None),
    ],
)
def test_odd_bytes_are_problems_too(tmp_path, raw, problem):
    """What keeps a file from being read at all is one problem, with a place where one is known."""
    found = problems_of(tmp_path, raw)
    assert len(found) == 1
    assert problem is None or found == [problem]


def test_files_that_cannot_be_read(tmp_path):
    """An absent fleet file, a folder in its place and a secret's unreadable file are problems."""
    with pytest.raises(FleetFileError, match="cannot be read: no such file or directory"):
        load_fleet(tmp_path / "absent.toml", {})
    with pytest.raises(FleetFileError, match="cannot be read: is a directory"):
        load_fleet(tmp_path, {})
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"a" * 70_000)
    os.mkfifo(tmp_path / "fifo")
    for name, reason in {
        "empty": "is empty", "binary": "is not UTF-8", "fifo": "is not a regular file",
        "large": "is too large for a secret, expected at most 65536 bytes",
    }.items():  # fmt: skip
        text = BOT.replace('"123:abc"', f'{{ file = "{name}" }}')
        assert problems_of(tmp_path, text) == [f'fleet.toml:2:9: bots.echo.token: the file "{name}" {reason}']


def test_fleet_d_holds_bots_and_nothing_else(tmp_path):
    """Other tables, no bots, and a bot that is already elsewhere are problems of that file."""
    found = problems_of(
        tmp_path,
        BOT,
        **{
            "fleet.d/a.toml": "[api]\n" + BOT.replace("123", "9").replace("echo]", "nine]"),
            "fleet.d/b.toml": "",
            "fleet.d/c.toml": "bots = 1",
            "fleet.d/d.toml": BOT,
            "fleet.d/e.toml": BOT.replace("123", "8").replace("echo]", "nine]"),
        },
    )
    assert found == [
        "fleet.d/a.toml:1:2: api: unexpected key, expected only [bots.NAME] tables in a file of fleet.d",
        "fleet.d/b.toml:1:1: bots: expected [bots.NAME] tables, got nothing",
        "fleet.d/c.toml:1:8: bots: expected [bots.NAME] tables, got an integer",
        f"fleet.d/d.toml:1:7: bots.echo: this bot is also in {tmp_path}/fleet.toml, expected it in one file only",
        f"fleet.d/e.toml:1:7: bots.nine: this bot is also in {tmp_path}/fleet.d/a.toml, expected it in one file only",
    ]


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        (
            {"BOT_MODE": "x"},
            '1:1: defaults.transport: expected "polling" or "webhook" (from the environment variable BOT_MODE)',
        ),
        (
            {"WEBHOOK_PORT": "0"},
            "1:1: webhook.bind: expected a port from 1 to 65535 (from the environment variable WEBHOOK_PORT)",
        ),
        (
            {"BOT_MODE": "webhook"},
            '1:1: bots.echo.transport: "webhook" needs webhook.public_url, which is not set (from the environment variable BOT_MODE)',
        ),
        (
            {"WEBHOOK_SSL_KEY": "k"},
            "1:1: webhook.tls_key: needs tls_cert beside it (from the environment variable WEBHOOK_SSL_KEY)",
        ),
    ],
)
def test_faults_of_the_environment_name_the_variable(tmp_path, environ, problem):
    """A value that is not in the file is reported with the variable it came from."""
    assert problems_of(tmp_path, BOT, environ) == [f"fleet.toml:{problem}"]


def test_a_server_of_ones_own_has_no_rules_for_addresses(tmp_path):
    """https and Telegram's ports are demanded only of api.telegram.org."""
    text = '[fleet]\napi_base = "http://127.0.0.1:8081"\n[webhook]\npublic_url = "http://h:3000"\n'
    assert problems_of(tmp_path, text) == []
    assert problems_of(tmp_path, text.replace("http://127.0.0.1:8081", "https://api.telegram.org/"))


def test_a_disabled_bot_is_validated_like_any_other(tmp_path):
    """Its id must be known, so a token that cannot be resolved is a problem."""
    text = BOT.replace('"123:abc"', "{ env = 'NOPE' }") + "enabled = false\n"
    assert problems_of(tmp_path, text) == [
        "fleet.toml:2:9: bots.echo.token: the environment variable NOPE is not set"
    ]


def test_an_absent_api_token_is_made_later(tmp_path):
    """Only the API's token may be absent, and only because its variable is unset."""
    assert problems_of(tmp_path, "[api]\ntoken = { env = 'NOPE' }") == []
    assert problems_of(tmp_path, "[api]\ntoken = { file = 'nope' }")
    assert problems_of(tmp_path, "[webhook]\nsecret = { env = 'NOPE' }")


def test_problems_are_one_line_each():
    """A problem is frozen, and neither line ends nor tokens get into its line."""
    problem = Problem(Path("f"), 1, 2, 'bots."x"', f"a\nb {CANARY}")
    assert str(problem) == 'f:1:2: bots."x": a\ufffdb **********'
    assert str(Problem(Path("f"), 0, 0, "", "m")) == "f: m"
    with pytest.raises(dataclasses.FrozenInstanceError):
        problem.line = 5  # type: ignore[misc]  # that is the point
