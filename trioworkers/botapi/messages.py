"""What of a call counts towards Telegram's limits on messages. Pure.

The limits of a chat are for new messages and for edits alike ("Limits for message editing and sending are
shared", tdlib/td#3034 and #2592). What is no message (a chat action, a draft, the answer to a query) is not
limited.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from trioworkers.botapi.parameters import opened

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

LONGEST_CHAT = 64  # characters; a longer name is nobody's
MOST_AT_ONCE = 100  # messages of one call (forwardMessages, copyMessages); more are refused

_NO_MESSAGE = frozenset(
    ("sendchataction", "sendmessagedraft", "sendrichmessagedraft", "sendchatjoinrequestwebapp", "sendgift")
)
_LISTS = {"sendmediagroup": "media", "forwardmessages": "message_ids", "copymessages": "message_ids"}


class Message(NamedTuple):
    """What one call sends.

    Attributes:
        chat: the chat, as text: an id, or a name that begins with `@`.
        messages: how many.
        is_paid: paid for with Stars, so that the limit of the whole bot does not count.
    """

    chat: str
    messages: int
    is_paid: bool


class Caller(Protocol):
    """What sends, as far as its turn is concerned."""

    @property
    def source(self) -> object:
        """What turns go round: one handling, say. Hashable."""

    def standing_still(self) -> AbstractContextManager[None]:
        """A context in which the caller's time limit stands still."""

    async def wait(self, seconds: float) -> None:
        """Wait so long, or raise what becomes of the call's caller."""


class Turns(Protocol):
    """Where a bot's messages wait for their turn."""

    @property
    def is_on(self) -> bool:
        """Whether they have to wait for it."""

    async def take(self, message: Message, caller: Caller) -> object:
        """Return once the message may be sent, with what :meth:`over` is given; cancelled, it is not sent."""

    def over(self, turn: object, hold: float = 0.0) -> None:
        """The request has ended. `hold`: seconds that Telegram asked to wait (429)."""


class Turn:
    """The turn of one call, for one request after the other.

    Args:
        turns: where it waits.
        message: what the call sends.
        caller: what sends it.
    """

    __slots__ = ("_caller", "_held", "_message", "_turns")

    def __init__(self, turns: Turns, message: Message, caller: Caller) -> None:
        self._turns = turns
        self._message = message
        self._caller = caller
        self._held: object = None

    async def take(self) -> None:
        """Return once a request may be made; at once while the last turn was not used up.

        Raises:
            Exception: what the caller raises when it has to wait for what Telegram asked.
        """
        if self._held is None:
            self._held = await self._turns.take(self._message, self._caller)

    def over(self, hold: float = 0.0) -> None:
        """The request is over, or will not be made. `hold`: seconds that Telegram asked to wait (429)."""
        held, self._held = self._held, None
        if held is not None:
            self._turns.over(held, hold)


def message_of(method: str, params: Mapping[str, Any]) -> Message | None:
    """Return what a call sends; None: nothing that counts."""
    name = _counted(method)
    if name is None:
        return None
    chat = opened(params.get("chat_id"))
    if isinstance(chat, str):
        chat = chat.strip()
        key = chat.lower() if not _is_number(chat) else str(int(chat))
    elif isinstance(chat, int) and not isinstance(chat, bool):
        key = str(chat)
    else:  # an inline message is edited, or the call will be refused
        return None
    if not key or len(key) > LONGEST_CHAT:
        return None
    several = params.get(_LISTS[name]) if name in _LISTS else None
    count = len(several) if isinstance(several, list | tuple) else 1
    return Message(key, min(max(1, count), MOST_AT_ONCE), params.get("allow_paid_broadcast") is True)


@lru_cache(maxsize=256)
def _counted(method: str) -> str | None:
    name = method.lower()
    if name.startswith(("send", "forward", "copy", "editmessage")) and name not in _NO_MESSAGE:
        return name
    return None


def _is_number(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 20
