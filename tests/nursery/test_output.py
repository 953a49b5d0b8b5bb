"""A worker's output in the bot's log file: never the token, never more than the disk can bear."""

from __future__ import annotations

import fcntl
import os
import stat
import threading

import pytest
import trio
import trio.testing

from trioworkers.config import LogSettings
from trioworkers.logs.files import RotatedFile, rotations
from trioworkers.nursery import output as output_module
from trioworkers.nursery.output import BURST, CALM, RATE, READ_SIZE, Output

SECRET = "AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
TOKEN = f"123456789:{SECRET}"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "worker_echo.log"


@pytest.fixture
def output(path):
    return Output(rotated(path), TOKEN)


def rotated(path, max_size=0, keep=3):
    return RotatedFile(path, lambda: LogSettings(max_size=max_size, keep=keep))


async def feed(output, *pieces):
    """Let the pieces come one read at a time, then the end."""
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, 4 * READ_SIZE)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(output.copy, reads)
            for piece in pieces:
                os.write(writes, piece)
                await trio.testing.wait_all_tasks_blocked()
            os.close(writes)


# -- the token ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [0, 1, READ_SIZE - 60, READ_SIZE - 20, READ_SIZE - 1, READ_SIZE, 100_000])
@pytest.mark.parametrize("written", [TOKEN, TOKEN.replace(":", "%3A"), TOKEN.replace(":", "%3a"), SECRET])
@pytest.mark.parametrize("newline", [b"", b"\n"])
async def test_the_token_is_in_no_file_however_it_comes(output, path, before, written, newline):
    """Whole, as in an address, or its secret half; across reads, in lines longer than any buffer."""
    text = newline + b"x" * before + written.encode() + b"y" * 100
    for size in (READ_SIZE, 1000):
        await feed(output, *[text[at : at + size] for at in range(0, len(text), size)])
    content = path.read_bytes()
    assert SECRET.encode() not in content
    assert content.count(b"<token>") == 2
    assert content.count(b"x") == 2 * before
    assert content.count(b"y") == 200


@pytest.mark.parametrize("at", range(1, len(TOKEN)))
async def test_the_token_is_not_cut_by_a_long_line(output, path, at):
    """Wherever the piece of it that came first ends."""
    first, second = TOKEN.encode()[:at], TOKEN.encode()[at:]
    await feed(output, b"x" * READ_SIZE, b"y" + first, second + b"z" * READ_SIZE, b"\n")
    assert path.read_bytes() == b"x" * READ_SIZE + b"y<token>" + b"z" * READ_SIZE + b"\n"


@pytest.mark.parametrize("behind", range(len(TOKEN) + 1))
async def test_the_token_is_not_cut_near_the_end_of_a_long_line(output, path, behind):
    """It is all there, but what is kept back for one that may have begun would cut it."""
    await feed(output, b"x" * READ_SIZE, b"y" + TOKEN.encode() + b"z" * behind, b"!\n")
    assert path.read_bytes() == b"x" * READ_SIZE + b"y<token>" + b"z" * behind + b"!\n"


async def test_a_short_secret_does_not_blot_out_words(path):
    """Only the token that it is part of."""
    await feed(Output(rotated(path), "1:able"), b"table 1:able 1%3Aable\n")
    assert path.read_text() == "table <token> <token>\n"


async def test_the_last_lines_are_kept_without_the_token(output):
    """For the post-mortem, the end of each long line left out."""
    await feed(output, *[f"{number} {SECRET} {'x' * 1000}\n".encode() for number in range(30)])
    assert [line.split()[0] for line in output.last_lines] == [str(number) for number in range(10, 30)]
    assert {len(line) for line in output.last_lines} == {500}
    assert SECRET not in "".join(output.last_lines)


# -- the budget ---------------------------------------------------------------------------------------

