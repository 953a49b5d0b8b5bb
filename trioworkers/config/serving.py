"""What a unit for a fleet has to know of its file, whatever secrets are at hand where the unit is made.

The fleet cannot be read as a whole there: its credentials exist only in the service that the unit describes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trioworkers.config.lean import find_log_dir, find_runtime_dir, find_state_dir
from trioworkers.config.problems import FleetFileError
from trioworkers.config.secret import CREDENTIAL_NAME
from trioworkers.config.settings import FleetKeys
from trioworkers.config.toml import Source, read_source
from trioworkers.config.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Served:
    """A fleet as its unit sees it.

    Attributes:
        shutdown_timeout: seconds; the default where the value is wrong.
        credentials: the names of all credentials that its files refer to, sorted.
        folders: of the state, runtime files, logs and unix sockets, without those inside another.
        placed: the folders of those that the file itself names, by key.
    """

    shutdown_timeout: float
    credentials: Sequence[str]
    folders: Sequence[Path]
    placed: Mapping[str, Path]


def read_served(path: Path, environ: Mapping[str, str]) -> Served:
    """Returns what a unit has to know of the fleet file at `path`.

    Raises:
        FleetFileError: the fleet file, or a file of `fleet.d`, is not TOML or cannot be read.
    """
    state = find_state_dir(path, environ)
    folders = {path.absolute().parent / "fleet.d", state / "fleet.d"}
    sources = [
        read_source(file) for file in (path, *(f for folder in folders for f in folder.glob("*.toml")))
    ]
    problems = [problem for source in sources if not isinstance(source, Source) for problem in source]
    if problems:
        raise FleetFileError(problems)
    tables = [source.tables for source in sources if isinstance(source, Source)]
    found = {
        "fleet.state_dir": state,
        "fleet.runtime_dir": find_runtime_dir(path, environ),
        "fleet.log_dir": find_log_dir(path, environ),
    }
    sockets = dict(_socket_folders(tables[0], path.absolute().parent))
    written = {*found.values(), *sockets.values()}
    table = tables[0].get("fleet")
    named = {f"fleet.{key}" for key in table} if isinstance(table, dict) else set()
    return Served(
        _shutdown_timeout(table),
        sorted(_credentials(tables)),
        sorted(folder for folder in written if written.isdisjoint(folder.parents)),
        {key: folder for key, folder in found.items() if key in named} | sockets,
    )


def _socket_folders(tables: Mapping[str, object], folder: Path) -> Iterator[tuple[str, Path]]:
    for section in ("api", "webhook"):
        table = tables.get(section)
        bind = table.get("bind") if isinstance(table, dict) else None
        if isinstance(bind, str) and bind.startswith("unix:"):
            yield f"{section}.bind", (folder / bind.removeprefix("unix:")).parent


def _shutdown_timeout(table: object) -> float:
    default = FleetKeys.model_fields["shutdown_timeout"].default
    given = table.get("shutdown_timeout", default) if isinstance(table, dict) else default
    try:
        return parse_duration(given)
    except ValueError:
        return parse_duration(default)


def _credentials(tables: list[dict[str, object]]) -> set[str]:
    found: set[str] = set()
    left: list[object] = [*tables]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            name = value.get("credential")
            if len(value) == 1 and isinstance(name, str) and CREDENTIAL_NAME.fullmatch(name):
                found.add(name)
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
    return found
