"""Pods over HTTP: definitions, instances, status, and what streams tell of them."""

import re
from pathlib import Path

import pytest

from demo.marathon import Era
from demo.mesos.records import Isolation, Json, TaskId, TaskState
from tests.contract.era_world import ERAS, Marathon, marathon_of
from tests.contract.stand_in_world import RawStream

WITH_PODS = [era for era in ERAS if era.has_instances]
ADDRESS = "192.168.40.20"
every_pod_era = pytest.mark.parametrize("era", WITH_PODS, ids=str)


def pod(pod_id: str = "/shop/cache", **fields: object) -> Json:
    """A pod of two containers on one network."""
    return {
        "id": pod_id,
        "networks": [{"name": "calico", "mode": "container", "labels": {"groups": "shop"}}],
        "labels": {"team": "x"},
        "containers": [
            container("redis", endpoints=[{"name": "redis", "containerPort": 6379}]),
            container("sidecar", endpoints=[{"name": "admin", "containerPort": 0, "hostPort": 0}]),
        ],
        **fields,
    }


def container(name: str, **fields: object) -> Json:
    """One container that sleeps."""
    return {
        "name": name,
        "exec": {"command": {"shell": "sleep 1000"}},
        "resources": {"cpus": 0.1, "mem": 32},
        **fields,
    }


def create(marathon: Marathon, body: Json) -> Json:
    """Create a pod and wait until it is deployed; its status."""
    with RawStream(marathon.url) as stream:
        marathon("POST", "/v2/pods", body, status=201)
        stream.event("deployment_success")
    status: Json = marathon("GET", f"/v2/pods{body['id']}::status")
    return status


@every_pod_era
def test_a_pod_is_created_with_defaults_and_shown_beside_apps(era: Era) -> None:
    with marathon_of(era, lambda _order: (ADDRESS,)) as marathon:
        create(marathon, pod())
        shown = marathon("GET", "/v2/pods/shop/cache")
        assert shown["scaling"] == {"kind": "fixed", "instances": 1}
        assert shown["scheduling"]["upgrade"]["minimumHealthCapacity"] == 1
        assert shown["containers"][0]["endpoints"][0]["protocol"] == ["tcp"]
        assert [each["id"] for each in marathon("GET", "/v2/pods")] == ["/shop/cache"]
        assert marathon("GET", "/v2/apps") == {"apps": []}
        assert marathon("GET", "/v2/groups/shop")["pods"][0]["id"] == "/shop/cache"
        assert marathon("GET", "/v2/tasks") == {"tasks": []}
        marathon("GET", "/v2/apps/shop/cache", status=404)


@every_pod_era
def test_all_containers_of_an_instance_share_one_address(era: Era) -> None:
    with marathon_of(era, lambda _order: (ADDRESS,)) as marathon:
        status = create(marathon, pod())
    assert status["status"] == "STABLE"
    (instance,) = status["instances"]
    assert instance["status"] == "STABLE"
    assert instance["agentHostname"] == "host-1"
    assert instance["networks"] == [{"name": "calico", "addresses": [ADDRESS]}]
    assert [(c["name"], c["status"]) for c in instance["containers"]] == [
        ("redis", "TASK_RUNNING"),
        ("sidecar", "TASK_RUNNING"),
    ]
    port = instance["containers"][1]["endpoints"][0]["allocatedHostPort"]
    assert 31000 <= port <= 32000
    assert status["spec"]["networks"][0]["labels"] == {"groups": "shop"}


@every_pod_era
def test_the_ids_of_an_instance_and_of_its_tasks(era: Era) -> None:
    with marathon_of(era) as marathon:
        (instance,) = create(marathon, pod())["instances"]
    unique = "[0-9a-f-]{36}"
    assert re.fullmatch(rf"shop_cache\.instance-{unique}", instance["id"])
    tail = ".1" if era.since(1, 8) else ""
    assert [c["containerId"] for c in instance["containers"]] == [
        f"{instance['id']}.redis{tail}",
        f"{instance['id']}.sidecar{tail}",
    ]


