"""Other programs' firewalls in the way of tasks, told with a remedy that helps."""

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from netaddr import IPAddress

from calico.codec import decode_applied, encode_endpoint
from calico.datastore.etcd import EtcdDatastore
from calico.keys import applied_key, endpoint_key
from calico.model import HostName
from tests.dataplane_worlds import spec
from tests.kernel.namespaces import Namespace
from tests.kernel.probes import connects, listening
from tests.kernel.stores import first_store
from tests.minimal.machine import COMMAND, HOST, Machine, running_machine
from tests.minimal.past import give_past

ANY, PORT = IPAddress("0.0.0.0"), 9000
TASKS = [
    spec(name, "red", "app-red", addresses=[f"10.9.0.{number}"], host=HostName(HOST))
    for number, name in enumerate(("a.1", "b.1"), 1)
]


def run(*words: str) -> bool:
    """Run one of the machine's own commands; whether it is there and worked."""
    if shutil.which(words[0]) is None:
        return False
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.fixture
def machine(host_network: None, tmp_path: Path) -> Iterator[Machine]:
    with running_machine(tmp_path) as made:
        give_past(made.state, HOST)
        yield made


@pytest.fixture
def store(machine: Machine) -> EtcdDatastore:
    return first_store(machine.etcd, PORT, "red")


def problems(store: EtcdDatastore) -> tuple[str, ...]:
    """What the agent says is wrong with its host."""
    stored = store.get(applied_key(HostName(HOST)))
    return () if stored is None else decode_applied(HostName(HOST), stored.value).problems


def test_what_other_firewalls_drop_is_told_and_the_remedy_helps(
    machine: Machine, store: EtcdDatastore, namespace: Callable[[], Namespace]
) -> None:
    closing = {
        "iptables": [
            ("iptables-nft", "-P", "FORWARD", "DROP"),
            ("iptables-nft", "-N", "DOCKER-USER"),
            ("iptables-nft", "-A", "FORWARD", "-j", "DOCKER-USER"),
        ],
        "iptables-legacy": [("iptables-legacy", "-P", "FORWARD", "DROP")],
        "nft": [
            ("nft", "add table inet wall"),
            ("nft", "add chain inet wall way { type filter hook forward priority 5; }"),
            ("nft", "add rule inet wall way counter reject"),
        ],
    }
    # A kernel without the older iptables refuses it, and has nothing to tell of it.
    closed = {tool for tool, commands in closing.items() if all(run(*each) for each in commands)}
    assert closed >= {"nft"}
    tasks = [namespace() for _ in TASKS]
    for each, task in zip(TASKS, tasks, strict=True):
        machine.mesos.pids[each.id.workload] = task.pid
        store.put(endpoint_key(each.id), encode_endpoint(each))
    machine.start("agent")
    machine.wait_up(*(each.id.workload for each in TASKS))
    machine.wait_for("the problems", lambda: len(problems(store)) == len(closed))

    told = problems(store)
    assert {sentence.split()[0] for sentence in told} == closed
    assert all("drops what this host forwards for tasks" in sentence for sentence in told)
    status = json.loads(machine.cli("status", "-o", "json").stdout)
    assert {each["what"] for each in status["problems"]} >= set(told)
    with listening(tasks[1], ANY, PORT):
        assert not connects(tasks[0], TASKS[1].addresses[0], PORT)
        for sentence in told:
            for command in sentence.partition("let it pass: ")[2].split("; "):
                tool, *words = shlex.split(command)
                assert run("iptables-nft" if tool == "iptables" else tool, *words), command
        assert connects(tasks[0], TASKS[1].addresses[0], PORT)
    machine.wait_for("silence", lambda: problems(store) == ())


def refused(machine: Machine) -> str:
    """The one line with which an agent refuses to start."""
    ended = subprocess.run(
        [COMMAND, "agent", "--etcd", machine.etcd, "--listen", "127.0.0.1:0", "--log-level",
         "error", "--host", HOST, "--state-dir", str(machine.directory / "state")],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    return ended.stderr


def test_an_agent_does_not_start_beside_felix(machine: Machine) -> None:
    with subprocess.Popen(["calico-felix", "1000"], executable="/bin/sleep") as felix:
        assert f"Felix runs on this host (process {felix.pid})" in refused(machine)
        felix.kill()


def test_an_agent_does_not_start_among_felixs_chains(machine: Machine) -> None:
    assert run("nft", "add table ip filter")
    assert run("nft", "add chain ip filter felix-FORWARD")
    assert "felix-FORWARD" in refused(machine)
    assert (
        "marathon-calico"
        not in subprocess.run(
            ["nft", "list", "tables"], capture_output=True, text=True, check=True
        ).stdout
    )
