"""Health checks: done by Marathon or by executors, and what follows from them."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from demo.marathon import Era, MemoryAgent
from demo.mesos.records import Json, TaskId
from tests.contract.stand_in.era_world import ERAS, Marathon, app_of, marathon_of
from tests.contract.stand_in.stand_in_world import RawStream
from tests.unit.demo.apps import host_app

every_era = pytest.mark.parametrize("era", ERAS, ids=str)
HTTP: Json = {"protocol": "HTTP", "path": "/health", "intervalSeconds": 0.05, "timeoutSeconds": 2}


class Patient:
    """A real HTTP server that a task is said to be."""

    def __init__(self) -> None:
        self.status = 200
        self.paths: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.paths.append(self.path)
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]

    def start(self) -> None:
        """Answer from now on."""
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def patient() -> Iterator[Patient]:
    """A task's server, which is well."""
    patient = Patient()
    patient.start()
    yield patient
    patient.stop()


def on_loopback(_order: object) -> tuple[str, ...]:
    return ("127.0.0.1",)


def checked(era: Era, port: int, **check: object) -> Json:
    """An app whose tasks are checked on that port, over HTTP unless said otherwise."""
    return app_of(era, healthChecks=[{**HTTP, "port": port, **check}])


def the_app(marathon: Marathon) -> Json:
    """The one app with its task."""
    app: Json = marathon("GET", "/v2/apps/shop/web")["app"]
    return app


@every_era
def test_a_deployment_waits_until_the_task_is_well(era: Era, patient: Patient) -> None:
    patient.status = 503
    with marathon_of(era, on_loopback) as marathon, RawStream(marathon.url) as stream:
        marathon("POST", "/v2/apps", checked(era, patient.port), status=201)
        stream.event("add_health_check_event")
        stream.event("status_update_event", taskStatus="TASK_RUNNING")
        while len(patient.paths) < 3:
            marathon("GET", "/v2/info")
        assert len(marathon("GET", "/v2/deployments")) == 1
        patient.status = 200
        changed = stream.event("health_status_changed_event", alive=True)
        stream.event("deployment_success")
        app = the_app(marathon)
    assert ("instanceId" in changed) is era.has_instances
    assert ("taskId" in changed) is (not era.has_instances)
    assert set(patient.paths) == {"/health"}
    assert (app["tasksHealthy"], app["tasksUnhealthy"]) == (1, 0)
    (result,) = app["tasks"][0]["healthCheckResults"]
    assert (result["alive"], result["consecutiveFailures"]) == (True, 0)
    assert result["firstSuccess"] is not None
    assert ("instanceId" in result) is era.has_instances
    # 0.15 tells no address over REST, and yet its checks know it.
    assert ("instance_health_changed_event" in stream.names()) is era.has_instances


@every_era
def test_a_task_that_fails_too_often_in_a_row_is_ended_and_replaced(
    era: Era, patient: Patient
) -> None:
    app = checked(era, patient.port, maxConsecutiveFailures=2, gracePeriodSeconds=0)
    with marathon_of(era, on_loopback) as marathon, RawStream(marathon.url) as stream:
        marathon("POST", "/v2/apps", app, status=201)
        stream.event("deployment_success")
        (old,) = (task["id"] for task in the_app(marathon)["tasks"])
        patient.status = 500
        failed = stream.event("failed_health_check_event", appId="/shop/web")
        stream.event("status_update_event", taskStatus="TASK_KILLED", taskId=old)
        patient.status = 200
        new = stream.event("status_update_event", taskStatus="TASK_RUNNING")["taskId"]
        names = stream.names()
    assert new != old
    assert failed["healthCheck"]["path"] == "/health"
    instance = None if not era.since(1, 4) else failed.get("instanceId") or failed["taskId"]
    if instance is None:
        assert failed["taskId"] == old
    else:
        assert "instance-" in instance or ".marathon-" in instance
        assert ("taskId" in failed) is era.since(1, 5)
    kills = [name for name in names if name.startswith("unhealthy_")]
    kind = "unhealthy_instance_kill_event" if era.since(1, 4) else "unhealthy_task_kill_event"
    assert kills == ([kind] if era.since(1, 1) else [])


