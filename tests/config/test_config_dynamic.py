"""Bots that are added and removed while the daemon runs."""

from __future__ import annotations

import os
import stat

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trioworkers.config import (
    FleetFileError,
    NotDynamicError,
    draft_bot,
    draft_removal,
    load_fleet,
    with_given,
)

BOT = {"token": "7:abc", "handler": "a:b"}


@pytest.fixture
def fleet(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "fleet.toml").write_text('[bots.old]\ntoken = "1:abc"\nhandler = "a:b"\n')
    return load_fleet(tmp_path / "fleet.toml", {})


def read(fleet, *drafts):
    return load_fleet(fleet.path, {}, state_dir=fleet.state_dir, drafts=drafts)


def test_a_bot_is_added_changed_and_removed(fleet):
    """Read with the draft first; on disk it is one file of ours that nobody else can open."""
    for table in (
        BOT,
        {**BOT, "settings": {"greeting": "hi", "list": [1, 2.5, {"a": "ü"}]}, "concurrency": 3},
    ):
        draft = draft_bot(fleet.state_dir, "new", table)
        before = read(fleet, draft)
        assert draft.file == fleet.state_dir / "fleet.d/new.toml"
        draft.commit()
        assert stat.S_IMODE(draft.file.stat().st_mode) == 0o600
        assert stat.S_IMODE(draft.file.parent.stat().st_mode) == 0o700
        assert os.listdir(draft.file.parent) == ["new.toml"]
        after = read(fleet)
        assert before.digest == after.digest != fleet.digest
        assert after.bots["new"].settings == table.get("settings", {})
        assert before.origin("new") == after.origin("new") == str(draft.file)
    removal = draft_removal(after, "new")
    assert read(fleet, removal).digest == fleet.digest
    assert read(fleet).digest == after.digest
    removal.commit()
    assert read(fleet).digest == fleet.digest
    removal.commit()  # again, after a crash in between


def test_a_bad_table_is_refused_before_it_is_written(fleet):
    """Everything that is wrong, at the place that it would have; nothing is on disk."""
    draft = draft_bot(fleet.state_dir, "new", {**BOT, "token": "1:other", "concurency": 3})
    with pytest.raises(FleetFileError) as caught:
        read(fleet, draft)
    assert [str(problem).removeprefix(f"{fleet.folder}/") for problem in caught.value.problems] == [
        'state/fleet.d/new.toml:3:9: bots.new.token: the bots "old" and "new" have the same bot id,'
        " expected one bot per id",
        "state/fleet.d/new.toml:5:1: bots.new.concurency: unknown key, did you mean concurrency",
    ]
    assert not (fleet.state_dir / "fleet.d").exists()
    with pytest.raises(FleetFileError, match=r"new\.toml.*same bot id"):
        read(fleet, draft_bot(fleet.state_dir, "new", {**BOT, "token": "1:other"}))
    with pytest.raises(FleetFileError, match="also in"):
        read(fleet, draft_bot(fleet.state_dir, "old", BOT))


@pytest.mark.parametrize("value", [None, [None], {"a": None}, object(), 2**63, "\ud800"])
def test_what_toml_cannot_hold_is_refused(fleet, value):
    """JSON has null and larger numbers; the message shows nothing of the table."""
    with pytest.raises(FleetFileError, match=r"new\.toml: bots\.new.*expected") as caught:
        draft_bot(fleet.state_dir, "new", {"token": "7:zeisig-zeisig", "settings": {"x": value}})
    assert "zeisig" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/etc/x",
        "a\0",
        "-a",
        ".a",
        "a..b",
        "a" * 65,
        "ä",
        "a\n",
        "7:zeisig-zeisig",
    ],
)
def test_a_name_stays_inside_the_folder(fleet, name):
    """A name is no path; one that is a token by mistake is not shown."""
    with pytest.raises(FleetFileError, match="expected a name of letters") as caught:
        draft_bot(fleet.state_dir, name, BOT)
    assert "zeisig" not in str(caught.value)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(max_size=70))
