"""Pods as Marathon 1.4 and later describe them: an instance is what has an address."""

import json
from copy import deepcopy
from typing import Any

import netaddr
import pytest

from marathon_client.errors import InvalidApp
from marathon_client.models import (
    App,
    AppNetwork,
    NetworkForm,
    NetworkMode,
    PortOpening,
    TaskState,
)
from marathon_client.pods import parse_pod, parse_pod_version, parse_pods

INSTANCE = "shop_cache.instance-2f8a1c44-5b1e-11e6-8d2b-0242ac110002"
SPEC: dict[str, Any] = {
    "id": "/shop/cache",
    "version": "2017-08-05T12:00:01.250Z",
    "labels": {"team": "shop"},
    "networks": [{"name": "calico", "mode": "container", "labels": {"groups": "web, shop"}}],
    "containers": [
        {
            "name": "redis",
            "endpoints": [
                {"name": "db", "containerPort": 6379, "protocol": ["tcp"]},
                {"name": "gossip", "containerPort": 7946, "protocol": ["tcp", "udp"]},
            ],
        },
        {"name": "log", "endpoints": [{"name": "any", "containerPort": 0, "hostPort": 0}]},
    ],
    "scaling": {"kind": "fixed", "instances": 2},
}
RUNNING: dict[str, Any] = {
    "id": INSTANCE,
    "status": "STABLE",
    "statusSince": "2017-08-05T12:00:09.113Z",
    "agentHostname": "agent3.example.net",
    "agentId": "6f1c2c1e-S3",
    "networks": [{"name": "calico", "addresses": ["192.168.40.20"]}],
    "containers": [
        {
            "name": "redis",
            "status": "TASK_RUNNING",
            "containerId": f"{INSTANCE}.redis",
            "endpoints": [{"name": "db"}, {"name": "gossip"}],
        },
        {
            "name": "log",
            "status": "TASK_RUNNING",
            "endpoints": [{"name": "any", "allocatedHostPort": 31007}],
        },
    ],
    "specReference": "/v2/pods/shop/cache::versions/2017-08-05T12:00:01.250Z",
}


def parsed(spec: dict[str, Any] = SPEC, *instances: dict[str, Any]) -> App:
    body = {"id": spec["id"], "spec": spec, "status": "STABLE", "instances": list(instances)}
    return parse_pod(json.dumps(body).encode())


def changed(value: dict[str, Any], **changes: object) -> dict[str, Any]:
    return deepcopy(value) | changes


def test_a_pod_is_read_whole() -> None:
    pod = parsed(SPEC, RUNNING)
    assert pod.pod
    assert (pod.id, pod.instances, pod.label("team")) == ("/shop/cache", 2, "shop")
    assert pod.version == pod.config_version == "2017-08-05T12:00:01.250Z"
    assert pod.networks == (
        AppNetwork(
            mode=NetworkMode.CONTAINER,
            name="calico",
            groups=("web", "shop"),
            labels=(("groups", "web, shop"),),
            ports=(
                PortOpening(6379, "tcp", "db"),
                PortOpening(7946, "tcp", "gossip"),
                PortOpening(7946, "udp", "gossip"),
                PortOpening(0, "tcp", "any", task_port_index=2),
            ),
            form=NetworkForm.NETWORKS,
        ),
    )


def test_all_containers_of_an_instance_are_one_task_with_one_address() -> None:
    (task,) = parsed(SPEC, RUNNING).tasks
    assert (task.id, task.app_id, task.host) == (INSTANCE, "/shop/cache", "agent3.example.net")
    assert task.state is TaskState.RUNNING
    assert task.addresses == (netaddr.IPAddress("192.168.40.20"),)
    assert task.version == "2017-08-05T12:00:01.250Z"
    assert task.agent_id == "6f1c2c1e-S3"


def test_a_port_that_marathon_chose_is_found_by_container_and_name() -> None:
    (task,) = parsed(SPEC, RUNNING).tasks
    assert task.ports[2] == 31007


