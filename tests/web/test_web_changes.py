"""Bots that are added, changed and removed by request: what stands in the way, and who does the work."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from admitting import admission_for

from trioworkers.config import Fleet, load_fleet, plan_reload
from trioworkers.events import Events
from trioworkers.web import changes
from trioworkers.web.app import MARK, AppContext, make_app
from trioworkers.web.asked import MOST_CONTAINERS, MOST_MEMBERS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from trioworkers.config import Draft, Plan

BOT = {"token": "7:abc", "handler": "a:b"}


class FileReloads:
    """Reads the files anew and writes drafts, and applies nothing."""

    history: Any = None

    def __init__(self, file: Path) -> None:
        self.file = file
        self.fleet: Fleet = load_fleet(file, {})

    async def run(self, *, drafts: Iterable[Draft] = (), dry: bool = False, by: str = "") -> Plan:
        old, drafts = self.fleet, list(drafts)
        new = load_fleet(self.file, {}, drafts=drafts)
        if dry:
            return plan_reload(old, new)
        for draft in drafts:
            draft.commit()
        self.fleet = new
        return plan_reload(old, new)


class Api:
    def __init__(self, folder: Path) -> None:
        (folder / "state").mkdir()
        self.refused: set[str] = set()
        self.own = folder / "state" / "fleet.d" / "new.toml"
        file = folder / "fleet.toml"
        file.write_text('[bots.old]\ntoken = "1:abc"\nhandler = "a:b"\n')
        self.reloads = FileReloads(file)
        nothing: Any = None
        self.app = make_app(
            AppContext(
                admission=admission_for("right"),
                is_ready=bool,
                status=dict,
                inbox=nothing,
                backs_up=nothing,
                bots=dict,
                restarts=nothing,
                backups=nothing,
                events=Events(lambda _event: None),
                reloads=self.reloads,
                plugins=nothing,
                live=nothing,
                refuses_token=self.refuses_token,
            )
        )

    async def refuses_token(self, fleet: Fleet, name: str) -> bool:
        """What Telegram would say."""
        return fleet.bots[name].token.reveal() in self.refused

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        client: Any = self.app.test_client()
        answer = await client.open(path, method=method, data=data, scope_base={MARK: True})
        return answer.status_code, await answer.get_json()

    async def add(self, **more: Any) -> int:
        status, _ = await self.ask("POST", "/api/bots", {"name": "new", "bot": {**BOT, **more}})
        return status


@pytest.fixture
async def api(tmp_path: Path) -> Api:
    return Api(tmp_path)


async def test_a_token_that_telegram_refuses_changes_nothing(api: Api) -> None:
    """Whoever typed it is told at once; of a bot that has another one, that goes on."""
    api.refused = {"7:abc", "9:abc"}
    status, answer = await api.ask("POST", "/api/bots", {"name": "new", "bot": BOT})
    assert status == 422
    assert "bots.new.token: Telegram refuses this token" in answer["error"]
    assert not api.own.exists()
    api.refused = {"9:abc"}
    assert await api.add() == 200
    assert (await api.ask("PUT", "/api/bots/new", {"token": "9:abc"}))[0] == 422
    assert "7:abc" in api.own.read_text()


WAYS = [("PUT", {"token": "8:abc"}), ("DELETE", None)]


@pytest.mark.parametrize(("method", "body"), WAYS)
async def test_a_bot_is_changed_and_removed(api: Api, method: str, body: Any) -> None:
    """As long as its file is what was written."""
    assert await api.add() == 200
    status, plan = await api.ask(method, "/api/bots/new", body)
    assert (status, plan["removed"]) == (200, ["new"] if method == "DELETE" else [])


@pytest.mark.parametrize(("method", "body"), WAYS)
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, 409),
        (b"", 409),
        (b"[bots]\n", 409),
        (b"[bots.other]\ntoken = '9:abc'\n", 409),
        (b"bots = 1\n", 409),
        (b"[bots]\nnew = 1\n", 409),
        (b"[bots.new\n", 422),
        (b"\xff", 422),
        (b".".join([b"a"] * 20_000) + b" = 1", 422),
    ],
)
async def test_a_file_that_somebody_changed_by_hand(
    api: Api, method: str, body: Any, content: bytes | None, expected: int
) -> None:
    """It is not overwritten, nor removed; the answer names it. The bot that is in force stays."""
    assert await api.add() == 200
    if content is None:
        api.own.unlink()
    else:
        api.own.write_bytes(content)
    status, answer = await api.ask(method, "/api/bots/new", body)
    assert status == expected
    assert str(api.own) in answer["error"]
    assert (api.own.read_bytes() if content is not None else None) == content
    assert "new" in api.reloads.fleet.bots


@pytest.mark.parametrize(("method", "body"), WAYS)
async def test_a_folder_in_its_files_place(api: Api, method: str, body: Any) -> None:
    """It cannot be read, and says why."""
    assert await api.add() == 200
    api.own.unlink()
    api.own.mkdir()
    status, answer = await api.ask(method, "/api/bots/new", body)
    assert (status, "cannot be read: is a directory" in answer["error"]) == (422, True)


async def test_a_large_bot_is_read_and_written_beside_the_loop(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table of 320,000 numbers takes seconds, in which everybody else is served."""
    threads: dict[str, set[int]] = {}

    def noting(name: str) -> Any:
        was = getattr(changes, name)

        def noted(*given: Any) -> Any:
            threads.setdefault(name, set()).add(threading.get_ident())
            return was(*given)

        return noted

    parts = ("read_source", "draft_bot", "draft_removal")
    for part in parts:
        monkeypatch.setattr(changes, part, noting(part))
    assert await api.add(settings={"numbers": list(range(100_000))}) == 200
    assert (await api.ask("PUT", "/api/bots/new", {"token": "8:abc"}))[0] == 200
    assert (await api.ask("DELETE", "/api/bots/new"))[0] == 200
    assert threads.keys() == set(parts)
    assert threading.get_ident() not in set().union(*threads.values())


