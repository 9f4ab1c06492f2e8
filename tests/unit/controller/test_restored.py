"""A datastore that was restored from a backup: its numbers begin anew."""

from dataclasses import replace
from typing import Any

import pytest

from calico.addressing.addresses import Addresses
from calico.codec import decode_applied
from calico.keys import applied_key
from calico.model import AppliedRecord, BootId, HostName, TaskId
from reconciler.core.removal.quarantine import REST
from tests.unit.controller.cluster import Cluster
from tests.unit.reconciler.apps import app, task

#: Far beyond what the restored store has come to.
FORMER_LIFE = 5_000


def tell(cluster: Cluster, *, gone: tuple[str, ...] = ()) -> None:
    """Both agents tell what they reached before the store was restored."""
    for name in ("h1", "h2"):
        word = AppliedRecord(HostName(name), BootId("boot"), FORMER_LIFE, tuple(map(TaskId, gone)))
        cluster.tell(word)
    cluster.tell_hosts()


def test_what_agents_applied_of_a_stores_former_life_lets_go_of_no_address() -> None:
    # given two tasks, and agents that still follow the store as it was
    cluster = Cluster()
    cluster.connect()
    ended = task("a.1")
    both = app(ended, task("a.2"))
    cluster.run(both)
    tell(cluster)
    (address,) = cluster.specs()["a.1"].addresses

    # when one task ends, and its address has rested for long
    cluster.kill(both, ended)
    cluster.after(REST + 10)
    assert Addresses(cluster.store).holder(address) == "a.1"

    # then it is free once the agents have followed the store as it is
    cluster.applied()
    cluster.after(10)
    assert Addresses(cluster.store).holder(address) is None


@pytest.mark.parametrize(
    "word",
    [
        pytest.param({"guid": "another"}, id="of another store"),
        pytest.param({"takeover": 99}, id="of another past"),
        pytest.param({"doubt": "went back"}, id="of one that is doubted"),
    ],
)
def test_what_a_host_applied_of_another_store_lets_go_of_no_address(word: dict[str, Any]) -> None:
    # given a task that ended, and two hosts that are as far as the store is
    cluster = Cluster()
    cluster.connect()
    ended = task("a.1")
    both = app(ended, task("a.2"))
    cluster.run(both)
    cluster.applied()
    (address,) = cluster.specs()["a.1"].addresses
    cluster.kill(both, ended)
    cluster.applied()

    # when one of them says so of another store
    stored = cluster.store.get(applied_key(HostName("h2")))
    assert stored is not None
    cluster.say(replace(decode_applied(HostName("h2"), stored.value), **word))
    cluster.tell_hosts()
    cluster.after(REST + 10)

    # then its word does not count
    assert Addresses(cluster.store).holder(address) == "a.1"


def test_what_agents_proved_in_a_stores_former_life_removes_nothing() -> None:
    cluster = Cluster()
    cluster.connect()
    cluster.run(app(*(task(f"a.{number}") for number in range(20))))
    cluster.marathon.current.clear()
    tell(cluster, gone=tuple(f"a.{number}" for number in range(20)))
    assert len(cluster.specs()) == 20
