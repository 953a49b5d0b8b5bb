"""What a handler's exceptions mean for its update, and how handlers are found."""

from __future__ import annotations

import os
import py_compile
import sys
import time
import zipfile
from datetime import timedelta

import msgspec
import pytest
import trio

from trioworkers.botapi.errors import BotApiError, TransportError
from trioworkers.botapi.refusals import refusal
from trioworkers.errors import Dead, Drop, Retry, describe
from trioworkers.handling.bot import WaitsTooLong
from trioworkers.handling.outcome import outcome_of
from trioworkers.protocol.frames import ERROR_LENGTH, LONGEST_AFTER, WORDS_LENGTH, FromWorker, Outcome
from trioworkers.worker import probe
from trioworkers.worker.handler import HandlerError, import_handler
from trioworkers.worker.probe import probe_handler

SAID = "the handler said so"
SECRET = "my card is 4111 1111"


def raised(error):
    """The exception with a place where it was raised."""
    try:
        raise error
    except BaseException as caught:
        return caught


HERE = f" at {os.path.basename(__file__)}:{raised.__code__.co_firstlineno + 3} in raised"


def group(*errors):
    return BaseExceptionGroup("nursery", [raised(error) for error in errors])


# -- outcomes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Retry(), Outcome(7, "retry", error=SAID)),
        (Retry(2.5), Outcome(7, "retry", after=2.5, error=SAID)),
        (Retry(timedelta(minutes=1)), Outcome(7, "retry", after=60, error=SAID)),
        (WaitsTooLong(30), Outcome(7, "retry", after=30, counted=False, error=SAID)),
        (Dead("no use"), Outcome(7, "dead", error=SAID, words="no use")),
        (Drop("not for us"), Outcome(7, "drop", error=SAID, words="not for us")),
        (
            refusal("sendMessage", 403, "Forbidden: bot was blocked by the user"),
            Outcome(
                7,
                "dead",
                error=f"BotBlocked sendMessage 403{HERE}",
                words=f"sendMessage: 403 Forbidden: bot was blocked by the user{HERE}",
            ),
        ),
        (
            refusal("sendMessage", 400, 'Bad Request: can\'t parse entities: Unsupported tag "john" at 7'),
            Outcome(
                7,
                "dead",
                error=f"CannotParse sendMessage 400{HERE}",
                words=f"sendMessage: 400 Bad Request: can't parse entities: Unsupported tag … at 7{HERE}",
            ),
        ),
        (
            BotApiError("sendMessage", 400, "Bad Request: chat not found"),
            Outcome(
                7,
                "dead",
                error=f"BotApiError sendMessage 400{HERE}",
                words=f"sendMessage: 400 Bad Request: chat not found{HERE}",
            ),
        ),
        (
            refusal("getMe", 500, "Internal Server Error"),
            Outcome(
                7,
                "retry",
                error=f"ServerError getMe 500{HERE}",
                words=f"getMe: 500 Internal Server Error{HERE}",
            ),
        ),
        (
            refusal("getMe", 401, "Unauthorized"),
            Outcome(
                7, "retry", error=f"Unauthorized getMe 401{HERE}", words=f"getMe: 401 Unauthorized{HERE}"
            ),
        ),
        (
            TransportError("getMe", "timed out (ReadTimeout)"),
            Outcome(7, "retry", error=f"TransportError getMe: timed out (ReadTimeout){HERE}"),
        ),
    ],
)
@pytest.mark.parametrize("wrapped", [0, 1, 3])
def test_each_exception_has_its_outcome(error, outcome, wrapped):
    """Also inside of groups, however deep, as nurseries raise them."""
    error = raised(error)
    for _ in range(wrapped):
        error = BaseExceptionGroup("nursery", [error])
    assert outcome_of(7, error) == outcome


@pytest.mark.parametrize(
    "error",
    [
        ValueError(SECRET),
        KeyError(SECRET),
        ExceptionGroup(SECRET, [ValueError(SECRET)]),
        KeyboardInterrupt(SECRET),
        SystemExit(SECRET),
        GeneratorExit(SECRET),
        trio.TooSlowError(SECRET),
        RecursionError(SECRET),
    ],
)
def test_other_exceptions_ask_for_a_retry_and_quote_nothing(error):
    """What an exception says may be what a user wrote; type and place are enough."""
    outcome = outcome_of(7, raised(error))
    assert (outcome.result, outcome.after, outcome.counted, outcome.words) == ("retry", None, True, "")
    assert SECRET not in outcome.error
    assert outcome.error


@pytest.mark.parametrize("code", [400, 401, 403, 409, 500])
def test_telegrams_words_are_for_the_dead_letter_only(code):
    """What goes to events and logs names class, method, code and place; a description may quote a user."""
    outcome = outcome_of(7, raised(refusal("sendMessage", code, f"Forbidden: {SECRET}")))
    assert SECRET not in outcome.error
    assert SECRET in outcome.words