def test_no_name_leads_out_of_the_folder(fleet, name):
    """Whatever the name is, a draft of it lies directly in the folder, or there is none."""
    try:
        file = draft_bot(fleet.state_dir, name, BOT).file
    except FleetFileError:
        return
    assert os.path.normpath(file.parent) == str(fleet.state_dir / "fleet.d")
    assert file.name == f"{name}.toml"


def test_only_what_was_added_by_command_can_be_removed(fleet):
    """Files that people write stay theirs, and so does one that holds more than the bot."""
    with pytest.raises(
        NotDynamicError, match=r'the bot "old" stands in .*fleet\.toml, expected one that was'
    ):
        draft_removal(fleet, "old")
    with pytest.raises(KeyError):
        draft_removal(fleet, "absent")
    (fleet.state_dir / "fleet.d").mkdir()
    both = {"a": {**BOT, "token": "2:a"}, "b": {**BOT, "token": "3:a"}}
    (fleet.state_dir / "fleet.d/a.toml").write_text(tomli_w.dumps({"bots": both}))
    with pytest.raises(NotDynamicError):
        draft_removal(read(fleet), "a")
    from_plugin = with_given(load_fleet(fleet.path, {}), {"bot_source": {"c": {**BOT, "token": "4:a"}}})
    with pytest.raises(NotDynamicError, match="stands in bot_source"):
        draft_removal(from_plugin, "c")


def test_a_link_in_its_place_is_replaced_not_followed(fleet, tmp_path):
    """Whoever put a link there does not get the token written elsewhere."""
    (fleet.state_dir / "fleet.d").mkdir()
    (tmp_path / "elsewhere").write_text("")
    (fleet.state_dir / "fleet.d/new.toml").symlink_to(tmp_path / "elsewhere")
    draft_bot(fleet.state_dir, "new", BOT).commit()
    assert (tmp_path / "elsewhere").read_text() == ""
    assert not (fleet.state_dir / "fleet.d/new.toml").is_symlink()


def test_what_cannot_be_written_leaves_what_was_there(fleet, monkeypatch):
    """The old file stays whole, nothing half-written is left beside it."""
    draft_bot(fleet.state_dir, "new", BOT).commit()
    digest = read(fleet).digest

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        draft_bot(fleet.state_dir, "new", {**BOT, "concurrency": 9}).commit()
    assert read(fleet).digest == digest
    assert os.listdir(fleet.state_dir / "fleet.d") == ["new.toml"]


def test_a_draft_shows_no_token(fleet):
    """Its repr is for logs, too."""
    assert "zeisig" not in repr(draft_bot(fleet.state_dir, "new", {**BOT, "token": "7:zeisig"}))


def test_one_folder_beside_the_file_and_in_the_state(tmp_path):
    """state_dir may be the file's own folder: the draft takes the place of the very file."""
    (tmp_path / "fleet.toml").write_text('[fleet]\nstate_dir = "."\n')
    fleet = load_fleet(tmp_path / "fleet.toml", {})
    draft_bot(fleet.state_dir, "new", BOT).commit()
    again = read(fleet, draft_bot(fleet.state_dir, "new", {**BOT, "concurrency": 2}))
    assert again.bots["new"].concurrency == 2
    assert read(fleet, draft_removal(again, "new")).bots == {}


def test_what_a_killed_writer_left_goes_with_the_next(fleet):
    """A half-written file has a name that is not read, and does not lie there with its token for ever."""
    folder = fleet.state_dir / "fleet.d"
    folder.mkdir()
    (folder / ".new.toml-0123456789abcdef").write_text("[bots.new]\ntok")
    (folder / ".other.toml-0123456789abcdef").write_text("")
    assert read(fleet).digest == fleet.digest
    draft_bot(fleet.state_dir, "new", BOT).commit()
    assert sorted(os.listdir(folder)) == [".other.toml-0123456789abcdef", "new.toml"]
