"""Marathon's REST API as its documents and its code have it."""

import json
import socket
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from demo.marathon import Answer, Era, FaultTable, MemoryAgent, RestFault, StandIn
from demo.mesos.records import LaunchOrder
from tests.contract.stand_in.stand_in_world import RawStream
from tests.unit.demo.apps import host_app, ip_app

UNIT = Path(__file__).parents[2] / "unit"
SOON = 5


def documented(name: str) -> Any:
    """One documented reply."""
    for folder in ("demo", "marathon_client"):
        path = UNIT / folder / "fixtures" / name
        if path.exists():
            return json.loads(path.read_text())
    raise FileNotFoundError(name)


@pytest.fixture
def agent() -> MemoryAgent:
    """The host whose tasks wait to be told."""
    return MemoryAgent()


@pytest.fixture
def marathon(agent: MemoryAgent) -> Iterator[StandIn]:
    """A Marathon with one host."""
    with StandIn(agents={"host-1": agent}) as marathon:
        yield marathon


class Api:
    """Requests that are expected to answer with JSON."""

    def __init__(self, marathon: StandIn) -> None:
        self.url = marathon.url

    def __call__(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        """The reply's body."""
        reply = requests.request(method, self.url + path, json=body, timeout=SOON)
        assert reply.status_code == status, reply.text
        return reply.json()


@pytest.fixture
def api(marathon: StandIn) -> Api:
    """The API of the Marathon under test."""
    return Api(marathon)


def started(marathon: StandIn, api: Api, *apps: dict[str, Any]) -> list[str]:
    """Create apps and wait until a task of each runs."""
    with RawStream(marathon.url) as stream:
        ids = []
        for app in apps:
            api("POST", "/v2/apps", app, status=201)
            ids.append(stream.event("status_update_event", taskStatus="TASK_RUNNING")["taskId"])
            stream.event("deployment_success")
        return ids


def test_a_created_app_is_answered_with_empty_counts(api: Api, marathon: StandIn) -> None:
    reply = requests.post(f"{marathon.url}/v2/apps", json=ip_app(), timeout=SOON)
    app = reply.json()
    assert reply.status_code == 201
    assert reply.headers["Location"].endswith("/shop/web")
    assert app["id"] == "/shop/web"
    assert app["tasks"] == []
    assert (app["tasksStaged"], app["tasksRunning"]) == (0, 0)
    assert app["deployments"] == [{"id": reply.headers["Marathon-Deployment-Id"]}]
    assert "versionInfo" not in app


def test_replies_name_the_leader_and_carry_the_eras_media_type(marathon: StandIn) -> None:
    reply = requests.get(f"{marathon.url}/v2/apps", timeout=SOON)
    assert reply.headers["X-Marathon-Leader"] == marathon.url
    assert reply.headers["Content-Type"] == "application/json; qs=2"


def test_tasks_look_as_documented(marathon: StandIn, api: Api) -> None:
    started(marathon, api, host_app())
    newer_only = {"region", "zone", "role"}
    for name in ("tasks-1.9.json", "tasks-0.14.json"):
        wanted = documented(name)["tasks"][0]
        (task,) = api("GET", "/v2/tasks")["tasks"]
        assert set(wanted) - newer_only <= set(task)
        same = set(wanted) - newer_only
        assert {k: type(wanted[k]) for k in same} == {k: type(task[k]) for k in same}


def test_apps_with_tasks_embedded_look_as_documented(marathon: StandIn, api: Api) -> None:
    started(marathon, api, host_app())
    (app,) = api("GET", "/v2/apps?embed=apps.tasks")["apps"]
    wanted = documented("apps-embed-tasks-1.x.json")["apps"][1]
    assert set(wanted) <= set(app)
    assert set(wanted["tasks"][0]) - {"healthCheckResults"} <= set(app["tasks"][0])
    assert set(wanted["versionInfo"]) == set(app["versionInfo"])
    assert (app["tasksStaged"], app["tasksRunning"]) == (0, 1)


def test_tasks_are_embedded_only_when_asked_for(marathon: StandIn, api: Api) -> None:
    started(marathon, api, ip_app())
    (plain,) = api("GET", "/v2/apps")["apps"]
    assert "tasks" not in plain
    assert plain["tasksRunning"] == 1
    assert len(api("GET", "/v2/apps/shop/web")["app"]["tasks"]) == 1


def test_deployments_groups_and_info_look_as_documented(
    marathon: StandIn, api: Api, agent: MemoryAgent
) -> None:
    agent.refuse(1000)
    result = api("PUT", "/v2/apps/shop/web", ip_app(), status=201)
    assert set(result) == set(documented("deployments-result-1.9.json"))
    (deployment,) = api("GET", "/v2/deployments")
    wanted = documented("deployments-1.9.json")[0]
    assert set(deployment) == set(wanted)
    assert set(deployment["steps"][0]["actions"][0]) == {"action", "app"}
    group = api("GET", "/v2/groups/shop")
    assert {"id", "apps", "groups", "dependencies", "version"} <= set(group)
    assert {"id", "apps", "groups", "version"} <= set(documented("group-1.9.json"))
    info = api("GET", "/v2/info")
    assert set(documented("info-1.9.json")) - {"buildref"} <= set(info)
    assert info["leader"] == api("GET", "/v2/leader")["leader"]


def test_an_app_that_cannot_start_waits_in_the_queue(
    marathon: StandIn, api: Api, agent: MemoryAgent
) -> None:
    agent.refuse(1)
    with RawStream(marathon.url) as stream:
        api("POST", "/v2/apps", ip_app(backoffSeconds=60), status=201)
        failed = stream.event("status_update_event", taskStatus="TASK_FAILED")
    assert failed["message"] == "Failed to launch container: refused, as told"
    (row,) = api("GET", "/v2/queue")["queue"]
    wanted = documented("queue-1.9.json")["queue"][0]
    assert {"app", "count", "delay"} <= set(wanted)
    assert row["count"] == 1
    assert row["delay"] == {"timeLeftSeconds": 59, "overdue": False}
    assert api("GET", "/v2/apps/shop/web")["app"]["lastTaskFailure"]["state"] == "TASK_FAILED"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "answer"),
    [
        pytest.param(
            "GET", "/v2/apps/x", None, 404, {"message": "App '/x' does not exist"}, id="app"
        ),
        pytest.param(
            "GET", "/v2/groups/x", None, 404, {"message": "Group '/x' does not exist"}, id="group"
        ),
        pytest.param(
            "DELETE",
            "/v2/apps/there/tasks/there.1",
            None,
            404,
            {"message": "Task 'there.1' does not exist"},
            id="task",
        ),
        pytest.param(
            "POST",
            "/v2/apps",
            {"id": "/there", "cmd": "sleep 1"},
            409,
            {"message": "An app with id [/there] already exists."},
            id="app twice",
        ),
        pytest.param(
            "POST",
            "/v2/apps",
            {"id": 5},
            400,
            {
                "message": "Invalid JSON",
                "details": [{"path": "/id", "errors": ["error.expected.jsstring"]}],
            },
            id="wrong type",
        ),
    ],
)
def test_errors_have_marathons_words(
    marathon: StandIn,
    api: Api,
    method: str,
    path: str,
    body: object,
    status: int,
    answer: object,
) -> None:
    started(marathon, api, host_app("/there"))
    assert api(method, path, body, status=status) == answer


