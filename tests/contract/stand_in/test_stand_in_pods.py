"""Pods and the health checks that executors run: several processes in one namespace.

As root it needs nothing; otherwise run pytest inside
`unshare --user --map-root-user --net --mount`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from demo.mesos.records import (
    CheckKind,
    GroupOrder,
    HealthCheck,
    Isolation,
    LaunchOrder,
    TaskId,
)
from tests.contract.stand_in.attached_world import (
    ADDRESSED,
    INFO,
    SLEEPER,
    UNNAMED,
    Host,
    host_in,
    order,
)
from tests.contract.stand_in.stand_in_world import python_task

EXECUTOR = "instance-shop_cache.1"
LISTENER = python_task(
    "import http.server, os\n"
    "class Handler(http.server.BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        self.send_error(200 if os.path.exists('well') else 503)\n"
    "http.server.HTTPServer(('127.0.0.1', 8080), Handler).serve_forever()"
)
QUICK = {"delay": 0.0, "interval": 0.1, "timeout": 2.0, "grace": 0.0}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A machine with a Mesos agent."""
    with host_in(tmp_path / "host") as host:
        host.start()
        yield host


def pod(*programs: Sequence[str], network: object = INFO) -> GroupOrder:
    """A pod's instance with one task for each program."""
    assert isinstance(network, dict)
    tasks = tuple(
        LaunchOrder(TaskId(f"pod.{index}"), "fw-1", tuple(argv), {"INDEX": str(index)})
        for index, argv in enumerate(programs)
    )
    return GroupOrder(EXECUTOR, "fw-1", tasks, Isolation.NAMESPACE, (network,))


@pytest.mark.parametrize("network", [INFO, UNNAMED], ids=["attached", "left to a locator"])
def test_the_tasks_of_a_pod_share_one_namespace(host: Host, network: object) -> None:
    host.launch_group(pod(SLEEPER, SLEEPER, network=network))

    records = [host.state_of(f"pod.{index}", "TASK_RUNNING") for index in range(2)]

    (row,) = host.get("/containers")
    pids = [record.pid for record in records] + [row["status"]["executor_pid"]]
    inodes = {host.run("stat", "-L", "-c", "%i", f"/proc/{pid}/ns/net") for pid in pids}
    assert len(set(pids)) == 3
    assert len(inodes) == 1
    assert inodes != {host.run("stat", "-L", "-c", "%i", "/proc/1/ns/net")}
    assert (row["executor_id"], row["source"]) == (EXECUTOR, "")
    assert len({record.container_id for record in records}) == 1


def test_a_pod_is_attached_once_and_all_its_tasks_have_its_address(host: Host) -> None:
    host.launch_group(pod(SLEEPER, SLEEPER))

    records = [host.state_of(f"pod.{index}", "TASK_RUNNING") for index in range(2)]

    assert [record.addresses for record in records] == [(ADDRESSED,)] * 2
    assert [record.networks[0].name for record in records] == ["net1"] * 2
    assert host.commands() == ["ADD"]
    (executor,) = host.get("/state")["frameworks"][0]["executors"]
    assert [task["executor_id"] for task in executor["tasks"]] == [EXECUTOR] * 2
    parents = [
        task["statuses"][0]["container_status"]["container_id"]["parent"]
        for task in executor["tasks"]
    ]
    assert parents == [{"value": records[0].container_id}] * 2


def test_the_tasks_of_a_pod_reach_each_other_on_loopback(host: Host) -> None:
    listen = python_task(
        "import socket; s = socket.create_server(('127.0.0.1', 7000)); s.accept()[0].send(b'hello')"
    )
    ask = python_task(
        "import socket, time\n"
        "while True:\n"
        "    try: s = socket.create_connection(('127.0.0.1', 7000)); break\n"
        "    except OSError: time.sleep(0.02)\n"
        "assert s.recv(5) == b'hello'"
    )

    host.launch_group(pod(listen, ask))

    assert host.state_of("pod.1", "TASK_FINISHED", "TASK_FAILED").state == "TASK_FINISHED"
    assert host.state_of("pod.0", "TASK_FINISHED", "TASK_FAILED").state == "TASK_FINISHED"
    host.until(lambda: host.commands() == ["ADD", "DEL"], "the last one takes the executor along")
    assert host.get("/containers") == []


def test_a_task_of_a_pod_knows_executor_and_address(host: Host) -> None:
    show = ("/usr/bin/env",)
    host.launch_group(pod(SLEEPER, show))

    record = host.state_of("pod.1", "TASK_FINISHED")

    directory = host.state / "sandboxes" / record.container_id / "containers/pod.1"
    lines = (directory / "stdout").read_text().splitlines()
    assert {
        f"MESOS_EXECUTOR_ID={EXECUTOR}",
        "MESOS_TASK_ID=pod.1",
        f"MESOS_CONTAINER_IP={ADDRESSED}",
        "INDEX=1",
    } <= set(lines)
    # One that is done does not end the others.
    assert host.record("pod.0").state == "TASK_RUNNING"


