"""How a bot's table stands over `[defaults]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRETS = ("token", "proxy")


def merge(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a bot's table over `[defaults]`; tables merge key by key, a secret replaces the other whole.

    A bot's own command replaces the handler of the defaults, and its own handler their command.
    """
    for key, other in (("command", "handler"), ("handler", "command")):
        if key in own and other not in own:
            defaults = {name: value for name, value in defaults.items() if name != other}
    return _merge(defaults, own)


def _merge(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**defaults, **own}
    for key, value in own.items():
        default = defaults.get(key)
        # { env = "A" } over { file = "b" } must not become both.
        if key not in SECRETS and isinstance(value, dict) and isinstance(default, dict):
            merged[key] = _merge(default, value)
    return merged
