"""The daemon's log and the workers' log files: written, rotated, throttled, and read again."""

from __future__ import annotations

from trioworkers.logs.log import Log, open_log
from trioworkers.logs.render import redact

__all__ = ["Log", "open_log", "redact"]
