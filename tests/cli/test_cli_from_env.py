"""`trioworkers new fleet --from-env`: the old system's variables become a fleet, and no token is shown."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from trioworkers.cli import main
from trioworkers.config import load_fleet
from trioworkers.scaffold import DotenvError, parse_dotenv

FIRST, SECOND, THIRD = (f"{number}23456789:{'Aa-_9' * 7}" for number in (1, 2, 3))
SECRET = "webhook-secret-of-the-old-system"
VARIABLES = {
    "NODE_ENV": "production",
    "BOT_MODE": "webhook",
    "WEBHOOK_HOST": "bots.example.org",
    "WEBHOOK_PORT": "8443",
    "WEBHOOK_SECRET": SECRET,
    "WEBHOOK_SSL_CERT": "cert.pem",
    "WEBHOOK_SSL_KEY": "/etc/old/key.pem",
    "SUPPORT_BOT_TOKEN": FIRST,
    "LOG_LEVEL": "debug",
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, empty, and an environment without the old system's variables."""
    monkeypatch.chdir(tmp_path)
    for name in ("BOT_MODE", "AUTO_SWITCH_MODE", "TRIOWORKERS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(path, variables):
    path.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))


def new(*words, code=0, env=None):
    result = CliRunner().invoke(main, ["new", "fleet", *words], env=env)
    assert result.exit_code == code, result.output
    for secret in (FIRST, SECOND, THIRD, SECRET, "Aa-_9Aa"):
        assert secret not in result.output
    return result.output


def mode(path):
    return path.stat().st_mode & 0o777


def test_a_file_becomes_a_fleet(here):
    """Each variable has its key; tokens and the secret are in files for their owner alone."""
    write(here / ".env", VARIABLES)
    said = new("moved", "--from-env", ".env")
    moved = here / "moved"
    assert tomllib.loads((moved / "fleet.toml").read_text()) == {
        "fleet": {"name": "my-fleet"},
        "api": {"bind": "127.0.0.1:3001"},
        "webhook": {
            "public_url": "https://bots.example.org:8443",
            "bind": "0.0.0.0:8443",
            "secret": {"file": "secrets/webhook.secret"},
            "tls_cert": str(here / "cert.pem"),
            "tls_key": "/etc/old/key.pem",
        },
        "defaults": {"transport": "webhook"},
        "bots": {
            "support": {
                "token": {"file": "secrets/support.token"},
                "handler": "support:handle",
                "settings": {"greeting": "hi"},
            }
        },
    }
    assert (moved / "secrets/support.token").read_text() == f"{FIRST}\n"
    assert (moved / "secrets/webhook.secret").read_text() == f"{SECRET}\n"
    assert [mode(moved / name) for name in ("secrets", "secrets/support.token")] == [0o700, 0o600]
    assert mode(moved / "secrets/webhook.secret") == 0o600
    assert "secrets/" in (moved / ".gitignore").read_text()
    for path in moved.rglob("*"):
        if path.is_file() and path.parent.name != "secrets":
            assert FIRST not in path.read_text()
            assert SECRET not in path.read_text()
    assert "bot support, its token from SUPPORT_BOT_TOKEN" in said
    assert "NODE_ENV means nothing" in said
    assert "not carried over: LOG_LEVEL\n" in said


def test_the_environment_becomes_a_fleet_that_names_it(here):
    """What the daemon will find in its environment is named, and no secret is written anywhere."""
    said = new("--from-env", env=VARIABLES)
    tables = tomllib.loads((here / "fleet.toml").read_text())
    assert tables["bots"]["support"]["token"] == {"env": "SUPPORT_BOT_TOKEN"}
    assert tables["webhook"]["secret"] == {"env": "WEBHOOK_SECRET"}
    assert not (here / "secrets").exists()
    assert "LOG_LEVEL" not in said  # an environment is full of what was never the old system's


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"BOT_MODE": "polling"},
        {"BOT_MODE": "polling", "AUTO_SWITCH_MODE": "true", "WEBHOOK_HOST": "bots.example.org"},
        {"BOT_MODE": "WEBHOOK", "WEBHOOK_HOST": "https://bots.example.org:443", "WEBHOOK_PORT": "3000"},
        {"WEBHOOK_HOST": "bots.example.org", "WEBHOOK_SECRET": SECRET, "AUTO_SWITCH_MODE": "false"},
    ],
)
def test_the_fleet_is_the_one_that_the_variables_would_make(here, variables):
    """The written keys say what the daemon would take from the same variables if the file left them out."""
    write(here / ".env", {**variables, "SHOP_TOKEN": FIRST})
    new("written", "--from-env", ".env")
    bot = 'token = { env = "SHOP_TOKEN" }\nhandler = "shop:handle"\nsettings = { greeting = "hi" }\n'
    (here / "plain.toml").write_text(f"[bots.shop]\n{bot}")
    written = load_fleet(here / "written/fleet.toml", {})
    plain = load_fleet(here / "plain.toml", {**variables, "SHOP_TOKEN": FIRST})
    assert written.bots["shop"] == plain.bots["shop"]
    assert written.webhook == plain.webhook


