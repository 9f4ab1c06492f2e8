"""Who objects to a store, for how long, and whom that holds back."""

from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from calico.addressing.ipam import block_of
from calico.cluster import HoldKind, Takeover
from calico.codec import decode_chain, encode_objection, encode_pool
from calico.keys import (
    CHAIN,
    FORGOTTEN,
    POOLS,
    READY,
    block_key,
    endpoint_key,
    host_key,
    objection_key,
    pool_key,
)
from calico.model import AppliedRecord, BootId, HostName, Pool, TaskId
from calico.names import endpoint_of_task
from reconciler.cli.commands.hosts import WOULD_ACT, judge_forget
from reconciler.cli.reading.cluster import read_cluster
from reconciler.controller.adoption.hearing import WAIT
from reconciler.controller.hosts.departure import Departure
from tests.unit.controller.cluster import Cluster
from tests.unit.controller.objecting import (
    DB,
    OTHER,
    WEB,
    addresses,
    everything,
    object_to,
    replace_store,
    restored,
    running,
    told_by,
    wiped,
)

H2 = HostName("h2")
BEYOND = Pool(IPNetwork("10.0.0.0/24"), disabled=True)


@pytest.fixture
def cluster() -> Cluster:
    """Three tasks on two hosts, whose agents have followed everything."""
    return running(WEB, DB)


def last_takeover(cluster: Cluster) -> Takeover:
    """The latest takeover of which agents are told."""
    chain = cluster.store.get(CHAIN)
    assert chain is not None
    return decode_chain(chain.value)[-1]


def test_a_host_that_objected_and_says_nothing_more_is_waited_for(cluster: Cluster) -> None:
    # given a wiped store that is held for h2, after h1 told what it holds
    before, held = addresses(cluster), [told_by(cluster, each) for each in ("h1", "h2")]
    cluster.mute = True
    replace_store(cluster, wiped(cluster))
    object_to(cluster, held[0])
    cluster.after(WAIT)

    # when the agent of h1 begins anew, and what it told is gone for a while
    cluster.store.delete(objection_key(HostName("h1")))
    cluster.say(AppliedRecord(HostName("h1"), BootId("boot"), 0))
    cluster.tell_hosts()
    cluster.after(10 * WAIT)

    # then nothing is given, and operators see for whom that waits
    assert cluster.store.get(READY) is None
    hold = cluster.holds()[HoldKind.STORE]
    assert hold.subjects == ("h1", "h2")
    assert "lacks what h1 took" in hold.reason

    # and it ends by itself once both have told
    cluster.mute = False
    object_to(cluster, *held)
    cluster.after(2)
    assert addresses(cluster) == before
    assert cluster.holds() == {}


def test_a_host_that_objected_and_follows_after_all_holds_nothing_back(cluster: Cluster) -> None:
    # given a takeover to which a host objects while another is silent
    held = told_by(cluster, "h1")
    cluster.mute = True
    cluster.start()
    cluster.marathon.put(OTHER)
    cluster.connect()
    object_to(cluster, replace(held, takeover=99))
    cluster.after(2)
    assert cluster.reconciler.adoption.closed

    # when it says that it follows
    cluster.store.delete(objection_key(HostName("h1")))
    cluster.tell(AppliedRecord(HostName("h1"), BootId("boot"), 0))
    cluster.tell_hosts()
    cluster.after(WAIT)

    # then all goes on
    assert "c.1" in addresses(cluster)
    assert cluster.holds() == {}


def test_an_agent_too_old_to_tell_of_its_store_is_waited_for_in_a_wiped_one(
    cluster: Cluster,
) -> None:
    # given a wiped store, to which the agent of h1 objects
    held = told_by(cluster, "h1")
    cluster.mute = True
    replace_store(cluster, wiped(cluster))

    # when that of h2 is of an earlier version, and has forgotten all as well
    cluster.say(AppliedRecord(HostName("h2"), BootId("boot"), 0, guid=None))
    object_to(cluster, held)
    cluster.after(10 * WAIT)

    # then what its task has is given to nobody
    assert cluster.holds()[HoldKind.STORE].subjects == ("h2",)
    assert set(addresses(cluster)) == {"a.1", "b.1"}


def test_claims_in_a_block_that_cannot_be_read_are_named_to_operators(cluster: Cluster) -> None:
    # given a backup in which somebody broke the block of h1
    before, held = addresses(cluster), [told_by(cluster, each) for each in ("h1", "h2")]
    store = restored(cluster, everything(cluster.store))
    store.put(block_key(block_of(IPAddress(before["a.1"]))), "{garbage")
    cluster.mute = True
    replace_store(cluster, store)
    object_to(cluster, *(replace(each, takeover=each.takeover + 5) for each in held))
    cluster.marathon.put(OTHER)
    cluster.after(5)

    hold = cluster.holds()[HoldKind.STORE]
    assert hold.subjects == tuple(sorted((before["a.1"], before["b.1"])))
    assert "not to be read" in hold.reason

    # when they go on without those
    cluster.approve(HoldKind.STORE)
    cluster.after(5)

    # then all others are given
    assert "c.1" in addresses(cluster)
    assert cluster.holds() == {}


