"""Where settings come from besides the file: the environment, secrets' sources, `fleet.d`."""

from __future__ import annotations

from pathlib import Path

import pytest

from trioworkers.bot_server import server_of
from trioworkers.botapi.server import Server
from trioworkers.config import FleetFileError, Secret, load_fleet

BOT = '[bots.echo]\ntoken = "123:abc"\nhandler = "echo:handle"\n'


@pytest.fixture
def load(tmp_path):
    def load(text="", environ=None, **files):
        for name, content in {"fleet.toml": text, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return load_fleet(tmp_path / "fleet.toml", environ or {})

    return load


def test_the_environment_fills_what_the_file_leaves_out(load, tmp_path):
    """systemd's directories and the replaced system's names; NODE_ENV means nothing."""
    environ = {
        "STATE_DIRECTORY": "/var/lib/tw:/other",
        "WEBHOOK_HOST": "bots.example.org",
        "WEBHOOK_PORT": "8443",
        "WEBHOOK_SECRET": "abc_1",
        "WEBHOOK_SSL_CERT": "c.pem",
        "WEBHOOK_SSL_KEY": "/k.pem",
        "BOT_MODE": "webhook",
        "NODE_ENV": "production",
        "TRIOWORKERS_API_TOKEN": "api",
    }
    fleet = load(BOT, environ)
    assert (fleet.state_dir, fleet.runtime_dir) == (Path("/var/lib/tw"), Path("/var/lib/tw/run"))
    assert fleet.log_dir == Path("/var/lib/tw/logs")
    assert fleet.webhook.public_url == "https://bots.example.org:8443"
    assert str(fleet.webhook.bind) == "0.0.0.0:8443"
    assert fleet.webhook.secret == Secret("abc_1")
    assert (fleet.webhook.tls_cert, fleet.webhook.tls_key) == (tmp_path / "c.pem", Path("/k.pem"))
    assert fleet.api.token == Secret("api")
    assert fleet.bots["echo"].transport == "webhook"
    systemd = {"RUNTIME_DIRECTORY": "/run/tw", "LOGS_DIRECTORY": "/var/log/tw"}
    fleet = load(BOT, {**environ, **systemd, "AUTO_SWITCH_MODE": "true"})
    assert (fleet.runtime_dir, fleet.log_dir) == (Path("/run/tw"), Path("/var/log/tw"))
    assert fleet.bots["echo"].transport == "auto"


def test_explicit_keys_win_over_the_environment(load, tmp_path):
    """A key of the file is never changed by a variable, not even by a senseless one."""
    text = """
        [fleet]
        state_dir = "s"
        [webhook]
        bind = "127.0.0.1:1"
        public_url = "https://h"
        secret = "file"
        [defaults]
        transport = "poll"
        """
    environ = {
        "STATE_DIRECTORY": "/env", "WEBHOOK_HOST": "env", "WEBHOOK_PORT": "nonsense",
        "WEBHOOK_SECRET": "env", "BOT_MODE": "nonsense", "AUTO_SWITCH_MODE": "true",
    }  # fmt: skip
    fleet = load(text + BOT, environ)
    assert fleet.state_dir == tmp_path / "s"
    assert fleet.runtime_dir == tmp_path / "s/run"
    assert (str(fleet.webhook.bind), fleet.webhook.public_url) == ("127.0.0.1:1", "https://h")
    assert fleet.webhook.secret == Secret("file")
    assert fleet.bots["echo"].transport == "poll"


@pytest.mark.parametrize(
    ("environ", "transport"),
    [
        ({"BOT_MODE": "polling"}, "poll"),
        ({"BOT_MODE": ""}, "poll"),
        ({"AUTO_SWITCH_MODE": "true", "BOT_MODE": "polling"}, "auto"),
        ({"AUTO_SWITCH_MODE": "false"}, "poll"),
    ],
)
def test_the_replaced_systems_modes(load, environ, transport):
    """BOT_MODE and AUTO_SWITCH_MODE choose the default transport."""
    assert load(BOT, environ).bots["echo"].transport == transport


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"WEBHOOK_HOST": "h"}, "https://h"),
        ({"WEBHOOK_HOST": "https://h/x/"}, "https://h/x"),
        ({"WEBHOOK_HOST": "h:443", "WEBHOOK_PORT": "80"}, "https://h:443"),
        ({"WEBHOOK_HOST": "https://h/x", "WEBHOOK_PORT": "80"}, "https://h:80/x"),
    ],
)
def test_webhook_host_becomes_the_public_address(load, environ, url):
    """A bare host is https; the port is added only where none is named."""
    assert load(BOT, environ).webhook.public_url == url


