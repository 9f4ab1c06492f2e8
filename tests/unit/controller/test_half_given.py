"""Addresses that a task asked for by name, of which a leader that died gave it one."""

from dataclasses import replace

import pytest
from netaddr import IPAddress

from calico.addressing.addresses import Addresses
from calico.addressing.blocks import OWNER
from calico.keys import endpoint_key
from calico.model import HandleId, HostName, TaskId, TaskVerdict
from calico.names import endpoint_of_task
from marathon_client.models import App
from reconciler.core.removal.quarantine import FIXED_FOR
from tests.unit.controller.cluster import Cluster
from tests.unit.reconciler.apps import app, network, task


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.connect()
    return made


def half_given(cluster: Cluster) -> App:
    """An app of which a leader died when it had given a task one of two addresses."""
    pair = network("g", labels=(("ipv4_addrs", "['192.168.7.5', '192.168.7.6']"),))
    marks = (OWNER, (FIXED_FOR, "/b"))
    Addresses(cluster.store).assign_fixed(
        HostName("h1"), HandleId("x"), IPAddress("192.168.7.5"), secondary=marks
    )
    return app(task("x", app="/b"), name="/b", net=pair)


def test_the_next_leader_completes_the_fixed_addresses_of_a_task(cluster: Cluster) -> None:
    cluster.run(half_given(cluster))
    assert len(cluster.specs()["x"].addresses) == 2


def test_the_next_leader_gives_half_of_a_pair_back_once_it_rested(cluster: Cluster) -> None:
    # given a task that has one address of two, of which another app took the other
    other = app(task("t"), net=network("g", labels=(("ipv4_addrs", "['192.168.7.6']"),)))
    cluster.run(other)
    cluster.run(half_given(cluster))
    assert cluster.records()["x"].verdict is TaskVerdict.REFUSED
    cluster.after(10)
    cluster.applied(hosts=("h1",))
    cluster.after(300)

    # then it is kept while any host may know of more
    held = Addresses(cluster.store)
    assert held.held_by(HandleId("x")) == (IPAddress("192.168.7.5"),)
    cluster.applied()
    cluster.after(10)
    assert held.held_by(HandleId("x")) == ()

    # and the task has both once it can
    cluster.kill(other, other.tasks[0])
    cluster.after(200)
    cluster.applied()
    cluster.after(200)
    assert len(cluster.specs()["x"].addresses) == 2


def test_half_of_a_pair_does_not_rest_where_its_task_has_it_by_now(cluster: Cluster) -> None:
    other = app(task("t"), net=network("g", labels=(("ipv4_addrs", "['192.168.7.6']"),)))
    cluster.run(other)
    cluster.run(half_given(cluster))
    cluster.after(100)
    assert held_for(cluster, "x") == (IPAddress("192.168.7.5"),)

    # when the other one comes free before the first has rested
    assert Addresses(cluster.store).release(HandleId("t"), IPAddress("192.168.7.6"))
    cluster.store.delete(endpoint_key(cluster.specs()["t"].id))
    cluster.marathon.put(replace(other, tasks=()))
    cluster.after(80)
    cluster.applied()
    cluster.after(300)

    both = (IPAddress("192.168.7.5"), IPAddress("192.168.7.6"))
    assert cluster.specs()["x"].addresses == both
    assert held_for(cluster, "x") == both


def test_half_of_a_pair_stays_where_the_endpoint_cannot_be_read(cluster: Cluster) -> None:
    cluster.run(app(task("t"), net=network("g", labels=(("ipv4_addrs", "['192.168.7.6']"),))))
    half = half_given(cluster)
    cluster.store.put(endpoint_key(endpoint_of_task(HostName("h1"), TaskId("x"))), "{junk")
    cluster.start()
    cluster.connect()
    cluster.run(half)
    cluster.after(10)
    cluster.applied()
    cluster.after(300)
    assert held_for(cluster, "x") == (IPAddress("192.168.7.5"),)


def held_for(cluster: Cluster, task: str) -> tuple[IPAddress, ...]:
    return Addresses(cluster.store).held_by(HandleId(task))
