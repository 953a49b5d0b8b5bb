"""A machine with a real systemd, as `scripts/test-machine` prepares it; else nothing is collected."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import simulator
from installed import FREEZES, HANDLERS, PORT, QUICK, TOKENS, Installed
from machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

collect_ignore_glob = [] if "TRIOWORKERS_MACHINE_ROOT" in os.environ else ["test_*.py"]


@pytest.fixture(scope="session")
def packages() -> Path:
    """The wheels: ours and all that it needs."""
    return Path(os.environ["TRIOWORKERS_MACHINE_PACKAGES"])


@pytest.fixture(scope="session")
def machine(packages: Path) -> Iterator[Machine]:
    """A Debian that has booted, with this checkout at /checkout and the packages at /packages."""
    binds = {"/checkout": Path(__file__).parents[2], "/packages": packages}
    with Machine.booted(Path(os.environ["TRIOWORKERS_MACHINE_ROOT"]), binds) as machine:
        yield machine


@pytest.fixture(scope="session")
def installed(machine: Machine, packages: Path) -> Iterator[Installed]:
    """The service with two bots, installed by `scripts/install`, and a Telegram for it."""
    words = [simulator.__file__, str(PORT), *(f"{name}={token}" for name, token in TOKENS.items())]
    for name, token in TOKENS.items():
        machine.write(f"/etc/trioworkers/credentials/{name}", token, mode=0o600)
    machine.write("/etc/trioworkers/echo.py", HANDLERS)
    machine.write("/etc/trioworkers/plugins/freezes.py", FREEZES)
    machine.write("/etc/systemd/system/trioworkers.service.d/quick.conf", QUICK)
    with machine.started_outside(sys.executable, *words) as telegram:
        assert telegram.stdout is not None
        assert telegram.stdout.readline() == "serves\n"
        installed = Installed(machine, telegram, packages)
        installed.configure()
        done = installed.install()
        assert done.returncode == 0, done.stderr
        yield installed
