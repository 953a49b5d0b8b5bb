"""Tries what docs/comparison.md says: `scripts/compare/run`. Outcomes are kept in `.bench/compare.json`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import foreign
from compare.contenders import CONTENDERS
from compare.trials import TRIALS, Scene

from trioworkers.testing import TelegramThread

NAMES = ("one", "two", "three")


def main() -> None:
    """Run the trials that are asked for, one after the other, and print a line for each outcome."""
    parser = argparse.ArgumentParser(prog="scripts/compare/run", description=__doc__)
    parser.add_argument("--products", nargs="+", default=list(CONTENDERS), choices=CONTENDERS)
    parser.add_argument("--trials", nargs="+", default=list(TRIALS), choices=TRIALS)
    parser.add_argument("--at-once", type=int, default=3, help="products; they mostly wait")
    args = parser.parse_args()
    kept_in = foreign.FOLDER / "compare.json"
    foreign.node_modules()
    foreign.python()
    kept = json.loads(kept_in.read_text()) if kept_in.exists() else {}
    for trial in args.trials:
        with ThreadPoolExecutor(args.at_once) as pool:
            outcomes = pool.map(lambda product, trial=trial: attempt(product, trial), args.products)
            for product, outcome in zip(args.products, outcomes, strict=True):
                today = datetime.now(tz=UTC).date().isoformat()
                kept.setdefault(trial, {})[product] = {"outcome": outcome, "date": today}
                kept_in.write_text(json.dumps(kept, indent=1))
                print(f"{trial}: {product}: {outcome}", flush=True)


def attempt(product: str, trial: str) -> str:
    """Start a product with three bots beside a simulated Telegram, and let one thing happen to it."""
    happen, crash = TRIALS[trial]
    with (
        tempfile.TemporaryDirectory(prefix="compare-", ignore_cleanup_errors=True) as folder,
        TelegramThread() as telegram,
    ):
        names = (
            NAMES if trial != "memory of 50 bots" else (*NAMES, *(f"more{number}" for number in range(47)))
        )
        bots = {name: telegram.add_bot(f"{name}_bot") for name in names}
        tokens = {name: bot.token for name, bot in bots.items()}
        contender = CONTENDERS[product](Path(folder), telegram.base_url, tokens, crash)
        contender.start()
        try:
            return happen(Scene(contender, telegram, bots))
        finally:
            contender.stop()
            contender.clean()


if __name__ == "__main__":
    main()
