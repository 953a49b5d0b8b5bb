"""The systemd unit that runs a fleet: systemd.service(5), systemd.exec(5)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trioworkers.errors import TrioworkersError
from trioworkers.service.places import SYSTEM_FOLDER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

STOP_MARGIN = 15  # seconds beyond fleet.shutdown_timeout until systemd kills
LONGEST_STOP = 10 * 365 * 86400  # seconds; systemd ignores a line with a time beyond its range
CREDENTIALS = SYSTEM_FOLDER / "credentials"
HOMES = ("/home/", "/root/", "/run/user/")


class UnitError(TrioworkersError):
    """A path cannot be written into a unit."""


@dataclass(frozen=True, slots=True)
class User:
    """The user who runs a fleet.

    Attributes:
        name: the user's name; the number, where it has no name.
        group: the number of the primary group.
        is_named: whether the system knows the user, and so its further groups.
    """

    name: str
    group: int
    is_named: bool = True


@dataclass(frozen=True, slots=True)
class Service:
    """A fleet as a service.

    Attributes:
        name: of the unit, without `.service`, and of its folders below /run, /var/lib and /var/log.
        executable: the path of the command `trioworkers`.
        file: the path of the fleet file.
        shutdown_timeout: seconds that a graceful stop may take.
        credentials: the names that the fleet file refers to.
        user: runs it; None: a user that systemd makes up, with folders of systemd's.
        folders: what the daemon writes to, if there is a user.
        is_template: `%i` in the name and the path of the fleet file stands for the instance.
    """

    name: str
    executable: str
    file: str
    shutdown_timeout: float = 90.0
    credentials: Sequence[str] = ()
    user: User | None = None
    folders: Sequence[str] = ()
    is_template: bool = False


SYSTEM = Service("trioworkers", "/opt/trioworkers/venv/bin/trioworkers", str(SYSTEM_FOLDER / "fleet.toml"))
"""The fleet that `scripts/install` installs a unit for."""
TEMPLATE = Service(
    "trioworkers-%i",
    "/opt/trioworkers/venv/bin/trioworkers",
    str(SYSTEM_FOLDER / "%i.toml"),
    is_template=True,
)
"""Further fleets on the same machine."""


def unit_text(service: Service) -> str:
    """The text of the unit.

    Raises:
        UnitError: a path has a character that would end a line of the unit.
    """
    for path in (service.executable, service.file, *service.folders):
        if not path.isprintable() or path.endswith("\\"):
            message = f"expected a path of printable characters without a backslash at its end, got {path!r}"
            raise UnitError(message)
    file = service.file if service.is_template else _literal(service.file)
    command = f"{_word(_literal(service.executable))} -c {_word(file)}"
    lines = [
        "[Unit]",
        f"Description=trioworkers, Telegram bots of {file}",
        "Wants=network-online.target",
        "After=network-online.target",
        "# A fleet comes back by itself, however long what it needs is away.",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        f"ExecStart={command} run",
        "# Waits for the end of the reload, and fails if the fleet file is bad. Nothing changes then.",
        f"ExecReload={command} reload --quiet",
        f"EnvironmentFile=-{file.removesuffix('.toml')}.env",
        *(f"LoadCredential={name}:{credentials_folder(service) / name}" for name in service.credentials),
        "",
        "# Exit codes that another start does not change: wrong usage, not permitted, bad configuration.",
        "Restart=on-failure",
        "RestartSec=5s",
        "RestartPreventExitStatus=2 77 78",
        "TimeoutStartSec=5min",
        "WatchdogSec=30s",
        "TimeoutAbortSec=10s",
        "# More than fleet.shutdown_timeout.",
        f"TimeoutStopSec={math.ceil(min(service.shutdown_timeout, LONGEST_STOP)) + STOP_MARGIN}s",
        "# The daemon stops its workers by itself; what is left after it is killed.",
        "KillMode=mixed",
        "# Without it, a worker that is out of memory would end the whole fleet.",
        "OOMPolicy=continue",
        "LimitNOFILE=65536",
        "TasksMax=16384",
        "",
        *_ownership(service),
        "UMask=0077",
        "",
        *_HARDENING,
        f"ProtectHome={'read-only' if _is_in_a_home(service) else 'yes'}",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "".join(f"{line}\n" for line in lines)


_HARDENING = (
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "ProtectSystem=strict",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "PrivateUsers=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "RemoveIPC=yes",
    "LockPersonality=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged",
    "SystemCallErrorNumber=EPERM",
)


def _ownership(service: Service) -> list[str]:
    """Who runs it, and where it may write."""
    if service.user is None:
        return [
            "DynamicUser=yes",
            f"StateDirectory={service.name}",
            "StateDirectoryMode=0700",
            f"RuntimeDirectory={service.name}",
            "RuntimeDirectoryMode=0700",
            "RuntimeDirectoryPreserve=restart",
            f"LogsDirectory={service.name}",
            "LogsDirectoryMode=0700",
        ]
    groups = "--init-groups" if service.user.is_named else "--clear-groups"
    become = f"/usr/bin/setpriv --reuid={service.user.name} --regid={service.user.group} {groups}"
    folders = " ".join(_word(_literal(folder)) for folder in service.folders)
    return [
        f"User={service.user.name}",
        "# Outside the sandbox, where folders can be made; as the user, who may have put links there.",
        f"ExecStartPre=+{become} /usr/bin/mkdir -p -m 0700 {folders}",
        *(f"ReadWritePaths=-{_quoted(_literal(folder))}" for folder in service.folders),
    ]


def credentials_folder(service: Service) -> Path:
    """Where root keeps a fleet's credentials. A user's fleet, which may name any, has a folder of its own."""
    return CREDENTIALS if service.user is None else CREDENTIALS / service.name


def _is_in_a_home(service: Service) -> bool:
    return any(path.startswith(HOMES) for path in (service.executable, service.file, *service.folders))


def _literal(text: str) -> str:
    """A text in which systemd finds no specifiers."""
    return text.replace("%", "%%")


def _word(text: str) -> str:
    """One word of a command line, in which systemd finds no variables."""
    return _quoted(text.replace("$", "$$"))


def _quoted(text: str) -> str:
    """One word, as systemd splits lines into words."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if set(escaped) & set(" \t\"\\;'") else escaped


