"""A controller killed before any write of a claim: the next one ends where it would have."""

from dataclasses import replace

from netaddr import IPAddress, IPNetwork

from calico.addressing.addresses import Addresses
from calico.addressing.audit import Miscounted, drifts
from calico.addressing.blocks import ON_HOST, OWNER
from calico.addressing.books import decode_books
from calico.addressing.ledger import Ledger
from calico.datastore.memory import MemoryDatastore
from calico.keys import ENDPOINTS, IPAM, TASKS
from calico.model import HandleId, Pool
from calico.names import handle_of_container, interface_of_container
from marathon_client.models import Task
from reconciler.controller.addresses.leftovers import LOOK_EVERY
from reconciler.core.removal.quarantine import REST
from tests.convergence.test_ipam_kills import Killed, MortalStore
from tests.unit.controller.attaching import BOX, attach
from tests.unit.controller.cluster import Cluster
from tests.unit.reconciler.apps import app, network, task

POOLS = (Pool(IPNetwork("10.9.0.0/25")), Pool(IPNetwork("fd80::/64")))
NAMED = network("g", name="calico")
#: A controller that starts tries some forty writes, most of which find their key there.
MOST_WRITES = 60


def attached_cluster() -> tuple[Cluster, Task]:
    """A cluster in which a container waits for its task, which Marathon just started."""
    cluster = Cluster(pools=POOLS)
    cluster.connect()
    cluster.applied()
    given = attach(cluster.store, versions=(4, 6), runs="dead.1")
    return cluster, replace(task("dead.1"), addresses=given[:1])


def die_after(writes: int) -> tuple[Cluster, Task, bool]:
    """The same once a controller died before its write of that number; whether it was done."""
    cluster, one = attached_cluster()
    made = app(one, net=NAMED)
    cluster.marathon.put(made)
    assert isinstance(cluster.store, MemoryDatastore)
    living, cluster.store = cluster.store, MortalStore(cluster.store, writes)
    try:
        cluster.start()
        cluster.connect()
    except Killed:
        return with_store(cluster, living), one, False
    return with_store(cluster, living), one, True


def with_store(cluster: Cluster, store: MemoryDatastore) -> Cluster:
    cluster.store = store
    return cluster


def assert_no_address_is_lost(store: MemoryDatastore, given: tuple[IPAddress, ...]) -> None:
    """Every address is the container's or the task's, and counted by its holder."""
    for address in given:
        held = Addresses(store).allocation(address)
        assert held is not None
        assert held.handle in (handle_of_container(BOX), "dead.1")
        assert {OWNER, (ON_HOST, "h1")} <= set(held.secondary)
        assert held.container == BOX
        counts = Ledger(store).counts(held.handle or HandleId(""))
        assert counts is not None


def test_wherever_a_claim_is_cut_the_next_attempt_completes_it() -> None:
    for writes in range(MOST_WRITES):
        cluster, _, done = die_after(writes)
        assert isinstance(cluster.store, MemoryDatastore)
        given = tuple(
            sorted(
                (
                    *Addresses(cluster.store).held_by(handle_of_container(BOX)),
                    *Addresses(cluster.store).held_by(HandleId("dead.1")),
                )
            )
        )
        assert len(given) == 2, f"after {writes} writes"
        assert_no_address_is_lost(cluster.store, given)
        endpoints = cluster.store.list(ENDPOINTS).entries
        if any("/workload/" in each.key for each in endpoints):
            assert cluster.store.list(TASKS).entries, f"after {writes} writes"

        cluster.start()
        cluster.connect()
        spec = cluster.specs()["dead.1"]
        assert spec.addresses == given
        assert spec.interface == interface_of_container(BOX)
        for _ in range(4):
            cluster.applied()
            cluster.after(REST + LOOK_EVERY)
        assert drifts(decode_books(cluster.store.list(IPAM).entries)) == ()
        assert Addresses(cluster.store).held_by(HandleId("dead.1")) == given
        if done:
            return
    raise AssertionError("the claim never ends")


def test_wherever_a_claim_is_cut_a_task_that_ended_meanwhile_leaves_nothing() -> None:
    for writes in range(MOST_WRITES):
        cluster, _, done = die_after(writes)
        # The task is gone, and the agent has taken its container away.
        cluster.marathon.put(app(net=NAMED))
        mine = Addresses(cluster.store)
        for address in mine.held_by(handle_of_container(BOX)):
            mine.release(handle_of_container(BOX), address)
        cluster.start()
        cluster.connect()
        for _ in range(5):
            cluster.applied()
            cluster.after(REST + LOOK_EVERY)
        books = decode_books(cluster.store.list(IPAM).entries)
        assert not any(any(block.allocations) for block in books.blocks.values()), writes
        assert not any(isinstance(each, Miscounted) for each in drifts(books)), writes
        if done:
            return
    raise AssertionError("the claim never ends")
