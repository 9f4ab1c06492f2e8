"""The controller: fast to add, slow to remove, right with any events or none."""

import json
from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from calico.addressing.addresses import Addresses
from calico.cluster import HoldKind
from calico.codec import encode_pool
from calico.datastore.api import Key, Put, Stored
from calico.errors import Conflict
from calico.keys import (
    BLOCKS,
    POOLS,
    READY,
    endpoint_key,
    handle_key,
    pool_key,
    profile_key,
)
from calico.model import HandleId, HostName, Pool, ProfileId, TaskVerdict
from marathon_client.errors import MarathonUnavailable
from marathon_client.models import App, AppId, AppNetwork, Problem, Task, TaskState
from reconciler.core.removal.quarantine import REST
from reconciler.core.removal.withdrawal import CONFIRM_AFTER
from reconciler.runtime.watchfeed import Changed, Loaded
from tests.unit.controller.cluster import UNAVAILABLE, Cluster, MemoryMarathon
from tests.unit.reconciler.apps import V1, V2, app, network, task


def tasks_of(count: int, **fields: str) -> tuple[Task, ...]:
    return tuple(task(f"t{number}", **fields) for number in range(count))


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.connect()
    return made


def test_a_start_writes_what_calicos_tools_expect(cluster: Cluster) -> None:
    for key, value in (
        ("/calico/v1/config/InterfacePrefix", "cali"),
        ("/calico/bgp/v1/global/as_num", "64511"),
        ("/calico/v1/host/h1/config/DefaultEndpointToHostAction", "RETURN"),
        ("/calico/bgp/v1/host/h1/ip_addr_v4", "172.31.0.1"),
        (READY, "true"),
    ):
        stored = cluster.store.get(Key(key))
        assert stored is not None, key
        assert stored.value == value


def test_a_running_task_gets_an_endpoint_on_its_event(cluster: Cluster) -> None:
    cluster.run(app(task("t", host="h1"), task("u", host="h2")))
    specs = cluster.specs()
    assert set(specs) == {"t", "u"}
    assert specs["t"].addresses != specs["u"].addresses
    assert all(spec.addresses[0] in IPNetwork("192.168.0.0/16") for spec in specs.values())
    assert specs["t"].profiles[:2] == ("default_h1", "g")


def test_a_task_is_found_without_any_event(cluster: Cluster) -> None:
    cluster.marathon.put(app(task("t")))
    cluster.after(73)
    assert set(cluster.specs()) == {"t"}


def test_a_second_pass_writes_nothing(cluster: Cluster) -> None:
    cluster.run(app(*tasks_of(3)))
    cluster.after(3)
    before = cluster.store.list(Key("/calico")).revision
    cluster.connect()
    cluster.after(200)
    assert cluster.store.list(Key("/calico")).revision == before


def test_a_killed_task_goes_on_its_event_and_takes_no_other_along(cluster: Cluster) -> None:
    made = app(*tasks_of(2))
    cluster.run(made)
    cluster.kill(made, made.tasks[0])
    assert set(cluster.specs()) == set(cluster.records()) == {"t1"}


def test_an_event_ahead_of_the_list_is_looked_at_again(cluster: Cluster) -> None:
    made = app(*tasks_of(1))
    cluster.run(made)
    cluster.event(made.tasks[0], TaskState.KILLED)
    assert set(cluster.specs()) == {"t0"}
    cluster.marathon.put(replace(made, tasks=()))
    cluster.after(2)
    assert cluster.specs() == {}


def test_deleting_every_app_at_once_is_quick_and_not_held(cluster: Cluster) -> None:
    made = [app(*tasks_of(5, app="/a")), app(task("x", app="/b"), name="/b")]
    made[0] = replace(made[0], id=AppId("/a"))
    for each in made:
        cluster.run(each)
    cluster.marathon.current.clear()
    for each in made:
        for one in each.tasks:
            cluster.event(one, TaskState.KILLED)
    assert cluster.specs() == {}
    assert not cluster.holds()


def test_an_empty_list_removes_nothing_and_is_held(cluster: Cluster) -> None:
    made = app(*tasks_of(2))
    cluster.run(made)
    cluster.marathon.current.clear()
    cluster.after(300)
    assert len(cluster.specs()) == 2
    assert cluster.holds()[HoldKind.TASKS].subjects == ("t0", "t1")
    cluster.marathon.put(made)
    cluster.after(100)
    assert not cluster.holds()


