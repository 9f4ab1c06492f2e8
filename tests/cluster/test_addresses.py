"""What an operator asks about addresses and hosts, asked of a running cluster."""

import json
import sys
from typing import Any

from demo.embedded.hosts import MASTER
from tests.cluster.harness import Drive, probe, wait_until

#: Registers a host whose agent never came back.
REGISTER = """
import os
from netaddr import IPAddress
from calico.codec import encode_host
from calico.datastore.etcd import EtcdDatastore
from calico.keys import host_key
from calico.model import BootId, HostName, HostRecord
host = HostRecord(HostName("host-9"), IPAddress("172.31.255.9"), BootId("b"), "m", "0")
EtcdDatastore([os.environ["MARATHON_CALICO_ETCD"]]).put(host_key(host.name), encode_host(host))
"""


def asked(drive: Drive, *arguments: str) -> Any:
    """A command's answer to a program."""
    return json.loads(drive.cluster.product(*arguments, "-o", "json").stdout)


def test_every_address_is_accounted_for_while_tasks_come_and_go(drive: Drive) -> None:
    group = "/accounted"
    drive.deploy(group, [probe("a", "one"), probe("b", "one"), probe("c", "two")])
    try:
        scene = drive.settle(3)
        checked = drive.cluster.product("ipam", "check")
        assert (checked.returncode, checked.stderr) == (0, "")
        (pool,) = asked(drive, "ipam", "show")["pools"]
        states = ("free", "assigned", "resting", "foreign", "leaked")
        assert sum(pool[state] for state in states) == pool["size"]
        for actor in scene.actors:
            assert actor.address is not None
            found = asked(drive, "ipam", "show", "--address", str(actor.address))
            assert (found["state"], found["handle"]) == ("assigned", actor.task_id)
            assert found["endpoints"] == [{"task": actor.task_id, "host": actor.task.host}]
            refused = drive.cluster.product("ipam", "release", str(actor.address), "--yes")
            assert refused.returncode == 1
            assert f"{actor.task_id} on {actor.task.host} uses it" in refused.stdout
    finally:
        drive.remove(group)
    addresses = {str(actor.address) for actor in scene.actors}

    def rest() -> bool:
        listed = asked(drive, "ipam", "check")["addresses"]
        states = {each["address"]: each["state"] for each in listed}
        return {states.get(address) for address in addresses} == {"resting"}

    wait_until(rest, "addresses of ended tasks do not rest")
    assert drive.cluster.product("ipam", "check").returncode == 0


def test_a_host_that_is_gone_is_forgotten_and_one_that_is_not_is_kept(drive: Drive) -> None:
    written = drive.cluster.run(MASTER, (sys.executable, "-c", REGISTER))
    assert written.returncode == 0, written.stderr
    hosts = {each["host"]: each["agent"] for each in asked(drive, "hosts", "list")}
    assert hosts == {"host-1": "reporting", "host-2": "reporting", "host-9": "silent"}

    refused = drive.cluster.product("hosts", "forget", "host-1", "--yes", "--force")
    asking = drive.cluster.product("hosts", "forget", "host-9")
    done = drive.cluster.product("hosts", "forget", "host-9", "--yes")

    assert (refused.returncode, asking.returncode, done.returncode) == (1, 2, 0)
    assert "its agent reports" in refused.stdout
    assert [each["host"] for each in asked(drive, "hosts", "list")] == ["host-1", "host-2"]


def test_what_tests_ask_again_and_again_is_answered_as_by_a_start(drive: Drive) -> None:
    for words in (("get", "pools", "-o", "json"), ("get", "nothing"), ("--help",)):
        started = drive.cluster.product(*words)
        asked_again = drive.commands.product(*words)
        assert asked_again.returncode == started.returncode
        assert (asked_again.stdout, asked_again.stderr) == (started.stdout, started.stderr)
