"""The service under a real systemd, from its installation to its removal; each test leaves it running."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from installed import SHUTDOWN, UNIT

if TYPE_CHECKING:
    from pathlib import Path

    from installed import Installed
    from machine import Machine

READY = "2 bots: 2 running; 0 updates waiting"
BAD = "concurrency = -1\n"
KNOCK = """
import http.client, json, os, time
found = {}
while not os.path.exists("/run/enough"):
    connection = http.client.HTTPConnection("127.0.0.1", 3001, timeout=30)
    try:
        connection.request("GET", "/health")
        result = str(connection.getresponse().status)
    except OSError as error:
        result = type(error).__name__
    except http.client.HTTPException as error:
        result = type(error).__name__
    connection.close()
    found[result] = found.get(result, 0) + 1
    time.sleep(0.002)
print(json.dumps(found))
"""


def test_it_is_installed_and_becomes_ready(installed: Installed, machine: Machine) -> None:
    """systemd heard of READY with the status; the bots run as a made-up user, in a sandbox, and answer."""
    assert machine.show(UNIT, "ActiveState") == "active"
    assert machine.show(UNIT, "StatusText") == READY
    assert machine.show(UNIT, "NRestarts") == "0"
    user = machine.out("stat", "-c", "%u", f"/proc/{installed.pid()}")
    assert 61184 <= int(user) <= 65519  # systemd.exec(5), DynamicUser=
    assert machine.out("stat", "-c", "%u", f"/proc/{installed.workers()['one']}") == user
    assert installed.say("one", "hello") == "hello"
    found = machine.run("systemd-analyze", "verify", "/etc/systemd/system/trioworkers.service")
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_root_needs_no_fleet_file_for_status_and_stop(installed: Installed, machine: Machine) -> None:
    """Without `-c`, the commands find the service's socket and logs; `stop` ends it until it is started."""
    assert "2 bots: 2 running" in machine.out("trioworkers", "status")
    assert "daemon.ready" in machine.out("trioworkers", "logs")
    assert machine.out("trioworkers", "stop") == "stopped"
    machine.until(lambda: machine.show(UNIT, "ActiveState") == "inactive")
    stopped = machine.run("trioworkers", "status")
    assert (stopped.returncode, "no daemon is running" in stopped.stderr) == (3, True)
    machine.out("systemctl", "start", UNIT)
    assert installed.say("two", "back") == "back"


def test_a_reload_changes_the_fleet(installed: Installed, machine: Machine) -> None:
    """`systemctl reload` returns when the change is in force; no process is replaced for a limit."""
    before, workers = installed.pid(), installed.workers()
    installed.configure(bot="concurrency = 3\n")
    machine.out("systemctl", "reload", UNIT)
    assert machine.show(UNIT, "ActiveState") == "active"
    assert (installed.pid(), installed.workers()) == (before, workers)
    installed.configure()
    machine.out("systemctl", "reload", UNIT)


def test_a_bad_reload_fails_and_is_logged_once(installed: Installed, machine: Machine) -> None:
    """`systemctl reload` fails, nothing changes, and one line of the journal says what is wrong."""
    before, workers = installed.pid(), installed.workers()
    cursor = machine.cursor()
    installed.configure(bot=BAD)
    done = machine.run("systemctl", "reload", UNIT)
    assert done.returncode != 0
    machine.until(lambda: "refused" in machine.show(UNIT, "StatusText"))
    assert machine.show(UNIT, "ActiveState") == "active"
    assert (installed.pid(), installed.workers()) == (before, workers)
    assert not installed.status()["fleet"]["config"]["last_reload_ok"]
    assert installed.say("one", "still here") == "still here"
    told = [line["MESSAGE"] for line in machine.journal(UNIT, cursor) if "concurrency" in line["MESSAGE"]]
    assert len(told) == 1, told
    installed.configure()
    machine.out("systemctl", "reload", UNIT)
    assert machine.show(UNIT, "StatusText") == READY


def test_lines_of_the_journal_have_their_priorities(installed: Installed, machine: Machine) -> None:
    """Information is 6, an error 3; also what a daemon says that does not start, and is not started again."""
    cursor = machine.cursor()
    installed.configure(bot=BAD)
    machine.run("systemctl", "reload", UNIT)
    machine.run("systemctl", "restart", UNIT)
    machine.until(lambda: machine.show(UNIT, "ActiveState") == "failed")
    assert machine.show(UNIT, "ExecMainStatus") == "78"
    installed.configure()
    machine.out("systemctl", "reset-failed", UNIT)
    machine.out("systemctl", "start", UNIT)
    lines = machine.journal(UNIT, cursor)
    priorities = {
        word: {line["PRIORITY"] for line in lines if word in line["MESSAGE"] and line["_COMM"] != "systemd"}
        for word in ("daemon.ready", "daemon.stopping", "reload.refused", "bots.one.concurrency", "1 problem")
    }
    assert priorities == {
        "daemon.ready": {"6"},
        "daemon.stopping": {"6"},
        "reload.refused": {"3"},
        "bots.one.concurrency": {"3"},
        "1 problem": {"3"},
    }


