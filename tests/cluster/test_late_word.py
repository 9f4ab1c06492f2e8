"""What Mesos tells of an attached task may come late: of its addresses, of its container."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from demo.embedded.cluster import Cluster
from demo.marathon.era import Era
from demo.stories.forms import group_in_era
from demo.stories.scene import Scene
from tests.cluster.harness import START_SECONDS, App, Drive, launched, probe, wait_until

GROUP = "/late"
HOST = "host-1"
LATE = 20.0
#: Marathon takes an address over only with something else that changes.
CHECK: App = {"protocol": "MESOS_TCP", "port": 9000, "delaySeconds": LATE + 2}
SHUT_PORT = 5059
NET_MODULES = ("--add", f"mesos-{HOST}=--isolation netmodules --mesos-version 0.28")
#: Passes connections on to the host's Mesos agent.
FORWARDER = """
import socket, sys, threading
def copy(one, other):
    while data := one.recv(65536): other.sendall(data)
    other.shutdown(socket.SHUT_WR)
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    near = server.accept()[0]
    far = socket.create_connection((sys.argv[2], 5051))
    for pair in ((near, far), (far, near)):
        threading.Thread(target=copy, args=pair, daemon=True).start()
"""


@contextmanager
def one_host(era: Era, *more: str) -> Iterator[Drive]:
    """A cluster of one host that is ready."""
    with (
        launched("--supervised", "--hosts", "1", "--era", era.version, *more) as running,
        Drive.of(running.cluster) as drive,
    ):
        drive.marathon.wait(START_SECONDS)
        wait_until(
            lambda: drive.watcher.hosts_ready() == 1 == len(drive.marathon.agents()),
            "not all agents registered",
        )
        yield drive


def tasks(drive: Drive) -> dict[str, dict[str, Any]]:
    """What the product says of each app's one task."""
    rows = json.loads(drive.cluster.product("get", "tasks", "-o", "json").stdout)
    return {row["app"]: row for row in rows}


def assigned(cluster: Cluster) -> set[str]:
    """Every address that is given out and not at rest; fails if the books are wrong."""
    checked = cluster.product("ipam", "check", "-o", "json")
    assert checked.returncode == 0, checked.stdout
    rows = json.loads(checked.stdout)["addresses"]
    return {row["address"] for row in rows if row["state"] != "resting"}


def addresses(scene: Scene) -> set[str]:
    """What the tasks have."""
    return {actor.address for actor in scene.actors if actor.address is not None}


def deploy(drive: Drive, era: Era, *apps: App) -> None:
    """PUT the group in the form of the era."""
    for app in apps:
        drive.watcher.expect(f"{GROUP}/{app['id']}", app)
    drive.marathon.put_group(group_in_era({"id": GROUP, "apps": list(apps)}, era))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("era", "checks", "more"),
    [
        pytest.param(Era(1, 9), [CHECK], (), id="1.9 by CNI"),
        pytest.param(Era(1, 1), [], NET_MODULES, id="1.1 by net-modules, beside a locator"),
    ],
)
def test_a_task_whose_address_is_reported_late_is_opened_and_given_no_other(
    era: Era, checks: list[App], more: tuple[str, ...]
) -> None:
    late = ("--add", f"mesos-{HOST}=--late-addresses {LATE}")
    with one_host(era, *more, *late) as drive:
        groups = {"a": "one", "b": "one", "c": "two"}
        apps = [{**probe(name, group), "healthChecks": checks} for name, group in groups.items()]
        deploy(drive, era, *apps)

        scene = drive.settle(3)

        assert assigned(drive.cluster) == addresses(scene)
        assert {row["attached"] for row in tasks(drive).values()} == {"plugin"}
        if checks:
            told = drive.marathon.tasks
            assert not any(task.addresses for task in told())
            wait_until(lambda: all(task.addresses for task in told()), "none is reported")
            assert addresses(drive.settle(3)) == addresses(scene) == assigned(drive.cluster)
        drive.remove(GROUP)
        assert assigned(drive.cluster) == set()


@pytest.mark.slow
def test_a_task_that_got_a_second_address_ends_up_with_its_container_s() -> None:
    era = Era(0, 15)
    deaf = ("--add", f"agent-{HOST}=--mesos-agent http://127.0.0.1:{SHUT_PORT}")
    with one_host(era, *NET_MODULES, *deaf) as drive:
        deploy(drive, era, probe("a", "one"))
        # Marathon shows no address, and the agent cannot ask what the container runs.
        wait_until(
            lambda: bool(tasks(drive).get(f"{GROUP}/a", {}).get("addresses")),
            "the task gets no address",
            60,
        )
        (second,) = tasks(drive)[f"{GROUP}/a"]["addresses"]
        assert len(assigned(drive.cluster)) == 2

        host = next(each for each in drive.cluster.control.status().hosts if each.name == HOST)
        argv = (sys.executable, "-S", "-c", FORWARDER, str(SHUT_PORT), str(host.address))
        with drive.cluster.popen(HOST, argv) as forwarder:
            try:
                (actor,) = drive.settle(1).actors
                assert actor.address != second
                assert assigned(drive.cluster) == {actor.address}

                # From now on none is given in the first place.
                deploy(drive, era, probe("a", "one"), probe("b", "one"))
                scene = drive.settle(2)
                assert assigned(drive.cluster) == addresses(scene)
                drive.remove(GROUP)
            finally:
                forwarder.kill()
