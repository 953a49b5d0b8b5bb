"""The screen of `top`: it fits, what is wrong is seen, and nothing of others steers the terminal."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from top_fleets import HEALTHY, bot, event, mixed, text, watching

from trioworkers.top.render import HELP, Screen, render
from trioworkers.top.state import TopState
from trioworkers.top.words import brief, count, rate, size, spark

NASTY = "\x1b[31mred\x07\n\u202e宽"


def screens() -> dict[str, TopState]:
    """Every kind of screen."""
    crowd = watching(
        *(bot(f"bot{number:04}", "failed" if number % 97 == 0 else "running") for number in range(1000))
    )
    crowd.apply(event("bot.failed", "bot0000", "error", reason=NASTY * 20), 100.0)
    away = watching(*mixed())
    away.apply({"type": "offline", "reason": "the daemon stops", "retry_in": 1.0}, 100.0)
    page = watching(*mixed())
    page.selected = page.opened = "support"
    gone = watching(*mixed())
    gone.opened = "nobody"
    helps, asks, types = watching(*mixed()), watching(*mixed()), watching(*mixed())
    helps.key("?", 100.0)
    asks.key("r", 100.0)
    for key in "/xyz":
        types.key(key, 100.0)
    refused = watching(*mixed(), config={"error": "fleet.toml:1:1: wrong\nsecond"})
    nasty = watching(
        bot(NASTY, "failed", reason=NASTY * 9, messages=10**30, memory_bytes=-(10**30), code=NASTY),
        name=NASTY,
    )
    return {
        "connecting": TopState(100.0), "empty": watching(), "mixed": watching(*mixed()), "crowd": crowd,
        "away": away, "page": page, "gone": gone, "help": helps, "asks": asks, "types": types,
        "refused": refused, "nasty": nasty,
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(screens()))
@pytest.mark.parametrize(
    ("width", "height"), [(200, 50), (120, 30), (80, 24), (50, 20), (30, 10), (8, 3), (1, 1)]
)
def test_every_screen_has_its_size_and_no_control_characters(name: str, width: int, height: int) -> None:
    """No line is longer than the terminal, no line more than it has: else it would scroll."""
    lines = render(screens()[name], Screen(width, height), 101.0)
    assert len(lines) == height
    assert max(cell_len(line.plain) for line in lines) <= width
    assert "".join(line.plain for line in lines).isprintable()


def test_the_head_says_how_the_fleet_is() -> None:
    """What is wrong first, and the totals; on a narrow terminal in two lines."""
    wide, narrow = text(watching(*mixed()), 120), text(watching(*mixed()), 80)
    states = " 9 bots: 1 failed, 1 backoff, 1 starting, 1 paused, 3 running (2 unwell), 1 sleeping, 1 stopped"
    assert wide[:2] == [
        " demo: running, pid 4200, up 3h 12m",
        f"{states}; 0 updates/s, 44 waiting, 8 dead"[:119] + "…",
    ]
    assert narrow[2] == " 0 updates/s, 44 waiting, 8 dead"


def test_a_bot_that_runs_and_is_not_well_is_marked_at_every_width() -> None:
    """Its reason stands in the row only where there is room; green and `running` would mislead."""
    for width in (200, 80, 40):
        lines = text(watching(*mixed()), width, 24)
        marked = [line.split()[0] for line in lines if " running !" in line]
        assert marked == ["slow", "stuck"]


@pytest.mark.parametrize("width", [200, 120, 80, 50, 30])
def test_a_bot_that_failed_and_why_is_seen_at_every_width(width: int) -> None:
    """In its row where there is room, and for the selected bot in a line of its own."""
    lines = text(watching(*mixed()), width, 24)
    (row,) = [line for line in lines if line.startswith("> support")]
    assert " failed" in row
    assert " support: restart budget spent" in lines


def test_without_a_daemon_the_screen_says_so_and_how_old_it_is() -> None:
    """And figures that run stand still: nobody knows whether they still run."""
    state = screens()["away"]
    lines = text(state, 120, 30, 175.0)
    assert " OFFLINE: the daemon stops; trying again; what is shown is 1m 15s old" in lines
    assert " demo: last seen running, pid 4200, up 3h 12m" in lines
    assert text(TopState(100.0))[0] == " CONNECTING to the daemon"


def test_a_fleet_file_that_was_refused_is_seen() -> None:
    """The old settings are in force, which nobody would guess from the table."""
    lines = text(screens()["refused"])
    assert " the fleet file was refused, the old settings stay: fleet.toml:1:1: wrong" in lines


def test_a_page_says_how_the_bot_is_in_words() -> None:
    """Why it failed, how its worker ended, with its last words."""
    lines = text(screens()["page"], 100, 40)
    assert " it failed, restart budget spent" in lines
    (ended,) = [line for line in lines if line.startswith(" last exit")]
    assert "SIGKILL, since memory ran out, at " in ended
    assert "   MemoryError" in lines
    assert not [line for line in lines if "None" in line], "what is not known is a dash"
    assert " nobody is not in the fleet any more" in text(screens()["gone"])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (bot("a"), "it works"),
        (bot("a", health={**HEALTHY, "responsive": False}), "it works, but its worker does not answer"),
        (
            bot("a", health={**HEALTHY, "intake": {"problem": "HTTP 502", "since": 0, "remedy": "wait"}}),
            "it works, but hears nothing: HTTP 502, since 1970-01-01T00:00:00Z",
        ),
        (bot("a", "paused"), "it is paused: updates are accepted and wait"),
        (
            bot("a", "backoff", queue={"ready": 0, "in_flight": 0, "retry": 3, "dead": 0}),
            "its worker waits for its next start; 3 updates wait for another attempt",
        ),
    ],
)
def test_health_in_words(row: dict[str, object], words: str) -> None:
    """A sentence that needs no legend."""
    state = watching(row)
    state.opened = "a"
    assert f" {words}" in text(state, 100, 40)


def test_the_selected_row_is_seen_in_a_long_table() -> None:
    """The table scrolls with it, and says where one is."""
    state = screens()["crowd"]
    state.key("end", 100.0)
    lines = text(state, 100, 30)
    (selected,) = [line for line in lines if line.startswith(">")]
    assert selected.startswith("> bot0999")
    assert any(line.endswith("to 1000 of 1000 bots") for line in lines)


def test_a_filter_that_finds_nothing_says_so() -> None:
    """The fleet is not empty."""
    assert "  no bot's name, state or trouble contains this" in text(screens()["types"])
    assert "  the fleet has no bots" in text(watching())


@pytest.mark.parametrize("opened", [None, "echo"])
def test_a_narrow_screen_shows_how_to_leave_and_how_to_learn_the_rest(opened: str | None) -> None:
    """The end of the line of keys is cut off at 50 columns and fewer."""
    for width in (80, 50, 30):
        state = watching(*mixed())
        state.opened = opened
        assert "q quit  ? help" in text(state, width, 24)[-1]


def test_help_names_every_key() -> None:
    """It is a screen of its own."""
    lines = text(screens()["help"], 100, 30)
    assert all(any(does in line for line in lines) for _, does in HELP)


def test_a_terminal_without_more_than_ascii_gets_nothing_else() -> None:
    """Neither bars nor an ellipsis."""
    state = watching(*mixed())
    for second in range(20):
        state.apply({"type": "change", "seq": 2, "bot": "echo", "data": {"messages": second**2}}, 100.0)
        state.tick(100.0)
    assert not "".join(text(state, 200, 30)).isascii()
    for width in (200, 80, 40):
        assert "".join(text(state, width, 30, is_plain=True)).isascii()


def test_on_paper_there_are_only_head_and_table() -> None:
    """Every row, no selection, no keys."""
    lines = text(watching(*mixed()), 120, 30, is_paper=True)
    assert len(lines) == 2 + 2 + 9
    assert not any(line.startswith(">") for line in lines)


def test_figures_are_short() -> None:
    """They have few columns."""
    assert [count(number) for number in (None, 7, 12_345, 123_456, 1_250_000, 3e9, 1e30)] == [
        "-", "7", "12,345", "123k", "1.2M", "3.0G", "?",
    ]  # fmt: skip
    assert [brief(number) for number in (None, 0.4, 12.3, 1500, 187_000)] == [
        "-",
        "0.4ms",
        "12ms",
        "1.5s",
        "3m 07s",
    ]
    assert [size(number) for number in (None, 31_000_000, 2**31, -1e30)] == ["-", "29.6 MB", "2.0 GB", "?"]
    assert [rate(number) for number in (0, 0.4, 12.3, 1234)] == ["0", "0.4", "12", "1,234"]
    assert spark([0, 1, 2, 4], 6) == "   ▃▅█"
    assert spark([0, 0], 6) == spark([1, 2], 6, is_plain=True) == ""
