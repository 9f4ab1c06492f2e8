"""An app's life on real kernels, by each way in which Mesos attached tasks."""

import json
from collections.abc import Iterator, Mapping

import pytest
import requests

from demo.marathon.era import Era
from demo.stories.forms import NETWORK, group_in_era, in_era
from demo.stories.matrix import Outcome, Pair
from tests.cluster.harness import (
    START_SECONDS,
    App,
    Drive,
    launched,
    probe,
    wait_until,
)

GROUP = "/era"
HOSTS = 2
NEWEST = Era(1, 9)


def call(drive: Drive, method: str, path: str) -> None:
    """A call that Marathon must accept."""
    url = f"{drive.cluster.marathon_url}{path}"
    requests.request(method, url, timeout=10).raise_for_status()


def deploy(drive: Drive, era: Era, *apps: App) -> None:
    """PUT the group in the form of the era."""
    drive.marathon.wait(START_SECONDS)
    watcher = drive.watcher
    ready = watcher.hosts_ready if era.uses_networks else watcher.hosts_registered
    wait_until(
        lambda: ready() == HOSTS == len(drive.marathon.agents()),
        "not all agents registered",
    )
    for app in apps:
        drive.watcher.expect(f"{GROUP}/{app['id']}", app)
    drive.marathon.put_group(group_in_era({"id": GROUP, "apps": list(apps)}, era))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("era", "more"),
    [
        pytest.param(Era(1, 9), (), id="1.9 by CNI"),
        pytest.param(Era(0, 15), ("--isolation", "netmodules"), id="0.15 by net-modules"),
    ],
)
def test_deploy_regroup_scale_kill_and_redeploy(era: Era, more: tuple[str, ...]) -> None:
    with launched("--era", str(era), *more) as running, Drive.of(running.cluster) as drive:
        deploy(drive, era, probe("a", "one"), probe("b", "one"), probe("c", "two"))
        drive.settle(3)
        listed = drive.cluster.product("get", "tasks").stdout
        assert listed.count("plugin") == 3, listed

        changed = probe("c", "one")
        drive.watcher.expect(f"{GROUP}/c", changed)
        drive.marathon.put_app(f"{GROUP}/c", in_era({"ipAddress": changed["ipAddress"]}, era))
        wait_until(lambda: groups_of(drive, f"{GROUP}/c") == [{"one"}], "not regrouped")
        drive.settle(3)

        drive.marathon.put_app(f"{GROUP}/a", {"instances": 2})
        wait_until(lambda: len(tasks_of(drive, f"{GROUP}/a")) == 2, "not scaled")
        before = drive.settle(4).actors_of(f"{GROUP}/a")

        gone = before[0].task_id
        call(drive, "DELETE", f"/v2/apps{GROUP}/a/tasks/{gone}")
        wait_until(lambda: gone not in tasks_of(drive, f"{GROUP}/a"), "not killed")
        drive.settle(4)

        old = set(tasks_of(drive, f"{GROUP}/b"))
        call(drive, "POST", f"/v2/apps{GROUP}/b/restart")
        wait_until(lambda: not old & set(tasks_of(drive, f"{GROUP}/b")), "not redeployed")
        drive.settle(4)

        drive.remove(GROUP)
        # Addresses of ended tasks rest; none is lost.
        checked = drive.cluster.product("ipam", "check")
        assert checked.returncode == 0, checked.stdout


@pytest.fixture(scope="module")
def modern() -> Iterator[Drive]:
    """A cluster with the last Marathon there was."""
    with launched("--era", str(NEWEST)) as running, Drive.of(running.cluster) as drive:
        yield drive


@pytest.mark.slow
def test_marathon_and_executors_check_tasks_behind_their_policy(modern: Drive) -> None:
    checks = [
        {"protocol": "HTTP", "path": "/status", "port": 9000, "intervalSeconds": 0.5},
        {"protocol": "MESOS_TCP", "port": 9000, "intervalSeconds": 0.5, "delaySeconds": 0},
    ]
    app = {**probe("a", "one"), "instances": 2, "healthChecks": checks}
    deploy(modern, NEWEST, app, probe("b", "two"))
    modern.settle(3)
    url = f"{modern.cluster.marathon_url}/v2/apps{GROUP}/a"
    wait_until(
        lambda: requests.get(url, timeout=10).json()["app"]["tasksHealthy"] == 2,
        "tasks do not become healthy",
    )
    modern.remove(GROUP)


@pytest.mark.slow
def test_the_containers_of_a_pod_share_one_address_and_its_groups(modern: Drive) -> None:
    deploy(modern, NEWEST, probe("a", "one"), probe("b", "two"))
    url = f"{modern.cluster.marathon_url}/v2/pods"
    pod = {
        "id": "/pod",
        "networks": [{"name": NETWORK, "mode": "container", "labels": {"groups": "one"}}],
        "containers": [
            {
                "name": "web",
                "exec": {"command": {"shell": "star-probe --port 9000"}},
                "endpoints": [{"name": "status", "containerPort": 9000}],
            },
            {"name": "side", "exec": {"command": {"shell": "star-probe --port 9001"}}},
        ],
    }
    requests.post(url, json=pod, timeout=10).raise_for_status()
    wait_until(lambda: verdicts_of(modern, "/pod") == ["IN_SYNC"], "the pod has no network")
    (instance,) = requests.get(f"{url}/pod::status", timeout=10).json()["instances"]
    assert len(instance["containers"]) == 2
    (address,) = instance["networks"][0]["addresses"]

    scene = modern.settle(2)
    declared = modern.watcher.reach_address(scene, address, 9000)
    undeclared = modern.watcher.reach_address(scene, address, 9001)
    assert reaching(declared) >= {"a"}
    assert "b" not in reaching(declared)
    assert not {"a", "b"} & reaching(undeclared)

    requests.delete(f"{url}/pod", timeout=10).raise_for_status()
    wait_until(lambda: verdicts_of(modern, "/pod") == [], "the pod stays listed")
    modern.remove(GROUP)


def reaching(outcomes: Mapping[Pair, Outcome]) -> set[str]:
    """Whoever got there."""
    return {pair.source for pair, outcome in outcomes.items() if outcome is Outcome.CONNECTED}


def verdicts_of(drive: Drive, app_id: str) -> list[str]:
    """What the product says of the tasks of an app or a pod."""
    rows = json.loads(drive.cluster.product("get", "tasks", "-o", "json").stdout)
    return [row["verdict"] for row in rows if row["app"] == app_id]


def tasks_of(drive: Drive, app_id: str) -> list[str]:
    """The tasks of an app that Marathon lists."""
    return [task.task_id for task in drive.marathon.tasks() if task.app_id == app_id]


def groups_of(drive: Drive, app_id: str) -> list[set[str]]:
    """The groups of the app's tasks, once all of an older version have ended."""
    return [set(actor.task.groups) for actor in drive.watcher.look(False).actors_of(app_id)]
