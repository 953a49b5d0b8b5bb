"""Shared by the tests of the simulator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import trio

from trioworkers.testing import SimBot, SimUser, Telegram, serve_telegram


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def go(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Scene:
    """A served world with a bot, a user who has started it, and an HTTP client."""

    world: Telegram
    bot: SimBot
    alice: SimUser
    base_url: str
    http: httpx.AsyncClient

    async def call(self, method: str, **params: object) -> dict[str, Any]:
        response = await self.http.post(f"/bot{self.bot.token}/{method}", json=params)
        answer: dict[str, Any] = response.json()
        return answer

    async def until(self, condition) -> None:
        """Wait for what happens on the other side of a socket, at most 5 s."""
        with trio.fail_after(5):
            while not condition():  # noqa: ASYNC110 - there is no event for "the server saw it"
                await trio.sleep(0.001)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(clock: Clock) -> Telegram:
    """A world without sockets, on a clock that stands."""
    return Telegram(seed=1, clock=clock)


@pytest.fixture
def bot(world: Telegram) -> SimBot:
    return world.add_bot("echo")


@pytest.fixture
def alice(world: Telegram) -> SimUser:
    return world.add_user("Alice", username="alice")


@pytest.fixture
async def scene(nursery):
    telegram = Telegram(seed=1, repeat_guard=False)
    bot, alice = telegram.add_bot("echo"), telegram.add_user("Alice")
    telegram.dialog(bot, alice.id).started = True
    base_url = await nursery.start(serve_telegram, telegram)
    async with httpx.AsyncClient(base_url=base_url, timeout=10) as http:
        yield Scene(telegram, bot, alice, base_url, http)
