"""Tasks send packets of the size that the way takes."""

import errno
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kernel.cluster import ONE, PORT, Cluster, run, running_cluster
from tests.kernel.namespaces import Namespace
from tests.kernel.tables import STRANGER, World, make_world
from tests.kernel.test_closed import FRIEND, FRIEND_THERE, address_of, reaches

SMALL = 1300
FAR, FAR_NETWORK = "10.99.0.2", "10.99.0.0/24"
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14
HEADERS = 28
LATEST = 2.0


@pytest.fixture
def world(namespace: Callable[[], Namespace]) -> World:
    return make_world(namespace)


@pytest.fixture
def cluster(namespace: Callable[[], Namespace], tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path, namespace) as made:
        yield made


def unfragmented(task: Namespace, target: str) -> socket.socket:
    """A socket whose datagrams pass whole or not at all."""
    made = task.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
    made.connect((target, PORT))
    return made


def test_a_task_learns_of_a_narrow_way_beyond_its_host(world: World) -> None:
    with world.outside.entered():
        run("ip", "link", "add", "far", "mtu", str(SMALL), "type", "veth", "peer", "farther")
        run("ip", "link", "set", "farther", "up")
        run("ip", "address", "add", "10.99.0.1/24", "dev", "far")
        run("ip", "link", "set", "far", "up")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    run("ip", "route", "add", FAR_NETWORK, "via", str(STRANGER))
    with unfragmented(world["a1"], FAR) as sender:
        sender.send(bytes(SMALL))
        # The router's word comes to the host, whose address it was masqueraded by.
        sender.settimeout(LATEST)
        with pytest.raises(OSError, match="too long"):
            sender.recv(1)
        assert sender.getsockopt(socket.IPPROTO_IP, IP_MTU) == SMALL
        with pytest.raises(OSError, match="too long") as refused:
            sender.send(bytes(SMALL))
        assert refused.value.errno == errno.EMSGSIZE
        assert sender.send(bytes(SMALL - HEADERS)) == SMALL - HEADERS


def mtu_inside(task: Namespace) -> int:
    """That of a task's eth0; 0 while it has none."""
    with task.entered():
        listed = run("ip", "-o", "link", "show").splitlines()
    words = next((each.split() for each in listed if " eth0@" in each), ["mtu", "0"])
    return int(words[words.index("mtu") + 1])


def test_tasks_have_the_mtu_of_their_hosts_underlay(cluster: Cluster) -> None:
    with cluster.hosts[ONE].network.entered():
        run("ip", "link", "set", "eth0", "mtu", str(SMALL))
    cluster.run_tasks(FRIEND, FRIEND_THERE)
    cluster.wait_for("its MTU", lambda: mtu_inside(cluster["friend.1"]) == SMALL)
    cluster.wait_for("peace", lambda: reaches(cluster, FRIEND, FRIEND_THERE))
    assert mtu_inside(cluster["friend.2"]) != SMALL
    sender = unfragmented(cluster["friend.1"], str(address_of(FRIEND_THERE)))
    with sender, pytest.raises(OSError, match="too long"):
        sender.send(bytes(SMALL))
