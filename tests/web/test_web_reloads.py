"""The history of reloads, as it is kept and as it is asked for; and plugins that are switched on again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from admitting import admission_for

from trioworkers.events import Event, Events
from trioworkers.plugins import Origin, Plugins
from trioworkers.reload_history import MOST, PastReload, ReloadHistory
from trioworkers.web.app import MARK, AppContext, make_app

PLAN = {"added": ["new"], "removed": [], "replaced": {"a": ["handler"]}, "retuned": {}, "unchanged": 3}


class Asked:
    """The application over a history and two plugins; what was told."""

    def __init__(self) -> None:
        self.history = ReloadHistory()
        self.plugins = Plugins()
        self.plugins.add("good", SimpleNamespace(), Origin("a test"))
        self.plugins.add("idle", SimpleNamespace(REQUIRES_TABLE=True), Origin("a test"))
        self.told: list[Event] = []
        nothing: Any = None
        reloads: Any = SimpleNamespace(history=self.history)
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
                events=Events(self.told.append),
                reloads=reloads,
                plugins=self.plugins,
                live=nothing,
            )
        )

    async def ask(self, method: str, path: str) -> tuple[int, Any]:
        client: Any = self.app.test_client()
        response = await getattr(client, method)(path, scope_base={MARK: True})
        return response.status_code, await response.get_json()


@pytest.fixture
def asked() -> Asked:
    return Asked()


async def test_the_last_reloads_are_told_newest_first(asked):
    """With what caused them, their plan or their problems."""
    assert await asked.ask("get", "/api/reloads") == (200, {"reloads": [], "next": None})
    asked.history.add(PastReload(5.0, 0.25, "signal HUP", "applied", plan=PLAN, left_out=["x"]))
    asked.history.add(PastReload(6.0, 0.1, "a changed file", "refused", problems=["fleet.toml:1:2: y"]))
    status, found = await asked.ask("get", "/api/reloads")
    assert status == 200
    assert found["reloads"] == [
        {
            "number": 2,
            "at": 6.0,
            "seconds": 0.1,
            "by": "a changed file",
            "result": "refused",
            "plan": None,
            "problems": ["fleet.toml:1:2: y"],
            "left_out": [],
        },
        {
            "number": 1,
            "at": 5.0,
            "seconds": 0.25,
            "by": "signal HUP",
            "result": "applied",
            "plan": PLAN,
            "problems": [],
            "left_out": ["x"],
        },
    ]


async def test_a_refusal_that_repeats_the_last_one_is_told_once(asked):
    """With its later time; one for another reason, or after a good reload, is told by itself."""

    def refuse(at: float, problem: str) -> None:
        asked.history.add(PastReload(at, 0.1, "a changed file", "refused", problems=[problem]))

    refuse(1.0, "x")
    refuse(2.0, "x")
    refuse(3.0, "y")
    asked.history.add(PastReload(4.0, 0.1, "a changed file", "applied", plan=PLAN))
    refuse(5.0, "y")
    _, found = await asked.ask("get", "/api/reloads")
    assert [(one["number"], one["at"]) for one in found["reloads"]] == [
        (4, 5.0),
        (3, 4.0),
        (2, 3.0),
        (1, 2.0),
    ]


async def test_the_history_is_bounded_and_read_in_pages(asked):
    """The oldest are forgotten; the numbers go on."""
    for at in range(MOST + 7):
        asked.history.add(PastReload(float(at), 0.0, "a request", "applied", plan=PLAN))
    numbers, before = [], ""
    while True:
        _, page = await asked.ask("get", f"/api/reloads?limit=20{before}")
        assert len(page["reloads"]) <= 20
        numbers += [one["number"] for one in page["reloads"]]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert numbers == list(range(MOST + 7, 7, -1))


@pytest.mark.parametrize("query", ["limit=0", f"limit={MOST + 1}", "before=0", "before=x", "other=1"])
async def test_a_query_that_makes_no_sense_is_refused(asked, query):
    """In words."""
    status, found = await asked.ask("get", f"/api/reloads?{query}")
    assert (status, "expected" in found["error"]) == (400, True)


async def test_a_plugin_that_was_switched_off_is_switched_on_again(asked):
    """Once, and it is told who did; its failures are forgotten."""
    plugin = asked.plugins.found[0]
    for _ in range(5):
        plugin.failed("a test")
    assert plugin.row()["state"] == "off"
    status, row = await asked.ask("post", "/api/plugins/good/enable")
    assert (status, row["state"], row["reason"], row["failures"]) == (200, "active", None, 5)
    assert (await asked.ask("post", "/api/plugins/good/enable"))[0] == 200
    (event,) = asked.told
    assert (event.event, event.fields["action"], event.fields["plugin"]) == (
        "control.action",
        "plugins.enable",
        "good",
    )
    for _ in range(4):
        plugin.failed("a test")
    assert plugin.is_active


@pytest.mark.parametrize(("name", "status", "words"), [("idle", 409, "no table"), ("none", 404, "no plugin")])
async def test_what_cannot_be_switched_on_is_refused(asked, name, status, words):
    """With what to do instead."""
    found, answer = await asked.ask("post", f"/api/plugins/{name}/enable")
    assert (found, words in answer["error"]) == (status, True)
    assert asked.told == []
