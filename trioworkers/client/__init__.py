"""A client of a daemon's live stream, for `trioworkers top` and for programs of users."""

from __future__ import annotations

from trioworkers.client.errors import LiveRefusedError
from trioworkers.client.live import LiveStream, live
from trioworkers.client.mirror import Mirror

__all__ = ["LiveRefusedError", "LiveStream", "Mirror", "live"]
