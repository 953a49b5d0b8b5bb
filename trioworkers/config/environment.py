"""The environment's part of the settings: it fills keys that the file leaves out.

systemd's directories, and the names of the system that this one replaces. NODE_ENV is ignored.
An empty variable counts as unset.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from trioworkers.config.proxies import environment_proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trioworkers.config.problems import KeyPath

# systemd.exec(5), RuntimeDirectory=: several directories are separated by colons, the first counts.
_DIRECTORIES = {
    "state_dir": "STATE_DIRECTORY",
    "runtime_dir": "RUNTIME_DIRECTORY",
    "log_dir": "LOGS_DIRECTORY",
}
_BELOW_STATE = {"runtime_dir": "run", "log_dir": "logs"}
OFFICIAL_API = "https://api.telegram.org"
_MODES = {"polling": "poll", "poll": "poll", "webhook": "webhook"}
_CERTIFICATE = {"tls_cert": "WEBHOOK_SSL_CERT", "tls_key": "WEBHOOK_SSL_KEY"}

SECRET_NAMES = frozenset({"TRIOWORKERS_API_TOKEN", "WEBHOOK_SECRET"})
"""Variables that hold secrets of ours even where no `env =` names them."""


class Environment:
    """Fills tables from the environment and remembers which variable set what.

    Attributes:
        origins: each key that was filled, with the variable it came from.
        faults: variables that make no sense, as (path of the key, message).
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.origins: dict[KeyPath, str] = {}
        self.faults: list[tuple[KeyPath, str]] = []

    def fill_fleet(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """Returns `[fleet]` with its directories and proxy; runtime_dir and log_dir follow state_dir."""
        filled = dict(table)
        for key, variable in _DIRECTORIES.items():
            self._fill(filled, ("fleet", key), variable, lambda text: text.partition(":")[0])
        state = filled.get("state_dir", "state")
        if isinstance(state, str) and state:
            for key, name in _BELOW_STATE.items():
                filled.setdefault(key, f"{state}/{name}")
        server = filled.get("api_base", OFFICIAL_API)
        proxy = environment_proxy(self._environ, server) if isinstance(server, str) else None
        if proxy is not None and "proxy" not in filled:
            self._fill(filled, ("fleet", "proxy"), proxy[0], str)
        return filled

    def fill_webhook(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """Returns `[webhook]` with what the replaced system's variables say about it."""
        filled = dict(table)
        port = self._port(table)
        self._fill(filled, ("webhook", "public_url"), "WEBHOOK_HOST", lambda host: _public_url(host, port))
        if port is not None:
            self._fill(filled, ("webhook", "bind"), "WEBHOOK_PORT", lambda port: f"0.0.0.0:{port}")
        self._fill(filled, ("webhook", "secret"), "WEBHOOK_SECRET", lambda _: {"env": "WEBHOOK_SECRET"})
        for key, variable in _CERTIFICATE.items():
            self._fill(filled, ("webhook", key), variable, str)
        return filled

    def fill_defaults(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """Returns `[defaults]` with the transport asked for; AUTO_SWITCH_MODE beats BOT_MODE."""
        filled = dict(table)
        path = ("defaults", "transport")
        if self._environ.get("AUTO_SWITCH_MODE", "").strip().lower() == "true":
            self._fill(filled, path, "AUTO_SWITCH_MODE", lambda _: "auto")
        mode = self._environ.get("BOT_MODE", "").strip().lower()
        if mode in _MODES:
            self._fill(filled, path, "BOT_MODE", lambda _: _MODES[mode])
        elif mode and "transport" not in filled:
            self._fault(path, "BOT_MODE", 'expected "polling" or "webhook"')
        return filled

    def _port(self, table: Mapping[str, Any]) -> str | None:
        text = self._environ.get("WEBHOOK_PORT", "").strip()
        if not text or ("bind" in table and "public_url" in table):
            return None
        if re.fullmatch(r"[0-9]{1,5}", text) is None or not 0 < int(text) < 65536:
            self._fault(("webhook", "bind"), "WEBHOOK_PORT", "expected a port from 1 to 65535")
            return None
        return text

    def _fill(
        self, table: dict[str, Any], path: KeyPath, variable: str, read: Callable[[str], object]
    ) -> None:
        key = str(path[-1])
        text = self._environ.get(variable, "").strip()
        if key not in table and text:
            table[key] = read(text)
            self.origins[path] = variable

    def _fault(self, path: KeyPath, variable: str, message: str) -> None:
        self.origins[path] = variable
        self.faults.append((path, message))


def _public_url(host: str, port: str | None) -> str:
    """Returns the address that WEBHOOK_HOST means: https and WEBHOOK_PORT unless it names others."""
    url = host if "://" in host else f"https://{host}"
    try:
        parts = urlsplit(url)
        if port is None or parts.port is not None:
            return url
    except ValueError:
        return url  # the key's own check says what is wrong with it
    return urlunsplit(parts._replace(netloc=f"{parts.netloc}:{port}"))
