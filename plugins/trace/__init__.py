"""The trace plugin: each update's way in a log of its own, and as spans of OpenTelemetry.

The daemon's side is in :mod:`trioworkers_plugins.trace.plugin`. A worker imports only
:mod:`trioworkers_plugins.trace.worker` and :mod:`trioworkers_plugins.trace.ids`, so nothing is imported here.
"""
