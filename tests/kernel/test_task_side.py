"""What a task does to its own side of its network: told, mended where it can be, and no other's."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from netaddr import EUI

from calico.codec import decode_status
from calico.dataplane.state import GATEWAY4, HOST_MAC
from calico.keys import status_key
from calico.model import EndpointSpec, EndpointState, EndpointStatus
from tests.kernel.cluster import PORT, Cluster, run, running_cluster, task_of
from tests.kernel.namespaces import Namespace
from tests.kernel.probes import connects
from tests.kernel.sensors import Connection, Flow
from tests.kernel.test_closed import FRIEND, VICTIM, address_of, reaches

MEDDLER = task_of("meddler.1", 6, "red")


@pytest.fixture
def cluster(namespace: Callable[[], Namespace], tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path, namespace) as made:
        yield made


def told(cluster: Cluster, task: EndpointSpec) -> EndpointStatus:
    """What the agent says of a task."""
    stored = cluster.store.get(status_key(task.id))
    assert stored is not None
    return decode_status(stored.value)


def wait_told(cluster: Cluster, task: EndpointSpec, state: EndpointState, why: str) -> None:
    cluster.wait_for(
        f"{state}: {why}",
        lambda: told(cluster, task).state is state and why in told(cluster, task).reason,
    )


def colon(mac: EUI | None) -> str:
    assert mac is not None
    return ":".join(f"{word:02x}" for word in mac.words)


def test_a_task_that_meddles_with_its_network_is_told_of_and_wired_again(cluster: Cluster) -> None:
    cluster.run_tasks(FRIEND, VICTIM, MEDDLER)
    meddler, victim = cluster["meddler.1"], cluster["victim.1"]
    healthy = cluster["friend.1"], victim, address_of(VICTIM), PORT

    def inside(*words: str) -> None:
        with meddler.entered():
            run("ip", *words)

    with Flow(*healthy) as flow, Connection(*healthy) as connection:
        inside("link", "set", "eth0", "down")
        wait_told(cluster, MEDDLER, EndpointState.DOWN, "set down from inside")
        inside("link", "set", "eth0", "up")
        wait_told(cluster, MEDDLER, EndpointState.UP, "")

        inside("link", "delete", "eth0")
        cluster.wait_for("a new eth0", lambda: reaches(cluster, FRIEND, MEDDLER))

        inside("link", "delete", "eth0")
        inside("link", "add", "eth0", "type", "bridge")
        wait_told(cluster, MEDDLER, EndpointState.ERROR, "an interface eth0 that is not ours")
        inside("link", "delete", "eth0")
        cluster.wait_for("a new eth0", lambda: reaches(cluster, FRIEND, MEDDLER))

        inside("link", "set", "eth0", "address", colon(FRIEND.mac))
        assert not reaches(cluster, MEDDLER, FRIEND)
        inside("link", "set", "eth0", "address", colon(MEDDLER.mac))
        # With its MAC address a device loses whom it knows.
        known = ("lladdr", colon(HOST_MAC), "dev", "eth0", "nud", "permanent")
        inside("neigh", "replace", str(GATEWAY4), *known)
        assert reaches(cluster, MEDDLER, FRIEND)

        inside("address", "add", f"{address_of(FRIEND)}/32", "dev", "eth0")
        inside("route", "add", "blackhole", f"{address_of(VICTIM)}/32")
        assert reaches(cluster, VICTIM, FRIEND)
        assert not connects(meddler, address_of(VICTIM), PORT)
        assert told(cluster, FRIEND).state is told(cluster, VICTIM).state is EndpointState.UP
        assert flow.lost == []
        assert connection.retransmitted == 0
