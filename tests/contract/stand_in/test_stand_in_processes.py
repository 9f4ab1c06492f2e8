"""Real tasks: processes in network namespaces of their own.

As root it needs nothing; otherwise run pytest inside
`unshare --user --map-root-user --net --mount`.
"""

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from demo.marathon import StandIn, any_program
from demo.marathon.agents import LaunchRefused
from demo.mesos.containers.container import Container, new_members
from demo.mesos.processes import members, start_time
from demo.mesos.records import GroupOrder, Isolation, Json, LaunchOrder, TaskId
from demo.mesos.store import Store
from tests.contract.stand_in.stand_in_world import RawStream, RealHost, python_task, real_host
from tests.unit.demo.apps import ip_app

SLEEPER = python_task("import time; time.sleep(1000)")
STUBBORN = python_task(
    "import signal, time; signal.signal(15, signal.SIG_IGN); open('ready', 'w'); time.sleep(1000)"
)
REMEDY = "no right to make network namespaces: run inside unshare --user --map-root-user --net"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[RealHost]:
    """An agent in this process."""
    with real_host(tmp_path) as host:
        yield host


def order(name: str, argv: tuple[str, ...] = SLEEPER, own_network: bool = False) -> LaunchOrder:
    """A task to start."""
    isolation = Isolation.NAMESPACE if own_network else Isolation.HOST
    return LaunchOrder(TaskId(name), "fw-1", argv, {"MARK": "here"}, isolation)


def launch_isolated(host: RealHost, name: str, argv: tuple[str, ...] = SLEEPER) -> None:
    """Start a task in a namespace of its own, or skip where that is not allowed."""
    try:
        host.client.launch(order(name, argv, own_network=True))
    except LaunchRefused as error:
        if "new network namespace: Operation not permitted" in str(error):
            pytest.skip(REMEDY)
        raise


def launch_until_taken(host: RealHost, wanted: LaunchOrder) -> None:
    """Ask again as Marathon does: an order may have died with the launcher."""
    while True:
        try:
            host.client.launch(wanted)
        except LaunchRefused:
            continue
        return


def get(url: str) -> list[Json]:
    """The JSON behind a URL."""
    with urllib.request.urlopen(url, timeout=5) as reply:
        rows: list[Json] = json.load(reply)
        return rows


def test_containers_name_a_process_inside_the_tasks_own_namespace(host: RealHost) -> None:
    launch_isolated(host, "a.1")
    launch_isolated(host, "b.1")
    host.client.launch(order("plain.1"))
    rows = {row["source"]: row for row in get(f"{host.url}/containers")}
    own = os.readlink("/proc/self/ns/net")
    seen = {
        name: os.readlink(f"/proc/{row['status']['executor_pid']}/ns/net")
        for name, row in rows.items()
    }
    assert seen["plain.1"] == own
    assert len({seen["a.1"], seen["b.1"], own}) == 3
    row = rows["a.1"]
    assert row["executor_id"] == "a.1"
    assert row["framework_id"] == "fw-1"
    assert row["status"]["container_id"] == {"value": row["container_id"]}
    assert {"executor_name", "statistics"} <= set(row)


def test_the_state_endpoint_has_one_executor_for_each_task(host: RealHost) -> None:
    host.client.launch(order("plain.1"))
    with urllib.request.urlopen(f"{host.url}/state", timeout=5) as reply:
        state = json.load(reply)
    (framework,) = state["frameworks"]
    (executor,) = framework["executors"]
    assert framework["id"] == "fw-1"
    assert (executor["id"], executor["source"]) == ("plain.1", "plain.1")
    assert executor["tasks"][0]["state"] == "TASK_RUNNING"


def test_loopback_is_up_inside_and_there_is_nothing_else(host: RealHost) -> None:
    code = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); "
        "socket.create_connection(s.getsockname()); "
        "assert [n for _, n in socket.if_nameindex() if n not in "
        "('lo', 'tunl0', 'sit0', 'ip6tnl0', 'gre0', 'gretap0', 'erspan0', 'ip6gre0', "
        "'ip_vti0', 'ip6_vti0')] == []"
    )
    launch_isolated(host, "a.1", python_task(code))
    assert host.state_of("a.1", "TASK_FINISHED", "TASK_FAILED").state == "TASK_FINISHED"


def test_a_task_finds_its_name_and_its_agent_in_its_environment(host: RealHost) -> None:
    code = "import json, os; json.dump(dict(os.environ), open('env', 'w'))"
    host.client.launch(order("a.1", python_task(code)))
    host.state_of("a.1", "TASK_FINISHED")
    (written,) = host.directory.glob("sandboxes/*/env")
    env = json.loads(written.read_text())
    assert env["MESOS_TASK_ID"] == env["MESOS_EXECUTOR_ID"] == "a.1"
    assert env["MESOS_FRAMEWORK_ID"] == "fw-1"
    assert env["MESOS_AGENT_ENDPOINT"] == host.url.removeprefix("http://")
    assert env["MESOS_SANDBOX"] == str(written.parent)
    assert env["MARK"] == "here"


@pytest.mark.parametrize(
    ("code", "state", "message"),
    [
        pytest.param("pass", "TASK_FINISHED", "Command exited with status 0", id="well"),
        pytest.param(
            "raise SystemExit(3)", "TASK_FAILED", "Command exited with status 3", id="badly"
        ),
        pytest.param(
            "import os; os.kill(os.getpid(), 9)",
            "TASK_FAILED",
            "Command terminated with signal Killed",
            id="by a signal",
        ),
    ],
)
def test_how_a_task_ended_is_reported(host: RealHost, code: str, state: str, message: str) -> None:
    host.client.launch(order("a.1", python_task(code)))
    record = host.state_of("a.1", "TASK_FINISHED", "TASK_FAILED")
    assert (record.state, record.message) == (state, message)


