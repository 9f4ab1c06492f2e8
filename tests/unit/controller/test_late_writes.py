"""Writes that land long after they were given up, or after who sent them was stopped."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from calico import codec
from calico.addressing import ipam
from calico.addressing.addresses import Addresses
from calico.addressing.ipam import block_of
from calico.datastore.api import ABSENT, Key, Revision, Stored
from calico.datastore.memory import MemoryDatastore
from calico.errors import Conflict, DatastoreUnavailable
from calico.keys import BLOCKS, ENDPOINTS, PROFILES, TASKS, block_key, parse_block_key
from calico.model import BootId, HandleId, HostName, HostRecord, Pool, Profile
from marathon_client.models import App
from reconciler.controller.loop import LATE_AFTER
from reconciler.controller.removal.profile_sweeper import LOOK_EVERY, UNREFERENCED_FOR
from reconciler.controller.stored import StoredState
from reconciler.controller.writer import TaskWriter
from reconciler.core.tasks.profiles import NetworkPolicy, host_profile
from tests.unit.controller.attaching import attach
from tests.unit.controller.cluster import Cluster
from tests.unit.reconciler.apps import app, network, task

POOL, POOL6 = Pool(IPNetwork("10.9.0.0/26")), Pool(IPNetwork("fd80::/122"))
H1, HOLDER = HostName("h1"), HandleId("t")


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster(pools=(POOL, POOL6))
    cluster.connect()
    return cluster


def any_address(_: Cluster) -> App:
    return app(task("t"))


def by_name(_: Cluster) -> App:
    return app(task("t"), net=network("g", labels=(("ipv4_addrs", "['10.9.0.7']"),)))


def attached(cluster: Cluster) -> App:
    given = attach(cluster.store, versions=(4, 6))
    return app(replace(task("t"), addresses=given), net=network("g", name="calico"))


def releases(cluster: Cluster) -> list[Stored]:
    """What frees each address of the task, as decided now."""
    late = []
    for stored in cluster.store.list(BLOCKS).entries:
        cidr = parse_block_key(stored.key)
        assert cidr is not None
        block = codec.decode_block(cidr, stored.value)
        for address in ipam.addresses_of(block, HOLDER):
            block = ipam.release(block, HOLDER, address)
        late.append(replace(stored, value=codec.encode_block(block)))
    return late


@pytest.mark.parametrize("make", [any_address, by_name, attached])
def test_a_release_that_is_still_on_its_way_takes_nothing_from_a_task_that_is_back(
    cluster: Cluster, make: Callable[[Cluster], App]
) -> None:
    # given a task that was withdrawn, and a leader that is to free what it had
    made = make(cluster)
    cluster.run(made)
    addresses = cluster.specs()["t"].addresses
    cluster.kill(made, made.tasks[0])
    assert cluster.specs() == {}
    late = releases(cluster)

    # when Marathon names it again, and the release arrives then
    cluster.run(made)
    assert cluster.specs()["t"].addresses == addresses
    for stored in late:
        with pytest.raises(Conflict):
            cluster.store.put(stored.key, stored.value, expect=stored.revision)

    # then the task holds what it uses
    assert Addresses(cluster.store).held_by(HOLDER) == addresses


@pytest.mark.parametrize(
    ("net", "taken", "holds"),
    [
        pytest.param(network("g"), POOL6.cidr, 1, id="the other family has none"),
        pytest.param(
            network("g", labels=(("ipv4_addrs", "['10.9.0.7', '10.9.0.8']"),)),
            IPNetwork("10.9.0.8/32"),
            0,
            id="another address is taken",
        ),
    ],
)
def test_a_task_that_waits_for_one_address_does_not_write_another_again(
    cluster: Cluster, net: object, taken: IPNetwork, holds: int
) -> None:
    # given a task that cannot have all that it needs, and holds what it found
    for number, address in enumerate(taken):
        Addresses(cluster.store).assign_fixed(H1, HandleId(f"x{number}"), IPAddress(address))
    cluster.run(app(task("t"), net=net))
    held = Addresses(cluster.store).held_by(HOLDER)
    assert len(held) == holds
    key = block_key(block_of(IPAddress("10.9.0.7")))
    before = cluster.store.get(key)

    cluster.after(200)

    assert cluster.specs() == {}
    assert cluster.store.get(key) == before


class SlowStore(MemoryDatastore):
    """A store that answers no change of some keys, and does those when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.slow: Key | None = None
        self._late: list[Callable[[], object]] = []

    def put(
        self, key: Key, value: str, *, expect: Revision | None = None, ttl: int | None = None
    ) -> Revision:
        put = super().put
        if self._is_slow(key, expect):
            self._late.append(lambda: put(key, value, expect=expect, ttl=ttl))
            raise DatastoreUnavailable("no answer")
        return put(key, value, expect=expect, ttl=ttl)

    def delete(self, key: Key, *, expect: Revision | None = None) -> None:
        delete = super().delete
        if self._is_slow(key, expect):
            self._late.append(lambda: delete(key, expect=expect))
            raise DatastoreUnavailable("no answer")
        delete(key, expect=expect)

    def _is_slow(self, key: Key, expect: Revision | None) -> bool:
        changes = expect not in (None, ABSENT)
        return changes and self.slow is not None and key.startswith(self.slow)

    def catch_up(self) -> int:
        """Do what is on its way, as far as it still may be done; tells how much was."""
        late, self._late, self.slow = self._late, [], None
        for write in late:
            with suppress(Conflict):
                write()
        return len(late)


