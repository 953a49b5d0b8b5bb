"""Admission to the API: each request and each websocket is judged here before a route is reached.

Requests over the control socket are always admitted: only the daemon's own user can open it. On the `[api]`
address a page of another origin is always refused. Beyond that,

- on loopback, only loopback's own host names are served. A foreign page can point its own host name at this
  machine (DNS rebinding), and then has the same origin as the API. `/metrics` may be open there, too.
- elsewhere, any host name is served: nobody could list the names that proxies and probes use. The token
  protects what is behind it, since no foreign page has it.

A browser adds its cookie by itself, also to requests of a page on another port of this host. So a request
with a cookie that changes something, and each websocket with a cookie, must come from one of our own pages.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trioworkers.ip import is_loopback, read_address
from trioworkers.web.acts import CONTROL, LOCAL, note_actor
from trioworkers.web.attempts import Attempts
from trioworkers.web.sessions import LoginLinks, Sessions, cookie_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import trio
    from quart.wrappers.base import BaseRequestWebsocket

    from trioworkers.web.attempts import Verdict

MARK = "trioworkers.control"  # in the scope of what came by the control socket; of a node: for whom it asks
OPEN = frozenset({"/health", "/ready"})  # paths that need no token
METRICS = "/metrics"  # a plugin's; needs none either while the API is on loopback, if the fleet says so
STATIC = "/static/"  # the files of the dashboard, which hold no data
SIGN_IN = frozenset({"/", "/login", "/logout"})  # pages that judge for themselves who asks
RETRY_AFTER = "5"  # seconds

Answer = tuple[dict[str, str], int] | tuple[dict[str, str], int, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Admission:
    """Decides whether a request or a websocket is admitted.

    Attributes:
        token: returns the API's token, as it is now.
        loopback: the API listens on a loopback address.
        metrics_public: whether metrics need no token while the API is bound to a loopback address.
        sessions: the sessions of those who have signed in.
        links: the login links that can still be used.
        attempts: judges tokens and codes, and slows down wrong ones.
    """

    token: Callable[[], str]
    loopback: bool
    metrics_public: Callable[[], bool]
    sessions: Sessions
    links: LoginLinks
    attempts: Attempts

    async def refusal(self, connection: BaseRequestWebsocket) -> Answer | None:
        """Return the answer that refuses this request, or None if it is admitted.

        Who makes an admitted request is noted for its route. A wrong token is answered late.
        """
        source = source_of(connection)
        if by := connection.scope.get(MARK):
            note_actor(by if isinstance(by, str) else CONTROL, LOCAL)
            return None
        note_actor("nobody", source)
        host, origin = _host(connection), connection.headers.get("Origin")
        if self.loopback and not _is_loopback(host):
            return {"error": "this host is not served here"}, 421
        if origin is not None and not _is_same(origin, connection):
            return {"error": "requests from other sites are refused"}, 403
        if self._is_open(connection.path) or connection.path in SIGN_IN:
            return None
        if "Authorization" in connection.headers:
            return await self.refusal_without_token(connection)
        return await self._judge_session(connection, source)

    async def refusal_without_token(self, connection: BaseRequestWebsocket) -> Answer | None:
        """Return the answer that refuses a request without the API's token in its header, or None.

        The webhook's listener calls this alone, since it has no sessions.
        """
        given = _bearer(connection)
        if given is None:
            return _unauthorized("expected the header Authorization: Bearer <API token>")
        source = source_of(connection)
        verdict = await self.judge_token(given, source)
        if verdict == "right":
            note_actor("API token", source)
            return None
        return _unauthorized("the API token is wrong") if verdict == "wrong" else too_many()

    async def has_session(self, connection: BaseRequestWebsocket) -> bool:
        """Whether the request's cookie names an open session; if so, the session is noted as the actor."""
        id_ = session_id(connection)
        if id_ is None or not await self.sessions.is_open(id_):
            return False
        note_actor("session", source_of(connection))
        return True

    async def still_admits(self, connection: BaseRequestWebsocket) -> bool:
        """Whether a websocket that was admitted would be admitted again: its token or session may have ended.

        For a session, this counts as a request: it does not become idle while a page is open.
        """
        if connection.scope.get(MARK):
            return True
        if "Authorization" in connection.headers:
            return self._is_token(_bearer(connection) or "")
        return await self.sessions.is_open(session_id(connection) or "")

    async def judge_token(self, given: str, source: str) -> Verdict:
        """Judge a token that somebody gave; a wrong one is answered late."""
        return await self.attempts.judge(source, "wrong token", lambda: self._is_token(given))

    async def judge_code(self, code: str, source: str) -> Verdict:
        """Judge the code of a login link, which is used up by it; a wrong one is answered late."""
        return await self.attempts.judge(source, "wrong login link", lambda: self.links.redeem(code))

    def _is_open(self, path: str) -> bool:
        if path in OPEN or path.startswith(STATIC):
            return True
        return path == METRICS and self.loopback and self.metrics_public()

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(errors="replace"), self.token().encode())

    async def _judge_session(self, connection: BaseRequestWebsocket, source: str) -> Answer | None:
        if not await self.has_session(connection):
            return _unauthorized("expected the header Authorization: Bearer <API token>, or a session")
        acts = getattr(connection, "method", "GET") not in ("GET", "HEAD")
        if not is_own_page(connection, acts=acts or connection.scope["type"] == "websocket"):
            note_actor("nobody", source)
            return {"error": "with a session, only pages of this address may ask"}, 403
        return None