def test_the_operator_may_approve_exactly_the_held_plan(cluster: Cluster) -> None:
    cluster.run(app(*tasks_of(2)))
    cluster.marathon.current.clear()
    cluster.after(100)
    cluster.approve(HoldKind.TASKS, "another")
    cluster.after(100)
    assert len(cluster.specs()) == 2
    cluster.approve(HoldKind.TASKS)
    cluster.after(100)
    assert cluster.specs() == {}
    assert not cluster.holds()


def test_one_task_that_vanished_unseen_needs_two_lists(cluster: Cluster) -> None:
    made = app(*tasks_of(2))
    cluster.run(made)
    cluster.marathon.put(replace(made, tasks=made.tasks[:1]))
    cluster.connect()
    assert len(cluster.specs()) == 2
    cluster.after(CONFIRM_AFTER - 1)
    assert len(cluster.specs()) == 2
    cluster.after(CONFIRM_AFTER)
    assert set(cluster.specs()) == {"t0"}


def test_an_agents_word_that_a_namespace_is_gone_is_evidence(cluster: Cluster) -> None:
    made = app(*tasks_of(2))
    cluster.run(made)
    cluster.marathon.put(replace(made, tasks=made.tasks[:1]))
    cluster.applied(gone=("t1",))
    assert set(cluster.specs()) == {"t0"}


@pytest.mark.parametrize("state", [TaskState.LOST, TaskState.UNREACHABLE])
def test_a_lost_task_that_is_still_listed_keeps_everything(
    cluster: Cluster, state: TaskState
) -> None:
    made = app(*tasks_of(1))
    cluster.run(made)
    before = cluster.specs()
    lost = replace(made, tasks=(replace(made.tasks[0], state=state),))
    cluster.marathon.put(lost)
    cluster.event(made.tasks[0], state)
    cluster.after(200)
    assert cluster.specs() == before


def test_marathon_failing_removes_nothing(cluster: Cluster) -> None:
    cluster.run(app(*tasks_of(3)))
    before = cluster.specs()
    cluster.fail(UNAVAILABLE)
    cluster.after(300)
    assert cluster.specs() == before
    cluster.fail(None)
    cluster.after(100)
    assert cluster.specs() == before


def test_an_app_that_cannot_be_understood_keeps_its_tasks(cluster: Cluster) -> None:
    cluster.run(app(*tasks_of(1)))
    cluster.run(app(task("x", app="/ok"), name="/ok"))
    del cluster.marathon.current[AppId("/app")]
    cluster.marathon.problems = (Problem(AppId("/app"), "no id"),)
    cluster.after(300)
    assert set(cluster.specs()) == {"t0", "x"}


def test_a_list_of_unknown_origin_removes_nothing(cluster: Cluster) -> None:
    made = app(*tasks_of(5))
    cluster.run(made)
    cluster.marathon.leader = None
    cluster.marathon.put(replace(made, tasks=made.tasks[:4]))
    cluster.after(300)
    assert len(cluster.specs()) == 5


def test_a_regroup_keeps_the_old_task_under_its_old_policy(cluster: Cluster) -> None:
    old = app(task("t"), net=network("old"))
    cluster.run(old)
    new = app(
        task("t"),
        task("u", version=V2),
        net=network("new"),
        version=V2,
        config_version=V2,
    )
    cluster.run(new)
    specs = cluster.specs()
    assert specs["t"].profiles[1] == "old"
    assert specs["u"].profiles[1] == "new"
    assert specs["t"].addresses != specs["u"].addresses


def test_a_controller_that_never_saw_the_old_task_reads_its_version(cluster: Cluster) -> None:
    old = app(net=network("old"))
    cluster.marathon.put(old)
    new = app(task("t", version=V1), net=network("new"), version=V2, config_version=V2)
    cluster.run(new)
    assert cluster.specs()["t"].profiles[1] == "old"


def test_a_task_on_a_host_without_agent_takes_no_address_until_there_is_one(
    cluster: Cluster,
) -> None:
    cluster.run(app(task("t", host="h9")))
    assert cluster.specs() == {}
    assert cluster.records()["t"].verdict is TaskVerdict.PENDING
    cluster.register("h9")
    cluster.applied()
    assert set(cluster.specs()) == {"t"}
    assert cluster.records()["t"].verdict is TaskVerdict.ACCEPTED


