"""What the daemon and a worker say to each other.

A worker runs code that is not ours: what it may say is bounded, in kind and in size, and what is out of
bounds is not a valid frame. An honest worker keeps to it by :func:`cut`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from trioworkers.botapi.meter import CallResult  # noqa: TC001 - msgspec reads it
from trioworkers.errors import TrioworkersError

FRAME_LIMIT = 64 * 2**20  # bytes; an update is at most some 4 MiB
# Of a worker's: it takes the daemon's loop up to 3 ms for each MB to read one, whatever is in it, and
# meanwhile it serves no other bot.
MOST_OF_WORKER = 2**20  # bytes of any frame but the next
MOST_ANSWER = 4 * 2**20  # bytes of a call's answer that is recorded
MOST_CALLED = MOST_ANSWER + 4096  # bytes of the frame around it
ERROR_LENGTH, WORDS_LENGTH, CODE_LENGTH, KEY_LENGTH = 2000, 4000, 100, 400  # characters
MOST_UNMADE = 20  # calls that an outcome names
MOST_RECORDED = 32 * 2**20  # bytes of keys and answers of one update; they have to fit into its frame
MOST_ASKS = 16  # questions of a worker that wait for their answers at the same time
MOST_TURNS = 50_000  # messages of a worker that wait for their turn or are under way
MOST_MESSAGES = 100  # of one call
CHAT_LENGTH, TASK_LENGTH, PATH_LENGTH = 64, 200, 4096  # characters
MOST_FILES = 5_000  # that a worker names as its code
LONGEST_HOLD = 3600.0  # seconds; what a 429 may ask to wait
MOST_ASKED = 64 * 2**10  # bytes of a question's parameters
LONGEST_AFTER = 7 * 86400.0  # seconds
LONGEST_STOOD = 366 * 86400.0  # seconds
MOST_MEMORY = 2**50  # bytes
MOST_COUNTS = 500  # counts of calls that a heartbeat brings
MOST_TIMES = 2**31


class FrameError(TrioworkersError):
    """The other side sent something that is not a valid frame."""


class Frame(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Base of all frames."""


class WorkerPlugin(msgspec.Struct, array_like=True, frozen=True):
    """A plugin that has hooks in workers, in an importable module, or in a file. `settings`: its table."""

    name: str
    module: str | None
    file: str | None
    settings: dict[str, Any]


class Retune(Frame, frozen=True):
    """To the worker: new values, for the updates that follow.

    `plugin_settings`: tables by plugins' names. `takes_turns`: its messages wait for their turn, since the
    bot has a `rate_limit`.
    """

    settings: dict[str, Any]
    handler_timeout: float
    heartbeat_interval: float
    memory_check_interval: float
    log_level: str
    plugin_settings: dict[str, dict[str, Any]] = {}
    takes_turns: bool = False


class Program(msgspec.Struct, array_like=True, frozen=True):
    """The program that a worker starts and watches in place of a handler.

    `words`: the program and its arguments; `folder`: its working directory; `environ`: its variables, beside
    the worker's own; `settings_file`: where it finds the bot's `settings`, as JSON; `preload`: the folder of
    what is loaded into it before its own code, empty for nothing.
    """

    words: list[str]
    folder: str
    environ: dict[str, str]
    settings_file: str
    preload: str = ""


class Configure(Frame, frozen=True):
    """To the worker, first of all: what it is. The token and its proxy travel here and nowhere else.

    `counts_calls`: its heartbeats say what calls it made. `program`: what it runs in place of `handler`; then
    it needs no token, and has none. `tells_code`: it says which files it has loaded. `console`:
    there are no time limits, and breakpoints have this terminal; empty: none. `marks`: the file that it
    makes for marks of its calls (:mod:`trioworkers.call_marks`); empty: it reports each before it makes it.
    `lease`: the file that says until when it may call (:mod:`trioworkers.lease_page`); empty: for ever.
    """

    name: str
    bot_id: int
    token: str
    api_base: str
    handler: str
    python_path: list[str]
    concurrency: int
    tuning: Retune
    plugins: list[WorkerPlugin] = []
    counts_calls: bool = False
    proxy: str = ""
    is_test: bool = False
    local_files: str = ""
    program: Program | None = None
    tells_code: bool = False
    console: str | None = None
    marks: str = ""
    lease: str = ""


class Recorded(msgspec.Struct, array_like=True, frozen=True):
    """A call of an earlier handling: with its `answer`, or without when it may or may not have been made."""

    key: str
    answered: bool
    answer: msgspec.Raw = msgspec.Raw(b"null")