@pytest.mark.parametrize(
    ("program", "state"),
    [
        pytest.param(python_task("raise SystemExit(3)"), "TASK_FAILED", id="failed"),
        pytest.param(("/no/such/program",), "TASK_FAILED", id="could not be started"),
    ],
)
def test_a_pod_ends_with_the_first_task_that_failed(
    host: Host, program: tuple[str, ...], state: str
) -> None:
    host.launch_group(pod(SLEEPER, program))

    assert host.state_of("pod.1", "TASK_FAILED", "TASK_FINISHED").state == state
    assert host.state_of("pod.0", "TASK_KILLED", "TASK_FAILED")
    host.until(lambda: host.commands() == ["ADD", "DEL"], "it is detached")


def test_killing_one_task_of_a_pod_ends_all(host: Host) -> None:
    host.launch_group(pod(SLEEPER, SLEEPER))
    for index in range(2):
        host.state_of(f"pod.{index}", "TASK_RUNNING")

    host.kill("pod.1")

    for index in range(2):
        host.state_of(f"pod.{index}", "TASK_KILLED")
    host.until(lambda: host.commands() == ["ADD", "DEL"], "it is detached")


def test_a_pod_outlives_its_agent(host: Host) -> None:
    host.launch_group(pod(SLEEPER, SLEEPER))
    before = [host.state_of(f"pod.{index}", "TASK_RUNNING") for index in range(2)]
    host.stop()

    host.start()

    after = [host.record(f"pod.{index}") for index in range(2)]
    assert after == before
    host.kill("pod.0")
    for index in range(2):
        host.state_of(f"pod.{index}", "TASK_KILLED")
    host.until(lambda: host.commands() == ["ADD", "DEL"], "it is detached")


def test_a_pod_ends_with_its_executor(host: Host) -> None:
    host.launch_group(pod(SLEEPER, SLEEPER))
    pids = [host.state_of(f"pod.{index}", "TASK_RUNNING").pid for index in range(2)]
    (row,) = host.get("/containers")

    host.run("kill", "-9", str(row["status"]["executor_pid"]))

    for index in range(2):
        assert host.state_of(f"pod.{index}", "TASK_FAILED").message == "Executor terminated"
    host.until(lambda: not any(alive(host, pid) for pid in pids), "all are gone")


def alive(host: Host, pid: int | None) -> bool:
    """Whether there is such a process on the machine."""
    return str(pid) in host.run("ls", "/proc").split()


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(HealthCheck(CheckKind.HTTP, port=8080, path="/health", **QUICK), id="HTTP"),
        pytest.param(
            HealthCheck(CheckKind.COMMAND, argv=("/usr/bin/test", "-e", "well"), **QUICK),
            id="COMMAND",
        ),
    ],
)
@pytest.mark.parametrize("network", [INFO, UNNAMED], ids=["attached", "left to a locator"])
def test_a_check_looks_from_inside_the_tasks_namespace(
    host: Host, check: HealthCheck, network: object
) -> None:
    assert isinstance(network, dict)
    host.launch(order("a.1", LISTENER, network=network, checks=(never_killing(check),)))
    host.until(lambda: host.record("a.1").healthy is False, "it is not well")

    (host.sandbox("a.1") / "well").touch()

    host.until(lambda: host.record("a.1").healthy is True, "it is well")


def never_killing(check: HealthCheck) -> HealthCheck:
    """The same check, however often it fails."""
    return msgspec.structs.replace(check, failures=0)


def test_a_connection_is_enough_for_a_tcp_check(host: Host) -> None:
    check = HealthCheck(CheckKind.TCP, port=8080, **QUICK)

    host.launch(order("a.1", LISTENER, checks=(never_killing(check),)))

    host.until(lambda: host.record("a.1").healthy is True, "it is well")


def test_what_fails_too_often_in_a_row_is_killed_by_its_executor(host: Host) -> None:
    check = HealthCheck(CheckKind.TCP, port=9, failures=3, **QUICK)

    host.launch(order("a.1", checks=(check,)))

    ended = host.state_of("a.1", "TASK_KILLED", "TASK_FAILED")
    assert (ended.state, ended.healthy) == ("TASK_KILLED", False)
    assert "check failed" in host.log()


def test_a_check_that_hangs_has_failed_when_its_time_is_up(host: Host) -> None:
    check = HealthCheck(CheckKind.COMMAND, argv=SLEEPER, failures=1, **{**QUICK, "timeout": 0.2})

    host.launch(order("a.1", checks=(check,)))

    host.state_of("a.1", "TASK_KILLED")
    assert "reason=timed out" in host.log()


def test_checks_go_on_after_the_agent_was_started_again(host: Host) -> None:
    check = never_killing(HealthCheck(CheckKind.HTTP, port=8080, **QUICK))
    host.launch(order("a.1", LISTENER, checks=(check,)))
    host.until(lambda: host.record("a.1").healthy is False, "it is not well")
    host.stop()
    host.start()

    (host.sandbox("a.1") / "well").touch()

    host.until(lambda: host.record("a.1").healthy is True, "it is well")