@pytest.fixture
def store() -> SlowStore:
    return SlowStore()


@pytest.fixture
def slow(store: SlowStore) -> Cluster:
    """A cluster on a store whose answers are lost when told to."""
    cluster = Cluster(store=store, pools=(POOL,))
    cluster.connect()
    return cluster


@pytest.mark.parametrize("prefix", [ENDPOINTS, TASKS])
def test_a_withdrawal_that_lands_late_takes_nothing_from_a_task_that_is_back(
    store: SlowStore, slow: Cluster, prefix: Key
) -> None:
    # given a task that ended, and a delete without an answer
    made = app(task("t"))
    slow.run(made)
    store.slow = prefix
    slow.kill(made, made.tasks[0])

    # when Marathon names it again, and the delete arrives then
    store.slow = None
    slow.run(made)
    slow.after(3)
    assert store.catch_up()

    # then nothing of it is lost, not for a moment
    assert "t" in slow.specs()
    assert "t" in slow.records()


def values(store: SlowStore, prefix: Key = PROFILES) -> dict[Key, str]:
    return {each.key: each.value for each in store.list(prefix).entries}


def test_rules_that_land_after_they_were_taken_back_are_not_in_force(
    store: SlowStore, slow: Cluster
) -> None:
    # given a host that had another address for a moment, of which the write has no answer
    slow.run(app(task("t")))
    slow.after(3)
    stored = StoredState()
    stored.load(store)
    writer = TaskWriter(store, stored, lambda: "now", lambda: 0.0)
    writer.rewrite_profile(profile_of("10.0.0.1"))
    before, store.slow = values(store), PROFILES
    with pytest.raises(DatastoreUnavailable):
        writer.rewrite_profile(profile_of("10.0.0.2"))

    # when it is as before again, and the write arrives then
    store.slow = None
    writer.rewrite_profile(profile_of("10.0.0.1"))
    assert store.catch_up()

    assert values(store) == before


def profile_of(address: str) -> Profile:
    host = HostRecord(H1, IPAddress(address), BootId("boot"), "machine", "1")
    return host_profile(host, NetworkPolicy())


def test_rules_that_were_to_be_collected_stay_once_they_are_needed_again(
    store: SlowStore, slow: Cluster
) -> None:
    # given rules that nobody needed for long, and a delete without an answer
    made = app(task("t"))
    slow.run(made)
    slow.after(3)
    before = values(store)
    slow.kill(made, made.tasks[0])
    slow.after(UNREFERENCED_FOR - 30)
    store.slow = PROFILES
    slow.after(LOOK_EVERY + 60)
    assert values(store) == before

    # when a task needs them again, and the delete arrives then
    store.slow = None
    slow.run(app(task("next")))
    slow.after(3)
    assert store.catch_up()

    assert values(store) == before


@pytest.mark.parametrize("prefix", [ENDPOINTS, TASKS, PROFILES])
def test_what_a_former_leader_takes_away_late_is_back_soon_after_the_takeover(
    store: SlowStore, slow: Cluster, prefix: Key
) -> None:
    # given a leader that is new, and has seen that all is as it should be
    slow.run(app(task("t")))
    slow.after(3)
    before = values(store, prefix)
    slow.start()
    slow.connect()
    slow.after(LATE_AFTER - 2)

    # when a delete lands that its predecessor sent
    for key in before:
        store.delete(key)
    slow.after(5)

    assert values(store, prefix).keys() == before.keys()


def test_a_leader_that_finds_nothing_changed_asks_marathon_for_nothing_more(
    slow: Cluster,
) -> None:
    slow.run(app(task("t")))
    slow.start()
    slow.connect()
    slow.after(LATE_AFTER - 2)
    before = slow.marathon.reads

    slow.after(5)

    assert slow.marathon.reads == before


def test_what_is_written_without_a_change_is_written_until_it_is_answered(
    store: SlowStore, slow: Cluster
) -> None:
    # given a task that is back after a delete without an answer, and no other answer
    made = app(task("t"))
    slow.run(made)
    store.slow = ENDPOINTS
    slow.kill(made, made.tasks[0])
    slow.run(made)

    # when there are answers again, and the delete arrives before what came behind it
    store.slow = None
    slow.after(30)
    assert store.catch_up()

    assert "t" in slow.specs()


def test_what_was_written_without_a_change_is_not_written_for_ever(
    store: SlowStore, slow: Cluster
) -> None:
    # given a delete that never arrived, of a task that is back
    made = app(task("t"))
    slow.run(made)
    store.slow = ENDPOINTS
    slow.kill(made, made.tasks[0])
    store.slow = None
    slow.run(made)
    slow.after(130)
    before = store.list(ENDPOINTS).entries

    slow.after(130)

    assert store.list(ENDPOINTS).entries == before
