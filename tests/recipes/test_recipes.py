"""The recipes, as their pages show them: each file, each command, and what people see of it."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
import pytest
from benchmarks.ports import free_port
from documents import DOCS, page

from trioworkers.testing.params import Upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from recipe_pages import Recipe

    from trioworkers.testing import TelegramThread
    from trioworkers.testing.fleet import Person


LIBRARIES = Path(__file__).parents[2] / ".tools" / "libraries"
PICTURE = b"a picture"
LIMIT = 60.0  # seconds for what is waited for


def hears(person: Person, count: int = 1, bot: str | None = None) -> list[str]:
    """The texts of a bot's next messages."""
    return [person.hears(bot, LIMIT)["text"] for _ in range(count)]


def test_every_recipe_is_tested_and_listed() -> None:
    """Whoever adds a page writes its test."""
    names = {path.stem for path in (DOCS / "recipes").glob("*.md")} - {"index"}
    here = Path(__file__).read_text()
    assert [name for name in names if f'recipe("{name}")' not in here] == []
    assert [name for name in names if f"({name}.md)" not in page("recipes/index.md")] == []


def test_albums(recipe: Callable[[str], Recipe]) -> None:
    """An album goes out as one album with its captions, a single photo as a photo."""
    one = recipe("albums")
    reader = one.telegram.add_user("Reader")
    tables = one.tables()
    editor = one.telegram.add_user("Editor")
    tables["bots"]["desk"] |= {"settings": {"editors": [editor.id], "channel": reader.id}, "albums": "300ms"}
    with one.fleet(tables) as fleet:
        bot = fleet.sim_bot()
        fleet.telegram.do(reader.start, bot)
        fleet.settled()
        contents = [
            fleet.telegram.world.files.put(bot, kind, Upload(kind, "", PICTURE)).in_message()
            for kind in ("photo", "photo", "video")
        ]
        contents[0]["caption"] = "first"
        fleet.telegram.do(editor.send_album, bot, contents)
        assert fleet.telegram.expect(editor, bot, LIMIT)["text"] == "Posted: 3"
        fleet.telegram.do(editor.send_photo, bot, PICTURE, caption="alone")
        assert fleet.telegram.expect(editor, bot, LIMIT)["text"] == "Posted: 1"
        got = [fleet.telegram.expect(reader, bot, LIMIT) for _ in range(4)]
        assert [next(kind for kind in ("photo", "video") if kind in part) for part in got] == [
            "photo",
            "photo",
            "video",
            "photo",
        ]
        assert [part.get("caption") for part in got] == ["first", None, None, "alone"]
        assert len({part.get("media_group_id") for part in got[:3]}) == 1
        stranger = fleet.user("Stranger")
        stranger.says("post this")
        fleet.settled()
        assert len(fleet.telegram.do(fleet.telegram.world.calls_of, "sendMediaGroup")) == 1


def test_background_work(recipe: Callable[[str], Recipe]) -> None:
    """Jobs are done beside the answers; one that fails stops no other, and one outlives its worker."""
    one = recipe("background-work")
    source = (one.folder / "reports.py").read_text()
    slow = source.replace("    return f", "    if 'bad' in task: raise ValueError\n    return f")
    (one.folder / "reports.py").write_text(slow)
    with one.fleet() as fleet:
        alice = fleet.user("Alice")
        for task, count in (("sales", 2), ("bad", 1), ("stock", 2)):
            alice.says(task)
            heard = sorted(hears(alice, count))
            assert heard[0] == "I am working on it."
            assert [text.partition(":")[0] for text in heard[1:]] == [task] * (count - 1)
        fleet.settled()
        assert fleet.status()["workers"][0]["queue"]["dead"] == 0
        assert "ValueError" in (one.folder / "state/logs/worker_reports.log").read_text()
        fleet.stop()
        with closing(sqlite3.connect(one.folder / "state" / "jobs.db")) as database, database:
            database.execute("UPDATE jobs SET done = 0, free_at = 0 WHERE task = 'sales'")
        fleet.start()
        assert hears(alice)[0].startswith("sales: ")


