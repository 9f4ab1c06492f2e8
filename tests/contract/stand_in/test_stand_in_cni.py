"""The stand-in's `network/cni` isolator calls a plugin as Mesos does, line by line.

As root it needs nothing; otherwise run pytest inside
`unshare --user --map-root-user --net --mount`.
"""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from demo.mesos.records import NetworkStatus
from tests.contract.stand_in.attached_world import (
    ADDRESSED,
    ENDPOINT,
    INFO,
    RESULT,
    SLEEPER,
    UNNAMED,
    Host,
    host_in,
    order,
)
from tests.contract.stand_in.stand_in_world import python_task

ENDED = ("TASK_FINISHED", "TASK_FAILED", "TASK_KILLED")
#: It says that it runs, then lives on.
SPEAKER = ("/bin/sh", "-c", "echo running; exec /bin/sleep 1000")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A machine whose Mesos agent is yet to be started."""
    with host_in(tmp_path / "host") as host:
        yield host


def said(host: Host, task_id: str) -> str:
    """What a task wrote so far."""
    path = host.sandbox(task_id) / "stdout"
    return path.read_text() if path.exists() else ""


def inode_of(host: Host, pid: int | None) -> int:
    """The network namespace of a process, by its pid on the machine."""
    script = f"stat -L -c %i /proc/{pid}/ns/net"
    return int(host.run("/bin/sh", "-c", script))


def test_add_is_given_exactly_what_mesos_gives(host: Host) -> None:
    host.configure("net1", mtu=1400, args={"theirs": {"kept": True}})
    host.start()

    host.launch(order("a.1"))

    container = host.state_of("a.1", "TASK_RUNNING").container_id
    (call,) = host.calls()
    assert call["program"] == "fake"
    # No CNI_ARGS, and nothing of the agent's own environment.
    assert call["environment"] == {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": container,
        "CNI_NETNS": str(host.root / container / "ns"),
        "CNI_IFNAME": "eth0",
        "CNI_PATH": str(host.programs),
        "PATH": os.environ["PATH"],
    }
    assert call["input"] == {
        "name": "net1",
        "type": "fake",
        "cniVersion": "0.2.0",
        "mtu": 1400,
        "args": {"theirs": {"kept": True}, "org.apache.mesos": {"network_info": INFO}},
    }
    assert call["inode"] == inode_of(host, host.record("a.1").pid)


def test_what_was_asked_and_answered_lies_where_mesos_keeps_it(host: Host) -> None:
    host.start()
    host.launch(order("a.1"))

    directory = host.root / host.state_of("a.1", "TASK_RUNNING").container_id

    (call,) = host.calls()
    assert json.loads((directory / "net1/network.conf").read_text()) == call["input"]
    assert json.loads((directory / "net1/eth0/network.info").read_text()) == RESULT


def test_no_instruction_runs_before_the_plugin_has_answered(host: Host) -> None:
    host.behave(ADD={"wait": "go", "stdout": json.dumps(RESULT), "wire": ADDRESSED})
    host.start()
    host.launch(order("a.1", SPEAKER))
    host.until(lambda: host.commands() == ["ADD"], "the plugin is called")

    before = host.record("a.1")
    (row,) = host.get("/containers")
    host.allow("go")

    assert (before.state, before.addresses) == ("TASK_STAGING", ())
    assert said(host, "a.1") == ""
    assert "network_infos" not in row["status"]
    assert row["status"]["executor_pid"] > 0
    host.state_of("a.1", "TASK_RUNNING")
    host.until(lambda: said(host, "a.1") == "running\n", "the task runs")


def test_a_task_stages_until_its_executor_has_reached_the_agent_from_inside(host: Host) -> None:
    host.behave(ADD={"stdout": json.dumps(RESULT)})
    host.start("--executor-registration-timeout", "3")

    host.launch(order("a.1", SPEAKER))

    host.until(lambda: host.commands() == ["ADD"], "the plugin is called")
    assert host.record("a.1").state == "TASK_STAGING"
    ended = host.state_of("a.1", "TASK_FAILED")
    assert ended.message == "Executor did not register within 3secs"
    assert said(host, "a.1") == ""
    host.until(lambda: host.commands() == ["ADD", "DEL"], "it is taken away again")


def test_the_addresses_that_the_plugin_answered_are_reported(host: Host) -> None:
    host.start()
    host.launch(order("a.1"))

    record = host.state_of("a.1", "TASK_RUNNING")

    assert record.addresses == (ADDRESSED,)
    assert record.networks == (NetworkStatus("net1", (ADDRESSED,)),)
    (row,) = host.get("/containers")
    told = {**INFO, "ip_addresses": [{"protocol": "IPv4", "ip_address": ADDRESSED}]}
    assert row["status"]["network_infos"] == [told]
    (executor,) = host.get("/state")["frameworks"][0]["executors"]
    (status,) = executor["tasks"][0]["statuses"]
    assert executor["container"] == row["container_id"]
    assert status["container_status"]["network_infos"] == [told]


@pytest.mark.parametrize(
    ("result", "version", "addresses"),
    [
        pytest.param(
            {"cniVersion": "0.3.1", "ips": [{"version": "4", "address": "10.77.1.7/32"}]},
            "1.4",
            (),
            id="none of an answer in the newer form",
        ),
        pytest.param({}, "1.4", (), id="none of an empty answer"),
        pytest.param(
            {**RESULT, "ip6": {"ip": "fd00::7/128"}},
            "1.5",
            (ADDRESSED, "fd00::7"),
            id="IPv6 too",
        ),
        pytest.param(
            {**RESULT, "ip6": {"ip": "fd00::7/64"}},
            "1.4",
            (ADDRESSED, "fd00::7/64"),
            id="IPv6 with its prefix length by an older Mesos",
        ),
    ],
)
def test_mesos_reads_ip4_and_ip6_only(
    host: Host, result: object, version: str, addresses: tuple[str, ...]
) -> None:
    host.behave(ADD={"stdout": json.dumps(result), "wire": ADDRESSED})
    host.start("--mesos-version", version)

    host.launch(order("a.1"))

    assert host.state_of("a.1", "TASK_RUNNING").addresses == addresses


def test_addresses_may_come_after_the_first_report(host: Host) -> None:
    host.start("--late-addresses", "0.5")
    host.launch(order("a.1"))

    first = host.state_of("a.1", "TASK_RUNNING")

    assert first.addresses == ()
    host.until(lambda: host.record("a.1").addresses == (ADDRESSED,), "it comes late")


def test_a_plugin_that_fails_fails_the_task_with_its_words(host: Host) -> None:
    host.behave(
        ADD={"exit": 1, "stdout": '{"code": 11, "msg": "no"}', "stderr": "the pool is full"}
    )
    host.start()

    host.launch(order("a.1", SPEAKER))

    ended = host.state_of("a.1", "TASK_FAILED")
    assert ended.message == (
        f"Failed to launch container: The CNI plugin '{host.programs}/fake' failed to attach "
        f"container {ended.container_id} to CNI network 'net1': "
        """stdout='{"code": 11, "msg": "no"}', stderr='the pool is full'"""
    )
    # Also after a failure, with what was given to ADD.
    host.until(lambda: host.commands() == ["ADD", "DEL"], "it is undone")
    host.until(lambda: not list(host.root.iterdir()), "nothing is left")
    add, delete = host.calls()
    assert delete["input"] == add["input"]
    assert said(host, "a.1") == ""


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        pytest.param({"stdout": "oops"}, "Failed to parse the output of the CNI plugin", id="text"),
        pytest.param({"stdout": "[]"}, "Failed to parse the output of the CNI plugin", id="list"),
        pytest.param({"stdout": '{"ip4": 7}'}, "Failed to parse the output", id="no address"),
    ],
)
def test_an_answer_that_mesos_cannot_read_fails_the_task(
    host: Host, behaviour: object, message: str
) -> None:
    host.behave(ADD=behaviour)
    host.start()

    host.launch(order("a.1"))

    assert message in host.state_of("a.1", "TASK_FAILED").message


def test_an_unknown_network_fails_the_task_without_any_call(host: Host) -> None:
    host.start()

    host.launch(order("a.1", network={**INFO, "name": "nope"}))

    ended = host.state_of("a.1", "TASK_FAILED")
    assert ended.message == "Failed to launch container: Unknown CNI network 'nope'"
    assert host.calls() == []


def test_a_configuration_is_read_anew_for_every_container(host: Host) -> None:
    host.start()
    host.configure("net1", mtu=1300)
    host.configure("later")

    host.launch(order("a.1"))
    host.state_of("a.1", "TASK_RUNNING")
    host.behave(ADD={"stdout": json.dumps(RESULT), "wire": "10.77.1.8"})
    host.launch(order("b.1", network={**INFO, "name": "later"}))
    host.state_of("b.1", "TASK_RUNNING")

    first, second = host.calls()
    assert first["input"]["mtu"] == 1300
    assert second["input"]["name"] == "later"


def test_arguments_in_mesos_name_are_refused(host: Host) -> None:
    host.configure("net1", args={"org.apache.mesos": {}})
    host.start()

    host.launch(order("a.1"))

    assert "It is reserved by Mesos" in host.state_of("a.1", "TASK_FAILED").message
    assert host.calls() == []


def test_only_named_networks_go_this_way(host: Host) -> None:
    host.start()

    host.launch(order("a.1", network=UNNAMED))

    record = host.state_of("a.1", "TASK_RUNNING")
    assert record.addresses == ()
    assert inode_of(host, record.pid) != inode_of(host, 1)
    assert host.calls() == []


def test_del_comes_once_the_task_is_gone_and_leaves_nothing(host: Host) -> None:
    host.start()
    host.launch(order("a.1"))
    record = host.state_of("a.1", "TASK_RUNNING")

    host.kill("a.1")

    assert host.state_of("a.1", *ENDED).state == "TASK_KILLED"
    host.until(lambda: host.commands() == ["ADD", "DEL"], "it is detached")
    add, delete = host.calls()
    assert delete["environment"] == {**add["environment"], "CNI_COMMAND": "DEL"}
    assert delete["input"] == add["input"]
    # The handle still held the namespace of the process that was gone.
    assert delete["inode"] == add["inode"]
    host.until(lambda: not list(host.root.iterdir()), "nothing is left")
    assert f"/{record.container_id}/ns" not in host.run("cat", "/proc/1/mountinfo")
    assert host.get("/containers") == []


def test_a_del_that_fails_comes_again_with_the_next_agent(host: Host) -> None:
    host.behave(DEL={"exit": 1, "stderr": "not now"})
    host.start()
    host.launch(order("a.1"))
    host.state_of("a.1", "TASK_RUNNING")
    host.kill("a.1")
    # That it ended does not wait for its network.
    host.state_of("a.1", "TASK_KILLED")
    host.until(lambda: host.commands() == ["ADD", "DEL"], "it fails")
    host.stop()
    host.behave()

    host.start()

    host.until(lambda: host.commands() == ["ADD", "DEL", "DEL"], "it comes again")
    host.until(lambda: not list(host.root.iterdir()), "nothing is left")


def test_what_ended_while_the_agent_was_away_is_detached_when_it_is_back(host: Host) -> None:
    host.start()
    for name, address in (("a.1", "10.77.1.7"), ("b.1", "10.77.1.8")):
        host.behave(ADD={"stdout": json.dumps(RESULT), "wire": address})
        host.launch(order(name))
        host.state_of(name, "TASK_RUNNING")
    gone, stays = host.record("a.1"), host.record("b.1")
    host.stop(signal.SIGKILL)
    host.run("kill", "-9", str(gone.pid))

    host.start()

    assert host.state_of("a.1", "TASK_FAILED").container_id == gone.container_id
    host.until(lambda: host.commands() == ["ADD", "ADD", "DEL"], "it is detached")
    assert host.calls()[-1]["environment"]["CNI_CONTAINERID"] == gone.container_id
    again = host.record("b.1")
    assert (again.state, again.pid, again.addresses) == ("TASK_RUNNING", stays.pid, (ADDRESSED,))
    host.kill("b.1")
    host.until(lambda: host.commands() == ["ADD", "ADD", "DEL", "DEL"], "so is the other")


def test_an_agent_that_dies_in_the_middle_of_add_takes_the_container_away(host: Host) -> None:
    host.behave(ADD={"wait": "go", "stdout": json.dumps(RESULT)})
    host.start()
    host.launch(order("a.1", SPEAKER))
    host.until(lambda: host.commands() == ["ADD"], "the plugin is called")
    host.stop(signal.SIGKILL)

    host.start()

    assert host.state_of("a.1", "TASK_FAILED")
    host.until(lambda: host.commands() == ["ADD", "DEL"], "it is undone")
    assert said(host, "a.1") == ""


@pytest.mark.parametrize("moment", ["while it is attached", "while it registers"])
def test_a_container_that_is_not_up_yet_ends_with_the_launcher(host: Host, moment: str) -> None:
    waits = {"wait": "go"} if moment == "while it is attached" else {}
    host.behave(ADD={**waits, "stdout": json.dumps(RESULT)})
    host.start()
    host.launch(order("a.1", SPEAKER))
    host.until(lambda: host.commands() == ["ADD"], "the plugin is called")
    (row,) = host.get("/containers")
    executor = row["status"]["executor_pid"]
    if not waits:
        host.until(lambda: "network_infos" in host.get("/containers")[0]["status"], "it registers")

    (launcher,) = re.findall(r"PPid:\s+(\d+)", host.run("cat", f"/proc/{executor}/status"))
    host.run("kill", "-9", launcher)

    host.state_of("a.1", "TASK_FAILED")
    host.launch(order("b.1", network=UNNAMED))
    host.allow("go")
    host.until(lambda: host.commands() == ["ADD", "DEL"], "it is undone")
    host.until(lambda: executor not in pids(host), "its executor is gone")
    assert said(host, "a.1") == ""
    assert host.state_of("b.1", "TASK_RUNNING")


def pids(host: Host) -> set[int]:
    """The processes of the machine."""
    return {int(name) for name in host.run("ls", "/proc").split() if name.isdigit()}


def test_a_task_that_is_killed_while_it_is_attached_is_detached_after_that(host: Host) -> None:
    host.behave(ADD={"wait": "go", "stdout": json.dumps(RESULT), "wire": ADDRESSED})
    host.start()
    host.launch(order("a.1", SPEAKER))
    host.until(lambda: host.commands() == ["ADD"], "the plugin is called")

    host.kill("a.1")

    ended = host.state_of("a.1", *ENDED)
    assert (ended.state, ended.message) == (
        "TASK_KILLED",
        "Killed before delivered to the executor",
    )
    assert host.commands() == ["ADD"]
    host.allow("go")
    host.until(lambda: host.commands() == ["ADD", "DEL"], "it is detached")
    assert said(host, "a.1") == ""


def test_after_a_reboot_del_has_no_namespace_to_name(host: Host) -> None:
    host.start("--network-cni-root-dir-persist")
    host.launch(order("a.1"))
    container = host.state_of("a.1", "TASK_RUNNING").container_id
    host.shut_down()
    host.boot()

    host.start("--network-cni-root-dir-persist")

    host.until(lambda: host.commands() == ["ADD", "DEL"], "it is detached")
    environment = host.calls()[-1]["environment"]
    assert environment["CNI_CONTAINERID"] == container
    assert "CNI_NETNS" not in environment
    host.until(lambda: not list(host.root.iterdir()), "nothing is left")


def test_a_task_has_names_of_its_own_and_no_hold_on_other_namespaces(host: Host) -> None:
    looks = "cat /etc/hosts /etc/resolv.conf /proc/self/mountinfo; hostname"
    result = {**RESULT, "dns": {"nameservers": ["10.77.0.53"]}}
    host.behave(ADD={"stdout": json.dumps(result), "wire": ADDRESSED})
    host.start()
    host.launch(order("a.1"))
    host.state_of("a.1", "TASK_RUNNING")
    host.behave(ADD={"stdout": json.dumps(result), "wire": "10.77.1.8"})

    host.launch(order("b.1", ("/bin/sh", "-c", looks)))

    container = host.state_of("b.1", *ENDED).container_id
    lines = said(host, "b.1").splitlines()
    assert lines[:3] == ["127.0.0.1 localhost", f"{ADDRESSED} {container}", "nameserver 10.77.0.53"]
    assert lines[-1] == container
    assert not [
        line for line in lines if line.split(" ")[4:5] and "/network/cni" in line.split(" ")[4]
    ]


@pytest.mark.parametrize("network", [INFO, UNNAMED], ids=["attached", "left to a locator"])
def test_tasks_ask_the_name_server_that_the_operator_chose(host: Host, network: object) -> None:
    assert isinstance(network, dict)
    host.start("--nameserver", "10.77.0.53")

    host.launch(order("a.1", ("/bin/cat", "/etc/resolv.conf"), network=network))

    host.state_of("a.1", "TASK_FINISHED")
    assert said(host, "a.1") == "nameserver 10.77.0.53\n"
    assert "10.77.0.53" not in host.run("cat", "/etc/resolv.conf")


def test_a_task_may_bind_to_its_own_address(host: Host) -> None:
    host.start()
    code = f"import os, socket; socket.create_server(({ADDRESSED!r}, 80)); print(os.environ)"

    host.launch(order("a.1", python_task(code)))

    assert host.state_of("a.1", *ENDED).state == "TASK_FINISHED"
    assert "'LIBPROCESS_IP': '0.0.0.0'" in said(host, "a.1")
    assert f"'MESOS_AGENT_ENDPOINT': '{ENDPOINT}'" in said(host, "a.1")


def test_several_networks_are_joined_by_one_interface_each(host: Host) -> None:
    host.configure("net2")
    host.start()
    both = (INFO, {**INFO, "name": "net2"})
    host.behave(ADD={"stdout": json.dumps(RESULT), "exit": 1})

    host.launch(msgspec.structs.replace(order("a.1"), networks=both))

    message = host.state_of("a.1", "TASK_FAILED").message
    assert "to CNI network 'net1'" in message
    assert "to CNI network 'net2'" in message
    added = [c["environment"]["CNI_IFNAME"] for c in host.calls() if c["command"] == "ADD"]
    assert added == ["eth0", "eth1"]


def test_a_program_that_is_not_there_fails_the_task_and_gives_its_address_back(host: Host) -> None:
    host.start()

    host.launch(order("a.1", ("/no/such/program",)))

    assert "No such file" in host.state_of("a.1", "TASK_FAILED").message
    host.until(lambda: host.commands() == ["ADD", "DEL"], "it is detached")


def test_tasks_start_again_and_again_without_leaving_anything(host: Host) -> None:
    host.start()
    for number in range(5):
        host.launch(order(f"a.{number}", SLEEPER))
        host.state_of(f"a.{number}", "TASK_RUNNING")
        host.kill(f"a.{number}")
        host.state_of(f"a.{number}", "TASK_KILLED")
        host.until(lambda: not list(host.root.iterdir()), "nothing is left")
    assert host.commands() == ["ADD", "DEL"] * 5
    assert host.run("/bin/sh", "-c", "ls -d /sys/class/net/h* 2>/dev/null || true") == ""
