"""The parts of Python's probe that need no library: what it says of an exception, and how it says it."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import sys
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from trioworkers.nursery.command_session import PRELOAD

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "7:local"


def load(name: str) -> Any:
    """Load one of the files as `sitecustomize` does, with the variables of this moment."""
    spec = importlib.util.spec_from_file_location(name, PRELOAD / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A listener in the endpoint's place, whose address is in the environment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        monkeypatch.setenv("TRIOWORKERS_API_BASE", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setenv("TRIOWORKERS_TOKEN", TOKEN)
        yield listener


def raised(error: Exception) -> Exception:
    """The exception, after it was raised here and went through a library."""
    try:
        json.loads("1", parse_int=partial(fail, error))
    except Exception as caught:
        return caught
    raise AssertionError


def fail(error: Exception, _: str) -> None:
    raise error


def of_library(package: str, name: str, **attributes: Any) -> Exception:
    """An exception as a library has it."""
    kind = type(name, (Exception,), {"__module__": f"{package}.exceptions", **attributes})
    made = kind("told by a user")
    assert isinstance(made, Exception)
    return made


@contextmanager
def accepted(listener: socket.socket) -> Iterator[socket.socket]:
    """A connection that was made to the listener."""
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(20)
        yield connection


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("told by a user"), {}),
        (of_library("aiogram", "TelegramForbiddenError"), {"code": 403}),
        (of_library("aiogram", "TelegramRetryAfter", retry_after=7), {"code": 429, "after": 7}),
        (of_library("aiogram", "TelegramServerError"), {}),
        (of_library("telegram", "BadRequest"), {"code": 400}),
        (of_library("telegram", "RetryAfter", retry_after=timedelta(seconds=3)), {"code": 429, "after": 3.0}),
        (of_library("mine", "BadRequest"), {}),
        (of_library("telebot", "ApiTelegramException", error_code=400, result_json={}), {"code": 400}),
        (
            of_library(
                "telebot",
                "ApiTelegramException",
                error_code=429,
                result_json={"parameters": {"retry_after": 2}},
            ),
            {"code": 429, "after": 2},
        ),
    ],
    ids=lambda value: None if isinstance(value, dict) else type(value).__name__,
)
def test_an_exception_is_told_by_type_and_place(
    daemon: socket.socket, error: Exception, told: dict[str, Any]
) -> None:
    """With Telegram's code, and the wait that it asked for, and nothing of what the exception says."""
    found = load("trioworkers_probe").described(raised(error))
    place = found.pop("error")
    assert place.startswith(f"{type(error).__name__} at test_probe_python.py:")
    assert place.endswith(" in fail")
    assert found == told


def test_lines_reach_the_daemon_at_once_and_again_where_the_connection_broke(daemon: socket.socket) -> None:
    """Each is a chunk of one request; a child that was forked has a connection of its own."""
    module = load("trioworkers_probe")
    module.PROBE.greet("aiogram", "3.31.0", 1)
    assert module.PROBE.greeting == "aiogram/3.31.0; at-once=1"
    line, kind = f"POST /bot{TOKEN}/trioworkersProbe HTTP/1.1", "Transfer-Encoding: chunked"
    head = f"{line}\r\nHost: trioworkers\r\n{kind}\r\n\r\n".encode()
    with accepted(daemon) as first:
        assert first.recv(1000) == head
        handling = module.Handling(5)
        handling.add()
        handling.done()
        handling.failed(ValueError("told by a user"))
        handling.failed(KeyError())
        handling.done()
        assert first.recv(1000) == b'21\r\n{"id": 5, "error": "ValueError"}\n\r\n'
        child = os.fork()
        if not child:
            module.PROBE.write(b"child\n")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        with accepted(daemon) as second:
            assert second.recv(1000).startswith(head)
        first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # it ends by a reset
    module.PROBE.write(b"again\n")
    with accepted(daemon) as third:
        wanted = head + b"6\r\nagain\n\r\n"
        assert third.recv(len(wanted), socket.MSG_WAITALL) == wanted
        daemon.close()
        third.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    module.PROBE.write(b"nobody\n")  # without the daemon nothing breaks in the bot
    module.PROBE.write(b"nobody\n")


def test_requests_to_the_daemon_alone_are_marked(daemon: socket.socket) -> None:
    """Polls say who asks, and what a handler asks says for which update."""
    module = load("trioworkers_probe")
    base = os.environ["TRIOWORKERS_API_BASE"]
    assert module.fields_of(f"{base}/bot{TOKEN}/getUpdates") == {}
    module.PROBE.greeting = "aiogram/3.31.0"
    assert module.fields_of(f"{base}/bot{TOKEN}/getUpdates?offset=1") == {
        "X-Trioworkers-Probe": "aiogram/3.31.0"
    }
    assert module.fields_of(f"{base}/bot{TOKEN}/getMe") == {}
    module.CURRENT.set(module.Handling(5))
    assert module.fields_of(f"{base}/bot{TOKEN}/getMe") == {"X-Trioworkers-Update": "5"}
    assert module.fields_of("https://example.org/") == {}


@pytest.mark.parametrize("version", ["3.30.9", "4.0.0", "2.25", "x"])
def test_a_version_that_was_not_tried_is_left_alone(
    daemon: socket.socket, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """And so is one that lacks a function; the greeting says so."""
    probe, libraries = load("trioworkers_probe"), load("trioworkers_libraries")
    name = "aiogram.dispatcher.dispatcher"
    package, meta, module = ModuleType("aiogram"), ModuleType("aiogram.__meta__"), ModuleType(name)
    package.__file__ = "/nowhere/aiogram/__init__.py"
    for one in (package, meta):
        monkeypatch.setitem(sys.modules, one.__name__, one)
    monkeypatch.setattr(libraries, "TRIED", {"aiogram": ((3, 31), (3, 31))})
    meta.__version__ = version  # type: ignore[attr-defined]
    libraries.wrap(module, probe)
    assert probe.PROBE.greeting == f"aiogram/{version}; unknown"
    meta.__version__ = "3.31.2"  # type: ignore[attr-defined]
    module.Dispatcher = type("Dispatcher", (), {"feed_update": None})  # type: ignore[attr-defined]
    libraries.wrap(module, probe)
    assert probe.PROBE.greeting == "aiogram/3.31.2; unknown"