def make_admission(
    token: Callable[[], str],
    *,
    loopback: bool,
    kept: Path,
    ends: trio.Event,
    report: Callable[[str, str], None],
    metrics_public: Callable[[], bool] = lambda: False,
) -> Admission:
    """An admission. `kept`: the file of sessions. `ends`, `report`: as for :class:`Attempts`."""
    return Admission(
        token,
        loopback,
        metrics_public,
        Sessions(kept, token),
        LoginLinks(token),
        Attempts(ends, report),
    )


def too_many() -> Answer:
    """Return the answer to an attempt that was not judged."""
    message = "too many wrong tokens from this address, try again later"
    return {"error": message}, 429, {"Retry-After": RETRY_AFTER}


def is_own_page(connection: BaseRequestWebsocket, *, acts: bool) -> bool:
    """Whether the browser says that one of our own pages makes this request.

    Args:
        acts: the request changes something, or is a websocket; then the browser has to say so. Otherwise it
            is enough that the browser does not say the opposite, or that a person follows a link: such a
            navigation of a whole window may begin on any page.

    A page cannot set Origin and the Sec-Fetch headers itself.
    """
    headers = connection.headers
    site = headers.get("Sec-Fetch-Site")
    if acts:
        origin = headers.get("Origin")
        return site == "same-origin" if origin is None else _is_same(origin, connection)
    if site in (None, "same-origin", "none"):
        return True
    is_window = headers.get("Sec-Fetch-Dest", "document") == "document"  # and not a frame of a foreign page
    return headers.get("Sec-Fetch-Mode") == "navigate" and is_window


def session_id(connection: BaseRequestWebsocket) -> str | None:
    """Return the session's id that the request's cookie holds."""
    return connection.cookies.get(cookie_name(_host(connection)))


def source_of(connection: BaseRequestWebsocket) -> str:
    """Return the address that a request comes from; a proxy on this machine is believed about it."""
    peer = _peer(connection)
    if not _is_local(peer):
        return peer or LOCAL
    said = ",".join(connection.headers.getlist("X-Forwarded-For")).rpartition(",")[2].strip()
    try:
        return str(read_address(said))
    except ValueError:
        return peer or LOCAL


def came_by_tls(connection: BaseRequestWebsocket) -> bool:
    """Whether the browser's connection is encrypted: to us, or to a proxy on this machine that says so."""
    if connection.scope.get("scheme") in ("https", "wss"):
        return True
    said = connection.headers.getlist("X-Forwarded-Proto")
    return _is_local(_peer(connection)) and said[-1:] == ["https"]


def _peer(connection: BaseRequestWebsocket) -> str | None:
    """The other end's address; None on a unix socket."""
    client: Any = connection.scope.get("client")
    if not client:
        return None
    try:
        return str(read_address(client[0]))
    except ValueError:
        return str(client[0])


def _is_local(peer: str | None) -> bool:
    return peer is None or is_loopback(peer)


def _host(connection: BaseRequestWebsocket) -> str:
    return connection.headers.get("Host", "").lower()


def _is_same(origin: str, connection: BaseRequestWebsocket) -> bool:
    """Whether an `Origin` is the one that the request was sent to.

    Without a port, `http://ops.example` and `https://ops.example` have the same `Host`, and only the latter
    is ours behind TLS. Where a proxy does not say that it adds TLS, both are taken.
    """
    scheme, _, authority = origin.lower().partition("://")
    schemes = ("https",) if came_by_tls(connection) else ("http", "https")
    host = _host(connection)
    return bool(host) and authority == host and scheme in schemes


def _bearer(connection: BaseRequestWebsocket) -> str | None:
    """Return the token of the header; None if it has another scheme or is absent."""
    scheme, _, given = connection.headers.get("Authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else None


def _is_loopback(host: str) -> bool:
    """Whether a `Host` header names this machine to itself: `localhost` or a loopback address."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    return name == "localhost" or is_loopback(name.strip("[]"))


def _unauthorized(message: str) -> Answer:
    return {"error": message}, 401, {"WWW-Authenticate": "Bearer"}
