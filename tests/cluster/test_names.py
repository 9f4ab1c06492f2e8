"""Tasks find each other by the names of their apps."""

import json
import signal
import sys
from functools import partial

import pytest

from demo.marathon.era import Era
from demo.stories.forms import group_in_era
from demo.stories.scene import Actor
from tests.cluster.harness import START_SECONDS, App, Drive, launched, probe, wait_until

HOSTS = 2
RESOLVE = """
import json, socket, sys
try:
    found = socket.getaddrinfo(sys.argv[1], None, type=socket.SOCK_STREAM)
except socket.gaierror as error:
    sys.exit(str(error))
print(json.dumps(sorted({each[4][0] for each in found})))
"""


def resolved(drive: Drive, asker: Actor, name: str) -> set[str]:
    """What a task is told of a name, by its own C library and files; empty for nothing."""
    assert asker.pid is not None
    inside = ("nsenter", "--target", str(asker.pid), "--net", "--mount")
    done = drive.cluster.run(
        asker.task.host, (*inside, sys.executable, "-I", "-S", "-c", RESOLVE, name)
    )
    return set(json.loads(done.stdout)) if done.stdout else set()


def instances(app: App, count: int) -> App:
    return {**app, "instances": count}


def _finds(drive: Drive, asker: Actor, name: str, other: Actor) -> bool:
    return resolved(drive, asker, name) == {other.address}


def test_a_task_finds_another_app_by_its_name_and_the_answer_follows(drive: Drive) -> None:
    group, name = "/names", "b.names.marathon.mesos"
    apps = [probe("a", "one"), probe("b", "one")]
    drive.deploy(group, apps)
    try:
        scene = drive.settle(2)
        asker, other = sorted(scene.actors, key=lambda actor: actor.task.name)
        for each in (name, "b-names.marathon.mesos"):
            wait_until(partial(_finds, drive, asker, each, other), "the other has no name")
        assert resolved(drive, asker, "c.names.marathon.mesos") == set()

        drive.deploy(group, [apps[0], instances(apps[1], 2)])
        both = {actor.address for actor in drive.settle(3).actors} - {asker.address}
        assert len(both) == 2
        wait_until(lambda: resolved(drive, asker, name) == both, "the second has no name")

        drive.cluster.control.kill("dns", signal.SIGKILL)
        wait_until(lambda: resolved(drive, asker, name) == both, "names do not come back")

        drive.deploy(group, apps)
        left = {actor.address for actor in drive.settle(2).actors} - {asker.address}
        assert len(left) == 1
        wait_until(lambda: resolved(drive, asker, name) == left, "a task that ended has a name")
    finally:
        drive.remove(group)


@pytest.mark.slow
def test_a_task_that_a_plugin_attached_finds_another_too() -> None:
    group, era = "/names", Era(1, 9)
    apps = [probe("a", "one"), probe("b", "one")]
    with launched("--era", str(era)) as running, Drive.of(running.cluster) as drive:
        drive.marathon.wait(START_SECONDS)
        wait_until(lambda: drive.watcher.hosts_ready() == HOSTS, "not all agents registered")
        for app in apps:
            drive.watcher.expect(f"{group}/{app['id']}", app)
        drive.marathon.put_group(group_in_era({"id": group, "apps": apps}, era))
        scene = drive.settle(2)
        asker, other = sorted(scene.actors, key=lambda actor: actor.task.name)
        assert resolved(drive, asker, "b.names.marathon.mesos") == {other.address}