def test_a_body_that_is_no_json_is_answered_as_such(marathon: StandIn) -> None:
    headers = {"Content-Type": "application/json"}
    reply = requests.post(f"{marathon.url}/v2/apps", "{", headers=headers, timeout=SOON)
    assert reply.status_code == 400
    assert reply.json()["message"] == "Invalid JSON"


def test_an_app_that_cannot_be_is_refused_with_path_and_reason(api: Api) -> None:
    reply = api("POST", "/v2/apps", ip_app(cmd="rm -rf /"), status=422)
    assert reply["message"] == "Object is not valid"
    assert reply["details"][0]["path"] == "/cmd"


def test_a_second_change_during_a_deployment_is_refused_unless_forced(
    api: Api, agent: MemoryAgent
) -> None:
    agent.refuse(1000)
    first = api("PUT", "/v2/apps/a", ip_app("/a"), status=201)
    reply = api("PUT", "/v2/apps/a", {"labels": {"x": "y"}}, status=409)
    assert reply["deployments"] == [{"id": first["deploymentId"]}]
    api("PUT", "/v2/apps/a?force=true", {"labels": {"x": "y"}})


def test_a_rolling_change_ends_with_the_new_task_and_both_versions(
    marathon: StandIn, api: Api
) -> None:
    (old,) = started(marathon, api, ip_app())
    before = api("GET", "/v2/apps/shop/web")["app"]
    with RawStream(marathon.url) as stream:
        api("PUT", "/v2/apps/shop/web", {"ipAddress": {"groups": ["other"]}})
        new = stream.event("status_update_event", taskStatus="TASK_RUNNING")["taskId"]
        stream.event("status_update_event", taskStatus="TASK_KILLED", taskId=old)
        stream.event("deployment_success")
    assert new != old
    after = api("GET", "/v2/apps/shop/web")["app"]
    assert [task["id"] for task in after["tasks"]] == [new]
    assert after["ipAddress"]["groups"] == ["other"]
    versions = api("GET", "/v2/apps/shop/web/versions")["versions"]
    assert versions == [after["version"], before["version"]]
    stored = api("GET", f"/v2/apps/shop/web/versions/{before['version']}")
    assert stored["ipAddress"]["groups"] == ["web"]
    assert "tasks" not in stored


