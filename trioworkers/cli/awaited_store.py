"""Whether a daemon that starts waits for its database, as its log says, and telling so on the terminal."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from trioworkers.logs.read import LogReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AWAY, BACK = "inbox.trouble", "inbox.recovered"
HINT = "waiting for the database: `trioworkers stop` ends the waiting, Ctrl-C only this command"


class AwaitedStore:
    """Reads the daemon's log from now on.

    Args:
        log: the daemon's; it does not have to exist yet.
        tell: called with each line for the terminal.
    """

    def __init__(self, log: Path, tell: Callable[[str], None]) -> None:
        self._reader = LogReader(log)
        self._tell = tell
        self._is_away = self._has_hinted = False
        self._reader.last(0)

    def close(self) -> None:
        """Read nothing more."""
        self._reader.close()

    def is_away(self) -> bool:
        """Whether the daemon waits for its database now; tells why, as often as the daemon does."""
        for line in self._reader.more():
            event = {}
            with suppress(ValueError):
                event = json.loads(line)
            if not isinstance(event, dict) or event.get("event") not in (AWAY, BACK):
                continue
            self._is_away = event["event"] == AWAY
            reason = f"trioworkers: {event.get('reason')}"
            self._tell(reason if self._is_away else "the database is there")
            if self._is_away and not self._has_hinted:
                self._has_hinted = True
                self._tell(HINT)
        return self._is_away