@every_pod_era
def test_an_instance_is_one_order_with_one_network(era: Era) -> None:
    with marathon_of(era) as marathon:
        (instance,) = create(marathon, pod())["instances"]
        (group,) = {id(g): g for g in marathon.agent.groups.values()}.values()
    unique = instance["id"].removeprefix("shop_cache.instance-")
    assert group.executor_id == f"instance-shop_cache.{unique}"
    assert group.isolation is Isolation.NAMESPACE
    (network,) = group.networks
    assert network["name"] == "calico"
    assert network["labels"]["labels"] == [{"key": "groups", "value": "shop"}]
    port = network["port_mappings"][0]["host_port"]
    first, second = (order.env for order in group.tasks)
    assert first["MARATHON_CONTAINER_ID"] == "redis"
    assert first["MESOS_EXECUTOR_ID"] == group.executor_id
    assert second["EP_CONTAINER_REDIS"] == second["ENDPOINT_REDIS"] == "6379"
    assert first["EP_HOST_ADMIN"] == first["ENDPOINT_ADMIN"] == str(port)
    assert "PORT0" not in first


@every_pod_era
def test_streams_tell_of_pods_by_their_tasks_and_instances(era: Era) -> None:
    with marathon_of(era, lambda _order: (ADDRESS,)) as marathon, RawStream(marathon.url) as stream:
        marathon("POST", "/v2/pods", pod(), status=201)
        stream.event("instance_changed_event", runSpecId="/shop/cache", condition="Running")
        told = stream.event("status_update_event", taskStatus="TASK_RUNNING")
        stream.event("deployment_success")
        marathon("PUT", "/v2/pods/shop/cache", pod(scaling={"kind": "fixed", "instances": 2}))
        stream.event("deployment_success")
        marathon("DELETE", "/v2/pods/shop/cache", status=202)
        stream.event("deployment_success")
        names = stream.names()
    assert told["appId"] == "/shop/cache"
    assert told["taskId"].startswith("shop_cache.instance-")
    assert told["ipAddresses"] == [{"ipAddress": ADDRESS, "protocol": "IPv4"}]
    assert [name for name in names if name.startswith("pod_")] == [
        "pod_created_event",
        "pod_updated_event",
        "pod_deleted_event",
    ]
    assert "app_terminated_event" not in names


@every_pod_era
def test_a_changed_pod_is_deployed_anew_and_its_versions_are_kept(era: Era) -> None:
    with marathon_of(era) as marathon:
        (old,) = create(marathon, pod())["instances"]
        with RawStream(marathon.url) as stream:
            networks = [{"name": "calico", "mode": "container", "labels": {"groups": "other"}}]
            marathon("PUT", "/v2/pods/shop/cache", pod(networks=networks))
            info = stream.event("deployment_info")
            stream.event("deployment_success")
        status = marathon("GET", "/v2/pods/shop/cache::status")
        versions = marathon("GET", "/v2/pods/shop/cache::versions")
        first = marathon("GET", f"/v2/pods/shop/cache::versions/{versions[-1]}")
    assert info["currentStep"]["actions"] == [{"action": "RestartPod", "pod": "/shop/cache"}]
    assert [each["id"] for each in status["instances"]] != [old["id"]]
    assert len(versions) == 2
    assert first["networks"][0]["labels"] == {"groups": "shop"}


@every_pod_era
def test_an_instance_is_killed_whole_and_replaced(era: Era) -> None:
    with marathon_of(era) as marathon:
        (old,) = create(marathon, pod())["instances"]
        with RawStream(marathon.url) as stream:
            path = f"/v2/pods/shop/cache::instances/{old['id']}"
            assert marathon("DELETE", path)["id"] == old["id"]
            killed = [
                stream.event("status_update_event", taskStatus="TASK_KILLED")["taskId"]
                for _ in range(2)
            ]
            stream.event("instance_changed_event", condition="Running")
        (new,) = marathon("GET", "/v2/pods/::status")[0]["instances"]
    assert sorted(killed) == sorted(c["containerId"] for c in old["containers"])
    assert new["id"] != old["id"]


