"""The socket between the daemon and a worker, as both ends of it read and write frames.

It works on the bare socket: Trio's streams take a turn of the loop after each operation, also where the
system did it at once, and a frame alone would cost as much again as the update that it is about. Here a
read is one wait and one call, a write one call, which everything that was sent in a turn of the loop shares:
the last thing that the turn does, for which no task has to be woken.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

import trio

from trioworkers.protocol.framing import FrameReader, packed

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from trioworkers.protocol.frames import Frame

READ_SIZE = 64 * 1024  # bytes; the allocator has the system give more than 128 kB anew each time
NOTHING = memoryview(b"")


class Channel:
    """One end of the socket pair between the daemon and a worker.

    Args:
        end: the end, which becomes non-blocking; the channel owns and closes it.
        incoming: the union of frames that the other side may send.
    """

    def __init__(self, end: socket.socket, incoming: Any) -> None:
        end.setblocking(False)
        self._end = end
        self._reader = FrameReader(incoming)
        self._outgoing: list[bytes] = []
        self._leaving = NOTHING  # what of a write the system has not taken yet
        self._sent = self._left = 0  # bytes, ever
        self._turn = _turn()
        self._leaves_with_turn = False
        self._wake = trio.Event()
        self._progress = trio.lowlevel.ParkingLot()
        self._broken = False
        self._failure: Exception | None = None
        self._writing = trio.Lock()

    def send(self, frame: Frame) -> bytes:
        """Let `frame` leave at the end of this turn of the loop; return what :meth:`take_back` wants.

        Never blocks. What the system does not take then is left to :meth:`serve_writes`. What is under way
        is bounded by the deliveries in flight, so this needs no bound of its own.
        """
        data = packed(frame)
        self._outgoing.append(data)
        self._sent += len(data)
        if not self._leaves_with_turn:
            self._leaves_with_turn = True
            self._turn.channels.append(self)
        return data

    def take_back(self, data: bytes) -> None:
        """Let what was sent last not leave, if it has not left yet."""
        if self._outgoing and self._outgoing[-1] is data:
            self._outgoing.pop()
            self._sent -= len(data)

    @property
    def sent(self) -> int:
        """How many bytes were ever given to :meth:`send` and not taken back."""
        return self._sent

    @property
    def left(self) -> int:
        """How many of these bytes have left."""
        return self._left

    def has_left(self, sent: int) -> bool:
        """Whether what was sent up to then has left; `sent`: the count of that moment."""
        return self._left >= sent

    def end_turn(self) -> None:
        """Write what the system takes of what was sent in this turn of the loop (the turn's own call)."""
        self._leaves_with_turn = False
        if self._left == self._sent:
            return
        self.hurry()
        if self._left < self._sent:
            # it is too late to wake a task in this turn: how long the loop waits is decided
            self._turn.token.run_sync_soon(lambda: self._wake.set())

    def hurry(self) -> None:
        """Let what was sent leave now, as far as the system takes it; the rest of the turn may take long."""
        # a task that writes already goes on with all that was sent
        if self._left < self._sent and not self._leaving and not self._writing.locked():
            with suppress(Exception):  # the task meets it again, where somebody hears of it
                self._write()

    def fail(self, error: Exception) -> None:
        """Let :meth:`serve_writes` raise what broke at the end of a turn (the turn's own call)."""
        self._failure = error
        self._turn.token.run_sync_soon(lambda: self._wake.set())

    async def serve_writes(self) -> None:
        """Write what the system did not take at once, until cancelled, closed, or the other side is gone.

        Raises:
            Exception: something broke while frames were written at the end of a turn.
        """
        try:
            while self._end.fileno() >= 0:
                await self._wake.wait()
                self._wake = trio.Event()
                if self._failure is not None:
                    raise self._failure
                await self.flush()
        except trio.BrokenResourceError:
            return  # the reader sees the end and says so

    async def wait_sent(self, *, at_once: bool = False) -> None:
        """Wait until everything that was sent up to now has been written, while :meth:`serve_writes` runs.

        It leaves with this turn of the loop, as what others send in it; `at_once` is for who knows that there
        are no others. Cancelled, what has not been written leaves all the same.

        Raises:
            trio.BrokenResourceError: the other side is gone.
        """
        mark = self._sent
        if not at_once:
            await trio.lowlevel.checkpoint()
        elif not self._writing.locked():
            self._write()
        while self._left < mark:
            if self._broken:
                raise trio.BrokenResourceError
            await self._progress.park()

    async def flush(self) -> None:
        """Write everything that was sent up to now, what another task is writing included.

        Cancelled, it leaves what has not been written for the next one.

        Raises:
            trio.BrokenResourceError: the other side is gone.
        """
        try:
            self._writing.acquire_nowait()  # `async with` costs a turn of the loop
        except trio.WouldBlock:
            await self._writing.acquire()
        try:
            self._write()
            while self._left < self._sent:
                try:
                    await trio.lowlevel.wait_writable(self._end)
                except (OSError, trio.ClosedResourceError):
                    self._break()
                self._write()
        finally:
            self._writing.release()

    async def receive(self) -> list[Any]:
        """Wait for frames; return all that one read brought. Empty once the other side has closed.

        Raises:
            FrameError: what arrived is not a valid frame; nothing after it can be understood.
        """
        while self._end.fileno() >= 0:
            try:
                await trio.lowlevel.wait_readable(self._end)
                data = self._end.recv(READ_SIZE)
            except BlockingIOError:  # another process may hold the same end
                continue
            except (OSError, trio.ClosedResourceError):
                break
            if not data:
                break
            frames = self._reader.feed(data)
            if frames:
                return frames
        return []

    def close(self) -> None:
        """Close this end; the other one sees the end of file, and whoever waits here that it is closed."""
        if self._end.fileno() >= 0:
            trio.lowlevel.notify_closing(self._end)
            self._end.close()
            self._wake.set()

    def _write(self) -> None:
        """Write what the system takes without waiting.

        Raises:
            trio.BrokenResourceError: the other side is gone.
        """
        if self._broken:
            raise trio.BrokenResourceError
        try:
            while self._left < self._sent:
                data: bytes | memoryview = self._leaving or b"".join(self._outgoing)
                if not self._leaving:
                    self._outgoing.clear()
                    self._leaving = memoryview(data)
                taken = self._end.send(data)
                self._leaving = NOTHING if taken == len(data) else self._leaving[taken:]
                self._left += taken
        except BlockingIOError:
            pass
        except OSError:
            self._break()
        finally:
            if self._progress:
                self._progress.unpark_all()

    def _break(self) -> NoReturn:
        self._broken = True
        self._progress.unpark_all()
        raise trio.BrokenResourceError from None


class _TurnEnd(trio.abc.Instrument):
    """The end of each turn of a loop, at which its channels write.

    A task that writes would be woken for each turn in which something was sent, and write a turn later: with
    it an update cost its worker 8 to 15 µs more, of 180 to 270.
    """

    def __init__(self) -> None:
        self.channels: list[Channel] = []  # that were given something in this turn
        self.before: list[Callable[[], None]] = []
        self.token = trio.lowlevel.current_trio_token()

    def __dir__(self) -> list[str]:
        """Trio asks for what it implements: the usual answer would copy 18 pages in each forked worker."""
        return ["before_io_wait"]

    def before_io_wait(self, timeout: float) -> None:
        for look in self.before:
            look()
        for channel in self.channels:
            try:
                channel.end_turn()
            except Exception as error:  # Trio would take the instrument away, and nobody would write any more
                channel.fail(error)
        self.channels.clear()


def before_writes(look: Callable[[], None]) -> None:
    """Call `look` at the end of each turn of this loop, before its channels write. It must not raise."""
    _turn().before.append(look)


_turns: trio.lowlevel.RunVar[_TurnEnd | None] = trio.lowlevel.RunVar("turn")


def _turn() -> _TurnEnd:
    """The one of the loop that runs."""
    turn = _turns.get(None)
    if turn is None:
        turn = _TurnEnd()
        _turns.set(turn)
        trio.lowlevel.add_instrument(turn)
    return turn