def files() -> dict[str, str]:
    """The units that `scripts/install` installs, by name; `scripts` has a copy of each."""
    return {
        "trioworkers.service": unit_text(SYSTEM),
        "trioworkers@.service": unit_text(TEMPLATE),
        "trioworkers.socket": API_SOCKET,
        "trioworkers-webhook.socket": WEBHOOK_SOCKET,
    }


API_SOCKET = """\
# The API's listening socket, held by systemd: nobody is refused while the daemon restarts.
# Enabled by: systemctl enable --now trioworkers.socket && systemctl restart trioworkers
[Unit]
Description=trioworkers, the API and the dashboard

[Socket]
# Instead of [api] bind. On other addresses than loopback everybody needs the token.
ListenStream=127.0.0.1:3001
FileDescriptorName=api
Backlog=1024

[Install]
WantedBy=sockets.target
"""
WEBHOOK_SOCKET = """\
# The webhook's listening socket, held by systemd: no delivery is refused while the daemon restarts.
# Enabled by: systemctl enable --now trioworkers-webhook.socket && systemctl restart trioworkers
[Unit]
Description=trioworkers, deliveries from Telegram

[Socket]
Service=trioworkers.service
# Instead of [webhook] bind. Ports below 1024 are possible here, since systemd binds them.
ListenStream=0.0.0.0:8443
FileDescriptorName=webhook
Backlog=1024

[Install]
WantedBy=sockets.target
"""