def test_a_handler_may_say_that_a_refusal_heals():
    """And that one does not."""
    error = refusal("sendMessage", 400, "Bad Request: chat not found")
    error.heals = True
    assert outcome_of(7, error).result == "retry"
    error = refusal("sendMessage", 500, "Internal Server Error")
    error.heals = False
    assert outcome_of(7, error).result == "dead"


@pytest.mark.parametrize(
    ("errors", "result"),
    [
        ([Drop("a"), Drop("b")], "drop"),
        ([Drop("a"), Retry()], "retry"),
        ([Drop("a"), ValueError()], "retry"),
        ([ValueError(), Retry(5)], "retry"),
        ([ValueError(), Dead("x")], "dead"),
        ([Retry(), Drop("a"), Dead("x")], "dead"),
        ([Retry(), BotApiError("sendMessage", 403, "Forbidden")], "dead"),
        ([ValueError(), BotApiError("sendMessage", 400, "Bad Request")], "dead"),
        ([ValueError(), BotApiError("sendMessage", 409, "Conflict")], "retry"),
    ],
)
def test_in_a_group_the_gravest_counts(errors, result):
    """Dead, then a retry, and a drop only if all agree; whatever the order."""
    assert outcome_of(7, group(*errors)).result == result
    assert outcome_of(7, group(*reversed(errors))).result == result
    assert outcome_of(7, group(errors[0], group(*errors[1:]))).result == result


def test_a_wait_that_was_asked_for_is_kept_in_a_group():
    """An error beside it does not replace it by the back-off."""
    assert outcome_of(7, group(ValueError(), Retry(5))).after == 5


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Dead(ValueError("because")), "because"),  # type: ignore[arg-type]
        (Dead(42), "42"),  # type: ignore[arg-type]
        (Dead("\ud800"), "?"),
        (Dead(Unspeakable()), "Unspeakable"),  # type: ignore[arg-type]
        (Drop(ValueError("because")), "because"),  # type: ignore[arg-type]
        (Retry(True), ""),
        (Dead("x" * 10_000), "x" * 2000),
        (BotApiError("m" * 10_000, 403, "\ud800" * 10_000), f"{'m' * 200}: 403 {'?' * 200}…{HERE}"),
        (BotApiError("m" * 10_000, 500, "x"), f"{'m' * 200}: 500 x{HERE}"),
        (TransportError("m", "\ud800" * 10_000), ""),
        (type("E" * 10_000, (Exception,), {})(), ""),
        (Retry(-1), ""),
        (Retry(1e300), ""),
        (Retry(float("nan")), ""),
        (Retry(float("inf")), ""),
    ],
)
def test_whatever_a_handler_says_fits_in_a_frame(error, words):
    """`raise Dead(error)` must not end the worker, nor the daemon's channel to it."""
    outcome = outcome_of(7, raised(error))
    assert outcome.words == words
    assert msgspec.json.decode(msgspec.json.encode(outcome), type=FromWorker) == outcome


def test_a_long_wait_is_kept_within_what_a_frame_takes():
    """A week; and one before now is now."""
    assert outcome_of(7, Retry(1e9)).after == LONGEST_AFTER
    assert outcome_of(7, Retry(-5)).after == 0


def test_a_refusal_is_told_in_few_words():
    """A hostile server's description does not fill the table of dead letters."""
    outcome = outcome_of(7, BotApiError("sendMessage", 403, "Forbidden" + "!" * 10_000))
    assert outcome.words.startswith("sendMessage: 403 Forbidden!")
    assert len(outcome.words) == len("sendMessage: 403 ") + 200 + len("…")
    assert 2000 <= ERROR_LENGTH < WORDS_LENGTH


# -- finding handlers -------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for handler modules; what is imported from it is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def write(folder, source, name="my_handler.py"):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(source)


def test_a_handler_is_found_with_its_hooks(folder):
    """Functions around a worker's life are those of its module, if they are async."""
    write(
        folder,
        "async def handle(update, bot): pass\nasync def start(bot): pass\nasync def stop(bot): pass\n"
        "async def settings_changed(bot): pass\n",
    )
    handler = import_handler("my_handler:handle", [str(folder)])
    module = sys.modules["my_handler"]
    assert (handler.handle, handler.start, handler.stop, handler.settings_changed) == (
        module.handle,
        module.start,
        module.stop,
        module.settings_changed,
    )
    assert len(handler.code) == 12


def test_an_object_whose_call_is_async_will_do(folder):
    """And hooks need not be there."""
    write(folder, "class H:\n    async def __call__(self, update, bot): pass\nhandle = H()\n")
    handler = import_handler("my_handler:handle", [str(folder)])
    assert (handler.start, handler.stop, handler.settings_changed) == (None, None, None)


