"""What is pinned for the cluster cannot be read: nothing is decided, and it is told and mended."""

import pytest
from netaddr import IPNetwork

from calico.cluster import ClusterRecord
from calico.codec import decode_chain, decode_cluster, encode_cluster
from calico.keys import CHAIN, CLUSTER
from reconciler.controller.loop import PIN_EVERY
from reconciler.controller.pinned import pin_anew
from tests.unit.controller.cluster import Cluster
from tests.unit.reconciler.apps import app, task

TEXTS = [
    pytest.param("garbage", id="no JSON"),
    pytest.param("", id="empty"),
    pytest.param('{"schema": 1}', id="half of it"),
]
NEW = app(task("u", app="/other"), name="/other")


@pytest.fixture
def cluster() -> Cluster:
    """One task, and a leader that is let in."""
    cluster = Cluster()
    cluster.connect()
    cluster.run(app(task("t")))
    cluster.after(3)
    return cluster


def pinned(cluster: Cluster) -> ClusterRecord:
    stored = cluster.store.get(CLUSTER)
    assert stored is not None
    return decode_cluster(stored.value)


@pytest.mark.parametrize("text", TEXTS)
def test_that_it_cannot_be_read_is_told_soon_with_its_key_and_the_remedy(
    cluster: Cluster, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.store.put(CLUSTER, text)
    caplog.clear()

    cluster.after(PIN_EVERY)

    for told in (cluster.loop.blocked, cluster.loop.standing.waits):
        assert told.startswith(f"{CLUSTER} cannot be read")
        assert "`marathon-calico cluster adopt --yes`" in told
    # and once, however often it is met
    cluster.run(NEW)
    cluster.after(300)
    assert [vars(each)["why"] for each in caplog.records] == [cluster.loop.blocked]


def test_no_task_is_taken_in_once_that_was_told(cluster: Cluster) -> None:
    cluster.store.put(CLUSTER, "garbage")
    cluster.after(PIN_EVERY)

    cluster.run(NEW)

    assert set(cluster.specs()) == {"t"}


def test_the_next_leader_tells_so_too_and_takes_it_for_no_first_install(cluster: Cluster) -> None:
    specs, chain = cluster.specs(), cluster.store.get(CHAIN)
    cluster.store.put(CLUSTER, "garbage")

    cluster.start()
    cluster.connect()
    cluster.run(NEW)
    cluster.after(300)

    assert cluster.loop.standing.opened == ""
    assert cluster.loop.standing.waits.startswith(f"{CLUSTER} cannot be read")
    assert cluster.specs() == specs
    assert cluster.store.get(CHAIN) == chain
    stored = cluster.store.get(CLUSTER)
    assert stored is not None
    assert stored.value == "garbage"


@pytest.mark.parametrize("is_restarted", [False, True], ids=["the same leader", "another leader"])
def test_once_it_is_written_anew_all_goes_on(cluster: Cluster, *, is_restarted: bool) -> None:
    # given a record that cannot be read, and what changed in Marathon since
    before, specs = pinned(cluster), cluster.specs()
    cluster.store.put(CLUSTER, "garbage")
    cluster.after(PIN_EVERY)
    cluster.run(NEW)
    cluster.after(20)
    if is_restarted:
        cluster.start()
        cluster.connect()
        cluster.after(20)
    assert cluster.specs() == specs

    # when an operator has it written anew
    assert pin_anew(cluster.store)
    cluster.after(60)

    # then what ran has what it had, and the framework is pinned that answers
    after = pinned(cluster)
    assert cluster.loop.blocked == ""
    assert cluster.loop.standing.opened == after.chain[-1].nonce
    assert cluster.specs()["t"] == specs["t"]
    assert "u" in cluster.specs()
    assert (after.framework, after.allow_from) == ("first-0000", before.allow_from)
    assert after.allow_from == (IPNetwork("10.0.0.9"),)
    # and agents are told of the same takeovers as before, and of the next
    kept = [(each.number, each.nonce) for each in after.chain]
    assert kept[: len(before.chain)] == [(each.number, each.nonce) for each in before.chain]
    assert len(kept) == len(before.chain) + is_restarted


@pytest.mark.parametrize("text", TEXTS)
def test_it_is_written_anew_with_the_takeovers_that_agents_know(
    cluster: Cluster, text: str
) -> None:
    told = cluster.store.get(CHAIN)
    assert told is not None
    cluster.store.put(CLUSTER, text)

    assert pin_anew(cluster.store)

    assert pinned(cluster).chain == decode_chain(told.value)


@pytest.mark.parametrize("what", ["can be read", "is of another version", "is absent"])
def test_what_can_be_read_is_not_written_anew(cluster: Cluster, what: str) -> None:
    later = encode_cluster(ClusterRecord("uuid")).replace('"schema": 1', '"schema": 2')
    if what == "is absent":
        cluster.store.delete(CLUSTER)
    elif what == "is of another version":
        cluster.store.put(CLUSTER, later)
    before = cluster.store.get(CLUSTER)

    assert not pin_anew(cluster.store)

    assert cluster.store.get(CLUSTER) == before
