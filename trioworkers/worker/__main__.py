"""`python -m trioworkers.worker [zygote] DESCRIPTOR`: how the daemon starts workers; not for people.

`probe DESCRIPTOR HANDLER FOLDER…` tries to import a handler.
"""

import sys

from trioworkers.user_modules import put_python_first

put_python_first()

# httpx imports its command line with its package, and that click, rich and pygments: 33 ms and 5 MB of a
# worker for what it never does. httpx is made for it to be missing.
sys.modules["httpx._main"] = None  # type: ignore[assignment]

if sys.argv[1] == "zygote":
    from trioworkers.worker.zygote import main

    main(int(sys.argv[2]))
elif sys.argv[1] == "probe":
    from trioworkers.worker.probe import answer_probe

    answer_probe(int(sys.argv[2]), sys.argv[3], sys.argv[4:])
else:
    from trioworkers.worker.process import work

    sys.exit(work(int(sys.argv[1])))
