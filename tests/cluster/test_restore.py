"""etcd is emptied, or set back to a backup, under a running cluster."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from demo.embedded.hosts import MASTER
from demo.embedded.processes import STATE_DIRECTORY
from demo.stories.scene import Scene
from demo.stories.stage import LABEL
from reconciler.agent.vouching import UNVOUCHED
from tests.cluster.harness import Drive, probe, wait_until
from tests.cluster.test_as_apps import Flows, member, named
from tests.cluster.test_attached import on

pytestmark = pytest.mark.slow
#: The controller and the agents are stopped by name.
CLUSTER = ("--supervised",)
DATA, BACKUP = "/run/etcd", "/run/backup"
BEFORE = {"a": {"one"}, "b": {"one"}, "c": {"two"}}


def addresses(scene: Scene) -> dict[str, Any]:
    return {actor.task_id: actor.address for actor in scene.actors}


def on_master(drive: Drive, *command: str) -> None:
    done = drive.cluster.run(MASTER, command)
    assert (done.returncode, done.stderr) == (0, "")


def exchange_data(drive: Drive, exchange: Callable[[], None]) -> None:
    """Have etcd come back with other data, as after a disk was lost."""
    drive.cluster.control.stop("etcd")
    exchange()
    drive.cluster.control.start("etcd")


def test_a_wiped_etcd_costs_no_flow_and_no_address(drive: Drive) -> None:
    # given tasks, connections between them, and a host whose agent is away
    group = "/wiped"
    apps = [member(name, groups) for name, groups in BEFORE.items()]
    drive.deploy(group, apps)
    try:
        before = drive.settle(3)
        flows = Flows.between(drive, before)
        drive.cluster.control.stop("agent-host-1")

        # when etcd is emptied
        exchange_data(drive, lambda: on_master(drive, "rm", "-rf", DATA))

        # then operators see who is waited for, nothing is given, and nothing stops
        def held() -> bool:
            done = drive.cluster.product("holds", "-o", "json")
            return done.returncode in (0, 1) and "host-1" in done.stdout and "store" in done.stdout

        wait_until(held, "the store is not held", seconds=60.0)
        shown = json.loads(drive.cluster.product("status", "-o", "json").stdout)
        assert "not heard of yet: host-1" in json.dumps(shown)
        drive.deploy(group, [*apps, probe("d", "two"), probe("e", "one")])
        assert all(cell.ok for cell in drive.measure(before).values())
        flows.check()

        # and once it told, all goes on by itself: old addresses are as they were, new are new
        drive.cluster.control.start("agent-host-1")
        after = drive.settle(5)
        found = addresses(after)
        assert {name: found[name] for name in addresses(before)} == addresses(before)
        assert len(set(found.values())) == 5
        flows.check()
        assert drive.cluster.product("holds").returncode == 0
        wait_until(lambda: drive.cluster.product("status").returncode == 0, "status is not well")
        assert drive.cluster.product("ipam", "check").returncode == 0
        flows.end()
    finally:
        drive.cluster.control.start("agent-host-1")
        drive.remove(group)


def test_an_etcd_from_an_older_backup_gives_no_address_twice(drive: Drive) -> None:
    # given a backup, after which tasks came and one ended
    group = "/restored"
    old = [member(name, groups) for name, groups in BEFORE.items()]
    drive.deploy(group, old)
    try:
        drive.settle(3)
        exchange_data(drive, lambda: on_master(drive, "cp", "-a", DATA, BACKUP))
        drive.settle(3)
        later = [*old[1:], member("d", {"two"}), member("e", {"one"})]
        drive.deploy(group, later)
        before = drive.settle(4)
        flows = Flows.between(drive, before)

        # when etcd is set back to it
        def set_back() -> None:
            on_master(drive, "rm", "-rf", DATA)
            on_master(drive, "mv", BACKUP, DATA)

        exchange_data(drive, set_back)
        drive.deploy(group, [*later, probe("f", "two"), probe("g", "one")])

        # then no flow ends, and new tasks get addresses that nobody has
        after = drive.settle(6)
        found = addresses(after)
        assert {name: found[name] for name in addresses(before)} == addresses(before)
        assert len(set(found.values())) == 6
        flows.check()
        flows.end()
        assert drive.cluster.product("holds").returncode == 0
    finally:
        drive.remove(group)


def refusals(drive: Drive, host: str) -> list[str]:
    """Why containers of a host have no network, by what operators see."""
    shown = json.loads(drive.cluster.product("status", "-o", "json").stdout)
    return [each["why"] for each in shown["refused"] if each["host"] == host]


def test_a_host_without_its_past_gives_no_address_of_a_task_that_a_backup_lacks(
    drive: Drive,
) -> None:
    # given a task that came after a backup
    group = "/forgetful"
    kept = on(member("d", {"two"}), "host-1")
    exchange_data(drive, lambda: on_master(drive, "cp", "-a", DATA, BACKUP))
    drive.deploy(group, [kept])
    stopped = ("controller", "agent-host-1", "agent-host-2")
    try:
        (before,) = drive.settle(1).actors

        # when etcd is set back while no controller runs, one host is silent, and the other
        # has lost all that it knew
        def set_back() -> None:
            on_master(drive, "rm", "-rf", DATA)
            on_master(drive, "mv", BACKUP, DATA)

        for name in stopped:
            drive.cluster.control.stop(name)
        done = drive.cluster.run("host-2", ("rm", "-rf", STATE_DIRECTORY))
        assert (done.returncode, done.stderr) == (0, "")
        exchange_data(drive, set_back)
        drive.cluster.control.start("agent-host-2")

        # and a container there asks for just this task's address
        network = {"labels": {LABEL: json.dumps([before.address])}}
        wanted = on(named(probe("n", "two")), "host-2")
        wanted["ipAddress"] = {**wanted["ipAddress"], **network}
        drive.deploy(group, [kept, wanted])

        # then it is told to ask again, and does not have it
        def is_told() -> bool:
            return any(UNVOUCHED in why for why in refusals(drive, "host-2"))

        wait_until(is_told, "the container is not told to ask again", seconds=60.0)
        assert before.address not in drive.cluster.product("ipam", "show", "-o", "json").stdout

        # and once all have told, the task has its address, and a container another one
        for name in stopped:
            drive.cluster.control.start(name)
        drive.deploy(group, [kept, on(named(probe("n", "two")), "host-2")])
        after = {actor.task_id: actor.address for actor in drive.settle(2).actors}
        assert after[before.task_id] == before.address
        assert len(set(after.values())) == 2
        assert drive.cluster.product("ipam", "check").returncode == 0
    finally:
        for name in stopped:
            drive.cluster.control.start(name)
        drive.remove(group)