def test_the_fingerprint_follows_the_source(folder):
    """The same source has the same code, another one another."""
    codes = []
    for name, line in (("one", "x = 1"), ("two", "x = 1"), ("three", "x = 2")):
        write(folder, f"{line}\nasync def handle(update, bot): pass\n", f"{name}.py")
        codes.append(import_handler(f"{name}:handle", [str(folder)]).code)
    assert codes[0] == codes[1] != codes[2]


def test_any_file_that_a_handler_comes_from_has_a_fingerprint(folder):
    """An archive's member, and bytecode without its source; a source that is not UTF-8."""
    source = "async def handle(update, bot): pass  # é\n"
    with zipfile.ZipFile(folder / "bots.zip", "w") as archive:
        archive.writestr("zipped.py", source)
    write(folder, source, "source.py")
    py_compile.compile(str(folder / "source.py"), cfile=str(folder / "compiled.pyc"))
    (folder / "latin.py").write_bytes(f"# coding: latin-1\n{source}".encode("latin-1"))
    places = [str(folder), str(folder / "bots.zip")]
    codes = {
        name: import_handler(f"{name}:handle", places).code
        for name in ("source", "zipped", "compiled", "latin")
    }
    assert codes["source"] == codes["zipped"]
    assert all(len(code) == 12 for code in codes.values())
    assert len(set(codes.values())) == 3


def test_python_path_comes_first(folder):
    """A module of the bot hides one of the same name elsewhere."""
    for place in ("a", "b"):
        write(folder, f"where = '{place}'\nasync def handle(update, bot): pass\n", f"{place}/my_handler.py")
    sys.path.append(str(folder / "b"))
    import_handler("my_handler:handle", [str(folder / "a"), str(folder / "b")])
    assert sys.modules["my_handler"].where == "a"


FAILURES = {
    "missing module": ("nothing_here:handle", "", r"it was not found in .+"),
    "missing package": ("no_package.inner:handle", "", r"it was not found in .+"),
    "missing dependency": (
        "my_handler:handle",
        "import no_such_dependency",
        r"module 'no_such_dependency', which it imports, was not found in .+",
    ),
    "missing function": ("my_handler:other", "", r"the module has no 'other'"),
    "no function": ("my_handler", "", r"the module has no ''"),
    "not async": (
        "my_handler:handle",
        "def handle(update, bot): pass",
        r"expected an async function, got function",
    ),
    "not a function": ("my_handler:handle", "handle = 5", r"expected an async function, got int"),
    "too few parameters": (
        "my_handler:handle",
        "async def handle(update): pass",
        r"expected a function of \(update, bot\), got one of \(update\)",
    ),
    "too many parameters": (
        "my_handler:handle",
        f"async def handle(update, bot, more, last='{SECRET}'): pass",
        r"expected a function of \(update, bot\), got one of \(update, bot, more, last\)",
    ),
    "an object with too few": (
        "my_handler:handle",
        "class Handler:\n    async def __call__(self, update): pass\nhandle = Handler()",
        r"expected a function of \(update, bot\), got one of \(update\)",
    ),
    "syntax error": (
        "my_handler:handle",
        f"x = '{SECRET}'\ndef (",
        r"syntax error at .*my_handler\.py:2:5: invalid syntax",
    ),
    "raises": (
        "my_handler:handle",
        f"def f():\n    raise ValueError('{SECRET}')\nf()",
        r"importing it raised ValueError at my_handler\.py:2 in f",
    ),
    "raises a group": (
        "my_handler:handle",
        f"raise ExceptionGroup('{SECRET}', [ValueError()])",
        r"importing it raised ValueError at my_handler\.py:1 in <module>",
    ),
    "exits": (
        "my_handler:handle",
        f"raise SystemExit('{SECRET}')",
        r"importing it raised SystemExit at my_handler\.py:1 in <module>",
    ),
    "null bytes": ("my_handler:handle", "x\0", r"(syntax error|importing it raised).*"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_is_wrong_with_a_handler_is_told(folder, name):
    """In one line that names the handler and the place, and quotes no value."""
    handler, source, words = FAILURES[name]
    write(folder, source)
    with pytest.raises(HandlerError, match=f"^{handler}: {words}$") as caught:
        import_handler(handler, [str(folder)])
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("hook", ["start", "stop", "settings_changed"])
def test_a_hook_takes_a_bot(folder, hook):
    """Another one would fail in our code, where its author does not look."""
    write(folder, f"async def handle(update, bot): pass\nasync def {hook}(): pass\n")
    words = rf"^my_handler:{hook}: expected a function of \(bot\), got one of \(\)$"
    with pytest.raises(HandlerError, match=words):
        import_handler("my_handler:handle", [str(folder)])


@pytest.mark.parametrize(
    "source",
    [
        "async def handle(*args): pass",
        "async def handle(update, bot, *, dry=False): pass",
        "async def handle(u, b=None, **more): pass",
        "class Handler:\n    async def __call__(self, update, bot): pass\nhandle = Handler()",
        "class Handler:\n    async def handle(self, update, bot): pass\nhandle = Handler().handle",
        "import functools\nasync def f(db, update, bot): pass\nhandle = functools.partial(f, 5)",
        "import functools\ndef checked(f):\n    @functools.wraps(f)\n    async def call(*args):\n"
        "        await f(*args)\n    return call\n@checked\nasync def handle(update, bot): pass",
    ],
)
def test_whatever_can_be_called_with_an_update_and_a_bot_is_a_handler(folder, source):
    """By any names, with more that may be left out, as an object, as a part of another function."""
    write(folder, source)
    assert callable(import_handler("my_handler:handle", [str(folder)]).handle)


# -- probing ----------------------------------------------------------------------------------------


def try_out(folder, source, handler="my_handler:handle"):
    write(folder, source)
    environ = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    return probe_handler(handler, [str(folder)], folder, environ)


def test_a_good_handler_has_no_problem(folder):
    """And nothing of it was imported here."""
    assert try_out(folder, "async def handle(update, bot): pass") is None
    assert "my_handler" not in sys.modules


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "the module has no 'handle'"),
        ("import os\nos._exit(3)", "importing it ended the process (exit code 3)"),
        ("import os, signal\nos.kill(os.getpid(), 11)", "importing it ended the process (exit code -11)"),
    ],
)
def test_a_bad_handler_is_told(folder, source, words):
    """Whatever it does to its process."""
    assert try_out(folder, source) == f"my_handler:handle: {words}"


