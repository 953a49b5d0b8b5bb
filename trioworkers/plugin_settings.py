"""What a plugin declares its settings with.

    from trioworkers.plugin_settings import PluginSettings, Seconds, live

    class Settings(PluginSettings):
        window: Seconds = live("30s", "for how long a key counts", gt=0)

A class of the name `Settings` in a plugin's module describes the table `[plugins.NAME]`: the table is
validated when the fleet file is read, its problems are reported with file, line and column, and it becomes
part of `trioworkers schema`. All settings of plugins are live.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from trioworkers.config.declare import REQUIRED, Number, Text, live
from trioworkers.config.secret import Secret
from trioworkers.config.units import Bytes, Seconds
from trioworkers.config.values import expected, refused

__all__ = [
    "REQUIRED",
    "Bytes",
    "Number",
    "PluginSettings",
    "Seconds",
    "Secret",
    "Text",
    "expected",
    "live",
    "refused",
]


class PluginSettings(BaseModel):
    """The base of a plugin's settings: frozen, without unknown keys; its errors quote no value."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=True,
        arbitrary_types_allowed=True,
    )
