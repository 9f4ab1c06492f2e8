"""Tasks whose containers were attached before they ran: claimed, opened, given back."""

from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from calico.addressing import ipam
from calico.addressing.addresses import Addresses
from calico.addressing.blocks import (
    CONTAINER,
    ON_HOST,
    OWNER,
    RUNS,
    Allocation,
    Block,
    marks_of_container,
)
from calico.codec import encode_block, encode_endpoint, encode_handle, encode_host
from calico.keys import (
    affinity_key,
    block_key,
    endpoint_key,
    handle_key,
    host_key,
    task_key,
)
from calico.model import (
    Attachment,
    BootId,
    HandleId,
    HostName,
    HostRecord,
    InterfaceName,
    Pool,
    TaskVerdict,
)
from calico.names import (
    endpoint_of_task,
    handle_of_container,
    interface_of_container,
    mac_of_container,
)
from marathon_client.models import App, Task, TaskState
from reconciler.controller.addresses.assigner import UNNAMED_FOR
from reconciler.controller.addresses.leftovers import LOOK_EVERY
from reconciler.controller.hosts.departure import Departure
from reconciler.core.removal.quarantine import REST
from reconciler.core.tasks.attached import NOT_REPORTED
from tests.unit.controller.attaching import BOX, attach, tell
from tests.unit.controller.cluster import Cluster
from tests.unit.reconciler.apps import app, network, task

POOL, POOL6 = Pool(IPNetwork("10.9.0.0/25")), Pool(IPNetwork("fd80::/64"))
NAMED = network("g", name="calico")
H1 = HostName("h1")


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster(pools=(POOL, POOL6))
    made.connect()
    return made


def reporting(*addresses: IPAddress, name: str = "t") -> Task:
    return replace(task(name), addresses=addresses)


def running(*tasks: Task, net: object = NAMED) -> App:
    return app(*tasks, net=net)


def test_a_task_opens_the_container_that_was_attached_for_it(cluster: Cluster) -> None:
    given = attach(cluster.store, versions=(4, 6))
    # Mesos tells of IPv4 alone; the container's other address comes along.
    cluster.run(running(reporting(given[0])))
    spec = cluster.specs()["t"]
    assert spec.id == endpoint_of_task(H1, spec.id.workload)
    assert spec.addresses == given
    assert spec.interface == interface_of_container(BOX)
    assert spec.mac == mac_of_container(BOX)
    assert cluster.records()["t"].container == BOX
    addresses = Addresses(cluster.store)
    assert addresses.held_by(HandleId("t")) == given
    assert addresses.allocation(given[0]) == Allocation(
        HandleId("t"), ((CONTAINER, BOX), (ON_HOST, H1), OWNER, (RUNS, "t"))
    )
    cluster.after(3)
    assert cluster.store.get(handle_key(handle_of_container(BOX))) is None


def test_a_fixed_address_that_the_plugin_gave_is_the_app_s(cluster: Cluster) -> None:
    (given,) = attach(cluster.store)
    net = network("g", name="calico", labels=(("ipv4_addrs", f"['{given}']"),))
    cluster.run(running(reporting(given), net=net))
    held = Addresses(cluster.store).allocation(given)
    assert held is not None
    assert ("fixed-for", "/app") in held.secondary
    assert cluster.records()["t"].reason == ""


@pytest.mark.parametrize(
    ("asks", "free"),
    [
        pytest.param("10.9.0.5", True, id="for the address that rests"),
        pytest.param("10.9.0.6", False, id="for another one by now"),
    ],
)
def test_a_starting_task_is_waited_for_by_its_app_s_address(
    cluster: Cluster, asks: str, free: bool
) -> None:
    fixed = network("g", name="calico", labels=(("ipv4_addrs", "['10.9.0.5']"),))
    given = attach_fixed(cluster, "10.9.0.5")
    old = running(reporting(given), net=fixed)
    cluster.run(old)
    cluster.kill(old, old.tasks[0])
    cluster.applied()
    cluster.after(10)
    cluster.applied()
    assert Addresses(cluster.store).holder(given) == "t"

    # Its plugin asks for the address meanwhile: no task of it waits in any record.
    net = network("g", name="calico", labels=(("ipv4_addrs", f"['{asks}']"),))
    cluster.run(running(replace(task("u"), state=TaskState.STAGING), net=net))
    cluster.after(10)

    assert (Addresses(cluster.store).holder(given) is None) is free
    assert cluster.records() == {}