def test_an_instance_of_an_older_definition_names_its_own() -> None:
    old = changed(RUNNING, specReference="/v2/pods/shop/cache::versions/2016-01-01T00:00:00.000Z")
    (task,) = parsed(SPEC, old).tasks
    assert task.version == "2016-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("containers", "task_id"),
    [
        pytest.param([f"{INSTANCE}.redis", f"{INSTANCE}.log"], INSTANCE, id="the first, or 1.4"),
        pytest.param([f"{INSTANCE}.redis.1"], INSTANCE, id="the first, numbered"),
        pytest.param([f"{INSTANCE}.redis.2", f"{INSTANCE}.log.2"], f"{INSTANCE}.2", id="second"),
        pytest.param([None, f"{INSTANCE}.redis.12"], f"{INSTANCE}.12", id="one is not told"),
        pytest.param([], INSTANCE, id="none is told"),
        pytest.param([f"{INSTANCE}.7"], INSTANCE, id="a container whose name is a number"),
    ],
)
def test_containers_that_were_started_anew_are_another_task(
    containers: list[str | None], task_id: str
) -> None:
    told = [{"status": "TASK_RUNNING", "containerId": each} for each in containers]
    (task,) = parsed(SPEC, changed(RUNNING, containers=told)).tasks
    assert task.id == task_id


@pytest.mark.parametrize("reference", [None, "", "/v2/pods/shop/cache"])
def test_an_instance_that_names_no_definition_is_of_the_present_one(reference: str | None) -> None:
    (task,) = parsed(SPEC, changed(RUNNING, specReference=reference)).tasks
    assert task.version is None


@pytest.mark.parametrize(
    ("status", "containers", "state"),
    [
        pytest.param("PENDING", [], TaskState.STAGING, id="pending"),
        pytest.param("STAGING", ["TASK_STAGING"], TaskState.STAGING, id="staging"),
        pytest.param(
            "STAGING", ["TASK_RUNNING", "TASK_STARTING"], TaskState.RUNNING, id="partly running"
        ),
        pytest.param("STABLE", ["TASK_RUNNING"], TaskState.RUNNING, id="stable"),
        pytest.param("STABLE", [], TaskState.RUNNING, id="stable, no container told"),
        pytest.param("DEGRADED", ["TASK_RUNNING"], TaskState.RUNNING, id="unhealthy"),
        pytest.param("DEGRADED", ["TASK_UNREACHABLE"], TaskState.UNREACHABLE, id="unreachable"),
        pytest.param("DEGRADED", [], TaskState.UNKNOWN, id="degraded, no container told"),
        pytest.param("TERMINAL", ["TASK_KILLING"], TaskState.KILLING, id="being killed"),
        pytest.param(
            "TERMINAL", ["TASK_FAILED", "TASK_RUNNING"], TaskState.KILLING, id="one still runs"
        ),
        pytest.param("TERMINAL", ["TASK_FINISHED"], TaskState.FINISHED, id="ended"),
        pytest.param("TERMINAL", [], TaskState.FINISHED, id="ended, no container told"),
        pytest.param("stable", ["TASK_RUNNING"], TaskState.RUNNING, id="in lower case"),
        pytest.param("ASLEEP", [], TaskState.UNKNOWN, id="a status of the future"),
        pytest.param(None, [], TaskState.UNKNOWN, id="no status"),
    ],
)
def test_an_instance_is_as_far_as_its_containers(
    status: str | None, containers: list[str], state: TaskState
) -> None:
    told = [{"name": f"c{number}", "status": each} for number, each in enumerate(containers)]
    (task,) = parsed(SPEC, changed(RUNNING, status=status, containers=told)).tasks
    assert task.state is state


@pytest.mark.parametrize(
    ("networks", "addresses"),
    [
        pytest.param(None, [], id="not told yet"),
        pytest.param([], [], id="none"),
        pytest.param([{"name": "calico"}], [], id="a network without any"),
        pytest.param([{"addresses": ["10.0.0.1"]}], ["10.0.0.1"], id="a network without a name"),
        pytest.param(
            [{"name": "a", "addresses": ["10.0.0.1"]}, {"name": "b", "addresses": ["fd00::7/64"]}],
            ["10.0.0.1", "fd00::7"],
            id="two networks, a prefix length left on",
        ),
        pytest.param(
            [{"addresses": ["10.0.0.1", "10.0.0.1", None]}], ["10.0.0.1"], id="told by each task"
        ),
    ],
)
def test_addresses_are_those_of_the_instance(networks: object, addresses: list[str]) -> None:
    (task,) = parsed(SPEC, changed(RUNNING, networks=networks)).tasks
    assert list(map(str, task.addresses)) == addresses


@pytest.mark.parametrize(
    ("networks", "modes"),
    [
        pytest.param([{"mode": "host"}], [], id="the host's network"),
        pytest.param(None, [], id="none told"),
        pytest.param([{"name": "n"}], [NetworkMode.CONTAINER], id="container unless told"),
        pytest.param([{"mode": "container/bridge"}], [NetworkMode.BRIDGE], id="bridge"),
        pytest.param(
            [{"name": "a"}, {"name": "b", "mode": "container"}],
            [NetworkMode.CONTAINER, NetworkMode.CONTAINER],
            id="two",
        ),
    ],
)
def test_the_network_s_mode(networks: object, modes: list[NetworkMode]) -> None:
    assert [each.mode for each in parsed(changed(SPEC, networks=networks)).networks] == modes


