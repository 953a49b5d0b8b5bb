"""When the end of an update has to be committed at once, and when it may gather with others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from trioworkers.breakage import Breakage
from trioworkers.inbox.backlog import Backlog
from trioworkers.inbox.tally import Tally
from trioworkers.records import Waiting

if TYPE_CHECKING:
    from trioworkers.inbox.acknowledgements import Acknowledgements

BOT = 7


class NoteWriter:
    """Notes how soon each submission has to be written."""

    def __init__(self) -> None:
        self.soon: list[bool] = []

    def submit_gathered(self, gathered: Acknowledgements[Any], *, soon: bool) -> None:
        gathered.take()
        self.soon.append(soon)

    def submit(self, *_: Any, **__: Any) -> None:
        raise AssertionError

    def hurry(self) -> None:
        raise AssertionError


def update(id_: int, chat: str) -> Waiting:
    return Waiting(id_, BOT, id_, chat, b"{}", 0.0)


@pytest.mark.parametrize(
    ("chats", "takes", "holds", "soon"),
    [
        ("a", 1, False, False),  # nothing else is there
        ("aa", 1, False, True),  # the next of its chat waits for the commit, and there is nothing else to do
        ("aab", 1, False, False),  # another chat's update may go out meanwhile
        ("aab", 2, False, True),  # that one is in flight, too
        ("aab", 2, True, False),  # that one was taken, and waits for room
    ],
)
async def test_an_end_is_hurried_when_what_goes_out_next_waits_for_it(
    chats: str, takes: int, holds: bool, soon: bool
) -> None:
    """Otherwise it gathers with others, which costs a fraction."""
    writer = NoteWriter()
    counts = dict.fromkeys(Tally.__dataclass_fields__, 0)
    backlog = Backlog(BOT, cast("Any", writer), counts, lambda: 0.0, Breakage(), lambda: None)
    with backlog.ordinary.taken_by(lambda: None, lambda: holds):
        backlog.offer([update(number, chat) for number, chat in enumerate(chats, 1)])
        taken = [backlog.ordinary.take() for _ in range(takes)]
        assert taken[0] is not None
        backlog.finish(taken[0], "done")
        assert writer.soon == [soon]
    assert not backlog.ordinary.is_held
