"""Signing in at a real daemon: links from a terminal, cookies, what other pages may do, what is kept."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio
from fleet_project import Daemon, Project, until

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    from collections.abc import Iterator

LINK = re.compile(r"http://[^\s]+/login\?code=[\w-]{43}")
STATUS = "/api/workers/status"


class Terminal:
    """A terminal of its own for a command; what was written there."""

    def __init__(self, project: Project, *words: str) -> None:
        self._mine, theirs = pty.openpty()
        os.set_blocking(self._mine, False)
        self.text = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trioworkers.cli", "-c", str(project.file), *words],
            stdin=theirs, stdout=theirs, stderr=theirs, cwd=project.folder, env=project.environ,
        )  # fmt: skip
        os.close(theirs)

    def read(self) -> str:
        with suppress(OSError):  # nothing yet, or the other end is closed
            while more := os.read(self._mine, 65536):
                self.text += more.decode()
        return self.text

    async def link(self) -> str:
        """The first link that is shown."""
        found = await until(lambda: LINK.search(self.read()))
        return str(found[0])

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._mine)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


def origin_of(link: str) -> str:
    return link.partition("/login")[0]


async def make_link(project: Project) -> str:
    """A fresh link, over the control socket."""
    transport = httpx.AsyncHTTPTransport(uds=str(project.control))
    async with httpx.AsyncClient(transport=transport) as client:
        made = await client.post("http://control/api/login-link")
    assert made.status_code == 200, made.text
    assert made.json()["expires_in"] == 600
    return str(made.json()["url"])


def token_of(project: Project) -> str:
    return (project.folder / "state/run/api-token").read_text().strip()


async def started(
    project: Project, world: Telegram, nursery: trio.Nursery, bind: str = "127.0.0.1:0", **log: Any
) -> Daemon:
    base = await nursery.start(serve_telegram, world)
    project.write(base, {}, api={"bind": bind}, log=log)
    return await project.start().ready()


def everything_written(project: Project, daemon_pid: int, status: object) -> str:
    """All that the daemon has put where somebody may look: logs, status, arguments, environments."""
    state = project.folder / "state"
    texts = [path.read_text(errors="replace") for path in state.rglob("*.log")]
    texts += [project.log.read_text()] if project.log.exists() else []
    for name in ("cmdline", "environ"):
        texts.append(Path(f"/proc/{daemon_pid}/{name}").read_bytes().decode(errors="replace"))
    texts += [(state / "sessions.json").read_text(), json.dumps(status)]
    assert all(texts)
    return "\n".join(texts)


async def test_a_link_on_the_terminal_signs_in_once(
    project: Project, world: Telegram, nursery: trio.Nursery, terminals: list[Terminal]
) -> None:
    """`run` shows one when it is ready, and `dashboard` another; both work once, and are in no log."""
    base = await nursery.start(serve_telegram, world)
    project.write(base, {}, log={"level": "debug"})
    terminal = Terminal(project, "run")
    terminals.append(terminal)
    link = await terminal.link()
    other = Terminal(project, "dashboard")
    terminals.append(other)
    second = await other.link()
    assert await trio.to_thread.run_sync(other.process.wait) == 0
    assert origin_of(second) == origin_of(link)
    async with httpx.AsyncClient() as client:
        answer = await client.get(link)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"]
        assert "; HttpOnly" in cookie
        assert "; SameSite=Strict" in cookie
        assert "; Path=/" in cookie
        assert "Secure" not in cookie
        assert "Domain" not in cookie
        assert (await client.get(f"{origin_of(link)}{STATUS}")).status_code == 200
        again = await client.get(link)
        assert again.status_code == 401
        assert "was used before" in again.text
        client.cookies.clear()
        assert (await client.get(second)).status_code == 303
        session = next(iter(client.cookies.jar)).value
        status = (await client.get(f"{origin_of(link)}{STATUS}")).json()
    code = link.partition("code=")[2]
    written = everything_written(project, terminal.process.pid, status)
    for secret in (code, second.partition("code=")[2], session, cookie.partition("=")[2].partition(";")[0]):
        assert secret
        assert secret not in written
    terminal.process.terminate()
    assert await trio.to_thread.run_sync(terminal.process.wait) == 0
    assert len(LINK.findall(terminal.read())) == 1
    for path in (project.folder / "state").rglob("*"):
        if path.is_file():
            assert code not in path.read_bytes().decode(errors="replace"), path
    lines = map(json.loads, (project.folder / "state/logs/master.log").read_text().splitlines())
    acts = [(one["action"], one["by"], one["source"]) for one in lines if one["event"] == "control.action"]
    assert acts == [
        ("login.link", "control socket", "local"),
        ("login", "login link from 127.0.0.1", "127.0.0.1"),
        ("login", "login link from 127.0.0.1", "127.0.0.1"),
    ]
    nursery.cancel_scope.cancel()


async def test_without_a_terminal_there_is_no_link(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Whoever reads the output of a service is not asked to keep secrets; `dashboard` says why it refuses."""
    daemon = await started(project, world, nursery)
    refused = await trio.to_thread.run_sync(project.run, "dashboard")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "printed on a terminal only" in refused.stderr
    assert await daemon.stop() == 0
    assert LINK.search(project.log.read_text()) is None
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("bind", "host"),
    [("0.0.0.0:0", r"\d+\.\d+\.\d+\.[1-9]\d*"), ("localhost:0", r"127\.0\.0\.1"), ("[::1]:0", r"\[::1\]")],
)
async def test_a_link_leads_to_where_the_api_listens(
    project: Project, world: Telegram, nursery: trio.Nursery, bind: str, host: str
) -> None:
    """Its port is the real one; for all addresses, the link has one that a browser can open."""
    daemon = await started(project, world, nursery, bind)
    link = await make_link(project)
    assert re.fullmatch(rf"http://{host}:[1-9]\d+", origin_of(link)), origin_of(link)
    async with httpx.AsyncClient() as client:
        assert (await client.get(link)).status_code == 303
        assert (await client.get(f"{origin_of(link)}{STATUS}")).status_code == 200
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_unix_socket_has_no_link_but_sessions(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """A proxy in front of it says what the browser's connection is like, and its address."""
    path = project.folder / "api.sock"
    daemon = await started(project, world, nursery, f"unix:{path}")
    assert path.stat().st_mode & 0o777 == 0o666  # the proxy is another user
    assert project.control.stat().st_mode & 0o777 == 0o600
    control = httpx.AsyncHTTPTransport(uds=str(project.control))
    async with httpx.AsyncClient(transport=control) as client:
        refused = await client.post("http://control/api/login-link")
        assert refused.status_code == 409
        assert "unix socket" in refused.json()["error"]
    proxied = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "1.1.1.1, 203.0.113.9"}
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    async with httpx.AsyncClient(transport=transport, headers=proxied) as client:
        answer = await client.post("http://fleet.example.org/login", data={"token": token_of(project)})
        assert answer.status_code == 303
        assert "; Secure" in answer.headers["Set-Cookie"]
    (login,) = project.events("control.action")
    assert (login["action"], login["by"], login["source"]) == (
        "login",
        "API token from 203.0.113.9",
        "203.0.113.9",
    )
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_the_login_page_takes_the_token(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """`GET /` is a page without scripts; the form or `/?token=` begins a session, and logout ends it."""
    daemon = await started(project, world, nursery)
    origin, token = origin_of(await make_link(project)), token_of(project)
    own = {"Origin": origin}
    async with httpx.AsyncClient(base_url=origin) as client:
        page = await client.get("/")
        assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert '<form method="post" action="/login">' in page.text
        assert "<script" not in page.text
        policy = page.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "unsafe" not in policy
        wrong = await client.post("/login", data={"token": "guess"}, headers=own)
        assert wrong.status_code == 401
        assert 'role="alert"' in wrong.text
        assert "guess" not in wrong.text
        right = await client.post("/login", data={"token": token}, headers=own)
        assert (right.status_code, right.headers["Location"]) == (303, "/")
        assert "Sign out" in (await client.get("/")).text
        assert (await client.get(STATUS)).status_code == 200
        out = await client.post("/logout", headers=own)
        assert (out.status_code, out.headers["Location"]) == (303, "/")
        assert not client.cookies
        assert (await client.get(STATUS)).status_code == 401
        assert (await client.head("/", params={"token": token})).status_code == 200
        assert not client.cookies
        by_address = await client.get("/", params={"token": token})
        assert (by_address.status_code, by_address.headers["Location"]) == (303, "/")
        assert (await client.get(STATUS)).status_code == 200
    acts = [(line["action"], line["by"]) for line in project.events("control.action")]
    assert acts == [
        ("login.link", "control socket"),
        ("login", "API token from 127.0.0.1"),
        ("logout", "session from 127.0.0.1"),
        ("login", "API token from 127.0.0.1"),
    ]
    assert token not in project.log.read_text()
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_session_outlives_the_daemon(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """A dashboard that is open while the daemon is killed and started again goes on."""
    base = await nursery.start(serve_telegram, world)
    project.write(base, {})
    daemon = await project.start().ready()
    link = await make_link(project)
    port = httpx.URL(link).port
    async with httpx.AsyncClient(base_url=origin_of(link)) as client:
        await client.get(link)
        daemon.process.kill()
        await daemon.wait()
        project.write(base, {}, api={"bind": f"127.0.0.1:{port}"})
        daemon = await project.start().ready()
        assert (await client.get(STATUS)).status_code == 200
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


PAGES = {
    "of ours, by Origin": ({"Origin": "{origin}"}, True),
    "of ours, by Sec-Fetch-Site": ({"Sec-Fetch-Site": "same-origin"}, True),
    "that says nothing": ({}, False),
    "of another site": ({"Origin": "http://evil.example"}, False),
    "of another port of this host": ({"Origin": "http://127.0.0.1:1"}, False),
    "of no origin": ({"Origin": "null"}, False),
    "of another site, by Sec-Fetch-Site": ({"Sec-Fetch-Site": "cross-site"}, False),
    "of this site, by Sec-Fetch-Site": ({"Sec-Fetch-Site": "same-site"}, False),
}


async def test_only_our_pages_act_with_a_session(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Requests that change something, and websockets; with the token in the header, no page is asked for."""
    daemon = await started(project, world, nursery)
    link = await make_link(project)
    origin, token = origin_of(link), token_of(project)
    async with httpx.AsyncClient(base_url=origin) as client:
        await client.get(link)
        for page, (template, admitted) in PAGES.items():
            headers = {name: value.format(origin=origin) for name, value in template.items()}
            acted = await client.post("/api/reload", json={"dry_run": True}, headers=headers)
            assert acted.status_code == (200 if admitted else 403), page
            out = await client.post("/logout", headers=headers) if not admitted else None
            assert out is None or out.status_code == 403, page
            status = await upgrade(client, headers)
            assert status == (404 if admitted else 403), page
        for site, mode, code in (
            ("same-origin", "cors", 200),
            ("none", "navigate", 200),
            ("cross-site", "navigate", 200),
            ("cross-site", "no-cors", 403),
            ("same-site", "cors", 403),
        ):
            fetch = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
            assert (await client.get(STATUS, headers=fetch)).status_code == code, site
        client.cookies.clear()
        bearer = {"Authorization": f"Bearer {token}"}
        assert (await client.post("/api/reload", json={}, headers=bearer)).status_code == 200
        for headers, code in (({}, 401), (bearer, 404), ({"Authorization": "Bearer guess"}, 401)):
            assert await upgrade(client, headers) == code
        foreign = {**bearer, "Host": "evil.example"}
        assert (await client.get(STATUS, headers=foreign)).status_code == 421
        assert await upgrade(client, {**bearer, "Origin": "http://evil.example"}) == 403
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def upgrade(client: httpx.AsyncClient, headers: dict[str, str]) -> int:
    """Ask for a websocket where there is none; the status of the refusal."""
    handshake = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    async with httpx.AsyncClient(base_url=client.base_url, cookies=client.cookies) as once:  # it is closed
        return (await once.get("/api/nothing-here", headers={**handshake, **headers})).status_code


async def test_images_and_frames_of_other_pages_guess_nothing(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Their guesses would be the visitor's, who could not sign in meanwhile. A link can be followed."""
    daemon = await started(project, world, nursery)
    link = await make_link(project)
    embedded = [
        {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
        for site in ("cross-site", "same-site")
        for mode, dest in (("no-cors", "image"), ("navigate", "iframe"))
    ]
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    async with httpx.AsyncClient(base_url=origin_of(link)) as client:
        for headers in embedded:
            for path in ("/?token=guess", "/login?code=guess", link):
                assert (await client.get(path, headers=headers)).status_code == 403, (path, headers)
        assert project.events("control.refused") == []
        assert (await client.get(link, headers=followed)).status_code == 303
        for headers in embedded:
            assert (await client.get(STATUS, headers=headers)).status_code == 403, headers
        assert (await client.get(STATUS, headers=followed)).status_code == 200
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_link_from_another_site_opens_the_dashboard(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """A browser sends no strict cookie then: the page leads on by itself, and then it is ours that leads."""
    daemon = await started(project, world, nursery)
    origin = origin_of(await make_link(project))
    async with httpx.AsyncClient(base_url=origin) as client:
        followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        page = await client.get("/", headers=followed)
        assert 'http-equiv="refresh" content="0; url=/"' in page.text
        page = await client.get("/", headers={**followed, "Sec-Fetch-Site": "same-origin"})
        assert "refresh" not in page.text
        assert 'action="/login"' in page.text
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_wrong_attempts_are_slow_and_throttled_in_the_log(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Tokens and links; the right token is admitted meanwhile; the log has one line for many attempts."""
    daemon = await started(project, world, nursery, throttle_window="1h")
    origin, token = origin_of(await make_link(project)), token_of(project)
    refused: list[int] = []

    async def guess(number: int) -> None:
        headers = {"Authorization": f"Bearer guess-{number}"}
        refused.append((await client.get(STATUS, headers=headers)).status_code)

    async with httpx.AsyncClient(base_url=origin, timeout=30) as client:
        for number in range(4):
            await guess(number)
        assert refused == [401] * 4
        right = {"Authorization": f"Bearer {token}"}
        assert (await client.get(STATUS, headers=right)).status_code == 200
        async with trio.open_nursery() as many:
            for number in range(40):
                many.start_soon(guess, number)
        assert refused.count(429) > 20
        assert (await client.get("/login", params={"code": "guess-code"})).status_code == 401
    kinds = [(line["reason"], line["source"]) for line in project.events("control.refused")]
    assert kinds == [("wrong token", "127.0.0.1"), ("wrong login link", "127.0.0.1")]
    assert "guess" not in project.log.read_text()
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_token_that_was_changed_is_in_force_after_a_reload(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """The old one is not, and neither are sessions that began under it."""
    base = await nursery.start(serve_telegram, world)
    project.write(base, {}, api={"token": "first-token-of-this-fleet"})
    daemon = await project.start().ready()
    link = await make_link(project)
    async with httpx.AsyncClient(base_url=origin_of(link)) as client:
        await client.get(link)
        assert (await client.get(STATUS)).status_code == 200
        project.write(base, {}, api={"token": "second-token-of-this-fleet"})
        await until(lambda: project.events("reload.applied"))
        assert (await client.get(STATUS)).status_code == 401
        for token, code in (("first", 401), ("second", 200)):
            headers = {"Authorization": f"Bearer {token}-token-of-this-fleet"}
            assert (await client.get(STATUS, headers=headers)).status_code == code
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
