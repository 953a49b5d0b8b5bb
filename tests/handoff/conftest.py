"""A fleet with a bot and an operators' group, on a clock that jumps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from handoff_scene import START, Scene, shown  # type: ignore[import-not-found] # it lies beside

from trioworkers.testing import Telegram

if TYPE_CHECKING:
    from trioworkers.testing import SimBot, SimGroup, SimUser


class Desk(Scene):  # type: ignore[misc] # as above
    """The scene with one bot, one user, one operator, and their group."""

    support: SimBot
    alice: SimUser
    anna: SimUser
    group: SimGroup

    def topic(self, user: SimUser | None = None) -> int:
        """The topic of a user."""
        user = user or self.alice
        stored = self.store.look(f"topic/{self.support.id}/{user.id}")
        assert stored is not None
        thread: int = stored["thread"]
        return thread

    def in_topic(self, user: SimUser | None = None) -> list[str]:
        """What the bot has shown in the topic of a user, without the card."""
        thread = self.topic(user)
        sent = self.world.sent(self.support, self.group.id)
        inside = [message for message in sent if message.get("message_thread_id") == thread]
        return [shown(message) for message in inside][1:]

    async def asks(self, text: str = "/operator", user: SimUser | None = None) -> None:
        """A user asks for an operator."""
        (user or self.alice).send(self.support, text)
        await self.settle()

    async def operator(self, text: str, user: SimUser | None = None, **content: Any) -> None:
        """An operator says something in a user's topic."""
        self.anna.send(self.support, text, group=self.group, thread_id=self.topic(user), **content)
        await self.settle()

    async def user(self, text: str, **content: Any) -> None:
        """The user says something."""
        self.alice.send(self.support, text, **content)
        await self.settle()

    def to_alice(self) -> list[str]:
        """What the bot has said to the user."""
        texts: list[str] = self.texts("support", self.alice.id)
        return texts


@pytest.fixture
def make_desk(nursery):
    """Make a scene with these settings; the service runs."""

    async def make(*, limits: bool = False, serve: bool = True, **settings: Any) -> Desk:
        began = trio.current_time()
        world = Telegram(seed=1, clock=lambda: START + trio.current_time() - began, rate_limits=limits)
        anna = world.add_user("Anna")
        group = world.add_group("Operators", [anna], forum=True)
        quiet = {
            "queued_text": "",
            "assigned_text": "",
            "released_text": "",
            "timed_out_text": "",
            "group_per_minute": 10_000,
        }
        desk = Desk(nursery, world, {"group": group.id, **quiet, **settings})
        desk.support = desk.add_bot("support")
        group.promote(desk.support)
        desk.alice, desk.anna, desk.group = world.add_user("Alice", username="alice_w"), anna, group
        if serve:
            await desk.serve()
        return desk

    return make


@pytest.fixture
async def desk(make_desk):
    """The usual one."""
    return await make_desk()
