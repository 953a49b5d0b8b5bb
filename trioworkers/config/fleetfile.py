"""From the file to the fleet: find it, read it and `fleet.d`, merge, validate, report everything.

All problems are collected before any is raised, so that one look at the output mends the file.
Nothing is kept and nothing is global: reading again gives a new :class:`Fleet`.
"""

from __future__ import annotations

import os
import socket
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from trioworkers.config.canonical import digest_of
from trioworkers.config.checks import LOOKED_AT, cross_checks
from trioworkers.config.cluster import ClusterSettings, cluster_checks
from trioworkers.config.defaults import merge
from trioworkers.config.environment import SECRET_NAMES, Environment
from trioworkers.config.fleet import Fleet
from trioworkers.config.messages import MOST, faults, file_keys, keys_at_fault, toml_type, unknown_key
from trioworkers.config.places import SettingOrigins
from trioworkers.config.problems import FleetFileError, KeyPath, Problem
from trioworkers.config.secret import SecretContext
from trioworkers.config.settings import (
    Api,
    BotSettings,
    FleetKeys,
    Limits,
    LogSettings,
    StoreSettings,
    Webhook,
)
from trioworkers.config.toml import Source, read_source
from trioworkers.config.values import BOT_NAME, BOT_NAME_RULE
from trioworkers.config.watched import Watched, is_of_fleet_d
from trioworkers.shortage import words_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trioworkers.config.dynamic import Draft

SECTIONS = ("fleet", "limits", "api", "webhook", "store", "cluster", "log", "defaults", "bots", "plugins")
VARIABLE = "TRIOWORKERS_CONFIG"

MOST_OF_ALL = 1000  # problems: no further bot is looked at when there are more

_Model = TypeVar("_Model", bound=BaseModel)


def find_fleet_file(given: Path | None, environ: Mapping[str, str]) -> Path:
    """Returns the fleet file: `given`, $TRIOWORKERS_CONFIG, ./fleet.toml, /etc/trioworkers/fleet.toml.

    The first that is named or exists is the one: a named file that is absent is not replaced by
    another.

    Raises:
        FleetFileError: there is none; says where it was looked for.
    """
    named = given if given is not None else Path(environ[VARIABLE]) if environ.get(VARIABLE) else None
    usual = [Path("fleet.toml"), Path("/etc/trioworkers/fleet.toml")]
    candidates = usual if named is None else [named]
    for candidate in candidates:
        try:
            if candidate.exists():
                return candidate
        except OSError:
            return candidate  # it is there but out of reach: reading it says why
        except ValueError:
            continue
    if named is None:
        looked = f"no such file, looked at $TRIOWORKERS_CONFIG (not set), {usual[0]} and {usual[1]}"
        looked += "; name one with -c, write one with `trioworkers new fleet`, or try `trioworkers demo`"
    elif given is None:
        looked = "no such file, named by $TRIOWORKERS_CONFIG"
    else:
        looked = "no such file"
    raise FleetFileError([Problem(candidates[0], 0, 0, "", looked)])


def load_fleet(
    path: Path,
    environ: Mapping[str, str],
    *,
    state_dir: Path | None = None,
    drafts: Iterable[Draft] = (),
) -> Fleet:
    """Returns the fleet that the file at `path`, `fleet.d` and the environment describe.

    A bot that is not enabled is validated like any other, its token included: its id must be
    known, and enabling it must not be the moment at which it turns out to be broken.

    Args:
        path: the fleet file.
        environ: the environment.
        state_dir: where the second `fleet.d` is, whatever the file says: that of a running daemon, which
            does not move when the file changes.
        drafts: files of `fleet.d` that count as if they were written or removed already.

    Raises:
        FleetFileError: with all problems of all files.
    """
    path = path.absolute()
    main = read_source(path)
    if not isinstance(main, Source):
        raise FleetFileError(main, Watched(frozenset({path}), frozenset({path.parent / "fleet.d"})))
    return _Reading(main, environ, state_dir, drafts).fleet()


