"""Marathon runs the controllers and the agents, and whatever it does to them, flows go on."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from demo.embedded.hosts import MASTER
from demo.embedded.product.names import GROUP as PRODUCT
from demo.stories.forms import NETWORK
from demo.stories.matrix import Outcome
from demo.stories.scene import Scene
from tests.cluster.flows import PORT
from tests.cluster.harness import START_SECONDS, App, Drive, demo, probe, wait_until

pytestmark = pytest.mark.slow

STAR = "/star-of-flows"
CONTROL = "one that may"
APPS = {"a": {"one"}, "b": {"one"}, "c": {"two"}, "d": {"two"}, "collect": {"one", "two"}}
CONTROLLER, AGENT = f"{PRODUCT}/controller", f"{PRODUCT}/agent"
#: A lease of 15 seconds, and what a loaded machine takes on top of it.
TAKEOVER_SECONDS = 40.0
#: Two tasks one after the other, each as slow to start as a loaded machine makes it.
UPGRADE_SECONDS = 60.0


def member(name: str, groups: set[str]) -> App:
    """A probe that may be reached on the flows' port as well."""
    app = probe(name, *sorted(groups))
    app["ipAddress"]["discovery"]["ports"].append(
        {"name": "flows", "number": PORT, "protocol": "tcp"}
    )
    return app


def named(app: App) -> App:
    """The same app on a network that has a name."""
    return {**app, "ipAddress": {**app["ipAddress"], "networkName": NETWORK}}


class Flows:
    """Connections between all that may reach each other, attempts by all that may not."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    @classmethod
    def between(cls, drive: Drive, scene: Scene) -> "Flows":
        """Begin between the tasks of the scene."""
        rows: dict[str, list[dict[str, Any]]] = {"flows": [], "attempts": []}
        for source in scene.actors:
            for target in scene.actors:
                if source is target:
                    continue
                allowed = {*source.task.groups} & {*target.task.groups}
                pair = {"pid": source.pid, "address": target.address}
                name = f"{source.task.name}>{target.task.name}"
                if allowed:
                    rows["flows"].append({"name": name, **pair})
                else:
                    rows["attempts"] += [
                        {"name": f"{name}:{port}", **pair, "port": port} for port in (PORT, 9000)
                    ]
        # One that may: who never arrives anywhere would see no leak either.
        rows["attempts"].append({**rows["flows"][0], "name": CONTROL, "port": 9000})
        plan = {"servers": [actor.pid for actor in scene.actors], **rows}
        process = drive.cluster.popen(
            MASTER,
            (sys.executable, "-m", "tests.cluster.flows"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            interruptible=False,
        )
        flows = cls(process)
        assert flows._ask(json.dumps(plan)) == "ready"
        return flows

    def report(self) -> dict[str, Any]:
        """What happened since they began."""
        report: dict[str, Any] = json.loads(self._ask("report"))
        return report

    def check(self) -> None:
        """Not one is broken, not one packet was lost, not one attempt got through."""
        before = self.report()

        def went_on() -> bool:
            after = self.report()
            return all(
                new["broken"] or new["echoed"] > old["sent"]
                for old, new in zip(before["flows"], after["flows"], strict=True)
            ) and all(count > before["attempts"][name] for name, count in after["attempts"].items())

        wait_until(went_on, "a flow or an attempt has stopped")
        report = self.report()
        assert [flow for flow in report["flows"] if flow["broken"] or flow["retransmitted"]] == []
        assert list(report["arrived"]) == [CONTROL]

    def end(self) -> None:
        """End them all."""
        self._process.communicate(timeout=10)

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().decode().strip()


@pytest.fixture(scope="module")
def flows(drive: Drive) -> Iterator[Flows]:
    """Star with connections that last for all tests."""
    drive.deploy(STAR, [member(name, groups) for name, groups in APPS.items()])
    scene = drive.settle(len(APPS))
    flows = Flows.between(drive, scene)
    try:
        yield flows
    finally:
        flows.end()


def app_of(drive: Drive, app_id: str) -> dict[str, Any]:
    """One of our apps, with its tasks, as Marathon shows it."""
    reply = requests.get(f"{drive.cluster.marathon_url}/v2/apps{app_id}", timeout=10)
    found: dict[str, Any] = reply.json()["app"]
    return found


def is_well(task: dict[str, Any]) -> bool:
    """Whether Marathon's last look at the task was a success."""
    return any(result["alive"] for result in task.get("healthCheckResults", ()))


def tasks_by_host(drive: Drive, app_id: str) -> dict[str, str]:
    """The tasks of one of our apps that are well, once it has as many as it should have."""
    found: dict[str, str] = {}

    def complete() -> bool:
        app = app_of(drive, app_id)
        found.clear()
        for task in app["tasks"]:
            if is_well(task):
                found[task["host"]] = task["id"]
        return len(found) == len(app["tasks"]) == app["instances"] and not app["deployments"]

    wait_until(complete, f"{app_id} is not whole", UPGRADE_SECONDS)
    return found


def leader(drive: Drive) -> str:
    """The controller that leads, its host first; empty while there is none."""
    status = json.loads(drive.cluster.product("status", "-o", "json").stdout)
    return str((status["leader"] or {}).get("holder", ""))


def upgrade(drive: Drive, app_id: str) -> None:
    """Change something that makes every task of the app a new one."""
    env = {**app_of(drive, app_id)["env"], "BUILD": "2"}
    drive.marathon.put_app(app_id, {"env": env})