@pytest.mark.parametrize("written", ["b'x'", "b'null'", "b'\\xff'", "b'[1]'"])
def test_a_module_that_answers_in_the_probes_place_is_told(folder, written):
    """It wrote to a descriptor that it found open; there is no traceback."""
    source = (
        "import os\nfor fd in range(3, 50):\n"
        f"    try: os.write(fd, {written})\n    except OSError: pass\nasync def handle(update, bot): pass"
    )
    words = "importing it wrote to a descriptor that is not its own"
    assert try_out(folder, source) == f"my_handler:handle: {words}"


def test_what_a_module_prints_is_no_answer(folder):
    """Its output goes nowhere, threads and all."""
    source = (
        "import threading, time, sys\nprint('null', flush=True)\nsys.stderr.write('x')\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\nasync def handle(update, bot): pass"
    )
    assert try_out(folder, source) is None


def alive(pid):
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("hangs", [True, False])
def test_nothing_of_a_probe_is_left(folder, monkeypatch, hangs):
    """Neither one that hangs on import, at the time limit, nor what a module started."""
    monkeypatch.setattr(probe, "TIME_LIMIT", 1.0 if hangs else 20.0)
    problem = try_out(
        folder,
        "import os, subprocess, time\nchild = subprocess.Popen(['sleep', '100'])\n"
        f"open('pids', 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        f"time.sleep({100 if hangs else 0})\nasync def handle(update, bot): pass",
    )
    assert problem == ("my_handler:handle: importing it took longer than 1 s" if hangs else None)
    pids = [int(pid) for pid in (folder / "pids").read_text().split()]
    deadline = time.monotonic() + 5
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert [pid for pid in pids if alive(pid)] == []


# -- describing -------------------------------------------------------------------------------------


def test_an_exception_is_described_by_type_and_place():
    """The last line of our own code, not that of a library; without a place only the type."""
    assert describe(ValueError(SECRET)) == "ValueError"
    text = describe(raised(ValueError(SECRET)))
    assert text.startswith("ValueError at test_worker_handler.py:")
    assert text.endswith(" in raised")
    with pytest.raises(pytest.fail.Exception) as caught:
        pytest.fail("inside of a library")
    assert describe(caught.value).startswith("Failed at test_worker_handler.py:")


def test_a_group_is_described_by_what_is_in_it():
    """The first exception with its place, and the number of the others; the group's place if it has none."""
    text = describe(raised(group(KeyError(SECRET), group(ValueError(SECRET), OSError(SECRET)))))
    assert text.startswith("KeyError at test_worker_handler.py:")
    assert text.endswith(" in raised, and 2 more")
    assert describe(raised(ExceptionGroup(SECRET, [ValueError()]))).endswith(" in raised")
    assert describe(ExceptionGroup(SECRET, [ValueError(), KeyError()])) == "ValueError, and 1 more"