def test_an_address_rests_until_every_host_let_go_and_two_minutes_passed(
    cluster: Cluster,
) -> None:
    cluster = Cluster(pools=(Pool(IPNetwork("10.9.0.0/26")),))
    cluster.connect()
    many = app(*tasks_of(64))
    cluster.run(many)
    assert len(cluster.specs()) == 64
    late = app(task("late", app="/late"), name="/late")
    cluster.run(late)
    assert cluster.records()["late"].verdict is TaskVerdict.PENDING
    freed = cluster.specs()["t0"].addresses
    cluster.kill(many, many.tasks[0])
    cluster.after(REST + 20)
    assert "late" not in cluster.specs()
    cluster.applied(hosts=("h1",))
    cluster.after(20)
    assert "late" not in cluster.specs()
    cluster.applied()
    cluster.after(100)
    assert cluster.specs()["late"].addresses == freed


def test_nothing_is_left_of_a_task_where_its_endpoint_was(cluster: Cluster) -> None:
    made = app(*tasks_of(2))
    cluster.run(made)
    cluster.kill(made, made.tasks[0])
    hosts = "/calico/v1/host/h1/workload/mesos"
    # A directory could not be written over; calicoctl counts each as a workload.
    cluster.store.put(Key(f"{hosts}/t0"), "")
    with pytest.raises(Conflict):
        cluster.store.put(Key(f"{hosts}/t1"), "")


def test_what_a_host_applied_before_the_withdrawal_lets_go_of_nothing(cluster: Cluster) -> None:
    made = app(*tasks_of(2))
    cluster.run(made)
    (address,) = cluster.specs()["t0"].addresses
    # Both are as far as the store is, and nothing is written from here on but what ends it.
    cluster.applied()
    cluster.kill(made, made.tasks[0])
    cluster.applied(hosts=("h1",))
    cluster.after(REST + 100)
    assert Addresses(cluster.store).holder(address) == "t0"
    cluster.applied(hosts=("h2",))
    cluster.after(10)
    assert Addresses(cluster.store).holder(address) is None


def test_a_new_leader_lets_addresses_rest_again_from_the_start(cluster: Cluster) -> None:
    made = app(*tasks_of(2))
    cluster.run(made)
    cluster.kill(made, made.tasks[0])
    cluster.after(REST - 10)
    cluster.start()
    cluster.connect()
    cluster.applied()
    cluster.after(REST - 10)
    handles = cluster.store.list(Key("/calico/ipam/v2/handle")).entries
    assert any(stored.key.endswith("/t0") for stored in handles)
    cluster.after(30)
    handles = cluster.store.list(Key("/calico/ipam/v2/handle")).entries
    assert not any(stored.key.endswith("/t0") for stored in handles)


def test_foreign_allocations_are_never_released(cluster: Cluster) -> None:
    address = Addresses(cluster.store).assign(HostName("h1"), HandleId("theirs"))
    cluster.applied()
    cluster.after(400)
    assert Addresses(cluster.store).held_by(HandleId("theirs")) == (address,)


def test_a_fixed_address_passes_from_an_old_to_a_new_task_of_its_app(cluster: Cluster) -> None:
    fixed = network("g", labels=(("ipv4_addrs", "['192.168.7.5']"),))
    old = app(task("t"), net=fixed)
    cluster.run(old)
    assert cluster.specs()["t"].addresses == (IPAddress("192.168.7.5"),)
    new = replace(old, tasks=(task("t"), task("u")))
    cluster.run(new)
    assert cluster.records()["u"].verdict is TaskVerdict.PENDING
    cluster.kill(new, new.tasks[0])
    cluster.applied()
    cluster.after(10)
    cluster.applied()
    cluster.after(80)
    assert cluster.specs()["u"].addresses == (IPAddress("192.168.7.5"),)


def test_a_fixed_address_of_another_app_is_refused(cluster: Cluster) -> None:
    fixed = network("g", labels=(("ipv4_addrs", "['192.168.7.5']"),))
    cluster.run(app(task("t"), net=fixed))
    cluster.run(app(task("x", app="/b"), name="/b", net=fixed))
    assert cluster.records()["x"].verdict is TaskVerdict.REFUSED
    assert "192.168.7.5" in cluster.records()["x"].reason


