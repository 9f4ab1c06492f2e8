"""etcd wiped, restored or replaced: no live task is re-addressed, by any way through it."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from calico.addressing.addresses import Addresses
from calico.cluster import HoldKind
from calico.codec import decode_chain, encode_endpoint, encode_objection, encode_pool
from calico.datastore.api import Key, Revision
from calico.datastore.memory import MemoryDatastore
from calico.errors import DatastoreUnavailable
from calico.keys import (
    APPLIED,
    CHAIN,
    CLUSTER_GUID,
    OBJECTIONS,
    POOLS,
    READY,
    endpoint_key,
    felix_status_key,
    objection_key,
    pool_key,
)
from calico.model import AppliedRecord, BootId, HostName, Pool, TaskId, TaskVerdict
from calico.names import endpoint_of_task, interface_of, mac_of
from reconciler.controller.adoption.chain import append_takeover
from reconciler.controller.adoption.hearing import WAIT
from reconciler.core.removal.quarantine import REST
from reconciler.runtime.lease import LeaseLost
from tests.convergence.test_ipam_kills import Killed, MortalStore
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


@pytest.fixture
def cluster() -> Cluster:
    """Three tasks on two hosts."""
    return running(WEB, DB)


def test_after_a_wipe_every_task_has_the_address_that_its_host_tells(cluster: Cluster) -> None:
    # given what hosts hold of a store, which is emptied then
    before, held = addresses(cluster), [told_by(cluster, each) for each in ("h1", "h2")]
    handles = {name: Addresses(cluster.store).holder(IPAddress(it)) for name, it in before.items()}
    replace_store(cluster, wiped(cluster))
    cluster.marathon.put(OTHER)

    # when all have told
    object_to(cluster, *held)
    cluster.after(2)

    # then nothing is held, and all are as they were; a new task has an address of its own
    found = addresses(cluster)
    new = found.pop("c.1")
    assert found == before
    assert new not in before.values()
    for name, address in before.items():
        assert Addresses(cluster.store).holder(IPAddress(address)) == handles[name] == name
    assert {each.verdict for each in cluster.records().values()} == {TaskVerdict.ACCEPTED}
    assert cluster.store.get(READY) is not None
    assert cluster.holds() == {}


def test_agents_are_told_by_a_link_that_their_host_was_taken_over(cluster: Cluster) -> None:
    held = [told_by(cluster, each) for each in ("h1", "h2")]
    replace_store(cluster, wiped(cluster))
    object_to(cluster, *held)
    cluster.after(2)

    chain = cluster.store.get(CHAIN)
    assert chain is not None
    takeover = decode_chain(chain.value)[-1]
    assert (takeover.adopts, takeover.hosts) == ((held[0].guid,), ("h1", "h2"))


def test_while_a_host_is_silent_nothing_is_given_and_operators_see_why(cluster: Cluster) -> None:
    held = told_by(cluster, "h1")
    replace_store(cluster, wiped(cluster))
    object_to(cluster, held)
    cluster.after(10 * WAIT)

    assert set(addresses(cluster)) == {"a.1", "b.1"}
    hold = cluster.holds()[HoldKind.STORE]
    assert hold.subjects == ("h2",)
    assert "not heard of yet: h2" in hold.reason
    assert cluster.records()["a.2"].verdict is TaskVerdict.PENDING
    assert cluster.records()["a.2"].reason == hold.reason
    assert cluster.store.get(READY) is None


def test_a_host_of_which_only_another_one_knows_is_waited_for(cluster: Cluster) -> None:
    # given a host without a task that Marathon names, which may hold one that it gave up
    cluster.register("h3")
    cluster.tell_hosts()
    held = [told_by(cluster, each) for each in ("h1", "h2")]
    replace_store(cluster, wiped(cluster))
    object_to(cluster, *held)
    cluster.after(WAIT)

    assert cluster.holds()[HoldKind.STORE].subjects == ("h3",)


def test_the_hold_ends_by_itself_once_the_last_host_told(cluster: Cluster) -> None:
    before, held = addresses(cluster), [told_by(cluster, each) for each in ("h1", "h2")]
    replace_store(cluster, wiped(cluster))
    object_to(cluster, held[0])
    cluster.after(10 * WAIT)

    object_to(cluster, held[1])
    cluster.after(2)

    assert addresses(cluster) == before
    assert cluster.holds() == {}


def test_an_operator_goes_on_without_a_host_and_it_is_imported_later(cluster: Cluster) -> None:
    # given a store that was adopted without h2, whose task got another address
    before, held = addresses(cluster), [told_by(cluster, each) for each in ("h1", "h2")]
    replace_store(cluster, wiped(cluster))
    object_to(cluster, held[0])
    cluster.after(WAIT)
    cluster.approve(HoldKind.STORE)
    cluster.after(5)
    assert cluster.store.get(READY) is not None
    assert addresses(cluster)["a.2"] not in {before["a.1"], before["b.1"]}

    # when h2 comes back and tells what its task has had all the time
    object_to(cluster, held[1])
    cluster.after(5)

    # then it has that, if nobody else got it
    assert addresses(cluster) == before


def test_a_store_in_use_is_closed_again_while_a_host_that_objects_is_heard(
    cluster: Cluster,
) -> None:
    # given a store that all follow, and a host that comes with something of an earlier one
    held = told_by(cluster, "h2")
    object_to(cluster, replace(held, guid="earlier", entries=()))
    cluster.after(WAIT + 2)

    # then it is told that what it held, nothing, was taken over
    chain = cluster.store.get(CHAIN)
    assert chain is not None
    takeover = decode_chain(chain.value)[-1]
    assert (takeover.adopts, takeover.hosts) == (("earlier",), ("h2",))


def test_an_address_that_two_hosts_claim_is_given_to_neither(cluster: Cluster) -> None:
    before = addresses(cluster)
    one, two = (told_by(cluster, each) for each in ("h1", "h2"))
    moved = tuple(
        (key, text.replace(before["a.2"], before["a.1"]) if "/endpoint/" in key else text)
        for key, text in two.entries
    )
    two = replace(two, entries=moved)
    replace_store(cluster, wiped(cluster))
    object_to(cluster, one, two)
    cluster.after(2 * WAIT)

    assert set(addresses(cluster)) == {"b.1"}
    assert cluster.holds()[HoldKind.STORE].subjects == (before["a.1"],)


def test_a_first_install_waits_for_nobody() -> None:
    cluster = Cluster()
    cluster.marathon.put(WEB)
    cluster.connect()
    assert set(addresses(cluster)) == {"a.1", "a.2"}


def test_a_takeover_gives_no_address_before_the_hosts_follow_it(cluster: Cluster) -> None:
    before = addresses(cluster)
    replace_store(cluster, cluster.store)
    cluster.mute = True
    cluster.start()
    cluster.marathon.put(OTHER)
    cluster.connect()
    assert addresses(cluster) == before

    cluster.mute = False
    cluster.after(2)
    assert set(addresses(cluster)) == {*before, "c.1"}


def test_a_host_that_is_dead_holds_up_a_takeover_for_a_moment_only(cluster: Cluster) -> None:
    cluster.mute = True
    cluster.start()
    cluster.marathon.put(OTHER)
    cluster.connect()
    cluster.follow("h1")
    cluster.after(WAIT + 2)
    assert "c.1" in addresses(cluster)


def test_hosts_that_were_all_silent_have_what_they_had_however_late_they_tell(
    cluster: Cluster,
) -> None:
    # given a store that was set back to before any task, from which all hosts are cut off
    held, before = [told_by(cluster, each) for each in ("h1", "h2")], addresses(cluster)
    empty = Cluster()
    empty.connect()
    cluster.mute = True
    replace_store(cluster, restored(cluster, everything(empty.store)))
    cluster.marathon.put(OTHER)
    cluster.connect()
    cluster.after(10 * WAIT)
    assert addresses(cluster) == {}

    # when they are back, one after the other
    for each in held:
        object_to(cluster, each)
        cluster.after(WAIT - 2)
    cluster.mute = False
    cluster.after(4)

    # then nobody else was given what they have
    found = addresses(cluster)
    assert found.pop("c.1") not in before.values()
    assert found == before
    assert cluster.holds() == {}


def follow(cluster: Cluster) -> None:
    cluster.follow("h1")


def object_late(cluster: Cluster, host: str = "h1") -> None:
    object_to(cluster, replace(told_by(cluster, host), guid="earlier", entries=()))


HEARD = [pytest.param(follow, id="follows"), pytest.param(object_late, id="objects late")]


@pytest.mark.parametrize("be_heard", HEARD)
def test_once_one_of_all_that_were_silent_is_heard_the_others_have_their_time(
    cluster: Cluster, be_heard: Callable[[Cluster], None]
) -> None:
    # given a store that was taken over from an earlier one, and that nobody is heard of
    object_late(cluster, "h2")
    cluster.after(WAIT + 2)
    cluster.store.delete(objection_key(HostName("h2")))
    cluster.mute = True
    cluster.start()
    cluster.marathon.put(OTHER)
    cluster.connect()
    cluster.after(10 * WAIT)
    be_heard(cluster)

    cluster.after(WAIT - 2)
    assert "c.1" not in addresses(cluster)
    cluster.after(4)
    assert "c.1" in addresses(cluster)


def test_who_leads_a_store_that_another_took_over_leads_no_more(cluster: Cluster) -> None:
    # given a leader whose renewals hit the lease of another, in a store that was set back
    append_takeover(cluster.store, "the other's")

    with pytest.raises(LeaseLost):
        cluster.after(400)


class HastyStore(MemoryDatastore):
    """A store whose answer to the takeover of an import is lost, which agents believe at once."""

    def put(
        self, key: Key, value: str, *, expect: Revision | None = None, ttl: int | None = None
    ) -> Revision:
        revision = super().put(key, value, expect=expect, ttl=ttl)
        told = self.list(OBJECTIONS).entries
        if key == CHAIN and told and decode_chain(value)[-1].hosts:
            for each in told:
                self.delete(each.key)
            raise DatastoreUnavailable("the answer was lost")
        return revision


def test_agents_that_believe_a_link_whose_answer_was_lost_are_heard(cluster: Cluster) -> None:
    # given a store that was emptied, and whose leader had no answer when it told of the import
    held = [told_by(cluster, each) for each in ("h1", "h2")]
    replace_store(cluster, HastyStore(cluster.clock.monotonic))
    object_to(cluster, *held)
    cluster.after(WAIT)
    (address,) = cluster.specs()["a.1"].addresses

    # when a task ends, and its agents say that they have seen it
    cluster.kill(WEB, WEB.tasks[0])
    cluster.after(5)
    cluster.applied()
    cluster.after(REST + 10)

    # then their word counts
    assert Addresses(cluster.store).holder(address) is None


def test_what_came_after_a_backup_is_brought_back(cluster: Cluster) -> None:
    # given a backup, after which a task came on either host, and one ended
    backup = everything(cluster.store)
    cluster.kill(WEB, WEB.tasks[0])
    cluster.run(OTHER)
    cluster.applied()
    cluster.after(200)
    cluster.applied()
    cluster.after(10)
    before, held = addresses(cluster), [told_by(cluster, each) for each in ("h1", "h2")]

    # when that is what etcd holds
    replace_store(cluster, restored(cluster, backup))
    object_to(cluster, *held)
    cluster.after(5)

    # then who lives has what it had
    found = addresses(cluster)
    assert {name: found[name] for name in before} == before


def test_an_address_that_a_backup_gives_to_the_dead_is_its_live_owners(cluster: Cluster) -> None:
    # given a backup in which a task has the address that a later one of its host has by now
    before, (one, two) = addresses(cluster), (told_by(cluster, each) for each in ("h1", "h2"))
    live = endpoint_of_task(HostName("h1"), TaskId("n.1"))
    dead = cluster.specs()["a.1"]
    spec = replace(dead, id=live, interface=interface_of(live), mac=mac_of(live))
    entries = {key: text.replace('"a.1"', '"n.1"') for key, text in one.entries}
    del entries[endpoint_key(dead.id)]
    entries[endpoint_key(live)] = encode_endpoint(spec)

    # when its host tells so
    cluster.mute = True
    replace_store(cluster, restored(cluster, everything(cluster.store)))
    object_to(cluster, replace(one, entries=tuple(sorted(entries.items()))), two)
    cluster.after(2)

    # then that one has it, and whoever was given it before has another or none
    found = addresses(cluster)
    assert found["n.1"] == before["a.1"]
    assert Addresses(cluster.store).holder(IPAddress(before["a.1"])) == "n.1"
    assert list(found.values()).count(before["a.1"]) == 1


@pytest.mark.parametrize("position", range(0, 75, 5))
def test_a_leader_may_die_at_any_write_of_an_import(cluster: Cluster, position: int) -> None:
    # given a wiped store, and a leader that dies after some of its writes
    before, held = addresses(cluster), [told_by(cluster, each) for each in ("h1", "h2")]
    store = wiped(cluster)
    cluster.mute, cluster.store = True, store
    for name in ("h1", "h2"):
        cluster.register(name, silent=True)
    for each in held:
        store.put(objection_key(each.host), encode_objection(each))
    cluster.store = MortalStore(store, position)
    with suppress(Killed):
        cluster.start()
        cluster.connect()
        cluster.after(2)

    # when the next one leads
    cluster.mute = False
    replace_store(cluster, store)
    object_to(cluster, *held)
    cluster.after(2)

    # then it took up what was left
    assert addresses(cluster) == before
    assert cluster.holds() == {}


@pytest.mark.parametrize(
    ("guid", "takeover", "doubt"),
    [
        pytest.param("another", 1, "", id="of another store"),
        pytest.param("", 1, "", id="of no store"),
        pytest.param(None, 99, "", id="of another past"),
        pytest.param(None, 1, "went back", id="of one that is doubted"),
    ],
)
def test_what_an_agent_says_of_another_store_proves_nothing(
    cluster: Cluster, guid: str | None, takeover: int, doubt: str
) -> None:
    own = cluster.store.get(CLUSTER_GUID)
    assert own is not None
    word = AppliedRecord(
        HostName("h1"),
        BootId("boot"),
        Revision(1),
        gone=(TaskId("a.1"),),
        guid=own.value if guid is None else guid,
        takeover=takeover,
        doubt=doubt,
    )
    cluster.marathon.current.clear()
    cluster.say(word)
    cluster.tell_hosts()
    cluster.after(3)
    assert "a.1" in addresses(cluster)


def test_what_was_told_is_deleted_by_nobody_but_its_agent(cluster: Cluster) -> None:
    held = [told_by(cluster, each) for each in ("h1", "h2")]
    replace_store(cluster, wiped(cluster))
    object_to(cluster, *held)
    cluster.after(5)
    assert len(cluster.store.list(OBJECTIONS).entries) == 2


def test_agents_of_a_version_that_tells_no_store_are_waited_for_shortly(cluster: Cluster) -> None:
    # given agents that tell how far they are, and not of which store
    before = addresses(cluster)
    cluster.mute = True
    for name in ("h1", "h2"):
        revision = cluster.store.list(APPLIED).revision
        cluster.say(AppliedRecord(HostName(name), BootId("boot"), revision, guid=None))
        cluster.store.put(felix_status_key(HostName(name)), "{}")

    # when another leader comes
    cluster.start()
    cluster.marathon.put(OTHER)
    cluster.connect()
    cluster.after(WAIT + 2)

    # then all is given, and nothing is held
    assert addresses(cluster).keys() == {*before, "c.1"}
    assert cluster.holds() == {}


def test_what_is_left_of_a_dead_agent_that_tells_no_store_is_not_heard(cluster: Cluster) -> None:
    # given an agent that did not tell of which store it was, and reports no more
    cluster.mute = True
    cluster.say(AppliedRecord(HostName("h2"), BootId("boot"), Revision(1), guid=None))

    # when another leader comes, and all others are cut off
    cluster.start()
    cluster.marathon.put(OTHER)
    cluster.connect()
    cluster.after(10 * WAIT)

    # then nothing is given until one is heard, and the others had their time
    assert "no agent follows this datastore" in cluster.loop.standing.waits
    assert "c.1" not in addresses(cluster)
    cluster.follow("h1")
    cluster.after(WAIT + 2)
    assert "c.1" in addresses(cluster)


def test_the_pools_that_hosts_know_come_back_and_no_other(cluster: Cluster) -> None:
    # given a cluster whose pool an operator made
    pool = Pool(IPNetwork("10.7.0.0/16"))
    (default,) = cluster.store.list(POOLS).entries
    cluster.store.delete(default.key)
    cluster.store.put(pool_key(pool), encode_pool(pool))
    held = [told_by(cluster, each) for each in ("h1", "h2")]

    # when its store is emptied
    replace_store(cluster, wiped(cluster))
    object_to(cluster, *held)
    cluster.after(2)

    # then there is that one, and not what a first start would make
    assert [each.key for each in cluster.store.list(POOLS).entries] == [pool_key(pool)]