def test_dialogs(recipe: Callable[[str], Recipe]) -> None:
    """Questions in their order, a wrong answer, a step back, and a worker that is killed in between."""
    one = recipe("dialogs")
    one.passes("test_steps.py", 2)
    with one.fleet() as fleet:
        ann, ben = fleet.user("Ann"), fleet.user("Ben")
        ben.says("hello")
        assert hears(ben) == ["Say /book to book a table."]
        for says, answer in (
            ("/book", "What is your name?"),
            ("Anna", "How many guests?"),
            ("/back", "What is your name?"),
            ("Ann", "How many guests?"),
            ("many", "A number from 1 to 12, please. How many guests?"),
        ):
            ann.says(says)
            assert hears(ann) == [answer]
        fleet.settled()
        os.kill(fleet.bot("tables")["pid"], signal.SIGKILL)
        ben.says("/book")
        ann.says("4")
        assert hears(ann) == ["Which day? Friday, Saturday, Sunday?"]
        ann.says("Saturday")
        assert hears(ann) == ["Saturday: a table for 4, Ann."]
        ben.says("/cancel")
        assert hears(ben, 2) == ["What is your name?", "Cancelled."]


def test_languages(recipe: Callable[[str], Recipe]) -> None:
    """Each in their own, with its plural forms; English for a language that is not there."""
    one = recipe("languages")
    one.passes("test_texts.py", 2)
    one.unused -= {"locale/en.toml", "locale/ru.toml"}  # which the bot reads
    with one.fleet() as fleet:
        bot = fleet.sim_bot()

        def answers(name: str, language: str, *texts: str) -> list[str]:
            person = fleet.telegram.add_user(name, language_code=language)
            for text in texts:
                fleet.telegram.say(person, bot, text)
            return [fleet.telegram.expect(person, bot, LIMIT)["text"] for _ in texts]

        assert answers("Ann", "en-GB", "/start", "1", "x") == [
            "Hello Ann! How many parcels do you expect?",
            "1 parcel is on its way.",
            "Please send a number.",
        ]
        assert answers("Иван", "ru", "1", "3", "11", "21") == [
            "1 посылка в пути.",
            "3 посылки в пути.",
            "11 посылок в пути.",
            "21 посылка в пути.",
        ]
        assert answers("Zoé", "fr", "2") == ["2 parcels are on their way."]
        calls = fleet.telegram.do(fleet.telegram.world.calls_of, "setMyCommands")
        assert {call.params["language_code"] for call in calls} == {"en", "ru"}


def init_data(token: str, user: int, at: float) -> str:
    """What Telegram gives a Mini App, https://core.telegram.org/bots/webapps#validating-data."""
    fields = {"auth_date": str(int(at)), "query_id": "A", "user": json.dumps({"id": user, "first_name": "A"})}
    lines = "\n".join(f"{name}={value}" for name, value in sorted(fields.items()))
    key = hmac.new(b"WebAppData", token.encode(), hashlib.sha256).digest()
    return urlencode({**fields, "hash": hmac.new(key, lines.encode(), hashlib.sha256).hexdigest()})


def served(ask: Callable[[], Any]) -> Any:
    """What a server answers as soon as it is there."""
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            return ask()
        except httpx.TransportError:
            assert time.monotonic() < deadline, "the page is not served"
            time.sleep(0.05)


def test_a_web_app_tells_the_bot(recipe: Callable[[str], Recipe]) -> None:
    """What the website posts reaches the user; its page knows whom Telegram signed, and nobody else."""
    one = recipe("web-app")
    with one.fleet(TRIOWORKERS_API_TOKEN="the-token-of-the-api") as fleet:
        customer = fleet.user("Customer")
        customer.says("/orders")
        assert customer.hears()["reply_markup"]["inline_keyboard"][0][0]["web_app"]["url"].startswith(
            "https://"
        )
        assert customer.id == 1_000_001
        address = fleet.ask("POST", "/api/login-link").json()["url"].partition("/login")[0]
        one.environ |= {"SHOP_API": address, "TRIOWORKERS_API_TOKEN": "the-token-of-the-api"}
        one.run(one.next_command())
        assert hears(customer) == ["Order A-17 is on its way."]
        check_the_page(one, fleet.sim_bot().token, customer.id)


