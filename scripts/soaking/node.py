"""One node of a cluster's soak: its file, its daemon through its lives, and what may befall it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import tomli_w
import trio
from benchmarks.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from soaking.networks import Network


AHEAD = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Place:
    """Where a daemon runs: its variables, and the network of its own that it has, perhaps."""

    environ: Mapping[str, str]
    network: Network | None = None


class Node:
    """Its file is beside those of the others, its state folder below it.

    Args:
        number: its number; its name is `node` with it.
        folder: of the fleet.
        place: where its daemon runs.

    Attributes:
        name: its name.
        life: how many lives it had before this one.
        expected: why its daemon is about to end; empty: it should not.
        frozen: the processes that stand still.
    """

    def __init__(self, number: int, folder: Path, place: Place) -> None:
        self.number, self.name = number, f"node{number}"
        self.life = -1
        self.expected = ""
        self.log = folder / f"{self.name}.log"
        self.frozen: list[psutil.Process] = []
        self._folder, self.place = folder, place
        self._file = folder / f"{self.name}.toml"
        self._state = folder / self.name
        self.daemon: subprocess.Popen[bytes] | None = None

    @property
    def logs(self) -> list[Path]:
        """All that it logged."""
        return [self.log, *(self._state / "logs").iterdir()]

    @property
    def inbox(self) -> Path:
        """Where its inbox is copied to."""
        return self._state / "inbox.db"

    def label(self) -> str:
        """As which its present life is known to Telegram."""
        return f"{self.name}/{self.life}"

    def write(self, tables: Mapping[str, Any], base: str, url: str, *, is_alone: bool) -> None:
        """Write its file: the fleet's tables, and what is its own."""
        port = free_port()
        fleet = {**tables["fleet"], "api_base": base, "state_dir": str(self._state)}
        webhook = {"bind": f"127.0.0.1:{port}", "public_url": f"http://127.0.0.1:{port}"}
        own: dict[str, Any] = {**tables, "fleet": fleet, "webhook": webhook, "store": {"url": url}}
        if is_alone:
            del own["cluster"]
        else:
            own["cluster"] = {**tables["cluster"], "node": self.name}
        self._file.write_text(tomli_w.dumps(own))
        self._file.chmod(0o600)

    def start(self) -> None:
        """Start its daemon."""
        self.life += 1
        self.expected = ""
        with open(self.log, "ab") as log:
            self.daemon = subprocess.Popen(
                [*(self.place.network.prefix if self.place.network else []), *self._words("run")],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={**os.environ, **self.place.environ},
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill its daemon, whose workers follow."""
        self.expected = "killed"
        if self.daemon is not None:
            self.daemon.kill()

    def freeze(self, *, whole: bool) -> None:
        """Let its daemon stand still; `whole`: and all its workers."""
        if self.daemon is None:
            return
        first = psutil.Process(self.daemon.pid)
        self.frozen = [first]
        first.suspend()
        if whole:
            self.frozen += first.children(recursive=True)
            for process in self.frozen[1:]:
                with suppress(psutil.Error):
                    process.suspend()

    async def thaw(self) -> None:
        """Let them go on: workers first, which have to know by themselves that they may not call any more."""
        for process in self.frozen[1:]:
            with suppress(psutil.Error):
                process.resume()
        if len(self.frozen) > 1:
            await trio.sleep(AHEAD)
        for process in self.frozen[:1]:
            with suppress(psutil.Error):
                process.resume()
        self.frozen = []

    def stop(self) -> None:
        """Ask its daemon to end."""
        self.expected = "stopped"
        if self.daemon is not None:
            self.daemon.send_signal(signal.SIGTERM)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command for it."""
        return subprocess.run(
            self._words(*words), capture_output=True, text=True, cwd=self._folder, timeout=300, check=False
        )

    async def ask(self, path: str) -> Any:
        """What its API says; None while it does not answer."""
        transport = httpx.AsyncHTTPTransport(uds=str(self._state / "run" / "control.sock"))
        async with httpx.AsyncClient(transport=transport, timeout=10) as client:
            try:
                answer = await client.get(f"http://control{path}")
            except httpx.TransportError:
                return None
            return answer.json() if answer.status_code == 200 else None

    def _words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "trioworkers.cli", "-c", str(self._file), *words]
