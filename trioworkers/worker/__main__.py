"""`python -m trioworkers.worker DESCRIPTOR`: how the daemon starts a worker; not for people."""

import sys

from trioworkers.worker.process import main

main(int(sys.argv[1]))
