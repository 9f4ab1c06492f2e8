"""What a leader still writes that was stopped for long, and has a successor by now."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from netaddr import IPAddress, IPNetwork

from calico.addressing.ledger import Ledger
from calico.codec import encode_endpoint, encode_host, encode_rules
from calico.datastore.api import Datastore, Key, Revision
from calico.datastore.memory import MemoryDatastore
from calico.errors import Conflict
from calico.keys import affinity_key, applied_key, block_key, endpoint_key, host_key, profile_key
from calico.model import BootId, HostName, HostRecord, Profile, TaskId
from calico.names import endpoint_of_task
from reconciler.controller.bootstrap import bootstrap_host, directories_of_host, keys_of_host
from reconciler.controller.hosts.departure import Departure
from reconciler.controller.hosts.registrar import LOOKED_AT_AGAIN
from reconciler.controller.stored import StoredState
from reconciler.controller.writer import TaskWriter
from reconciler.core.tasks.profiles import NetworkPolicy, host_profile
from reconciler.runtime.lease import LeaseLost
from tests.unit.controller.cluster import Cluster
from tests.unit.reconciler.apps import app, task

H1 = HostName("h1")


@dataclass
class Leader:
    """What one controller knows, and writes by."""

    stored: StoredState
    writer: TaskWriter


def leader(store: Datastore) -> Leader:
    stored = StoredState()
    stored.load(store)
    return Leader(stored, TaskWriter(store, stored, lambda: "now", lambda: 0.0))


def profile_of(address: str) -> Profile:
    host = HostRecord(H1, IPAddress(address), BootId("boot"), "machine", "1")
    return host_profile(host, NetworkPolicy())


def value(store: Datastore, key: Key) -> str:
    stored = store.get(key)
    assert stored is not None
    return stored.value


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    cluster.connect()
    cluster.run(app(task("t")))
    cluster.after(5)
    return cluster


def test_an_old_leader_does_not_let_a_hosts_former_address_in(cluster: Cluster) -> None:
    # given two leaders that know the same, and a host that has another address since
    old, new = leader(cluster.store), leader(cluster.store)
    new.writer.rewrite_profile(profile_of("10.0.0.2"))

    with pytest.raises(Conflict):
        old.writer.rewrite_profile(profile_of("10.0.0.1"))

    profile = profile_of("10.0.0.2")
    assert value(cluster.store, profile_key(profile.id, "rules")) == encode_rules(profile)


def test_a_leader_goes_on_writing_a_profile_of_its_own(cluster: Cluster) -> None:
    one = leader(cluster.store)
    for address in ("10.0.0.2", "10.0.0.3"):
        one.writer.rewrite_profile(profile_of(address))
        profile = profile_of(address)
        assert value(cluster.store, profile_key(profile.id, "rules")) == encode_rules(profile)


def test_an_old_leader_withdraws_no_endpoint_that_was_written_anew(cluster: Cluster) -> None:
    old = leader(cluster.store)
    spec = cluster.specs()["t"]
    cluster.store.put(endpoint_key(spec.id), encode_endpoint(replace(spec, profiles=("g",))))

    with pytest.raises(Conflict):
        old.writer.withdraw(TaskId("t"), H1)

    assert "t" in cluster.specs()


@pytest.mark.parametrize("is_reserved", [False, True], ids=["at first", "once it is reserved"])
def test_an_old_leader_writes_no_endpoint_that_is_its_successors(is_reserved: bool) -> None:
    # given a leader that is about to write an endpoint which somebody took away
    store = StoppedStore()
    stopped = Cluster(store=store)
    stopped.connect()
    key = endpoint_key(endpoint_of_task(H1, TaskId("t")))
    stopped.run(app(task("t")))
    store.delete(key)

    def successor() -> None:
        store.put(key, "the successor's")

    # when its successor is there first
    def reserve() -> None:
        store.before[key] = successor

    store.before[key] = reserve if is_reserved else successor
    stopped.start()
    stopped.connect()

    # then what the successor wrote stands
    assert store.refused == [key]


class StoppedStore(MemoryDatastore):
    """A store whose writers may be stopped right before a key is written or removed.

    What is done meanwhile may be the last that the one who was stopped may do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.before: dict[Key, Callable[[], None]] = {}
        self.refused: list[Key] = []
        self.is_last = False

    def put(
        self, key: Key, value: str, *, expect: Revision | None = None, ttl: int | None = None
    ) -> Revision:
        self._stop(key)
        try:
            return super().put(key, value, expect=expect, ttl=ttl)
        except Conflict:
            self.refused.append(key)
            raise

    def delete(self, key: Key, *, expect: Revision | None = None) -> None:
        self._stop(key)
        super().delete(key, expect=expect)

    def _stop(self, key: Key) -> None:
        if self.is_last:
            raise LeaseLost(key)
        meanwhile = self.before.pop(key, None)
        if meanwhile is not None:
            meanwhile()


