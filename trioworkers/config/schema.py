"""The JSON Schema of the fleet file, from the same declarations that validate it.

It describes what is written, not what it becomes: a duration is a number or a string, a secret a
string or a table. Editors complete and check the file by it, through the `#:schema` line. Each key
carries its reload class as `x-reload`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pydantic.json_schema import models_json_schema

from trioworkers.config.cluster import ClusterSettings
from trioworkers.config.messages import model_in
from trioworkers.config.settings import (
    Api,
    BotSettings,
    FleetKeys,
    Limits,
    LogSettings,
    StoreSettings,
    Webhook,
)
from trioworkers.config.values import BOT_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from trioworkers.config.declare import ReloadClass
    from trioworkers.config.problems import KeyPath

TABLES: dict[str, type[BaseModel]] = {
    "fleet": FleetKeys,
    "limits": Limits,
    "api": Api,
    "webhook": Webhook,
    "store": StoreSettings,
    "cluster": ClusterSettings,
    "log": LogSettings,
    "defaults": BotSettings,
    "bots": BotSettings,
}
"""The model of each table of the file; that of `bots` is the model of each bot."""


def reload_class(path: KeyPath) -> ReloadClass:
    """Returns what a change of the key at `path` does; `live` for what no class was declared for.

    `path` is as in the file: `("log", "level")`, `("bots", "echo", "retry", "attempts")`.
    Settings of bots and plugins are open tables and live with everything in them.

    Raises:
        KeyError: there is no such key.
    """
    if path[0] == "plugins":
        return "live"
    model = TABLES[str(path[0])]
    found: ReloadClass | None = None
    for part in path[2 if path[0] == "bots" else 1 :]:
        field = model.model_fields[str(part)]
        declared = field.json_schema_extra
        if not isinstance(declared, dict):
            raise KeyError(path)
        found = cast("ReloadClass", declared["x-reload"])
        inner = model_in(field.annotation)
        if inner is None:
            break
        model = inner
    if found is None:
        raise KeyError(path)
    return found


def fleet_schema(plugins: Mapping[str, type[BaseModel]] | None = None) -> dict[str, Any]:
    """Returns the JSON Schema (2020-12) of the fleet file.

    Args:
        plugins: the settings that plugins declare, by plugin.
    """
    plugins = plugins or {}
    models = dict.fromkeys([*TABLES.values(), *plugins.values()])
    references, document = models_json_schema([(model, "validation") for model in models])
    definitions = document["$defs"]
    bot = definitions.pop("BotSettings")
    bot["properties"].pop("name")
    bot.pop("required")
    definitions["Bot"] = bot
    tables = {
        name: {"$ref": "#/$defs/Bot"} if model is BotSettings else references[model, "validation"]
        for name, model in TABLES.items()
    }
    tables["defaults"] = {**tables["defaults"], "description": "any key of a bot; the bot's own value wins"}
    tables["bots"] = {
        "type": "object",
        "description": "the bots by name",
        "additionalProperties": {"$ref": "#/$defs/Bot"},
        "propertyNames": {"pattern": f"^{BOT_NAME.pattern}$"},
    }
    tables["plugins"] = {
        "type": "object",
        "description": "each plugin's settings; the plugin itself says what may stand here",
        "properties": {name: references[model, "validation"] for name, model in plugins.items()},
        "additionalProperties": {"type": "object"},
        "x-reload": "live",
    }
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "description": "The fleet file of trioworkers",
        "type": "object",
        "properties": tables,
        "additionalProperties": False,
        "allOf": [_demanded("token"), _demanded("handler", "command")],
        "$defs": definitions,
    }
    return {**_cleaned(schema), "title": "fleet.toml"}


def _demanded(*keys: str) -> dict[str, Any]:
    """Demands one of the keys of every bot unless `[defaults]` has one."""
    one = {"required": [keys[0]]} if len(keys) == 1 else {"anyOf": [{"required": [key]} for key in keys]}
    return {
        "if": {"not": {"properties": {"defaults": one}, "required": ["defaults"]}},
        "then": {"properties": {"bots": {"additionalProperties": one}}},
    }


def _cleaned(node: Any) -> Any:
    """Returns a schema without null, which TOML cannot write, and without pydantic's titles."""
    if isinstance(node, list):
        return [_cleaned(inner) for inner in node if inner != {"type": "null"}]
    if not isinstance(node, dict):
        return node
    cleaned = {
        key: _cleaned(inner)
        for key, inner in node.items()
        if not (key == "default" and inner is None) and not (key == "title" and isinstance(inner, str))
    }
    options = cleaned.get("anyOf")
    if isinstance(options, list) and len(options) == 1:
        cleaned.pop("anyOf")
        cleaned = {**options[0], **cleaned}
    return cleaned
