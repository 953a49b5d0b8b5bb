"""What a fleet file asks for and a daemon would refuse at its start, found without starting one."""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trioworkers.config import Fleet


def start_problems(fleet: Fleet) -> list[str]:
    """What is wrong, a line each; nothing is written, and no code of the fleet is run."""
    return [str(fleet.problem_at(path, message)) for path, message in _found(fleet)]


def _found(fleet: Fleet) -> Iterator[tuple[tuple[str, str], str]]:
    from trioworkers.inbox.store import store_problem
    from trioworkers.service.places import CONTROL_SOCKET
    from trioworkers.web.sockets import SOCKET_PATH_LIMIT

    if problem := store_problem(fleet.store.url):
        yield ("store", "url"), problem
    socket = fleet.runtime_dir / CONTROL_SOCKET
    if len(os.fsencode(socket)) > SOCKET_PATH_LIMIT:
        message = f"too long for a socket, expected at most {SOCKET_PATH_LIMIT} bytes with /{CONTROL_SOCKET}"
        yield ("fleet", "runtime_dir"), message
    places = [*map(str, fleet.python_path), *sys.path]
    for module in fleet.preload:
        first = module.partition(".")[0]  # what a package holds is known only once it is imported
        if first not in sys.builtin_module_names and PathFinder.find_spec(first, places) is None:
            yield ("fleet", "preload"), f"{module}: no such module was found"
    yield from _certificate(fleet)


def _certificate(fleet: Fleet) -> Iterator[tuple[tuple[str, str], str]]:
    from trioworkers.web.tls import Certificate, CertificateError

    cert, key = fleet.webhook.tls_cert, fleet.webhook.tls_key
    is_needed = any(bot.enabled and bot.transport != "poll" for bot in fleet.bots.values())
    if cert is None or key is None or not is_needed:
        return
    try:
        Certificate(cert, key)
    except CertificateError as error:
        yield ("webhook", "tls_cert"), str(error).removeprefix("webhook.tls_cert: ")