def test_an_instance_whose_task_failed_is_replaced_once_all_of_it_has_ended() -> None:
    with marathon_of(Era(1, 9)) as marathon, RawStream(marathon.url) as stream:
        backoff = {"backoff": {"backoff": 0}}
        marathon("POST", "/v2/pods", pod(scheduling=backoff), status=201)
        stream.event("deployment_success")
        (old,) = marathon("GET", "/v2/pods/shop/cache::status")["instances"]
        redis, sidecar = (TaskId(c["containerId"]) for c in old["containers"])
        marathon.agent.end(redis, TaskState.FAILED, "out of memory")
        failed = stream.event("status_update_event", taskStatus="TASK_FAILED")
        (left,) = marathon("GET", "/v2/pods/shop/cache::status")["instances"]
        assert (left["id"], left["status"]) == (old["id"], "DEGRADED")
        marathon.agent.end(sidecar, TaskState.KILLED)
        stream.event("instance_changed_event", condition="Failed")
        stream.event("instance_changed_event", condition="Running")
        (new,) = marathon("GET", "/v2/pods/shop/cache::status")["instances"]
    assert (failed["taskId"], failed["message"]) == (redis, "out of memory")
    assert new["id"] != old["id"]


def test_a_deployment_waits_for_the_health_of_a_pods_containers() -> None:
    check = {"http": {"path": "/", "endpoint": "redis"}, "intervalSeconds": 1}
    checked = container(
        "redis", endpoints=[{"name": "redis", "containerPort": 6379}], healthCheck=check
    )
    with marathon_of(Era(1, 9)) as marathon, RawStream(marathon.url) as stream:
        marathon("POST", "/v2/pods", pod(containers=[checked]), status=201)
        stream.event("instance_changed_event", condition="Running")
        assert len(marathon("GET", "/v2/deployments")) == 1
        (order,) = marathon.agent.orders.values()
        assert (order.checks[0].kind, order.checks[0].port) == ("http", 6379)
        marathon.agent.feel(order.task_id, True)
        stream.event("deployment_success")
        (instance,) = marathon("GET", "/v2/pods/shop/cache::status")["instances"]
    assert instance["containers"][0]["endpoints"] == [{"name": "redis", "healthy": True}]


def test_pods_and_tasks_survive_a_restart_of_marathon(tmp_path: Path) -> None:
    state = tmp_path / "marathon.json"
    with marathon_of(Era(1, 9), state_file=state) as marathon:
        before = create(marathon, pod())["instances"]
        agent = marathon.agent
    with marathon_of(Era(1, 9), state_file=state, agent=agent) as marathon:
        after = marathon("GET", "/v2/pods/shop/cache::status")["instances"]
    assert [each["id"] for each in after] == [each["id"] for each in before]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        pytest.param({"containers": []}, "/containers", id="no container"),
        pytest.param({"containers": [container("a"), container("a")]}, "/containers", id="twice"),
        pytest.param({"containers": [container("A b")]}, "/containers(0)/name", id="name"),
        pytest.param({"networks": [{"mode": "container"}]}, "/networks(0)/name", id="network"),
        pytest.param(
            {"containers": [container("a", endpoints=[{"name": "x"}])]},
            "/containers(0)/endpoints(0)/containerPort",
            id="endpoint without port",
        ),
        pytest.param(
            {"containers": [container("a", exec={"command": {"shell": "rm -rf /"}})]},
            "/cmd",
            id="any program",
        ),
        pytest.param(
            {"containers": [container("a", healthCheck={"tcp": {"endpoint": "x"}})]},
            "/containers(0)/healthCheck/tcp/endpoint",
            id="a check of nothing",
        ),
    ],
)
def test_pods_that_cannot_be(change: Json, path: str) -> None:
    with marathon_of(Era(1, 9)) as marathon:
        reply = marathon("POST", "/v2/pods", pod(**change), status=422)
    assert reply["details"][0]["path"] == path


def test_an_app_and_a_pod_may_not_share_an_id() -> None:
    with marathon_of(Era(1, 9)) as marathon:
        create(marathon, pod())
        marathon("POST", "/v2/pods", pod(), status=409)
        marathon("POST", "/v2/apps", {"id": "/shop/cache", "cmd": "sleep 1"}, status=409)
        marathon("PUT", "/v2/apps/shop/cache", {"cmd": "sleep 1"}, status=409)
        marathon("GET", "/v2/pods/nobody", status=404)
