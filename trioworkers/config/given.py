"""Bots that stand in no file: what plugins gave, looked at one by one.

The fleet file is refused as a whole, because whoever wrote it is there to mend it. What an API says about
a bot must not stop the others: a bad row is left out alone, and told.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from pydantic import ValidationError

from trioworkers.config.checks import cross_checks
from trioworkers.config.messages import faults, file_keys, toml_type, unknown_key
from trioworkers.config.problems import Problem, dotted
from trioworkers.config.settings import BotSettings
from trioworkers.config.toml import refused
from trioworkers.config.values import BOT_NAME, BOT_NAME_RULE
from trioworkers.masking import mask_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trioworkers.config.fleet import Fleet
    from trioworkers.config.problems import KeyPath


def with_given(fleet: Fleet, given: Mapping[str, Mapping[str, object]]) -> Fleet:
    """Returns a fleet that was read from files, joined by the bots that plugins give. Nothing is read again.

    Args:
        fleet: as its files describe it.
        given: by the name of a plugin, the bots that it gives, each a table by its name. One that is wrong is
            left out and named in `refused`, and so is one whose name a file has: the file wins.
    """
    if not given:
        return fleet
    joined = _Joined(fleet)
    for plugin, rows in given.items():
        joined.join(plugin, rows)
    return fleet.with_bots(joined.bots, joined.plugins, joined.refused)


class _Joined:
    """The bots of files, joined by those of plugins that are right.

    Attributes:
        bots: all bots.
        plugins: the plugin of each bot that stands in no file.
        refused: what is wrong with the others, by their names.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.bots = dict(fleet.bots)
        self.plugins: dict[str, str] = {}
        self.refused: dict[str, tuple[Problem, ...]] = {}
        self._fleet = fleet
        self._owners = {bot.bot_id: name for name, bot in fleet.bots.items()}

    def join(self, plugin: str, rows: Mapping[str, object]) -> None:
        """Let a plugin's bots join, in the order of their names: of two with one id the first is in."""
        for name in sorted(rows):
            found: list[BotSettings] = []
            problems = tuple(
                Problem(Path(plugin), 0, 0, dotted(("bots", name, *path)), message)
                for path, message in self._faults(name, rows[name], found)
            )
            if problems:
                shown = mask_tokens(name)
                self.refused[shown] = self.refused.get(shown, ()) + problems
                continue
            self.bots[name] = found[0]
            self.plugins[name] = plugin
            self._owners[found[0].bot_id] = name

    def _faults(self, name: str, row: object, found: list[BotSettings]) -> Iterator[tuple[KeyPath, str]]:
        """Yields what is wrong with a row; appends the bot to `found` when nothing is."""
        if BOT_NAME.fullmatch(name) is None:
            yield (), f"expected a name of {BOT_NAME_RULE}"
        elif name in self.bots:
            yield (), f"this bot is also in {self.plugins.get(name) or self._fleet.origin(name)}, which wins"
        elif not isinstance(row, dict):
            yield (), f"expected a table, got {toml_type(row)}"
        elif unfit := list(refused(row)):
            yield from unfit
        elif "name" in row:
            yield ("name",), unknown_key("name", file_keys(BotSettings))
        elif "proxy" in row and not isinstance(row["proxy"], str):
            # as for the token: a plugin's table must not read files and variables of the daemon
            yield ("proxy",), f"expected the address itself as a string, got {toml_type(row['proxy'])}"
        elif "token" in row and not isinstance(row["token"], str):
            # { file = … } and { env = … } would let who writes rows try what is on this machine.
            yield ("token",), f"expected the token itself as a string, got {toml_type(row['token'])}"
        else:
            yield from self._read_faults(name, row, found)

    def _read_faults(
        self, name: str, row: dict[str, object], found: list[BotSettings]
    ) -> Iterator[tuple[KeyPath, str]]:
        try:
            bot = self._fleet.bot_of(name, row)
        except ValidationError as error:
            for path, message, _ in faults(BotSettings, error):
                yield path, message
            return
        if (owner := self._owners.get(bot.bot_id)) is not None:
            yield ("token",), f'the bot "{owner}" has the same bot id, expected one bot per id'
            return
        wrong = [
            (path[2:], message) for path, message in cross_checks(None, self._fleet.webhook, {name: bot})
        ]
        if (fault := _sending_fault(bot)) is not None:
            wrong.append((("settings",), fault))
        yield from wrong
        if not wrong:
            found.append(bot)


def _sending_fault(bot: BotSettings) -> str | None:
    """Why a bot's `settings` cannot be sent to its worker; a plugin, unlike a file, may give anything."""
    try:
        msgspec.json.encode(bot.settings)
    except Exception as error:  # of a stranger's objects
        return f"expected values that JSON can hold, got some that it cannot ({type(error).__name__})"
    return None
