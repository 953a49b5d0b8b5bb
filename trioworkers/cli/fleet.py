"""The fleet that a command is about: read from its file; and where its daemon complains."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from trioworkers.cli.failures import refuse

if TYPE_CHECKING:
    from pathlib import Path

    from trioworkers.config import Fleet


def read_fleet(config: Path | None) -> Fleet:
    """The fleet file that is meant, read; exits with 78 and every problem told when it is bad."""
    from trioworkers.config import FleetFileError, find_fleet_file, load_fleet

    try:
        return load_fleet(find_fleet_file(config, os.environ), os.environ)
    except FleetFileError as error:
        refuse([str(problem) for problem in error.problems])


def daemon_errors(fleet: Fleet) -> Path:
    """The file that is the standard error of a detached daemon."""
    return fleet.log_dir / "daemon.err"
