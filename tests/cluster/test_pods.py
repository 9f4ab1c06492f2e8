"""A pod's instance is one endpoint: its containers share an address and its groups."""

import json
import re
from typing import Any

import pytest
import requests

from demo.marathon.era import Era
from demo.stories.forms import in_era
from demo.stories.matrix import Outcome, Pair
from tests.cluster.harness import START_SECONDS, Drive, launched, probe, wait_until

ERA = Era(1, 9)
PORT, CLOSED_PORT = 9000, 9001
HOSTS = 2

LAUNCH = re.compile(r"\.\d+$")

POD: dict[str, Any] = {
    "id": "/shop/cache",
    "networks": [{"name": "calico", "mode": "container", "labels": {"groups": "shop"}}],
    "containers": [
        {
            "name": "store",
            "exec": {"command": {"shell": f"star-probe --port {PORT}"}},
            "resources": {"cpus": 0.1, "mem": 32},
            "endpoints": [{"name": "web", "containerPort": PORT, "protocol": ["tcp"]}],
        },
        {
            "name": "side",
            "exec": {"command": {"shell": f"star-probe --port {CLOSED_PORT}"}},
            "resources": {"cpus": 0.1, "mem": 32},
        },
    ],
    "scaling": {"kind": "fixed", "instances": 2},
}


def call(drive: Drive, method: str, path: str, body: object = None) -> Any:
    """A call that Marathon must accept."""
    url = f"{drive.cluster.marathon_url}{path}"
    answer = requests.request(method, url, json=body, timeout=10)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def instances(drive: Drive) -> dict[str, dict[str, Any]]:
    """What the product lists of the pod, by instance.

    An instance that is launched anew, as where its agent knew no leader yet, keeps
    its name; its task has a number behind it.
    """
    rows = json.loads(drive.cluster.product("get", "tasks", "-o", "json").stdout)
    return {LAUNCH.sub("", row["task"]): row for row in rows if row["app"] == POD["id"]}


def in_place(drive: Drive, count: int) -> bool:
    """Whether Marathon's instances and the product's are the same, and all are up."""
    found = instances(drive)
    told = {each["id"] for each in call(drive, "GET", f"/v2/pods{POD['id']}::status")["instances"]}
    return set(found) == told and [row["verdict"] for row in found.values()] == ["IN_SYNC"] * count


@pytest.mark.slow
def test_a_pod_s_instances_are_isolated_like_tasks_and_go_with_the_pod() -> None:
    with launched("--era", str(ERA)) as running, Drive.of(running.cluster) as drive:
        drive.marathon.wait(START_SECONDS)
        wait_until(
            lambda: drive.watcher.hosts_ready() == HOSTS == len(drive.marathon.agents()),
            "not all agents registered",
        )
        apps = [probe("friend", "shop"), probe("stranger", "other")]
        for app in apps:
            drive.watcher.expect(f"/{app['id']}", app)
            call(drive, "POST", "/v2/apps", in_era({**app, "id": f"/{app['id']}"}, ERA))
        call(drive, "POST", "/v2/pods", POD)
        scene = drive.settle(2)
        wait_until(lambda: in_place(drive, 2), "the pod's instances are not in place")

        found = instances(drive)
        for row in found.values():
            assert (row["attached"], row["pod"], row["groups"]) == ("plugin", True, ["shop"])
            assert row["ports"] == [f"{PORT}/tcp"]
            (address,) = row["addresses"]
            reached = drive.watcher.reach_address(scene, address, PORT)
            hidden = drive.watcher.reach_address(scene, address, CLOSED_PORT)
            for name in ("friend", "stranger"):
                allowed = name == "friend"
                assert reached[Pair(name, address, PORT)].arrived is allowed
                # Nobody declared the other container's port, though it listens there.
                assert not hidden[Pair(name, address, CLOSED_PORT)].arrived
            own = hidden[Pair(row["host"], address, CLOSED_PORT)]
            assert own is Outcome.CONNECTED
        addresses = {tuple(row["addresses"]) for row in found.values()}
        assert len(addresses) == 2

        # One instance is killed: another takes its place, with an address of its own.
        gone = min(found)
        call(drive, "DELETE", f"/v2/pods{POD['id']}::instances/{gone}")
        wait_until(lambda: gone not in instances(drive) and in_place(drive, 2), "not replaced")
        assert not any(
            tuple(row["addresses"]) == tuple(found[gone]["addresses"])
            for row in instances(drive).values()
        )

        call(drive, "DELETE", f"/v2/pods{POD['id']}")
        wait_until(lambda: not instances(drive), "the pod's instances stay listed")
        checked = drive.cluster.product("ipam", "check")
        assert checked.returncode == 0, checked.stdout
