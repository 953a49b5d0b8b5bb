"""Signing in, with the application alone: what a link is good for, and whose word about a browser counts."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from admitting import admission_for
from werkzeug.datastructures import Headers

from trioworkers.events import Events
from trioworkers.web.admission import MARK, came_by_tls, source_of
from trioworkers.web.app import AppContext, make_app

if TYPE_CHECKING:
    from pathlib import Path

    from quart.typing import TestClientProtocol

    from trioworkers.web.admission import Admission

TOKEN = "right"
HOST = {"Host": "localhost"}


def browser(admission: Admission) -> TestClientProtocol:
    """A client of the application, with cookies."""
    nothing: dict[str, Any] = dict.fromkeys(field.name for field in fields(AppContext))
    return make_app(AppContext(**{**nothing, "admission": admission, "events": Events()})).test_client()


def connection(peer: str | None, **headers: str) -> Any:
    """A request as far as admission looks at it."""
    client = None if peer is None else (peer, 1)
    given = Headers({name.replace("_", "-"): value for name, value in headers.items()})
    return SimpleNamespace(scope={"client": client}, headers=given, cookies={})


@pytest.mark.parametrize(
    ("peer", "believed"),
    [
        (None, True),
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("203.0.113.9", False),
        ("2001:db8::9", False),
    ],
)
def test_only_a_proxy_on_this_machine_is_believed(peer: str | None, believed: bool) -> None:
    """Anybody else could choose the address that wrong attempts are counted for, and that events name."""
    asked = connection(peer, X_Forwarded_For="1.1.1.1, 192.0.2.7", X_Forwarded_Proto="https")
    assert source_of(asked) == ("192.0.2.7" if believed else peer)
    assert came_by_tls(asked) is believed


def test_an_address_of_ipv4_is_the_same_one_over_ipv6() -> None:
    """A socket for both families writes it otherwise; so may a proxy."""
    assert source_of(connection("::ffff:203.0.113.9")) == "203.0.113.9"
    assert source_of(connection("127.0.0.1", X_Forwarded_For="::ffff:203.0.113.9")) == "203.0.113.9"


async def test_an_open_stream_is_admitted_as_long_as_it_would_be_again() -> None:
    """Over the control socket always; else with the right token, or a session that has not ended."""
    admission = admission_for(TOKEN)
    control = connection(None)
    control.scope[MARK] = True
    assert await admission.still_admits(control)
    assert not await admission.still_admits(connection("127.0.0.1"))
    for given, admitted in (("Bearer right", True), ("Bearer wrong", False), ("Basic right", False)):
        assert await admission.still_admits(connection("127.0.0.1", Authorization=given)) is admitted
    asked = connection("127.0.0.1", Host="localhost")
    asked.cookies["trioworkers_session"] = id_ = await admission.sessions.begin()
    assert await admission.still_admits(asked)
    await admission.sessions.end(id_)
    assert not await admission.still_admits(asked)


async def test_a_preview_by_head_does_not_use_a_link_up(tmp_path: Path) -> None:
    """Chats and mail programs look at links before a person does."""
    admission = admission_for(TOKEN, kept=tmp_path / "sessions.json")
    client, path = browser(admission), f"/login?code={admission.links.make()}"
    assert (await client.head(path, headers=HOST)).status_code == 200
    assert len(admission.sessions) == 0
    assert (await client.get(path, headers=HOST)).status_code == 303


async def test_signing_in_again_ends_the_session_before(tmp_path: Path) -> None:
    """Its cookie is replaced, so that nobody could sign out of it."""
    admission = admission_for(TOKEN, kept=tmp_path / "sessions.json")
    client = browser(admission)
    for _ in range(2):
        signed_in = await client.get(f"/login?code={admission.links.make()}", headers=HOST)
        assert signed_in.status_code == 303
    assert len(admission.sessions) == 1


async def test_a_link_is_made_over_the_control_socket_only() -> None:
    """The token alone makes none: a link would outlast what the token is used for."""
    headers = {**HOST, "Authorization": f"Bearer {TOKEN}"}
    refused = await browser(admission_for(TOKEN)).post("/api/login-link", headers=headers)
    assert refused.status_code == 403


async def test_a_form_of_another_site_is_refused_unread() -> None:
    """Also where the browser sends no Origin; it is not judged, so no attempt is counted."""
    attempts: list[tuple[str, str]] = []
    client = browser(admission_for(TOKEN, refused=attempts))
    headers = {**HOST, "Sec-Fetch-Site": "cross-site"}
    assert (await client.post("/login", form={"token": "guess"}, headers=headers)).status_code == 403
    assert attempts == []


async def test_no_page_can_be_framed(tmp_path: Path) -> None:
    """Neither the page to sign in nor the dashboard: a foreign page could let a person press its buttons."""
    admission = admission_for(TOKEN, kept=tmp_path / "sessions.json")
    client = browser(admission)
    signing_in = await client.get("/", headers=HOST)
    await client.get(f"/login?code={admission.links.make()}", headers=HOST)
    dashboard = await client.get("/", headers=HOST)
    assert b"Sign out" in await dashboard.get_data(as_text=False)
    for page in (signing_in, dashboard):
        assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
