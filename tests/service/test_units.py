"""The units: what systemd itself says about them, and that each copy is the same."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from trioworkers.service.places import service_logs, service_name, service_socket
from trioworkers.service.unit import Service, UnitError, User, files, unit_text

SCRIPTS = Path(__file__).parents[2] / "scripts"
WORST = 2.0  # of systemd-analyze security


@pytest.mark.parametrize("name", files())
def test_each_unit_of_the_scripts_is_the_one_that_is_installed(name: str) -> None:
    """`scripts` shows what `trioworkers.service.unit` makes; to renew a copy, write what it makes there."""
    assert (SCRIPTS / name).read_text() == files()[name]


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with a command that exists."""
    command = tmp_path / "trioworkers"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    for name, text in files().items():
        (tmp_path / name).write_text(text.replace("/opt/trioworkers/venv/bin/trioworkers", str(command)))
    return tmp_path


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    """What systemd-analyze says."""
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)  # noqa: S607


def exposure(file: Path) -> float:
    """What `systemd-analyze security` says of a unit."""
    said = analyze("security", "--offline=true", "--no-pager", str(file))
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", said.stdout)
    assert found is not None, said
    return float(found[1])


@pytest.mark.parametrize("name", [name.replace("@", "@shop") for name in files()])
def test_systemd_finds_nothing_wrong(units: Path, name: str) -> None:
    """Not a word, of keys that it does not know or anything else."""
    done = analyze("verify", "--man=no", str(units / name))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["trioworkers.service", "trioworkers@.service"])
def test_it_is_exposed_to_little(units: Path, name: str) -> None:
    """At most 2.0, where 10 is a service without any limits."""
    (units / "x.service").write_text((units / name).read_text().replace("%i", "shop"))
    assert exposure(units / "x.service") <= WORST


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("/etc/trioworkers/fleet.toml", "trioworkers"),
        ("/etc/trioworkers/my-shop.toml", "trioworkers-my-shop"),
        ("/srv/my-bots/fleet.toml", "trioworkers.srv.my-bots"),
        ("/srv/v1.2/shop.toml", "trioworkers.srv.v1_x2e2.shop"),
    ],
)
def test_a_service_is_named_after_its_file(file: str, name: str) -> None:
    """And what systemd makes for it, after the service."""
    path = Path(file)
    assert service_name(path) == name
    assert service_socket(path) == Path("/run", name, "control.sock")
    assert service_logs(path) == Path("/var/log", name)


def test_a_users_fleet_runs_as_that_user(tmp_path: Path) -> None:
    """It writes where the file says, and nowhere else."""
    text = unit_text(
        Service(
            "x",
            "/home/ann/v/bin/trioworkers",
            "/home/ann/100% bots/fleet.toml",
            30,
            ("a",),
            User("ann", 1001),
            ("/home/ann/s", '/home/ann/$s "2"'),
        )
    )
    lines = text.splitlines()
    assert "User=ann" in lines
    assert "DynamicUser=yes" not in lines
    assert "ReadWritePaths=-/home/ann/s" in lines
    assert r'ReadWritePaths=-"/home/ann/$s \"2\""' in lines
    assert "LoadCredential=a:/etc/trioworkers/credentials/x/a" in lines  # not those of other fleets
    assert "ProtectHome=read-only" in lines
    assert "TimeoutStopSec=45s" in lines
    assert 'ExecStart=/home/ann/v/bin/trioworkers -c "/home/ann/100%% bots/fleet.toml" run' in lines


def test_credentials_are_loaded_by_their_names() -> None:
    """From the folder that only root can read."""
    text = unit_text(Service("x", "/x", "/etc/trioworkers/fleet.toml", credentials=("a", "b")))
    assert "LoadCredential=a:/etc/trioworkers/credentials/a\n" in text
    assert "LoadCredential=b:/etc/trioworkers/credentials/b\n" in text


@pytest.mark.parametrize("user", [User("ann", 1001), User("54321", 54321, is_named=False)])
def test_folders_are_made_as_the_user(user: User) -> None:
    """Never as root, who would give away what a path of the user leads to."""
    text = unit_text(Service("x", "/x", "/srv/fleet.toml", user=user, folders=("/srv/a b", "/srv/$c")))
    (line,) = (line for line in text.splitlines() if line.startswith("ExecStartPre="))
    groups = "--init-groups" if user.is_named else "--clear-groups"
    become = f"/usr/bin/setpriv --reuid={user.name} --regid={user.group} {groups}"
    assert line == f'ExecStartPre=+{become} /usr/bin/mkdir -p -m 0700 "/srv/a b" /srv/$$c'


@pytest.mark.parametrize("path", ["/srv/a\nUser=root/fleet.toml", "/srv/a\r/fleet.toml", "/srv/fleet\\"])
def test_no_path_begins_another_line(path: str) -> None:
    """Whoever names a folder does not write the unit."""
    for service in (
        Service("x", path, "/f.toml"),
        Service("x", "/x", path),
        Service("x", "/x", "/f.toml", user=User("ann", 1), folders=(path,)),
    ):
        with pytest.raises(UnitError, match="printable"):
            unit_text(service)


ODD = """/srv/a b$c%d;'e"f/fleet.toml"""


@pytest.mark.parametrize("user", [None, User("daemon", 1)])
def test_systemd_understands_odd_paths(units: Path, user: User | None) -> None:
    """It finds nothing to say, and rates the unit as any other."""
    file = units / "odd.service"
    folders = (ODD.removesuffix("/fleet.toml"), "/srv/other") if user else ()
    command = str(units / "trioworkers")
    file.write_text(unit_text(Service("odd", command, ODD, 1e300, ("a",), user, folders)))
    done = analyze("verify", "--man=no", str(file))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert exposure(file) <= WORST
