"""The whole fleet as one frozen value: what the rest of the daemon is given slices of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, Field, PrivateAttr, ValidationError
from pydantic_core import PydanticCustomError

from trioworkers.config.canonical import digest_of
from trioworkers.config.cluster import ClusterSettings
from trioworkers.config.command import filled, program_problem
from trioworkers.config.defaults import merge
from trioworkers.config.messages import faults
from trioworkers.config.places import SettingOrigins
from trioworkers.config.problems import FleetFileError, KeyPath, Problem, dotted
from trioworkers.config.secret import Secret, SecretContext, resolve
from trioworkers.config.settings import (
    Api,
    BotSettings,
    FleetKeys,
    Limits,
    LogSettings,
    StoreSettings,
    Webhook,
)
from trioworkers.config.watched import Watched
from trioworkers.masking import mask_tokens

PluginModel = TypeVar("PluginModel", bound=BaseModel)


class Fleet(FleetKeys):
    """A fleet file that was read and found good; the keys of `[fleet]` are its own attributes.

    Attributes:
        path: the fleet file, absolute.
        folder: its folder, what relative paths are relative to and the workers' working directory.
        digest: a hash of what the settings mean: the same after reordering, comments and other
            spellings of a value, another after any change, one of a secret included.
        bots: all bots by name, those of other shards and those not enabled included.
        plugins: each plugin's table as it stands in the file.
        secret_env_names: the variables that workers and the zygote must not see.
        watched: what it was read from.
        sources: the plugin of each bot that stands in no file.
        refused: what is wrong with bots that plugins gave, by bot; each is left out alone.
    """

    path: Path
    folder: Path
    digest: str
    limits: Limits
    api: Api
    webhook: Webhook
    store: StoreSettings
    cluster: ClusterSettings
    log: LogSettings
    plugins: Mapping[str, Mapping[str, Any]] = Field(repr=False)
    bots: Mapping[str, BotSettings]
    secret_env_names: frozenset[str]
    watched: Watched
    sources: Mapping[str, str]
    refused: Mapping[str, tuple[Problem, ...]]
    _places: SettingOrigins | None = PrivateAttr(None)
    _surroundings: SecretContext | None = PrivateAttr(None)
    _defaults: Mapping[str, Any] = PrivateAttr({})

    def problem_at(self, path: KeyPath, message: str, *, at_key: bool = False) -> Problem:
        """Returns a problem of the value at `path`, for checks that come after reading.

        `path` is as in the file, `("bots", "echo", "handler")`; a value that a bot has from
        `[defaults]` is found there. `message` follows the rules of :class:`Problem`. `at_key`: the key
        itself is wrong.
        """
        if path[0] == "bots" and len(path) > 1 and (plugin := self.sources.get(str(path[1]))):
            return Problem(Path(plugin), 0, 0, dotted(path), message)
        return self._read().problem(path, message, at_key=at_key)

    def program_problem(self, bot: BotSettings, environ: Mapping[str, str]) -> str | None:
        """Returns why the command of a bot cannot be started, as far as that can be seen; None: nothing."""
        if bot.command is None:
            return None
        path = filled(bot.environment, {}).get("PATH", environ.get("PATH"))
        return program_problem(bot.command, bot.cwd or self.folder, path)

    def origin(self, bot: str) -> str:
        """Returns the file that a bot's table stands in, or the name of the plugin that gave it.

        Raises:
            KeyError: there is no such bot.
        """
        self.bots[bot]
        return self.sources.get(bot) or str(self._read().file(bot))

    def secret(self, declaration: object) -> Secret:
        """Returns the secret that a plugin's table declares in one of the ways in which tokens are.

        Raises:
            ValueError: the declaration is malformed or its source is absent; says which.
        """
        try:
            return Secret(resolve(declaration, self._surroundings))
        except PydanticCustomError as error:
            raise ValueError(mask_tokens(error.message())) from None

    def plugin_settings(self, name: str, model: type[PluginModel]) -> PluginModel:
        """Returns the table of a plugin as its model describes it, secrets resolved.

        Raises:
            FleetFileError: with all problems of the table.
        """
        try:
            return model.model_validate(dict(self.plugins.get(name, {})), context=self._surroundings)
        except ValidationError as error:
            problems = [
                self.problem_at(("plugins", name, *path), message, at_key=at_key)
                for path, message, at_key in faults(model, error)
            ]
            raise FleetFileError(problems, self.watched) from None

    def for_plugin(self, plugin: str) -> Self:
        """Returns the fleet as a plugin may see it: without bots, secrets and the tables of other plugins."""
        update = {
            "bots": {},
            "proxy": None,
            "api": self.api.model_copy(update={"token": None}),
            "webhook": self.webhook.model_copy(update={"secret": None}),
            "store": self.store.model_copy(update={"url": self.store.url.partition(":")[0]}),
            "plugins": {name: table for name, table in self.plugins.items() if name == plugin},
        }
        return self.model_copy(update=update)

    def bot_of(self, name: str, table: Mapping[str, Any]) -> BotSettings:
        """Returns the settings of a bot by its table, over the file's `[defaults]`.

        Raises:
            ValidationError: it is wrong.
        """
        merged = {**merge(self._defaults, table), "name": name}
        return BotSettings.model_validate(merged, context=self._surroundings)

    def with_bots(
        self,
        bots: Mapping[str, BotSettings],
        sources: Mapping[str, str],
        refused: Mapping[str, tuple[Problem, ...]],
    ) -> Self:
        """Returns the fleet with these bots instead of its own."""
        more = frozenset() if self._surroundings is None else frozenset(self._surroundings.env_names)
        update = {
            "bots": bots,
            "sources": sources,
            "refused": refused,
            "secret_env_names": self.secret_env_names | more,  # plugins may have named some
            "digest": digest_of({**self.content(), "bots": bots}),
        }
        return self.model_copy(update=update)

    def without(self, refused: Mapping[str, Problem]) -> Self:
        """Returns the fleet without these bots of plugins, each with what turned out to be wrong with it."""
        return self.with_bots(
            {name: bot for name, bot in self.bots.items() if name not in refused},
            {name: plugin for name, plugin in self.sources.items() if name not in refused},
            {**self.refused, **{name: (problem,) for name, problem in refused.items()}},
        )

    def content(self) -> dict[str, Any]:
        """Returns what the digest is made of: every setting, by the attribute's name."""
        return {name: getattr(self, name) for name in CONTENT}

    def _read(self) -> SettingOrigins:
        if self._places is None:
            raise ValueError("this fleet was not read from a file")
        return self._places


CONTENT = (*FleetKeys.model_fields, "limits", "api", "webhook", "store", "cluster", "log", "plugins", "bots")