HOST = HostRecord(H1, IPAddress("10.0.0.1"), BootId("boot"), "machine", "1")


@pytest.fixture
def departing() -> StoppedStore:
    """A host that an operator declared gone, of which all is still there."""
    store = StoppedStore()
    store.put(host_key(H1), encode_host(HOST))
    bootstrap_host(store, HOST)
    store.put(host_key(H1), encode_host(replace(HOST, forgotten=True)))
    return store


@pytest.mark.parametrize(
    "key", [each for each in keys_of_host(H1) if each.endswith(("_ip", "_v4", "metadata"))]
)
def test_what_a_host_wrote_when_it_came_back_is_not_taken_from_it(
    departing: StoppedStore, key: Key
) -> None:
    def come_back() -> None:
        departing.put(host_key(H1), encode_host(HOST))
        departing.put(key, "10.0.0.7")
        departing.is_last = True

    departing.before[key] = come_back
    with pytest.raises(LeaseLost):
        Departure(departing).clear(H1)

    assert value(departing, key) == "10.0.0.7"


@pytest.mark.parametrize(
    "key", [each for each in keys_of_host(H1) if each not in directories_of_host(H1)]
)
def test_what_is_taken_from_a_host_that_is_back_is_given_to_it_again(
    cluster: Cluster, key: Key
) -> None:
    # given a host that lacks what the last write of a leader took from it unseen
    before = value(cluster.store, key)
    cluster.store.delete(key)

    cluster.after(130)

    assert value(cluster.store, key) == before


def test_every_host_of_many_is_looked_at_again() -> None:
    hosts = [f"h{number}" for number in range(2 * LOOKED_AT_AGAIN)]
    cluster = Cluster(*hosts)
    cluster.connect()
    keys = [Key(f"/calico/v1/host/{host}/bird_ip") for host in hosts]
    for key in keys:
        cluster.store.delete(key)

    cluster.after(200)

    assert all(cluster.store.get(key) for key in keys)


@pytest.mark.parametrize("name", ["h1", "metadata"])
def test_what_is_left_of_a_host_is_taken_away(name: str) -> None:
    store, host = MemoryDatastore(), replace(HOST, name=HostName(name), forgotten=True)
    store.put(host_key(host.name), encode_host(host))
    bootstrap_host(store, host)

    assert not Departure(store).clear(host.name)

    # A directory that were left could not be written over.
    for key in (*keys_of_host(host.name), host_key(host.name)):
        if "/" not in key.partition(f"/{name}")[2]:
            store.put(key, "gone")
    assert len(store.list(Key("/calico")).entries) == 3


def test_what_an_agent_applied_when_it_came_back_is_not_taken_from_it() -> None:
    store = StoppedStore()
    store.put(host_key(H1), encode_host(HOST))
    store.put(applied_key(H1), "old")
    store.before[applied_key(H1)] = lambda: store.put(applied_key(H1), "new") and None

    with pytest.raises(Conflict):
        Departure(store).forget(H1)

    assert value(store, applied_key(H1)) == "new"


def test_a_claim_that_was_made_anew_is_not_taken_back() -> None:
    # given a block that another host was faster to claim
    store = StoppedStore()
    cidr = IPNetwork("192.168.0.0/26")
    assert Ledger(store).claim(HostName("h2"), cidr, strict=False)
    key = affinity_key(H1, cidr)

    # when that host gives it up, and it is claimed anew while the first attempt ends
    def stop_at_the_removal() -> None:
        store.before[key] = give_up

    def give_up() -> None:
        store.delete(block_key(cidr))
        assert Ledger(store).claim(H1, cidr, strict=False)

    store.before[block_key(cidr)] = stop_at_the_removal
    assert not Ledger(store).claim(H1, cidr, strict=False)

    assert store.get(key) is not None
