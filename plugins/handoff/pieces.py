"""The records that the plugin's storage holds, and under which keys.

| key | value |
| --- | --- |
| `dialog/<bot id>/<chat>` | the dialog, while the bot does not have it |
| `rest/<bot id>/<chat>` | the same once the bot has it again: for its epoch |
| `topic/<bot id>/<chat>` | the topic of the user: group, thread, the bot that sits there |
| `thread/<group>/<thread>` | the bot and chat of a topic |
| `said/<bot id>/<chat>/<stamp>` | a line of the transcript |
| `desk/<bot id>/<chat>/<stamp>` | what waits to be sent to the operators' group |
| `user/<bot id>/<chat>/<stamp>` | what waits to be sent to the user |
| `copy/<bot id>/<chat>/<way>/<message>` | the id of a message's copy on the other side |

A stamp is a time in microseconds, and rises in a dialog: the keys of a dialog are in the order of what was
said.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, NamedTuple, TypeVar

from trioworkers_plugins.handoff.state import Dialog

Way = Literal["desk", "user"]
STAMP = 17  # digits; microseconds until the year 5138


class Place(NamedTuple):
    """A dialog's place: a private chat of a bot, by the bot's id."""

    bot_id: int
    chat_id: int

    def key(self, prefix: str, *rest: object) -> str:
        """The key of something of this dialog."""
        return "/".join(map(str, (prefix, self.bot_id, self.chat_id, *rest)))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a transcript.

    Attributes:
        at: Unix seconds.
        who: `user`, `operator`, `note` (of an operator, for operators) or `desk` (what happened).
        epoch: the handoff that it belongs to.
        kind: `text`, `photo`, …; `edit` and `undelivered` name a message that was there before.
        message_id: in the chat where it was said; None: it was said over the API.
        text: what was said; the caption of media.
        name: the operator.
        source: of the piece that sends it, or that was not delivered.
        media: a message's file: its `kind`, `file_id` and, if known, `name`, `mime` and `size` (bytes), and
            `by`, the id of the bot whose `file_id` it is.
    """

    at: float
    who: str
    epoch: int
    kind: str
    message_id: int | None = None
    text: str | None = None
    name: str | None = None
    source: str | None = None
    media: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Something to be sent to one side of a dialog.

    Attributes:
        what: `copy` (of a message), `text`, or `edit` (of a copy).
        source: what it comes from; of one source and dialog only one piece waits.
        epoch: the handoff that it belongs to.
        words: an operator's words, which only go out while the dialog is fenced and an operator has it.
        message_id: of the message to copy, or whose copy is to be edited.
        text: the text or caption as it is now.
        entities: of the text, as Telegram has them.
        caption: the text of an edited message is a caption.
        album: the `media_group_id` of a message.
        reply_to: the message that it answers, on the side that it comes from.
        media: the kind, `file_id` and name of a message's file, for another bot to send.
        described: what stands for a message that cannot be copied.
        begun: its sending has begun: if it still waits in another run, it may have been sent.
    """

    what: str
    source: str
    epoch: int
    words: bool = False
    message_id: int = 0
    text: str = ""
    entities: list[dict[str, Any]] | None = None
    caption: bool = False
    album: str | None = None
    reply_to: int = 0
    media: dict[str, Any] | None = None
    described: str = ""
    begun: bool = False


@dataclass(frozen=True, slots=True)
class Topic:
    """A user's topic in a group."""

    group: int
    thread: int
    desk: str


R = TypeVar("R", Dialog, Line, Piece, Topic)


def to_json(record: Dialog | Line | Piece | Topic) -> dict[str, Any]:
    """A record as it is stored; fields that have their default are left out."""
    defaults = {field.name: field.default for field in fields(record)}
    return {name: value for name, value in asdict(record).items() if value != defaults[name]}


def from_json(record: type[R], stored: Any) -> R:
    """A stored record; fields that a later version wrote are left out."""
    names = {field.name for field in fields(record)}
    return record(**{name: value for name, value in stored.items() if name in names})


def stamped(stamp: int) -> str:
    """A stamp as the last part of a key."""
    return f"{stamp:0{STAMP}d}"


def place_in(key: str) -> Place:
    """The dialog of a key.

    Raises:
        ValueError: the key is of none.
    """
    _, bot_id, chat_id, *_ = key.split("/")
    return Place(int(bot_id), int(chat_id))