def test_every_token_is_one_bot(here):
    """Names come from variables and hide no module; lists are taken apart; the same bot is taken once."""
    variables = {
        "TELEGRAM_BOT_TOKEN": FIRST,
        "TOKEN": f"{FIRST.partition(':')[0]}:another-token-of-the-first",
        "BOT_TOKENS": f'"{SECOND}, {THIRD}"',
        "EMAIL_TOKEN": f"4{FIRST}",
        "WHATEVER": f"5{FIRST}",
        "DATABASE_URL": "postgres://user:12:34@host",
        "AT": "12:30",
    }
    write(here / ".env", variables)
    said = new("--from-env", ".env")
    fleet = load_fleet(here / "fleet.toml", {})
    assert list(fleet.bots) == ["bot", "bot_1", "bot_2", "bot_email", "whatever"]
    assert {bot.bot_id for bot in fleet.bots.values()} == {
        int(token.partition(":")[0]) for token in (FIRST, SECOND, THIRD, f"4{FIRST}", f"5{FIRST}")
    }
    assert "TOKEN: its bot has its token from TELEGRAM_BOT_TOKEN already; left out" in said
    assert "not carried over: DATABASE_URL, AT\n" in said


def test_a_moved_fleet_can_be_talked_to(here):
    """`play.py` runs its bots without Telegram, whatever transport the variables ask for; so do its tests."""
    write(here / ".env", VARIABLES)
    new("--from-env", ".env")
    command = [sys.executable, "play.py"]
    run = subprocess.run(command, cwd=here, input="you\n\n", capture_output=True, text=True, check=False)
    assert "support: hi you\n" in run.stdout, run.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("BOT_MODE=sideways\n", "BOT_MODE: expected"),
        ("WEBHOOK_PORT=99999\n", "WEBHOOK_PORT: expected a port"),
        ("A=1\nwhat is this\n", ".env:2: expected NAME=VALUE"),
    ],
)
def test_what_means_nothing_is_refused_before_anything_is_written(here, text, said):
    """Exit 1; the message names the variable or the line."""
    (here / ".env").write_text(text)
    assert said in new("moved", "--from-env", ".env", code=1)
    assert not (here / "moved").exists()
    assert "no such file" in new("moved", "--from-env", "none", code=1)


def test_nothing_is_overwritten(here):
    """A secret that is there stays, and nothing else is written."""
    write(here / ".env", VARIABLES)
    (here / "secrets").mkdir()
    (here / "secrets/support.token").write_text("mine")
    assert "nothing was written" in new("--from-env", ".env", code=1)
    assert (here / "secrets/support.token").read_text() == "mine"
    assert not (here / "fleet.toml").exists()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=b", "b"),
        ("  export A = b c  # d", "b c"),
        ('A="b # c\\nd"', "b # c\nd"),
        ("A='b\\n \" c' # d", 'b\\n " c'),
        ("A=`b 'c' \"d\"`", "b 'c' \"d\""),
        ('A="b\nc"\n', "b\nc"),
        ("A=b\r\nB=c\r\n", "b"),
        ("A=b=c", "b=c"),
        ("A=it's", "it's"),
        ('A="b" c', '"b" c'),
        ("A=", ""),
        ("A=a\nA=b", "b"),
        ("\ufeff# c\n\nA=b", "b"),
    ],
)
def test_a_file_is_read_as_node_reads_it(text, value):
    """dotenv 18 gives each of these values; so does Node 20, but for the byte order mark and `"b" c`."""
    assert parse_dotenv(text)["A"] == value


NAMES = st.tuples(st.sampled_from("aZ_"), st.text("aZ_9é", max_size=9)).map("".join)  # a regex draws slowly


@given(st.dictionaries(NAMES, st.text("ab #=:'\n\\", max_size=9), max_size=9))
def test_what_is_quoted_is_read_back(values):
    """Double quotes hold any text without double quotes and escapes."""
    values = {name: value.replace("\\", "") for name, value in values.items()}
    text = "".join(f'{name}="{value}"\n' for name, value in values.items())
    assert parse_dotenv(text) == values


@pytest.mark.parametrize("text", ["A", "A b=c", "=b", "A=1\n-", "# c\nexport\n"])
def test_a_line_that_assigns_nothing_is_an_error(text):
    """Its number is named, and nothing that it says."""
    with pytest.raises(DotenvError, match=r"^\.env:\d: expected NAME=VALUE, a comment or an empty line$"):
        parse_dotenv(text)
