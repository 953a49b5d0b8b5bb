"""Who has signed in: sessions, which a browser's cookie names, and the one-time links that begin them.

Nothing here holds a session's id or a link's code, only what was derived from them with the API's token as
the key. So the file of sessions is worth nothing to whoever reads it, and another token ends all sessions.

Sessions outlive the daemon: a dashboard that is open while the daemon is restarted goes on by itself.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from trioworkers.private import write_private
from trioworkers.shortage import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

COOKIE = "trioworkers_session"
IDLE = 12 * 3600.0  # seconds without a request until a session ends
MOST_SESSIONS = 256  # at a time; the one that was idle longest ends for another
LINK_AGE = 600.0  # seconds for which a login link can be used
MOST_LINKS = 16  # at a time; the oldest ends for another
SAVE_EVERY = 900.0  # seconds of use until it is written that a session is not idle
ID_BYTES = 32


def cookie_name(host: str) -> str:
    """The cookie's name for a `Host`: with its port, if it names one.

    Browsers keep the cookies of all ports of a host together, and two fleets may have one host.
    """
    port = host.rpartition(":")[2]
    return f"{COOKIE}_{port}" if port.isascii() and port.isdecimal() and port != host else COOKIE


class Sessions:
    """The sessions of one daemon.

    Args:
        path: the file that keeps them; absent until somebody has signed in.
        token: the API's token.
        clock: Unix seconds.
    """

    def __init__(self, path: Path, token: Callable[[], str], clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._token = token
        self._clock = clock
        self._used: dict[str, float] = _read(path)
        self._saved = dict(self._used)
        self._turn = trio.StrictFIFOLock()

    def __len__(self) -> int:
        return len(self._used)

    async def begin(self) -> str:
        """Begin a session; return its id, for the cookie alone."""
        self._end_idle()
        while len(self._used) >= MOST_SESSIONS:
            del self._used[min(self._used, key=self._used.__getitem__)]
        id_ = secrets.token_urlsafe(ID_BYTES)
        self._used[_derived(self._token(), id_)] = self._clock()
        await self._save()
        return id_

    async def is_open(self, id_: str) -> bool:
        """Whether there is a session of this id; if so, it is not idle now."""
        name, now = _derived(self._token(), id_), self._clock()
        used = self._used.get(name)
        if used is None or used + IDLE <= now:
            return False
        self._used[name] = now
        if self._saved.get(name, 0.0) + SAVE_EVERY <= now:
            await self._save()
        return True

    async def end(self, id_: str) -> bool:
        """End the session of this id; whether there was one."""
        if self._used.pop(_derived(self._token(), id_), None) is None:
            return False
        await self._save()
        return True

    def _end_idle(self) -> None:
        latest = self._clock() - IDLE
        self._used = {name: used for name, used in self._used.items() if used > latest}

    async def _save(self) -> None:
        """Write the file. What cannot be written holds until the daemon's end: people can sign in while the
        disk is full."""
        async with self._turn:
            used = dict(self._used)
            self._saved = used
            with suppress(OSError), trio.CancelScope(shield=True):
                await in_thread(write_private, self._path, json.dumps(used).encode())


class LoginLinks:
    """The codes of login links: each can be used once, for :data:`LINK_AGE` seconds.

    `token`: the API's token. `clock`: seconds.
    """

    def __init__(self, token: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._token = token
        self._clock = clock
        self._made: dict[str, float] = {}  # the oldest first

    def make(self) -> str:
        """A new code."""
        while len(self._made) >= MOST_LINKS:
            del self._made[next(iter(self._made))]
        code = secrets.token_urlsafe(ID_BYTES)
        self._made[_derived(self._token(), code)] = self._clock()
        return code

    def redeem(self, code: str) -> bool:
        """Whether the code is good; it is not any more from now on."""
        made = self._made.pop(_derived(self._token(), code), None)
        return made is not None and made + LINK_AGE > self._clock()


def _derived(token: str, secret: str) -> str:
    """What is kept in the place of a secret; looking it up takes no time that tells about the secret."""
    return hmac.new(token.encode(), secret.encode(errors="replace"), hashlib.sha256).hexdigest()


def _read(path: Path) -> dict[str, float]:
    """The sessions in a file; none when it is absent or not what was written: people sign in anew."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return _checked(found) if isinstance(found, dict) else {}


def _checked(found: Mapping[str, object]) -> dict[str, float]:
    return {name: used for name, used in found.items() if isinstance(used, float)}
