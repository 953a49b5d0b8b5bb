"""Sessions and login links: how long they last, and what is kept of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trioworkers.web.sessions import (
    IDLE,
    LINK_AGE,
    MOST_LINKS,
    MOST_SESSIONS,
    SAVE_EVERY,
    LoginLinks,
    Sessions,
    cookie_name,
)

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    """A clock that a test moves; and a token that it changes."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.token = "token"

    def __call__(self) -> float:
        return self.now

    def give_token(self) -> str:
        return self.token

    def sessions(self, folder: Path) -> Sessions:
        return Sessions(folder / "sessions.json", self.give_token, self)


async def test_a_session_is_open_until_it_ends(tmp_path: Path) -> None:
    """Nobody else's id opens it; ending it twice says so."""
    sessions = Clock().sessions(tmp_path)
    id_ = await sessions.begin()
    assert len(id_) >= 43  # 256 bits
    assert await sessions.is_open(id_)
    assert not await sessions.is_open(id_ + "x")
    assert not await sessions.is_open("")
    assert await sessions.end(id_)
    assert not await sessions.end(id_)
    assert not await sessions.is_open(id_)


async def test_a_session_ends_after_twelve_idle_hours(tmp_path: Path) -> None:
    """Each request begins them anew."""
    clock = Clock()
    sessions = clock.sessions(tmp_path)
    id_ = await sessions.begin()
    for _ in range(3):
        clock.now += IDLE - 1
        assert await sessions.is_open(id_)
    clock.now += IDLE
    assert not await sessions.is_open(id_)
    await sessions.begin()
    assert len(sessions) == 1


async def test_there_are_few_sessions(tmp_path: Path) -> None:
    """The one that was idle longest ends for another."""
    clock = Clock()
    sessions = clock.sessions(tmp_path)
    first, second = await sessions.begin(), await sessions.begin()
    clock.now += 1
    assert await sessions.is_open(first)
    for _ in range(MOST_SESSIONS - 1):
        await sessions.begin()
    assert len(sessions) == MOST_SESSIONS
    assert await sessions.is_open(first)
    assert not await sessions.is_open(second)


async def test_sessions_outlive_the_daemon(tmp_path: Path) -> None:
    """A new one knows them, and that they were used; those that ended stay ended."""
    clock = Clock()
    before = clock.sessions(tmp_path)
    kept, ended = await before.begin(), await before.begin()
    await before.end(ended)
    clock.now += SAVE_EVERY
    assert await before.is_open(kept)
    clock.now += IDLE - 1
    after = clock.sessions(tmp_path)
    assert await after.is_open(kept)
    assert not await after.is_open(ended)


async def test_the_file_holds_no_id_and_is_ours_alone(tmp_path: Path) -> None:
    """Whoever reads it cannot use it."""
    sessions = Clock().sessions(tmp_path)
    id_ = await sessions.begin()
    path = tmp_path / "sessions.json"
    assert id_ not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    ((name, _),) = sessions._used.items()
    assert not await sessions.is_open(name)


async def test_another_token_ends_all_sessions_and_links(tmp_path: Path) -> None:
    """At once, in the running daemon, too: whoever changes a token that has leaked wants that."""
    clock = Clock()
    sessions, links = clock.sessions(tmp_path), LoginLinks(clock.give_token, clock)
    id_, code = await sessions.begin(), links.make()
    clock.token = "another"
    assert not await sessions.is_open(id_)
    assert not links.redeem(code)


@pytest.mark.parametrize("content", ["", "[]", '{"a": "b"}', '{"a": 1', "\udcff"])
async def test_a_damaged_file_is_no_session(tmp_path: Path, content: str) -> None:
    """People sign in anew; the daemon starts."""
    (tmp_path / "sessions.json").write_bytes(content.encode(errors="surrogateescape"))
    sessions = Clock().sessions(tmp_path)
    assert len(sessions) == 0
    assert await sessions.is_open(await sessions.begin())


async def test_a_full_disk_keeps_nobody_out(tmp_path: Path) -> None:
    """The session is in memory, then."""
    sessions = Clock().sessions(tmp_path / "missing")
    assert await sessions.is_open(await sessions.begin())


def test_a_link_is_good_once_and_not_for_long() -> None:
    """For ten minutes; no other code is."""
    clock = Clock()
    links = LoginLinks(clock.give_token, clock)
    code, late = links.make(), links.make()
    assert len(code) >= 43
    assert not links.redeem(code + "x")
    assert links.redeem(code)
    assert not links.redeem(code)
    clock.now += LINK_AGE
    assert not links.redeem(late)


def test_there_are_few_links() -> None:
    """The oldest ends for another."""
    clock = Clock()
    links = LoginLinks(clock.give_token, clock)
    codes = [links.make() for _ in range(MOST_LINKS + 1)]
    assert [links.redeem(code) for code in codes] == [False] + [True] * MOST_LINKS


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("127.0.0.1:3001", "trioworkers_session_3001"),
        ("[::1]:3002", "trioworkers_session_3002"),
        ("fleet.example.org", "trioworkers_session"),
        ("localhost:x", "trioworkers_session"),
        ("3001", "trioworkers_session"),
        ("", "trioworkers_session"),
    ],
)
def test_two_fleets_of_one_host_have_cookies_of_their_own(host: str, name: str) -> None:
    """Browsers do not keep cookies apart by port."""
    assert cookie_name(host) == name
