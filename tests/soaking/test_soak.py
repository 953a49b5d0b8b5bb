"""The soak's own parts: its schedule is the seed's alone, and its reckoning finds what is broken."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from soaking.programs import KINDS, kind_of, make_program, reckon_programs
from soaking.reckoning import Sample, begun_calls, growth, leaks, trace, unanswered
from soaking.schedule import FAULTS, LAST_LIFE, make_schedule
from soaking.soak_bot import DEEDS, deed
from soaking.telegram import CANARY, spoil

from trioworkers.config import BotSettings


@pytest.mark.parametrize("seconds", [30, 45, 1200])
def test_a_seed_makes_one_schedule_with_everything_in_it(seconds):
    """However short it is; and the daemon is left alone in the last part."""
    steps = make_schedule(7, seconds, 20)
    assert steps == make_schedule(7, seconds, 20)
    assert steps != make_schedule(8, seconds, 20)
    assert steps == sorted(steps)
    assert {step.what for step in steps} == {step.what for step in make_schedule(7, 1200, 200)}
    assert all(0 < step.at < seconds for step in steps)
    assert max(step.at for step in steps if step.what.endswith("daemon")) < seconds * LAST_LIFE


def test_every_fault_of_the_schedule_is_one():
    """What took effect is answered badly, what did not is refused."""
    for kind in {kind for kinds in FAULTS.values() for kind in kinds}:
        assert spoil(kind).executes == (kind.startswith("made") or kind in ("slow", "late")), kind


def test_deeds_are_decided_by_seed_update_and_attempt():
    """About as often as it is written; a poisonous update stays one."""
    first = {f"1:{number}": deed(5, f"1:{number}", 0) for number in range(20_000)}
    found = Counter(first.values())
    for name, share in DEEDS:
        assert found[name] <= 20_000 * share * 2 + 5
    assert found["answer"] > 18_000
    poison = next(key for key, what in first.items() if what == "be killed each time")
    assert deed(5, poison, 2) == "be killed each time"


def test_a_lost_answer_is_found():
    """Unless the update is dead, or its handler dropped it."""
    keys = [f"1:{number}" for number in range(3000)]
    dropped = {key for key in keys if deed(5, key, 0) == "drop"}
    answers = Counter(key for key in keys if key not in dropped and key not in ("1:1", "1:2"))
    bot = {"id": 1, "confirmed": list(range(3000)), "expired": []}
    assert dropped
    assert unanswered(bot, {1, 2}, answers, 5) == []
    assert unanswered(bot, {1}, answers, 5) == ["1 updates were never answered: ['1:2']"]
    assert unanswered(bot | {"expired": [9]}, {1, 2}, answers, 5) == ["1 updates were never fetched"]


def program(acknowledge, said, answers):
    """What Telegram tells of a program of that kind."""
    number = next(place for place, kind in enumerate(KINDS) if kind.acknowledge == acknowledge)
    return {"name": "program", "id": 7, "number": number, "said": said, "answers": answers}


def test_what_was_promised_for_programs_is_reckoned():
    """What is lost, out of order or made up; under receipt, losses are counted, and a few under quiet."""
    figures = reckon_programs([], {})[1]
    assert set(figures.values()) == {0}
    whole = [(1, 3), (2, 4), (1, 5), (1, 5), (1, 3)]
    assert reckon_programs([program("poll", [3, 4, 5], whole)], {}) == (
        [],
        figures | {"said to programs": 3, "answered again": 2},
    )
    lost = program("poll", [3, 4, 5], [(1, 3)])
    assert reckon_programs([lost], {7: 2})[0] == []
    assert reckon_programs([lost], {7: 1})[0] == ["program: 2 were never answered: [4, 5]"]
    assert reckon_programs([program("receipt", [3, 4], [(1, 4)])], {}) == (
        [],
        figures | {"said to programs": 2, "lost as receipt permits": 1},
    )
    turned = [(1, 5), (1, 3)]
    assert reckon_programs([program("poll", [3, 5], turned)], {})[0] == ["program: 3 was answered after 5"]
    assert reckon_programs([program("receipt", [3, 5], turned)], {})[0] == []
    many = [(1, number) for number in (1, 0, *range(2, 299))]
    assert reckon_programs([program("quiet", range(300), many)], {}) == (
        [],
        figures | {"said to programs": 300, "missed as quiet permits": 2},
    )
    few = program("quiet", range(300), many[:290])
    assert reckon_programs([few], {})[0] == [
        "program: 10 were never answered: [290, 291, 292, 293, 294]",
        "program: 0 was answered after 1",
    ]
    made_up = reckon_programs([program("receipt", [3], [(1, 3), (1, 9)])], {})[0]
    assert made_up == ["program: 1 answers to what nobody said"]


def test_programs_are_of_all_kinds_and_their_tables_are_good():
    """Each kind is there once in turn; each table is one that a fleet takes."""
    tables = [make_program(number, f"{number + 1}:secret") for number in range(len(KINDS))]
    assert {kind_of(number) for number in range(len(KINDS))} == set(KINDS)
    for number, table in enumerate(tables):
        bot = BotSettings.model_validate({**table, "name": f"program{number}"})
        assert bot.acknowledge == kind_of(number).acknowledge
        assert (Path(table["cwd"]) / table["command"][1]).is_file()


def test_programs_are_killed_where_there_are_some():
    """Without them, a seed makes the schedule that it made before there were any."""
    steps, without = make_schedule(7, 300, 20, 9), make_schedule(7, 300, 20)
    assert [step for step in steps if step.what != "kill program"] == without
    assert len(steps) > len(without) + 5


def test_leaks_are_found():
    """A token by its secret part; a message by what is in all of them."""
    texts = [("good", "bot 12 runs"), ("bad", "12:abcdef"), ("worse", f"handled {CANARY} 7")]
    assert leaks(texts, ["12:abcdef"]) == ["bad holds a token", "worse holds a message"]


def test_growth_is_found():
    """Of the last life alone, after its warm-up."""
    earlier = [Sample(1, at, 500, 900) for at in range(20)]
    flat = [Sample(2, 20 + at, 60 + at % 3, 300) for at in range(40)]
    assert growth([*earlier, *flat])[1] == []
    fat = [sample._replace(memory=60 + sample.at) for sample in flat]
    leaky = [sample._replace(descriptors=300 + round(sample.at * 5)) for sample in flat]
    assert "MB" in growth([*earlier, *fat])[1][0]
    assert "descriptors" in growth([*earlier, *leaky])[1][0]
    assert growth(flat[:3])[1] == ["the daemon's last life was too short to be measured"]


def test_repetitions_that_a_killed_daemon_may_have_heard_of_are_those_of_calls_without_an_answer(tmp_path):
    """Of those that nobody knew of, or whose answer is known, none may be made without a word."""
    inbox = tmp_path / "inbox.db"
    with closing(sqlite3.connect(inbox)) as connection, connection:
        connection.execute("CREATE TABLE inbox (id, bot_id, update_id)")
        connection.execute("CREATE TABLE calls (id, key, answer)")
        connection.executemany("INSERT INTO inbox VALUES (?, 7, ?)", [(1, 11), (2, 12), (3, 13)])
        connection.executemany(
            "INSERT INTO calls VALUES (?, ?, ?)", [(1, "a", None), (1, "b", b"1"), (2, "a", b"1")]
        )
    assert begun_calls(inbox) == {trace("7:11")}
