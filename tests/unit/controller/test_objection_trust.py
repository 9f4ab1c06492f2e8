"""What one host says of a store is not what others live by."""

import json
from dataclasses import replace

import pytest
from netaddr import IPAddress

from calico.cluster import HoldKind, ObjectionRecord
from calico.codec import decode_chain, encode_endpoint
from calico.datastore.api import Key
from calico.keys import CHAIN, PROFILES, endpoint_key, parse_block_key, profile_key
from calico.model import AppliedRecord, BootId, EndpointSpec, HostName, ProfileId, TaskId
from calico.names import endpoint_of_task, interface_of, mac_of
from reconciler.controller.adoption.hearing import WAIT
from tests.unit.controller.cluster import Cluster
from tests.unit.controller.objecting import (
    everything,
    object_to,
    replace_store,
    restored,
    running,
    told_by,
    wiped,
)
from tests.unit.reconciler.apps import app, network, task

H1, H2 = HostName("h1"), HostName("h2")
DB = app(task("db.1", app="/db", host="h2"), name="/db", net=network("db"))
WEB = app(task("web.1", app="/web"), name="/web", net=network("db"))
VIP = app(task("vip.1", app="/vip", host="h2"), name="/vip", net=network("vip"))
OPEN = json.dumps({"inbound_rules": [{"action": "allow"}], "outbound_rules": [{"action": "allow"}]})
RULES_OF_DB = profile_key(ProfileId("db"), "rules")
RULES_OF_VIP = profile_key(ProfileId("vip"), "rules")


@pytest.fixture
def cluster() -> Cluster:
    """A task of one group on each of two hosts."""
    return running(DB, WEB)


def endpoint(name: str, address: str, group: str = "db") -> EndpointSpec:
    """What h1 says that it has for a task."""
    found = endpoint_of_task(H1, TaskId(name))
    profiles = (ProfileId(group),)
    return EndpointSpec(
        found, interface_of(found), mac_of(found), (IPAddress(address),), profiles, ()
    )


def telling(told: ObjectionRecord, **entries: str) -> ObjectionRecord:
    """The same host, which tells more, or other things."""
    return replace(told, entries=tuple(sorted({**dict(told.entries), **entries}.items())))


def tell_alone(cluster: Cluster, entries: dict[Key, str], *, is_anew: bool) -> None:
    """One host objects to a store that the other follows, as it is or as a new leader begins."""
    told = replace(told_by(cluster, "h1"), guid="any other", entries=tuple(sorted(entries.items())))
    if is_anew:
        cluster.mute = True
        cluster.start()
    object_to(cluster, told)
    if is_anew:
        cluster.connect()
        cluster.mute = False
        cluster.tell(AppliedRecord(H2, BootId("boot"), 0))
        cluster.tell_hosts()


BOTH_TIMES = pytest.mark.parametrize(
    "is_anew", [False, True], ids=["in use", "that a new leader finds"]
)


@BOTH_TIMES
def test_no_host_alone_puts_a_task_of_its_own_making_into_a_group(
    cluster: Cluster, is_anew: bool
) -> None:
    before = cluster.specs()
    evil = endpoint("evil.1", "192.168.77.7")
    tell_alone(cluster, {endpoint_key(evil.id): encode_endpoint(evil)}, is_anew=is_anew)
    cluster.after(3 * WAIT)

    # then nobody meets it, and an operator has to know; only that host waits
    assert cluster.specs() == before
    hold = cluster.holds()[HoldKind.STORE]
    assert hold.subjects == ("task evil.1",)
    assert "nothing changes on h1" in hold.reason
    assert not cluster.reconciler.adoption.closed

    # and it is not there either once that is let go
    cluster.approve(HoldKind.STORE)
    cluster.after(65)
    assert cluster.holds() == {}
    assert cluster.specs() == before


@BOTH_TIMES
def test_no_host_alone_writes_the_rules_of_a_group(cluster: Cluster, is_anew: bool) -> None:
    # given a group of which no task runs yet, and rules for it that let everybody in
    evil = endpoint("evil.1", "192.168.77.7", "vip")
    entries = {endpoint_key(evil.id): encode_endpoint(evil), RULES_OF_VIP: OPEN}
    tell_alone(cluster, entries, is_anew=is_anew)
    cluster.after(3 * WAIT)

    # when a task of it comes, on another host
    cluster.run(VIP)
    cluster.after(2)

    # then it has those that a controller writes
    assert cluster.specs()["vip.1"].id.host == H2
    stored = cluster.store.get(RULES_OF_VIP)
    assert stored is not None
    assert json.loads(stored.value)["inbound_rules"] == []


@BOTH_TIMES
def test_no_host_alone_changes_what_its_own_tasks_are_members_of(
    cluster: Cluster, is_anew: bool
) -> None:
    spec = cluster.specs()["web.1"]
    before = cluster.store.get(endpoint_key(spec.id))
    moved = replace(spec, profiles=(*spec.profiles, ProfileId("vip")))
    tell_alone(cluster, {endpoint_key(spec.id): encode_endpoint(moved)}, is_anew=is_anew)
    cluster.after(3 * WAIT)

    assert cluster.store.get(endpoint_key(spec.id)) == before, "not even for a moment"
    assert cluster.holds() == {}


def test_no_host_has_another_hosts_address_by_naming_who_has_it(cluster: Cluster) -> None:
    # given a host that says its task has another's address, under that one's handle
    before = cluster.specs()
    spec, other = before["web.1"], before["db.1"].addresses
    blocks = {
        each.key: each.value
        for each in everything(cluster.store)
        if parse_block_key(each.key) is not None
    }
    stolen = encode_endpoint(replace(spec, addresses=other))
    tell_alone(cluster, {**blocks, endpoint_key(spec.id): stolen}, is_anew=False)
    cluster.after(3 * WAIT)

    assert cluster.specs() == before
    assert str(other[0]) in cluster.holds()[HoldKind.STORE].subjects


