"""IPv4 within IPv6 is IPv4, wherever addresses are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trioworkers.config import load_fleet
from trioworkers.config.proxies import environment_proxy
from trioworkers.config.values import Bind
from trioworkers.ip import is_loopback, read_address, read_network

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::FFFF:7f00:1", "127.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
        ("::127.0.0.1", "::7f00:1"),
        ("64:ff9b::a00:1", "64:ff9b::a00:1"),
    ],
)
def test_an_address(text: str, meant: str) -> None:
    """A mapped one is what it holds; what only looks like one is not."""
    assert str(read_address(text)) == meant
    assert is_loopback(text) == (meant in ("127.0.0.1", "::1"))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:10.1.2.3", "10.1.2.3/32"),
        ("::ffff:10.1.2.3/112", "10.1.0.0/16"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::ffff:0:0/95", "::fffe:0:0/95"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("::/0", "::/0"),
        ("fd00::1", "fd00::1/128"),
    ],
)
def test_a_network(text: str, meant: str) -> None:
    """Of mapped addresses alone it is IPv4's."""
    assert str(read_network(text)) == meant


@pytest.mark.parametrize("text", ["", "x", "10.0.0.1:80", "[::1]", "::ffff:300.0.0.1"])
def test_what_is_no_address(text: str) -> None:
    """It is an error, and no loopback."""
    with pytest.raises(ValueError, match="does not appear to be"):
        read_address(text)
    assert not is_loopback(text)


def test_settings_mean_the_same_address(tmp_path: Path) -> None:
    """A bind of this machine alone, a trusted proxy, a host without a proxy."""
    assert Bind("::ffff:127.0.0.1", 1).is_local
    path = tmp_path / "fleet.toml"
    path.write_text('[webhook]\ntrusted_proxies = ["::ffff:10.0.0.0/104"]\n')
    assert [str(network) for network in load_fleet(path, {}).webhook.trusted_proxies] == ["10.0.0.0/8"]
    environ = {"ALL_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}
    assert environment_proxy(environ, "http://[::ffff:10.0.0.1]:1") is None
    assert environment_proxy(environ, "http://11.0.0.1:1") is not None
