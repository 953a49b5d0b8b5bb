"""What keys do to `top`, and what it makes of the stream's messages."""

from __future__ import annotations

import pytest
from top_fleets import bot, event, mixed, snapshot, watching

from trioworkers.top.keys import Keys
from trioworkers.top.rows import ORDERS, Pace
from trioworkers.top.state import NOTICE, Act, Quit, TopState


def names(state: TopState) -> list[str]:
    return [shown.bot for shown in state.table(100.0)]


def press(state: TopState, *keys: str) -> Act | Quit | None:
    """Press keys; what the last one asks for."""
    done = None
    for key in keys:
        done = state.key(key, 100.0)
    return done


def test_what_is_not_well_comes_first() -> None:
    """Failed, waiting for a start, not answering, and only then what works; equals by name."""
    assert names(watching(*mixed())) == [
        "support", "news", "slow", "stuck", "weather", "shop", "echo", "quiz", "old",
    ]  # fmt: skip


def test_each_order_sorts_by_its_figure_and_can_be_reversed() -> None:
    """The largest first; every order can be reached by its key."""
    state = watching(bot("a", memory_bytes=1), bot("b", memory_bytes=3), bot("c", memory_bytes=None))
    seen = []
    for _ in ORDERS:
        press(state, "s")
        seen.append(state.order)
        if state.order == "memory":
            assert names(state) == ["b", "a", "c"]
            press(state, "S")
            assert names(state) == ["c", "a", "b"]
    assert sorted(seen) == sorted(ORDERS)


def test_the_filter_finds_names_states_and_troubles() -> None:
    """Enter keeps it, escape clears it."""
    state = watching(*mixed())
    press(state, "/", "b", "u", "x", "backspace", "d")
    assert state.filter == "bud"
    assert names(state) == ["support"]  # its restart budget is spent
    press(state, "enter", "s")
    assert (state.is_typing, state.filter, state.order) == (False, "bud", "name")
    press(state, "escape")
    assert len(names(state)) == 9
    press(state, "/", "P", "A", "U")
    assert names(state) == ["shop"]
    press(state, "escape")
    assert (state.is_typing, state.filter) == (False, "")


def test_keys_move_the_selection_and_stop_at_the_ends() -> None:
    """The selected bot stays selected when the order changes."""
    state = watching(*(bot(f"bot{number:02}") for number in range(30)))
    moves = {
        "down": "bot01", "up": "bot00", "pagedown": "bot10", "end": "bot29", "j": "bot29", "pageup": "bot19",
        "home": "bot00", "k": "bot00",
    }  # fmt: skip
    for key, expected in moves.items():
        press(state, key)
        assert state.selected == expected
    press(state, "down", "s", "S")
    assert state.order == "name"
    assert (state.selected, names(state)[-2]) == ("bot01", "bot01")


def test_another_bot_is_selected_when_the_selected_one_goes() -> None:
    """The one in its place."""
    state = watching(bot("a"), bot("b"), bot("c"))
    press(state, "down")
    state.apply({"type": "change", "seq": 2, "bot": "b", "data": None}, 100.0)
    names(state)
    assert state.selected == "c"
    for gone in "ac":
        state.apply({"type": "change", "seq": 3, "bot": gone, "data": None}, 100.0)
    names(state)
    assert state.selected is None
    assert press(state, "p", "r", "enter") is None


def test_a_page_is_opened_and_closed() -> None:
    """On it, the arrows lead to other bots, and the keys act on the one that is shown."""
    state = watching(bot("a"), bot("b"))
    press(state, "enter")
    assert state.opened == "a"
    press(state, "down")
    assert state.opened == "b"
    assert press(state, "p") == Act("pause", "b")
    press(state, "escape")
    assert state.opened is None


def test_pause_and_resume_are_one_key() -> None:
    """Whichever of the two makes sense."""
    state = watching(bot("a"), bot("b", "paused"))
    press(state, "s")
    assert press(state, "home", "p") == Act("pause", "a")
    assert press(state, "down", "p") == Act("resume", "b")


@pytest.mark.parametrize(("answer", "done"), [("y", True), ("enter", True), ("n", False), ("q", False)])
def test_a_restart_is_asked_for_first(answer: str, done: bool) -> None:
    """Any other key than yes leaves all as it was."""
    state = watching(bot("a"))
    assert press(state, "r") is None
    assert state.asks == Act("restart", "a")
    assert press(state, answer) == (Act("restart", "a") if done else None)
    assert state.asks is None


