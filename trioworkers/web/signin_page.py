"""The pages of signing in: plain HTML without scripts, under a policy that allows nothing else."""

from __future__ import annotations

import base64
import hashlib
from string import Template
from typing import TYPE_CHECKING

from quart import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

STYLE = """
:root { color-scheme: light dark; font: 100%/1.5 system-ui, sans-serif; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; }
main { box-sizing: border-box; width: min(26rem, 100vw); padding: 1.5rem; }
h1 { font-size: 1.4rem; margin: 0 0 1rem; overflow-wrap: anywhere; }
label { display: block; font-weight: 600; margin-bottom: .25rem; }
input, button { box-sizing: border-box; width: 100%; font: inherit; padding: .6rem; border-radius: .4rem; }
input { border: 1px solid GrayText; margin-bottom: .75rem; }
button { border: 1px solid transparent; background: #14508c; color: #fff; font-weight: 600; cursor: pointer; }
:focus-visible { outline: 3px solid #e08a00; outline-offset: 2px; }
code { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
[role=alert] { border: 1px solid #c22; border-radius: .4rem; padding: .6rem; }
"""
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",  # with no-referrer, a form's Origin would be null
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Of every page here."""

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">$refresh
<title>$title</title>
<style>$style</style>
</head>
<body><main>
<h1>$title</h1>
$content
</main></body>
</html>
""")

_FORM = """<form method="post" action="/login">
<label for="token">API token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Sign in</button>
</form>
<p>Or open a login link, which works once: on the daemon&#8217;s machine, <code>trioworkers dashboard</code>
prints one. The token is the setting <code>token</code> in <code>[api]</code>; without that setting it is in
the file <code>api-token</code> in the fleet&#8217;s <code>runtime_dir</code>.</p>"""

_ONWARD = """<p><a href="/">Open the dashboard</a></p>"""


def login_page(fault: str | None = None, status: int = 200) -> Response:
    """The page with the form. `fault`: a sentence of ours that says why signing in failed."""
    alert = "" if fault is None else f'<p role="alert">{fault}</p>\n'
    return _page("Sign in to trioworkers", alert + _FORM, status)


def onward_page() -> Response:
    """A page that opens `/` by itself: then it is this site that leads there.

    To what another site leads to, a browser sends no cookie that is SameSite=Strict.
    """
    refresh = '\n<meta http-equiv="refresh" content="0; url=/">'
    return _page("trioworkers", _ONWARD, refresh=refresh)


def _page(title: str, content: str, status: int = 200, *, refresh: str = "") -> Response:
    text = _PAGE.substitute(title=title, content=content, style=STYLE, refresh=refresh)
    return Response(text, status, dict(HEADERS), content_type="text/html; charset=utf-8")
