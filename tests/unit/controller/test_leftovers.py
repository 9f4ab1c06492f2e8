"""What a crash between two writes leaves behind is collected, and only that."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from calico import codec
from calico.addressing import ipam
from calico.addressing.addresses import Addresses
from calico.addressing.audit import Drift, drifts
from calico.addressing.blocks import OWNER
from calico.addressing.books import decode_books
from calico.addressing.ledger import Ledger
from calico.codec import encode_endpoint
from calico.datastore.memory import MemoryDatastore
from calico.keys import (
    APPLIED,
    HOSTS,
    IPAM,
    READY,
    affinity_key,
    block_key,
    endpoint_key,
    handle_key,
)
from calico.model import EndpointId, HandleId, HostName, TaskId
from reconciler.controller.addresses.leftovers import LOOK_EVERY
from reconciler.controller.addresses.sweeper import Sweeper
from reconciler.controller.metrics import ControllerMetrics
from reconciler.controller.stored import StoredState
from reconciler.core.removal.quarantine import REST
from tests.unit.controller.cluster import UNAVAILABLE, Cluster
from tests.unit.reconciler.apps import app, task

H1, STRANGER = HostName("h1"), HostName("stranger")
BLOCK = IPNetwork("192.168.9.0/26")
DEAD = HandleId("dead.1")
#: Long enough for two looks with a rest between them.
SOON = REST + 2 * LOOK_EVERY + 80
RESYNC = 80


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.connect()
    return made


def drift(store: MemoryDatastore) -> tuple[Drift, ...]:
    return drifts(decode_books(store.list(IPAM).entries))


def counted_only(store: MemoryDatastore) -> None:
    text = codec.encode_handle(DEAD, {BLOCK: 1}, "marathon-calico 1")
    store.put(handle_key(DEAD), text)


def claimed_only(store: MemoryDatastore) -> None:
    store.put(affinity_key(H1, BLOCK), "")


def created_without_claim(store: MemoryDatastore) -> None:
    Ledger(store).claim(H1, BLOCK, strict=False)
    store.delete(affinity_key(H1, BLOCK))


def abandoned(store: MemoryDatastore) -> None:
    store.put(block_key(BLOCK), codec.encode_block(ipam.new_block(BLOCK, None)))


def uncounted(store: MemoryDatastore) -> None:
    Addresses(store).assign(H1, DEAD, secondary=(OWNER,))
    store.delete(handle_key(DEAD))


@pytest.mark.parametrize(
    "crash",
    [
        pytest.param(counted_only, id="a handle counted, the block not written"),
        pytest.param(claimed_only, id="a block claimed, not created"),
        pytest.param(created_without_claim, id="a block created, the claim lost"),
        pytest.param(abandoned, id="a block of nobody emptied, not deleted"),
        pytest.param(uncounted, id="an address held, the handle lost"),
    ],
)
def test_what_a_crash_left_is_mended(
    cluster: Cluster, crash: Callable[[MemoryDatastore], None]
) -> None:
    cluster.applied()
    crash(cluster.store)
    assert drift(cluster.store)
    cluster.after(REST - 1)
    cluster.after(SOON)
    cluster.applied()
    cluster.after(SOON)
    assert drift(cluster.store) == ()
    assert cluster.store.get(handle_key(DEAD)) is None


def test_nothing_is_mended_before_it_has_rested(cluster: Cluster) -> None:
    counted_only(cluster.store)
    cluster.after(REST)
    assert drift(cluster.store)


def test_a_handle_that_is_written_again_and_again_is_left_alone(cluster: Cluster) -> None:
    for _ in range(20):
        counted_only(cluster.store)
        cluster.after(30)
    assert drift(cluster.store)


@pytest.mark.parametrize(
    "key_and_value",
    [
        pytest.param(
            (handle_key(HandleId("theirs")), codec.encode_handle(HandleId("theirs"), {BLOCK: 2})),
            id="a handle that we did not write",
        ),
        pytest.param((affinity_key(STRANGER, BLOCK), ""), id="a claim of a host without our agent"),
    ],
)
def test_what_others_left_is_not_ours_to_mend(
    cluster: Cluster, key_and_value: tuple[str, str]
) -> None:
    key, value = key_and_value
    cluster.store.put(key, value)
    cluster.after(SOON + REST)
    assert cluster.store.get(key) is not None


def test_an_address_that_its_task_never_came_to_use_is_given_back(cluster: Cluster) -> None:
    cluster.run(app(task("t", host="h1")))
    (spec,) = cluster.specs().values()
    spare = IPAddress("192.168.77.7")
    # As two controllers would that took an address for one task at the same time.
    Addresses(cluster.store).assign_fixed(H1, HandleId("t"), spare, secondary=(OWNER,))
    for _ in range(3):
        cluster.applied()
        cluster.after(REST)
    assert Addresses(cluster.store).held_by(HandleId("t")) == spec.addresses


def test_an_address_that_an_endpoint_uses_is_not_given_back_whoever_holds_it(
    cluster: Cluster,
) -> None:
    cluster.run(app(task("t", host="h1")))
    (spec,) = cluster.specs().values()
    address = IPAddress("192.168.77.7")
    Addresses(cluster.store).assign_fixed(H1, DEAD, address, secondary=(OWNER,))
    other = replace(spec, id=replace(spec.id, workload="unknown"), addresses=(address,))
    cluster.store.put(endpoint_key(other.id), encode_endpoint(other))
    for _ in range(3):
        cluster.applied()
        cluster.after(REST)
    assert Addresses(cluster.store).holder(address) == DEAD


def test_an_endpoint_that_cannot_be_read_keeps_its_addresses(cluster: Cluster) -> None:
    address = Addresses(cluster.store).assign(H1, DEAD, secondary=(OWNER,))
    endpoint = EndpointId(H1, "mesos", DEAD, "0" * 32)
    cluster.store.put(endpoint_key(endpoint), "junk")
    for _ in range(3):
        cluster.applied()
        cluster.after(REST)
    assert Addresses(cluster.store).holder(address) == DEAD


def test_another_plugin_s_endpoint_for_the_same_task_frees_no_address_of_it(
    cluster: Cluster,
) -> None:
    cluster.run(app(task("t", host="h1")))
    (spec,) = cluster.specs().values()
    beside = replace(
        spec, id=replace(spec.id, endpoint="0" * 32), addresses=(IPAddress("10.9.9.9"),)
    )
    cluster.store.put(endpoint_key(beside.id), encode_endpoint(beside))
    cluster.store.put(endpoint_key(spec.id), "junk")
    # Without Marathon nobody writes it anew.
    cluster.fail(UNAVAILABLE)
    cluster.start()
    for _ in range(3):
        cluster.applied()
        cluster.after(REST)
    assert Addresses(cluster.store).held_by(HandleId("t")) == spec.addresses


def test_an_address_that_was_just_taken_for_a_live_task_is_not_given_back(
    cluster: Cluster,
) -> None:
    address = Addresses(cluster.store).assign(H1, DEAD, secondary=(OWNER,))
    stored = StoredState()
    sweeper = Sweeper(cluster.store, stored, cluster.clock, ControllerMetrics())
    for live in ({TaskId(DEAD)}, set()):
        for _ in range(2):
            cluster.applied()
            stored.registrations.load(cluster.store.list(HOSTS))
            stored.load_applied(cluster.store.list(APPLIED))
            sweeper.sweep(live)
            cluster.applied()
            stored.load_applied(cluster.store.list(APPLIED))
            cluster.clock.advance(REST + 1)
        sweeper.sweep(live)
        assert Addresses(cluster.store).holder(address) == (DEAD if live else None)


def test_an_owner_without_a_proper_name_stops_no_mending(cluster: Cluster) -> None:
    block = ipam.new_block(BLOCK, H1)
    held, _ = ipam.allocate(block, HandleId("a b"), (OWNER,))
    cluster.store.put(block_key(BLOCK), codec.encode_block(held))
    counted_only(cluster.store)
    cluster.applied()
    cluster.after(2 * SOON)
    assert cluster.store.get(handle_key(DEAD)) is None


def test_no_address_begins_to_rest_while_somebody_holds_the_agents_back(cluster: Cluster) -> None:
    made = app(task("t", host="h1"))
    cluster.run(made)
    ((address,),) = [spec.addresses for spec in cluster.specs().values()]
    revision = cluster.store.put(READY, "false")
    cluster.kill(made, made.tasks[0])
    for _ in range(3):
        cluster.applied()
        cluster.after(REST)
    stored = cluster.store.get(READY)
    assert stored is not None
    assert (stored.value, stored.revision) == ("false", revision)
    assert Addresses(cluster.store).holder(address) == "t"
    cluster.store.put(READY, "true")
    for _ in range(3):
        cluster.applied()
        cluster.after(REST)
    assert Addresses(cluster.store).holder(address) is None


def release_as_calicoctl(cluster: Cluster, address: IPAddress) -> None:
    """By address, whoever uses it."""
    addresses = Addresses(cluster.store)
    assert addresses.release(addresses.holder(address), address)


def test_an_address_that_another_tool_released_under_a_task_is_taken_again(
    cluster: Cluster,
) -> None:
    cluster.run(app(task("t", host="h1")))
    (spec,) = cluster.specs().values()
    release_as_calicoctl(cluster, spec.addresses[0])
    cluster.after(RESYNC)
    assert Addresses(cluster.store).held_by(HandleId("t")) == spec.addresses
    assert drift(cluster.store) == ()
    # It is ours as before: it comes back when the task ends.
    cluster.kill(app(task("t", host="h1")), task("t", host="h1"))
    for _ in range(3):
        cluster.applied()
        cluster.after(REST)
    assert Addresses(cluster.store).holder(spec.addresses[0]) is None


def test_a_block_that_somebody_deleted_is_made_anew_with_what_is_in_use(cluster: Cluster) -> None:
    cluster.run(app(task("t", host="h1"), task("u", host="h1")))
    for stored in cluster.store.list(IPAM).entries:
        if not stored.key.endswith("/config"):
            cluster.store.delete(stored.key)
    cluster.after(RESYNC)
    for spec in cluster.specs().values():
        assert Addresses(cluster.store).held_by(HandleId(spec.id.workload)) == spec.addresses


def test_an_address_that_another_got_meanwhile_is_left_to_both_and_told(cluster: Cluster) -> None:
    cluster.run(app(task("t", host="h1")))
    (spec,) = cluster.specs().values()
    release_as_calicoctl(cluster, spec.addresses[0])
    Addresses(cluster.store).assign_fixed(H1, HandleId("theirs"), spec.addresses[0])
    cluster.after(RESYNC)
    assert Addresses(cluster.store).holder(spec.addresses[0]) == "theirs"
    assert cluster.specs() == {"t": spec}


def test_an_address_of_another_plugin_s_endpoint_is_not_taken_for_it(cluster: Cluster) -> None:
    cluster.run(app(task("t", host="h1")))
    (spec,) = cluster.specs().values()
    address = IPAddress("192.168.77.7")
    for workload in ("t", "theirs"):
        other = replace(
            spec, id=replace(spec.id, workload=workload, endpoint="0" * 32), addresses=(address,)
        )
        cluster.store.put(endpoint_key(other.id), encode_endpoint(other))
    cluster.after(RESYNC)
    assert Addresses(cluster.store).holder(address) is None


def test_the_record_of_a_task_is_not_needed_to_mend(cluster: Cluster) -> None:
    cluster.run(app(task("t", host="h1")))
    key = handle_key(HandleId("t"))
    stored = cluster.store.get(key)
    assert stored is not None
    ((cidr, count),) = codec.decode_handle(HandleId("t"), stored.value).items()
    text = codec.encode_handle(HandleId("t"), {cidr: count + 4}, "marathon-calico 1")
    cluster.store.put(key, text)
    cluster.after(SOON)
    stored = cluster.store.get(key)
    assert stored is not None
    assert codec.decode_handle(HandleId("t"), stored.value) == {cidr: count}
