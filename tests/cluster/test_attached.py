"""An app on a named network is attached by CNI before its first instruction runs."""

import json
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from demo.embedded.cluster import Cluster
from demo.stories.scene import Actor, Scene
from tests.cluster.harness import (
    START_SECONDS,
    App,
    Drive,
    launched,
    nothing_is_left,
    probe,
    wait_until,
)

HOSTS = 2
PORT = 9000

#: Prints who sends it anything, from the first frame on, and listens besides.
SENSOR = """
import socket, struct, sys
server = socket.socket(); server.bind(("0.0.0.0", 9000)); server.listen(1024)
wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
print("ready", flush=True)
seen = set()
while True:
    packet, (_, _, kind, _, _) = wire.recvfrom(2048)
    sender = socket.inet_ntoa(packet[12:16])
    if kind == socket.PACKET_HOST and sender not in seen:
        seen.add(sender)
        print(sender, flush=True)
"""

#: Floods its targets from its very first instructions on; it listens too, for who may ask.
FLOODER = """
import socket, time
wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); wire.setblocking(False)
rounds = 0
while True:
    for target in TARGETS:
        try: wire.sendto(b"x", (target, 9000))
        except OSError: pass
        if rounds % 50 == 0:
            stream = socket.socket(); stream.setblocking(False)
            stream.connect_ex((target, 9000)); stream.close()
    rounds += 1
    if rounds == 1:
        print("flooding", flush=True)
        server = socket.socket(); server.bind(("0.0.0.0", 9000)); server.listen(1024)
    if rounds > 2000: time.sleep(0.001)
"""


@pytest.fixture(scope="module")
def drive() -> Iterator[Drive]:
    """A cluster whose tasks may be any program."""
    with (
        launched("--supervised", "--add", "marathon=--allow-any-command") as running,
        Drive.of(running.cluster) as drive,
    ):
        drive.marathon.wait(START_SECONDS)
        wait_until(lambda: len(drive.marathon.agents()) == HOSTS, "not all Mesos agents registered")
        # Until then no plugin gets an answer, and Mesos fails the task.
        wait_until(lambda: drive.watcher.hosts_ready() == HOSTS, "not all agents registered")
        yield drive


def named(app: App) -> App:
    """The same app on a network that has a name."""
    return {**app, "ipAddress": {**app["ipAddress"], "networkName": "calico"}}


def running(name: str, group: str, code: str) -> App:
    """An app on a named network that runs this Python code."""
    command = shlex.join((sys.executable, "-S", "-c", code))
    return {**named(probe(name, group)), "cmd": command}


def on(app: App, host: str) -> App:
    """The same app, to be placed on one host."""
    return {**app, "constraints": [["hostname", "LIKE", host]]}


def containers(cluster: Cluster, host: str) -> dict[str, Any]:
    """What a host's Mesos agent says of its containers, by task."""
    address = {each.name: each.address for each in cluster.control.status().hosts}[host]
    code = (
        "import sys, urllib.request; "
        f"sys.stdout.buffer.write(urllib.request.urlopen('http://{address}:5051/containers').read())"
    )
    rows = json.loads(cluster.run(host, (sys.executable, "-S", "-c", code)).stdout)
    return {row["source"]: row for row in rows}


def written(cluster: Cluster, actor: Actor) -> list[str]:
    """What a task has written so far."""
    row = containers(cluster, actor.task.host)[actor.task_id]
    path = f"/run/mesos/sandboxes/{row['container_id']}/stdout"
    return cluster.run(actor.task.host, ("cat", path)).stdout.splitlines()


def addresses(scene: Scene) -> dict[str, str]:
    """The address of each task, by its id."""
    return {actor.task_id: actor.address for actor in scene.actors if actor.address is not None}


def settle(drive: Drive, apps: Sequence[App], group: str) -> Scene:
    """Deploy the apps and wait until all is as the groups call for."""
    drive.deploy(group, apps)
    return drive.settle(len(apps))


def test_the_address_that_the_plugin_gave_is_the_one_reported_and_opened(drive: Drive) -> None:
    group = "/named"
    apps = [
        named(probe(name, *groups)) for name, *groups in (("a", "one"), ("b", "one"), ("c", "two"))
    ]
    try:
        scene = settle(drive, apps, group)

        for actor in scene.actors:
            row = containers(drive.cluster, actor.task.host)[actor.task_id]
            (info,) = row["status"]["network_infos"]
            (given,) = info["ip_addresses"]
            assert info["name"] == "calico"
            assert given == {"protocol": "IPv4", "ip_address": actor.kernel_address}
            assert actor.address == actor.kernel_address
            # Its executor came to the Mesos agent from within the task's network.
            log = drive.cluster.control.log(f"mesos-{actor.task.host}")
            assert f"executor={actor.task_id} from={actor.address} known=True" in log
    finally:
        drive.remove(group)
    wait_until(lambda: nothing_is_left(drive.cluster), "containers hold something")


def test_nothing_that_a_task_sends_from_its_first_instruction_on_gets_through(drive: Drive) -> None:
    group = "/first"
    sensors = [
        on(running(name, "one", SENSOR), host)
        for name, host in (("near", "host-1"), ("far", "host-2"))
    ]
    try:
        before = settle(drive, sensors, group)
        targets = [actor.address for actor in before.actors]
        flooder = on(running("foe", "two", FLOODER.replace("TARGETS", repr(targets))), "host-1")
        scene = settle(drive, [*sensors, flooder], group)
        (foe,) = scene.actors_of(f"{group}/foe")
        wait_until(lambda: "flooding" in written(drive.cluster, foe), "it does not flood")
        # The same program, from a friend, arrives: the sensors do see what there is.
        friend = on(running("friend", "one", FLOODER.replace("TARGETS", repr(targets))), "host-1")
        scene = settle(drive, [*sensors, flooder, friend], group)
        (known,) = scene.actors_of(f"{group}/friend")

        for name in ("near", "far"):
            (sensor,) = scene.actors_of(f"{group}/{name}")
            wait_until(
                lambda sensor=sensor: known.address in written(drive.cluster, sensor),
                "the sensor sees no friend",
            )
            assert foe.address not in written(drive.cluster, sensor)
    finally:
        drive.remove(group)
    wait_until(lambda: nothing_is_left(drive.cluster), "containers hold something")


