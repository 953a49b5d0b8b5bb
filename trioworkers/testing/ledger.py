"""What a world remembers of polls, invoices and payments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.chats import Chat, Message

STARS = "XTR"


@dataclass(slots=True, eq=False)
class SimPoll:
    """A poll, and who voted for what.

    Attributes:
        votes: the option numbers of each voter, by user id.
        closes_at: when it closes by itself, seconds since the epoch; 0 for never.
    """

    bot: SimBot
    chat: Chat
    message: Message
    votes: dict[int, list[int]] = field(default_factory=dict)
    closes_at: int = 0

    @property
    def poll(self) -> dict[str, Any]:
        """The Poll object inside the message."""
        poll: dict[str, Any] = self.message["poll"]
        return poll

    def count(self) -> None:
        """Bring the numbers of the Poll object up to date."""
        for number, option in enumerate(self.poll["options"]):
            option["voter_count"] = sum(number in chosen for chosen in self.votes.values())
        self.poll["total_voter_count"] = len(self.votes)


@dataclass(frozen=True, slots=True)
class SimInvoice:
    """What an invoice asks for.

    Attributes:
        currency: `XTR` for Telegram Stars.
        total: of its prices, in the smallest units.
        flexible: whether the price depends on how it is shipped.
        needs: what the payer has to tell: `name`, `phone_number`, `email`, `shipping_address`.
    """

    bot_id: int
    payload: str
    currency: str
    total: int
    flexible: bool = False
    needs: frozenset[str] = frozenset()
    subscription_period: int = 0


@dataclass(slots=True, eq=False)
class Payment:
    """Money or stars that a user paid to a bot."""

    bot_id: int
    user_id: int
    date: int
    body: dict[str, Any]
    refunded: bool = False

    @property
    def stars(self) -> int:
        """How many Telegram Stars it was; 0 for other currencies."""
        return int(self.body["total_amount"]) if self.body["currency"] == STARS else 0