def test_failures_before_the_first_success_do_not_count_within_the_grace_period(
    patient: Patient,
) -> None:
    patient.status = 500
    app = checked(Era(1, 4), patient.port, maxConsecutiveFailures=1, gracePeriodSeconds=300)
    with marathon_of(Era(1, 4), on_loopback) as marathon, RawStream(marathon.url) as stream:
        marathon("POST", "/v2/apps", app, status=201)
        stream.event("status_update_event", taskStatus="TASK_RUNNING")
        while len(patient.paths) < 4:
            marathon("GET", "/v2/info")
        assert len(marathon.agent.alive()) == 1
        assert "failed_health_check_event" not in stream.names()
        patient.status = 200
        stream.event("health_status_changed_event", alive=True)
        patient.status = 500
        stream.event("unhealthy_instance_kill_event")


def test_a_task_that_may_fail_any_number_of_times_is_not_ended(patient: Patient) -> None:
    patient.status = 404
    app = checked(Era(1, 4), patient.port, maxConsecutiveFailures=0, gracePeriodSeconds=0)
    with marathon_of(Era(1, 4), on_loopback) as marathon, RawStream(marathon.url) as stream:
        marathon("POST", "/v2/apps", app, status=201)
        for _ in range(4):
            stream.event("failed_health_check_event")
        (result,) = the_app(marathon)["tasks"][0]["healthCheckResults"]
        assert "unhealthy_instance_kill_event" not in stream.names()
    assert result["lastFailureCause"] == "404 Not Found"
    assert not result["alive"]


def test_a_tcp_check_is_content_with_a_connection() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        marathon_of(Era(1, 4), on_loopback) as marathon,
    ):
        task = marathon.start(
            checked(Era(1, 4), listener.getsockname()[1], protocol="TCP", path=None)
        )
    assert task["healthCheckResults"][0]["alive"]


def test_a_check_by_index_asks_the_ports_that_the_app_declares(patient: Patient) -> None:
    port = {"number": patient.port, "name": "http", "protocol": "tcp"}
    app = {
        **app_of(Era(1, 4), healthChecks=[{**HTTP, "portIndex": 0}]),
        "ipAddress": {"discovery": {"ports": [port]}},
    }
    with marathon_of(Era(1, 4), on_loopback) as marathon:
        assert marathon.start(app)["healthCheckResults"][0]["alive"]


def test_an_app_on_its_hosts_network_is_checked_on_its_hosts_port(patient: Patient) -> None:
    app = host_app(
        "/shop/web",
        portDefinitions=[{"port": patient.port}],
        requirePorts=True,
        healthChecks=[{**HTTP, "portIndex": 0}],
    )
    with marathon_of(Era(1, 9)) as marathon:
        assert marathon.start(app)["healthCheckResults"][0]["alive"]


def test_a_task_without_an_address_looks_unwell(patient: Patient) -> None:
    app = checked(Era(1, 4), patient.port, maxConsecutiveFailures=1, gracePeriodSeconds=0)
    with (
        marathon_of(Era(1, 4), lambda _order: ()) as marathon,
        RawStream(marathon.url) as stream,
    ):
        marathon("POST", "/v2/apps", app, status=201)
        kill = stream.event("unhealthy_instance_kill_event")
    assert kill["reason"] == "the task has no address or no such port"
    assert patient.paths == []