class Head(msgspec.Struct, array_like=True, frozen=True):
    """What orders and names an update, as :class:`~trioworkers.records.Arrival` has it."""

    update_id: int
    kind: str
    key: str
    chat_id: int | None
    user_id: int | None


class Deliver(Frame, frozen=True):
    """To the worker: handle this update. `delivery` names it until its outcome, and is used once.

    `calls`: those recorded by earlier handlings; None when calls are not to be recorded. `head`: what was
    read out of the update when it came; None when the worker has to read it itself. `key`: the order key of
    an update without `head`, where it is not what the update says by itself. `parts`: the others of its
    album; None where it is of none. `id`: the inbox's id of the update, for marks of its calls.
    `tells_calls`: the outcome names a call that was not reported, since somebody listens.
    """

    delivery: int
    attempt: int
    after_gap: bool
    update: msgspec.Raw
    calls: list[Recorded] | None = None
    head: Head | None = None
    key: str | None = None
    parts: list[msgspec.Raw] | None = None
    id: int = 0
    tells_calls: bool = False


class Fence(Frame, frozen=True):
    """To the worker: end these deliveries as `fenced`, and let no call of theirs out any more.

    The daemon names them, as it knows which updates belong to a chat. `number` names the fence.
    """

    number: int
    deliveries: list[int]


class Answer(Frame, frozen=True):
    """To the worker: the answer to its question of this number, or (`error`) why there is none."""

    number: int
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: str | None = None


class Go(Frame, frozen=True):
    """To the worker: the message that asked by this number may be sent, or has to ask again in `wait` s."""

    number: int
    wait: float = 0.0


class Ping(Frame, frozen=True):
    """To the worker: send a heartbeat now."""


class Drain(Frame, frozen=True):
    """To the worker: finish what you have, stop, exit 0. No delivery follows."""


class Ready(Frame, frozen=True):
    """From the worker: the handler is imported and started.

    `code`: a fingerprint of its code. `has_start`: something in it has seen the bot's settings.
    """

    code: Annotated[str, Meta(max_length=CODE_LENGTH)]
    has_start: bool = False


class Unfit(Frame, frozen=True):
    """From the worker, before it exits: it can never work like this. `detail` names no values."""

    reason: Annotated[str, Meta(max_length=WORDS_LENGTH)]
    detail: Annotated[str, Meta(max_length=WORDS_LENGTH)]


class Calling(Frame, frozen=True):
    """From the worker: it is about to make a call for a delivery. `key` names it in every handling."""

    delivery: Annotated[int, Meta(ge=0)]
    key: Annotated[str, Meta(max_length=KEY_LENGTH)]


class Called(Frame, frozen=True):
    """From the worker: the call has this answer, or (`made` is false) is known not to have been made."""

    delivery: Annotated[int, Meta(ge=0)]
    key: Annotated[str, Meta(max_length=KEY_LENGTH)]
    made: bool
    answer: msgspec.Raw = msgspec.Raw(b"null")


class Ask(Frame, frozen=True):
    """From the worker: a handler's question, which somebody in the daemon answers. `params`: an object."""

    number: Annotated[int, Meta(ge=0)]
    name: Annotated[str, Meta(max_length=CODE_LENGTH)]
    params: msgspec.Raw


class AskTurn(Frame, frozen=True):
    """From the worker: a message waits for its turn to be sent.

    `delivery`: the handling that sends it, or one that is none (`start`, a task that outlives its handling);
    `chat`: an id, or a name; `messages`: how many it is; `is_paid`: its broadcast is paid for.
    """

    number: Annotated[int, Meta(ge=0)]
    delivery: Annotated[int, Meta(ge=0)]
    chat: Annotated[str, Meta(min_length=1, max_length=CHAT_LENGTH)]
    messages: Annotated[int, Meta(ge=1, le=MOST_MESSAGES)]
    is_paid: bool


class TurnOver(Frame, frozen=True):
    """From the worker: the request is over, or is not wanted any more. `hold`: what a 429 asked to wait."""

    number: Annotated[int, Meta(ge=0)]
    hold: Annotated[float, Meta(ge=0, le=LONGEST_HOLD)] = 0.0


class Standing(Frame, frozen=True):
    """From the worker, before it is ready: the time of its `start` stands still, as it waits to send."""

    is_on: bool


class TaskFailed(Frame, frozen=True):
    """From the worker: a background task raised. `task`: the function's name; `error`: type and place."""

    task: Annotated[str, Meta(max_length=TASK_LENGTH)]
    error: Annotated[str, Meta(max_length=ERROR_LENGTH)]


