"""Who may ask what of the API: the whole table, with the application alone."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from admitting import admission_for

from trioworkers.starved import NO_THREAD
from trioworkers.web.app import MARK, AppContext, make_app

TOKEN = "right"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
STATUS = "/api/workers/status"

OURS = [
    "localhost",
    "LOCALHOST:3001",
    "127.0.0.1",
    "127.0.0.1:3001",
    "127.9.9.9",
    "[::1]:3001",
    "[::1]",
    "[::ffff:127.0.0.1]:3001",
]
FOREIGN = ["bots.example.org", "bots.example.org:3001", "10.0.0.7:3001", "localhost.evil.example", "", ":1"]


def app_for(**admission: Any) -> Any:
    nothing: Any = None  # what is not asked here is not needed
    return make_app(
        AppContext(
            admission=admission_for(TOKEN, **admission),
            is_ready=lambda: True,
            status=lambda: {"workers": []},
            inbox=nothing,
            backs_up=nothing,
            bots=dict,
            restarts=nothing,
            backups=nothing,
            events=nothing,
            reloads=nothing,
            plugins=nothing,
            live=nothing,
        )
    )


async def ask(
    path: str,
    *,
    loopback: bool,
    host: str,
    headers: dict[str, str] | None = None,
    control: bool = False,
    local: bool = False,
    public: bool = True,
) -> int:
    app = app_for(loopback=loopback, metrics_public=lambda: public)
    scope: dict[str, Any] = {MARK: True} if control else {"client": ("127.0.0.1", 1)} if local else {}
    response = await app.test_client().get(path, headers={**(headers or {}), "Host": host}, scope_base=scope)
    return int(response.status_code)


@pytest.mark.parametrize("host", OURS)
async def test_on_loopback_its_own_names_are_served(host: str) -> None:
    """Open paths without a token, the rest with it."""
    assert await ask("/health", loopback=True, host=host) == 200
    assert await ask(STATUS, loopback=True, host=host) == 401
    assert await ask(STATUS, loopback=True, host=host, headers=BEARER) == 200


@pytest.mark.parametrize("host", FOREIGN)
async def test_on_loopback_a_foreign_host_is_refused(host: str) -> None:
    """Even with the token, even on /health: a page whose name was pointed here may be asking."""
    assert await ask("/health", loopback=True, host=host) == 421
    assert await ask(STATUS, loopback=True, host=host, headers=BEARER) == 421


@pytest.mark.parametrize("host", OURS + FOREIGN)
async def test_bound_elsewhere_any_host_is_served(host: str) -> None:
    """Proxies and probes have names of their own; what is not open wants the token all the same."""
    assert await ask("/health", loopback=False, host=host) == 200
    assert await ask("/ready", loopback=False, host=host) == 200
    assert await ask(STATUS, loopback=False, host=host) == 401
    assert await ask(STATUS, loopback=False, host=host, headers={"Authorization": "Bearer wrong"}) == 401
    assert await ask(STATUS, loopback=False, host=host, headers=BEARER) == 200


@pytest.mark.parametrize("loopback", [True, False])
@pytest.mark.parametrize(
    ("host", "origin", "served"),
    [
        ("localhost:3001", "http://localhost:3001", True),
        ("localhost:3001", "http://LocalHost:3001", True),
        ("localhost:3001", "https://localhost:3001", True),  # a proxy that does not say that it adds TLS
        ("localhost:3001", "ftp://localhost:3001", False),
        ("localhost:3001", "http://localhost:3002", False),
        ("localhost:3001", "http://evil.example", False),
        ("localhost:3001", "null", False),
        ("localhost:3001", "", False),
    ],
)
async def test_a_page_of_another_origin_is_refused(
    loopback: bool, host: str, origin: str, served: bool
) -> None:
    """Wherever the API is bound, and even with the token."""
    headers = {**BEARER, "Origin": origin}
    for path in ("/health", STATUS):
        expected = 200 if served else 403
        assert await ask(path, loopback=loopback, host=host, headers=headers) == expected


@pytest.mark.parametrize(("origin", "status"), [("https://ops.example", 200), ("http://ops.example", 403)])
async def test_behind_tls_a_page_without_it_is_of_another_origin(origin: str, status: int) -> None:
    """Both have the same `Host`, and whoever is on the way can forge the page without TLS."""
    headers = {**BEARER, "Origin": origin, "X-Forwarded-Proto": "https"}
    assert await ask(STATUS, loopback=False, host="ops.example", headers=headers, local=True) == status


async def test_an_empty_host_is_nobodys_origin() -> None:
    """`Origin: null` and no host are not the same site."""
    assert await ask("/health", loopback=False, host="", headers={"Origin": "null"}) == 403


async def test_the_control_socket_asks_for_nothing() -> None:
    """Whoever can open it is the daemon's own user."""
    assert await ask(STATUS, loopback=True, host="control", control=True) == 200


@pytest.mark.parametrize(
    ("loopback", "public", "status"),
    [(True, True, 404), (True, False, 401), (False, True, 401), (False, False, 401)],
)
async def test_metrics_are_open_on_loopback_only_and_if_they_are_public(
    loopback: bool, public: bool, status: int
) -> None:
    """Else they want the token; whoever is let in finds here that no plugin serves them."""
    host = "localhost:3001"
    assert await ask("/metrics", loopback=loopback, host=host, public=public) == status
    assert await ask("/metrics", loopback=loopback, host=host, public=public, headers=BEARER) == 404
    assert await ask("/metrics/more", loopback=loopback, host=host, public=public) == 401


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (RuntimeError(NO_THREAD), 503, "no thread can be started: "),
        (OSError(errno.EMFILE, "Too many open files"), 503, "ulimit -n"),
        (RuntimeError("a secret"), 500, "internal server error"),
    ],
)
async def test_a_route_without_room_in_the_system_is_503(error: Exception, status: int, told: str) -> None:
    """A plugin's, too, which asks Trio for a thread by itself; the limit is named."""
    app = app_for(loopback=True)

    @app.get("/asks")  # type: ignore[untyped-decorator]
    async def asks() -> dict[str, str]:
        raise error

    answer = await app.test_client().get("/asks", headers={**BEARER, "Host": "localhost"})
    assert answer.status_code == status
    assert told in (await answer.get_json())["error"]
