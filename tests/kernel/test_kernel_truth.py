"""What the commands tell of real kernels, through real agents."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from netaddr import IPAddress

from calico.dataplane.state import TABLE
from calico.model import EndpointSpec
from tests.kernel.cluster import (
    ADDRESS,
    HOSTS,
    ONE,
    PORT,
    STRANGER,
    TWO,
    Cluster,
    run,
    running_cluster,
    task_of,
)
from tests.kernel.namespaces import Namespace
from tests.kernel.probes import connects, listening
from tests.minimal.machine import COMMAND

WEB, FRIEND, FOE = (
    task_of("web.1", 1, "red"),
    task_of("friend.1", 2, "red", TWO),
    task_of("foe.1", 3, "blue", TWO),
)
LATE = task_of("late.1", 9, "red")
LATE_ID = "late.1"
AGENT_PORT = 9402


@pytest.fixture
def cluster(namespace: Callable[[], Namespace], tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path, namespace) as made:
        yield made


def command(cluster: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    """One of the reading commands, in the namespace that the hosts are plugged into."""
    return subprocess.run(
        [COMMAND, *words, "--etcd", cluster.etcd],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def fields(cluster: Cluster, *words: str) -> dict[str, object]:
    done = command(cluster, *words, "-o", "json")
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def address_of(task: EndpointSpec) -> IPAddress:
    return task.addresses[0]


def test_what_another_program_put_into_our_table_for_good_is_told(cluster: Cluster) -> None:
    # given a base chain of another program in our table, which is never removed
    cluster.run_tasks(WEB, FRIEND)
    assert command(cluster, "diff").stdout == "desired and actual agree: 2 tasks on 2 hosts\n"
    with cluster.hosts[ONE].network.entered():
        run(
            *("nft", "add", "chain", "inet", TABLE, "spy"),
            "{ type filter hook forward priority 9; }",
        )
        run("nft", "add", "rule", "inet", TABLE, "spy", "counter", "accept")
    # when the agent has looked again, a second later at most
    cluster.wait_for("a difference", lambda: command(cluster, "diff").returncode == 1)
    # then only its host's kernel differs, for good, and no task does
    told = "agent on one\n- kernel chain spy (1 rules)\n"
    cluster.wait_for("both", lambda: command(cluster, "diff").stdout == told)
    assert command(cluster, "diff", "two").returncode == 0
    assert command(cluster, "diff", "web.1").returncode == 0
    assert command(cluster, "diff", "--no-kernel").returncode == 0


def test_a_task_whose_namespace_never_comes_lacks_its_link_and_route(cluster: Cluster) -> None:
    cluster.run_tasks(WEB)
    cluster.put(LATE)
    cluster.wait_for("a report", lambda: "namespace" in command(cluster, "diff", LATE_ID).stdout)
    done = command(cluster, "diff", LATE_ID)
    # then report and kernel both tell, each of its own
    assert done.returncode == 1
    place, source = address_of(LATE), HOSTS[ONE]
    assert done.stdout.splitlines()[-2:] == [
        f"+ kernel link {LATE.interface} up",
        f"+ kernel route {place}/32 dev {LATE.interface} src {source} table 80",
    ]
    described = command(cluster, "describe", "task", LATE_ID).stdout
    (line,) = (each for each in described.splitlines() if each.startswith("route"))
    assert line.split()[-2:] == ["nothing", "DIFFERS"]
    denied = fields(cluster, "why", "web.1", LATE_ID)
    assert denied["fact"] == "endpoint down"
    assert denied["kernel"] == {
        "host": ONE,
        "agrees": "yes",
        "detail": "it drops it: route blackhole 10.9.0.0/16 table 254: nothing else leads there",
    }


def test_what_a_task_does_to_its_own_side_is_described(cluster: Cluster) -> None:
    cluster.run_tasks(WEB)
    with cluster["web.1"].entered():
        run("ip", "address", "add", "10.9.0.99/32", "dev", "eth0")
        run("ip", "link", "set", "eth0", "mtu", "1400")
    described = command(cluster, "describe", "task", "web.1").stdout.splitlines()
    told = {line.split()[0]: line.split() for line in described if line.endswith("DIFFERS")}
    mine = str(address_of(WEB))
    assert told["address"] == ["address", mine, mine, f"{mine},", "10.9.0.99", "DIFFERS"]
    assert told["mtu"] == ["mtu", "1500", "-", "1400", "DIFFERS"]
    assert set(told) == {"address", "mtu"}


def test_a_task_s_kernel_is_described_with_what_went_through_it(cluster: Cluster) -> None:
    # given three connections to a task
    cluster.run_tasks(WEB, FRIEND, FOE)
    with listening(cluster["web.1"], address_of(WEB), PORT):
        for _ in range(3):
            assert connects(cluster["friend.1"], address_of(WEB), PORT)
        assert not connects(cluster["foe.1"], address_of(WEB), PORT)
    # when
    kernel = fields(cluster, "describe", "task", "web.1")["kernel"]
    # then
    assert isinstance(kernel, dict)
    assert kernel["told"] is True
    assert kernel["differences"] == []
    found = {fact["what"]: (fact["wanted"], fact["found"]) for fact in kernel["facts"]}
    assert found["address"] == ([str(address_of(WEB))], [str(address_of(WEB))])
    assert all(wanted == seen for wanted, seen in found.values())
    (inbound,) = (each for each in kernel["chains"] if each["direction"] == "inbound")
    counts = {rule["text"]: rule["packets"] for rule in inbound["rules"]}
    assert counts[f"ip saddr tag red tcp dport {PORT} goto admitted"] == 3
    assert counts["drop"] >= 1
    assert kernel["sent"]["packets"] >= 3
    assert kernel["received"]["bytes"] > 0


def test_why_agrees_with_the_kernels_of_every_host_on_the_way(cluster: Cluster) -> None:
    cluster.run_tasks(WEB, FRIEND, FOE)
    etcd = cluster.etcd.rpartition(":")[2]
    for source, destination, exit_code, host in (
        ("friend.1", f"web.1:{PORT}", 0, ONE),
        ("friend.1", f"web.1:{PORT + 1}", 1, ONE),
        ("foe.1", f"web.1:{PORT}", 1, ONE),
        ("web.1", f"friend.1:{PORT}", 0, TWO),
        ("web.1", "friend.1/icmp", 0, TWO),
        ("web.1", "foe.1/icmp", 1, TWO),
        ("friend.1", "foe.1", 1, TWO),
        ("one", "web.1:22", 0, ONE),
        ("two", f"web.1:{PORT}", 1, ONE),
        (str(STRANGER), f"web.1:{PORT}", 1, ONE),
        ("web.1", "two:5051", 0, TWO),
        ("web.1", "two:22", 1, TWO),
        ("web.1", f"one:{AGENT_PORT}", 1, ONE),
        ("web.1", f"{ADDRESS}:{etcd}", 1, ONE),
        ("web.1", "203.0.113.9:80", 0, ONE),
        ("web.1", "169.254.169.254:80", 1, ONE),
    ):
        done = command(cluster, "why", source, destination, "-o", "json")
        found = json.loads(done.stdout)
        kernel = found["kernel"]
        told = (done.returncode, kernel["host"], kernel["agrees"])
        assert told == (exit_code, host, "yes"), (source, destination, found)


def test_agents_that_are_gone_are_told_and_etcd_still_answers(cluster: Cluster) -> None:
    cluster.run_tasks(WEB)
    cluster.kill(ONE)
    done = command(cluster, "diff", "web.1")
    assert done.returncode == 0
    (line,) = (each for each in done.stdout.splitlines() if each.startswith("?"))
    assert "cannot be asked: Connection refused" in line
    assert "--no-kernel" in line
    described = command(cluster, "describe", "task", "web.1")
    assert described.returncode == 0
    assert "kernel    not known: its agent at 10.77.0.1:" in described.stdout
    asked = json.loads(command(cluster, "why", "one", "web.1:9000", "-o", "json").stdout)
    assert asked["kernel"]["agrees"] == "unknown"
    alone = command(cluster, "diff", "web.1", "--no-kernel")
    agreed = "desired and actual agree: 1 task on 1 host, as agents report\n"
    assert (alone.returncode, alone.stdout) == (0, agreed)