def test_while_the_new_task_only_stages_the_old_one_is_not_killed() -> None:
    agent = MemoryAgent(starts=False)
    with StandIn(agents={"host-1": agent}) as marathon, RawStream(marathon.url) as stream:
        api = Api(marathon)
        api("POST", "/v2/apps", ip_app(), status=201)
        old = stream.event("status_update_event", taskStatus="TASK_STAGING")["taskId"]
        until_ordered(agent, old)
        agent.run(old)
        stream.event("deployment_success")
        api("PUT", "/v2/apps/shop/web", {"ipAddress": {"groups": ["other"]}})
        new = stream.event("status_update_event", taskStatus="TASK_STAGING")["taskId"]
        until_ordered(agent, new)
        states = {t["id"]: t["state"] for t in api("GET", "/v2/tasks")["tasks"]}
        assert states == {old: "TASK_RUNNING", new: "TASK_STAGING"}
        assert set(agent.alive()) == {old, new}
        agent.run(new)
        stream.event("status_update_event", taskStatus="TASK_KILLED", taskId=old)


def until_ordered(agent: MemoryAgent, task_id: str) -> None:
    """Wait until the agent has the task."""
    after = -1
    while all(record.task_id != task_id for record in agent.tasks(-1, 0).tasks):
        after = agent.tasks(after, SOON).revision


def test_a_scale_changes_the_version_but_not_the_configurations_time(
    marathon: StandIn, api: Api
) -> None:
    (first,) = started(marathon, api, ip_app())
    before = api("GET", "/v2/apps/shop/web")["app"]
    with RawStream(marathon.url) as stream:
        api("PUT", "/v2/apps/shop/web", {"instances": 2})
        stream.event("deployment_success")
    after = api("GET", "/v2/apps/shop/web")["app"]
    assert after["version"] > before["version"]
    assert after["versionInfo"]["lastScalingAt"] == after["version"]
    assert after["versionInfo"]["lastConfigChangeAt"] == before["version"]
    assert first in {task["id"] for task in after["tasks"]}