def test_a_host_that_comes_late_to_a_store_in_use_holds_nobody_else_back(
    cluster: Cluster,
) -> None:
    # given a store in use, one host of which is dead
    cluster.register("h3", silent=True)
    cluster.tell_hosts()
    held = told_by(cluster, "h2")

    # when one comes that was of another cluster, with pools and hosts of that
    pool = Pool(IPNetwork("10.66.0.0/16"))
    entries = (*held.entries, (pool_key(pool), encode_pool(pool)))
    alien = replace(held, guid="another", entries=entries, hosts=(HostName("x1"),))
    object_to(cluster, alien)
    cluster.marathon.put(OTHER)
    cluster.after(WAIT + 5)

    # then all goes on soon, and nothing that is not of its tasks is taken over
    assert "c.1" in addresses(cluster)
    assert cluster.holds() == {}
    assert pool_key(pool) not in [each.key for each in cluster.store.list(POOLS).entries]
    assert last_takeover(cluster).hosts == ("h2",)


def test_a_late_claim_to_what_another_has_holds_only_its_own_host_back(cluster: Cluster) -> None:
    # given a store in use, and a host that comes with an address of another's task
    before, told = addresses(cluster), told_by(cluster, "h1")
    claimed = (
        (key, text.replace(before["a.1"], before["a.2"]) if "/endpoint/" in key else text)
        for key, text in told.entries
    )
    takeovers = last_takeover(cluster).number
    object_to(cluster, replace(told, guid="earlier", entries=tuple(claimed)))
    cluster.marathon.put(OTHER)
    cluster.after(65)

    # then others go on meanwhile
    assert "c.1" in addresses(cluster)
    hold = cluster.holds()[HoldKind.STORE]
    assert hold.subjects == (before["a.2"],)
    assert "nothing changes on h1" in hold.reason
    assert last_takeover(cluster).number == takeovers

    # until an operator lets it go
    cluster.approve(HoldKind.STORE)
    cluster.after(65)
    assert cluster.holds() == {}
    assert last_takeover(cluster).hosts == ("h1",)


def test_what_a_forgotten_host_told_holds_nothing_back(cluster: Cluster) -> None:
    # given a host that told, and that an operator declares gone while Marathon names it
    held = told_by(cluster, "h1")
    replace_store(cluster, wiped(cluster))
    object_to(cluster, held)
    cluster.after(WAIT)
    assert cluster.holds()[HoldKind.STORE].subjects == ("h2",)
    Departure(cluster.store).forget(HostName("h2"))
    cluster.tell_hosts()
    cluster.after(65)

    # then nobody waits for it
    assert cluster.holds() == {}
    assert cluster.store.get(READY) is not None

    # and what it told before is not taken over from later
    takeovers = last_takeover(cluster).number
    cluster.store.put(
        objection_key(HostName("h2")), encode_objection(replace(held, host=HostName("h2")))
    )
    cluster.after(65)
    assert last_takeover(cluster).number == takeovers


def test_a_host_that_the_store_lost_can_be_forgotten(cluster: Cluster) -> None:
    # given a wiped store in which h2 never registers, and another host that knew it
    before, held = addresses(cluster), told_by(cluster, "h1")
    replace_store(cluster, wiped(cluster))
    cluster.store.delete(host_key(H2))
    cluster.tell_hosts()
    cluster.marathon.put(replace(DB, tasks=()))
    object_to(cluster, held)
    cluster.after(WAIT)
    assert cluster.holds()[HoldKind.STORE].subjects == ("h2",)

    # when an operator declares it gone
    read = read_cluster(cluster.store)
    assert judge_forget(read, "h2", force=False).exit_code == WOULD_ACT
    departure = Departure(cluster.store)
    departure.forget(H2)
    assert not departure.clear(H2)
    cluster.after(65)

    # then what the other told is taken over, and nothing is left of that word
    assert cluster.holds() == {}
    assert addresses(cluster).items() <= before.items()
    assert cluster.store.get(READY) is not None
    assert cluster.store.list(FORGOTTEN).entries == ()


@pytest.mark.parametrize("is_registered", [True, False])
def test_a_host_that_is_forgotten_and_back_is_waited_for(
    cluster: Cluster, is_registered: bool
) -> None:
    # given a host that a wiped store waits for, and that an operator declared gone
    held = told_by(cluster, "h1")
    replace_store(cluster, wiped(cluster))
    if not is_registered:
        cluster.store.delete(host_key(H2))
    # so that somebody else is waited for
    cluster.register("h3", 2, silent=True)
    object_to(cluster, held)
    cluster.after(WAIT)
    departure = Departure(cluster.store)
    departure.forget(H2)
    departure.clear(H2)
    cluster.tell_hosts()
    cluster.after(65)
    assert cluster.holds()[HoldKind.STORE].subjects == ("h3",)

    # when its agent registers
    cluster.register("h2", 1, silent=True)
    cluster.tell_hosts()
    cluster.after(65)

    # then what it holds counts again
    assert cluster.holds()[HoldKind.STORE].subjects == ("h2", "h3")


