"""Signing in and out: by a one-time link, by the API's token in a form, by `/?token=…`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from pydantic import Field
from quart import Blueprint, Response, g, request

from trioworkers.described import Description, described
from trioworkers.web.acts import CONTROL, emit_action, note_actor
from trioworkers.web.admission import RETRY_AFTER, came_by_tls, is_own_page, session_id, source_of
from trioworkers.web.answers import LoginLink
from trioworkers.web.asked import Asked, RequestRefusedError
from trioworkers.web.sessions import LINK_AGE, cookie_name
from trioworkers.web.signin_page import login_page, onward_page
from trioworkers.web.static import NOT_MODIFIED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quart.typing import ResponseReturnValue

    from trioworkers.events import Events
    from trioworkers.web.admission import Admission
    from trioworkers.web.attempts import Verdict
    from trioworkers.web.sessions import LoginLinks

LARGEST_FORM = 8192  # bytes
HTML, FORM = "text/html", "application/x-www-form-urlencoded"
ONWARD = {303: "a session has begun; on to the dashboard"}
WRONG = {401: "the token or the link is wrong", 429: "too many wrong ones came from this address"}
_FAULTS = {"wrong": 401, "not judged": 429}


class CodeAsked(Asked):
    """The query of `GET /login`."""

    code: str | None = Field(None, description="the code of a login link")


class TokenForm(Asked):
    """The form of `POST /login`."""

    token: str = Field(description="the API's token")


def signin_routes(
    admission: Admission,
    events: Events,
    address: str | None,
    dashboard: Callable[[], Awaitable[ResponseReturnValue]],
) -> Blueprint:
    """`GET /`, `/login`, `/logout` and `POST /api/login-link`.

    `address`: where the API is reached, as `http://host:port`; None where a link could not lead there.
    `dashboard`: what is shown at `/` to who has signed in.
    """
    routes = Blueprint("signin", __name__)

    @routes.get("/")
    @described(
        Description(
            "The dashboard, or the page to sign in",
            str,
            HTML,
            also=ONWARD | NOT_MODIFIED,
            refusals=WRONG,
            refusal_media=HTML,
        )
    )
    async def index() -> ResponseReturnValue:
        if await admission.has_session(request):
            return await dashboard()
        token = request.args.get("token")
        if token is not None and request.method == "GET":
            refuse_embedded()
            return await begin(await admission.judge_token(token, source_of(request)), "API token")
        if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
            return onward_page()
        return login_page()

    @routes.get("/login")
    @described(
        Description(
            "Begin a session by a login link",
            str,
            HTML,
            also=ONWARD,
            query=CodeAsked,
            refusals=WRONG,
            refusal_media=HTML,
        )
    )
    async def by_link() -> ResponseReturnValue:
        code = request.args.get("code")
        if code is None or request.method == "HEAD":  # what previews links does not use them up
            return login_page()
        refuse_embedded()
        return await begin(await admission.judge_code(code, source_of(request)), "login link")

    @routes.post("/login")
    @described(
        Description(
            "Begin a session by the API's token",
            None,
            HTML,
            303,
            body=TokenForm,
            body_media=FORM,
            refusals=WRONG,
            refusal_media=HTML,
        )
    )
    async def by_form() -> ResponseReturnValue:
        if not is_own_page(request, acts=True) and "Sec-Fetch-Site" in request.headers:
            raise RequestRefusedError(403, "requests from other sites are refused")
        body = bytes(await request.get_data(as_text=False))  # type: ignore[arg-type]  # bytes, as asked
        token = parse_qs(body[:LARGEST_FORM]).get(b"token", [b""])[0].decode(errors="replace").strip()
        return await begin(await admission.judge_token(token, source_of(request)), "API token")

    @routes.post("/logout")
    @described(Description("End the session", status=303))
    async def logout() -> ResponseReturnValue:
        if await admission.has_session(request):
            if not is_own_page(request, acts=True):
                raise RequestRefusedError(403, "requests from other sites are refused")
            await admission.sessions.end(session_id(request) or "")
            emit_action(events, "logout")
        response = _redirect()
        response.delete_cookie(
            _cookie(), path="/", secure=came_by_tls(request), httponly=True, samesite="Strict"
        )
        return response

    @routes.post("/api/login-link")
    @described(
        Description(
            "Make a login link",
            LoginLink,
            refusals={
                403: "it was not asked for over the control socket",
                409: "the API listens on a unix socket",
            },
        )
    )
    async def link() -> dict[str, Any]:
        if g.by != CONTROL:
            raise RequestRefusedError(403, "login links are made over the control socket only")
        if address is None:
            raise RequestRefusedError(
                409, "the API listens on a unix socket: a link leads nowhere, sign in through your proxy"
            )
        emit_action(events, "login.link")
        return {"url": make_link(admission.links, address), "expires_in": LINK_AGE}

    async def begin(verdict: Verdict, how: str) -> Response:
        if verdict != "right":
            fault = "This token or link is wrong, or the link was used before. Try another one."
            if verdict == "not judged":
                fault = "Too many wrong attempts came from your address. Try again in a moment."
            page = login_page(fault, _FAULTS[verdict])
            if verdict == "not judged":
                page.headers["Retry-After"] = RETRY_AFTER
            return page
        note_actor(how, source_of(request))
        if (old := session_id(request)) is not None:
            await admission.sessions.end(old)
        id_ = await admission.sessions.begin()
        emit_action(events, "login")
        response = _redirect()
        response.set_cookie(
            _cookie(), id_, path="/", secure=came_by_tls(request), httponly=True, samesite="Strict"
        )
        return response

    return routes


def refuse_embedded() -> None:
    """Refuse an image or a frame of a foreign page: its wrong attempts would count as those of the visitor.

    Raises:
        RequestRefusedError: 403.
    """
    if not is_own_page(request, acts=False):
        raise RequestRefusedError(403, "requests from other sites are refused")


def make_link(links: LoginLinks, address: str) -> str:
    """A login link. `address`: where the API is reached."""
    return f"{address}/login?code={links.make()}"


def _redirect() -> Response:
    """To `/`, by GET; so neither token nor code stays in the address bar."""
    return Response("", 303, {"Location": "/", "Referrer-Policy": "no-referrer"})


def _cookie() -> str:
    return cookie_name(request.headers.get("Host", ""))
