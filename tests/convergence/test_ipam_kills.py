"""Killed between any two writes: what is left is named, and is collected."""

from collections.abc import Callable
from typing import TypeVar

import pytest
from netaddr import IPAddress, IPNetwork

from calico.addressing.addresses import Addresses
from calico.addressing.audit import AddressState, held_addresses, pool_use, standing
from calico.addressing.blocks import OWNER
from calico.addressing.books import decode_books
from calico.codec import decode_endpoint
from calico.datastore.api import DirectoryStore, Key
from calico.datastore.memory import MemoryDatastore
from calico.keys import ENDPOINTS, IPAM, parse_endpoint_key
from calico.model import HandleId, HostName, Pool, TaskId
from reconciler.controller.addresses.leftovers import LOOK_EVERY
from reconciler.controller.hosts.departure import Departure
from reconciler.controller.stored import StoredState
from reconciler.controller.writer import TaskWriter
from reconciler.core.desired import desired_tasks
from reconciler.core.removal.address_findings import Kind, find
from reconciler.core.removal.quarantine import REST
from reconciler.core.tasks.profiles import NetworkPolicy
from tests.delegating_store import DelegatingStore
from tests.unit.controller.cluster import Cluster
from tests.unit.reconciler.apps import HOST, app, task

H1, H2 = HostName("h1"), HostName("h2")
POOL = Pool(IPNetwork("10.9.0.0/25"))
DEAD = HandleId("dead.1")
MOST_WRITES = 30

T = TypeVar("T")
Deed = Callable[[DirectoryStore], None]


class Killed(BaseException):
    """The process ended here."""


class MortalStore(DelegatingStore):
    """A store whose user ends before its write number `last`."""

    def __init__(self, store: MemoryDatastore, last: int) -> None:
        super().__init__(store)
        self._left = last

    def write(self, verb: str, key: Key, write: Callable[[], T]) -> T:
        if not self._left:
            raise Killed
        self._left -= 1
        return super().write(verb, key, write)


def assign(datastore: DirectoryStore) -> None:
    Addresses(datastore).assign(H1, DEAD, secondary=(OWNER,))


def assign_fixed(datastore: DirectoryStore) -> None:
    Addresses(datastore).assign_fixed(H2, DEAD, IPAddress("10.9.0.70"), secondary=(OWNER,))


def borrow(datastore: DirectoryStore) -> None:
    addresses = Addresses(datastore)
    for number, host in enumerate((H1, H2, HostName("h3"))):
        addresses.assign(host, HandleId(f"dead.{number}"), secondary=(OWNER,))


def release(datastore: DirectoryStore) -> None:
    addresses = Addresses(datastore)
    addresses.release(DEAD, addresses.assign(H1, DEAD, secondary=(OWNER,)))


def bring(datastore: DirectoryStore) -> None:
    stored = StoredState()
    stored.load(datastore)
    definition = app(task("dead.1", host=HOST.name))
    (desired,) = desired_tasks(
        definition, {definition.version: definition}, {}, {HOST.name: HOST}, NetworkPolicy()
    )
    TaskWriter(datastore, stored, lambda: "2016-05-01T10:00:00Z", lambda: 0.0).bring(desired)


def forget(datastore: DirectoryStore) -> None:
    addresses = Addresses(datastore)
    address = addresses.assign(H2, DEAD, secondary=(OWNER,))
    addresses.release(DEAD, address)
    departure = Departure(datastore)
    departure.forget(H2)
    departure.clear(H2)


def judge(store: MemoryDatastore) -> tuple[set[Kind], dict[AddressState, int]]:
    """What `ipam check` would say."""
    books = decode_books(store.list(IPAM).entries)
    specs = [
        decode_endpoint(endpoint, stored.value)
        for stored in store.list(ENDPOINTS).entries
        if (endpoint := parse_endpoint_key(stored.key)) is not None
    ]
    who = standing(specs, frozenset())
    held = held_addresses(books, who)
    found = find((POOL,), books, who, held, {})
    return {each.kind for each in found}, dict(pool_use(POOL, books, who, held).counts)


def die_after(deed: Deed, writes: int) -> tuple[Cluster, bool]:
    """A cluster in which somebody died in the middle of a deed; whether it was done."""
    cluster = Cluster(pools=(POOL,))
    # An empty list would remove nothing.
    cluster.marathon.put(app(name="/other"))
    cluster.connect()
    cluster.applied()
    try:
        deed(MortalStore(cluster.store, writes))
    except Killed:
        return cluster, False
    return cluster, True


@pytest.mark.parametrize("deed", [assign, assign_fixed, borrow, release, bring, forget])
def test_what_is_left_is_named_and_collected(deed: Deed) -> None:
    for writes in range(MOST_WRITES):
        cluster, done = die_after(deed, writes)
        kinds, counts = judge(cluster.store)
        assert kinds <= {Kind.MISCOUNTED, Kind.AFFINITY}, f"after {writes} writes"
        assert sum(counts.values()) == POOL.cidr.size
        assert counts[AddressState.LEAKED] == counts[AddressState.FOREIGN] == 0

        # Marathon never names the task, so all of it is to be taken away again.
        cluster.start()
        cluster.connect()
        for _ in range(4):
            cluster.applied()
            cluster.after(REST + LOOK_EVERY)

        kinds, counts = judge(cluster.store)
        assert kinds == set(), f"after {writes} writes"
        assert counts[AddressState.FREE] == POOL.cidr.size
        if done:
            return
    raise AssertionError("the deed never ends")


@pytest.mark.parametrize("deed", [assign, assign_fixed, bring])
def test_who_tries_again_has_one_address_and_exact_books(deed: Deed) -> None:
    for writes in range(MOST_WRITES):
        cluster, done = die_after(deed, writes)
        deed(cluster.store)
        held = Addresses(cluster.store).held_by(DEAD)
        assert len(held) == 1, f"after {writes} writes"
        kinds, _ = judge(cluster.store)
        assert kinds <= {Kind.MISCOUNTED}
        if done:
            return
    raise AssertionError("the deed never ends")


def withdraw(datastore: DirectoryStore) -> None:
    bring(datastore)
    stored = StoredState()
    stored.load(datastore)
    writer = TaskWriter(datastore, stored, lambda: "2016-05-01T10:00:00Z", lambda: 0.0)
    writer.withdraw(TaskId("dead.1"), HOST.name)


@pytest.mark.parametrize("deed", [bring, withdraw])
def test_an_endpoint_is_never_there_without_what_stands_behind_it(deed: Deed) -> None:
    seen = False
    for writes in range(MOST_WRITES):
        cluster, done = die_after(deed, writes)
        stored = StoredState()
        stored.load(cluster.store)
        for endpoint, spec in stored.specs.items():
            seen = True
            assert TaskId(endpoint.workload) in stored.records, f"after {writes} writes"
            assert set(spec.value.profiles) <= stored.profiles.keys()
            held = Addresses(cluster.store).held_by(HandleId(endpoint.workload))
            assert held == spec.value.addresses
        if done:
            assert seen
            return
    raise AssertionError("the deed never ends")
