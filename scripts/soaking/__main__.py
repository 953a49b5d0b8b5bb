"""A fleet under load, kills, reloads and a failing Bot API: `scripts/soak --help`."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from soaking.conduct import Soak
from soaking.programs import LIBRARIES
from soaking.shown import finish


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1200.0, help="of load (20 minutes)")
    parser.add_argument("--bots", type=int, default=200)
    parser.add_argument("--commands", type=int, default=0, help="further bots: programs of other libraries")
    parser.add_argument("--seed", type=int, help="the same seed does the same things at the same times")
    parser.add_argument("--json", action="store_true", help="the summary as JSON on standard output")
    parser.add_argument("--keep", type=Path, help="a new folder to work in, which is kept")
    options = parser.parse_args()
    if options.seconds < 30 or options.bots < 10:
        parser.error("expected 30 seconds and 10 bots at least")
    if options.commands and not (LIBRARIES / "installed").exists():
        parser.error(f"expected the libraries of bots in {LIBRARIES}, which scripts/soak fetches")
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    tell = partial(print, file=sys.stderr, flush=True)
    programs = f" and {options.commands} programs" if options.commands else ""
    tell(f"soak: {options.bots} bots{programs}, {options.seconds:g} s, seed {seed}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        folder = options.keep or Path(temporary)
        if options.keep:
            folder.mkdir(parents=True)
            folder = folder.resolve()
        soak = Soak(
            folder,
            seed=seed,
            seconds=options.seconds,
            bots=options.bots,
            programs=options.commands,
            tell=tell,
        )
        trio.run(soak.run)
    summary = {
        "seed": seed,
        "bots": options.bots,
        "programs": options.commands,
        "took": round(time.monotonic() - began),
    }
    summary |= {**soak.figures, "broken": soak.broken}
    return finish(summary, as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
