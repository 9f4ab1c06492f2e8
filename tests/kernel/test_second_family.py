"""Tasks with an address of each family, on hosts that have one of each too."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from netaddr import IPAddress

from calico.codec import encode_pool
from calico.keys import pool_key
from calico.model import EndpointSpec, HostName
from tests.dataplane_worlds import POOL6
from tests.kernel.cluster import ONE, PORT, TWO, Cluster, run, running_cluster, task_of
from tests.kernel.namespaces import Namespace
from tests.kernel.probes import connects, listening

ANY6 = IPAddress("::")


def dual(name: str, number: int, group: str, host: HostName = ONE) -> EndpointSpec:
    single = task_of(name, number, group, host)
    return replace(single, addresses=(*single.addresses, IPAddress(f"fd00:9::{number}")))


FRIEND, FOE = dual("friend.1", 1, "red"), dual("foe.1", 3, "blue")
VICTIM, VICTIM_THERE = dual("victim.1", 11, "red"), dual("victim.2", 12, "red", TWO)


@pytest.fixture
def cluster(namespace: Callable[[], Namespace], tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path, namespace) as made:
        for number, host in enumerate(made.hosts.values(), start=1):
            with host.network.entered():
                # A router asks for its neighbours from its link-local address.
                for address in (f"fd00:77::{number}/64", f"fe80::77:{number}/64"):
                    run("ip", "address", "replace", address, "dev", "eth0", "nodad")
        made.store.put(pool_key(POOL6), encode_pool(POOL6))
        yield made


def reaches(cluster: Cluster, source: EndpointSpec, target: EndpointSpec, family: int) -> bool:
    place = cluster[target.id.workload]
    with listening(place, ANY6, PORT):
        return connects(cluster[source.id.workload], target.addresses[family], PORT)


def test_groups_hold_for_both_families_within_and_between_hosts(cluster: Cluster) -> None:
    cluster.run_tasks(FRIEND, FOE, VICTIM, VICTIM_THERE)
    for target in (VICTIM, VICTIM_THERE):
        for family in (0, 1):
            cluster.wait_for(
                f"a friend at {target.addresses[family]}",
                lambda target=target, family=family: reaches(cluster, FRIEND, target, family),
            )
            assert not reaches(cluster, FOE, target, family)
