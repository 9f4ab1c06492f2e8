"""What a leader tells of itself: while it gives no address, why, and when it does."""

import pytest

from calico.codec import decode_chain
from calico.keys import CHAIN, READY
from calico.model import HostName
from marathon_client.errors import MarathonUnavailable
from reconciler.controller.adoption.adoption import NOT_YET, UNHEARD
from reconciler.controller.adoption.hearing import WAIT
from reconciler.controller.hosts.departure import Departure
from tests.unit.controller.cluster import UNAVAILABLE, Cluster
from tests.unit.controller.objecting import WEB, object_to, replace_store, running, told_by, wiped


@pytest.fixture
def cluster() -> Cluster:
    """Two tasks on two hosts, whose agents have followed everything."""
    return running(WEB)


def waits(cluster: Cluster) -> str:
    """What is told while no address is given."""
    standing = cluster.loop.standing
    assert standing.opened == ""
    return standing.waits


def test_a_leader_that_gives_addresses_names_its_own_takeover(cluster: Cluster) -> None:
    chain = cluster.store.get(CHAIN)
    assert chain is not None

    assert cluster.loop.standing.opened == decode_chain(chain.value)[-1].nonce
    assert cluster.loop.standing.waits == ""


def test_a_new_leader_tells_whom_it_gives_time(cluster: Cluster) -> None:
    # given a takeover of which agents have not said yet that they saw it
    cluster.mute = True
    cluster.start()
    cluster.connect()

    assert "no address is given yet: h1, h2 may hold" in waits(cluster)
    assert f"{WAIT:.0f} seconds" in waits(cluster)

    # then that ends with the time, where one follows
    cluster.follow("h1")
    cluster.after(WAIT + 1)
    assert cluster.loop.standing.opened
    assert cluster.loop.standing.waits == ""


def test_that_no_agent_at_all_is_heard_is_told_until_one_is(cluster: Cluster) -> None:
    cluster.mute = True
    cluster.start()
    cluster.connect()
    cluster.after(10 * WAIT)
    assert waits(cluster) == f"{NOT_YET}: no agent follows this datastore, not on h1, h2"

    cluster.follow("h2")
    assert f"{NOT_YET}: h1 may hold" in waits(cluster)


def test_that_somebody_has_agents_wait_is_told_until_he_no_more_does(cluster: Cluster) -> None:
    # given agents that act on nothing, as an operator has said
    cluster.mute = True
    cluster.store.put(READY, "false")
    cluster.start()
    cluster.connect()
    cluster.after(10 * WAIT)

    assert waits(cluster).startswith(f"{NOT_YET}: no agent follows this datastore, not on h1, h2;")
    assert f"{READY} is not true: until somebody sets it so" in waits(cluster)

    # when that is over, but they are not back yet
    cluster.store.put(READY, "true")
    cluster.after(5)
    assert waits(cluster) == f"{NOT_YET}: no agent follows this datastore, not on h1, h2"
    cluster.follow("h1")
    cluster.after(WAIT + 1)
    assert cluster.loop.standing.opened


def test_that_somebody_has_agents_wait_is_told_with_what_is_held(cluster: Cluster) -> None:
    held = told_by(cluster, "h1")
    store = wiped(cluster)
    store.put(READY, "false")
    replace_store(cluster, store)
    object_to(cluster, held)
    cluster.after(2 * WAIT)

    assert f"not heard of yet: h2; {READY} is not true" in waits(cluster)


def test_a_store_that_was_not_ready_waits_for_nobody_longer(cluster: Cluster) -> None:
    # given agents that act on nothing for that reason alone, and so say nothing new
    cluster.mute = True
    cluster.store.delete(READY)
    cluster.start()
    cluster.connect()

    cluster.after(WAIT + 1)
    assert cluster.loop.standing.opened
    assert cluster.store.get(READY) is not None


def test_hosts_that_are_all_declared_gone_are_not_waited_for(cluster: Cluster) -> None:
    cluster.mute = True
    cluster.start()
    cluster.connect()
    for name in ("h1", "h2"):
        Departure(cluster.store).forget(HostName(name))
    cluster.tell_hosts()

    cluster.after(WAIT + 1)
    assert cluster.loop.standing.opened


def test_of_many_hosts_a_few_are_named(cluster: Cluster) -> None:
    for number in range(3, 10):
        cluster.register(f"h{number}", number)
    cluster.mute = True
    cluster.start()
    cluster.connect()

    assert "h1, h2, h3, h4, h5 and 4 more may hold" in waits(cluster)


def test_a_store_that_is_held_is_told_with_whom_it_waits_for(cluster: Cluster) -> None:
    held = told_by(cluster, "h1")
    replace_store(cluster, wiped(cluster))
    object_to(cluster, held)
    cluster.after(WAIT)

    assert "not heard of yet: h2; no address is given until that is clear" in waits(cluster)
    assert waits(cluster).endswith("see `marathon-calico holds`")


def test_a_leader_that_marathon_does_not_answer_tells_so(cluster: Cluster) -> None:
    cluster.fail(MarathonUnavailable("http://marathon: connection refused"))
    cluster.start()
    cluster.connect()

    assert waits(cluster).startswith(UNHEARD)
    assert waits(cluster).endswith("http://marathon: connection refused")


def test_a_store_in_use_stays_open_without_marathon_and_that_is_told(cluster: Cluster) -> None:
    cluster.fail(UNAVAILABLE)
    cluster.after(80)

    standing = cluster.loop.standing
    assert standing.opened
    assert standing.waits == f"changes in Marathon are not followed: {UNAVAILABLE}"

    cluster.fail(None)
    cluster.after(80)
    assert cluster.loop.standing.waits == ""


def test_a_host_that_objects_to_a_store_in_use_is_named(cluster: Cluster) -> None:
    # given a store that another has replaced, in which the leader goes on without h1
    held = told_by(cluster, "h1")
    cluster.mute = True
    replace_store(cluster, wiped(cluster))
    cluster.after(WAIT + 1)
    assert cluster.loop.standing.opened

    # when h1 is back
    object_to(cluster, held)
    cluster.after(2)

    assert "no address is given yet: h1 told what this datastore lacks" in waits(cluster)
