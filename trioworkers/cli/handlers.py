"""Whether the handlers of a fleet can be imported, and its commands be found, without running it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trioworkers.config import Fleet


def handler_problems(fleet: Fleet) -> list[str]:
    """What is wrong with the handlers of the bots that would start, one line for each bot."""
    from trioworkers.worker.probe import probe_handler

    environ = {name: value for name, value in os.environ.items() if name not in fleet.secret_env_names}
    path = [str(folder) for folder in fleet.python_path]
    found: dict[str, str | None] = {}
    problems = []
    for name, bot in fleet.bots.items():
        if not bot.enabled:
            continue
        if bot.handler is None:
            key, problem = "command", fleet.program_problem(bot, environ)
        else:
            if bot.handler not in found:
                found[bot.handler] = probe_handler(bot.handler, path, fleet.folder, environ)
            key, problem = "handler", found[bot.handler]
        if problem is not None:
            problems.append(str(fleet.problem_at(("bots", name, key), problem)))
    return problems
