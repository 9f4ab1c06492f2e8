"""`why` towards hosts and the outside, which the flags of agents decide."""

import json
from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from calico import codec, keys
from calico.datastore.memory import MemoryDatastore
from calico.model import BootId, HostFlags, HostName, HostRecord, PortRange, Profile, Protected
from reconciler.cli.commands.why import judge_why
from reconciler.cli.printing.render import Answer, render
from reconciler.cli.reading.cluster import read_cluster
from tests.unit.cli.world import World, star

HOST_PORTS = (PortRange(53, 53), PortRange(5051, 5051), PortRange(31000, 32000))
PROTECTED = (
    Protected(IPNetwork("10.1.0.254/32"), 2379),
    Protected(IPNetwork("203.0.113.0/24")),
    Protected(IPNetwork("10.1.0.2/32"), 31500),
)
RECORD = HostRecord(
    HostName("host-a"),
    IPAddress("10.1.0.1"),
    BootId("boot"),
    "machine",
    "0.1",
    (IPAddress("172.17.0.1"),),
    flags=HostFlags(HOST_PORTS, PROTECTED),
)


@pytest.fixture
def world() -> World:
    """Two hosts whose agents told their flags, and the tasks of the star."""
    found = star(MemoryDatastore())
    for name, address in (("host-a", "10.1.0.1"), ("host-b", "10.1.0.2")):
        record = replace(RECORD, name=HostName(name), address=IPAddress(address))
        found.datastore.put(keys.host_key(record.name), codec.encode_host(record))
    return found


def why(world: World, source: str, destination: str) -> Answer:
    return judge_why(read_cluster(world.datastore), source, destination)


def fields(answer: Answer) -> dict[str, object]:
    decoded = json.loads(render(answer, "json", width=None, colour=False))
    assert isinstance(decoded, dict)
    return decoded


@pytest.mark.parametrize(
    ("destination", "exit_code", "fact"),
    [
        pytest.param("host-a:5051", 0, "host port", id="its own host's open port"),
        pytest.param("host-b:5051", 0, "host port", id="another host's open port"),
        pytest.param("host-b:31999/udp", 0, "host port", id="within a range"),
        pytest.param("10.1.0.2:53/udp", 0, "host port", id="a host by its address"),
        pytest.param("172.17.0.1:53", 0, "host port", id="a host by its other address"),
        pytest.param("host-a:22", 1, "host port closed", id="its own host's closed port"),
        pytest.param("host-b:9402", 1, "host port closed", id="the agent's own pages"),
        pytest.param("host-b/icmp", 1, "host port closed", id="a ping of a host"),
        pytest.param("host-b:31500", 1, "protected", id="an open port that is protected"),
        pytest.param("10.1.0.254:2379", 1, "protected", id="etcd"),
        pytest.param("10.1.0.254:2380", 0, "egress is open", id="beside etcd"),
        pytest.param("203.0.113.9/icmp", 1, "protected", id="all of a protected network"),
        pytest.param("169.254.169.254:80", 1, "metadata address", id="credentials of the host"),
        pytest.param("169.254.169.253:53/udp", 0, "egress is open", id="a cloud's DNS"),
        pytest.param("8.8.8.8:53/udp", 0, "egress is open", id="outside"),
        pytest.param("8.8.8.8", 0, "egress is open", id="anything outside"),
        pytest.param("host-b", 0, "host port", id="anything of a host"),
    ],
)
def test_flags_of_hosts_decide_what_tasks_reach_of_them(
    world: World, destination: str, exit_code: int, fact: str
) -> None:
    answer = why(world, "star_probe-a", destination)
    assert (fields(answer)["fact"], answer.exit_code) == (fact, exit_code)


def test_what_is_open_of_a_host_is_listed(world: World) -> None:
    found = fields(why(world, "star_probe-a", "host-b"))
    open_ports = "53,5051,31000:31499,31501:32000"
    assert found["open"] == {"tcp": open_ports, "udp": open_ports, "icmp": False}


def test_the_answer_names_the_flag_and_its_host(world: World) -> None:
    closed = fields(why(world, "star_probe-a", "host-b:22"))
    assert closed["detail"] == (
        "tcp/22 is not among --host-ports of the agent on host-b: 53,5051,31000:32000"
    )
    assert closed["remedy"] == "tcp/22 among --host-ports of the agent on host-b"
    protected = fields(why(world, "star_probe-b", "10.1.0.254:2379"))
    assert protected["detail"] == (
        "--protect of the agent on host-b closes 10.1.0.254/32 port 2379 to tasks"
    )


def test_only_flags_that_are_known_decide(world: World) -> None:
    # given host-b's agent is of an older version
    world.host("host-b", "10.1.0.2")
    assert why(world, "star_probe-a", "host-b:22").exit_code == 3
    assert why(world, "star_probe-a", "host-a:22").exit_code == 1
    assert why(world, "star_probe-b", "8.8.8.8:80").exit_code == 3
    assert why(world, "star_probe-a", "8.8.8.8:80").exit_code == 0


def test_a_task_that_may_not_send_still_reaches_its_own_host(world: World) -> None:
    # given a task of host-b none of whose profiles lets anything out
    (task,) = (each for each in read_cluster(world.datastore).tasks() if "probe-c" in each.name)
    assert task.spec is not None
    for profile in task.spec.profiles:
        world.profile(Profile(profile))
    # then what is not forwarded is no matter of profiles
    assert fields(why(world, "star_probe-c", "host-b:5051"))["fact"] == "host port"
    assert fields(why(world, "star_probe-c", "host-a:5051"))["fact"] == "egress is closed"