def test_a_group_is_put_with_relative_ids_and_replaced_as_a_whole(
    marathon: StandIn, api: Api, agent: MemoryAgent
) -> None:
    with RawStream(marathon.url) as stream:
        body = {"id": "/star-iso", "apps": [ip_app("probe-a"), ip_app("probe-b")]}
        api("PUT", "/v2/groups/star-iso", body)
        stream.event("deployment_success")
        assert stream.names().count("api_post_event") == 0
        ids = [app["id"] for app in api("GET", "/v2/groups/star-iso")["apps"]]
        assert ids == ["/star-iso/probe-a", "/star-iso/probe-b"]
        api("PUT", "/v2/groups/star-iso", {"apps": [ip_app("probe-a")]})
        stream.event("app_terminated_event", appId="/star-iso/probe-b")
        stream.event("deployment_success")
        assert len(agent.alive()) == 1
        api("DELETE", "/v2/groups/star-iso")
        stream.event("app_terminated_event", appId="/star-iso/probe-a")
        stream.event("deployment_success")
    assert agent.alive() == ()
    api("GET", "/v2/groups/star-iso", status=404)
    assert api("GET", "/v2/groups")["apps"] == []


def test_a_dry_run_shows_the_steps_and_does_nothing(api: Api) -> None:
    body = {"apps": [ip_app("a")]}
    steps = api("PUT", "/v2/groups/g?dryRun=true", body)["steps"]
    assert [step["actions"][0]["action"] for step in steps] == [
        "StartApplication",
        "ScaleApplication",
    ]
    assert api("GET", "/v2/apps")["apps"] == []


def test_tasks_of_an_app_can_be_killed_one_all_or_by_id(marathon: StandIn, api: Api) -> None:
    (first,) = started(marathon, api, ip_app())
    with RawStream(marathon.url) as stream:
        killed = api("DELETE", f"/v2/apps/shop/web/tasks/{first}")["task"]["id"]
        assert killed == first
        stream.event("status_update_event", taskStatus="TASK_KILLED", taskId=first)
        second = api("GET", "/v2/apps/shop/web/tasks")["tasks"][0]["id"]
        api("POST", "/v2/tasks/delete", {"ids": [second]})
        stream.event("status_update_event", taskStatus="TASK_KILLED", taskId=second)
        api("DELETE", "/v2/apps/shop/web/tasks?scale=true")
        stream.event("deployment_success")
    app = api("GET", "/v2/apps/shop/web")["app"]
    assert (app["instances"], app["tasks"]) == (0, [])


def test_lists_are_narrowed_by_id_label_and_subtree(api: Api) -> None:
    api("POST", "/v2/apps", ip_app("/shop/web", labels={"tier": "front"}), status=201)
    api("POST", "/v2/apps", ip_app("/shop/db", labels={"tier": "back"}), status=201)
    api("POST", "/v2/apps", ip_app("/other"), status=201)

    def ids(query: str) -> list[str]:
        return [app["id"] for app in api("GET", f"/v2/apps{query}")["apps"]]

    assert ids("?id=shop") == ["/shop/db", "/shop/web"]
    assert ids("?label=tier==front") == ["/shop/web"]
    assert ids("?cmd=nothing") == []
    assert [app["id"] for app in api("GET", "/v2/apps/shop/*")["*"]] == ["/shop/db", "/shop/web"]
    api("GET", "/v2/apps//shop/web")


def test_addresses_are_missing_until_mesos_names_one() -> None:
    def address_of(order: LaunchOrder) -> tuple[str, ...]:
        return ("192.168.40.17", "fd00::7") if order.task_id.startswith("named.") else ()

    agent = MemoryAgent(address_of=address_of)
    with StandIn(agents={"host-1": agent}) as marathon:
        api = Api(marathon)
        started(marathon, api, ip_app("/unnamed"), ip_app("/named"), host_app("/plain"))
        tasks = {t["appId"]: t for t in api("GET", "/v2/tasks")["tasks"]}
    assert "ipAddresses" not in tasks["/unnamed"]
    assert tasks["/named"]["ipAddresses"] == [
        {"ipAddress": "192.168.40.17", "protocol": "IPv4"},
        {"ipAddress": "fd00::7", "protocol": "IPv6"},
    ]
    # On the host's network Mesos reports the agent's own address.
    assert tasks["/plain"]["ipAddresses"][0]["ipAddress"] == "127.0.0.1"
    assert len(tasks["/plain"]["ports"]) == 1


