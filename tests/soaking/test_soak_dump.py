"""The dump beside a cluster's soak: as slow as is wanted, and what it did to tables and answers."""

from __future__ import annotations

import time

import psycopg
from postgres_server import needs_postgres, postgres_server, program
from soaking.cluster_schedule import Plan, make_cluster_schedule
from soaking.dump import Size, answered, bloat, sizes, slow_dump


def test_a_dump_takes_most_of_a_soak() -> None:
    """It begins after some time without it; nothing else happens unless that is wanted, too."""
    (step,) = make_cluster_schedule(Plan(7, 750, nodes=3, bots=10, rate=1, troubles=("dump",)))
    assert (step.at, step.what, dict(step.how)) == (75, "dump", {"seconds": 600})


def test_a_dump_is_as_slow_as_is_wanted() -> None:
    """It is a real one, whose snapshot is older than what is written meanwhile."""
    needs_postgres()
    server = postgres_server()
    url = f"postgresql://tests@127.0.0.1:{server.port}/{server.database()}"
    with psycopg.connect(url) as connection:
        connection.execute("CREATE SCHEMA trioworkers CREATE TABLE mark (batch int)")
    assert sizes(url) == {"mark": Size(0, 0)}
    began = time.monotonic()
    assert slow_dump(program("pg_dump") or "", url, 2.0) == 0
    assert time.monotonic() - began >= 2.0


def test_the_growth_of_tables_is_shown() -> None:
    """Of those that grew; what grew little and has no dead rows is left out."""
    before = {"tally": Size(100_000, 0), "mark": Size(10_000, 0)}
    during = {"tally": Size(9_000_000, 5000), "mark": Size(20_000, 10), "calls": Size(10, 2000)}
    assert bloat(before, during, before) == {
        "tally": "0.1 > 9.0 > 0.1 MB (5000 dead rows)",
        "calls": "0.0 > 0.0 > 0.0 MB (2000 dead rows)",
    }


def test_answers_during_a_dump_are_told_apart() -> None:
    """By when their message was sent."""
    waits = [*([10.0, 10.5] for _ in range(3)), *([30.0, 31.0] for _ in range(3))]
    assert answered(waits, 20, 40) == {
        "during the dump": "median 1.000 s, 99 % 1.000 s",
        "without it": "median 0.500 s, 99 % 0.500 s",
    }
