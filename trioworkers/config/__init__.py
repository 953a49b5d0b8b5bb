"""The fleet file: what may stand in it, and what it says."""

from trioworkers.config.fleet import Fleet
from trioworkers.config.fleetfile import find_fleet_file, load_fleet
from trioworkers.config.lean import find_bot_names, find_log_dir, find_runtime_dir
from trioworkers.config.problems import FleetFileError, Problem
from trioworkers.config.schema import fleet_schema, reload_class
from trioworkers.config.secret import Secret
from trioworkers.config.settings import (
    Api,
    BotSettings,
    Limits,
    LogSettings,
    RateLimit,
    RestartSettings,
    RetrySettings,
    StoreSettings,
    Webhook,
)
from trioworkers.config.values import Bind, Shard

__all__ = [
    "Api",
    "Bind",
    "BotSettings",
    "Fleet",
    "FleetFileError",
    "Limits",
    "LogSettings",
    "Problem",
    "RateLimit",
    "RestartSettings",
    "RetrySettings",
    "Secret",
    "Shard",
    "StoreSettings",
    "Webhook",
    "find_bot_names",
    "find_fleet_file",
    "find_log_dir",
    "find_runtime_dir",
    "fleet_schema",
    "load_fleet",
    "reload_class",
]
