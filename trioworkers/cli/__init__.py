"""The command `trioworkers`. Each verb is a module here, imported when it is called.

What the command imports is Python's own and ours, also where `PYTHONPATH` or the working directory has a
`secrets.py` or a `calendar.py`: this is seen to before anything else is imported.
"""

from __future__ import annotations

import gc
import sys

from trioworkers.user_modules import put_python_first

put_python_first()
# as in workers: httpx's own command line, with rich and pygments, is 4 MB and a tenth of the imports
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
gc.disable()  # what is imported is no garbage; to look for some takes a seventh of the time

from trioworkers.cli.main import main  # noqa: E402 - the search for it is put in order first

gc.freeze()
gc.enable()

__all__ = ["main"]