def check_the_page(one: Recipe, token: str, customer: int) -> None:
    port = str(free_port())
    command = one.next_command().replace("8000", port)
    environ = {**one.environ, "SHOP_TOKEN": token}
    with open(one.folder / "website.log", "wb") as log:
        website = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],  # noqa: S607 - any bash
            cwd=one.folder,
            env=environ,
            stdout=log,
            stderr=log,
        )
    try:
        base = f"http://127.0.0.1:{port}"
        assert "telegram-web-app.js" in served(lambda: httpx.get(f"{base}/orders")).text

        def orders(data: str) -> httpx.Response:
            return httpx.post(f"{base}/orders.json", content=data)

        now = time.time()
        assert orders(init_data(token, customer, now)).json() == ["A-17", "A-21"]
        assert orders(init_data(token, 5, now)).json() == []
        assert orders(init_data(token, customer, now - 4000)).status_code == 403
        assert orders(init_data("1:other", customer, now)).status_code == 403
    finally:
        website.terminate()
        website.wait(LIMIT)


@pytest.mark.skipif(
    not (LIBRARIES / "installed").exists() and not os.environ.get("CI"),
    reason="scripts/test fetches the libraries",
)
def test_bots_of_other_libraries(recipe: Callable[[str], Recipe]) -> None:
    """Six libraries in one fleet: each bot answers, and its probe says when an update was handled."""
    one = recipe("other-libraries")
    one.unused = {name for name in one.unused if not name.endswith(".js")}  # which node runs
    tables = one.tables()
    found = {"PYTHONPATH": str(LIBRARIES / "python"), "NODE_PATH": str(LIBRARIES / "node_modules")}
    tables["defaults"]["environment"] |= found
    python = {"PATH": one.environ["PATH"]}
    with one.fleet(tables, **python) as fleet:
        alice = fleet.user("Alice")
        for name in fleet.bots:
            alice.says("hello", name)
        for name in fleet.bots:
            assert hears(alice, bot=name) == [f"{name}: hello"]
        fleet.settled()
        assert {row["bot"]: row["acknowledge"] for row in fleet.status()["workers"]} == dict.fromkeys(
            fleet.bots, "probe"
        )


def test_staging_and_production(recipe: Callable[[str], Recipe], tmp_path: Path) -> None:
    """Two daemons of one folder, each with its token, its state and its settings."""
    one = recipe("environments")
    one.unused -= {"fleet.d/cafe.toml", "staging.toml", "production.toml"}
    tokens = {name: one.telegram.add_bot(name).token for name in ("staging", "production")}
    one.environ |= {f"{name.upper()}_TOKEN": token for name, token in tokens.items()}
    for name, port in (("staging", "3002"), ("production", "3001")):
        file = one.folder / f"{name}.toml"
        text = file.read_text().replace(port, str(free_port()))
        file.write_text(text.replace("[fleet]\n", f'[fleet]\napi_base = "{one.telegram.base_url}"\n'))
    try:
        one.run(one.next_command())
        one.run(one.next_command())
        check_both(one.telegram)
        for name in tokens:
            status = one.run(f"trioworkers -c {name}.toml status --json")
            assert json.loads(status)["fleet"]["name"] == name
    finally:
        for name in tokens:
            one.run(f"trioworkers -c {name}.toml stop")


def check_both(telegram: TelegramThread) -> None:
    alice = telegram.add_user("Alice")
    for bot in telegram.world.bots.values():
        telegram.say(alice, bot, "hello")
        payments = {"staging": "test", "production": "live"}[bot.username.removesuffix("_bot")]
        assert telegram.expect(alice, bot, LIMIT)["text"] == f"Welcome! Payments: {payments}"