def test_marathon_runs_one_agent_on_each_host_and_two_controllers(
    drive: Drive, flows: Flows
) -> None:
    for app_id in (CONTROLLER, AGENT):
        assert set(tasks_by_host(drive, app_id)) == {"host-1", "host-2"}
    path = drive.cluster.directory
    status = demo(path, "status")
    assert status.returncode == 0, status.stdout
    for name in ("agent-host-1", "agent-host-2", "controller-host-1", "controller-host-2"):
        assert f"  {name} " in status.stdout
    assert "agent started" in demo(path, "logs", "agent-host-2").stdout
    stopped = demo(path, "stop", "agent-host-2")
    assert (stopped.returncode, stopped.stdout) == (2, "")
    assert "a task of the Marathon app /marathon-calico/agent" in stopped.stderr
    several = demo(path, "kill", "controller")
    assert several.returncode == 2
    assert "controller-host-1, controller-host-2" in several.stderr
    report = flows.report()
    assert (len(report["flows"]), len(report["attempts"])) == (12, 17)
    flows.check()


def test_flows_go_on_while_another_controller_takes_over_from_a_killed_one(
    drive: Drive, flows: Flows
) -> None:
    before = tasks_by_host(drive, CONTROLLER)
    led = leader(drive)
    host = led.partition(":")[0]

    drive.cluster.kill(f"controller-{host}", signal.SIGKILL)

    # The other one, or the one that Marathon has started anew: whoever asks first.
    wait_until(lambda: leader(drive) not in ("", led), "nobody takes over", TAKEOVER_SECONDS)
    after = tasks_by_host(drive, CONTROLLER)
    assert {at for at, task in after.items() if before[at] != task} == {host}
    flows.check()


def test_flows_go_on_while_a_killed_agent_is_started_again(drive: Drive, flows: Flows) -> None:
    before = tasks_by_host(drive, AGENT)

    drive.cluster.kill("agent-host-1", signal.SIGKILL)
    wait_until(lambda: tasks_by_host(drive, AGENT) != before, "it is not started again")

    after = tasks_by_host(drive, AGENT)
    assert after["host-1"] != before["host-1"]
    assert after["host-2"] == before["host-2"]
    flows.check()


@pytest.mark.parametrize("name", ["mesos-host-1", "marathon"])
def test_controllers_and_agents_outlive_what_started_them(
    drive: Drive, flows: Flows, name: str
) -> None:
    before = {app_id: tasks_by_host(drive, app_id) for app_id in (CONTROLLER, AGENT)}
    restarts = drive.cluster.control.process(name).restarts

    drive.cluster.kill(name, signal.SIGKILL)
    wait_until(lambda: drive.cluster.control.process(name).restarts > restarts, "no restart")
    drive.marathon.wait(START_SECONDS)

    wait_until(
        lambda: all(actor.settled and actor.pid for actor in drive.watcher.look().actors),
        "the hosts' tasks are not known again",
    )
    # As soon as Marathon has looked at each of them again.
    assert {app_id: tasks_by_host(drive, app_id) for app_id in before} == before
    flows.check()


def test_flows_go_on_while_all_is_upgraded_and_what_comes_meanwhile_is_connected(
    drive: Drive, flows: Flows
) -> None:
    before = {app_id: tasks_by_host(drive, app_id) for app_id in (CONTROLLER, AGENT)}
    group = "/meanwhile"

    for app_id in before:
        upgrade(drive, app_id)
    # On a named network a plugin attaches them, which needs the agent at that moment.
    drive.deploy(group, [probe("e", "one"), probe("f", "two"), named(probe("g", "one"))])
    fewest = dict.fromkeys(before, 2)

    def done() -> bool:
        for app_id in before:
            well = [task for task in app_of(drive, app_id)["tasks"] if is_well(task)]
            fewest[app_id] = min(fewest[app_id], len(well))
        return not drive.marathon.deployments()

    try:
        wait_until(done, "the upgrade does not end", UPGRADE_SECONDS)
        for app_id, tasks in before.items():
            assert not set(tasks.values()) & set(tasks_by_host(drive, app_id).values())
        # One host after the other, but the one had to end before its port was free.
        assert fewest == dict.fromkeys(before, 1)
        # Those that came, beside and among those that were there.
        drive.settle(len(APPS) + 3)
        flows.check()
    finally:
        came = [task.task_id for task in drive.marathon.tasks() if task.app_id.startswith(group)]
        drive.marathon.delete_group(group)
    wait_until(lambda: not any(map(drive.watcher.knows, came)), "tasks stay listed")


def test_flows_go_on_while_an_agent_that_hangs_is_replaced(drive: Drive, flows: Flows) -> None:
    before = tasks_by_host(drive, AGENT)

    drive.cluster.kill("agent-host-2", signal.SIGSTOP)
    # Four checks of three seconds each, then the grace of its end.
    wait_until(
        lambda: before["host-2"] not in {task["id"] for task in app_of(drive, AGENT)["tasks"]},
        "it is left hanging",
        UPGRADE_SECONDS,
    )

    after = tasks_by_host(drive, AGENT)
    assert after["host-1"] == before["host-1"]
    scene = drive.watcher.look()
    outcomes = drive.watcher.reach(scene)
    assert all(actor.settled for actor in scene.actors)
    assert Outcome.CONNECTED in outcomes.values()
    flows.check()