def test_tasks_that_a_late_host_tells_of_come_back_by_marathons_word(cluster: Cluster) -> None:
    # given a backup from before a task and its group, which all hosts find one by one
    backup = everything(cluster.store)
    cluster.run(VIP)
    cluster.applied()
    before = cluster.specs()
    one, two = (told_by(cluster, each) for each in ("h1", "h2"))
    replace_store(cluster, restored(cluster, backup))
    assert not cluster.reconciler.adoption.closed
    for key in (endpoint_key(before["vip.1"].id), endpoint_key(before["web.1"].id), RULES_OF_VIP):
        cluster.store.delete(key)
    cluster.reconciler.load()

    # when they tell
    object_to(cluster, one, two)
    cluster.after(WAIT + 5)

    # then all is as it was before their agents believe the store again, and nothing is held
    assert cluster.specs() == before
    assert cluster.store.get(RULES_OF_VIP) is not None
    chain = cluster.store.get(CHAIN)
    assert chain is not None
    assert decode_chain(chain.value)[-1].hosts == ("h1", "h2")
    assert cluster.holds() == {}


def test_a_task_that_ended_on_a_late_host_holds_nothing_back_once_that_is_told(
    cluster: Cluster,
) -> None:
    # given a host that is held for a task that Marathon knows no more
    told = replace(told_by(cluster, "h1"), guid="earlier")
    ended = endpoint("old.1", "192.168.77.7")
    object_to(cluster, telling(told, **{endpoint_key(ended.id): encode_endpoint(ended)}))
    cluster.after(3 * WAIT)
    assert cluster.holds()[HoldKind.STORE].subjects == ("task old.1",)

    # when its agent finds that it is gone
    object_to(cluster, told)
    assert not cluster.reconciler.adoption.closed, "what is told already needs no time"
    cluster.after(65)

    # then the host goes on
    assert cluster.holds() == {}
    chain = cluster.store.get(CHAIN)
    assert chain is not None
    assert decode_chain(chain.value)[-1].hosts == ("h1",)


def lose(cluster: Cluster, **rules: str) -> dict[str, ObjectionRecord]:
    """Empty the store; what each host tells, with these rules for the group of both."""
    told = {each: told_by(cluster, each) for each in ("h1", "h2")}
    cluster.mute = True
    replace_store(cluster, wiped(cluster))
    return {
        each: telling(record, **({RULES_OF_DB: rules[each]} if each in rules else {}))
        for each, record in told.items()
    }


def rules_of_db(cluster: Cluster) -> str | None:
    stored = cluster.store.get(RULES_OF_DB)
    return None if stored is None else stored.value


def test_rules_of_a_group_that_two_hosts_tell_alike_are_brought_back(cluster: Cluster) -> None:
    before = cluster.specs()
    object_to(cluster, *lose(cluster, h1=OPEN, h2=OPEN).values())
    cluster.after(2)

    assert rules_of_db(cluster) == OPEN
    assert cluster.specs() == before
    assert cluster.holds() == {}


@pytest.mark.parametrize("is_contradicted", [True, False], ids=["tells otherwise", "says nothing"])
def test_rules_of_a_group_that_one_host_alone_tells_wait_for_an_operator(
    cluster: Cluster, is_contradicted: bool
) -> None:
    # given a wiped store, and rules of a group that one host tells, of which the other
    told = lose(cluster, h2=OPEN)
    if not is_contradicted:
        entries = tuple(each for each in told["h1"].entries if each[0] != RULES_OF_DB)
        told["h1"] = replace(told["h1"], entries=entries)
    object_to(cluster, *told.values())
    cluster.after(2)

    # then neither is written
    assert rules_of_db(cluster) is None
    hold = cluster.holds()[HoldKind.STORE]
    assert hold.subjects == ("group db",)
    assert "rules that only one of them tells so: of db" in hold.reason

    # and without a word for any those of the controller hold
    cluster.approve(HoldKind.STORE)
    cluster.after(5)
    assert cluster.holds() == {}
    assert json.loads(rules_of_db(cluster) or "")["inbound_rules"] == []


def test_rules_that_an_operator_restores_by_hand_end_the_wait(cluster: Cluster) -> None:
    before = cluster.specs()
    object_to(cluster, *lose(cluster, h2=OPEN).values())
    cluster.after(2)
    cluster.store.put(RULES_OF_DB, OPEN)
    cluster.after(65)

    assert cluster.holds() == {}
    assert rules_of_db(cluster) == OPEN
    assert cluster.specs() == before


@pytest.mark.parametrize(
    ("name", "leaf", "text"),
    [
        pytest.param("default_h2", "rules", OPEN, id="of another host"),
        pytest.param("default_h1", "tags", '["db"]', id="of its own host, in a group"),
        pytest.param("app", "rules", OPEN, id="of an app, which its name does not tell"),
        pytest.param("app", "tags", '["db"]', id="of an app, in a group"),
    ],
)
def test_what_only_controllers_write_is_believed_of_no_host(
    cluster: Cluster, name: str, leaf: str, text: str
) -> None:
    # given a wiped store, and a host that tells something else of what is not its own to say
    known = next(each for each in cluster.specs()["db.1"].profiles if each.startswith("app-"))
    key = Key(f"{PROFILES}/{known if name == 'app' else name}/{leaf}")
    told = lose(cluster)
    object_to(cluster, telling(told["h1"], **{key: text}))
    cluster.after(WAIT)

    assert "web.1" in cluster.specs(), "what it says of its own tasks is"
    found = cluster.store.get(key)
    assert found is None or found.value != text