def test_a_fixed_address_outside_the_pools_is_refused(cluster: Cluster) -> None:
    fixed = network("g", labels=(("ipv4_addrs", "['10.1.1.1']"),))
    cluster.run(app(task("t"), net=fixed))
    assert cluster.records()["t"].verdict is TaskVerdict.REFUSED


@pytest.mark.parametrize(
    "other",
    [
        pytest.param("192.168.7.6", id="one is another app's"),
        pytest.param("10.1.1.1", id="one is in no pool"),
    ],
)
def test_a_task_that_cannot_have_all_its_fixed_addresses_keeps_none_from_others(
    cluster: Cluster, other: str
) -> None:
    def fixed(*addresses: str) -> AppNetwork:
        return network("g", labels=(("ipv4_addrs", str(list(addresses))),))

    # given an app that was refused because of one of its addresses
    cluster.run(app(task("t"), net=fixed("192.168.7.6")))
    cluster.run(app(task("x", app="/b"), name="/b", net=fixed("192.168.7.5", other)))
    assert cluster.records()["x"].verdict is TaskVerdict.REFUSED
    before = blocks(cluster)
    cluster.after(130)
    assert blocks(cluster) == before

    # when another asks for the other one
    cluster.run(app(task("y", app="/c"), name="/c", net=fixed("192.168.7.5")))

    assert cluster.specs()["y"].addresses == (IPAddress("192.168.7.5"),)


def blocks(cluster: Cluster) -> tuple[Stored, ...]:
    return cluster.store.list(BLOCKS).entries


def test_an_operators_rules_on_a_group_stay(cluster: Cluster) -> None:
    rules = '{"inbound_rules": [{"action": "deny"}], "outbound_rules": []}'
    key = profile_key(ProfileId("g"), "rules")
    cluster.store.put(key, rules)
    cluster.start()
    cluster.connect()
    cluster.run(app(task("t")))
    cluster.after(100)
    stored = cluster.store.get(key)
    assert stored is not None
    assert stored.value == rules


def test_an_operators_rules_on_a_group_that_was_not_there_before_stay(cluster: Cluster) -> None:
    rules = '{"inbound_rules": [{"action": "deny"}], "outbound_rules": []}'
    key = profile_key(ProfileId("g"), "rules")
    # The controller has read all profiles, and this one was not among them.
    cluster.store.put(key, rules)
    cluster.run(app(task("t")))
    stored = cluster.store.get(key)
    assert stored is not None
    assert stored.value == rules


def test_a_profile_that_was_deleted_comes_back(cluster: Cluster) -> None:
    cluster.run(app(task("t")))
    own = cluster.specs()["t"].profiles[-1]
    for leaf in ("tags", "rules", "labels"):
        cluster.store.delete(profile_key(own, leaf))
    cluster.after(100)
    assert cluster.store.get(profile_key(own, "rules")) is not None


def test_an_endpoint_without_our_record_is_left_alone(cluster: Cluster) -> None:
    cluster.run(app(task("t")))
    (spec,) = cluster.specs().values()
    theirs = replace(spec.id, workload="ba11f1de-fc4d-46fd-9f15-424f4ef05a3a")
    stored = cluster.store.get(endpoint_key(spec.id))
    assert stored is not None
    cluster.store.put(endpoint_key(theirs), stored.value)
    cluster.start()
    cluster.connect()
    cluster.after(300)
    assert cluster.store.get(endpoint_key(theirs)) is not None


def test_a_write_by_another_is_noticed_and_mended(cluster: Cluster) -> None:
    cluster.run(app(task("t")))
    (spec,) = cluster.specs().values()
    cluster.store.delete(endpoint_key(spec.id))
    cluster.after(100)
    assert cluster.specs() == {"t": spec}


def test_one_bad_app_does_not_stop_the_others(cluster: Cluster) -> None:
    cluster.run(app(task("bad", app="/bad"), name="/bad", net=network(*map(str, range(40)))))
    cluster.run(app(task("t")))
    assert cluster.records()["bad"].verdict is TaskVerdict.REFUSED
    assert set(cluster.specs()) == {"t"}


