"""What a process may use of its machine, as /proc and the control groups say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trioworkers.machine import this_machine

if TYPE_CHECKING:
    from pathlib import Path

MB = 2**20
V2 = ["30 20 0:26 / {root} rw - cgroup2 cgroup2 rw"]
V1 = ["30 20 0:26 / {root} rw - cgroup cgroup rw,memory"]


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "memory"),
    [
        (["0::/a/b"], V2, {"a/b/memory.max": "max", "a/memory.max": str(300 * MB)}, 300 * MB),
        (["0::/a/b"], V2, {"a/b/memory.max": str(200 * MB), "a/memory.max": str(300 * MB)}, 200 * MB),
        (["0::/a"], V2, {"a/memory.max": "max"}, 1000 * MB),
        (["0::/a"], V2, {"a/memory.max": str(9000 * MB)}, 1000 * MB),
        (["4:memory:/a"], V1, {"a/memory.limit_in_bytes": str(150 * MB)}, 150 * MB),
        (["4:memory:/a"], V1, {"a/memory.limit_in_bytes": "9223372036854771712"}, 1000 * MB),
        ([], [], {}, 1000 * MB),
    ],
    ids=["around", "own", "no limit", "more than there is", "v1", "v1 without limit", "none"],
)
def test_the_memory_is_what_the_machine_and_its_groups_allow(
    tmp_path: Path, groups: list[str], mounts: list[str], files: dict[str, str], memory: int
) -> None:
    """The least of all counts, also that of a group around one's own."""
    root, proc = tmp_path / "cgroup", tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemFree: 1 kB\nMemTotal:  1024000 kB\n")
    (proc / "self/cgroup").write_text("".join(f"{line}\n" for line in groups))
    (proc / "self/mountinfo").write_text("".join(f"{line}\n" for line in mounts).format(root=root))
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    assert this_machine(proc).memory == memory


def test_memory_that_nobody_tells_is_not_known(tmp_path: Path) -> None:
    """And no reason to fail."""
    assert this_machine(tmp_path).memory == 0


def test_this_machine_has_cores_and_memory() -> None:
    """Read from where it really is."""
    found = this_machine()
    assert found.cores >= 1
    assert found.memory > 64 * MB
