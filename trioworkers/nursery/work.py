"""The pending work of one bot, as seen by the code that starts its workers."""

from __future__ import annotations

from typing import Protocol


class Work(Protocol):
    """The updates of one bot that wait for one kind of session."""

    @property
    def has_work(self) -> bool:
        """Whether a session could be given an update now."""

    async def wait_change(self, *, due: bool = True) -> None:
        """Return when `has_work` may have become true, or when it is poked.

        `due`: also when an update becomes due. It is False for those who could do nothing with it.
        """
