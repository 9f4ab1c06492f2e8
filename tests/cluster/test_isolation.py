"""An app deployed over REST gets an address, and the isolation of its groups."""

import json
import time

from demo.embedded.hosts import MASTER
from demo.embedded.processes import ETCD_PORT, MESOS_AGENT_PORT
from tests.cluster.harness import Drive, probe, wait_until


def test_hosts_are_machines_of_their_own(drive: Drive) -> None:
    files = ("/proc/sys/kernel/random/boot_id", "/etc/machine-id", "/proc/sys/kernel/hostname")
    identities = [
        drive.cluster.run(host.name, ("cat", *files)).stdout.splitlines()
        for host in drive.cluster.control.status().hosts
    ]

    assert len(identities) == 3
    for column in zip(*identities, strict=True):
        assert len(set(column)) == 3


def test_groups_decide_who_reaches_whom_across_hosts(drive: Drive) -> None:
    group = "/isolation"
    apps = [
        probe("a", "one"),
        probe("b", "one"),
        probe("c", "two"),
        probe("d"),
        probe("e", "public"),
    ]
    drive.deploy(group, apps)
    try:
        scene = drive.settle(5)

        assert {actor.task.host for actor in scene.actors} == {"host-1", "host-2"}
        assert len({actor.address for actor in scene.actors}) == 5
        # No host but its own reaches what nobody declared.
        cells = drive.measure(scene, 9999)
        assert all(cell.ok for cell in cells.values())
    finally:
        drive.remove(group)


def test_tasks_reach_their_mesos_agent_but_never_etcd(drive: Drive) -> None:
    group = "/infrastructure"
    drive.deploy(group, [probe("a", "one"), probe("b", "one")])
    try:
        scene = drive.settle(2)
        address = {host.name: host.address for host in drive.cluster.control.status().hosts}
        tasks = {actor.task.name for actor in scene.actors}

        agent = drive.watcher.reach_address(scene, address["host-1"], MESOS_AGENT_PORT)
        etcd = drive.watcher.reach_address(scene, address[MASTER], ETCD_PORT)

        assert all(outcome.arrived for outcome in agent.values())
        assert {pair.source for pair, outcome in etcd.items() if outcome.arrived} == {
            host.name for host in scene.hosts
        }
        assert {pair.source for pair, outcome in etcd.items() if not outcome.arrived} == tasks
    finally:
        drive.remove(group)


def test_the_kernels_agree_with_what_etcd_asks_of_them(drive: Drive) -> None:
    group = "/kernels"
    drive.deploy(group, [probe("a", "one"), probe("b", "one"), probe("c", "two")])
    try:
        drive.settle(3)

        differing = drive.cluster.product("diff")
        agreed = "desired and actual agree: 3 tasks on 2 hosts\n"
        assert (differing.returncode, differing.stdout) == (0, agreed)
        for source, target, code in (
            ("a", f"{group}/b:9000", 0),
            ("a", f"{group}/c:9000", 1),
            ("c", "host-1:5051", 0),
            ("c", "host-2:9402", 1),
        ):
            answer = drive.cluster.product("why", f"{group}/{source}", target, "-o", "json")
            assert (answer.returncode, json.loads(answer.stdout)["kernel"]["agrees"]) == (
                code,
                "yes",
            ), answer.stdout
        described = drive.cluster.product("describe", "task", f"{group}/a", "-o", "json")
        told = json.loads(described.stdout)
        assert told["kernel"]["told"] is True
        assert not any(line["differs"] for line in told["compared"])
    finally:
        drive.remove(group)


def test_a_regrouped_app_keeps_its_old_task_under_the_old_groups(drive: Drive) -> None:
    group = "/regroup"
    drive.deploy(group, [probe("a", "one"), probe("b", "two"), probe("c", "one", linger=2)])
    try:
        (old,) = drive.settle(3).actors_of(f"{group}/c")
        changed = probe("c", "two", linger=2)
        drive.watcher.expect(f"{group}/c", changed)

        drive.marathon.put_app(f"{group}/c", {"ipAddress": changed["ipAddress"]})

        both = 0
        while (scene := drive.watcher.look(verdicts=False)).of_task(old.task_id):
            # Fails if either of the two reaches what only the other may.
            drive.measure(scene)
            both += len(scene.actors_of(f"{group}/c")) == 2
        assert both > 0
        (new,) = drive.settle(3).actors_of(f"{group}/c")
        assert new.task_id != old.task_id
        assert new.address != old.address
    finally:
        drive.remove(group)


def test_deleting_every_app_at_once_is_quick_and_needs_no_approval(drive: Drive) -> None:
    group = "/all"
    drive.deploy(group, [probe(name, "one") for name in ("a", "b", "c", "d", "e", "f")])
    tasks = [actor.task_id for actor in drive.settle(6).actors]

    begin = time.monotonic()
    drive.marathon.delete_group(group)
    wait_until(lambda: not any(map(drive.watcher.knows, tasks)), "tasks stay listed", 10)

    # Each look at all six takes a while of its own.
    assert time.monotonic() - begin < 8
    status = drive.cluster.product("status")
    assert status.returncode == 0, status.stdout
