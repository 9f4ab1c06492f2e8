"""An attached container is closed from its first packet on, until a task claims it."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from netaddr import IPAddress

from calico.codec import encode_pool
from calico.keys import pool_key
from calico.model import ContainerId, EndpointSpec, HostName
from tests.dataplane_worlds import POOL6
from tests.kernel.attaching import Runtime, addresses, claim, opened
from tests.kernel.cluster import (
    CLOSED_PORT,
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
from tests.kernel.probes import connects, listening
from tests.kernel.sensors import Sensor, flooding

CONTAINER = ContainerId("c-1")
MESOS_PORT = 5051
#: Seconds in which a flood passes that is let through.
FLOODED_FOR = 0.5
#: Nobody waits for more than a claim: milliseconds as a rule, on whatever machine.
OPEN_WITHIN = 1.0
AT_STRANGER6 = IPAddress("fd00:77::99")
HOSTS6 = {ONE: IPAddress("fd00:77::1"), TWO: IPAddress("fd00:77::2")}


@dataclass(frozen=True)
class Family:
    """What there is in an IP version: hosts, a stranger, and tasks, of which one is a friend.

    Tasks of two families are all on host one: only the routes of IPv4 lead from
    host to host here.
    """

    version: int
    hosts: Mapping[HostName, IPAddress]
    stranger: IPAddress
    tasks: tuple[EndpointSpec, ...]
    friend: EndpointSpec
    near: EndpointSpec

    @property
    def any(self) -> IPAddress:
        """To listen on."""
        return IPAddress("::" if self.version == 6 else "0.0.0.0")

    @property
    def kind(self) -> socket.AddressFamily:
        """What sockets are of."""
        return socket.AF_INET6 if self.version == 6 else socket.AF_INET

    def own(self, addresses: tuple[IPAddress, ...]) -> IPAddress:
        """The one address that is of this family."""
        (found,) = (each for each in addresses if each.version == self.version)
        return found

    def of(self, task: EndpointSpec) -> IPAddress:
        """The task's address."""
        return self.own(task.addresses)


def dual(task: EndpointSpec, number: int) -> EndpointSpec:
    """The task with an address of each family."""
    return replace(task, addresses=(*task.addresses, IPAddress(f"fd00:9::{number:x}")))


FRIEND = task_of("friend.1", 1, "red")
FRIEND_THERE = task_of("friend.2", 2, "red", TWO)
FOE_THERE = task_of("foe.1", 3, "blue", TWO)
FRIEND6, FOE6 = dual(FRIEND, 1), dual(task_of("foe.2", 4, "blue"), 4)
FAMILIES = (
    Family(4, HOSTS, STRANGER, (FRIEND, FRIEND_THERE, FOE_THERE), FRIEND_THERE, FRIEND),
    Family(6, HOSTS6, AT_STRANGER6, (FRIEND6, FOE6), FRIEND6, FRIEND6),
)


@pytest.fixture(params=FAMILIES, ids=lambda each: f"IPv{each.version}")
def family(request: pytest.FixtureRequest) -> Family:
    made: Family = request.param
    return made


@pytest.fixture
def cluster(
    namespace: Callable[[], Namespace], tmp_path: Path, family: Family
) -> Iterator[Cluster]:
    with running_cluster(tmp_path, namespace, known=True) as made:
        if family.version == 6:
            made.store.put(pool_key(POOL6), encode_pool(POOL6))
            for name, address in HOSTS6.items():
                with made.hosts[name].network.entered():
                    run("ip", "address", "add", f"{address}/64", "dev", "eth0", "nodad")
            with made.stranger.entered():
                run("ip", "address", "add", f"{AT_STRANGER6}/64", "dev", "eth0", "nodad")
                run("ip", "-6", "route", "add", str(POOL6.cidr), "via", str(HOSTS6[ONE]))
        yield made


@pytest.fixture
def runtime(cluster: Cluster) -> Runtime:
    cluster.settle()
    return Runtime(cluster.socket(ONE))


def claimed(given: tuple[IPAddress, ...]) -> EndpointSpec:
    return claim(ONE, "task.1", CONTAINER, given, "red", "app-red")


def kill_and_start(cluster: Cluster) -> None:
    cluster.kill(ONE)
    cluster.start(ONE)
    cluster.settle(ONE)