def test_without_a_daemon_nothing_is_asked_of_it() -> None:
    """It says so instead."""
    state = watching(bot("a"))
    state.apply({"type": "offline", "reason": "the daemon stops", "retry_in": 1.0}, 100.0)
    assert press(state, "p") is None
    assert state.notice is not None
    assert state.notice.is_bad


def test_a_restarted_daemon_is_noticed() -> None:
    """By its process id; the notice goes after some seconds."""
    state = watching(bot("a"))
    state.apply({"type": "offline", "reason": "the connection was lost", "retry_in": 1.0}, 101.0)
    state.apply({"type": "offline", "reason": "nobody answers", "retry_in": 2.0}, 105.0)
    assert (state.is_online, state.offline_since, state.offline_reason) == (False, 101.0, "nobody answers")
    state.apply({"type": "online"}, 106.0)
    state.apply(snapshot(bot("a"), pid=4300), 106.0)
    assert state.notice is not None
    assert state.notice.text == "the daemon was restarted: pid 4200 is now 4300"
    state.tick(106.5 + NOTICE)
    assert state.notice is None


def test_a_slow_terminal_learns_what_it_missed() -> None:
    """And events are kept, the latest."""
    state = watching()
    state.apply({"type": "lagged", "missed": 7}, 100.0)
    assert state.notice is not None
    assert "7 messages" in state.notice.text
    for number in range(300):
        state.apply(event("bot.paused", "a", number=number), 100.0)
    assert [one["number"] for one in state.events] == list(range(100, 300))


def test_rates_are_of_the_last_seconds() -> None:
    """A daemon that counts anew is no negative rate, and nothing is counted while it is away."""
    pace = Pace()
    for messages in (100, 110, 120, 120, 5, 15):
        pace.tick(messages)
    assert list(pace.seconds) == [10, 10, 0, 0, 10]
    assert pace.rate == 6.0
    state = watching(bot("a", messages=1))
    for second, messages in enumerate((1, 4, 4)):
        state.apply({"type": "change", "seq": 2, "bot": "a", "data": {"messages": messages}}, 100.0 + second)
        state.tick(100.0 + second)
    state.apply({"type": "offline", "reason": "x", "retry_in": 1.0}, 103.0)
    state.tick(104.0)
    shown = state.shown("a", 104.0)
    assert shown is not None
    assert list(shown.pace.seconds) == [3, 0]


@pytest.mark.parametrize("key", ["q", "ctrl-c"])
def test_keys_to_leave(key: str) -> None:
    """From the table and from a page; a letter of the filter is a letter."""
    assert isinstance(press(watching(bot("a")), key), Quit)
    assert isinstance(press(watching(bot("a")), "enter", key), Quit)
    state = watching(bot("a"))
    assert press(state, "/", "q") is None
    assert state.filter == "q"


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"\x1b[A\x1b[Bq", ["up", "down", "q"]),
        (b"\x1bOA\x1b[5~\x1b[6~\x1b[H\x1bOF", ["up", "pageup", "pagedown", "home", "end"]),
        (b"\r\x7f\x03", ["enter", "backspace", "ctrl-c"]),
        ("ü/".encode(), ["ü", "/"]),
        (b"\x1b[1;5Cx", ["x"]),
        (b"\x1b\x1b[A", ["escape", "up"]),
        (b"\x1ba", ["escape", "a"]),
        (b"\x00\x01", []),
    ],
)
def test_bytes_of_a_terminal_become_keys(data: bytes, keys: list[str]) -> None:
    """All at once, or a byte at a time; what is not known is left out."""
    assert Keys().feed(data) == keys
    decoder = Keys()
    assert [key for byte in data for key in decoder.feed(bytes([byte]))] == keys


def test_a_lone_escape_is_a_key_when_nothing_follows() -> None:
    """Whoever reads says when."""
    decoder = Keys()
    assert decoder.feed(b"\x1b") == []
    assert decoder.is_waiting
    assert decoder.rest() == ["escape"]
    assert not decoder.is_waiting
    assert decoder.rest() == []