def test_a_daemon_that_hangs_is_restarted(installed: Installed, machine: Machine) -> None:
    """The watchdog ends it, its stack is in the journal, no worker outlives it, and the bots are back."""
    before, workers = installed.pid(), installed.workers()
    cursor = machine.cursor()
    machine.write("/etc/trioworkers/freeze", "")
    machine.until(lambda: machine.show(UNIT, "NRestarts") == "1", 30)
    installed.until_ready()
    assert installed.pid() != before
    for pid in workers.values():
        assert machine.run("test", "-e", f"/proc/{pid}").returncode == 1
    told = "\n".join(line["MESSAGE"] for line in machine.journal(UNIT, cursor))
    assert "Watchdog timeout" in told
    assert 'freezes.py", line' in told
    assert installed.say("one", "again") == "again"


def test_no_connection_is_refused_over_restarts(installed: Installed, machine: Machine) -> None:
    """With trioworkers.socket, those who come while no daemon runs wait for the next one."""
    machine.out("systemctl", "stop", UNIT)
    machine.out("systemctl", "start", "trioworkers.socket", UNIT)
    with machine.started("python3", "-c", KNOCK) as knocking:
        for _ in range(2):
            machine.out("systemctl", "restart", UNIT)
        machine.out("touch", "/run/enough")  # /run is mounted: it is not seen from outside
        found = json.loads(knocking.communicate(timeout=60)[0])
    assert set(found) == {"200"}, found
    assert found["200"] > 10
    machine.out("systemctl", "stop", "trioworkers.socket", UNIT)
    machine.out("systemctl", "start", UNIT)


def test_a_stop_takes_no_longer_than_it_may(installed: Installed, machine: Machine) -> None:
    """A handler that sleeps on does not hold it up; its update waits for the next start."""
    assert installed.say("two", "-sleep") == "-"
    machine.until(lambda: installed.status()["workers"][1]["queue"]["in_flight"] == 1)
    cursor, began = machine.cursor(), time.monotonic()
    machine.out("systemctl", "stop", UNIT)
    assert time.monotonic() - began < SHUTDOWN + 5
    assert machine.show(UNIT, "Result") == "success"
    told = "\n".join(line["MESSAGE"] for line in machine.journal(UNIT, cursor))
    assert "daemon.stopped" in told
    assert "SIGKILL" not in told
    machine.write("/etc/trioworkers/echo.py", "async def handle(update, bot):\n    await bot.send_message("
                  "chat_id=update.chat_id, text=update.text)\n")  # fmt: skip
    machine.out("systemctl", "start", UNIT)
    assert installed.say("two", "woken") == "sleep"  # the answer to what waited comes first


def test_an_upgrade_restarts_the_service(installed: Installed, machine: Machine) -> None:
    """With a backup before it; the old release is kept, `--rollback` goes back to it."""
    before, release = installed.pid(), installed.release()
    done = installed.install()
    assert done.returncode == 0, done.stderr
    assert installed.pid() != before
    assert installed.release() != release
    assert machine.out("readlink", f"/proc/{installed.pid()}/exe")
    assert machine.out("sh", "-c", "ls /var/lib/trioworkers/backups/*.db")
    assert machine.show(UNIT, "StatusText") == READY
    machine.out("/checkout/scripts/install", "--rollback")
    assert installed.release() == release
    assert machine.show(UNIT, "StatusText") == READY


def test_a_release_that_refuses_the_fleet_changes_nothing(
    installed: Installed, machine: Machine, tmp_path: Path
) -> None:
    """It is tried with the service's credentials before the service hears of it."""
    before, release = installed.pid(), installed.release()
    line = (
        "def load_fleet(*_, **__): raise FleetFileError([Problem(Path('x'), 0, 0, '', 'is not to my taste')])"
    )
    done = installed.install(installed.spoilt(tmp_path, "trioworkers/config/fleetfile.py", line))
    assert done.returncode == 1
    assert "nothing was changed" in done.stderr
    assert "is not to my taste" in done.stderr
    assert (installed.pid(), installed.release()) == (before, release)
    assert len(machine.out("ls", "/opt/trioworkers/releases").split()) == 2