def test_nothing_that_it_sends_arrives_before_the_claim(
    cluster: Cluster, runtime: Runtime, namespace: Callable[[], Namespace], family: Family
) -> None:
    tasks = family.tasks
    cluster.run_tasks(*tasks)
    container = namespace()
    # Where it may send once it is claimed, and hosts and strangers.
    targets = [*map(family.of, tasks), family.hosts[TWO], family.stranger]
    given = addresses(runtime.ask("allocate", container=CONTAINER))
    own = family.own(given)
    with ExitStack() as stack:
        places = [cluster[task.id.workload] for task in tasks]
        places += [cluster.hosts[TWO].network, cluster.stranger]
        sensors = [stack.enter_context(Sensor(place)) for place in places]
        # It floods before it has any network.
        with flooding(container, own, targets, PORT):
            with opened(container) as descriptor:
                addresses(runtime.ask("attach", descriptor, container=CONTAINER))
            time.sleep(FLOODED_FOR)
            kill_and_start(cluster)
            time.sleep(FLOODED_FOR)
        assert [sensor.forbidden for sensor in sensors] == [[] for _ in sensors]

        # They would have seen it: once the container is claimed, the same packets arrive.
        cluster.put(claimed(given))
        cluster.wait_up("task.1")
        seeing = sensors[tasks.index(family.friend)]
        with flooding(container, own, [family.of(family.friend)], PORT):
            time.sleep(FLOODED_FOR)
            cluster.wait_for("the sensor to see", lambda: bool(seeing.forbidden))


def test_nothing_arrives_at_it_before_the_claim(
    cluster: Cluster, runtime: Runtime, namespace: Callable[[], Namespace], family: Family
) -> None:
    cluster.run_tasks(*family.tasks)
    container = namespace()
    given = addresses(runtime.ask("allocate", container=CONTAINER))
    own = family.own(given)
    with Sensor(container) as sensor:
        with ExitStack() as stack:
            # They flood it before it has its address.
            for task in family.tasks:
                place = cluster[task.id.workload]
                stack.enter_context(flooding(place, family.of(task), [own], PORT))
            stack.enter_context(flooding(cluster.stranger, family.stranger, [own], PORT))
            with opened(container) as descriptor:
                addresses(runtime.ask("attach", descriptor, container=CONTAINER))
            time.sleep(FLOODED_FOR)
            kill_and_start(cluster)
            time.sleep(FLOODED_FOR)
        assert sensor.forbidden == []

        cluster.put(claimed(given))
        cluster.wait_up("task.1")
        near = cluster[family.near.id.workload]
        with flooding(near, family.of(family.near), [own], PORT):
            time.sleep(FLOODED_FOR)
            cluster.wait_for("the sensor to see", lambda: bool(sensor.forbidden))


def test_its_own_host_is_there_for_it_from_the_first_packet(
    cluster: Cluster, runtime: Runtime, namespace: Callable[[], Namespace], family: Family
) -> None:
    container = namespace()
    with (
        listening(cluster.hosts[ONE].network, family.any, MESOS_PORT),
        listening(cluster.hosts[TWO].network, family.any, MESOS_PORT),
        listening(cluster.hosts[ONE].network, family.any, CLOSED_PORT),
    ):
        with opened(container) as descriptor:
            runtime.add(CONTAINER, descriptor)
        # Shorter than until the kernel sends a second first packet.
        assert connects(container, family.hosts[ONE], MESOS_PORT, within=0.9)
        assert not connects(container, family.hosts[ONE], CLOSED_PORT)
        assert not connects(container, family.hosts[TWO], MESOS_PORT)


def test_a_claim_opens_at_once(
    cluster: Cluster, runtime: Runtime, namespace: Callable[[], Namespace], family: Family
) -> None:
    cluster.run_tasks(family.near)
    container = namespace()
    with opened(container) as descriptor:
        given = addresses(runtime.add(CONTAINER, descriptor))
    receiver = container.socket(family.kind, socket.SOCK_DGRAM)
    receiver.bind((str(family.any), PORT))
    receiver.settimeout(10)
    sender = cluster[family.near.id.workload].socket(family.kind, socket.SOCK_DGRAM)
    over = threading.Event()

    def send() -> None:
        while not over.wait(0.001):
            with suppress(OSError):
                sender.sendto(b"hello", (str(family.own(given)), PORT))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        asked = time.monotonic()
        cluster.put(claimed(given))
        assert receiver.recv(100) == b"hello"
        assert time.monotonic() - asked < OPEN_WITHIN
    finally:
        over.set()
        thread.join()


def test_detached_it_is_closed_at_once(
    cluster: Cluster, runtime: Runtime, namespace: Callable[[], Namespace], family: Family
) -> None:
    friends = {family.near, family.friend}
    cluster.run_tasks(*friends)
    container = namespace()
    with opened(container) as descriptor:
        given = addresses(runtime.add(CONTAINER, descriptor))
    cluster.put(claimed(given))
    cluster.wait_up("task.1")
    with listening(container, family.any, PORT):
        assert connects(cluster[family.friend.id.workload], family.own(given), PORT)

        assert runtime.delete(CONTAINER)["found"] is True

        with Sensor(container) as sensor:
            for task in friends:
                place = cluster[task.id.workload]
                with flooding(place, family.of(task), [family.own(given)], PORT):
                    time.sleep(FLOODED_FOR)
            assert sensor.forbidden == []
