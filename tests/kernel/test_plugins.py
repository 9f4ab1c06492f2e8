"""The plugins as programs, with the real agent: what they make, refuse and leave."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from netaddr import IPAddress, IPNetwork

from calico.addressing.addresses import Addresses
from calico.model import HandleId, Pool
from tests.contract.attach.plugin_process import CONFIG, CONTAINER, Done, run_cni, run_plugin
from tests.kernel.attached_host import HERE, AttachedHost, links, running_host
from tests.kernel.namespaces import Namespace
from tests.kernel.probes import connects, listening

ANY = IPAddress("0.0.0.0")
SMALL = Pool(IPNetwork("10.9.0.0/26"))
OWN = "/proc/self/ns/net"
UID = "0cd47986-24ad-4c00-b9d3-5db9e5c02028"
DONE = Done(0, '{"error": null}\n', "")


@pytest.fixture
def host(host_network: None, tmp_path: Path) -> Iterator[AttachedHost]:
    with running_host(tmp_path, SMALL) as made:
        yield made


def net(namespace: Namespace) -> str:
    return f"/proc/{namespace.pid}/ns/net"


def shown(namespace: Namespace, *words: str) -> Any:
    """What `ip` says inside, decoded."""
    with namespace.entered():
        done = subprocess.run(["ip", "-json", *words], capture_output=True, check=True)
    return json.loads(done.stdout)


def rpc(host: AttachedHost, command: str, **args: object) -> Done:
    call = {"command": command, "args": {"hostname": "h", **args}}
    return run_plugin("netmodules", host.socket, json.dumps(call))


@pytest.mark.parametrize("version", ["0.2.0", "1.0.0"])
def test_what_add_answers_is_what_the_container_has(
    host: AttachedHost, namespace: Callable[[], Namespace], version: str
) -> None:
    inside = namespace()
    config = {**CONFIG, "cniVersion": version}

    answer = run_cni(host.socket, "ADD", json.dumps(config), CNI_NETNS=net(inside)).answer

    (link,) = shown(inside, "address", "show", "dev", "eth0")
    (address,) = [each["local"] for each in link["addr_info"] if each["family"] == "inet"]
    (route,) = shown(inside, "route", "show", "default")
    if version == "0.2.0":
        assert answer["ip4"]["ip"] == f"{address}/32"
        assert answer["ip4"]["gateway"] == route["gateway"]
    else:
        assert answer["ips"][0]["address"] == f"{address}/32"
        outside, own = answer["interfaces"]
        assert (own["name"], own["mac"]) == ("eth0", link["address"])
        assert outside["name"] in links()
    # Its own host reaches it, as an executor needs it.
    with listening(inside, ANY, 9000):
        assert connects(Outside(), IPAddress(address), 9000)


class Outside:
    """The host itself, which the test's thread is in."""

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket of the host."""
        return socket.socket(family, kind, protocol)


def test_check_notices_that_the_link_is_gone(
    host: AttachedHost, namespace: Callable[[], Namespace]
) -> None:
    inside = namespace()
    answer = run_cni(host.socket, "ADD", CNI_NETNS=net(inside)).answer
    config = json.dumps({**CONFIG, "prevResult": answer})
    assert run_cni(host.socket, "CHECK", config, CNI_NETNS=net(inside)) == Done(0, "", "")

    with inside.entered():
        subprocess.run(["ip", "link", "delete", "eth0"], check=True)
    checked = run_cni(host.socket, "CHECK", config, CNI_NETNS=net(inside))
    with inside.entered():
        back = "eth0" in {name for _, name in socket.if_nameindex()}

    # The agent may have put it back by now; if not, it says that it is gone.
    assert back if checked == Done(0, "", "") else (checked.code, checked.answer["code"]) == (1, 3)


#: A change of a call -> what is said of it.
BAD_CALLS = {
    ("CNI_NETNS", OWN): "host",
    ("CNI_NETNS", "/etc/passwd"): "namespace",
    ("CNI_NETNS", "/proc/self/ns/mnt"): "namespace",
    ("CNI_NETNS", "/dev/zero"): "namespace",
    ("CNI_IFNAME", "lo"): "'lo'",
    ("CNI_IFNAME", "taken0"): "taken0",
    ("CNI_ARGS", "IP=10.99.0.1"): "10.99.0.1",
}


def test_a_bad_call_is_refused_in_a_line_and_leaves_nothing(
    host: AttachedHost, namespace: Callable[[], Namespace]
) -> None:
    inside = namespace()
    with inside.entered():
        subprocess.run(["ip", "link", "add", "taken0", "type", "veth"], check=True)

    for (name, value), words in BAD_CALLS.items():
        refused = run_cni(host.socket, "ADD", **{"CNI_NETNS": net(inside), name: value})

        assert (refused.code, refused.answer["code"]) == (1, 7), (name, value, refused)
        assert words in refused.complaint
        assert (host.held(), links()) == ({}, set()), (name, value)
    assert host.books() == ""


def test_a_network_that_the_agent_does_not_serve_is_refused(
    host: AttachedHost, namespace: Callable[[], Namespace]
) -> None:
    config = json.dumps({**CONFIG, "name": "elsewhere"})

    refused = run_cni(host.socket, "ADD", config, CNI_NETNS=net(namespace()))

    assert (refused.code, refused.answer["code"]) == (1, 7)
    assert "'elsewhere' is none of this agent's --network: calico" in refused.complaint
    host.expect_nothing_left()


def test_a_second_network_or_namespace_is_refused_and_the_first_stays(
    host: AttachedHost, namespace: Callable[[], Namespace]
) -> None:
    inside, other = namespace(), namespace()
    run_cni(host.socket, "ADD", CNI_NETNS=net(inside))
    before = links(), host.held()

    refused = [
        run_cni(host.socket, "ADD", CNI_NETNS=net(inside), CNI_IFNAME="eth1"),
        run_cni(host.socket, "ADD", CNI_NETNS=net(other)),
        run_cni(host.socket, "ADD", CNI_NETNS=net(inside), CNI_CONTAINERID="another"),
    ]

    assert [each.code for each in refused] == [1, 1, 1]
    assert run_cni(host.socket, "DEL", CNI_NETNS=net(inside), CNI_IFNAME="eth1").code == 0
    assert (links(), host.held()) == before
    assert run_cni(host.socket, "DEL", CNI_NETNS=net(inside)).code == 0
    host.expect_nothing_left()


def test_a_full_pool_is_told(host: AttachedHost, namespace: Callable[[], Namespace]) -> None:
    addresses = Addresses(host.store)
    for number in range(64):
        addresses.assign(HERE, HandleId(f"other.{number}"))
    before = host.held()

    refused = run_cni(host.socket, "ADD", CNI_NETNS=net(namespace()))

    assert refused.code == 1
    assert "no free address" in refused.complaint or "no address" in refused.complaint
    assert host.held() == before
    assert links() == set()


def test_a_container_of_a_container_has_a_network_of_its_own(
    host: AttachedHost, namespace: Callable[[], Namespace]
) -> None:
    nested = f"{CONTAINER}.2b0d7c3e-0001-4cb8-9d2c-3e0a8ce8a2a5"
    parent, child = namespace(), namespace()
    run_cni(host.socket, "ADD", CNI_NETNS=net(parent))

    assert run_cni(host.socket, "ADD", CNI_NETNS=net(child), CNI_CONTAINERID=nested).code == 0
    assert len(links()) == 2
    assert run_cni(host.socket, "DEL", CNI_NETNS=None).code == 0
    assert run_cni(host.socket, "DEL", CNI_NETNS=None, CNI_CONTAINERID=nested).code == 0
    host.expect_nothing_left()


def test_an_agent_that_hangs_is_not_waited_for_and_leaves_nothing(
    host: AttachedHost, namespace: Callable[[], Namespace]
) -> None:
    inside, other = namespace(), namespace()
    agent = host.machine.processes["agent"]
    agent.send_signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        added = run_cni(host.socket, "ADD", CNI_NETNS=net(inside))
        assert time.monotonic() - started < 5
        assert (added.code, added.answer["code"]) == (1, 11)
        assert "did not answer" in added.complaint
        assert run_cni(host.socket, "DEL", CNI_NETNS=net(inside)).code == 0
    finally:
        agent.send_signal(signal.SIGCONT)
    # Longer than anything takes that was left in the socket.
    assert run_cni(host.socket, "ADD", CNI_NETNS=net(other), CNI_CONTAINERID="other").code == 0

    assert len(host.held()) == len(links()) == 1
    assert run_cni(host.socket, "DEL", CNI_CONTAINERID="other").code == 0
    host.expect_nothing_left()


def test_defect_18_net_modules_containers_outlive_restarts_of_the_agent(
    host: AttachedHost, namespace: Callable[[], Namespace]
) -> None:
    inside = namespace()
    (address,) = rpc(host, "allocate", uid=UID, num_ipv4=1, num_ipv6=0).answer["ipv4"]
    container = {"container_id": CONTAINER}
    _restart(host)
    assert rpc(host, "isolate", pid=inside.pid, ipv4_addrs=[address], **container) == DONE
    (link,) = shown(inside, "address", "show", "dev", "eth0")
    assert [each["local"] for each in link["addr_info"] if each["family"] == "inet"] == [address]
    _restart(host)

    assert rpc(host, "release", ips=[address]) == DONE
    assert len(links()) == 1, "release alone names no container"
    assert rpc(host, "cleanup", **container) == DONE
    host.expect_nothing_left()


def test_what_net_modules_forgot_is_taken_away_with_the_container(
    host: AttachedHost, namespace: Callable[[], Namespace]
) -> None:
    inside = namespace()
    (address,) = rpc(host, "allocate", uid=UID, num_ipv4=1, num_ipv6=0).answer["ipv4"]
    rpc(host, "isolate", pid=inside.pid, ipv4_addrs=[address], container_id=CONTAINER)

    inside.end()

    host.machine.wait_for("nothing left", lambda: host.held() == {} and not links())
    host.expect_nothing_left()


def test_the_namespace_of_the_agent_or_of_nobody_is_refused_by_pid(host: AttachedHost) -> None:
    (address,) = rpc(host, "allocate", uid=UID, num_ipv4=1, num_ipv6=0).answer["ipv4"]

    for pid in (os.getpid(), host.machine.processes["agent"].pid, 1, 2**22 + 1):
        refused = rpc(host, "isolate", pid=pid, ipv4_addrs=[address], container_id=CONTAINER)
        assert refused.code == 1
        assert refused.complaint
    assert links() == set()
    assert rpc(host, "release", uid=UID) == DONE
    host.expect_nothing_left()


def _restart(host: AttachedHost) -> None:
    host.machine.kill("agent")
    host.start()
    host.machine.wait_for("an answer", lambda: rpc(host, "release", ips=[]).err == "")
