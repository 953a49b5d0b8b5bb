"""What people see of a fleet, at 50, 80 and 120 columns and piped, as it stands in files."""

from __future__ import annotations

import pytest
from screens import GOLDEN, NOW, WIDTHS, document, fleet, kept, screens

from trioworkers.cli.fleet_screen import fleet_lines
from trioworkers.cli.shown import Paper, find_paper, printable
from trioworkers.top.words import shortened

SCREENS = dict(screens())


def test_every_screen_has_its_file() -> None:
    """And there is no file of a screen that is gone."""
    assert {file.stem for file in GOLDEN.glob("*.txt")} == SCREENS.keys()


@pytest.mark.parametrize("name", SCREENS)
def test_a_screen_is_as_it_stands_in_its_file(name: str) -> None:
    """After a change that is meant: `python tests/screens/screens.py`, and read the difference."""
    assert kept(SCREENS[name]) == (GOLDEN / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", [name for name in SCREENS if not name.endswith(("piped", "run", "late"))])
def test_no_line_is_wider_than_the_screen(name: str) -> None:
    """Where the names of bots have room."""
    width = int(name.rpartition("-")[2])
    assert [line for line in SCREENS[name] if len(line) > width] == []


@pytest.mark.parametrize("size", [3, 50, 1000])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_first_five_lines_say_what_is_wrong(size: int, width: int | None) -> None:
    """How many bots are not well, with how many of each kind, and the worst of it with the names of bots."""
    lines = fleet_lines(document(size), Paper(width), NOW)
    first = " ".join(line.strip() for line in lines[:5])
    count = sum(row["reason"] is not None or row["state"] == "backoff" for row in fleet(size))
    count += sum(not row["health"]["responsive"] for row in fleet(size))
    kinds = {
        3: "1 failed, 1 hears nothing",
        50: "3 failed, 1 crashed, 2 hear nothing",
        1000: "3 failed, 1 crashed, 143 hear nothing, 1 does not answer",
    }
    assert f"{count:,} of {size:,} bots are not well: {kinds[size]}" in first
    assert "failed (token refused): customer-support-emea-0002" in first
    if width is None or width >= 80:
        other = (
            "hears nothing for 1h 02m (another poller uses this token)"
            if size == 3
            else "restart budget spent"
        )
        assert other in first


@pytest.mark.parametrize("size", [3, 50, 1000])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_bot_is_named_whole(size: int, width: int | None) -> None:
    """Names tell bots apart by their ends."""
    shown = "\n".join(fleet_lines(document(size), Paper(width), NOW))
    assert [row["bot"] for row in fleet(size) if row["bot"] not in shown] == []


def test_piped_rows_are_whole_and_plain() -> None:
    """One line for each bot, with all that is known of it, and no colour."""
    lines = fleet_lines(document(50), Paper(), NOW)
    rows = {line.split()[0]: line for line in lines[-50:]}
    assert rows.keys() == {row["bot"] for row in fleet(50)}
    assert rows["customer-support-emea-0003"].endswith(
        "hears nothing for 1h 02m (another poller uses this token)"
    )
    assert "\x1b" not in "".join(lines)


def test_only_a_terminal_has_a_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever COLUMNS says, what is piped is whole."""
    monkeypatch.setenv("COLUMNS", "50")
    assert find_paper() == Paper(None, has_colours=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert find_paper().width == 50


def test_lines_of_a_reason_are_words_of_one_line() -> None:
    """A row is a line; what would steer the terminal is seen."""
    assert printable("first\nsecond\tthird\x1b[2J") == "first second third?[2J"


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["echo", "shop"], ["echo", "shop"]),
        (["support-of-europe", "billing-of-europe"], ["support-o…", "billing-o…"]),
        (["support-europe-01", "support-europe-02"], ["suppo…e-01", "suppo…e-02"]),
        (["a" * 20 + "12345678b", "a" * 20 + "12345679b"], ["aaaaa…678b", "aaaaa…679b"]),
        (["a" * 20 + "1bbbbbbb", "a" * 20 + "2bbbbbbb"], ["…a1bbbbbbb", "…a2bbbbbbb"]),
        (["a" * 20 + "1" + "b" * 20, "a" * 20 + "2" + "b" * 20], None),
    ],
)
def test_names_are_cut_where_they_still_differ(names: list[str], short: list[str] | None) -> None:
    """At the end, in the middle, in front, or not at all."""
    assert shortened(names, 10) == (short or names)
