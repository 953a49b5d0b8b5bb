"""A fleet in a folder of its own: its file, its modules, its daemon as a real process, its events."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import tomli_w

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

OF_THE_SYSTEM = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
)
OF_SETTINGS = ("TRIOWORKERS_", "WEBHOOK_", "BOT_MODE", "AUTO_SWITCH_MODE")
COMMAND_LIMIT = 120.0  # seconds


class FleetFolder:
    """A folder with a fleet file; the daemon's output goes to `daemon.log` beside it.

    The daemon, its plugins and its handlers can import what this process can import, and first what
    :meth:`module` wrote.

    Attributes:
        folder: the folder.
        file: the fleet file.
        log: the daemon's output: its events, as JSON.
        control: the daemon's control socket. Its path may have 107 bytes, unix(7).
        environ: the environment of the daemon and of commands.
    """

    def __init__(self, folder: Path, runtime_dir: Path | None = None) -> None:
        self.folder = folder
        self.file = folder / "fleet.toml"
        self.log = folder / "daemon.log"
        self.runtime_dir = runtime_dir or folder / "state" / "run"
        self.control = self.runtime_dir / "control.sock"
        path = os.pathsep.join([str(folder), *(os.path.abspath(entry) for entry in sys.path if entry)])
        self.environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(OF_SETTINGS) and name not in OF_THE_SYSTEM
        } | {"PYTHONPATH": path}

    def write(self, document: Mapping[str, Any]) -> None:
        """Write the fleet file, readable by its owner alone."""
        self.file.write_text(tomli_w.dumps(document))
        self.file.chmod(0o600)

    def module(self, name: str, source: str) -> None:
        """Write a module, of handlers or of hooks."""
        (self.folder / f"{name}.py").write_text(source)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the daemon and return its process, which the caller ends."""
        with open(self.log, "ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own program
                self._words("run"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.environ,
            )

    def command(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `trioworkers WORDS` to its end; its output is text, and any exit code is returned."""
        return subprocess.run(  # noqa: S603 - our own program
            self._words(*words),
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environ,
            timeout=COMMAND_LIMIT,
            check=False,
            **options,
        )

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Return the events in the daemon's output, oldest first: those of these names, or all."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                event = json.loads(line)
            except ValueError:  # of something else that writes to standard error, or half written
                continue
            if isinstance(event, dict) and (not names or event.get("event") in names):
                found.append(event)
        return found

    def _words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "trioworkers.cli", "-c", str(self.file), *words]
