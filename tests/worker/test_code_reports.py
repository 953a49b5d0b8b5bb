"""Which files a worker says that it has loaded its bot's code from."""

from __future__ import annotations

from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from trioworkers.protocol.frames import MOST_FILES, MOST_OF_WORKER, PATH_LENGTH, CodeFile, CodeLoaded
from trioworkers.protocol.framing import packed
from trioworkers.user_modules import Loaded
from trioworkers.worker.code_reports import report_code


class Sent:
    """A channel that keeps what is sent."""

    def __init__(self) -> None:
        self.frames: list[CodeLoaded] = []

    def send(self, frame: CodeLoaded) -> None:
        self.frames.append(frame)

    @property
    def names(self) -> list[str]:
        """The paths of the last frame."""
        return [file.path for file in self.frames[-1].files]


def report(loaded: Loaded, missing: tuple[str, ...] = ()) -> Any:
    channel: Any = Sent()
    report_code(channel, loaded, missing)
    return channel


async def test_what_is_imported_later_is_reported_too() -> None:
    """By whatever thread; many imports of one moment are one frame."""
    before = Loaded()
    before.note("/lib.py", "lib", "aa")
    loaded = Loaded(before)
    loaded.note("/bot.py", "bot", "bb")
    channel = report(loaded, ("/gone.py",))
    lib, bot = CodeFile("/lib.py", "aa", True), CodeFile("/bot.py", "bb")
    assert channel.frames == [CodeLoaded([CodeFile("/gone.py", ""), lib, bot])]
    loaded.note("/gone.py", "gone", "cc")
    loaded.note("/late.py", "late", "dd")
    await wait_all_tasks_blocked(0.01)
    assert channel.frames[1:] == [
        CodeLoaded([CodeFile("/gone.py", "cc"), lib, bot, CodeFile("/late.py", "dd")])
    ]
    await trio.to_thread.run_sync(loaded.note, "/thread.py", "thread", "ee")
    await wait_all_tasks_blocked(0.01)
    assert channel.names[-1] == "/thread.py"


async def test_no_name_of_a_file_ends_the_worker() -> None:
    """One that is not UTF-8, or too long, is left out; the others are there."""
    loaded = Loaded()
    for path in ("/\udcff/bot.py", "/" + "x" * PATH_LENGTH, "/bot.py"):
        loaded.note(path, "bot", "aa")
    assert report(loaded).names == ["/bot.py"]


async def test_a_frame_holds_the_files_of_a_large_bot() -> None:
    """As many as may be named, and no more bytes than a worker may send, whatever the names are."""
    loaded = Loaded()
    for number in range(2 * MOST_FILES):
        loaded.note(f"/{number}.py", "bot", "f" * 12)
    channel = report(loaded)
    assert len(channel.names) == MOST_FILES
    assert len(packed(channel.frames[0])) < MOST_OF_WORKER
    loaded = Loaded()
    for number in range(MOST_FILES):
        loaded.note(f"/{number}.py" + "\x01" * 500, "bot", "f" * 12)
    channel = report(loaded)
    assert 100 < len(channel.names) < MOST_FILES
    assert len(packed(channel.frames[0])) < MOST_OF_WORKER