@pytest.mark.parametrize(
    ("endpoint", "ports"),
    [
        pytest.param({"containerPort": 80}, [(80, "tcp")], id="tcp unless told"),
        pytest.param({"containerPort": 80, "protocol": []}, [], id="no protocol"),
        pytest.param({"containerPort": 80, "protocol": ["udp"]}, [(80, "udp")], id="udp"),
        pytest.param(
            {"containerPort": 80, "protocol": ["TCP", "udp", "tcp"]},
            [(80, "tcp"), (80, "udp")],
            id="a list with a repetition",
        ),
        pytest.param(
            {"containerPort": 80, "protocol": "udp,tcp"},
            [(80, "udp"), (80, "tcp")],
            id="a text, as apps have it",
        ),
        pytest.param(
            {"containerPort": 80, "networkNames": ["calico"]}, [(80, "tcp")], id="on this network"
        ),
        pytest.param({"containerPort": 80, "networkNames": ["other"]}, [], id="on another network"),
        pytest.param({"containerPort": 70000}, [(70000, "tcp")], id="no port, for others to say"),
    ],
)
def test_ports_are_those_of_the_endpoints(
    endpoint: dict[str, Any], ports: list[tuple[int, str]]
) -> None:
    pod = parsed(changed(SPEC, containers=[{"name": "c", "endpoints": [endpoint]}]))
    assert [(port.number, port.protocol) for port in pod.networks[0].ports] == ports


def test_a_definition_of_a_version_has_no_instances() -> None:
    pod = parse_pod_version(json.dumps(SPEC).encode())
    assert pod.tasks == ()
    assert pod.networks == parsed().networks


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"instances": None}, "says nothing of the pod's instances", id="instances"),
        pytest.param({"spec": None}, "malformed", id="no spec"),
        pytest.param({"spec": {"id": ""}}, "malformed|no id", id="no id"),
        pytest.param({"instances": [{"id": ""}]}, "an instance has no id", id="instance id"),
        pytest.param(
            {"instances": [changed(RUNNING, networks=[{"addresses": ["x"]}])]},
            "malformed address",
            id="address",
        ),
        pytest.param(
            {"spec": changed(SPEC, networks=[{"mode": "warp"}])}, "mode 'warp'", id="mode"
        ),
    ],
)
def test_one_that_makes_no_sense_is_a_problem_and_spoils_no_other(
    change: dict[str, Any], reason: str
) -> None:
    whole = {"id": "/shop/cache", "spec": SPEC, "instances": [RUNNING]}
    broken = deepcopy(whole) | {"id": "/broken"} | change
    if change.get("spec") == {"id": ""}:
        broken["id"] = ""
    with pytest.raises(InvalidApp, match=reason):
        parse_pod(json.dumps(broken).encode())
    pods, problems = parse_pods(json.dumps([broken, whole]).encode())
    assert [pod.id for pod in pods] == ["/shop/cache"]
    assert [problem.app_id for problem in problems] == [broken["id"] or None]


@pytest.mark.parametrize(
    ("container_ids", "task_id"),
    [
        pytest.param([f"{INSTANCE}.redis", f"{INSTANCE}.log"], INSTANCE, id="before 1.8"),
        pytest.param([f"{INSTANCE}.redis.1", f"{INSTANCE}.log.1"], INSTANCE, id="the first"),
        pytest.param([f"{INSTANCE}.redis.2", f"{INSTANCE}.log.2"], f"{INSTANCE}.2", id="again"),
        pytest.param([None, f"{INSTANCE}.log.12"], f"{INSTANCE}.12", id="one not told yet"),
        pytest.param([None, None], INSTANCE, id="none told yet"),
        pytest.param([f"{INSTANCE}.7", "else"], INSTANCE, id="a name that is a number"),
    ],
)
def test_an_instance_that_was_started_again_is_another_task(
    container_ids: list[str | None], task_id: str
) -> None:
    instance = deepcopy(RUNNING)
    for container, container_id in zip(instance["containers"], container_ids, strict=True):
        container["containerId"] = container_id
    body = json.dumps({"id": "/shop/cache", "spec": SPEC, "instances": [instance]})
    (task,) = parse_pod(body.encode()).tasks
    assert task.id == task_id