BLOCK = (b"x" * 63 + b"\n") * (READ_SIZE // 64)


async def test_a_flood_is_bounded_and_its_loss_is_counted(output, path, mock_clock):
    """The burst is written, the rest is dropped; the count stands where it was lost."""
    for _ in range(BURST // READ_SIZE + 3):
        output._take(BLOCK)
    assert path.stat().st_size == BURST
    mock_clock.jump(READ_SIZE / RATE)
    output._take(b"after\n")
    assert path.read_text()[BURST:] == f"… {3 * READ_SIZE // 64} lines dropped\nafter\n"
    assert output.last_lines[-1] == "after"


async def test_in_the_long_run_a_flood_gets_its_rate(output, path, mock_clock):
    """A minute of it: the burst, and a MiB for each second."""
    for _ in range(600):
        for _ in range(10):
            output._take(BLOCK)
        mock_clock.jump(0.1)
    assert 0 <= BURST + 60 * RATE - path.stat().st_size < 2 * RATE


async def test_dropped_lines_are_told_in_silence_and_at_the_end(output, path, mock_clock):
    """Nothing needs to follow them."""
    output._allowance, output._allowed_at = 0.0, trio.current_time()
    reads, writes = os.pipe()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(output.copy, reads)
        os.write(writes, b"one\ntwo\n")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not path.exists()
        mock_clock.jump(output_module.BREATH)
        await trio.testing.wait_all_tasks_blocked(0.01)
        mock_clock.jump(CALM)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert path.read_text() == "… 2 lines dropped\n"
        output._allowance, output._allowed_at = 0.0, trio.current_time()
        os.write(writes, b"three\n")
        await trio.testing.wait_all_tasks_blocked(0.01)
        os.close(writes)
        mock_clock.jump(output_module.BREATH)
    assert path.read_text() == "… 2 lines dropped\n… 1 lines dropped\n"
    assert output.last_lines == ["one", "two", "three"]


async def test_a_worker_that_floods_is_not_blocked(output, path):
    """It writes much more than its budget and ends; its last lines are there."""
    total = 3 * BURST
    reads, writes = os.pipe()

    def flood():
        with open(writes, "wb") as pipe:
            for _ in range(total // READ_SIZE):
                pipe.write(BLOCK)
            pipe.write(b"the end\n")

    thread = threading.Thread(target=flood)
    thread.start()
    with trio.fail_after(30):
        await output.copy(reads)
    thread.join()
    assert path.stat().st_size < 2 * BURST
    assert b" lines dropped\n" in path.read_bytes()[-BURST:]
    assert output.last_lines[-1] == "the end"


async def test_two_processes_do_not_write_into_each_others_lines(output, path):
    """A bot has two for a moment: what one has begun waits for its own end."""
    reads, writes = os.pipe()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(output.copy, reads)
        os.write(writes, b"begun ")
        await trio.testing.wait_all_tasks_blocked()
        await feed(output, b"another's\n")
        os.write(writes, b"and ended\n")
        os.close(writes)
    assert path.read_text() == "another's\nbegun and ended\n"


async def test_a_token_that_is_replaced_stays_hidden(output, path):
    """The worker of before may still tell it."""
    output.hide("123456789:" + SECRET[::-1])
    await feed(output, f"{SECRET} {SECRET[::-1]}\n".encode())
    assert path.read_text() == "<token> <token>\n"


# -- the file -----------------------------------------------------------------------------------------


async def test_the_file_is_its_owners_and_open_only_while_it_is_written(output, path):
    """It may be moved away between two writes; the next one makes a new one."""
    old = os.umask(0)
    try:
        await feed(output, b"one\n")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.rename(path.with_suffix(".1"))
    await feed(output, b"two\n")
    assert path.read_text() == "two\n"


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
async def test_what_is_no_file_is_not_written(output, path, tmp_path, kind):
    """A handler may have put it there: nothing is followed, nothing waits; the lines are counted."""
    target = tmp_path / "target"
    target.write_text("")
    {"link": lambda: path.symlink_to(target), "fifo": lambda: os.mkfifo(path), "folder": path.mkdir}[kind]()
    await feed(output, b"one\n")
    assert target.read_text() == ""
    if kind == "folder":
        path.rmdir()
    else:
        path.unlink()
    await feed(output, b"two\n")
    assert path.read_text() == "… 1 lines dropped\ntwo\n"


async def test_the_file_is_rotated_and_no_line_is_lost(path):
    """At its size, over several files, whatever comes at once."""
    lines = [f"line {number}\n".encode() for number in range(10_000)]
    pieces = [b"".join(lines[at : at + 77]) for at in range(0, len(lines), 77)]
    await feed(Output(rotated(path, max_size=10_000, keep=100), TOKEN), *pieces)
    files = [file for file in reversed(rotations(path)) if file.exists()]
    assert len(files) > 5
    assert all(file.stat().st_size <= 10_000 for file in files)
    assert b"".join(file.read_bytes() for file in files) == b"".join(lines)


async def test_a_line_without_end_that_is_dropped_is_one_line(output, path, mock_clock):
    """However many pieces it comes in; the lines behind it are counted one by one."""
    output._allowance, output._allowed_at = 0.0, trio.current_time()
    for _ in range(10):
        output._take(b"x" * 2 * READ_SIZE)
    output._take(b"end\nsecond\nthird\n")
    mock_clock.jump(10)
    output._take(b"after\n")
    assert path.read_text() == "… 3 lines dropped\nafter\n"


async def test_a_disk_that_fills_costs_exactly_what_is_told(output, path, monkeypatch):
    """What was written before it was full is not counted, the line that was cut by it is."""
    room = [14]
    real = os.write

    def write(descriptor, data):
        if not room[0]:
            raise OSError(28, "No space left on device")
        written = real(descriptor, data[: room[0]])
        room[0] -= written
        return written

    with monkeypatch.context() as patch:
        patch.setattr("trioworkers.logs.files.os.write", write)
        output._take(b"one\ntwo\nthree, which is cut\nfour\n")
        output._take(b"five\n")
    output._take(b"six\n")
    assert path.read_text() == "one\ntwo\nthree,\n… 3 lines dropped\nsix\n"
