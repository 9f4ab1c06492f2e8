"""The stand-in calls net-modules' programs as the module in Mesos 0.26 to 0.28 did.

As root it needs nothing; otherwise run pytest inside
`unshare --user --map-root-user --net --mount`.
"""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.mesos.records import NetworkStatus
from tests.contract.stand_in.attached_world import ADDRESSED, INFO, UNNAMED, Host, host_in, order
from tests.contract.stand_in.stand_in_world import python_task

MODULES = {
    "libraries": [
        {
            "file": "/opt/net-modules/libmesos_network_isolator.so",
            "modules": [
                {
                    "name": "com_mesosphere_mesos_NetworkIsolator",
                    "parameters": [
                        {"key": "isolator_command", "value": "isolator"},
                        {"key": "ipam_command", "value": "ipam"},
                    ],
                },
                {"name": "com_mesosphere_mesos_NetworkHook"},
            ],
        }
    ]
}
DESCRIBED = {"netgroups": ["web"], "labels": [{"key": "tier", "value": "front"}]}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A machine whose Mesos agent is yet to be started."""
    with host_in(tmp_path / "host") as host:
        text = json.dumps(MODULES)
        for name in ("isolator", "ipam"):
            text = text.replace(f'"value": "{name}"', f'"value": "{host.install(name)}"')
        (host.directory / "modules.json").write_text(text)
        yield host


def start(host: Host, *options: str) -> None:
    """Start the agent as an operator of that time did."""
    modules = str(host.directory / "modules.json")
    host.start(
        *("--isolation", "netmodules", "--modules", modules, "--mesos-version", "0.28", *options),
        cni=False,
    )


def test_prepare_allocates_and_isolate_wires_before_the_task_runs(host: Host) -> None:
    start(host)

    host.launch(order("a.1", network=UNNAMED))

    record = host.state_of("a.1", "TASK_RUNNING")
    allocate, isolate = host.calls()
    uid = allocate["input"]["args"].pop("uid")
    assert str(uuid.UUID(uid)) == uid != record.container_id
    assert (allocate["program"], isolate["program"]) == ("ipam", "isolator")
    assert allocate["input"] == {
        "command": "allocate",
        "args": {"hostname": "host-1", "num_ipv4": 1, "num_ipv6": 0, **DESCRIBED},
    }
    assert isolate["input"] == {
        "command": "isolate",
        "args": {
            "hostname": "host-1",
            "container_id": record.container_id,
            "pid": record.pid,
            "ipv4_addrs": [ADDRESSED],
            "ipv6_addrs": [],
            **DESCRIBED,
        },
    }


def test_the_allocated_address_is_reported_and_told_to_the_task(host: Host) -> None:
    start(host)
    show = python_task("import os; print(os.environ['LIBPROCESS_IP']); import time; time.sleep(99)")

    host.launch(order("a.1", show, network=UNNAMED))

    record = host.state_of("a.1", "TASK_RUNNING")
    assert record.addresses == (ADDRESSED,)
    assert record.networks == (NetworkStatus("", (ADDRESSED,)),)
    (executor,) = host.get("/state.json")["frameworks"][0]["executors"]
    (status,) = executor["tasks"][0]["statuses"]
    (info,) = status["container_status"]["network_infos"]
    assert info["ip_addresses"] == [{"protocol": "IPv4", "ip_address": ADDRESSED}]
    assert info["groups"] == ["web"]


def test_given_addresses_are_reserved_first(host: Host) -> None:
    start(host)
    given = [{"protocol": "IPv4", "ip_address": "10.77.1.9"}, {"protocol": "IPv4"}]

    host.launch(order("a.1", network={**UNNAMED, "ip_addresses": given}))

    record = host.state_of("a.1", "TASK_RUNNING")
    assert host.commands() == ["reserve", "allocate", "isolate"]
    reserve, allocate, isolate = (call["input"]["args"] for call in host.calls())
    assert (reserve["ipv4_addrs"], reserve["ipv6_addrs"]) == (["10.77.1.9"], [])
    assert (allocate["num_ipv4"], allocate["uid"]) == (1, reserve["uid"])
    assert isolate["ipv4_addrs"] == ["10.77.1.9", ADDRESSED]
    assert record.addresses == ("10.77.1.9", ADDRESSED)


def test_the_end_releases_the_addresses_and_then_cleans_up(host: Host) -> None:
    start(host)
    host.launch(order("a.1", network=UNNAMED))
    container = host.state_of("a.1", "TASK_RUNNING").container_id

    host.kill("a.1")

    host.until(lambda: len(host.calls()) == 4, "it is destroyed")
    release, cleanup = host.calls()[2:]
    assert (release["program"], release["input"]) == (
        "ipam",
        {"command": "release", "args": {"ips": [ADDRESSED]}},
    )
    assert (cleanup["program"], cleanup["input"]) == (
        "isolator",
        {"command": "cleanup", "args": {"hostname": "host-1", "container_id": container}},
    )


@pytest.mark.parametrize(
    ("command", "answer", "message", "calls"),
    [
        pytest.param(
            "allocate",
            '{"error": "the pool is full"}',
            'Error allocating IP from IPAM: {}/ipam returned error: "the pool is full"',
            ["allocate"],
            id="it refuses to allocate",
        ),
        pytest.param(
            "allocate",
            '{"ipv4": [], "ipv6": [], "error": null}',
            "No IPv4 addresses received from IPAM.",
            ["allocate"],
            id="it allocates nothing",
        ),
        pytest.param(
            "allocate",
            "Traceback",
            "Error allocating IP from IPAM: Error parsing output 'Traceback'",
            ["allocate"],
            id="it crashes",
        ),
        pytest.param(
            "isolate",
            '{"error": "no such process"}',
            'Error running isolate command: {}/isolator returned error: "no such process"',
            ["allocate", "isolate", "release", "cleanup"],
            id="it refuses to isolate, and gives back what it allocated",
        ),
    ],
)
def test_an_error_fails_the_task_with_its_words(
    host: Host, command: str, answer: str, message: str, calls: list[str]
) -> None:
    host.behave(**{command: {"stdout": answer, "exit": 1}})
    start(host)

    host.launch(order("a.1", network=UNNAMED))

    ended = host.state_of("a.1", "TASK_FAILED")
    assert ended.message.startswith("Failed to launch container: ")
    assert message.format(host.programs) in ended.message
    host.until(lambda: host.commands() == calls, f"{calls}")


def test_an_agent_that_was_started_again_knows_its_containers_no_more(host: Host) -> None:
    start(host)
    host.launch(order("a.1", network=UNNAMED))
    pid = host.state_of("a.1", "TASK_RUNNING").pid
    host.stop()
    start(host)
    assert host.record("a.1").pid == pid

    host.kill("a.1")

    host.state_of("a.1", "TASK_KILLED")
    host.until(lambda: "unknown container" in host.log(), "it is ignored")
    assert host.commands() == ["allocate", "isolate"]


def test_mesos_of_that_time_has_no_containers_endpoint(host: Host) -> None:
    start(host)
    host.launch(order("a.1", network=UNNAMED))
    host.state_of("a.1", "TASK_RUNNING")

    (row,) = host.get("/monitor/statistics")

    assert (row["executor_id"], row["source"]) == ("a.1", "a.1")
    assert "container_id" not in row
    for path in ("/containers", "/state"):
        with pytest.raises(OSError, match="404"):
            host.get(path)


def test_tasks_on_the_hosts_network_are_not_asked_about(host: Host) -> None:
    start(host)

    host.launch(order("a.1", network=UNNAMED, isolation="host"))

    assert host.state_of("a.1", "TASK_RUNNING").addresses == ("10.77.0.1",)
    assert host.calls() == []


def test_with_both_the_named_network_is_cnis(host: Host) -> None:
    modules = str(host.directory / "modules.json")
    host.start("--isolation", "netmodules", "--modules", modules)

    host.launch(order("a.1", network=INFO))
    host.state_of("a.1", "TASK_RUNNING")

    assert host.commands() == ["ADD"]
