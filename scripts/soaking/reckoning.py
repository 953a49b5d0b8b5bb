"""The reckoning: what has to hold after everything, found broken from outside.

Telegram says which updates it was allowed to forget and which answers it took; the bots' notes say what was
handled when; the inbox's file and the daemon's log say what trioworkers knows of it.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from hashlib import blake2b
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from soaking.programs import reckon_programs
from soaking.soak_bot import deed
from soaking.telegram import CANARY
from trioworkers.testing.invariants import Handled, broken_order, broken_replies, broken_tally

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

MEMORY_GROWTH, MEMORY_SLACK = 1.10, 6.0  # at most a tenth and so many MB more at the end than after warm-up
DESCRIPTORS_SLACK = 0.10, 16  # at most a tenth and so many more
WARM_UP = 0.25  # the share of a life that is not looked at


class Sample(NamedTuple):
    """The daemon at one moment: its life's number, seconds, MB of PSS, open descriptors."""

    life: int
    at: float
    memory: float
    descriptors: int


class Left(NamedTuple):
    """What a fleet has left whose daemons have ended: its inbox, its bots' notes, its daemons' logs.

    `untold`: :func:`begun_calls` of each daemon that was killed.
    """

    inbox: Path
    notes: Path
    logs: Sequence[Path]
    untold: Sequence[Collection[str]] = ()


