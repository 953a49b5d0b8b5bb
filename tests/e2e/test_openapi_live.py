"""A running daemon gives the answers that its OpenAPI document describes, and no others."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import trio
from fleet_project import Project, until

from trioworkers.testing import Telegram, serve_telegram

TOKEN = "a-token-for-this-test-alone"
SECONDS = 15, 60, 240  # that are spent on asking, in turn until enough was asked; what there is has no end
LEAST = 150  # cases
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)
"""Not `ignored_auth`: wrong tokens are answered late, and it would spend nearly all of the time on them."""
BEARER = {"Authorization": f"Bearer {TOKEN}"}
ACTS = {
    "/api/reload": {},
    "/api/restart": {},
    "/api/bots/{name}/pause": {},
    "/api/bots/{name}/resume": {},
    "/api/bots/{name}/restart": {},
    "/api/handoffs/{id}/take": {"operator": "Olga"},
    "/api/handoffs/{id}/say": {"operator": "Olga", "text": "hello"},
    "/api/handoffs/{id}/release": {},
    "/api/dlq/replay": {"bot": "dead"},
}
HANDLER = """
from trioworkers import Dead

async def handle(update, bot):
    raise Dead("this bot handles nothing")
"""
PHOTO = b"\xff\xd8\xff\xe0 a photo of a cat"
KNOWN = """
[dictionaries.names]
values = ["echo", "dead", "handoff", "dedup"]

[dictionaries.ids]
values = {ids}

[dictionaries.stamps]
values = ["{stamp}"]

[dictionaries.files]
values = ["app.css", "app.js", "icon.svg", "pages/desk.js"]

[[operations]]
include-path = "/login"
generation.max-examples = 2

