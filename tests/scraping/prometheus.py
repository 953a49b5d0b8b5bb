"""Prometheus as the tests use it: its programs, and a server of a test's own that scrapes one address."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".tools/usr/bin"


def program(name: str) -> str:
    """Returns the path of `prometheus` or `promtool`; skips the test where there is none, but for CI."""
    found = shutil.which(name, path=f"{TOOLS}:{os.environ.get('PATH', '')}")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is missing; scripts/test fetches it")
        pytest.skip(f"{name} is missing; scripts/test fetches it")
    return found


def promtool(*words: str, text: str | None = None) -> str:
    """Runs promtool, which must succeed; returns what it prints."""
    result = subprocess.run(
        [program("promtool"), *words], input=text, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


class Prometheus:
    """A running server."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def ask(self, path: str, **params: str) -> dict[str, Any] | None:
        """GET a path of its API; None while it does not answer, or answers that it is still starting."""
        try:
            async with httpx.AsyncClient(timeout=10) as client:
                answer = await client.get(f"http://{self.address}{path}", params=params)
        except httpx.TransportError:
            return None
        if answer.status_code == 503:  # it listens before it has read its storage
            return None
        found: dict[str, Any] = answer.json()
        assert found["status"] == "success", (params, found)
        return found

    async def value(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The series of an expression at this moment: their labels and values."""
        found = await self.ask("/api/v1/query", query=expression)
        assert found is not None
        result = found["data"]["result"]
        if found["data"]["resultType"] == "scalar":
            return [({}, float(result[1]))]
        return [(row["metric"], float(row["value"][1])) for row in result]


@contextmanager
def prometheus(folder: Path, target: str, port: int) -> Iterator[Prometheus]:
    """Runs a server that scrapes `target` each second, as the job `trioworkers`, until the end."""
    folder.mkdir()
    document = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [{"job_name": "trioworkers", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(document))  # JSON is YAML
    address = f"127.0.0.1:{port}"
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield Prometheus(address)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def scraped(server: Prometheus, times: int, seconds: float = 60) -> None:
    """Waits until the target was scraped so often."""
    with trio.fail_after(seconds):
        while True:
            answer = await server.ask("/api/v1/query", query="count_over_time(up[5m])")
            rows = answer["data"]["result"] if answer else []
            if rows and float(rows[0]["value"][1]) >= times:
                return
            await trio.sleep(0.1)