async def test_a_body_of_very_many_tables_is_not_read(api: Api) -> None:
    """Each is an object of Python's: a megabyte of them takes the loop 200 ms. Plain values are cheap."""
    many = b"[" + b"[]," * MOST_CONTAINERS + b"[]]"
    status, answer = await api.ask(
        "POST", "/api/bots", b'{"name": "new", "bot": {"settings": {"x": ' + many + b"}}}"
    )
    assert (status, answer["error"]) == (400, "expected at most 20,000 arrays and objects")


async def test_a_body_of_very_many_keys_is_refused_for_that_alone(api: Api) -> None:
    """Each unknown key would be an error of its own: a megabyte of them takes the loop 100 ms."""
    few, many = ({f"key{n:060}": 1 for n in range(number)} for number in (MOST_MEMBERS, MOST_MEMBERS + 1))
    unknown = "unknown key, expected only name, bot"
    assert (
        await refusal(api, few)
        == f"name: expected the bot's name; bot: expected a table of the keys of a bot; {unknown}"
    )
    assert await refusal(api, many) == unknown


async def refusal(api: Api, body: dict[str, Any]) -> str:
    """What is said of a body that is refused."""
    status, answer = await api.ask("POST", "/api/bots", json.dumps(body).encode())
    assert status == 400
    error: str = answer["error"]
    return error


async def test_a_name_that_is_nearly_right(api: Api) -> None:
    """It is named; what is far too long is compared with nothing."""
    status, answer = await api.ask("DELETE", "/api/bots/odl")
    assert (status, answer["error"]) == (404, "this daemon runs no bot of that name, did you mean old")
    status, answer = await api.ask("DELETE", f"/api/bots/{'x' * 5000}")
    assert (status, "mean" in answer["error"]) == (404, False)
