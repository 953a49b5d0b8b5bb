"""The name of a fleet's service, and of the folders that systemd makes for it, by the path of its fleet file.

Both the unit and the commands that look for its daemon need it: `$RUNTIME_DIRECTORY` is set for the service
only, not in the terminal of the person who asks for the status.
"""

from __future__ import annotations

import re
from pathlib import Path

SYSTEM_FOLDER = Path("/etc/trioworkers")
RUNTIME, STATE, LOGS = Path("/run"), Path("/var/lib"), Path("/var/log")
NAME = "trioworkers"
CONTROL_SOCKET = "control.sock"
_USUAL = "fleet"  # a fleet file of this name needs no mention


def service_name(file: Path) -> str:
    """The name of the service of a fleet file, without `.service`.

    `trioworkers` for /etc/trioworkers/fleet.toml, `trioworkers-shop` for /etc/trioworkers/shop.toml, as the
    template has it, and `trioworkers.srv.bots` for /srv/bots/fleet.toml.
    """
    file = file.resolve()
    usual = file.stem == _USUAL
    if file.parent == SYSTEM_FOLDER:
        return NAME if usual else f"{NAME}-{file.stem}"
    parts = [*file.parent.parts[1:], *([] if usual else [file.stem])]
    return ".".join([NAME, *map(_escaped, parts)])


def service_socket(file: Path) -> Path:
    """The control socket of a fleet that runs as a service."""
    return RUNTIME / service_name(file) / CONTROL_SOCKET


def service_logs(file: Path) -> Path:
    """The log folder of a fleet that runs as a service."""
    return LOGS / service_name(file)


def service_folders(file: Path) -> tuple[Path, ...]:
    """The folders of runtime files, of the state and of the logs that systemd makes for a fleet's service."""
    return tuple(place / service_name(file) for place in (RUNTIME, STATE, LOGS))


def _escaped(part: str) -> str:
    """A part of a path as a part of a name, in which `.` separates parts."""
    return re.sub(r"[^A-Za-z0-9_-]", lambda found: "".join(f"_x{b:02x}" for b in found[0].encode()), part)