def attach_fixed(cluster: Cluster, address: str) -> IPAddress:
    """Give a container this very address, as the agent of its host does."""
    secondary = marks_of_container(BOX, HostName("h1"), "t")
    found = IPAddress(address)
    Addresses(cluster.store).assign_fixed(
        HostName("h1"), handle_of_container(BOX), found, secondary=secondary
    )
    return found


@pytest.mark.parametrize("claimed", [False, True])
def test_what_an_agent_writes_beyond_the_pools_becomes_nobody_s_address(
    cluster: Cluster, claimed: bool
) -> None:
    beyond = IPAddress("10.0.0.9")
    mine = Block(ipam.block_of(beyond), H1, (None,) * 64, tuple(range(64)))
    marks = marks_of_container(BOX, H1, "t")
    handle = HandleId("t") if claimed else handle_of_container(BOX)
    taken = ipam.allocate_fixed(mine, handle, beyond, marks)
    cluster.store.put(block_key(mine.cidr), encode_block(taken))
    cluster.store.put(affinity_key(H1, mine.cidr), "")
    if not claimed:
        cluster.store.put(handle_key(handle), encode_handle(handle, {mine.cidr: 1}))
        tell(cluster, Attachment(BOX, (beyond,), "t"))

    cluster.run(running(task("t"), net=network("g")))

    assert cluster.specs() == {}
    record = cluster.records()["t"]
    assert (record.verdict, record.reason) == (
        TaskVerdict.REFUSED,
        f"address {beyond}, which it holds, is in no pool",
    )


def test_a_second_pass_and_a_takeover_write_nothing(cluster: Cluster) -> None:
    given = attach(cluster.store)
    cluster.run(running(reporting(*given)))
    cluster.after(5)
    before = cluster.store.list(endpoint_key(cluster.specs()["t"].id)).revision
    cluster.start()
    cluster.connect()
    cluster.after(100)
    spec = cluster.specs()["t"]
    assert (spec.addresses, spec.interface) == (given, interface_of_container(BOX))
    stored = cluster.store.get(endpoint_key(spec.id))
    assert stored is not None
    assert stored.revision <= before


@pytest.mark.parametrize("lost", ["endpoint", "record", "both"])
def test_what_an_operator_deleted_comes_back_on_the_same_link(cluster: Cluster, lost: str) -> None:
    given = attach(cluster.store)
    cluster.run(running(reporting(*given)))
    before = cluster.specs()["t"]
    if lost in ("endpoint", "both"):
        cluster.store.delete(endpoint_key(before.id))
    if lost in ("record", "both"):
        cluster.store.delete(task_key(cluster.records()["t"].task))
    cluster.after(80)
    assert cluster.specs()["t"] == before
    assert cluster.records()["t"].container == BOX


def test_a_link_keeps_its_name_also_if_only_its_host_told_of_it(cluster: Cluster) -> None:
    given = attach(cluster.store)
    tell(cluster, Attachment(BOX, given, "t"))
    cluster.run(running(reporting(), net=network("g")))
    before = cluster.specs()["t"]
    tell(cluster)
    cluster.store.delete(task_key(cluster.records()["t"].task))
    cluster.after(80)
    assert cluster.specs()["t"] == before
    assert cluster.records()["t"].container == BOX


@pytest.mark.parametrize("attached", [True, False], ids=["by a plugin", "by a locator"])
def test_the_name_of_a_link_that_somebody_changed_is_put_right(
    cluster: Cluster, attached: bool
) -> None:
    given = attach(cluster.store) if attached else ()
    cluster.run(running(reporting(*given), net=NAMED if attached else network("g")))
    before = cluster.specs()["t"]
    wrong = replace(before, interface=InterfaceName("cali-mistake"))
    cluster.store.put(endpoint_key(before.id), encode_endpoint(wrong))
    cluster.after(80)
    assert cluster.specs()["t"] == before