class CodeFile(msgspec.Struct, array_like=True, frozen=True):
    """A file of a bot's code. `fingerprint`: of its source; empty: absent. `is_preloaded`: before a fork."""

    path: Annotated[str, Meta(min_length=1, max_length=PATH_LENGTH)]
    fingerprint: Annotated[str, Meta(max_length=CODE_LENGTH)]
    is_preloaded: bool = False


class CodeLoaded(Frame, frozen=True):
    """From the worker, also before it is ready or unfit: all files of the bot's code that it has loaded."""

    files: Annotated[list[CodeFile], Meta(max_length=MOST_FILES)]


class Fenced(Frame, frozen=True):
    """From the worker: the fence of this number is done; no delivery of it can make a call any more."""

    number: Annotated[int, Meta(ge=0)]


class Unreported(msgspec.Struct, array_like=True, frozen=True):
    """A call of a handling that is done, not reported before. `took`: seconds; None: no answer came."""

    key: Annotated[str, Meta(max_length=KEY_LENGTH)]
    took: Annotated[float, Meta(ge=0, le=LONGEST_AFTER)] | None = None


class Outcome(Frame, frozen=True):
    """From the worker: what became of a delivery. `fenced`: it was cut off by a :class:`Fence`.

    `after`: seconds that a retry asked for. `counted`: whether the retry counts as an attempt (a wait that
    Telegram asked for does not). `error`: what went wrong, without text of messages; `words`: what the
    handler or Telegram said of it, which may hold some. `unmade`: recorded calls that a handling that is done
    did not make, as people read them. `stood`: seconds of a handling that is to be retried for which its time
    stood still, as it waited to send. `call`: the last call of a handling that is done. `late`: a handling
    that is to be retried was ended as it took too long.
    """

    delivery: Annotated[int, Meta(ge=0)]
    result: Literal["done", "retry", "dead", "drop", "fenced"]
    after: Annotated[float, Meta(ge=0, le=LONGEST_AFTER)] | None = None
    counted: bool = True
    error: Annotated[str, Meta(max_length=ERROR_LENGTH)] = ""
    words: Annotated[str, Meta(max_length=WORDS_LENGTH)] = ""
    unmade: Annotated[list[Annotated[str, Meta(max_length=KEY_LENGTH)]], Meta(max_length=MOST_UNMADE)] = []
    stood: Annotated[float, Meta(ge=0, le=LONGEST_STOOD)] = 0.0
    call: Unreported | None = None
    late: bool = False


class CallCount(msgspec.Struct, array_like=True, frozen=True):
    """So many requests to the Bot API with this method and result."""

    method: Annotated[str, Meta(max_length=CODE_LENGTH)]
    result: CallResult
    times: Annotated[int, Meta(ge=1, le=MOST_TIMES)]


class HookCount(msgspec.Struct, array_like=True, frozen=True):
    """What the hooks of one plugin came to in this worker. `seconds`: of all calls; `slowest`: of one."""

    plugin: Annotated[str, Meta(max_length=CODE_LENGTH)]
    calls: Annotated[int, Meta(ge=1, le=MOST_TIMES)]
    failures: Annotated[int, Meta(ge=0, le=MOST_TIMES)]
    seconds: Annotated[float, Meta(ge=0, le=LONGEST_AFTER)]
    slowest: Annotated[float, Meta(ge=0, le=LONGEST_AFTER)]


class Heartbeat(Frame, frozen=True):
    """From the worker, now and then: its loop turns.

    `memory`: its share of memory (PSS), bytes; `lag`: seconds by which its loop was late. Since the last
    heartbeat: `calls`: requests to the Bot API; `waited`: seconds that calls waited because of a 429;
    `hooks`: calls of plugins.
    """

    memory: Annotated[int, Meta(ge=0, le=MOST_MEMORY)]
    lag: Annotated[float, Meta(ge=0, le=LONGEST_AFTER)] = 0.0
    calls: Annotated[list[CallCount], Meta(max_length=MOST_COUNTS)] = []
    waited: Annotated[float, Meta(ge=0, le=MOST_TIMES)] = 0.0
    hooks: Annotated[list[HookCount], Meta(max_length=MOST_COUNTS)] = []


ToWorker = Configure | Retune | Deliver | Answer | Fence | Go | Ping | Drain
FromWorker = (
    Ready
    | Unfit
    | Standing
    | Calling
    | Called
    | Ask
    | AskTurn
    | TurnOver
    | TaskFailed
    | CodeLoaded
    | Fenced
    | Outcome
    | Heartbeat
)


def cut(text: str, length: int) -> str:
    """The text as a frame takes it: at most `length` characters, all of them Unicode."""
    return text[:length].encode(errors="replace").decode()
