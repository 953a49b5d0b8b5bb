"""Several nodes on one database, through kills, freezes and failovers: `scripts/soak-cluster --help`."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from soaking.clocks import can_jump
from soaking.cluster import ClusterSoak
from soaking.cluster_schedule import TROUBLES, USUAL, Plan
from soaking.servers import is_installed
from soaking.shown import finish

LEAST = 90.0  # seconds


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak-cluster", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1200.0, help="of load (20 minutes)")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--bots", type=int, default=60)
    parser.add_argument("--rate", type=float, default=30.0, help="updates a second")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two absences of a node")
    parser.add_argument("--lease", type=float, default=15.0, help="seconds, as [cluster] lease")
    parser.add_argument(
        "--troubles",
        nargs="+",
        default=list(USUAL),
        choices=TROUBLES,
        help="what befalls nodes and server; cut wants root, jump a C compiler",
    )
    parser.add_argument("--seed", type=int, help="the same seed does the same things at the same times")
    parser.add_argument("--json", action="store_true", help="the summary as JSON on standard output")
    parser.add_argument("--keep", type=Path, help="a new folder to work in, which is kept")
    options = parser.parse_args()
    if options.seconds < LEAST or options.bots < 10 or options.nodes < 1:
        parser.error(f"expected {LEAST:g} seconds, 10 bots and a node at least")
    if not is_installed():
        parser.error("expected the programs of a PostgreSQL server, such as Debian's package postgresql")
    if "cut" in options.troubles and os.geteuid() != 0:
        parser.error("expected root, who alone may make networks for --troubles cut")
    if "jump" in options.troubles and not can_jump():
        parser.error("expected cc, a C compiler, for --troubles jump")
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    plan = Plan(
        seed,
        options.seconds,
        options.nodes,
        options.bots,
        options.rate,
        lease=options.lease,
        every=options.every,
        troubles=tuple(options.troubles),
    )
    tell = partial(print, file=sys.stderr, flush=True)
    load = f"{plan.bots} bots, {plan.rate:g} updates/s for {plan.seconds:g} s"
    tell(f"soak: {plan.nodes} nodes, {load}, seed {seed}")
    began = time.monotonic()
    # its daemons and servers are ended in either case
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        folder = options.keep or Path(temporary)
        if options.keep:
            folder.mkdir(parents=True)
            folder = folder.resolve()
        soak = ClusterSoak(folder, plan, tell)
        trio.run(soak.run)
    summary = {"seed": seed, "nodes": plan.nodes, "bots": plan.bots, "took": round(time.monotonic() - began)}
    summary |= {**soak.figures, "broken": soak.broken}
    return finish(summary, as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
