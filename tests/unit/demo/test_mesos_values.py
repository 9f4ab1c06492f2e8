"""What a Mesos agent says, by its version; durations, ends and orders in its words."""

from pathlib import Path

import msgspec
import pytest

from demo.mesos.containers.attachments import Attachments
from demo.mesos.containers.container import (
    Container,
    Process,
    Stage,
    judge_exit,
    new_members,
    render_duration,
)
from demo.mesos.containers.orders import Site, environment_of, render_member, render_start
from demo.mesos.isolators.api import Attached, Isolator
from demo.mesos.isolators.netmodules import Programs, read_modules
from demo.mesos.records import GroupOrder, HostName, Isolation, Json, LaunchOrder, TaskId, TaskState
from demo.mesos.replies import render_containers, render_state
from demo.mesos.version import MesosVersion, parse_version

SITE = Site(HostName("host-1"), "10.0.0.1", "10.0.0.1:5051", "agent-S0")
NAMED: Json = {"name": "net1"}
UNNAMED: Json = {"groups": ["web"]}


def container(
    *networks: Json, tasks: int = 1, isolation: Isolation = Isolation.NAMESPACE, isolator: str = ""
) -> Container:
    """A container that runs."""
    orders = tuple(
        LaunchOrder(TaskId(f"a.{index}"), "fw-1", ("sleep", "9"), {"MARK": "x"})
        for index in range(tasks)
    )
    executor = "instance-a.1" if tasks > 1 else orders[0].task_id
    group = GroupOrder(executor, "fw-1", orders, isolation, networks)
    members = new_members(group, "container-1")
    return Container(
        "container-1", group, tasks == 1, members, isolator, Stage.UP, Process(7, 1), networks
    )


class Named:
    """An isolator that is only asked for its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def attach(self, container_id: str, pid: int, networks: tuple[Json, ...]) -> Attached:
        raise NotImplementedError

    def detach(self, container_id: str) -> None:
        raise NotImplementedError

    def leftovers(self) -> frozenset[str]:
        return frozenset()


CNI: Isolator = Named("network/cni")
NETMODULES: Isolator = Named("netmodules")


@pytest.mark.parametrize(
    ("isolators", "group", "chosen"),
    [
        pytest.param([CNI, NETMODULES], container(NAMED).group, "network/cni", id="named"),
        pytest.param([CNI, NETMODULES], container(UNNAMED).group, "netmodules", id="unnamed"),
        pytest.param([CNI], container(UNNAMED).group, "", id="unnamed without net-modules"),
        pytest.param([], container(NAMED).group, "", id="named without CNI"),
        pytest.param(
            [NETMODULES], container(NAMED).group, "netmodules", id="net-modules knows no names"
        ),
        pytest.param(
            [CNI], container(UNNAMED, NAMED).group, "network/cni", id="one of several is named"
        ),
        pytest.param(
            [CNI, NETMODULES],
            container(NAMED, isolation=Isolation.HOST).group,
            "",
            id="on the host's network",
        ),
    ],
)
def test_the_network_form_decides_what_attaches(
    isolators: list[Isolator], group: GroupOrder, chosen: str
) -> None:
    attachments = Attachments(isolators, lambda _work, _done: None, lambda _container: None)

    assert attachments.isolator_of(group) == chosen


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(60.0, "1mins"), (90.0, "1.5mins"), (3.0, "3secs"), (0.5, "500ms")],
)
def test_durations_are_written_as_mesos_does(seconds: float, text: str) -> None:
    assert render_duration(seconds) == text


@pytest.mark.parametrize(
    ("status", "killing", "state"),
    [
        (0, False, TaskState.FINISHED),
        (1, False, TaskState.FAILED),
        (-9, False, TaskState.FAILED),
        (None, False, TaskState.FAILED),
        (0, True, TaskState.KILLED),
    ],
)
def test_how_a_process_ended_makes_a_state(
    status: int | None, killing: bool, state: TaskState
) -> None:
    assert judge_exit(status, killing)[0] is state


@pytest.mark.parametrize(
    ("text", "containers", "path"),
    [("0.26.0", False, "/state.json"), ("0.28", False, "/state.json"), ("1.0.1", True, "/state")],
)
def test_a_version_has_its_endpoints(text: str, containers: bool, path: str) -> None:
    version = parse_version(text)

    assert (version.has_containers, version.state_path) == (containers, path)


@pytest.mark.parametrize("text", ["1", "one.two", ""])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"version of Mesos|invalid literal"):
        parse_version(text)


def test_only_a_mesos_with_that_endpoint_tells_pids() -> None:
    row = render_state(SITE, MesosVersion(0, 28), [container(UNNAMED)])
    (executor,) = row["frameworks"][0]["executors"]

    assert "executor_pid" not in executor["tasks"][0]["statuses"][0]["container_status"]
    (listed,) = render_containers(SITE, [container(UNNAMED)], 0.0)
    assert listed["status"]["executor_pid"] == 7


def test_the_address_of_a_task_on_the_hosts_network_is_the_hosts() -> None:
    (row,) = render_containers(SITE, [container(isolation=Isolation.HOST)], 0.0)

    (info,) = row["status"]["network_infos"]
    assert info["ip_addresses"] == [{"protocol": "IPv4", "ip_address": "10.0.0.1"}]


def test_a_task_of_a_pod_joins_its_executor() -> None:
    pod = container(NAMED, tasks=2, isolator="network/cni")

    start = render_start(SITE, pod, "/sandbox")
    member = render_member(SITE, pod, pod.members[1], "/sandbox/1")

    assert (start.argv, start.hold, start.isolate) == ((), True, True)
    assert (member.join, member.argv, member.id) == (7, ("sleep", "9"), "container-1/a.1")
    assert member.env["MESOS_EXECUTOR_ID"] == "instance-a.1"
    assert member.env["MESOS_CONTAINER_IP"] == "10.0.0.1"


def test_the_isolators_variables_have_the_last_word() -> None:
    attached = msgspec.structs.replace(
        container(UNNAMED).group.tasks[0], env={"LIBPROCESS_IP": "1"}
    )
    own = container(UNNAMED, isolator="netmodules")
    own.env["LIBPROCESS_IP"] = "10.77.1.7"

    assert environment_of(SITE, own, attached, "/s")["LIBPROCESS_IP"] == "10.77.1.7"


def test_the_programs_are_read_from_an_operators_file(tmp_path: Path) -> None:
    path = tmp_path / "modules.json"
    path.write_text(
        '{"libraries": [{"file": "x.so", "modules": [{"name": '
        '"com_mesosphere_mesos_NetworkIsolator", "parameters": ['
        '{"key": "isolator_command", "value": "/a"}, {"key": "ipam_command", "value": "/b"}]}, '
        '{"name": "com_mesosphere_mesos_NetworkHook"}]}]}'
    )

    assert read_modules(path) == Programs(ipam="/b", isolator="/a")


@pytest.mark.parametrize("text", ["{}", "[]", "oops", '{"libraries": [{"modules": []}]}'])
def test_a_file_without_them_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "modules.json"
    path.write_text(text)

    with pytest.raises(ValueError, match="no com_mesosphere"):
        read_modules(path)
