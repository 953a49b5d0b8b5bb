"""Networks of nodes, each with a line to Telegram, and one to the database that can be cut. They need root.

While a node's way to the database is cut, packets are lost without an error, as with a pulled cable.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

IP = "/sbin/ip"  # of iproute2


@dataclass(frozen=True, slots=True)
class Network:
    """A node's namespace; an index below 250 tells the addresses of its two lines.

    Attributes:
        name: of the namespace.
        index: of the node.
    """

    name: str
    index: int

    @property
    def telegram(self) -> str:
        """The address at which the node finds Telegram."""
        return f"10.78.{self.index}.1"

    @property
    def database(self) -> str:
        """The address at which it finds the database."""
        return f"10.79.{self.index}.1"

    @property
    def prefix(self) -> list[str]:
        """What runs a command in it."""
        return [IP, "netns", "exec", self.name]

    def make(self) -> None:
        """Make it, and both lines."""
        _ip("netns", "add", self.name)
        _ip("-n", self.name, "link", "set", "lo", "up")
        for line, address in (("t", self.telegram), ("d", self.database)):
            here, there = self._line(line), f"{line}0"
            _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", self.name)
            _ip("addr", "add", f"{address}/24", "dev", here)
            _ip("-n", self.name, "addr", "add", f"{address[:-1]}2/24", "dev", there)
            _ip("link", "set", here, "up")
            _ip("-n", self.name, "link", "set", there, "up")

    def cut(self) -> None:
        """Cut the line to the database."""
        _ip("link", "set", self._line("d"), "down")

    def mend(self) -> None:
        """Let it be as before."""
        _ip("link", "set", self._line("d"), "up")

    def remove(self) -> None:
        """Remove it; its lines go with it."""
        subprocess.run([IP, "netns", "del", self.name], check=False, capture_output=True)

    def _line(self, line: str) -> str:
        return f"{self.name}{line}"  # at most 15 characters, netdevice(7)


def networks(number: int) -> list[Network]:
    """So many, not made yet."""
    return [Network(f"sk{os.getpid() % 10**6}n{index}", index) for index in range(number)]


def _ip(*words: str) -> None:
    subprocess.run([IP, *words], check=True, capture_output=True)
