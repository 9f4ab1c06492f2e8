"""Writes that land long after they were given up, or after who sent them was stopped."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from calico import codec
from calico.addressing import ipam
from calico.addressing.addresses import Addresses
from calico.addressing.ipam import block_of
from calico.datastore.api import Stored
from calico.errors import Conflict
from calico.keys import BLOCKS, block_key, parse_block_key
from calico.model import HandleId, HostName, Pool
from marathon_client.models import App
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
    ("net", "taken"),
    [
        pytest.param(network("g"), POOL6.cidr, id="the other family has none"),
        pytest.param(
            network("g", labels=(("ipv4_addrs", "['10.9.0.7', '10.9.0.8']"),)),
            IPNetwork("10.9.0.8/32"),
            id="another address is taken",
        ),
    ],
)
def test_a_task_that_waits_for_one_address_does_not_write_another_again(
    cluster: Cluster, net: object, taken: IPNetwork
) -> None:
    # given a task that holds an address, and cannot have all that it needs
    for number, address in enumerate(taken):
        Addresses(cluster.store).assign_fixed(H1, HandleId(f"x{number}"), IPAddress(address))
    cluster.run(app(task("t"), net=net))  # type: ignore[arg-type]
    held = Addresses(cluster.store).held_by(HOLDER)
    assert len(held) == 1
    key = block_key(block_of(held[0]))
    before = cluster.store.get(key)

    cluster.after(200)

    assert cluster.specs() == {}
    assert cluster.store.get(key) == before
