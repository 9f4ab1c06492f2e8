"""An attached container is closed from its first packet on, until a task claims it."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from netaddr import IPAddress

from calico.model import ContainerId, EndpointSpec
from tests.kernel.attaching import Runtime, addresses, claim, opened
from tests.kernel.cluster import (
    CLOSED_PORT,
    HOSTS,
    ONE,
    PORT,
    STRANGER,
    TWO,
    Cluster,
    running_cluster,
    task_of,
)
from tests.kernel.namespaces import Namespace
from tests.kernel.probes import connects, listening, send_raw
from tests.kernel.sensors import Sensor, flooding, shots

ANY = IPAddress("0.0.0.0")
CONTAINER = ContainerId("c-1")
MESOS_PORT = 5051
#: Seconds in which a flood passes that is let through.
FLOODED_FOR = 0.5
#: Nobody waits for more than a claim: milliseconds as a rule, on whatever machine.
OPEN_WITHIN = 1.0
FRIEND = task_of("friend.1", 1, "red")
FRIEND_THERE = task_of("friend.2", 2, "red", TWO)
FOE_THERE = task_of("foe.1", 3, "blue", TWO)


@pytest.fixture
def cluster(namespace: Callable[[], Namespace], tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path, namespace) as made:
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
    cluster: Cluster, runtime: Runtime, namespace: Callable[[], Namespace]
) -> None:
    cluster.run_tasks(FRIEND, FRIEND_THERE, FOE_THERE)
    tasks = [FRIEND, FRIEND_THERE, FOE_THERE]
    container = namespace()
    # Where it may send once it is claimed, and hosts and strangers.
    targets = [*(task.addresses[0] for task in tasks), HOSTS[TWO], STRANGER]
    (own,) = addresses(runtime.ask("allocate", container=CONTAINER))
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
        cluster.put(claimed((own,)))
        cluster.wait_up("task.1")
        packet, *_ = shots(own, FRIEND_THERE.addresses[0], PORT)
        send_raw(container, FRIEND_THERE.addresses[0], packet)
        cluster.wait_for("the sensor to see", lambda: bool(sensors[1].forbidden))


def test_nothing_arrives_at_it_before_the_claim(
    cluster: Cluster, runtime: Runtime, namespace: Callable[[], Namespace]
) -> None:
    tasks = [FRIEND, FRIEND_THERE, FOE_THERE]
    cluster.run_tasks(*tasks)
    container = namespace()
    (own,) = addresses(runtime.ask("allocate", container=CONTAINER))
    with Sensor(container) as sensor:
        with ExitStack() as stack:
            # They flood it before it has its address.
            for task in tasks:
                place = cluster[task.id.workload]
                stack.enter_context(flooding(place, task.addresses[0], [own], PORT))
            stack.enter_context(flooding(cluster.stranger, STRANGER, [own], PORT))
            with opened(container) as descriptor:
                addresses(runtime.ask("attach", descriptor, container=CONTAINER))
            time.sleep(FLOODED_FOR)
            kill_and_start(cluster)
            time.sleep(FLOODED_FOR)
        assert sensor.forbidden == []

        cluster.put(claimed((own,)))
        cluster.wait_up("task.1")
        packet, *_ = shots(FRIEND.addresses[0], own, PORT)
        send_raw(cluster["friend.1"], own, packet)
        cluster.wait_for("the sensor to see", lambda: bool(sensor.forbidden))


def test_its_own_host_is_there_for_it_from_the_first_packet(
    cluster: Cluster, runtime: Runtime, namespace: Callable[[], Namespace]
) -> None:
    container = namespace()
    with (
        listening(cluster.hosts[ONE].network, ANY, MESOS_PORT),
        listening(cluster.hosts[TWO].network, ANY, MESOS_PORT),
        listening(cluster.hosts[ONE].network, ANY, CLOSED_PORT),
    ):
        with opened(container) as descriptor:
            runtime.add(CONTAINER, descriptor)
        assert connects(container, HOSTS[ONE], MESOS_PORT)
        assert not connects(container, HOSTS[ONE], CLOSED_PORT)
        assert not connects(container, HOSTS[TWO], MESOS_PORT)


def test_a_claim_opens_at_once(
    cluster: Cluster, runtime: Runtime, namespace: Callable[[], Namespace]
) -> None:
    cluster.run_tasks(FRIEND)
    container = namespace()
    with opened(container) as descriptor:
        given = addresses(runtime.add(CONTAINER, descriptor))
    receiver = container.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("0.0.0.0", PORT))
    receiver.settimeout(10)
    sender = cluster["friend.1"].socket(socket.AF_INET, socket.SOCK_DGRAM)
    over = threading.Event()

    def send() -> None:
        while not over.wait(0.001):
            with suppress(OSError):
                sender.sendto(b"hello", (str(given[0]), PORT))

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
    cluster: Cluster, runtime: Runtime, namespace: Callable[[], Namespace]
) -> None:
    cluster.run_tasks(FRIEND, FRIEND_THERE)
    container = namespace()
    with opened(container) as descriptor:
        given = addresses(runtime.add(CONTAINER, descriptor))
    cluster.put(claimed(given))
    cluster.wait_up("task.1")
    with listening(container, ANY, PORT):
        assert connects(cluster["friend.2"], given[0], PORT)

        assert runtime.delete(CONTAINER)["found"] is True

        with Sensor(container) as sensor:
            for task in (FRIEND, FRIEND_THERE):
                place = cluster[task.id.workload]
                with flooding(place, task.addresses[0], given, PORT):
                    time.sleep(FLOODED_FOR)
            assert sensor.forbidden == []
