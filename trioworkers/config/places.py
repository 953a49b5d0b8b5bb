"""Where a setting of the merged fleet came from: which file, and where in it.

A bot's key may stand in its own table, in `[defaults]`, in a file of `fleet.d`, or nowhere, when
it is a default or comes from the environment. Then the nearest table around it is the place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trioworkers.config.problems import Problem, dotted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trioworkers.config.problems import KeyPath
    from trioworkers.config.toml import Source


@dataclass(frozen=True, slots=True)
class SettingOrigins:
    """The files a fleet was read from.

    Attributes:
        main: the fleet file.
        bots: the file of each bot; a bot that is not in it is in `main`.
        environment: the keys that variables of the environment set, with the variables' names.
    """

    main: Source
    bots: Mapping[str, Source]
    environment: Mapping[KeyPath, str]

    def problem(self, path: KeyPath, message: str, *, at_key: bool = False) -> Problem:
        """Returns a problem of the value at `path`, or of the key itself; positions are found now."""
        source, place = self._find(path)
        variable = self.environment.get(path)
        if variable is None and path[0] == "bots" and path not in source.positions:
            variable = self.environment.get(("defaults", *path[2:]))
        if variable is not None:
            message = f"{message} (from the environment variable {variable})"
        line, column = source.positions.key(place) if at_key else source.positions.value(place)
        return Problem(source.file, line, column, dotted(path), message)

    def inherited(self, path: KeyPath) -> bool:
        """Whether a bot's value is not its own but that of `[defaults]`."""
        return self._find(path)[1] != path

    def file(self, bot: str) -> Path:
        """Returns the file that a bot's table stands in."""
        return self.bots.get(bot, self.main).file

    def _find(self, path: KeyPath) -> tuple[Source, KeyPath]:
        if len(path) < 2 or path[0] != "bots":
            return self.main, path
        source = self.bots.get(str(path[1]), self.main)
        inherited: KeyPath = ("defaults", *path[2:])
        if len(path) > 2 and path not in source.positions and inherited in self.main.positions:
            return self.main, inherited
        return source, path
