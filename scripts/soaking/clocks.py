"""Wall clocks that jump, of nodes and of the database's server. Their other clocks go on."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("wall_clock.c")
COMPILER = "cc"


def can_jump() -> bool:
    """Whether there is a compiler for what lets them jump."""
    return shutil.which(COMPILER) is not None


class Clock:
    """The wall clock of some processes.

    Args:
        file: of its own, in a folder that all who have the clock may enter.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._library = file.with_suffix(".so")
        command = [COMPILER, "-shared", "-fPIC", "-O1", "-o", str(self._library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)
        file.write_bytes(struct.pack("=q", 0))
        file.chmod(0o644)

    @property
    def environ(self) -> dict[str, str]:
        """What gives a process, and its children, this clock."""
        return {"LD_PRELOAD": str(self._library), "WALL_CLOCK": str(self._file)}

    def jump(self, seconds: int) -> None:
        """Let it be so many seconds from the true time, at once."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("=q", seconds))
