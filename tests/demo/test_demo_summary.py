"""The demo's balance, and its people without any fleet."""

from __future__ import annotations

import io

import trio

from trioworkers.demo.fleet import ABOUT, TABLES
from trioworkers.demo.people import People, Town
from trioworkers.demo.screen import Screen
from trioworkers.demo.summary import Counts, Summary

GOOD = Counts(made=9, accepted=9, answered=5, done=5, dropped=1, retried=4, dead=2, pending=1)


def test_a_balance_in_which_something_is_missing_does_not_agree():
    """The demo would say so if an update were lost or handled twice."""
    lost = Counts(made=9, accepted=9, done=8)
    twice = Counts(made=9, accepted=9, done=10)
    nowhere = Counts(made=9, accepted=8, done=8)
    from_nowhere = Counts(made=9, accepted=10, done=10)
    still_there = Counts(made=9, unconfirmed=1, accepted=8, done=8)
    filtered = Counts(made=9, accepted=8, done=8, filtered=1)
    twice_filtered = Counts(made=9, accepted=9, done=9, filtered=1)
    assert GOOD.agree
    assert still_there.agree
    assert filtered.agree
    assert not any(counts.agree for counts in (lost, twice, nowhere, from_nowhere, twice_filtered))
    assert "Nothing was lost: 9 accepted" in Summary(1, 1, {"a": GOOD}).verdict()
    assert "1 more still at Telegram" in Summary(1, 1, {"a": still_there}).verdict()
    assert Summary(1, 1, {"a": filtered}).verdict().endswith("0 pending; 1 more filtered.")
    assert "do not agree" in Summary(1, 1, {"a": GOOD, "b": lost}).verdict()


def test_totals_are_the_sums_of_the_bots():
    """The document's own numbers are those of all bots together."""
    document = Summary(1.23, 2, {"a": GOOD, "b": GOOD}).document()
    assert document["seconds"] == 1.2
    assert (document["accepted"], document["retried"], document["agrees"]) == (18, 8, True)


def test_every_bot_is_introduced():
    """What the screen tells about bots and what the fleet file holds are the same bots."""
    assert set(ABOUT) == set(TABLES)


async def test_people_do_the_same_again_with_the_same_seed(autojump_clock):
    """A seed repeats what people do, to the tenth of a second, as long as bots answer alike."""
    said = []
    for _ in range(2):
        stream = io.StringIO()
        screen = Screen(stream, ABOUT, on_gone=lambda: None)
        screen.ready({}, "")
        town = Town(7, screen)
        people = People(town, {name: town.add_bot(name) for name in TABLES}, 4, 7, screen)
        with trio.move_on_after(60):
            await people.live()
        said.append(stream.getvalue())
        assert sum(town.updates.values()) == sum(map(town.pending, town.bots.values()))
    assert said[0] == said[1]
    assert "Alice → pizza  /order calzone" in said[0]
    assert said[0].count("→") > 20
    assert "\x1b" not in said[0]


def test_a_screen_that_is_gone_says_so_once_and_is_silent_then():
    """A closed terminal stops the demo; it does not break it."""

    class Closed(io.StringIO):
        def write(self, _):
            raise OSError(5, "Input/output error")

        def fileno(self):
            return spare.fileno()

    told = []
    with open("/dev/null", "w") as spare:
        screen = Screen(Closed(), ABOUT, on_gone=lambda: told.append(1))
        screen.say("one")
        screen.say("two")
    assert told == [1]
