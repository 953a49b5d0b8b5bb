"""The command `trioworkers`. Each verb is a module here, imported when it is called."""

from __future__ import annotations

from trioworkers.cli.main import main

__all__ = ["main"]
