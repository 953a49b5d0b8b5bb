"""Traces of a real fleet: in trace.log, with `logs --trace`, and as spans at a collector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fleet_project import Project, until
from otlp_collector import Collector, Received, collecting

from trioworkers.records import trace_id
from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trio

SECRET = "zeisig-ZEISIG-words-of-a-user"
FLAKY = """
async def handle(update, bot):
    bot.log.info("seen", attempt=update.attempt)
    await bot.send_message(chat_id=update.chat_id, text="first " + update.text)
    if update.attempt == 0:
        raise ValueError(update.text)
    await bot.send_message(chat_id=update.chat_id, text="second " + update.text)
    await bot.send_message(chat_id=update.chat_id, text="third " + update.text)
"""
INSTRUMENTED = """
import sys

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

async def start(bot):
    provider = TracerProvider()
    exporter = OTLPSpanExporter(bot.settings["collector"] + "/v1/traces")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)

async def handle(update, bot):
    with trace.get_tracer("shop").start_as_current_span("look up the order"):
        pass
    await bot.send_message(chat_id=update.chat_id, text=update.text)
"""
LISTS_MODULES = """
import sys

async def handle(update, bot):
    found = sorted({name.partition(".")[0] for name in sys.modules} & {"opentelemetry", "google", "requests"})
    await bot.send_message(chat_id=update.chat_id, text=repr(found))
"""
RETRY = {"attempts": 3, "initial": "50ms", "max": "50ms"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector of spans."""
    with collecting() as collector:
        yield collector


def trace_log(project: Project) -> list[dict[str, Any]]:
    """The lines of trace.log, if there is one."""
    path = project.folder / "state" / "logs" / "trace.log"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def test_the_whole_way_of_an_update_is_shown(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Both handlings, with their calls, what the bot logged, and no text of anybody."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.module("flaky", FLAKY)
    project.write(
        base,
        {"one": {"token": bot.token, "handler": "flaky:handle", "retry": RETRY}},
        plugins={"trace": {}},
    )
    daemon = await project.start().ready()
    id_ = trace_id(bot.id, world.add_user("U").send(bot, SECRET))
    await until(lambda: any(line["event"] == "update.done" for line in trace_log(project)))
    shown = project.run("logs", "--trace", id_[:12], "--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    document = json.loads(shown.stdout)
    assert document["missing"] == []
    steps = [line["event"].removeprefix("update.") for line in document["lines"]]
    assert [step for step in steps if step not in ("seen", "handler failed")] == [
        "stored", "delivered", "call", "retried", "delivered", "call", "call", "done",
    ]  # fmt: skip
    assert (steps.count("seen"), steps.count("handler failed")) == (2, 1)
    assert [line["result"] for line in document["lines"] if "result" in line] == ["made"] * 3
    afters = [line["after"] for line in document["lines"]]
    assert afters == sorted(afters)
    assert afters[0] >= 0
    text = project.run("logs", "--trace", id_).stdout
    assert "sendMessage" in text
    folder = project.folder / "state" / "logs"
    for path in folder.iterdir():
        assert SECRET not in path.read_text(), path
    assert SECRET not in shown.stdout + text
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_the_plugin_comes_and_goes_with_its_table(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Without a restart; without it nothing is written."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    bots = {"one": {"token": bot.token, "handler": "echo:handle"}}
    project.write(base, bots)
    daemon = await project.start().ready()
    user = world.add_user("U")
    user.send(bot, "1")
    await until(lambda: project.tally(bot)["done"] == 1)
    assert trace_log(project) == []
    project.write(base, bots, plugins={"trace": {}})
    assert project.run("reload").returncode == 0
    user.send(bot, "2")
    await until(lambda: [line for line in trace_log(project) if line["event"] == "update.done"])
    project.write(base, bots)
    assert project.run("reload").returncode == 0
    lines = len(trace_log(project))
    user.send(bot, "3")
    await until(lambda: project.tally(bot)["done"] == 3)
    assert await daemon.stop() == 0
    assert len(trace_log(project)) == lines
    nursery.cancel_scope.cancel()


def parents(spans: list[Received]) -> list[tuple[str, str]]:
    """Each span's name with that of its parent."""
    names = {span.span_id: span.name for span in spans} | {"": ""}
    return [(span.name, names[span.parent_id]) for span in spans]


async def test_a_collector_receives_the_tree_of_an_update(
    project: Project, world: Telegram, nursery: trio.Nursery, collector: Collector
) -> None:
    """One trace with the update's trace id; every span lies within its parent; nothing said is in it."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.module("flaky", FLAKY)
    project.write(
        base,
        {"one": {"token": bot.token, "handler": "flaky:handle", "retry": RETRY}},
        plugins={"trace": {"otlp": collector.address}},
    )
    daemon = await project.start().ready()
    id_ = trace_id(bot.id, world.add_user("U").send(bot, SECRET))
    await until(lambda: [span for span in collector.spans if span.name == "update one"])
    assert await daemon.stop() == 0
    spans = collector.of(id_)
    assert len(spans) == len(collector.spans)
    assert sorted(parents(spans)) == sorted(
        [
            ("update one", ""),
            ("receive one", "update one"),
            *[("wait one", "update one"), ("process one", "update one"), ("settle one", "update one")] * 2,
            *[("sendMessage", "process one")] * 3,
        ]
    )
    by_id = {span.span_id: span for span in spans}
    slack = 2_000_000  # ns: an event is made a little after the time that it tells
    for span in spans:
        if span.parent_id:
            parent = by_id[span.parent_id]
            assert parent.start - slack <= span.start <= span.end <= parent.end + slack, span
    first, second = [span for span in spans if span.name == "process one"]
    assert (first.is_error, first.attributes["error.type"]) == (True, "ValueError")
    assert (second.is_error, second.attributes["trioworkers.attempt"]) == (False, 1)
    assert [span.parent_id for span in spans if span.name == "sendMessage"] == [
        first.span_id, second.span_id, second.span_id,
    ]  # fmt: skip
    assert spans[0].resource["service.name"] == "fleet"
    sent = b"".join(collector.raw)
    assert SECRET.encode() not in sent
    assert bot.token.partition(":")[2].encode() not in sent
    nursery.cancel_scope.cancel()


async def test_a_bots_own_spans_join_the_trace(
    project: Project, world: Telegram, nursery: trio.Nursery, collector: Collector
) -> None:
    """Below the span of the handling, at each attempt."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.module("instrumented", INSTRUMENTED)
    project.write(
        base,
        {
            "one": {
                "token": bot.token,
                "handler": "instrumented:handle",
                "settings": {"collector": collector.address},
            }
        },
        plugins={"trace": {"otlp": collector.address}},
    )
    daemon = await project.start().ready()
    id_ = trace_id(bot.id, world.add_user("U").send(bot, "hi"))
    await until(lambda: {"update one", "look up the order"} <= {span.name for span in collector.spans})
    assert ("look up the order", "process one") in parents(collector.of(id_))
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_without_otlp_nothing_of_opentelemetry_is_imported(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Neither in a worker nor in the daemon, although it is installed here and the plugin is active."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.module("modules", LISTS_MODULES)
    project.write(base, {"one": {"token": bot.token, "handler": "modules:handle"}}, plugins={"trace": {}})
    daemon = await project.start().ready()
    user = world.add_user("U")
    user.send(bot, "hi")
    assert (await user.expect(bot))["text"] == "[]"
    await until(lambda: trace_log(project))
    assert "/google/" not in Path(f"/proc/{daemon.process.pid}/maps").read_text()  # its C extension
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