def test_secrets_come_from_variables_files_and_credentials(load, tmp_path):
    """Each source of a token works, and the variables are remembered."""
    (tmp_path / "creds").mkdir()
    (tmp_path / "creds" / "three").write_text("3:c")
    (tmp_path / "two.txt").write_text("2:b\n")
    bots = "".join(
        f'[bots.{name}]\nhandler = "a:b"\ntoken = {token}\n'
        for name, token in {
            "one": '{ env = "ONE" }', "two": '{ file = "two.txt" }', "three": '{ credential = "three" }',
        }.items()
    )  # fmt: skip
    fleet = load(bots, {"ONE": "1:a", "CREDENTIALS_DIRECTORY": str(tmp_path / "creds")})
    assert {name: bot.token.reveal() for name, bot in fleet.bots.items()} == {
        "one": "1:a", "two": "2:b", "three": "3:c",
    }  # fmt: skip
    assert "ONE" in fleet.secret_env_names


def test_fleet_d_adds_bots(load, tmp_path):
    """Files beside the fleet file and in state_dir add bots, merged with the same defaults."""
    fleet = load(
        "[fleet]\nstate_dir='st'\n[defaults]\nconcurrency=3\n" + BOT,
        **{
            "fleet.d/a.toml": '[bots.a]\ntoken="1:a"\nhandler="a:a"\n',
            "fleet.d/ignored.txt": "not toml",
            "st/fleet.d/b.toml": '[bots.b]\ntoken={file="tok"}\nhandler="b:b"\n',
            "tok": "2:b",
        },
    )
    assert list(fleet.bots) == ["echo", "a", "b"]
    assert fleet.bots["b"].concurrency == 3
    problem = fleet.problem_at(("bots", "b", "handler"), "cannot be imported")
    assert str(problem) == f"{tmp_path}/st/fleet.d/b.toml:3:9: bots.b.handler: cannot be imported"


def test_one_fleet_d_is_read_once(load, tmp_path):
    """A state_dir that is the file's own folder, by whatever path, adds no bot twice."""
    for state in (".", "../" + tmp_path.name):
        fleet = load(f"[fleet]\nstate_dir='{state}'\n", **{"fleet.d/a.toml": BOT})
        assert list(fleet.bots) == ["echo"]


@pytest.mark.parametrize("name", ["fleet.toml", "fleet.d/shop.toml"])
def test_a_file_that_everybody_can_write_is_refused(load, tmp_path, name):
    """Whoever writes it chooses the code that runs as our user."""
    files = {"fleet.d/shop.toml": BOT}
    assert load("", **files).bots
    (tmp_path / name).chmod(0o666)
    with pytest.raises(FleetFileError) as caught:
        load_fleet(tmp_path / "fleet.toml", {})
    assert str(caught.value).endswith(f"{name}: can be written by all users: chmod o-w {tmp_path / name}")


