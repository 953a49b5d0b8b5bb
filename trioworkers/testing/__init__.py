"""A strict Telegram in memory, for testing bots, plugins and trioworkers itself without Telegram.

    telegram = Telegram(seed=1)
    bot = telegram.add_bot("echo")
    alice = telegram.add_user("Alice")
    base_url = await nursery.start(serve_telegram, telegram)
    …
    await alice.say(bot, "hello")
    message = await alice.expect(bot)

Tests that do not run on Trio use the pytest fixture `telegram` instead, which is there as soon as
trioworkers is installed. The fixture `run_fleet` runs a whole fleet from a dict against it.

The names below are loaded when they are first used: pytest imports this package in every project that has
trioworkers installed, and must not pay for Trio and h11 there.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trioworkers.testing import faults
    from trioworkers.testing.answers import Refused
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.calls import Call
    from trioworkers.testing.chats import Message
    from trioworkers.testing.control import Answer
    from trioworkers.testing.faults import Fault, Faults, Rule
    from trioworkers.testing.fleet import FleetFailed, Person, RunningFleet, running
    from trioworkers.testing.folder import FleetFolder
    from trioworkers.testing.in_process import SimulatedBot, make_press, make_update, open_bot
    from trioworkers.testing.params import Upload
    from trioworkers.testing.purchases import PaymentFailed
    from trioworkers.testing.server import serve_telegram
    from trioworkers.testing.telegram import Telegram
    from trioworkers.testing.threaded import TelegramThread
    from trioworkers.testing.users import NothingSaid, SimGroup, SimUser

__all__ = [
    "Answer",
    "Call",
    "Fault",
    "Faults",
    "FleetFailed",
    "FleetFolder",
    "Message",
    "NothingSaid",
    "PaymentFailed",
    "Person",
    "Refused",
    "Rule",
    "RunningFleet",
    "SimBot",
    "SimGroup",
    "SimUser",
    "SimulatedBot",
    "Telegram",
    "TelegramThread",
    "Upload",
    "faults",
    "make_press",
    "make_update",
    "open_bot",
    "running",
    "serve_telegram",
]

_HOMES = {
    "Answer": "control",
    "Call": "calls",
    "Fault": "faults",
    "Faults": "faults",
    "FleetFailed": "fleet",
    "FleetFolder": "folder",
    "Message": "chats",
    "NothingSaid": "users",
    "PaymentFailed": "purchases",
    "Person": "fleet",
    "Refused": "answers",
    "Rule": "faults",
    "RunningFleet": "fleet",
    "SimBot": "bots",
    "SimGroup": "users",
    "SimUser": "users",
    "SimulatedBot": "in_process",
    "Telegram": "telegram",
    "TelegramThread": "threaded",
    "Upload": "params",
    "make_press": "in_process",
    "make_update": "in_process",
    "open_bot": "in_process",
    "running": "fleet",
    "serve_telegram": "server",
}


def __getattr__(name: str) -> object:
    if name == "faults":
        return import_module("trioworkers.testing.faults")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"trioworkers.testing.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