def test_a_release_that_does_not_start_is_rolled_back(
    installed: Installed, machine: Machine, tmp_path: Path
) -> None:
    """The old one runs again, with the same bots."""
    release = installed.release()
    spoilt = installed.spoilt(
        tmp_path, "trioworkers/run.py", "def run_daemon(*_, **__): raise OSError(5, 'no')"
    )
    done = installed.install(spoilt)
    assert done.returncode == 1
    assert "was rolled back" in done.stderr
    assert installed.release() == release
    assert machine.show(UNIT, "StatusText") == READY
    assert installed.say("one", "unharmed") == "unharmed"


def test_an_upgrade_that_is_ended_in_the_middle_is_rolled_back(
    installed: Installed, machine: Machine, tmp_path: Path
) -> None:
    """As by a terminal that is closed: the release that was in use is in use again, and is there."""
    release, releases = installed.release(), machine.out("ls", "/opt/trioworkers/releases")
    line = (
        "import signal, time\ndef run_daemon(*_, **__): signal.signal(15, signal.SIG_DFL) or time.sleep(600)"
    )
    words = installed.installation(installed.spoilt(tmp_path, "trioworkers/run.py", line))
    machine.out("systemd-run", "--unit=installing", *words)
    machine.until(lambda: installed.release() != release)
    machine.until(lambda: machine.show(UNIT, "ActiveState") == "activating")
    machine.out("systemctl", "stop", "installing")
    assert installed.release() == release
    installed.until_ready()
    assert machine.show(UNIT, "StatusText") == READY
    assert machine.out("ls", "/opt/trioworkers/releases") == releases
    assert installed.say("one", "still there") == "still there"


def test_a_fleet_of_a_user_runs_by_the_printed_unit(installed: Installed, machine: Machine) -> None:
    """As that user; its links do not make root give folders away; upgrades restart it."""
    machine.out("useradd", "-m", "ann")
    machine.out("su", "ann", "-c", "mkdir /home/ann/b; ln -s /etc /home/ann/b/s; chmod 755 /home/ann")
    machine.write("/home/ann/b/fleet.toml", '[fleet]\nstate_dir = "s"\n[api]\nbind = "127.0.0.1:3002"\n')
    machine.out("chown", "ann:", "/home/ann/b/fleet.toml")
    unit, file = "trioworkers.home.ann.b.service", "/home/ann/b/fleet.toml"
    make = f"trioworkers -c {file} unit >/etc/systemd/system/{unit}; systemctl daemon-reload"
    machine.out("sh", "-c", make)
    assert machine.run("systemctl", "start", unit).returncode != 0
    assert machine.out("stat", "-c", "%U %a", "/etc") == "root 755"
    machine.out("systemctl", "stop", unit)
    machine.out("rm", "/home/ann/b/s")
    machine.out("systemctl", "start", unit)
    assert machine.out("stat", "-c", "%U %a", "/home/ann/b/s") == "ann 700"
    before = machine.show(unit, "MainPID")
    done = installed.install()
    assert done.returncode == 0, done.stderr
    assert machine.show(unit, "MainPID") not in ("0", before)


def test_it_is_uninstalled(installed: Installed, machine: Machine) -> None:
    """Program and units are gone, state and fleet are left; with `--purge` nothing is."""
    machine.write("/etc/trioworkers/shop.toml", "")
    machine.out("systemctl", "enable", "trioworkers@shop")  # it was never started
    machine.write("/etc/systemd/system/trioworkers.socket.d/x.conf", "")
    machine.out("/checkout/scripts/install", "--uninstall")
    assert machine.show(UNIT, "LoadState") == "not-found"
    for path in ("/opt/trioworkers", "/usr/local/bin/trioworkers", "/run/trioworkers"):
        assert machine.run("test", "-e", path).returncode == 1, path
    for path in ("/etc/trioworkers/fleet.toml", "/var/lib/trioworkers/inbox.db"):
        assert machine.run("test", "-e", path).returncode == 0, path
    machine.out("/checkout/scripts/install", "--uninstall", "--purge")
    for path in (
        "/etc/trioworkers",
        "/var/lib/trioworkers",
        "/var/lib/private/trioworkers",
        "/var/log/trioworkers",
    ):
        assert machine.run("test", "-e", path).returncode == 1, path
    assert "trioworkers" not in machine.out("ls", "-R", "/etc/systemd/system", "/run/systemd/system")
    assert machine.out("systemctl", "list-units", "--all", "--plain", "--no-legend", "trioworkers*") == ""