def test_a_task_that_was_given_its_address_by_us_stays_on_its_link(cluster: Cluster) -> None:
    cluster.run(running(reporting(), net=network("g")))
    before = cluster.specs()["t"]
    cluster.store.delete(task_key(cluster.records()["t"].task))
    # Somebody reports a container's address for it now.
    cluster.marathon.put(running(reporting(*attach(cluster.store)), net=network("g")))
    cluster.after(80)
    assert cluster.specs()["t"] == before
    assert cluster.records()["t"].container == ""


def test_an_address_that_is_reported_late_is_found_without_any_event(cluster: Cluster) -> None:
    given = attach(cluster.store)
    cluster.run(running(reporting()))
    assert cluster.records()["t"].reason == NOT_REPORTED
    assert cluster.specs() == {}
    # Mesos tells of it later; the state does not change, so nothing is published.
    cluster.marathon.put(running(reporting(*given)))
    cluster.after(10)
    assert cluster.specs()["t"].addresses == given


def test_a_late_address_is_found_though_every_event_was_lost(cluster: Cluster) -> None:
    given = attach(cluster.store)
    cluster.marathon.put(running(reporting()))
    cluster.after(75)
    assert cluster.records()["t"].verdict is TaskVerdict.PENDING
    cluster.marathon.put(running(reporting(*given)))
    cluster.after(20)
    assert cluster.specs()["t"].addresses == given


def test_who_waits_for_long_is_only_looked_at_with_every_list(cluster: Cluster) -> None:
    cluster.run(running(reporting()))
    cluster.after(200)
    reads = cluster.marathon.reads
    cluster.after(120)
    assert cluster.marathon.reads - reads <= 4


def test_a_task_that_marathon_shows_without_its_address_is_known_by_its_host(
    cluster: Cluster,
) -> None:
    # Marathon 0.15 shows none although Mesos assigned one.
    given = attach(cluster.store)
    cluster.run(running(reporting(), net=network("g")))
    assert cluster.specs() == {}
    assert cluster.records()["t"].reason == (
        f"it is not known yet which task container {BOX} on h1 runs"
    )
    tell(cluster, Attachment(BOX, given, "t"))
    spec = cluster.specs()["t"]
    assert (spec.addresses, spec.interface) == (given, interface_of_container(BOX))


def test_a_container_of_another_task_holds_nobody_up(cluster: Cluster) -> None:
    given = attach(cluster.store)
    tell(cluster, Attachment(BOX, given, "another"))
    cluster.run(running(reporting(), net=network("g")))
    assert cluster.specs()["t"].addresses[0] not in given
    assert cluster.records()["t"].container == ""


def test_a_container_that_is_no_task_holds_tasks_up_only_for_a_while(cluster: Cluster) -> None:
    given = attach(cluster.store)
    tell(cluster, Attachment(BOX, given))
    cluster.run(running(reporting(), net=network("g")))
    assert cluster.specs() == {}
    cluster.after(UNNAMED_FOR + 20)
    assert cluster.specs()["t"].addresses[0] not in given
    cluster.run(running(reporting(), reporting(name="u"), net=network("g")))
    assert "u" in cluster.specs()


def test_a_container_of_another_host_holds_nobody_up() -> None:
    cluster = Cluster(pools=(Pool(IPNetwork("10.9.0.0/26")),))
    cluster.connect()
    # The only block is h1's, so h2 borrows of it.
    Addresses(cluster.store).assign(H1, HandleId("first"))
    attach(cluster.store, host="h2")
    cluster.run(running(reporting(), net=network("g")))
    assert "t" in cluster.specs()


