"""The dialogs of a fleet that people have, as records: what a dialog is, what happens to it, what follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["bot", "queued", "assigned", "closing", "banned"]
Notice = Literal["queued", "assigned", "released", "timed_out"]


@dataclass(frozen=True, slots=True)
class Dialog:
    """One private chat of one bot. Times are Unix seconds.

    Attributes:
        state: `bot`: the bot has it. `queued`: it waits for an operator. `assigned`: an operator has it.
            `closing`: it is on its way back to the bot. `banned`: nobody answers the user.
        epoch: rises each time that the dialog is taken from the bot.
        fenced: the epoch of which the fence was acknowledged: since then, no handler of the bot's can speak.
        reason: why it was taken from the bot: `handler`, `command`, `operator`, `api` or `failure`.
        operator: who has it, or had it last: `tg:<user id>` or `api:<name>`.
        name: that operator's name, for people to read.
        began: when the dialog was taken from the bot.
        since: when the state began.
        ends: why it goes back to the bot, or was banned.
    """

    state: State = "bot"
    epoch: int = 0
    fenced: int = 0
    reason: str = ""
    operator: str = ""
    name: str = ""
    began: float = 0.0
    since: float = 0.0
    ends: str = ""

    @property
    def is_fenced(self) -> bool:
        """Whether the bot's handlers of this dialog are known to have ended."""
        return self.fenced == self.epoch

    @property
    def holder(self) -> str:
        """The operator who has it now; empty: nobody."""
        return self.operator if self.state == "assigned" else ""

    @property
    def may_speak(self) -> bool:
        """Whether the words of operators may go to the user now."""
        return self.state in ("assigned", "closing") and self.is_fenced


WITH_BOT = Dialog()


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds after which a dialog goes back by itself: when nobody takes it, and when nobody speaks."""

    queue: float
    idle: float


# what happens to a dialog


@dataclass(frozen=True, slots=True)
class Request:
    """Somebody or something asks for an operator."""

    reason: str


@dataclass(frozen=True, slots=True)
class TakeOver:
    """An operator takes the dialog, from the queue, from another operator or from the bot.

    `expected`: the operator who has it so far, empty for nobody: if somebody else has, nothing changes. None:
    whoever has it.
    """

    operator: str
    name: str = ""
    expected: str | None = None


@dataclass(frozen=True, slots=True)
class Fenced:
    """The fence of an epoch was acknowledged."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Close:
    """The dialog is to go back to the bot. `why`: `closed`, `cancelled` or `released`.

    `expected`: as for :class:`TakeOver`.
    """

    why: str
    expected: str | None = None


@dataclass(frozen=True, slots=True)
class Returned:
    """The bot has been told of the end of this epoch: what the user says from now on is the bot's."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed. `active_at`: when the user or the operator last said something."""

    active_at: float


@dataclass(frozen=True, slots=True)
class Ban:
    """An operator bans the user."""

    operator: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Unban:
    """An operator lifts the ban."""

    operator: str
    name: str = ""


Happening = Request | TakeOver | Fenced | Close | Returned | Tick | Ban | Unban


# what follows


@dataclass(frozen=True, slots=True)
class Reroute:
    """Who handles the chat's updates has changed: ask the route again for those that wait."""


@dataclass(frozen=True, slots=True)
class Fence:
    """End the bot's handlers of the chat, and report it as `Fenced(epoch)`."""

    epoch: int


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Send what operators said, then tell the bot that the handoff has ended, and report it as `Returned`."""

    epoch: int


@dataclass(frozen=True, slots=True)
class TellUser:
    """Send one of the configured notices to the user."""

    notice: Notice


@dataclass(frozen=True, slots=True)
class TellDesk:
    """Show the operators a change: `requested`, `assigned`, `closing`, `returned`, `banned`."""

    change: str


@dataclass(frozen=True, slots=True)
class Report:
    """Emit an event: `handoff.requested`, `handoff.assigned` or `handoff.released`."""

    event: str


Effect = Reroute | Fence | GiveBack | TellUser | TellDesk | Report
