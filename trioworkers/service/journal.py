"""What systemd's journal understands of lines that are written to it (sd-daemon(3), systemd.exec(5))."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping

PRIORITY = {"debug": "<7>", "info": "<6>", "warn": "<4>", "error": "<3>"}
"""What stands before a line of each level."""


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether `stream` is the very stream that $JOURNAL_STREAM names."""
    try:
        status = os.fstat(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