@pytest.mark.parametrize(
    "becomes_pool",
    [
        pytest.param(True, id="until the range is a pool"),
        pytest.param(False, id="until an operator has the host go on without"),
    ],
)
def test_no_address_outside_the_pools_is_led_to_a_host_by_its_own_word(
    cluster: Cluster, becomes_pool: bool
) -> None:
    # given a store in use, and an agent that tells of an earlier one, in which a
    # task of its host had an address that others use by now
    told, beyond = told_by(cluster, "h2"), "10.0.0.9"
    before = addresses(cluster)
    moved = (
        (key, value.replace(before["a.2"], beyond) if "/endpoint/" in key else value)
        for key, value in told.entries
    )
    entries = (*moved, (pool_key(BEYOND), encode_pool(BEYOND)))
    object_to(cluster, replace(told, guid="invented", entries=entries))

    cluster.after(65)

    assert addresses(cluster) == before
    hold = cluster.holds()[HoldKind.STORE]
    assert hold.subjects == (beyond,)
    assert f"in no pool, or not to be read: {beyond}" in hold.reason

    if becomes_pool:
        cluster.store.put(pool_key(BEYOND), encode_pool(BEYOND))
    else:
        cluster.approve(HoldKind.STORE)
    seen = set()
    for _ in range(30):
        cluster.after(5)
        seen |= set(addresses(cluster).values())
    assert cluster.holds() == {}
    assert last_takeover(cluster).hosts == ("h2",)
    assert (beyond in seen) is becomes_pool


def test_pools_that_an_operator_removed_stay_away_when_a_host_comes_late(cluster: Cluster) -> None:
    # given a wiped store that was adopted without h2, and pools that were changed then
    held = [told_by(cluster, each) for each in ("h1", "h2")]
    replace_store(cluster, wiped(cluster))
    object_to(cluster, held[0])
    cluster.after(WAIT)
    cluster.approve(HoldKind.STORE)
    cluster.after(5)
    (default,) = cluster.store.list(POOLS).entries
    pool = Pool(IPNetwork("10.7.0.0/16"))
    cluster.store.put(pool_key(pool), encode_pool(pool))
    cluster.store.delete(default.key)

    # when h2 tells, of those that it knew, to the next leader
    cluster.start()
    object_to(cluster, held[1])
    cluster.connect()
    cluster.after(WAIT + 5)

    # then the operator's stand
    assert last_takeover(cluster).hosts == ("h2",)
    assert [each.key for each in cluster.store.list(POOLS).entries] == [pool_key(pool)]


def test_while_hosts_tell_the_same_their_claims_are_looked_at_once_a_minute(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    # given two hosts that claim one address of a wiped store
    before = addresses(cluster)
    one, two = (told_by(cluster, each) for each in ("h1", "h2"))
    moved = tuple(
        (key, text.replace(before["a.2"], before["a.1"]) if "/endpoint/" in key else text)
        for key, text in two.entries
    )
    cluster.mute = True
    replace_store(cluster, wiped(cluster))
    object_to(cluster, one, replace(two, entries=moved))
    cluster.after(5)
    endpoint = endpoint_key(endpoint_of_task(HostName("h1"), TaskId("b.1")))
    stored = cluster.store.get(endpoint)
    assert stored is not None
    cluster.store.delete(endpoint)

    # when time passes
    caplog.clear()
    cluster.after(30)
    assert cluster.store.get(endpoint) is None
    cluster.after(35)

    # then what was taken over is again, and not told of each time
    assert cluster.store.get(endpoint) is not None
    assert "taken over from a host" not in caplog.messages


def test_the_link_of_an_adoption_is_beyond_what_hosts_have_seen(cluster: Cluster) -> None:
    # given a store that lost its latest takeovers
    held = [replace(told_by(cluster, each), takeover=40) for each in ("h1", "h2")]
    cluster.start()
    object_to(cluster, *held)
    cluster.connect()
    cluster.after(WAIT + 5)

    assert last_takeover(cluster).number == 41
    assert last_takeover(cluster).hosts == ("h1", "h2")
    assert not cluster.reconciler.adoption.closed


def test_hosts_that_only_a_late_one_knows_are_not_waited_for(cluster: Cluster) -> None:
    held = told_by(cluster, "h2")
    object_to(cluster, replace(held, guid="another", hosts=(HostName("x1"),)))
    cluster.after(WAIT + 2)
    assert last_takeover(cluster).hosts == ("h2",)
    assert not cluster.reconciler.adoption.closed


def test_of_a_store_that_was_set_back_nobody_is_taken_for_a_follower_at_once(
    cluster: Cluster,
) -> None:
    # given one host that objects first; the other's word is as old as the backup
    one, two = (told_by(cluster, each) for each in ("h1", "h2"))
    object_to(cluster, two)
    cluster.after(2)
    assert cluster.reconciler.adoption.closed

    # when it objects as well
    object_to(cluster, one, two)
    cluster.after(WAIT + 2)

    # then both were heard before anything went on
    assert last_takeover(cluster).hosts == ("h1", "h2")
