"""`python -m trioworkers.worker DESCRIPTOR`: how the daemon starts a worker; not for people."""

import sys

# httpx imports its command line with its package, and that click, rich and pygments: 33 ms and 5 MB of a
# worker for what it never does. httpx is made for it to be missing.
sys.modules["httpx._main"] = None  # type: ignore[assignment]

from trioworkers.worker.process import main  # noqa: E402 - only now

main(int(sys.argv[1]))
