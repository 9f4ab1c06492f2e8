"""Any process may be killed at any time; afterwards all converges again."""

import signal

import pytest

from tests.cluster.harness import Drive, probe, wait_until

pytestmark = pytest.mark.slow
#: Controller and agent are stopped and killed by name.
CLUSTER = ("--supervised",)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("etcd", id="etcd"),
        pytest.param("marathon", id="Marathon"),
        pytest.param("controller", id="controller"),
        pytest.param("mesos-host-1", id="a Mesos agent"),
        pytest.param("agent-host-1", id="an agent"),
    ],
)
def test_a_killed_process_costs_no_flow_and_no_change(drive: Drive, name: str) -> None:
    group = f"/kill-{name}"
    before = [probe("a", "one"), probe("b", "one"), probe("c", "two")]
    drive.deploy(group, before)
    try:
        scene = drive.settle(3)
        old = drive.cluster.control.process(name)

        drive.cluster.control.kill(name, signal.SIGKILL)

        # While it is away nothing leaks and nothing breaks.
        assert all(cell.ok for cell in drive.measure(scene).values())
        wait_until(
            lambda: drive.cluster.control.process(name).restarts > old.restarts, "no restart"
        )
        drive.deploy(group, [*before, probe("d", "two"), probe("e", "one")])
        after = drive.settle(5)
        for actor in scene.actors:
            kept = after.of_task(actor.task_id)
            assert kept is not None
            assert kept.address == actor.address
    finally:
        drive.remove(group)


def test_tasks_that_end_while_the_controller_is_down_are_withdrawn(drive: Drive) -> None:
    group = "/ended-unseen"
    drive.deploy(group, [probe("a", "one"), probe("b", "one")])
    tasks = [actor.task_id for actor in drive.settle(2).actors]
    drive.cluster.control.stop("controller")

    drive.marathon.delete_group(group)
    drive.cluster.control.start("controller")

    wait_until(lambda: not any(map(drive.watcher.knows, tasks)), "tasks stay listed")