def test_a_newer_marathon_answers_in_its_own_form(agent: MemoryAgent) -> None:
    with StandIn(agents={"host-1": agent}, era=Era(1, 5)) as marathon:
        api = Api(marathon)
        address = {"networkName": "calico", "groups": ["web"], "labels": {"groups": "web"}}
        api("POST", "/v2/apps", ip_app(ipAddress=address), status=201)
        app = api("GET", "/v2/apps/shop/web")["app"]
        reply = requests.get(f"{marathon.url}/v2/apps", timeout=SOON)
    assert "ipAddress" not in app
    assert app["networks"] == [{"mode": "container", "name": "calico", "labels": {"groups": "web"}}]
    assert reply.headers["Content-Type"] == "application/json"


def test_a_restart_keeps_apps_tasks_and_the_framework(tmp_path: Path, agent: MemoryAgent) -> None:
    file = tmp_path / "marathon.json"
    with StandIn(agents={"host-1": agent}, state_file=file) as first:
        api = Api(first)
        (task_id,) = started(first, api, ip_app())
        framework = api("GET", "/v2/info")["frameworkId"]
        app = api("GET", "/v2/apps/shop/web")["app"]
    with StandIn(agents={"host-1": agent}, state_file=file) as second:
        api = Api(second)
        assert api("GET", "/v2/info")["frameworkId"] == framework
        assert api("GET", "/v2/apps/shop/web")["app"] == app
        with RawStream(second.url) as stream:
            api("DELETE", "/v2/apps/shop/web")
            stream.event("status_update_event", taskStatus="TASK_KILLED", taskId=task_id)


def test_a_task_that_ended_while_marathon_was_away_is_replaced(
    tmp_path: Path, agent: MemoryAgent
) -> None:
    file = tmp_path / "marathon.json"
    with StandIn(agents={"host-1": agent}, state_file=file) as first:
        (task_id,) = started(first, Api(first), ip_app(backoffSeconds=0))
    agent.forget(agent.alive()[0])
    with StandIn(agents={"host-1": agent}, state_file=file) as second:
        until_replaced(agent, task_id)
        assert len(Api(second)("GET", "/v2/tasks")["tasks"]) == 1


def until_replaced(agent: MemoryAgent, task_id: str) -> None:
    """Wait until another task runs."""
    after = -1
    while not [alive for alive in agent.alive() if alive != task_id]:
        after = agent.tasks(after, SOON).revision


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Host": "evil.example"}, 403, id="a name that DNS may rebind"),
        pytest.param({"Host": "localhost:1"}, 201, id="localhost"),
        pytest.param({"Origin": "http://evil.example"}, 403, id="a page from elsewhere"),
        pytest.param({"Content-Type": "text/plain"}, 415, id="what a form can send"),
    ],
)
def test_web_pages_of_elsewhere_cannot_use_the_api(
    marathon: StandIn, headers: dict[str, str], status: int
) -> None:
    sent = {"Content-Type": "application/json", **headers}
    body = json.dumps(ip_app())
    reply = requests.post(f"{marathon.url}/v2/apps", body, headers=sent, timeout=SOON)
    assert reply.status_code == status


@pytest.mark.parametrize(
    ("fault", "status", "content"),
    [
        pytest.param(RestFault(Answer.STATUS), 503, "<html>", id="no leader"),
        pytest.param(RestFault(Answer.STATUS, status=401), 401, "<html>", id="no credentials"),
        pytest.param(RestFault(Answer.HTML), 200, "<html>", id="a proxy's page"),
        pytest.param(RestFault(Answer.EMPTY), 200, '{"apps":[]}', id="an empty list"),
    ],
)
def test_rest_faults_answer_once_as_told(
    marathon: StandIn, api: Api, fault: RestFault, status: int, content: str
) -> None:
    started(marathon, api, ip_app())
    once = RestFault(fault.answer, status=fault.status, times=1)
    marathon.faults.set(FaultTable(rest=(once,)))
    reply = requests.get(f"{marathon.url}/v2/apps", timeout=SOON)
    assert (reply.status_code, reply.text[: len(content)]) == (status, content)
    assert len(api("GET", "/v2/apps")["apps"]) == 1


