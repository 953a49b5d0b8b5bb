"""Which handlers are proven, for which settings, and who learns of it."""

from __future__ import annotations

import pytest
import trio

from trioworkers.nursery.proven_handlers import HandlerStart, ProvenHandlers, start_of
from trioworkers.protocol.frames import Configure, Program, Retune


def start(handler="echo:handle", path=("/fleet",), **settings) -> HandlerStart:
    return HandlerStart.of(handler, path, settings)


class Asked:
    """An event for each bot that asked."""

    def __init__(self) -> None:
        self.handlers = ProvenHandlers()
        self.events: dict[str, trio.Event] = {}

    def ask(self, name: str, wanted: HandlerStart) -> None:
        self.handlers.ask(self.events.setdefault(name, trio.Event()), wanted)

    @property
    def proven(self) -> set[str]:
        return {name for name, event in self.events.items() if event.is_set()}


@pytest.fixture
def asked() -> Asked:
    return Asked()


def test_a_handler_without_start_is_proven_for_all_settings(asked):
    """Nothing in a worker sees them before the first update: those who ask, and those who ask later."""
    asked.ask("same", start(a=1))
    asked.ask("others", start(a=2))
    asked.ask("another handler", start("other:handle", a=1))
    asked.ask("another folder", start(path=("/elsewhere",), a=1))
    assert asked.proven == set()
    asked.handlers.note_ready(start(a=1), has_start=False)
    asked.ask("later", start(a=3))
    assert asked.proven == {"same", "others", "later"}


def test_a_handler_with_start_is_proven_for_the_same_settings(asked):
    """`start` may fail for others; the order of keys makes no difference."""
    asked.ask("same", HandlerStart.of("echo:handle", ["/fleet"], {"b": [2], "a": {"x": 1}}))
    asked.ask("others", start(a={"x": 1}))
    asked.handlers.note_ready(start(a={"x": 1}, b=[2]), has_start=True)
    asked.ask("later", start(b=[2], a={"x": 1}))
    assert asked.proven == {"same", "later"}
    asked.handlers.note_ready(start(a={"x": 1}), has_start=True)
    assert asked.proven == {"same", "later", "others"}


def test_what_is_asked_last_counts(asked):
    """A bot whose handler changed while it waited is not proven by the one of before."""
    asked.ask("bot", start())
    asked.ask("bot", start("changed:handle"))
    asked.handlers.note_ready(start(), has_start=False)
    assert asked.proven == set()
    asked.handlers.note_ready(start("changed:handle"), has_start=False)
    assert asked.proven == {"bot"}


def test_who_is_gone_is_forgotten(asked):
    """Its event stays as it is, and nothing is kept of it."""
    asked.ask("gone", start())
    asked.handlers.forget(asked.events["gone"])
    asked.handlers.forget(trio.Event())
    asked.handlers.note_ready(start(), has_start=False)
    assert asked.proven == set()


def test_a_handler_that_cannot_be_imported_any_more_is_proven_anew(asked):
    """Who polls already goes on; who asks then waits until a worker is ready again."""
    asked.ask("early", start())
    asked.handlers.note_ready(start(), has_start=False)
    asked.handlers.note_unfit(start())
    asked.ask("late", start())
    assert asked.proven == {"early"}
    asked.handlers.note_ready(start(), has_start=True)
    assert asked.proven == {"early", "late"}


@pytest.mark.parametrize("program", [None, Program(["true"], "/", {}, "")])
def test_a_program_proves_nothing_for_others(program):
    """A worker is known by its handler, its folders and its settings; a program's by nothing."""
    tuning = Retune({"a": 1}, 1.0, 1.0, 1.0, "info")
    configure = Configure("bot", 1, "1:a", "http://x", "echo:handle", ["/fleet"], 1, tuning, program=program)
    assert start_of(configure) == (None if program is not None else start(a=1))
