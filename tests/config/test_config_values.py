"""Units, secrets and the other values of the fleet file."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from trioworkers.config import Bind, Secret, Shard
from trioworkers.config.secret import SecretContext
from trioworkers.config.units import parse_duration, parse_size
from trioworkers.config.values import BindAddress

CANARY = "123456:CANARY-canary_CANARY-canary_CANARY"


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("50ms", 0.05),
        ("45s", 45.0),
        ("5m", 300.0),
        ("1h", 3600.0),
        ("30d", 2_592_000.0),
        ("1.5 s", 1.5),
        (0, 0.0),
        (2.5, 2.5),
    ],
)
def test_durations_are_seconds(written, seconds):
    """A duration is a number of seconds, or a string with one of five units."""
    assert parse_duration(written) == seconds
    assert isinstance(parse_duration(written), float)


@pytest.mark.parametrize(
    "written", ["", "5", "5 minutes", "-1s", "1w", "s", "5M", True, None, [], "1e3s", 10**400]
)
def test_other_durations_are_refused(written):
    """Anything else is no duration, a boolean and a bare number in quotes included."""
    with pytest.raises(ValueError, match="expected"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("written", "size"),
    [("150MB", 150 * 2**20), ("150MiB", 150 * 2**20), ("1KB", 1024), ("1.5GB", 3 * 2**29), ("7B", 7), (9, 9)],
)
def test_sizes_are_bytes_in_powers_of_1024(written, size):
    """MB is 2^20, as in systemd, Docker and PM2."""
    assert parse_size(written) == size


@pytest.mark.parametrize("written", ["", "150", "150mb", "1TB", "-1MB", 1.5, True, None])
def test_other_sizes_are_refused(written):
    """Anything else is no size."""
    with pytest.raises(ValueError, match="expected bytes"):
        parse_size(written)


def test_a_secret_shows_itself_only_to_reveal():
    """No way of writing a secret down shows it, and it cannot leave the process by pickle."""
    secret = Secret(CANARY)
    assert secret.reveal() == CANARY
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>40}", "%s" % secret, repr([secret])]  # noqa: UP031
    shown.append(TypeAdapter(Secret).dump_json(secret).decode())
    assert all("CANARY" not in text and "**********" in text for text in shown)
    for refuse in (pickle.dumps, json.dumps):
        with pytest.raises(TypeError) as caught:
            refuse(secret)
        assert "CANARY" not in str(caught.value)
    assert copy.deepcopy(secret) is copy.copy(secret) is secret
    assert not hasattr(secret, "__dict__")


def test_secrets_compare_by_what_they_hide():
    """A plan can tell a changed token from an unchanged one, odd bytes of the environment included."""
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert hash(Secret("a")) == hash(Secret("a"))
    assert Secret("\udcff") == Secret("\udcff")


def test_binds_are_read_and_written(tmp_path):
    """Hosts, addresses of both families and Unix sockets; a relative socket is below the folder."""
    adapter: TypeAdapter[Bind] = TypeAdapter(BindAddress)
    surroundings = SecretContext(tmp_path, {})
    read = {
        "127.0.0.1:3001": Bind("127.0.0.1", 3001),
        "[::1]:80": Bind("::1", 80),
        "example.org:0": Bind("example.org", 0),
        "unix:/run/x.sock": Bind("", 0, Path("/run/x.sock")),
        "unix:x.sock": Bind("", 0, tmp_path / "x.sock"),
    }
    for written, bind in read.items():
        assert adapter.validate_python(written, context=surroundings) == bind
        assert adapter.validate_python(bind, context=surroundings) == bind
    assert [str(bind) for bind in read.values()] == [*list(read)[:4], f"unix:{tmp_path}/x.sock"]
    assert [bind.is_local for bind in read.values()] == [True, True, False, True, True]
    assert not Bind("0.0.0.0", 1).is_local  # noqa: S104
    assert Bind("localhost", 1).is_local


def test_every_bot_falls_to_exactly_one_shard():
    """The shards of a fleet divide the bots, the same way every time."""
    shards = [Shard(index, 3) for index in range(3)]
    owners = [[shard.index for shard in shards if shard.owns(bot)] for bot in range(1, 300)]
    assert all(len(found) == 1 for found in owners)
    assert {found[0] for found in owners} == {0, 1, 2}


def test_shards_are_even_and_stay_where_they_are():
    """Ids are spread within a tenth of their share; where some fall is written down here for ever."""
    for count in (2, 3, 7):
        shards = [Shard(index, count) for index in range(count)]
        sizes = [sum(shard.owns(bot) for bot in range(5_000_000_000, 5_000_007_000)) for shard in shards]
        assert sum(sizes) == 7000
        assert all(abs(size - 7000 / count) < 700 / count for size in sizes)
    fallen = [
        next(index for index in range(5) if Shard(index, 5).owns(bot))
        for bot in (1, 2, 123456, 7_000_000_000)
    ]
    assert fallen == [3, 1, 0, 2]
