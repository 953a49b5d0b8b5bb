"""Values of plugins that several nodes of a cluster write at once."""

from __future__ import annotations

import threading

import pytest
from postgres_server import needs_postgres, postgres_server
from shared_lives import node

from trioworkers.inbox.store import ANY, PutValue, StoreError


@pytest.fixture
def database():
    needs_postgres()
    return postgres_server().database()


def test_a_value_that_was_expected_is_replaced_by_one_node_alone(database: str) -> None:
    """Two nodes count up at the same time, each from what it has read: no step of either is lost."""
    counted: list[int] = []

    def count(name: str) -> None:
        with node(database, name) as store:
            steps = 0
            for _ in range(400):
                found = store.value("p", "k", 1.0)
                (met,) = store.commit([PutValue("p", "k", b"%d" % (int(found or 0) + 1), None, found, 1.0)])
                steps += met is True
            counted.append(steps)

    with node(database) as store:
        threads = [threading.Thread(target=count, args=(name,)) for name in ("a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert int(store.value("p", "k", 1.0) or 0) == sum(counted)


def test_one_value_is_made_once(database: str) -> None:
    """Of nodes that begin together, the secret of one counts for all."""
    rounds = 60
    made: dict[str, list[bool]] = {"a": [], "b": []}
    barrier = threading.Barrier(2)

    def begin(name: str) -> None:
        with node(database, name) as store:
            for number in range(rounds):
                barrier.wait(30)
                put = PutValue("p", f"{number}", name.encode(), None, None, 1.0)
                made[name] += [met is True for met in store.commit([put])]

    with node(database):
        threads = [threading.Thread(target=begin, args=(name,)) for name in made]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [one + two for one, two in zip(made["a"], made["b"], strict=True)] == [1] * rounds


def test_values_in_another_order_do_not_stand_in_each_others_way(database: str) -> None:
    """Two nodes write the same values, each in its own order; neither is refused."""
    refused: list[StoreError] = []

    def write(name: str, keys: list[str]) -> None:
        with node(database, name) as store:
            for _ in range(100):
                try:
                    store.commit([PutValue("p", key, name.encode(), None, ANY, 1.0) for key in keys])
                except StoreError as error:
                    refused.append(error)

    keys = [f"{number}" for number in range(40)]
    with node(database):
        threads = [
            threading.Thread(target=write, args=args) for args in (("a", keys), ("b", [*reversed(keys)]))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert refused == []
