"""An admission for applications in tests, that keeps nothing on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import trio

from trioworkers.web.admission import Admission, make_admission

if TYPE_CHECKING:
    from collections.abc import Callable

NOWHERE = Path("/dev/null/sessions.json")  # cannot be read or written


def admission_for(
    token: str | Callable[[], str],
    *,
    loopback: bool = True,
    metrics_public: Callable[[], bool] = lambda: False,
    kept: Path = NOWHERE,
    refused: list[tuple[str, str]] | None = None,
) -> Admission:
    """Return an admission with this token. `refused`: where wrong attempts are noted."""
    noted = [] if refused is None else refused
    return make_admission(
        token if callable(token) else lambda: token,
        loopback=loopback,
        kept=kept,
        ends=trio.Event(),
        report=lambda source, what: noted.append((source, what)),
        metrics_public=metrics_public,
    )
