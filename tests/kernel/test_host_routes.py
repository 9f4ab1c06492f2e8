"""How hosts find each other's tasks: by blocks, by single addresses, and by the registry."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from calico.addressing.blocks import Block
from calico.codec import encode_block, encode_host, encode_pool
from calico.keys import block_key, host_key, pool_key
from calico.model import HostName, Pool
from tests.dataplane_worlds import POOL
from tests.kernel.cluster import (
    ADDRESS,
    HOSTS,
    ONE,
    PORT,
    STRANGER,
    TWO,
    Cluster,
    run,
    running_cluster,
    task_of,
)
from tests.kernel.namespaces import Namespace
from tests.kernel.probes import send_raw
from tests.kernel.sensors import Connection, Flow, Sensor, shots
from tests.kernel.test_closed import SETTLED, address_of, reaches

#: Of the block that is One's, and of the one that is Two's.
HERE, LENT = task_of("here.1", 1, "red"), task_of("lent.1", 2, "red", TWO)
THERE, LENT_BACK = task_of("there.1", 65, "red", TWO), task_of("lent-back.1", 66, "red")
BLOCKS = {ONE: IPNetwork("10.9.0.0/26"), TWO: IPNetwork("10.9.0.64/26")}
FAR = HostName("far")
OTHER_ADDRESS = IPAddress("10.77.0.3")


@pytest.fixture
def cluster(namespace: Callable[[], Namespace], tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path, namespace) as made:
        for host, cidr in BLOCKS.items():
            give(made, cidr, host)
        made.run_tasks(HERE, LENT, THERE, LENT_BACK)
        made.settle()
        yield made


def give(cluster: Cluster, cidr: IPNetwork, host: HostName | None) -> None:
    block = Block(cidr, host, (None,) * 64, tuple(range(64)))
    cluster.store.put(block_key(cidr), encode_block(block))


def routes(cluster: Cluster, host: HostName) -> set[str]:
    """What leads to other hosts and nowhere, without what the kernel adds."""
    with cluster.hosts[host].network.entered():
        listed = run("ip", "route", "show", "table", "80").splitlines()
    return {line.partition(" proto")[0].strip() for line in listed if " dev cali" not in line}


def leading(cluster: Cluster, host: HostName, *expected: str) -> None:
    cluster.wait_for(f"routes of {host}", lambda: routes(cluster, host) == set(expected))


def test_a_block_is_one_route_and_a_borrowed_address_one_more(cluster: Cluster) -> None:
    one, two = HOSTS[ONE], HOSTS[TWO]
    via_one, via_two = f"via {one} dev eth0", f"via {two} dev eth0"
    leading(cluster, ONE, f"10.9.0.64/26 {via_two}", f"10.9.0.2 {via_two}", "blackhole 10.9.0.0/26")
    leading(
        cluster, TWO, f"10.9.0.0/26 {via_one}", f"10.9.0.66 {via_one}", "blackhole 10.9.0.64/26"
    )
    everybody = (HERE, LENT, THERE, LENT_BACK)
    for source in everybody:
        for target in everybody:
            if source is not target:
                assert reaches(cluster, source, target), (source, target)


def test_a_borrowed_address_is_routed_until_its_task_goes(cluster: Cluster) -> None:
    lent = f"10.9.0.2 via {HOSTS[TWO]} dev eth0"
    assert lent in routes(cluster, ONE)
    cluster.withdraw(LENT)
    cluster.settle()
    assert lent not in routes(cluster, ONE)
    # It is One's own again: whatever still comes for it ends there.
    with Sensor(cluster.hosts[TWO].network) as beyond, Sensor(cluster.stranger) as back:
        for packet in shots(address_of(HERE), address_of(LENT), PORT):
            send_raw(cluster["here.1"], address_of(LENT), packet)
        time.sleep(SETTLED)
        assert [beyond.forbidden, back.forbidden] == [[], []]


def test_a_host_that_disappears_is_routed_to_as_long_as_it_is_registered(cluster: Cluster) -> None:
    there = cluster["here.1"], cluster["there.1"], address_of(THERE), PORT
    with Flow(*there) as flow, Connection(*there) as connection:
        cluster.kill(TWO)
        gone = replace(cluster.registered(TWO), forgotten=True)
        cluster.store.put(host_key(TWO), encode_host(gone))
        cluster.wait_for("an operator's word", lambda: cluster.registered(TWO).forgotten)
        cluster.settle()
        assert reaches(cluster, HERE, LENT)
        assert reaches(cluster, THERE, HERE)
        time.sleep(SETTLED)
        assert flow.lost == []
        assert connection.retransmitted == 0
    # Its addresses are free, and so the controller takes it out of the registry.
    cluster.store.delete(host_key(TWO))
    leading(cluster, ONE, "blackhole 10.9.0.0/26")
    with Sensor(cluster.hosts[TWO].network) as beyond, Sensor(cluster.stranger) as back:
        for target in (THERE, LENT):
            for packet in shots(address_of(HERE), address_of(target), PORT):
                send_raw(cluster["here.1"], address_of(target), packet)
        time.sleep(SETTLED)
        assert [beyond.forbidden, back.forbidden] == [[], []]


def test_a_host_that_moves_to_another_address_is_followed(cluster: Cluster) -> None:
    with cluster.hosts[TWO].network.entered():
        run("ip", "address", "add", f"{OTHER_ADDRESS}/24", "dev", "eth0")
    cluster.kill(TWO)
    moved = replace(cluster.registered(TWO), address=OTHER_ADDRESS, others=(HOSTS[TWO],))
    there = cluster["here.1"], cluster["there.1"], address_of(THERE), PORT
    with Flow(*there) as flow:
        cluster.store.put(host_key(TWO), encode_host(moved))
        leading(
            cluster,
            ONE,
            f"10.9.0.64/26 via {OTHER_ADDRESS} dev eth0",
            f"10.9.0.2 via {OTHER_ADDRESS} dev eth0",
            "blackhole 10.9.0.0/26",
        )
        time.sleep(SETTLED * 2)
        assert flow.lost == []


def test_what_two_hosts_claim_or_an_unknown_one_has_is_routed_nowhere(cluster: Cluster) -> None:
    third, nowhere = HostName("three"), IPNetwork("10.9.1.0/26")
    give(cluster, nowhere, third)
    claims = [
        replace(task_of(f"claim.{host}", 130, "red", host), addresses=(IPAddress("10.9.1.130"),))
        for host in (TWO, third)
    ]
    record = replace(cluster.registered(TWO), name=third, address=STRANGER, others=())
    cluster.put(*claims)
    cluster.settle()
    before = routes(cluster, ONE)
    assert f"10.9.1.130 via {HOSTS[TWO]} dev eth0" not in before
    assert not any(str(nowhere) in each for each in before)
    cluster.store.put(host_key(third), encode_host(record))
    leading(cluster, ONE, *before, f"{nowhere} via {STRANGER} dev eth0")
    cluster.withdraw(claims[1])
    leading(
        cluster,
        ONE,
        *before,
        f"{nowhere} via {STRANGER} dev eth0",
        f"10.9.1.130 via {HOSTS[TWO]} dev eth0",
    )
    assert reaches(cluster, HERE, THERE)
    assert str(ADDRESS) not in " ".join(routes(cluster, ONE))


def test_a_host_that_cannot_be_reached_directly_is_told_and_holds_nothing_up(
    cluster: Cluster,
) -> None:
    far = replace(cluster.registered(TWO), name=FAR, address=IPAddress("10.250.0.9"), others=())
    before = routes(cluster, ONE)
    give(cluster, IPNetwork("10.9.1.0/26"), FAR)
    cluster.store.put(host_key(FAR), encode_host(far))
    later = task_of("later.1", 3, "red")
    cluster.run_tasks(later)
    # An agent that does not come so far keeps every freed address from use.
    cluster.settle()
    problems = cluster.page(ONE, "/readyz")["problems"]
    assert isinstance(problems, list)
    assert any("10.9.1.0/26" in each for each in problems)
    assert routes(cluster, ONE) == before
    assert reaches(cluster, LENT, later)


def test_a_block_outside_the_pools_leads_nothing_of_a_host_away(cluster: Cluster) -> None:
    elsewhere, server = IPNetwork("8.8.8.0/26"), "8.8.8.8"
    before = routes(cluster, ONE)
    give(cluster, elsewhere, TWO)
    give(cluster, IPNetwork(f"{STRANGER}/26").cidr, TWO)
    cluster.settle()
    assert routes(cluster, ONE) == before
    with cluster.hosts[ONE].network.entered():
        assert f"via {ADDRESS} dev eth0" in run("ip", "route", "get", server)
        assert "via" not in run("ip", "route", "get", str(STRANGER))
    problems = cluster.page(ONE, "/readyz")["problems"]
    assert isinstance(problems, list)
    assert any(f"{elsewhere} of {TWO}" in each for each in problems)
    # It is a pool by an operator's word.
    cluster.store.put(pool_key(Pool(elsewhere)), encode_pool(Pool(elsewhere, disabled=True)))
    leading(cluster, ONE, *before, f"{elsewhere} via {HOSTS[TWO]} dev eth0")


def test_a_pool_that_is_deleted_cuts_none_of_its_tasks(cluster: Cluster) -> None:
    there = cluster["here.1"], cluster["there.1"], address_of(THERE), PORT
    with Flow(*there) as flow, Connection(*there) as connection:
        cluster.store.delete(pool_key(POOL))
        via = f"via {HOSTS[TWO]} dev eth0"
        leading(cluster, ONE, f"10.9.0.65 {via}", f"10.9.0.2 {via}")
        cluster.settle()
        time.sleep(SETTLED)
        assert flow.lost == []
        assert connection.retransmitted == 0
    for source, target in ((HERE, THERE), (THERE, HERE), (LENT, LENT_BACK), (LENT_BACK, THERE)):
        assert reaches(cluster, source, target), (source, target)
