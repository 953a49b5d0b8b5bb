"""Bots over HTTP: the real application, with bots that are played."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from admitting import admission_for

from trioworkers.botapi.errors import BotApiError, TransportError
from trioworkers.events import Event, Events
from trioworkers.nursery.rolling import Rolled
from trioworkers.web.app import MARK, AppContext, make_app


@dataclass
class Played:
    """A bot."""

    name: str
    answer: str | None = None
    trouble: OSError | None = None
    refusal: Exception | None = None
    asked: list[str] = field(default_factory=list)

    @property
    def settings(self) -> Any:
        return SimpleNamespace(
            name=self.name,
            bot_id=7,
            handler="one:handle",
            command=None,
            enabled=True,
            worker="always",
            settings={"key": "a-secret"},
        )

    def status(self) -> dict[str, Any]:
        row = {"state": "running", "reason": None, "paused": False, "pid": 5, "code": "c0de"}
        return {"bot": self.name, "bot_id": 7, **row, "transport": "poll", "queue": {"ready": 3}}

    async def restart(self) -> str | None:
        self.asked.append("restart")
        return self.answer

    async def drop_pending(self) -> int:
        self.asked.append("drop-pending")
        if self.refusal is not None:
            raise self.refusal
        return 3

    async def pause(self) -> None:
        await self._change("pause")

    async def resume(self) -> None:
        await self._change("resume")

    async def _change(self, what: str) -> None:
        await trio.lowlevel.checkpoint()
        if self.trouble:
            raise self.trouble
        self.asked.append(what)


class Fleet:
    """Two bots behind the application; what was told."""

    def __init__(self) -> None:
        self.bots = {name: Played(name) for name in ("support", "echo")}
        self.rolled = Rolled(replaced=2)
        self.told: list[Event] = []
        nothing: Any = None
        bots: Any = self.bots
        restarts: Any = SimpleNamespace(ask=self.ask_for_rolling)
        self.app = make_app(
            AppContext(
                admission=admission_for("right"),
                is_ready=bool,
                status=dict,
                inbox=nothing,
                backs_up=nothing,
                bots=lambda: bots,
                restarts=restarts,
                backups=nothing,
                events=Events(self.told.append),
                reloads=nothing,
                plugins=nothing,
                live=nothing,
            )
        )

    async def ask_for_rolling(self) -> Rolled:
        return self.rolled

    async def get(self, path: str) -> tuple[int, Any]:
        return await self._ask("get", path, control=True)

    async def post(self, path: str, *, control: bool = True) -> tuple[int, Any]:
        return await self._ask("post", path, control=control)

    async def _ask(self, method: str, path: str, *, control: bool) -> tuple[int, Any]:
        scope: dict[str, Any] = {MARK: True} if control else {}
        headers = {"Host": "localhost", "Authorization": "Bearer right"}
        client = self.app.test_client()
        response = await getattr(client, method)(path, headers=headers, scope_base=scope)
        return response.status_code, await response.get_json()


async def test_bots_are_listed_by_name() -> None:
    """What they are; never the settings of a handler, which may be secrets."""
    fleet = Fleet()
    code, listed = await fleet.get("/api/bots")
    assert code == 200
    assert [row["bot"] for row in listed["bots"]] == ["echo", "support"]
    assert listed["bots"][0]["handler"] == "one:handle"
    assert "a-secret" not in str(listed)


@pytest.mark.parametrize("action", ["pause", "resume", "restart"])
@pytest.mark.parametrize("control", [True, False], ids=["control socket", "api"])
async def test_what_is_done_is_told_with_who_asked(action: str, control: bool) -> None:
    """By either way in; the answer is the bot as it is then."""
    fleet = Fleet()
    code, row = await fleet.post(f"/api/bots/echo/{action}", control=control)
    assert (code, row["bot"], row["state"]) == (200, "echo", "running")
    assert fleet.bots["echo"].asked == [action]
    assert fleet.bots["support"].asked == []
    (told,) = fleet.told
    assert (told.event, told.bot, told.level) == ("control.action", "echo", "info")
    by = "control socket" if control else "API token"
    assert told.fields == {"action": f"bots.{action}", "by": by, "source": "local"}


async def test_an_unknown_bot_is_404_with_the_nearest_name() -> None:
    """For each of the actions; nothing is told."""
    fleet = Fleet()
    for code, answer in (
        await fleet.get("/api/bots/ekho"),
        *[await fleet.post(f"/api/bots/ekho/{action}") for action in ("pause", "resume", "restart")],
    ):
        assert (code, answer) == (404, {"error": "this daemon runs no bot of that name, did you mean echo"})
    assert fleet.told == []


async def test_a_restart_that_fails_is_409_with_the_reason() -> None:
    """And told as an error."""
    fleet = Fleet()
    fleet.bots["echo"].answer = "handler cannot be imported"
    code, answer = await fleet.post("/api/bots/echo/restart")
    assert (code, answer) == (409, {"error": "echo has no ready worker: handler cannot be imported"})
    (told,) = fleet.told
    assert (told.level, told.fields["reason"]) == ("error", "handler cannot be imported")


async def test_what_waits_at_telegram_is_dropped_when_somebody_asks_for_it() -> None:
    """And the number is answered; it is an action like the others."""
    fleet = Fleet()
    assert await fleet.post("/api/bots/echo/drop-pending") == (200, {"dropped": 3})
    assert fleet.bots["echo"].asked == ["drop-pending"]
    (told,) = fleet.told
    assert (told.event, told.fields["action"], told.level) == ("control.action", "bots.drop_pending", "info")


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (BotApiError("deleteWebhook", 401, "words of Telegram"), "Telegram refused deleteWebhook: 401"),
        (TransportError("getWebhookInfo", "no answer"), "getWebhookInfo: no answer"),
    ],
)
async def test_what_cannot_be_dropped_is_409_with_the_reason(refusal: Exception, said: str) -> None:
    """Without words of the server's."""
    fleet = Fleet()
    fleet.bots["echo"].refusal = refusal
    assert await fleet.post("/api/bots/echo/drop-pending") == (409, {"error": said})
    (told,) = fleet.told
    assert (told.level, told.fields["reason"]) == ("error", said)


async def test_a_pause_that_cannot_be_made_durable_is_503() -> None:
    """Nothing was changed, and it is told as an error."""
    fleet = Fleet()
    fleet.bots["echo"].trouble = OSError(28, "No space left on device")
    code, answer = await fleet.post("/api/bots/echo/pause")
    assert code == 503
    assert answer["error"] == "it could not be made durable: no space left on device; nothing was changed"
    assert fleet.told[0].level == "error"


async def test_a_rolling_restart_answers_when_it_is_done() -> None:
    """How many were replaced and which failed, or 409 and why none was."""
    fleet = Fleet()
    assert await fleet.post("/api/restart") == (200, {"replaced": 2, "failed": {}})
    fleet.rolled = Rolled(refused="echo: handler cannot be imported; nothing was replaced")
    code, answer = await fleet.post("/api/restart")
    assert (code, answer["error"]) == (409, "echo: handler cannot be imported; nothing was replaced")
    assert [told.fields["action"] for told in fleet.told] == ["restart", "restart"]


async def test_a_daemon_in_no_cluster_has_no_nodes() -> None:
    """It lists none, and moves no bot."""
    fleet = Fleet()
    assert await fleet.get("/api/nodes") == (200, {"nodes": []})
    refused = 409, {"error": "this daemon is in no cluster: no [cluster] node is set"}
    assert await fleet.post("/api/bots/echo/move") == refused
    assert await fleet.post("/api/nodes/a/drain") == refused
