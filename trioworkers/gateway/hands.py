"""Who gives a program's updates to the endpoint, and who waits for them there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trioworkers.gateway.handling import Handling
    from trioworkers.protocol.frames import Outcome


class Held(Protocol):
    """An update that a program has in hand."""

    @property
    def body(self) -> bytes:
        """The update as Telegram sent it."""

    @property
    def handling(self) -> Handling | None:
        """Where its calls are recorded; None: they are not."""

    @property
    def began_at(self) -> float | None:
        """Since when the program handles it, trio time; None: it waits behind others in the program."""

    def begin(self) -> None:
        """The program handles it now."""


class MayBeGone(Protocol):
    """A connection that may end while it waits for its answer; as an event that is set then."""

    def is_set(self) -> bool:
        """Whether it has ended."""

    async def wait(self) -> None:
        """Return when it has ended."""


class Hands(Protocol):
    """Gives updates to a program, and takes them back: its executor."""

    def confirm(self, items: Sequence[Any]) -> None:
        """The program has these no more."""

    def end(self, item: Any, outcome: Outcome) -> None:
        """The handling of this one ended so."""

    def refill(self) -> None:
        """The program asks for more: give what there is, at once."""