def test_a_redeployed_app_is_attached_anew_and_what_it_had_is_given_back(drive: Drive) -> None:
    group = "/again"
    apps = [named(probe("a", "one", linger=1)), named(probe("b", "two"))]
    try:
        old = settle(drive, apps, group)
        changed = named(probe("a", "two", linger=1))
        drive.watcher.expect(f"{group}/a", changed)

        drive.marathon.put_app(f"{group}/a", {"ipAddress": changed["ipAddress"]})

        (before,) = old.actors_of(f"{group}/a")
        while drive.watcher.look(verdicts=False).of_task(before.task_id):
            # Fails if either of the two reaches what only the other may.
            drive.measure(drive.watcher.look())
        (after,) = drive.settle(2).actors_of(f"{group}/a")
        assert after.task_id != before.task_id
        assert after.address != before.address
    finally:
        drive.remove(group)
    wait_until(lambda: nothing_is_left(drive.cluster), "containers hold something")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mesos-host-1", "agent-host-1"])
def test_a_restart_while_tasks_start_keeps_addresses_and_loses_none(
    drive: Drive, name: str
) -> None:
    group = f"/restart-{name}"
    before = [named(probe("a", "one")), named(probe("b", "one")), named(probe("c", "two"))]
    more = [*before, named(probe("d", "two")), named(probe("e", "one"))]
    try:
        scene = settle(drive, before, group)
        old = drive.cluster.control.process(name)

        drive.deploy(group, more)
        drive.cluster.control.kill(name, signal.SIGKILL)

        wait_until(
            lambda: drive.cluster.control.process(name).restarts > old.restarts, "no restart"
        )
        after = settle(drive, more, group)
        assert addresses(scene).items() <= addresses(after).items()
    finally:
        drive.remove(group)
    wait_until(lambda: nothing_is_left(drive.cluster), "containers hold something")


@pytest.mark.slow
def test_what_ended_while_the_mesos_agent_was_away_is_given_back(drive: Drive) -> None:
    group = "/away"
    try:
        scene = settle(drive, [on(named(probe("a", "one")), "host-1")], group)
        (actor,) = scene.actors
        drive.cluster.control.stop("mesos-host-1")
        drive.cluster.run("host-1", ("kill", "-9", str(actor.pid)))

        drive.cluster.control.start("mesos-host-1")

        (new,) = drive.settle(1).actors
        assert new.task_id != actor.task_id
    finally:
        drive.remove(group)
    wait_until(lambda: nothing_is_left(drive.cluster), "containers hold something")


@pytest.mark.slow
def test_without_a_way_to_the_mesos_agent_a_task_stages_and_then_fails() -> None:
    options = (
        *("--supervised", "--hosts", "1", "--add", "agent-host-1=--host-ports 53"),
        *("--add", "mesos-host-1=--executor-registration-timeout 3"),
    )
    with launched(*options) as cluster, Drive.of(cluster.cluster) as drive:
        drive.marathon.wait(START_SECONDS)
        wait_until(lambda: drive.watcher.hosts_ready() == 1, "no agent registered")
        drive.deploy("/mute", [named(probe("a", "one"))])

        wait_until(lambda: attached(drive, "host-1"), "nothing is attached")
        (staging,) = drive.marathon.tasks()
        assert not staging.running
        wait_until(
            lambda: (
                "Executor did not register within 3secs"
                in drive.cluster.control.log("mesos-host-1")
            ),
            "it waits for ever",
        )
        drive.marathon.delete_group("/mute")
        wait_until(lambda: nothing_is_left(drive.cluster), "containers hold something")


def attached(drive: Drive, host: str) -> bool:
    """Whether a container of the host has got an address."""
    rows = containers(drive.cluster, host).values()
    return any(row["status"].get("network_infos") for row in rows)


@pytest.mark.slow
def test_net_modules_that_forgot_their_containers_cost_no_address() -> None:
    options = ("--supervised", "--hosts", "1", "--era", "1.1", "--isolation", "netmodules")
    with launched(*options) as cluster, Drive.of(cluster.cluster) as drive:
        drive.marathon.wait(START_SECONDS)
        wait_until(lambda: drive.watcher.hosts_ready() == 1, "no agent registered")
        group = "/forgotten"
        apps = [probe("a", "one"), probe("b", "two")]
        scene = settle(drive, apps, group)
        old = drive.cluster.control.process("mesos-host-1")

        drive.cluster.control.kill("mesos-host-1", signal.SIGKILL)

        wait_until(
            lambda: drive.cluster.control.process("mesos-host-1").restarts > old.restarts,
            "no restart",
        )
        assert addresses(drive.settle(2)) == addresses(scene)
        # Mesos calls neither release nor cleanup for these any more.
        drive.remove(group)
        log = drive.cluster.control.log("mesos-host-1")
        assert log.count("cleanup of an unknown container") == 2
        checked = drive.cluster.product("ipam", "check")
        assert (checked.returncode, checked.stderr) == (0, "")
        links = drive.cluster.run("host-1", ("ls", "/sys/class/net")).stdout.split()
        assert not [link for link in links if link.startswith("cali")]
        settle(drive, apps, group)
