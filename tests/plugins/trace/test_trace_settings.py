"""`[plugins.trace]`: what it takes, and what it says of the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError
from trioworkers_plugins.trace import plugin as plugin_module
from trioworkers_plugins.trace.plugin import EXTRA, Settings

from trioworkers.config import FleetFileError, load_fleet
from trioworkers.plugins import Plugins
from trioworkers.plugins.plugin import Origin

if TYPE_CHECKING:
    from pathlib import Path


def test_everything_has_a_default() -> None:
    """The empty table switches the log on, and nothing else."""
    assert Settings() == Settings(sample=1.0, otlp=None)


@pytest.mark.parametrize("otlp", ["http://127.0.0.1:4318", "https://otel.example/", "http://[::1]:4318/base"])
def test_addresses_are_taken(otlp: str) -> None:
    """Of a collector near or far."""
    assert Settings(otlp=otlp).otlp == otlp


NO_ADDRESSES = (
    "", "127.0.0.1:4318", "grpc://a:1", "http://", "http://:1", "http://a:x", "http://a:99999",
    "http://a:1?b", "http://a:1#b", "http://user:password@a:1", "http://[::1",
)  # fmt: skip


@pytest.mark.parametrize("otlp", NO_ADDRESSES)
def test_what_is_no_address_is_refused(otlp: str) -> None:
    """A password would be in the fleet file in the open, and in the SDK's warnings."""
    with pytest.raises(ValidationError, match=r"expected an address such as") as caught:
        Settings(otlp=otlp)
    assert "password@" not in str(caught.value)


@pytest.mark.parametrize("sample", [-0.1, 1.1, "all"])
def test_a_share_is_a_number_from_0_to_1(sample: object) -> None:
    """A percentage is none."""
    with pytest.raises(ValidationError):
        Settings.model_validate({"sample": sample})


@pytest.mark.parametrize("missing", EXTRA)
def test_without_the_extra_an_address_is_refused(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install; without an address the extra is not needed."""
    monkeypatch.setattr(plugin_module, "_is_installed", lambda name: name != missing)
    with pytest.raises(ValidationError, match=rf"{missing} is not installed, install trioworkers\[otel\]"):
        Settings(otlp="http://127.0.0.1:4318")
    assert Settings().otlp is None


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("", False),
        ("[plugins.trace]", False),
        ("[plugins.trace]\notlp = 'http://127.0.0.1:4318'", True),
    ],
)
def test_workers_are_told_of_the_plugin_only_where_spans_are_sent(
    table: str, told: bool, tmp_path: Path
) -> None:
    """A thousand of them would import it for nothing."""
    (tmp_path / "fleet.toml").write_text(table)
    fleet = load_fleet(tmp_path / "fleet.toml", {})
    plugins = Plugins()
    plugins.add("trace", plugin_module, Origin("here"))
    plugins.retune(fleet, plugins.validated(fleet))
    assert [one.module for one in plugins.for_workers()] == ["trioworkers_plugins.trace.worker"] * told


def test_a_missing_extra_is_a_problem_of_the_fleet_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its place, and with what to install."""
    monkeypatch.setattr(plugin_module, "_is_installed", lambda name: False)
    (tmp_path / "fleet.toml").write_text("[plugins.trace]\notlp = 'http://127.0.0.1:4318'")
    plugins = Plugins()
    plugins.add("trace", plugin_module, Origin("here"))
    with pytest.raises(FleetFileError) as caught:
        plugins.validated(load_fleet(tmp_path / "fleet.toml", {}))
    (problem,) = map(str, caught.value.problems)
    assert problem.endswith(
        "fleet.toml:2:8: plugins.trace.otlp: opentelemetry-sdk is not installed, install trioworkers[otel]"
    )