def test_a_program_that_cannot_be_executed_is_refused_with_the_reason(host: RealHost) -> None:
    with pytest.raises(LaunchRefused, match="No such file"):
        host.client.launch(order("a.1", ("/no/such/program",)))
    assert host.client.tasks(-1, 0).tasks == ()


def test_a_task_that_ignores_sigterm_is_ended_all_the_same(host: RealHost) -> None:
    host.client.launch(order("a.1", STUBBORN))
    pid = host.state_of("a.1", "TASK_RUNNING").pid
    assert pid is not None
    host.client.kill(TaskId("a.1"))
    host.state_of("a.1", "TASK_KILLED")
    assert start_time(pid) is None


def test_a_task_says_itself_how_long_it_may_take_to_end(tmp_path: Path) -> None:
    with real_host(tmp_path, kill_grace=600) as host:
        host.client.launch(msgspec.structs.replace(order("a.1", STUBBORN), kill_grace=0.2))
        host.state_of("a.1", "TASK_RUNNING")
        while not list(tmp_path.glob("sandboxes/*/ready")):
            host.client.tasks(-1, 0)
        host.client.kill(TaskId("a.1"))
        # Far sooner than the agent would have it.
        host.state_of("a.1", "TASK_KILLED")


def test_what_a_task_wrote_is_found_by_its_name_when_it_has_ended(host: RealHost) -> None:
    for name in ("a.1", "b.1", "a.2"):
        host.client.launch(order(name, python_task(f"print('{name}')")))
        host.state_of(name, "TASK_FINISHED")
    found = Store(host.directory).sandboxes_of("a.")
    assert [(sandbox / "stdout").read_text() for sandbox in found] == ["a.1\n", "a.2\n"]


@pytest.mark.parametrize("session", [False, True], ids=["in its group", "in a session of its own"])
def test_whatever_a_task_started_ends_with_it(host: RealHost, session: bool) -> None:
    code = (
        "import subprocess; "
        f"subprocess.Popen(['sleep', '1000'], start_new_session={session}); "
        "print('started')"
    )
    host.client.launch(order("a.1", python_task(code)))
    host.state_of("a.1", "TASK_FINISHED")
    (said,) = host.directory.glob("sandboxes/*/stdout")
    assert said.read_text() == "started\n"
    assert members("a.1", agent_id=host.agent.agent_id) == []


def test_tasks_outlive_their_agent_and_are_found_again(tmp_path: Path) -> None:
    first = RealHost(tmp_path)
    first.start()
    first.client.launch(order("a.1"))
    pid = first.state_of("a.1", "TASK_RUNNING").pid
    revision = first.client.tasks(-1, 0).revision
    first.stop()
    with real_host(tmp_path) as second:
        assert second.agent.agent_id == first.agent.agent_id
        assert second.state_of("a.1", "TASK_RUNNING").pid == pid
        assert second.client.tasks(-1, 0).revision > revision
        second.client.kill(TaskId("a.1"))
        second.state_of("a.1", "TASK_KILLED")
    assert members("a.1", agent_id=first.agent.agent_id) == []


def test_a_task_that_ended_while_its_agent_was_away_has_failed(tmp_path: Path) -> None:
    first = RealHost(tmp_path)
    first.start()
    first.client.launch(order("a.1"))
    first.stop()
    for pid, _ in members("a.1", agent_id=first.agent.agent_id):
        handle = os.pidfd_open(pid)
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)
    with real_host(tmp_path) as second:
        assert "not known" in second.state_of("a.1", "TASK_FAILED").message


def test_a_start_that_a_crash_cut_short_is_a_failed_task(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.agent_id()
    begun = order("a.1")
    group = GroupOrder(begun.task_id, begun.framework_id, (begun,))
    store.save(Container("container-1", group, True, new_members(group, "container-1")))
    with real_host(tmp_path) as host:
        host.state_of("a.1", "TASK_FAILED")
    assert store.load() == []


def test_the_loss_of_the_launcher_costs_no_task(host: RealHost) -> None:
    host.client.launch(order("a.1"))
    launcher = host.agent.launcher_pid
    assert launcher is not None
    os.kill(launcher, signal.SIGKILL)
    launch_until_taken(host, order("b.1"))
    assert {row["source"] for row in get(f"{host.url}/containers")} == {"a.1", "b.1"}
    host.client.kill(TaskId("a.1"))
    host.state_of("a.1", "TASK_KILLED")


def test_marathon_starts_and_ends_real_processes(host: RealHost, tmp_path: Path) -> None:
    app = ip_app("/web", cmd="sleep 1000", ipAddress=None)
    with (
        StandIn({"host-1": host.client}, rule=any_program) as marathon,
        RawStream(marathon.url) as stream,
    ):
        send(f"{marathon.url}/v2/apps", "POST", app)
        task_id = stream.event("status_update_event", taskStatus="TASK_RUNNING")["taskId"]
        assert len(members(task_id)) == 1
        send(f"{marathon.url}/v2/apps/web", "DELETE")
        stream.event("app_terminated_event", appId="/web")
        assert members(task_id) == []


def send(url: str, method: str, body: Json | None = None) -> None:
    """One mutation over REST."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)
    urllib.request.urlopen(request, timeout=5).close()


def test_an_agent_ends_nothing_of_another_that_has_a_task_of_the_same_name(
    host: RealHost, tmp_path: Path
) -> None:
    host.client.launch(order("a.1"))
    with real_host(tmp_path / "other") as other:
        other.client.launch(order("a.1", python_task("pass")))
        other.state_of("a.1", "TASK_FINISHED")
    assert len(members("a.1", agent_id=host.agent.agent_id)) == 1