[parameters]
"path.name" = {{ dictionary = "names", probability = 0.7 }}
"path.id" = {{ dictionary = "ids", probability = 0.7 }}
"path.stamp" = {{ dictionary = "stamps", probability = 0.9 }}
"path.path" = {{ dictionary = "files", probability = 0.7 }}
"""


async def test_every_answer_is_described(
    project: Project, world: Telegram, nursery: trio.Nursery, tmp_path: Path
) -> None:
    """We read all once, and do something; then Schemathesis asks for a while, with sense and without.

    The daemon is as well as before then.

    Of names that are made up, hardly any exists: so most are those of bots, of plugins, of a letter,
    of a dialog and its photo, of files of the dashboard.
    """
    base = await nursery.start(serve_telegram, world)
    echo, dead = world.add_bot("echo"), world.add_bot("dead")
    alice = world.add_user("Alice")
    project.module("dead", HANDLER)
    project.write(
        base,
        {
            "echo": {"token": echo.token, "handler": "echo:handle"},
            "dead": {"token": dead.token, "handler": "dead:handle"},
        },
        api={"token": TOKEN},
        plugins={
            "handoff": {},
            "alerts": {"bot": "echo", "chat": alice.id, "gather": "50ms"},
            "dedup": {"window": "1s"},
        },
    )
    daemon = await project.start().ready()
    for number in range(5):
        alice.send(dead, f"letter {number}")
    await until(lambda: len(project.events("update.dead")) == 5)
    control = httpx.AsyncHTTPTransport(uds=str(project.control))
    async with httpx.AsyncClient(transport=control) as client:
        link = (await client.post("http://control/api/login-link")).json()["url"]
        await client.post("http://control/api/handoffs", json={"bot": "echo", "chat_id": alice.id})
        letters = (await client.get("http://control/api/dlq")).json()["letters"]
        ids = [letters[0]["id"], f"echo:{alice.id}"]
        alice.send_photo(echo, PHOTO)

        async def photo() -> str | None:
            dialog = (await client.get(f"http://control/api/handoffs/{ids[1]}")).json()
            return next((line["stamp"] for line in dialog["transcript"] if "media" in line), None)

        stamp = await until(photo)
        document = (await client.get("http://control/api/openapi.json")).json()
    (tmp_path / "schemathesis.toml").write_text(KNOWN.format(ids=ids, stamp=stamp))

    origin = link.partition("/login")[0]
    await _need_token(origin, document)
    places = {"dlq": letters[0]["id"], "handoffs": ids[1], "stamp": stamp}
    async with httpx.AsyncClient(base_url=origin, headers=BEARER, timeout=30) as client:
        for path, methods in document["paths"].items():
            if "get" in methods:
                _judge(document, path, "get", await client.get(_filled(path, places)))
        for path, body in ACTS.items():
            answer = await client.post(_filled(path, places), json=body)
            _judge(document, path, "post", answer)
    for which in ("--include-method", "--exclude-method"):  # what acts ends what there is to be read
        number = 0
        for seconds in SECONDS:
            ask = partial(_ask, origin, tmp_path, which, seconds)
            asked = await trio.to_thread.run_sync(ask, abandon_on_cancel=True)
            assert asked.returncode == 0, asked.stdout[-20_000:] + asked.stderr[-2000:]
            generated = re.search(r"(\d+) generated, (\d+) passed", asked.stdout)
            assert generated is not None, asked.stdout
            number = int(generated[1])
            assert number == int(generated[2])
            if number >= LEAST:
                break
        assert number >= LEAST

    assert {"echo", "dead"} <= {row["bot"] for row in (await daemon.status())["workers"]}
    acts = {line["action"] for line in project.events("control.action")}
    assert {"reload", "restart", "bots.pause", "bots.resume", "bots.restart", "handoff.take"} <= acts
    log = project.log.read_text()
    assert "Exception on" not in log
    assert TOKEN not in log
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def _need_token(origin: str, document: dict[str, Any]) -> None:
    """Ask all that is not open without a token, and with a wrong one: it is refused."""
    async with httpx.AsyncClient(base_url=origin) as client:
        number = 0
        assert len(document["paths"]) > 30
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if "security" in operation:  # an exception: it is open
                    continue
                number += 1
                address = f"10.0.{number // 250}.{number % 250}"  # of its own: the first attempt is not late
                filled = re.sub(r"\{\w+\}", "echo", path)
                for headers in ({}, {"Authorization": "Bearer wrong", "X-Forwarded-For": address}):
                    answer = await client.request(method, filled, headers=headers)
                    assert answer.status_code == 401, (method, path, headers)


def _filled(path: str, places: dict[str, Any]) -> str:
    """A path of the document, with names that exist."""
    place = places.get(path.split("/")[2]) if path.count("/") > 1 else None
    known = {"name": "echo", "id": place, "stamp": places["stamp"], "path": "app.css"}
    return re.sub(r"\{(\w+)\}", lambda found: str(known[found[1]]), path)


def _judge(document: dict[str, Any], path: str, method: str, answer: httpx.Response) -> None:
    """It succeeded, and is of a type and a form that the document describes for that.

    What is made up may be refused each time, and a schema that no answer was held against says nothing.
    """
    assert answer.status_code == 200, (method, path, answer.text)
    content = document["paths"][path][method]["responses"]["200"]["content"]
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in content, (path, kind)
    if kind == "application/json":
        schema = {"components": document["components"], **content[kind]["schema"]}
        jsonschema.validate(answer.json(), schema, jsonschema.Draft202012Validator)


def _ask(origin: str, folder: Path, which: str, seconds: int) -> subprocess.CompletedProcess[str]:
    """Let Schemathesis ask by GET, or by all other methods; a failure's case is in its output."""
    words = [
        str(Path(sys.executable).with_name("st")), "run", f"{origin}/api/openapi.json",
        "--header", f"Authorization: {BEARER['Authorization']}",
        "--checks", ",".join(CHECKS), "--phases", "coverage,fuzzing",
        "--max-time", str(seconds), "--max-examples", "10", "--request-timeout", "20",
        "--suppress-health-check", "all", "--no-shrink", "--generation-deterministic", "--warnings", "off",
        "--continue-on-failure", "--max-redirects", "0",
        which, "GET",
    ]  # fmt: skip
    return subprocess.run(words, capture_output=True, text=True, cwd=folder, timeout=6 * seconds)