def test_an_old_task_is_ended_only_when_the_new_one_is_well(patient: Patient) -> None:
    with marathon_of(Era(1, 9), on_loopback) as marathon, RawStream(marathon.url) as stream:
        marathon("POST", "/v2/apps", checked(Era(1, 9), patient.port), status=201)
        stream.event("deployment_success")
        (old,) = (task["id"] for task in the_app(marathon)["tasks"])
        sick = Patient()
        sick.status = 503
        sick.start()
        try:
            check = {**HTTP, "port": sick.port}
            marathon("PUT", "/v2/apps/shop/web", {"healthChecks": [check]})
            new = stream.event("status_update_event", taskStatus="TASK_RUNNING")["taskId"]
            while len(sick.paths) < 3:
                marathon("GET", "/v2/info")
            assert set(marathon.agent.alive()) == {old, new}
            sick.status = 200
            stream.event("status_update_event", taskStatus="TASK_KILLED", taskId=old)
            stream.event("deployment_success")
        finally:
            sick.stop()


@pytest.mark.parametrize("era", [era for era in ERAS if era.checks_from_executor], ids=str)
def test_what_an_executor_finds_counts_as_well(era: Era) -> None:
    check = {"protocol": "MESOS_TCP", "port": 9000}
    with marathon_of(era, on_loopback) as marathon, RawStream(marathon.url) as stream:
        marathon("POST", "/v2/apps", app_of(era, healthChecks=[check]), status=201)
        task_id = TaskId(stream.event("status_update_event", taskStatus="TASK_RUNNING")["taskId"])
        assert len(marathon("GET", "/v2/deployments")) == 1
        marathon.agent.feel(task_id, True)
        stream.event("deployment_success")
        assert the_app(marathon)["tasksHealthy"] == 1
        marathon.agent.feel(task_id, False)
        stream.event("instance_health_changed_event", healthy=False)
        app = the_app(marathon)
    assert (app["tasksHealthy"], app["tasksUnhealthy"]) == (0, 1)


def test_health_is_unknown_again_after_a_restart_of_marathon(
    patient: Patient, tmp_path: Path
) -> None:
    state = tmp_path / "marathon.json"
    era = Era(1, 4)
    agent = MemoryAgent(address_of=on_loopback)
    with marathon_of(era, agent=agent, state_file=state) as marathon:
        marathon.start(checked(era, patient.port))
    patient.status = 503
    with marathon_of(era, agent=agent, state_file=state) as marathon:
        while len(patient.paths) < 3:
            marathon("GET", "/v2/info")
        app = the_app(marathon)
    # Within the grace period again, as after a change of leaders.
    assert (app["tasksHealthy"], app["tasksUnhealthy"]) == (0, 0)
    assert len(app["tasks"]) == 1


@pytest.mark.parametrize(
    ("era", "check", "status"),
    [
        pytest.param(Era(1, 3), {"protocol": "MESOS_HTTP", "port": 80}, 400, id="not yet in 1.3"),
        pytest.param(Era(1, 4), {"protocol": "HTTPS", "port": 443}, 422, id="not here"),
        pytest.param(Era(1, 4), {"protocol": "PING"}, 400, id="nowhere"),
        pytest.param(Era(1, 4), {"protocol": "COMMAND"}, 422, id="a command without one"),
        pytest.param(Era(1, 1), {"protocol": "TCP", "portIndex": 0}, 422, id="no index in 1.1"),
        pytest.param(Era(1, 4), {"protocol": "TCP", "portIndex": 7}, 422, id="no such port"),
        pytest.param(Era(1, 4), {"protocol": "TCP", "port": 70000}, 422, id="no port"),
        pytest.param(Era(1, 4), {"intervalSeconds": "x"}, 400, id="no number"),
    ],
)
def test_checks_that_cannot_be(era: Era, check: Json, status: int) -> None:
    with marathon_of(era) as marathon:
        marathon("POST", "/v2/apps", app_of(era, healthChecks=[check]), status=status)


def test_removing_an_app_ends_its_checks(patient: Patient) -> None:
    with marathon_of(Era(1, 4), on_loopback) as marathon, RawStream(marathon.url) as stream:
        marathon("POST", "/v2/apps", checked(Era(1, 4), patient.port), status=201)
        stream.event("deployment_success")
        marathon("DELETE", "/v2/apps/shop/web")
        stream.event("remove_health_check_event", appId="/shop/web")
        stream.event("app_terminated_event")
