"""A fleet whose bots have webhooks: its file, its port, and deliveries that a test makes itself."""

from __future__ import annotations

import json
import random
import socket
from typing import TYPE_CHECKING, Any

import httpx
import trio
from fleet_project import Project, until
from names import Localhost

if TYPE_CHECKING:
    from trioworkers.testing import SimBot, SimUser, Telegram

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"


def listening_port() -> int:
    """A port that is free, and that no outgoing connection is given meanwhile (ip_local_port_range)."""
    while True:
        port = random.randrange(20_000, 32_000)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue


class Hooked:
    """Bots with webhooks, people who write to them, and the file that they come from."""

    def __init__(
        self, project: Project, world: Telegram, base: str, names: tuple[str, ...] = ("one",)
    ) -> None:
        self.project, self.world, self.base = project, world, base
        self.bots = {name: world.add_bot(name) for name in names}
        self.people = [world.add_user(f"Person{number}") for number in range(10)]
        self.port = listening_port()
        trio.socket.set_custom_hostname_resolver(Localhost())  # Telegram's, as it delivers
        self.said: dict[tuple[str, int], list[str]] = {}
        self.tables: dict[str, dict[str, Any]] = {
            name: {
                "token": bot.token,
                "handler": "echo:handle",
                "transport": "webhook",
                "poll_timeout": "1s",
                "restart": {"initial": "10ms"},
            }
            for name, bot in self.bots.items()
        }
        self.fleet: dict[str, Any] = {}
        self.webhook: dict[str, Any] = {
            "bind": f"127.0.0.1:{self.port}",
            "public_url": f"http://127.0.0.1:{self.port}",
            "secret": "s" * 20,
        }
        self.write()

    def write(self) -> None:
        """Write the fleet file as the tables are now."""
        self.project.write(self.base, self.tables, fleet=dict(self.fleet), webhook=self.webhook)

    def say(self, lines: int, name: str = "one") -> None:
        """Each of the people says so many lines more."""
        for _ in range(lines):
            for person in self.people:
                said = self.said.setdefault((name, person.id), [])
                said.append(f"line {len(said)}")
                person.send(self.bots[name], said[-1])

    def heard(self, name: str = "one") -> bool:
        """Whether all that was said was accepted and handled, and Telegram has nothing left."""
        bot = self.bots[name]
        total = sum(len(said) for (to, _), said in self.said.items() if to == name)
        tally = self.project.tally(bot)
        return tally["done"] == tally["accepted"] == total and not self.world.pending(bot)

    def answers(self, person: SimUser, name: str = "one") -> list[str]:
        """What a bot answered to somebody."""
        return [message["text"] for message in self.world.sent(self.bots[name], person.id)]

    async def all_answered(self, name: str = "one", *, repeats: bool = False, seconds: float = 60) -> None:
        """Wait until everything is handled: each line was answered once, in its chat's order.

        `repeats`: a kill may have cut off a call that was made, and is made again.
        """
        await until(lambda: self.heard(name), seconds)
        for person in self.people:
            found = self.answers(person, name)
            assert (list(dict.fromkeys(found)) if repeats else found) == self.said.get((name, person.id), [])

    async def registered(self, name: str = "one") -> SimBot:
        """Wait until a bot's webhook is set; the bot."""
        bot = self.bots[name]
        await until(lambda: bot.webhook is not None)
        return bot

    def registrations(self, name: str = "one") -> list[dict[str, Any]]:
        """What setWebhook was called with."""
        return [dict(call.params) for call in self.world.calls_of("setWebhook", self.bots[name])]

    def update(self, update_id: int = 1, text: str = "forged") -> bytes:
        """An update of the first of the people, as Telegram might send it."""
        chat = {"id": self.people[0].id, "type": "private"}
        return json.dumps({"update_id": update_id, "message": {"chat": chat, "text": text}}).encode()

    async def post(
        self,
        secret: str | None,
        body: bytes | None = None,
        *,
        bot: str = "one",
        method: str = "POST",
        sender: str = "",
    ) -> httpx.Response:
        """Deliver something."""
        headers = {} if secret is None else {SECRET_HEADER: secret}
        if sender:
            headers["X-Forwarded-For"] = sender
        url = f"http://127.0.0.1:{self.port}/webhook/{bot}"
        async with httpx.AsyncClient(timeout=30) as client:
            return await client.request(method, url, content=body or self.update(), headers=headers)

    async def stats(self) -> dict[str, Any]:
        """`GET /webhook/stats`, with the token."""
        token = (self.project.control.parent / "api-token").read_text().strip()
        async with httpx.AsyncClient(timeout=30) as client:
            url = f"http://127.0.0.1:{self.port}/webhook/stats"
            answer = await client.get(url, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 200
            document: dict[str, Any] = answer.json()
            return document
