"""A parameter that names a bot of the fleet; shells complete it from the fleet file, without the daemon."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class BotName(click.ParamType[str]):
    """Accepts any text: only the daemon knows which bots it runs.

    The completion offers the bots of the fleet file and of both `fleet.d`. It reads them as TOML, asks
    nobody and runs none of the fleet's code. Bots that come from a plugin are missing.
    """

    name = "bot"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """Return the names that begin like the word; none where the fleet file cannot be read."""
        from click.shell_completion import CompletionItem

        from trioworkers.config import FleetFileError, find_bot_names, find_fleet_file

        given = ctx.find_root().params.get("config")
        try:
            path = find_fleet_file(given if isinstance(given, Path) else None, os.environ)
            names = find_bot_names(path, os.environ)
        except (FleetFileError, OSError):
            return []
        return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]
