"""Measures trioworkers on this machine: `scripts/bench inbox`, `scripts/bench fleet`.

Each figure stands beside what it is compared to, measured in the same run, and their ratio. Nothing here
is a test: figures of another machine prove nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import fleet, inbox


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("inbox", help="accept and done per second, beside bare SQLite")
    verb.add_argument("--producers", type=int, nargs="+", default=[1, 16, 256])
    verb.add_argument("--bots", type=int, default=10)
    verb.add_argument("--seconds", type=float, default=3.0, help="about how long each figure takes")
    verb.set_defaults(run=lambda args: inbox.run(args.producers, args.bots, args.seconds))
    verb = verbs.add_parser("fleet", help="updates per second from a stand-in Bot API to its sendMessage")
    verb.add_argument("--bots", type=int, nargs="+", default=[1, 10, 50])
    verb.add_argument("--updates", type=int, default=5000)
    verb.add_argument("--start", choices=["fork", "spawn"], nargs="+", default=["fork", "spawn"])
    verb.set_defaults(run=lambda args: fleet.run(args.bots, args.start, args.updates))
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
