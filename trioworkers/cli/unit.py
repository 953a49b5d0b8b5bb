"""`trioworkers unit`: a systemd unit for the fleet at hand."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trioworkers.cli.failures import refuse

if TYPE_CHECKING:
    from trioworkers.service.unit import User

HELP = """Print a systemd unit that runs this fleet.

\b
For a fleet file that root owns, systemd makes a user for the service, and folders in /var/lib, /run and
/var/log. For another user's fleet file the daemon runs as that user, and writes where the file says.
Credentials that the file names are loaded from /etc/trioworkers/credentials, those of another user's file
from a folder in it that has the unit's name. The first line of the unit says where to put it.

\b
  trioworkers -c /etc/trioworkers/fleet.toml unit > /etc/systemd/system/trioworkers.service
  systemctl daemon-reload && systemctl enable --now trioworkers
"""


@click.command(help=HELP)
@click.pass_obj
def unit(config: Path | None) -> None:
    from trioworkers.config import FleetFileError, find_fleet_file, read_served
    from trioworkers.service.places import service_folders, service_name
    from trioworkers.service.unit import Service, UnitError, unit_text

    try:
        file = find_fleet_file(config, os.environ).resolve()
        served = read_served(file, {})
    except FleetFileError as error:
        refuse([str(problem) for problem in error.problems])
    name, user = service_name(file), _owner(file)
    service = Service(
        name,
        str(_executable()),
        str(file),
        shutdown_timeout=served.shutdown_timeout,
        credentials=served.credentials,
        user=user,
        folders=[str(folder) for folder in served.folders] if user else [],
    )
    try:
        text = unit_text(service)
    except UnitError as error:
        refuse([str(error)])
    click.echo(f"# /etc/systemd/system/{name}.service\n{text}", nl=False)
    if user is None:
        for key, folder in served.placed.items():
            if not any(folder.is_relative_to(own) for own in service_folders(file)):
                click.echo(f"{file}: {key}: the service cannot write to {folder}, remove the key", err=True)


def _owner(file: Path) -> User | None:
    """The user whose fleet it is; None for root's, who runs no bots."""
    from trioworkers.service.unit import User

    status = file.stat()
    if status.st_uid == 0:
        return None
    try:
        entry = pwd.getpwuid(status.st_uid)
    except KeyError:
        return User(str(status.st_uid), status.st_gid, is_named=False)
    return User(entry.pw_name, entry.pw_gid)


def _executable() -> Path:
    """The command that was called, by the link that leads to it: an upgrade may change the link."""
    called = Path(sys.argv[0])
    if called.name == "trioworkers" and called.is_absolute() and called.is_file():
        return called
    return Path(sys.prefix) / "bin" / "trioworkers"
