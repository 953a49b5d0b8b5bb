"""The fleet file: what may stand in it, and what it says."""

from trioworkers.config.cluster import ClusterSettings
from trioworkers.config.dynamic import Draft, NotDynamicError, draft_bot, draft_removal
from trioworkers.config.fleet import Fleet
from trioworkers.config.fleetfile import find_fleet_file, load_fleet
from trioworkers.config.given import with_given
from trioworkers.config.in_force import FleetInForce
from trioworkers.config.lean import find_bot_names, find_log_dir, find_runtime_dir
from trioworkers.config.plan import Plan, plan_lines, plan_reload
from trioworkers.config.problems import FleetFileError, Problem
from trioworkers.config.schema import fleet_schema, reload_class
from trioworkers.config.secret import Secret
from trioworkers.config.serving import Served, read_served
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
from trioworkers.config.watched import Watched

__all__ = [
    "Api",
    "Bind",
    "BotSettings",
    "ClusterSettings",
    "Draft",
    "Fleet",
    "FleetFileError",
    "FleetInForce",
    "Limits",
    "LogSettings",
    "NotDynamicError",
    "Plan",
    "Problem",
    "RateLimit",
    "RestartSettings",
    "RetrySettings",
    "Secret",
    "Served",
    "Shard",
    "StoreSettings",
    "Watched",
    "Webhook",
    "draft_bot",
    "draft_removal",
    "find_bot_names",
    "find_fleet_file",
    "find_log_dir",
    "find_runtime_dir",
    "fleet_schema",
    "load_fleet",
    "plan_lines",
    "plan_reload",
    "read_served",
    "reload_class",
    "with_given",
]
