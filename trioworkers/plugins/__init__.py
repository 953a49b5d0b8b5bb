"""Plugins: found, loaded and called, so that a plugin's failure stays the plugin's own."""

from trioworkers.plugins.errors import PluginError
from trioworkers.plugins.loading import load_installed, load_plugins
from trioworkers.plugins.plugin import Origin, Plugin
from trioworkers.plugins.registry import Plugins

__all__ = ["Origin", "Plugin", "PluginError", "Plugins", "load_installed", "load_plugins"]