def test_a_truncated_answer_ends_before_its_length(marathon: StandIn) -> None:
    marathon.faults.set(FaultTable(rest=(RestFault(Answer.TRUNCATED),)))
    host = urllib.parse.urlsplit(marathon.url).netloc
    with socket.create_connection(
        ("127.0.0.1", int(host.partition(":")[2])), timeout=SOON
    ) as connection:
        connection.sendall(f"GET /v2/info HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, content = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert 0 < len(content) < length


def test_a_request_that_hangs_goes_on_when_the_fault_is_taken_back(marathon: StandIn) -> None:
    marathon.faults.set(FaultTable(rest=(RestFault(Answer.HANG),)))
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{marathon.url}/v2/apps", timeout=0.2)
    marathon.faults.set(FaultTable())
    assert requests.get(f"{marathon.url}/v2/apps", timeout=SOON).ok


def test_faults_are_set_over_http_too(marathon: StandIn) -> None:
    url = f"{marathon.url}/stand-in/faults"
    table = {"rest": [{"answer": "status", "status": 502}]}
    assert requests.post(url, json=table, timeout=SOON).ok
    assert requests.get(f"{marathon.url}/v2/apps", timeout=SOON).status_code == 502
    assert requests.post(url, json={"rest": [{"answer": "?"}]}, timeout=SOON).status_code == 400
    assert requests.delete(url, timeout=SOON).ok
    assert requests.get(f"{marathon.url}/v2/apps", timeout=SOON).ok


@pytest.mark.parametrize(
    ("path", "status"),
    [("/ping", 200), ("/v2/nothing", 404), ("/metrics", 200)],
)
def test_small_paths(marathon: StandIn, path: str, status: int) -> None:
    assert requests.get(marathon.url + path, timeout=SOON).status_code == status


def test_a_method_that_a_path_does_not_know_is_answered_in_html(marathon: StandIn) -> None:
    reply = requests.put(f"{marathon.url}/v2/deployments", json={}, timeout=SOON)
    assert reply.status_code == 405
    assert reply.headers["Content-Type"].startswith("text/html")


def test_two_apps_that_need_the_same_port_of_a_host_run_one_after_the_other(
    marathon: StandIn, api: Api
) -> None:
    first, second = (
        host_app(name, portDefinitions=[{"port": 9000}], requirePorts=True)
        for name in ("/first", "/second")
    )
    with RawStream(marathon.url) as stream:
        api("POST", "/v2/apps", first, status=201)
        stream.event("status_update_event", appId="/first", taskStatus="TASK_RUNNING")
        api("POST", "/v2/apps", second, status=201)
        (row,) = api("GET", "/v2/queue?embed=lastUnusedOffers")["queue"]
        assert (row["app"]["id"], row["count"]) == ("/second", 1)
        summary = row["processedOffersSummary"]
        declined = {each["reason"]: each["declined"] for each in summary["rejectSummaryLastOffers"]}
        assert declined.pop("InsufficientPorts") == 1
        assert not any(declined.values())
        assert row["lastUnusedOffers"][0]["offer"]["hostname"] == "host-1"
        wanted = documented("queue-1.9.json")["queue"][1]
        assert set(row) <= set(wanted)
        assert set(wanted["processedOffersSummary"]) - set(summary) == {"lastUsedOfferAt"}

        api("DELETE", "/v2/apps/first")
        running = stream.event("status_update_event", appId="/second", taskStatus="TASK_RUNNING")
        assert running["ports"] == [9000]
    assert api("GET", "/v2/queue") == {"queue": []}
