"""Loaded into a bot's Python before its own code: requests for the Bot API server go to the daemon.

It changes aiohttp, httpx, requests and urllib when the bot imports them, and nothing without the variables
that the daemon sets. With a library that it knows it loads the probe, which is beside it. It imports nothing
else of ours, as it runs in the bot's own environment: any Python from 3.8 on. A `sitecustomize` of the user's
own still runs, after it.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from typing import Any
from urllib.parse import urlsplit

BASE = os.environ.get("TRIOWORKERS_API_BASE", "")
HOSTS = frozenset(filter(None, os.environ.get("TRIOWORKERS_REDIRECT", "").split(",")))
USUAL = {"http": 80, "https": 443}


def redirected(address: str) -> str:
    """Return where a request goes: to the daemon, if it is for the Bot API server."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return address
    host = parts.hostname or ""
    if port is not None and port != USUAL.get(parts.scheme):
        host = f"{host}:{port}"
    if host not in HOSTS:
        return address
    return BASE + parts.path + (f"?{parts.query}" if parts.query else "")


def fields_of(address: str) -> dict[str, str]:
    """Return the fields that a request to this address has besides its own: none without a probe."""
    probe = sys.modules.get(PROBE)
    return {} if probe is None else probe.fields_of(address)


def change_aiohttp(module: Any) -> None:
    """Let the sessions of aiohttp ask the daemon."""
    original = module.ClientSession._request

    async def _request(self: Any, method: Any, url: Any, **options: Any) -> Any:
        target = redirected(str(url))
        fields = fields_of(target)
        if fields:
            own = options.get("headers") or {}
            options["headers"] = [*(own.items() if hasattr(own, "items") else own), *fields.items()]
        return await original(self, method, url if target == str(url) else target, **options)

    module.ClientSession._request = _request


def change_httpx(module: Any) -> None:
    """Let the clients of httpx ask the daemon, before they choose a connection or a proxy."""

    def wrap(original: Any) -> Any:
        def send(self: Any, request: Any, *args: Any, **options: Any) -> Any:
            target = redirected(str(request.url))
            if target != str(request.url):
                request.url = module.URL(target)
            request.headers.update(fields_of(target))
            return original(self, request, *args, **options)

        return send

    module.Client.send = wrap(module.Client.send)
    module.AsyncClient.send = wrap(module.AsyncClient.send)


def change_requests(module: Any) -> None:
    """Let the sessions of requests ask the daemon."""
    original = module.Session.request

    def request(self: Any, method: Any, url: Any, *args: Any, **options: Any) -> Any:
        target = redirected(str(url))
        return original(self, method, url if target == str(url) else target, *args, **options)

    module.Session.request = request
    send = module.Session.send

    def send_(self: Any, request: Any, *args: Any, **options: Any) -> Any:
        request.headers.update(fields_of(request.url))
        return send(self, request, *args, **options)

    module.Session.send = send_


def change_urllib(module: Any) -> None:
    """Let urllib ask the daemon."""
    original = module.OpenerDirector.open

    def open_(self: Any, fullurl: Any, *args: Any, **options: Any) -> Any:
        if isinstance(fullurl, str):
            fullurl = redirected(fullurl)
        elif redirected(fullurl.full_url) != fullurl.full_url:
            fullurl.full_url = redirected(fullurl.full_url)
        return original(self, fullurl, *args, **options)

    module.OpenerDirector.open = open_


def change_library(module: Any) -> None:
    """Load the probe, if the daemon wants one, and let it wrap a library that handles updates."""
    if os.environ.get("TRIOWORKERS_PROBE"):
        load_beside("trioworkers_libraries").wrap(module, load_beside(PROBE))


def load_beside(name: str) -> Any:
    """Return a module from the folder of this file, wherever else Python looks for modules by now."""
    if name not in sys.modules:
        place = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
        spec = importlib.util.spec_from_file_location(name, place)
        assert spec is not None and spec.loader is not None  # noqa: S101, PT018 - for mypy; the file is there
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]


PROBE = "trioworkers_probe"
CHANGES = {
    "aiohttp.client": change_aiohttp,
    "httpx": change_httpx,
    "aiogram.dispatcher.dispatcher": change_library,
    "requests.sessions": change_requests,
    "telebot": change_library,
    "telebot.async_telebot": change_library,
    "telegram.ext._application": change_library,
    "urllib.request": change_urllib,
}


class Finder(importlib.abc.MetaPathFinder):
    """Finds these modules as ever, and changes them once they are loaded."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the module's spec, whose loader changes it; None for all others."""
        if name not in CHANGES:
            return None
        others = (one for one in list(sys.meta_path) if one is not self and hasattr(one, "find_spec"))
        found = (one.find_spec(name, path, target) for one in others)
        spec = next((one for one in found if one is not None), None)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                load(module)
                CHANGES[name](module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def run_own() -> None:
    """Run the `sitecustomize` that this one stands before, if there is one."""
    here = os.path.dirname(os.path.abspath(__file__))
    paths = [path for path in sys.path if os.path.abspath(path or ".") != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", paths)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


if BASE and HOSTS:
    sys.meta_path.insert(0, Finder())
    for loaded in [one for one in CHANGES if one in sys.modules]:
        CHANGES[loaded](sys.modules[loaded])
if __name__ == "sitecustomize":
    run_own()