def test_a_marathon_that_comes_late_is_waited_for() -> None:
    cluster = Cluster()
    cluster.fail(MarathonUnavailable("http://marathon refuses connections"))
    cluster.connect()
    cluster.after(100)
    cluster.fail(None)
    cluster.marathon.put(app(task("t")))
    cluster.after(60)
    assert set(cluster.specs()) == {"t"}


def test_an_unreadable_handle_stops_only_its_own_task(cluster: Cluster) -> None:
    cluster.store.put(handle_key(HandleId("t")), "junk")
    cluster.run(app(task("t"), task("u")))
    assert set(cluster.specs()) == {"u"}
    assert cluster.records()["t"].verdict is TaskVerdict.PENDING
    assert "cannot be read" in cluster.records()["t"].reason


def sources(cluster: Cluster, name: str) -> list[object]:
    own = cluster.specs()[name].profiles[-1]
    stored = cluster.store.get(profile_key(own, "rules"))
    assert stored is not None
    rules = json.loads(stored.value)["inbound_rules"]
    return sorted({str(rule["src_net"]) for rule in rules if "src_net" in rule})


def test_marathons_leader_may_run_health_checks(cluster: Cluster) -> None:
    cluster.run(app(task("t")))
    assert sources(cluster, "t") == ["10.0.0.9/32"]


def test_a_leader_at_another_address_is_added_and_none_is_taken_away(cluster: Cluster) -> None:
    cluster.run(app(task("t")))
    cluster.marathon.leader = "b:8080"
    cluster.connect()
    assert sources(cluster, "t") == ["10.0.0.8/32", "10.0.0.9/32"]
    cluster.marathon.leader = "nowhere:8080"
    cluster.start()
    cluster.connect()
    assert sources(cluster, "t") == ["10.0.0.8/32", "10.0.0.9/32"]


def test_the_flag_alone_says_who_may_run_health_checks(cluster: Cluster) -> None:
    cluster.asked = (IPNetwork("10.7.0.0/24"),)
    cluster.start()
    cluster.connect()
    cluster.run(app(task("t")))
    assert sources(cluster, "t") == ["10.7.0.0/24"]


def test_an_app_that_makes_no_sense_is_shown_until_it_does(cluster: Cluster) -> None:
    cluster.marathon.problems = (Problem(AppId("/bad"), "its ports are no list"),)
    cluster.connect()
    (record,) = cluster.records().values()
    assert (record.app, record.verdict) == ("/bad", TaskVerdict.REFUSED)
    assert record.reason == "its ports are no list"
    cluster.marathon.problems = ()
    cluster.connect()
    assert cluster.records() == {}


@pytest.mark.parametrize("listed", [False, True], ids=["an event", "a listing"])
def test_a_pool_that_is_disabled_gives_no_more_addresses(cluster: Cluster, listed: bool) -> None:
    cluster.run(app(task("t")))
    cidr = IPNetwork("192.168.0.0/16")
    revision = cluster.store.put(pool_key(cidr), encode_pool(Pool(cidr, disabled=True)))
    stored = cluster.store.get(pool_key(cidr))
    assert stored is not None
    assert stored.revision == revision
    if listed:
        cluster.loop.handle(Loaded(POOLS, cluster.store.list(POOLS)))
    else:
        cluster.loop.handle(Changed(POOLS, Put(stored)))
    cluster.run(app(task("u", app="/b"), name="/b"))
    assert set(cluster.specs()) == {"t"}
    assert cluster.records()["u"].verdict is TaskVerdict.PENDING


class Broken(MemoryMarathon):
    """A Marathon whose answers meet a defect of ours."""

    broken = False

    def app(self, app_id: AppId) -> App | None:
        if self.broken:
            raise ZeroDivisionError("a defect")
        return super().app(app_id)


def test_a_defect_is_told_once_and_the_same_is_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # given a look at an app that meets a defect
    marathon = Broken()
    cluster = Cluster(marathon=marathon)
    cluster.connect()
    marathon.broken = True
    caplog.clear()
    cluster.run(app(task("t")))

    # then one line tells of it, with its traceback
    (told,) = caplog.records
    assert told.message == "defect in the controller's loop"
    assert told.exc_info is not None

    # and the app is looked at again
    marathon.broken = False
    cluster.after(3)
    assert set(cluster.specs()) == {"t"}
