"""Tells the daemon which files a worker has loaded its bot's code from, where it watches them."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import trio

from trioworkers.protocol.frames import MOST_FILES, MOST_OF_WORKER, PATH_LENGTH, CodeFile, CodeLoaded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trioworkers.protocol.channel import Channel
    from trioworkers.user_modules import Loaded

MOST_PATHS = MOST_OF_WORKER // 2  # bytes of all paths in a frame, which holds other things, too


def report_code(channel: Channel, loaded: Loaded, missing: Iterable[str] = ()) -> None:
    """Send the files that are loaded by now, and again after each import; on the loop.

    Args:
        channel: to the daemon.
        loaded: what the process loads; handlers may import more at any time, in any thread.
        missing: files that were looked for and are absent.
    """
    _send(channel, loaded, missing)
    token = trio.lowlevel.current_trio_token()
    again = partial(_send, channel, loaded, missing)

    def imported() -> None:
        with suppress(trio.RunFinishedError):  # a thread that outlives the loop
            token.run_sync_soon(again, idempotent=True)

    loaded.on_load = imported


def _send(channel: Channel, loaded: Loaded, missing: Iterable[str]) -> None:
    files: list[CodeFile] = []
    room = MOST_PATHS
    found = {path: fingerprint for path, (_, fingerprint) in loaded.files.copy().items()}
    for path, fingerprint in {**dict.fromkeys(missing, ""), **found}.items():
        try:
            size = len(msgspec.json.encode(path))
        except UnicodeEncodeError:
            continue  # no frame takes a name that is not UTF-8; the file is not watched, nor is one too many
        if len(path) > PATH_LENGTH or size > room or len(files) == MOST_FILES:
            continue
        room -= size
        files.append(CodeFile(path, fingerprint, path in loaded.preloaded))
    channel.send(CodeLoaded(files))
