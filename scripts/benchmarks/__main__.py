"""Measures trioworkers on this machine: `scripts/bench all`, `inbox`, `fleet` and the like.

Each figure stands beside what it is compared to, measured in the same run, and their ratio. Nothing here
is a test: figures of another machine prove nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import (
    beside,
    cluster,
    command,
    dashboard,
    demand,
    fleet,
    frames,
    inbox,
    live,
    metrics,
    plugged,
    postgres,
    queues,
    reload,
    start,
    webhook,
    webhook_kills,
    worker,
)
from benchmarks.products import PRODUCTS

QUEUE_PARTS = ["storm", "blocked", "million"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("all", help="beside what users run today; wants node and npm")
    verb.add_argument("--bots", type=int, nargs="+", default=[10, 50])
    verb.add_argument("--products", nargs="+", default=list(PRODUCTS), choices=PRODUCTS)
    verb.add_argument(
        "--only",
        nargs="*",
        default=beside.PARTS,
        choices=beside.PARTS,
        help="what is measured; nothing prints what was measured before",
    )
    verb.add_argument("--rounds", type=int, default=1, help="in which the products take turns; medians")
    verb.set_defaults(run=lambda args: beside.run(args.bots, args.only, args.products, args.rounds))
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
    verb = verbs.add_parser("command", help="bots of other libraries, in turns with themselves without us")
    verb.add_argument("--only", nargs="+", default=list(command.PROGRAMS), choices=command.PROGRAMS)
    verb.add_argument("--updates", type=int, default=1500, help="of each burst")
    verb.add_argument("--rounds", type=int, default=1)
    verb.add_argument("--acknowledge", default="probe", help="what `auto` chooses, or another")
    verb.set_defaults(run=lambda args: command.run(args.only, args.updates, args.rounds, args.acknowledge))
    verb = verbs.add_parser("dashboard", help="frames, memory and cost of a page before many bots under load")
    verb.add_argument("--bots", type=int, default=1000)
    verb.add_argument("--rate", type=float, default=500.0, help="updates per second in all")
    verb.add_argument(
        "--seconds", type=float, default=60.0, help="that the page is watched; 600 for its memory"
    )
    verb.add_argument("--pictures", type=Path, help="a folder for a picture of the page at the end")
    verb.set_defaults(run=lambda args: dashboard.run(args.bots, args.rate, args.seconds, args.pictures))
    verb = verbs.add_parser("demand", help="a large fleet of bots that sleep until they are wanted")
    verb.add_argument("--bots", type=int, default=10_000)
    verb.add_argument("--awake", type=int, default=200)
    verb.add_argument("--rounds", type=int, default=10, help="of updates to as many bots as may be awake")
    verb.set_defaults(run=lambda args: demand.run(args.bots, args.awake, args.rounds))
    verb = verbs.add_parser("reload", help="from the write of an edited setting until it is in force")
    verb.add_argument("--bots", type=int, default=500)
    verb.add_argument("--edits", type=int, default=20)
    verb.set_defaults(run=lambda args: reload.run(args.bots, args.edits))
    verb = verbs.add_parser("start", help="until all bots of a large fleet poll, and what they take")
    verb.add_argument("--bots", type=int, default=1000)
    verb.add_argument("--rounds", type=int, default=3)
    verb.add_argument("--rate", type=float, default=2000.0, help="limits.start_rate")
    verb.add_argument(
        "--beside", type=Path, nargs="*", default=[], help="other checkouts with their own .venv, in turns"
    )
    verb.set_defaults(
        run=lambda args: start.run(args.bots, args.rounds, args.rate, [one.resolve() for one in args.beside])
    )
    verb = verbs.add_parser("queue", help="a storm of failures and kills, a blocked chat, a million chats")
    verb.add_argument("--parts", nargs="+", default=QUEUE_PARTS, choices=QUEUE_PARTS)
    verb.add_argument(
        "--updates", type=int, default=100_000, help="of the storm, and behind the blocked chat"
    )
    verb.add_argument("--waiting", type=int, default=1_000_000)
    verb.add_argument("--limit", type=float, default=1800.0, help="seconds after which a storm has failed")
    verb.set_defaults(run=lambda args: queues.run(args.parts, args.updates, args.waiting, args.limit))
    verb = verbs.add_parser("frames", help="what batches of frames and of outcomes give")
    verb.add_argument("--updates", type=int, default=20_000)
    verb.set_defaults(run=lambda args: frames.run(args.updates))
    verb = verbs.add_parser("worker", help="what an update costs one worker, beside nothing else")
    verb.add_argument("--chats", type=int, nargs="+", default=[1, 4, 10])
    verb.add_argument("--updates", type=int, default=10_000)
    verb.set_defaults(run=lambda args: worker.run(args.chats, args.updates))
    verb = verbs.add_parser("live", help="what clients of the live stream cost, in turns with none")
    verb.add_argument("--bots", type=int, default=1000)
    verb.add_argument("--rate", type=float, default=500.0, help="updates per second")
    verb.add_argument("--clients", type=int, default=10)
    verb.add_argument("--seconds", type=float, default=20.0, help="of each turn")
    verb.add_argument("--rounds", type=int, default=3)
    verb.set_defaults(
        run=lambda args: live.run(args.bots, args.rate, args.clients, args.seconds, args.rounds)
    )
    verb = verbs.add_parser("metrics", help="what a scrape costs, and how long it holds up the loop")
    verb.add_argument("--bots", type=int, default=1000)
    verb.add_argument("--scrapes", type=int, default=20)
    verb.add_argument("--busy", action="store_true", help="the loop works for half of the time")
    verb.set_defaults(run=lambda args: metrics.run(args.bots, args.scrapes, busy=args.busy))
    verb = verbs.add_parser("plugins", help="what plugins cost on the way of updates, in turns with none")
    verb.add_argument("--bots", type=int, default=10)
    verb.add_argument("--only", nargs="+", default=list(plugged.VARIANTS), choices=plugged.VARIANTS)
    verb.add_argument("--rounds", type=int, default=3)
    verb.set_defaults(run=lambda args: plugged.run(args.bots, args.only, args.rounds))
    verb = verbs.add_parser("postgres", help="accept and done per second on a server, in turns with SQLite")
    verb.add_argument("--producers", type=int, nargs="+", default=[1, 16, 256])
    verb.add_argument("--bots", type=int, default=10)
    verb.add_argument("--seconds", type=float, default=3.0, help="about how long each figure takes")
    verb.add_argument("--rounds", type=int, default=3)
    verb.add_argument("--snapshot", type=float, default=0.0, help="seconds for which one is held open")
    verb.set_defaults(
        run=lambda args: postgres.run(args.producers, args.bots, args.seconds, args.rounds, args.snapshot)
    )
    verb = verbs.add_parser("cluster", help="accept and done per second of several nodes on one server")
    verb.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4])
    verb.add_argument("--producers", type=int, default=256, help="of each node")
    verb.add_argument("--bots", type=int, default=10, help="of each node")
    verb.add_argument("--seconds", type=float, default=5.0, help="of each turn")
    verb.add_argument("--rounds", type=int, default=3)
    verb.set_defaults(
        run=lambda args: cluster.run(args.nodes, args.producers, args.bots, args.seconds, args.rounds)
    )
    verb = verbs.add_parser("webhook", help="deliveries per second, beside bare hypercorn and aiogram")
    verb.add_argument("--bots", type=int, default=10)
    verb.add_argument("--connections", type=int, default=64)
    verb.add_argument("--seconds", type=float, default=3.0, help="how long each server runs in a round")
    verb.add_argument("--rounds", type=int, default=3)
    verb.set_defaults(run=lambda args: webhook.run(args.bots, args.connections, args.seconds, args.rounds))
    verb = verbs.add_parser("webhook-kills", help="nothing is lost when the daemon is killed over and over")
    verb.add_argument("--bots", type=int, default=50)
    verb.add_argument("--updates", type=int, default=50_000)
    verb.add_argument("--kills", type=int, default=3)
    verb.set_defaults(run=lambda args: webhook_kills.run(args.bots, args.updates, args.kills))
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