def begun_calls(inbox: Path) -> set[str]:
    """Right after a daemon was killed: the updates of which it had recorded a call that has no answer.

    A worker says that it repeats such a call, and makes it. If the daemon is killed before it has read that,
    this one repetition is not logged.
    """
    with closing(sqlite3.connect(f"file:{inbox}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT bot_id, update_id FROM inbox WHERE EXISTS"
            " (SELECT 1 FROM calls WHERE calls.id = inbox.id AND answer IS NULL)"
        )
        return {trace(f"{bot_id}:{update_id}") for bot_id, update_id in rows}


def reckon(left: Left, report: dict[str, Any], seed: int) -> tuple[list[str], dict[str, int]]:
    """What is broken, in words without content, and the figures.

    Args:
        left: what the fleet has left.
        report: what Telegram knows (:mod:`soaking.telegram`).
        seed: of the bots' deeds.
    """
    inbox = left.inbox
    told = [event for log in left.logs for event in events(log, ("update.repeated", "update.retried"))]
    marked = Counter(event["trace_id"] for event in told if event["event"] == "update.repeated")
    logged = marked.total()
    answers = Counter(key for key, _ in report["answers"])
    with closing(sqlite3.connect(f"file:{inbox}?mode=ro", uri=True)) as connection:
        dead: defaultdict[int, set[int]] = defaultdict(set)
        for bot_id, update_id in connection.execute("SELECT bot_id, update_id FROM dead"):
            dead[bot_id].add(update_id)
        sums = connection.execute(
            "SELECT sum(accepted), sum(duplicates), sum(done), sum(dropped), sum(expired), sum(dead),"
            " sum(filtered)"
            " FROM tally"
        ).fetchone()
        (pending,) = connection.execute("SELECT count(*) FROM inbox").fetchone()
    broken = [f"{pending} updates are still pending"] if pending else []
    handled = 0
    programs = {one["id"]: one for one in report["programs"]}
    for name, bot in report["bots"].items():
        if bot["id"] in programs:
            broken += [f"{name}: {what}" for what in broken_tally(inbox, bot["id"], bot["confirmed"])]
            broken += [f"{name}: updates were never fetched"] if bot["expired"] else []
            continue
        order = [*handlings(left.notes / str(bot["id"]))]
        handled += len(order)
        found = [
            *broken_tally(inbox, bot["id"], bot["confirmed"]),
            *broken_order(order, gaps=dead[bot["id"]]),
            *unanswered(bot, dead[bot["id"]], answers, seed),
        ]
        broken += [f"{name}: {what}" for what in found]
    keys = {trace(key): key for key in answers}
    made = [trace(key) for key, _ in report["answers"]]
    for begun in left.untold:
        marked.update(begun)
    broken += [f"{what} ({keys[what.partition(' ')[0]]})" for what in broken_replies(made, marked=marked)]
    letters = {bot_id: len(ids) for bot_id, ids in dead.items()}
    found, of_programs = reckon_programs(programs.values(), letters)
    broken += found
    names = ("accepted", "duplicates", "done", "dropped", "expired", "dead", "filtered")
    figures = dict(zip(names, sums, strict=True)) | {
        "pending": pending,
        "confirmed": sum(len(bot["confirmed"]) for bot in report["bots"].values()),
        "handlings": handled,
        "retries": len(told) - logged,
        "answers": answers.total(),
        "answers made again": answers.total() - len(answers),
        "marked as such": logged,
        **(of_programs if programs else {}),
    }
    return broken, figures


def unanswered(bot: dict[str, Any], dead: Collection[int], answers: Counter[str], seed: int) -> list[str]:
    """Whether each update that came was answered, unless it is dead or its handler dropped it."""
    keys = {f"{bot['id']}:{update_id}": update_id for update_id in bot["confirmed"]}
    lost = [
        key
        for key, update_id in keys.items()
        if key not in answers and update_id not in dead and deed(seed, key, 0) != "drop"
    ]
    found = [f"{len(lost)} updates were never answered: {lost[:5]}"] if lost else []
    if bot["expired"]:
        found.append(f"{len(bot['expired'])} updates were never fetched")
    return found


def handlings(notes: Path) -> Iterator[Handled]:
    """What a bot noted, in its order."""
    if notes.exists():
        for line in notes.read_text().splitlines():
            chat, update_id, gap, *_ = line.split()
            yield Handled(chat, int(update_id), gap == "1")


def events(log: Path, names: Collection[str]) -> Iterator[dict[str, Any]]:
    """The events of those names in a daemon's log."""
    with log.open(errors="replace") as lines:
        for line in lines:
            if line.startswith("{") and any(name in line for name in names):
                try:
                    event = json.loads(line)
                except ValueError:  # cut off by a SIGKILL
                    continue
                if event["event"] in names:
                    yield event


def trace(key: str) -> str:
    """The trace id of the update with that idempotency key."""
    return blake2b(key.encode(), digest_size=16).hexdigest()


def leaks(texts: Iterable[tuple[str, str]], tokens: Collection[str]) -> list[str]:
    """Which of these named texts hold a token's secret, or something that people said."""
    secrets = {"a token": {token.partition(":")[2] for token in tokens}, "a message": {CANARY}}
    return [
        f"{name} holds {what}"
        for name, text in texts
        for what, words in secrets.items()
        if any(word in text for word in words)
    ]


def growth(samples: Sequence[Sample]) -> tuple[dict[str, float], list[str]]:
    """How the daemon's last life went from after its warm-up to its end, and whether it grew.

    Compared are the medians of the first and the last fifth of the samples.
    """
    last = [sample for sample in samples if sample.life == samples[-1].life] if samples else []
    warm = last[int(len(last) * WARM_UP) :]
    if len(warm) < 5:
        return {}, ["the daemon's last life was too short to be measured"]
    fifth = max(1, len(warm) // 5)
    first, end = warm[:fifth], warm[-fifth:]
    memory = [round(median(sample.memory for sample in part), 1) for part in (first, end)]
    descriptors = [median(sample.descriptors for sample in part) for part in (first, end)]
    broken = []
    if memory[1] > memory[0] * MEMORY_GROWTH + MEMORY_SLACK:
        broken.append(f"the daemon grew from {memory[0]} to {memory[1]} MB")
    share, more = DESCRIPTORS_SLACK
    if descriptors[1] > descriptors[0] * (1 + share) + more:
        broken.append(f"the daemon's descriptors grew from {descriptors[0]:g} to {descriptors[1]:g}")
    seconds = round(end[-1].at - first[0].at)
    figures = {"seconds": seconds, "MB first": memory[0], "MB last": memory[1]}
    return figures | {"descriptors first": descriptors[0], "descriptors last": descriptors[1]}, broken