@pytest.mark.parametrize(
    ("environ", "server", "proxy"),
    [
        ({}, "https://api.telegram.org", None),
        ({"HTTPS_PROXY": "http://p:1"}, "https://api.telegram.org", "http://p:1"),
        ({"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "https://x.org", "http://p:1"),
        ({"HTTPS_PROXY": "p:1"}, "https://x.org", "p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "https://x.org", None),
        ({"HTTP_PROXY": "http://p:1"}, "http://10.0.0.1:8081", "http://p:1"),
        ({"ALL_PROXY": "socks5h://p:1"}, "https://x.org", "socks5h://p:1"),
        ({"ALL_PROXY": "socks5h://p:1", "HTTPS_PROXY": "http://q:1"}, "https://x.org", "http://q:1"),
        ({"ALL_PROXY": "socks5://p:1", "NO_PROXY": "*"}, "https://x.org", None),
        ({"ALL_PROXY": "socks5://p:1", "NO_PROXY": "y.org, x.org"}, "https://x.org", None),
        ({"ALL_PROXY": "socks5://p:1", "no_proxy": "x.org"}, "https://api.X.org", None),
        ({"ALL_PROXY": "socks5://p:1", "NO_PROXY": "x.org"}, "https://apix.org", "socks5://p:1"),
        ({"ALL_PROXY": "socks5://p:1", "NO_PROXY": ".x.org"}, "https://x.org", "socks5://p:1"),
        ({"ALL_PROXY": "socks5://p:1", "NO_PROXY": "x.org:8081"}, "http://x.org:8081", None),
        ({"ALL_PROXY": "socks5://p:1", "NO_PROXY": "x.org:80"}, "http://x.org:8081", "socks5://p:1"),
        ({"ALL_PROXY": "socks5://p:1", "NO_PROXY": "https://x.org"}, "http://x.org", "socks5://p:1"),
        ({"ALL_PROXY": "socks5://p:1", "NO_PROXY": "localhost,127.0.0.1"}, "http://127.0.0.1:8081", None),
        ({"ALL_PROXY": "socks5://p:1", "NO_PROXY": "localhost"}, "http://localhost:8081", None),
        ({"ALL_PROXY": "socks5://p:1", "NO_PROXY": "10.0.0.0/8"}, "http://10.1.2.3:8081", None),
        ({"ALL_PROXY": "socks5://p:1", "NO_PROXY": "::1"}, "http://[::1]:8081", None),
    ],
)
def test_proxies_of_the_environment(load, environ, server, proxy):
    """By httpx's conventions, and networks besides; the file's own wins."""
    fleet = load(f'[fleet]\napi_base = "{server}"\n{BOT}', environ)
    assert (fleet.proxy and fleet.proxy.reveal()) == proxy
    own = load(f'[fleet]\napi_base = "{server}"\nproxy = "http://own:1"\n{BOT}', environ)
    assert own.proxy == Secret("http://own:1")


def test_a_bots_proxy_is_its_own_the_fleets_or_none(load):
    """A bot's wins over the fleet's; `direct` is none. What is shown of it is a mask."""
    text = (
        '[fleet]\nproxy = { env = "P" }\n'
        '[bots.a]\ntoken = "1:abc"\nhandler = "e:h"\n'
        '[bots.b]\ntoken = "2:abc"\nhandler = "e:h"\nproxy = "http://b:1"\ntest_servers = true\n'
        '[bots.c]\ntoken = "3:abc"\nhandler = "e:h"\nproxy = "direct"\n'
    )
    fleet = load(text, {"P": "socks5://user:covert@p:1"})
    servers = {name: server_of(fleet, bot) for name, bot in fleet.bots.items()}
    assert servers["a"] == Server("https://api.telegram.org", "socks5://user:covert@p:1")
    assert servers["b"] == Server("https://api.telegram.org", "http://b:1", is_test=True)
    assert servers["c"] == Server("https://api.telegram.org")
    local = load(f'[fleet]\nlocal_files = "/srv/api"\n{BOT}')
    assert server_of(local, local.bots["echo"]).local_files == "/srv/api"
    shown = [repr(fleet), str(servers), *(bot.model_dump_json() for bot in fleet.bots.values())]
    assert "covert" not in "".join(shown)
    assert "P" in fleet.secret_env_names
    assert fleet.for_plugin("x").proxy is None


@pytest.mark.parametrize("proxy", ["ftp://covert:1", "http://", "socks5://covert:99999", "http://covert:1/x"])
def test_what_is_no_proxy_is_refused_without_being_quoted(load, proxy):
    """It may hold a password."""
    with pytest.raises(FleetFileError) as caught:
        load(f'[fleet]\nproxy = "{proxy}"\n{BOT}')
    (problem,) = caught.value.problems
    assert problem.path == "fleet.proxy"
    assert 'expected "direct", or http, https, socks5 or socks5h' in problem.message
    assert "covert" not in str(caught.value)
    with pytest.raises(FleetFileError, match="HTTPS_PROXY"):
        load(BOT, {"HTTPS_PROXY": proxy})
