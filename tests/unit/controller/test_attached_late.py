"""Tasks that were given an address before anybody told of their container."""

from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from calico.addressing.addresses import Addresses
from calico.addressing.audit import drifts
from calico.addressing.blocks import (
    marks_of_container,
)
from calico.addressing.books import decode_books
from calico.addressing.claims import Claim, Claims
from calico.codec import encode_task
from calico.keys import IPAM, task_key
from calico.model import (
    Attachment,
    ContainerId,
    HandleId,
    HostName,
    Pool,
)
from calico.names import (
    handle_of_container,
    interface_of_container,
    mac_of_container,
)
from marathon_client.models import App, Task
from reconciler.controller.addresses.assigner import UNNAMED_FOR
from reconciler.controller.scheduling.intake import STRANGE_AFTER
from reconciler.core.removal.quarantine import REST
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


@pytest.mark.parametrize("told", ["t", "marathon-t"], ids=["by its task", "by its executor"])
def test_a_task_of_which_no_event_came_is_known_by_its_container(
    cluster: Cluster, told: str
) -> None:
    # given a task that Marathon has, and of which it never tells
    given = attach(cluster.store)
    cluster.marathon.put(running(reporting()))

    # when its host tells of its container
    tell(cluster, Attachment(BOX, given, told))
    cluster.after(2 * STRANGE_AFTER + 2)

    assert cluster.specs()["t"].addresses == given


def test_the_container_of_another_framework_asks_for_one_list(cluster: Cluster) -> None:
    given = attach(cluster.store)
    before = cluster.marathon.reads
    for _ in range(3):
        tell(cluster, Attachment(BOX, given, "theirs"))
        cluster.after(2 * STRANGE_AFTER + 2)
    assert cluster.marathon.reads - before == 1


def test_a_container_whose_task_is_told_of_by_an_event_asks_for_no_list(cluster: Cluster) -> None:
    given = attach(cluster.store)
    tell(cluster, Attachment(BOX, given, "t"))
    cluster.run(running(reporting()))
    cluster.after(5)
    before = cluster.marathon.reads
    cluster.after(2 * STRANGE_AFTER + 2)
    assert cluster.marathon.reads == before


@pytest.mark.parametrize("told", ["t", "marathon-t"], ids=["by its task", "by its executor"])
def test_a_task_leaves_what_it_was_given_before_its_host_told_of_its_container(
    cluster: Cluster, told: str
) -> None:
    given = attach(cluster.store)
    tell(cluster, Attachment(BOX, given))
    cluster.run(running(reporting(), net=network("g")))
    cluster.after(UNNAMED_FOR + 20)
    second = cluster.specs()["t"]
    assert not set(second.addresses) & set(given)

    tell(cluster, Attachment(BOX, given, told))

    spec = cluster.specs()["t"]
    assert (spec.id, spec.addresses) == (second.id, given)
    assert (spec.interface, spec.mac) == (interface_of_container(BOX), mac_of_container(BOX))
    assert cluster.records()["t"].container == BOX
    addresses = Addresses(cluster.store)
    assert set(addresses.held_by(HandleId("t"))) == {*given, *second.addresses}, "they rest"
    # Agents that have not let go of it yet keep it from being given again.
    cluster.after(REST)
    assert set(addresses.held_by(HandleId("t"))) > set(given)
    cluster.applied()
    cluster.after(REST)
    assert addresses.held_by(HandleId("t")) == given
    assert drifts(decode_books(cluster.store.list(IPAM).entries)) == ()


@pytest.mark.parametrize("written", ["claim", "record"])
def test_a_move_to_its_container_that_was_begun_is_ended(cluster: Cluster, written: str) -> None:
    given = attach(cluster.store)
    tell(cluster, Attachment(BOX, given))
    cluster.run(running(reporting(), net=network("g")))
    cluster.after(UNNAMED_FOR + 20)
    record = cluster.records()["t"]

    Claims(cluster.store).claim(Claim(BOX, H1, HandleId("t")))
    if written == "record":
        begun = replace(record, container=BOX)
        cluster.store.put(task_key(begun.task), encode_task(begun))
    cluster.start()
    cluster.connect()
    tell(cluster, Attachment(BOX, given, "t"))

    spec = cluster.specs()["t"]
    assert (spec.addresses, spec.interface) == (given, interface_of_container(BOX))
    assert cluster.records()["t"].container == BOX


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(Attachment(BOX, (), "another"), id="it is another task's"),
        pytest.param(Attachment(BOX, (), ""), id="it is not known whose"),
        pytest.param(Attachment(ContainerId("gone"), (), "t"), id="it has no address"),
    ],
)
def test_a_task_keeps_its_address_while_no_container_is_told_to_be_its_own(
    cluster: Cluster, told: Attachment
) -> None:
    cluster.run(running(reporting(), net=network("g")))
    before = cluster.specs()["t"]
    attach(cluster.store)

    tell(cluster, told)
    cluster.after(80)

    assert cluster.specs()["t"] == before
    assert cluster.records()["t"].container == ""


def test_a_container_in_whatever_block_holds_up_who_may_be_in_it(cluster: Cluster) -> None:
    # The agent drew from another block than the controller looks at first.
    addresses, given = Addresses(cluster.store), IPAddress("10.9.0.70")
    addresses.assign_fixed(H1, HandleId("x"), IPAddress("10.9.0.5"))
    marks = marks_of_container(BOX, H1)
    addresses.assign_fixed(H1, handle_of_container(BOX), given, secondary=marks)
    tell(cluster, Attachment(BOX, (given,)))

    cluster.run(running(reporting(), net=network("g")))

    assert "t" not in cluster.specs()
    tell(cluster, Attachment(BOX, (given,), "t"))
    assert cluster.specs()["t"].addresses == (given,)