class _Reading:
    """One reading of a fleet; gathers problems while it goes."""

    def __init__(
        self, main: Source, environ: Mapping[str, str], state_dir: Path | None, drafts: Iterable[Draft]
    ) -> None:
        self._main = main
        self._state_dir = state_dir
        self._drafts = {_place(draft.file): draft for draft in drafts}
        self._folder = main.file.parent
        self._environment = Environment(environ)
        self._surroundings = SecretContext(self._folder, environ)
        self._files: list[Path] = [main.file]
        self._defaults: dict[str, Any] = {}
        self._folders: set[Path] = set()
        self._bot_sources: dict[str, Source] = {}
        self._places = SettingOrigins(main, self._bot_sources, self._environment.origins)
        self._problems: list[Problem] = []

    def fleet(self) -> Fleet:
        for name in islice((name for name in self._main.tables if name not in SECTIONS), MOST):
            self._report((name,), unknown_key(name, SECTIONS), at_key=True)
        filled = self._environment.fill_fleet(self._section("fleet"))
        keys = self._validate(FleetKeys, filled, ("fleet",))
        sections: dict[str, Any] = {
            "limits": self._validate(Limits, self._section("limits"), ("limits",)),
            "api": self._validate(Api, self._section("api"), ("api",)),
            "webhook": self._validate(
                Webhook, self._environment.fill_webhook(self._section("webhook")), ("webhook",)
            ),
            "store": self._validate(StoreSettings, self._section("store"), ("store",)),
            "cluster": self._validate(ClusterSettings, self._cluster(), ("cluster",)),
            "log": self._validate(LogSettings, self._section("log"), ("log",)),
            "plugins": self._plugins(),
        }
        tables = self._bot_tables(filled.get("state_dir", "state"))
        sections["bots"] = self._bots(tables)
        for fault in self._environment.faults:
            self._report(*fault)
        for fault in cross_checks(keys, sections["webhook"], sections["bots"]):
            self._report(*fault)
        for fault in cluster_checks(keys, sections["store"], sections["cluster"]):
            self._report(*fault)
        if self._problems or keys is None:
            raise FleetFileError(self._sorted(), self._watched())
        return self._build(keys, sections)

    def _build(self, keys: FleetKeys, sections: dict[str, Any]) -> Fleet:
        content = {**dict(keys), **sections}
        fleet = Fleet.model_construct(
            **content,
            path=self._main.file,
            folder=self._folder,
            digest=digest_of(content),
            secret_env_names=frozenset(self._surroundings.env_names | SECRET_NAMES),
            watched=self._watched(),
            sources={},
            refused={},
        )
        fleet._places = self._places
        fleet._surroundings = self._surroundings
        fleet._defaults = self._defaults
        return fleet

    def _watched(self) -> Watched:
        return Watched(frozenset({self._main.file, *self._surroundings.files}), frozenset(self._folders))

    def _section(self, name: str) -> dict[str, Any]:
        table = self._main.tables.get(name, {})
        return table if self._is_table((name,), table) else {}

    def _cluster(self) -> dict[str, Any]:
        """Returns the table of the cluster; that it stands there makes the daemon one of its nodes."""
        table = self._section("cluster")
        return {"node": socket.gethostname(), **table} if "cluster" in self._main.tables else table

    def _plugins(self) -> dict[str, dict[str, Any]]:
        self._surroundings.note(self._section("plugins"))
        return {
            name: table
            for name, table in self._section("plugins").items()
            if self._is_table(("plugins", name), table)
        }

    def _bot_tables(self, state_dir: object) -> dict[str, dict[str, Any]]:
        """Returns each bot's own table, from the fleet file and from both `fleet.d`."""
        tables = dict(self._section("bots"))
        folders = [self._folder / "fleet.d"]
        if self._state_dir is not None:
            folders.append(self._state_dir / "fleet.d")
        elif isinstance(state_dir, str):
            folders.append(self._folder / state_dir / "fleet.d")
        self._folders.update(filter(_usable, folders))
        # realpath: a state_dir that is the file's own folder has one fleet.d, not two.
        distinct = {os.path.realpath(folder): folder for folder in reversed(folders) if _usable(folder)}
        found = {
            _place(file): file for folder in reversed(distinct.values()) for file in self._listed(folder)
        }
        for place in {**found, **self._drafts}:
            draft = self._drafts.get(place)
            source = draft.source if draft is not None else read_source(found[place])
            if source is None:
                continue
            self._files.append(found.get(place, place))
            if isinstance(source, Source):
                self._add_bots(source, tables)
            else:
                self._problems.extend(source)
        return {name: table for name, table in tables.items() if self._is_bot(name, table)}

    def _listed(self, folder: Path) -> list[Path]:
        try:
            return sorted(file for file in folder.iterdir() if is_of_fleet_d(file.name))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return []
        except OSError as error:
            reason = words_of(error)
            self._problems.append(Problem(folder, 0, 0, "", f"cannot be read: {reason}"))
            return []

    def _add_bots(self, source: Source, tables: dict[str, dict[str, Any]]) -> None:
        places = SettingOrigins(source, {}, {})
        for name in islice((name for name in source.tables if name != "bots"), MOST):
            message = "unexpected key, expected only [bots.NAME] tables in a file of fleet.d"
            self._problems.append(places.problem((name,), message, at_key=True))
        bots = source.tables.get("bots")
        if not isinstance(bots, dict) or not bots:
            found = "nothing" if bots is None else "an empty table" if bots == {} else toml_type(bots)
            self._problems.append(places.problem(("bots",), f"expected [bots.NAME] tables, got {found}"))
            return
        for name, table in bots.items():
            if name in tables:
                message = f"this bot is also in {self._file_of(name)}, expected it in one file only"
                self._problems.append(places.problem(("bots", name), message, at_key=True))
            else:
                tables[name] = table
                self._bot_sources[name] = source

    def _file_of(self, name: str) -> Path:
        return self._bot_sources.get(name, self._main).file

    def _is_bot(self, name: str, table: object) -> bool:
        if BOT_NAME.fullmatch(name) is None:
            self._report(("bots", name), f"expected a name of {BOT_NAME_RULE}", at_key=True)
        return self._is_table(("bots", name), table)

    def _bots(self, tables: dict[str, dict[str, Any]]) -> dict[str, BotSettings]:
        """Returns the bots; of those that are wrong, what the rules between tables look at."""
        self._defaults = self._environment.fill_defaults(self._section("defaults"))
        reported = self._check_defaults(self._defaults)
        bots: dict[str, BotSettings | None] = {}
        for name, table in tables.items():
            if len(self._problems) > MOST_OF_ALL:
                break
            prefix: KeyPath = ("bots", name)
            if "name" in table:
                self._report((*prefix, "name"), unknown_key("name", file_keys(BotSettings)), at_key=True)
            try:
                bots[name] = self._bot(name, table)
            except ValidationError as error:
                for path, message, at_key in faults(BotSettings, error):
                    if (path, message) in reported and self._places.inherited((*prefix, *path)):
                        continue
                    self._report((*prefix, *path), message, at_key=at_key)
                stands = {"name": name, "handler": "stand:in"}
                bots[name] = self._as_far_as_looked_at(
                    BotSettings, merge(self._defaults, table), error, stands
                )
        return {name: bot for name, bot in bots.items() if bot is not None}

    def _bot(self, name: str, table: Mapping[str, Any]) -> BotSettings:
        merged = {**merge(self._defaults, table), "name": name}
        return BotSettings.model_validate(merged, context=self._surroundings)

    def _check_defaults(self, defaults: Mapping[str, Any]) -> set[tuple[KeyPath, str]]:
        """Reports what is wrong with `[defaults]` whatever bot uses it, and returns that."""
        if "name" in defaults:
            self._report(("defaults", "name"), unknown_key("name", file_keys(BotSettings)), at_key=True)
        handled = {} if "command" in defaults else {"handler": "stand:in"}
        stand_in = {"token": "1:stand-in", **handled, **defaults, "name": "defaults"}
        reported = set()
        try:
            BotSettings.model_validate(stand_in, context=self._surroundings)
        except ValidationError as error:
            for path, message, at_key in faults(BotSettings, error):
                self._report(("defaults", *path), message, at_key=at_key)
                reported.add((path, message))
        return reported

    def _validate(self, model: type[_Model], table: Mapping[str, Any], prefix: KeyPath) -> _Model | None:
        """Returns the table; when it is wrong, what the rules between tables look at."""
        try:
            return model.model_validate(table, context=self._surroundings)
        except ValidationError as error:
            for path, message, at_key in faults(model, error):
                self._report((*prefix, *path), message, at_key=at_key)
            return self._as_far_as_looked_at(model, table, error)

    def _as_far_as_looked_at(
        self,
        model: type[_Model],
        table: Mapping[str, Any],
        error: ValidationError,
        stands: Mapping[str, Any] = MappingProxyType({}),
    ) -> _Model | None:
        """Returns a wrong table with nothing in it but `LOOKED_AT`; None when that is what is wrong."""
        keys = LOOKED_AT.get(model, ())
        if not keys or keys_at_fault(error) & set(keys):
            return None
        kept = {key: table[key] for key in keys if key in table}
        return model.model_validate({**kept, **stands}, context=self._surroundings)

    def _is_table(self, path: KeyPath, value: object) -> bool:
        if isinstance(value, dict):
            return True
        self._report(path, f"expected a table, got {toml_type(value)}")
        return False

    def _report(self, path: KeyPath, message: str, *, at_key: bool = False) -> None:
        self._problems.append(self._places.problem(path, message, at_key=at_key))

    def _sorted(self) -> list[Problem]:
        order = {file: number for number, file in enumerate(self._files)}
        return sorted(
            dict.fromkeys(self._problems),
            key=lambda problem: (
                order.get(problem.file, len(order)),
                problem.line,
                problem.column,
                problem.path,
            ),
        )


def _place(file: Path) -> Path:
    return Path(os.path.realpath(file.parent), file.name)


def _usable(folder: Path) -> bool:
    return "\0" not in str(folder)