def test_what_a_host_tells_of_an_earlier_boot_counts_for_nothing(cluster: Cluster) -> None:
    given = attach(cluster.store)
    tell(cluster, Attachment(BOX, given, "t"))
    host = HostRecord(H1, IPAddress("172.31.0.1"), BootId("next"), "machine", "1")
    cluster.store.put(host_key(H1), encode_host(host))
    cluster.tell_hosts()
    cluster.run(running(reporting()))
    assert cluster.records()["t"].reason == NOT_REPORTED


def test_a_container_that_is_gone_again_gives_its_task_nothing(cluster: Cluster) -> None:
    given = attach(cluster.store)
    tell(cluster, Attachment(BOX, given, "t"))
    Addresses(cluster.store).release(handle_of_container(BOX), given[0])
    cluster.run(running(reporting(), net=network("g")))
    assert cluster.specs() == {}
    record = cluster.records()["t"]
    assert (record.verdict, record.container) == (TaskVerdict.PENDING, "")
    assert record.reason == f"container {BOX} has no address any more"


def test_addresses_of_a_container_are_not_swept_while_its_host_lives(cluster: Cluster) -> None:
    given = attach(cluster.store)
    for _ in range(4):
        cluster.applied()
        cluster.after(REST)
    assert Addresses(cluster.store).held_by(handle_of_container(BOX)) == given


def test_addresses_of_containers_of_a_forgotten_host_are_swept(cluster: Cluster) -> None:
    own = attach(cluster.store, host="h2")
    Addresses(cluster.store).assign(H1, HandleId("keeps-the-block"))
    departure = Departure(cluster.store)
    departure.forget(HostName("h2"))
    assert departure.clear(HostName("h2")).blocks
    cluster.tell_hosts()
    for _ in range(3):
        cluster.applied(hosts=("h1",))
        cluster.after(REST)
    assert Addresses(cluster.store).holder(own[0]) is None
    assert cluster.store.get(host_key(HostName("h2"))) is None


def test_a_forgotten_host_stays_known_while_its_containers_hold_others_addresses() -> None:
    pool = Pool(IPNetwork("10.9.0.0/26"))
    cluster = Cluster(pools=(pool,))
    cluster.connect()
    # The only block is h1's, so h2 borrows.
    Addresses(cluster.store).assign(H1, HandleId("first"))
    lent = attach(cluster.store, host="h2")
    departure = Departure(cluster.store)
    departure.forget(HostName("h2"))
    assert departure.clear(HostName("h2")).blocks == (pool.cidr,)
    cluster.tell_hosts()
    for _ in range(3):
        cluster.applied(hosts=("h1",))
        cluster.after(REST)
    assert Addresses(cluster.store).holder(lent[0]) is None
    assert cluster.store.get(host_key(HostName("h2"))) is None


def test_claimed_addresses_rest_like_all_others_when_the_task_ends(cluster: Cluster) -> None:
    given = attach(cluster.store)
    made = running(reporting(*given))
    cluster.run(made)
    cluster.kill(made, made.tasks[0])
    assert cluster.specs() == {}
    cluster.applied()
    cluster.after(REST / 2)
    assert Addresses(cluster.store).holder(given[0]) == "t"
    cluster.applied()
    cluster.after(REST)
    assert Addresses(cluster.store).holder(given[0]) is None


def test_what_another_tool_released_is_taken_back_as_the_container_s(cluster: Cluster) -> None:
    given = attach(cluster.store)
    cluster.run(running(reporting(*given)))
    Addresses(cluster.store).release(HandleId("t"), given[0])
    cluster.after(100)
    held = Addresses(cluster.store).allocation(given[0])
    assert held is not None
    assert (held.handle, held.container) == ("t", BOX)


def test_a_container_s_handle_that_counts_too_much_is_mended(cluster: Cluster) -> None:
    given = attach(cluster.store)
    cluster.run(running(reporting(*given)))
    # The controller ends before it counts the container's handle less.
    cluster.start()
    cluster.connect()
    assert cluster.store.get(handle_key(handle_of_container(BOX))) is not None
    cluster.after(REST + 3 * LOOK_EVERY)
    assert cluster.store.get(handle_key(handle_of_container(BOX))) is None
