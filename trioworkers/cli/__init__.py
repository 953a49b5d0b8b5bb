"""The command `trioworkers`. Each verb is a module here, imported when it is called.

What the command imports is Python's own and ours, also where `PYTHONPATH` or the working directory has a
`secrets.py` or a `calendar.py`: this is seen to before anything else is imported.
"""

from __future__ import annotations

from trioworkers.user_modules import put_python_first

put_python_first()

from trioworkers.cli.main import main  # noqa: E402 - the search for it is put in order first

__all__ = ["main"]
