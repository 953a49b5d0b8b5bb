"""The service as `scripts/install` leaves it in a machine, its fleet, and what people say to its bots."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from machine import Machine

UNIT = "trioworkers.service"
FLEET_FILE = "/etc/trioworkers/fleet.toml"
PORT = 8081
TOKENS = {"one": f"7000000001:{'a' * 35}", "two": f"7000000002:{'b' * 35}"}
SHUTDOWN = 6  # seconds
HANDLERS = """
import trio

async def handle(update, bot):
    if update.text == "sleep":
        await trio.sleep(600)
    await bot.send_message(chat_id=update.chat_id, text=update.text)
"""
FREEZES = '''
"""Blocks the daemon's loop when a file appears that is newer than this run of the daemon."""
import os
import time

import trio

from trioworkers import hookimpl


@hookimpl
async def trioworkers_serve(daemon, plugin, task_status):
    began = time.time()
    task_status.started()
    while True:
        if os.path.exists("/etc/trioworkers/freeze") and os.stat("/etc/trioworkers/freeze").st_mtime > began:
            time.sleep(600)
        await trio.sleep(0.1)
'''
QUICK = "[Service]\nWatchdogSec=4s\nRestartSec=1s\n"


class Installed:
    """The service in a machine."""

    def __init__(self, machine: Machine, telegram: subprocess.Popen[str], packages: Path) -> None:
        self.machine = machine
        self._telegram = telegram
        self._packages = packages

    def configure(self, more: str = "", bot: str = "") -> None:
        """Write the fleet file; `bot`: further keys of bot one, `more`: further tables."""
        text = f'[fleet]\napi_base = "http://127.0.0.1:{PORT}"\nshutdown_timeout = "{SHUTDOWN}s"\n'
        for name in TOKENS:
            text += f'[bots.{name}]\ntoken = {{ credential = "{name}" }}\nhandler = "echo:handle"\n'
            text += bot if name == "one" else ""
        self.machine.write(FLEET_FILE, text + more)

    def install(self, wheel: Path | None = None, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `scripts/install` with a wheel; by default that of this checkout. root's umask is strict."""
        return self.machine.run("sh", "-c", 'umask 077; exec "$0" "$@"', *self.installation(wheel), *words)

    def installation(self, wheel: Path | None = None) -> list[str]:
        """The command that installs a wheel, which is inside then."""
        wheel = wheel or self.wheel
        inside = f"/packages/{wheel.name}" if wheel.parent == self._packages else f"/root/{wheel.name}"
        if inside.startswith("/root/"):
            (self.machine.root / "root" / wheel.name).write_bytes(wheel.read_bytes())
        return ["/checkout/scripts/install", inside, "--packages", "/packages"]

    @property
    def wheel(self) -> Path:
        """The wheel of this checkout."""
        (wheel,) = self._packages.glob("trioworkers-*.whl")
        return wheel

    def spoilt(self, folder: Path, module: str, line: str) -> Path:
        """A wheel like ours, but for one line that is added at the end of a module."""
        spoilt = folder / self.wheel.name
        with zipfile.ZipFile(self.wheel) as whole, zipfile.ZipFile(spoilt, "w") as made:
            for item in whole.infolist():
                content = whole.read(item)
                made.writestr(item, content + f"\n{line}\n".encode() if item.filename == module else content)
        return spoilt

    def say(self, bot: str, text: str) -> str:
        """Say something to a bot; its answer. A text that begins with `-` wants none."""
        said, heard = self._telegram.stdin, self._telegram.stdout
        assert said is not None
        assert heard is not None
        said.write(f"{bot} {text}\n")
        said.flush()
        return heard.readline().strip()

    def pid(self) -> int:
        """The daemon's process."""
        return int(self.machine.show(UNIT, "MainPID"))

    def status(self) -> dict[str, Any]:
        """What `trioworkers status --json` prints."""
        document: dict[str, Any] = json.loads(self.machine.out("trioworkers", "status", "--json"))
        return document

    def workers(self) -> dict[str, int]:
        """The process of each bot's worker."""
        return {row["bot"]: row["pid"] for row in self.status()["workers"]}

    def release(self) -> str:
        """The folder of the release in use."""
        return self.machine.out("readlink", "/opt/trioworkers/venv")

    def until_ready(self, seconds: float = 30) -> None:
        """Wait until the service is active again."""
        self.machine.until(lambda: self.machine.show(UNIT, "ActiveState") == "active", seconds)
