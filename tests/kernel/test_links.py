"""What a task's veth is like, and that no stop on the way to it does harm."""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from netaddr import EUI, IPAddress, IPNetwork
from pyroute2 import IPRoute

from calico.dataplane.api import Applied
from calico.dataplane.changes import (
    AddRoute,
    AttachTask,
    Change,
    MendLink,
    RemoveLink,
    SetSysctl,
)
from calico.dataplane.kernel import KernelDataplane
from calico.dataplane.netlink.links import DOOMED_GROUP
from calico.dataplane.state import DEVICE_GROUP, MAIN_TABLE, Link, Route, RouteKind, Wiring
from calico.model import InterfaceName, TaskId
from tests.kernel.namespaces import Namespace
from tests.kernel.probes import connects, delivers, echoes, listening

Make = Callable[[], Namespace]


class Crashed(Exception):
    """The agent was killed here."""


class Fuse:
    """Lets so many steps happen, then ends the agent."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.taken: list[str] = []

    def __call__(self, what: str) -> None:
        if len(self.taken) == self.left:
            raise Crashed(what)
        self.taken.append(what)


@pytest.fixture
def dataplane(host_network: None) -> Iterator[KernelDataplane]:
    with closing(KernelDataplane()) as made:
        yield made


def wired(number: int, *, mtu: int = 1400, ipv6: bool = True) -> Link:
    addresses = [IPAddress(f"10.9.{number >> 8}.{number & 255}")]
    if ipv6:
        addresses.append(IPAddress(f"fd00:9::{number:x}"))
    wiring = Wiring(TaskId(f"app.{number}"), EUI(0x020000000000 + number), tuple(addresses), mtu)
    return Link(InterfaceName(f"cali{number:011x}"), wiring.alias, wiring=wiring)


def routes_to(link: Link) -> list[AddRoute]:
    assert link.wiring is not None
    return [
        AddRoute(Route(IPNetwork(address), RouteKind.TASK, MAIN_TABLE, link.name))
        for address in link.wiring.addresses
    ]


def attached(*pairs: tuple[Link, Namespace]) -> tuple[Change, ...]:
    """The changes that connect tasks, on a host that forwards all."""
    return (
        SetSysctl("net/ipv4/ip_forward", "1"),
        SetSysctl("net/ipv6/conf/all/forwarding", "1"),
        *(AttachTask(link, namespace.ref) for link, namespace in pairs),
        *(route for link, _ in pairs for route in routes_to(link)),
    )


def done(dataplane: KernelDataplane, *changes: Change) -> None:
    assert dataplane.apply(changes) == Applied({})


def setting(path: str) -> str:
    return Path("/proc/sys/net", path).read_text().strip()


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_two_tasks_reach_each_other_at_once(dataplane: KernelDataplane, namespace: Make) -> None:
    one, two = namespace(), namespace()
    done(dataplane, *attached((wired(1), one), (wired(2), two)))
    # The very first packet: it must not wait for a link that is slow to rise.
    assert delivers(one, two, IPAddress("10.9.0.2"), 9000)
    for address in (IPAddress("10.9.0.2"), IPAddress("fd00:9::2")):
        assert echoes(one, address)
        with listening(two, address, 9000):
            assert connects(one, address, 9000)


def test_a_tasks_side_has_the_name_that_was_asked_for(
    dataplane: KernelDataplane, namespace: Make
) -> None:
    one, two = namespace(), namespace()
    link = wired(1)
    assert link.wiring is not None
    named = replace(link, wiring=replace(link.wiring, device="net1.5"))
    done(dataplane, *attached((named, one), (wired(2), two)))

    assert dataplane.observe().links[link.name] == link, "its name inside is no matter of the host"
    assert delivers(one, two, IPAddress("10.9.0.2"), 9000)
    with one.entered():
        assert {name for _, name in socket.if_nameindex()} == {"lo", "net1.5"}
    renamed = replace(wired(3), wiring=replace(link.wiring, device="net1.5"))
    (why,) = dataplane.apply([AttachTask(renamed, one.ref)]).failures.values()
    assert why == "its namespace already has an interface net1.5 that is not ours"


def test_both_sides_have_the_macs_and_mtu_that_were_asked_for(
    dataplane: KernelDataplane, namespace: Make
) -> None:
    task = namespace()
    done(dataplane, AttachTask(wired(1), task.ref))
    host_side = run("ip", "-d", "link", "show", "dev", wired(1).name)
    with task.entered():
        task_side = run("ip", "link", "show", "dev", "eth0")
    assert "mtu 1400" in host_side
    assert "ee:ee:ee:ee:ee:ee" in host_side
    assert f"group {DEVICE_GROUP}" in host_side
    assert f"alias {wired(1).alias}" in host_side
    assert "mtu 1400" in task_side
    assert "02:00:00:00:00:01" in task_side


def test_the_host_side_checks_sources_by_mark_and_believes_no_task(
    dataplane: KernelDataplane, namespace: Make
) -> None:
    done(dataplane, AttachTask(wired(1), namespace().ref))
    expected = {
        "forwarding": "1",
        "rp_filter": "1",
        "src_valid_mark": "1",
        "proxy_arp": "0",
        "accept_redirects": "0",
        "send_redirects": "0",
        "accept_source_route": "0",
        "accept_local": "0",
        "route_localnet": "0",
        "arp_ignore": "1",
    }
    name = wired(1).name
    assert {each: setting(f"ipv4/conf/{name}/{each}") for each in expected} == expected
    assert setting(f"ipv6/conf/{name}/accept_ra") == "0"
    assert setting(f"ipv6/conf/{name}/forwarding") == "1"


def test_a_link_that_another_program_touched_is_mended_while_its_task_goes_on(
    dataplane: KernelDataplane, namespace: Make
) -> None:
    one, two = namespace(), namespace()
    link = wired(1)
    done(dataplane, *attached((link, one), (wired(2), two)))
    before = run("ip", "-d", "link", "show", "dev", link.name)
    run("ip", "link", "set", link.name, "down")
    run("ip", "link", "set", link.name, "address", "02:00:00:00:00:99")
    for name in ("rp_filter", "arp_ignore", "src_valid_mark"):
        Path(f"/proc/sys/net/ipv4/conf/{link.name}/{name}").write_text("0")
    Path(f"/proc/sys/net/ipv6/conf/{link.name}/accept_ra").write_text("2")
    seen = dataplane.observe().links[link.name]
    assert (seen.alias, seen.up, seen.sound) == (link.alias, False, False)

    done(dataplane, MendLink(link), *routes_to(link))

    assert dataplane.observe().links[link.name] == link
    assert run("ip", "-d", "link", "show", "dev", link.name) == before
    neighbours = run("ip", "neighbour", "show", "dev", link.name)
    assert "10.9.0.1 lladdr 02:00:00:00:00:01 PERMANENT" in neighbours
    for address in (IPAddress("10.9.0.1"), IPAddress("fd00:9::1")):
        assert echoes(two, address)


def test_a_task_without_an_ipv6_address_has_no_ipv6(
    dataplane: KernelDataplane, namespace: Make
) -> None:
    task = namespace()
    done(dataplane, AttachTask(wired(1, ipv6=False), task.ref))
    assert setting(f"ipv6/conf/{wired(1).name}/disable_ipv6") == "1"
    with task.entered():
        assert setting("ipv6/conf/eth0/disable_ipv6") == "1"
        assert "inet6" not in run("ip", "address", "show", "dev", "eth0")


def test_a_task_sees_only_its_own_addresses_and_the_fixed_gateway(
    dataplane: KernelDataplane, namespace: Make
) -> None:
    task = namespace()
    done(dataplane, AttachTask(wired(1), task.ref))
    with task.entered():
        addresses = run("ip", "-o", "address", "show", "dev", "eth0")
        routes = run("ip", "route") + run("ip", "-6", "route")
        neighbours = run("ip", "neigh") + run("ip", "-6", "neigh")
    assert [line.split()[3] for line in addresses.splitlines()] == ["10.9.0.1/32", "fd00:9::1/128"]
    assert "default via 169.254.1.1 dev eth0" in routes
    assert "default via fe80::1 dev eth0" in routes
    for gateway in ("169.254.1.1", "fe80::1"):
        assert f"{gateway} dev eth0 lladdr ee:ee:ee:ee:ee:ee PERMANENT" in neighbours


def test_an_eth0_of_someone_else_is_never_touched(
    dataplane: KernelDataplane, namespace: Make
) -> None:
    task = namespace()
    run("ip", "link", "add", "other0", "type", "veth", "peer", "eth0", "netns", str(task.pid))
    change = AttachTask(wired(1), task.ref)
    (reason,) = dataplane.apply((change,)).failures.values()
    assert "already has an interface eth0" in reason
    assert dataplane.observe().links == {}
    with task.entered():
        assert "DOWN" in run("ip", "link", "show", "dev", "eth0")
    assert "other0" in run("ip", "link")


@pytest.mark.parametrize("ipv6", [False, True], ids=["ipv4", "both families"])
def test_an_agent_killed_at_any_step_is_made_good_by_the_next(namespace: Make, ipv6: bool) -> None:
    link, prober = wired(1, ipv6=ipv6), namespace()
    whole = Fuse(1000)
    with closing(KernelDataplane(whole)) as dataplane:
        done(dataplane, *attached((link, namespace())), RemoveLink(link.name))
        done(dataplane, *attached((wired(2), prober)))
    assert len(whole.taken) > 10
    for steps in range(whole.taken.index("group device 2")):
        task = namespace()
        changes = attached((link, task))
        with closing(KernelDataplane(Fuse(steps))) as dying, pytest.raises(Crashed):
            dying.apply((*changes, RemoveLink(link.name)))
        with closing(KernelDataplane()) as dataplane:
            left = dataplane.observe().links.get(link.name)
            if left is not None and not left.up:
                assert left.alias == "", "a link is named only when it is complete"
            done(dataplane, *changes)
            assert dataplane.observe().links[link.name] == link
            assert echoes(prober, IPAddress("10.9.0.1"))
            done(dataplane, RemoveLink(link.name))
        task.end()


def test_links_set_down_by_someone_come_up_again_without_being_made_anew(
    dataplane: KernelDataplane, namespace: Make
) -> None:
    link, task = wired(1), namespace()
    done(dataplane, AttachTask(link, task.ref))
    before = run("ip", "-o", "link")
    run("ip", "link", "set", "dev", link.name, "down")
    assert dataplane.observe().links[link.name].up is False
    done(dataplane, *attached((link, task)))
    after = run("ip", "-o", "link")
    assert [line.split(":")[0] for line in after.splitlines()] == [
        line.split(":")[0] for line in before.splitlines()
    ]
    assert dataplane.observe().links == {link.name: link}


def test_a_hundred_links_go_in_the_time_of_a_few(
    dataplane: KernelDataplane, namespace: Make
) -> None:
    tasks = [(wired(number, ipv6=False), namespace()) for number in range(1, 101)]
    fuse = Fuse(10_000)
    done(dataplane, *(AttachTask(link, task.ref) for link, task in tasks))
    with closing(KernelDataplane(fuse)) as remover:
        done(remover, *(RemoveLink(link.name) for link, _ in tasks))
    assert dataplane.observe().links == {}
    # Every deletion waits for the kernel once; so there must be one only.
    assert [step for step in fuse.taken if step.startswith("delete")] == [
        f"delete group {DOOMED_GROUP}"
    ]


def test_a_device_that_happens_to_be_in_the_group_of_the_doomed_stays(
    dataplane: KernelDataplane, namespace: Make
) -> None:
    run("ip", "link", "add", "other0", "group", str(DOOMED_GROUP), "type", "veth", "peer", "other1")
    done(dataplane, AttachTask(wired(1), namespace().ref))
    done(dataplane, RemoveLink(wired(1).name))
    assert dataplane.observe().links == {}
    assert "other0" in run("ip", "link")


def test_attaching_and_removing_leaves_no_descriptor_open(
    dataplane: KernelDataplane, namespace: Make
) -> None:
    task = namespace()

    def cycle() -> int:
        done(dataplane, *attached((wired(1), task)))
        done(dataplane, RemoveLink(wired(1).name))
        return len(os.listdir("/proc/self/fd"))

    first = cycle()
    assert [cycle() for _ in range(5)] == [first] * 5


def test_the_thread_is_at_home_after_a_task_could_not_be_wired(namespace: Make) -> None:
    home = os.stat("/proc/thread-self/ns/net").st_ino
    task = namespace()
    # The last message that is sent from inside the task's namespace.
    inside = Fuse(1000)
    with closing(KernelDataplane(inside)) as dataplane:
        done(dataplane, AttachTask(wired(1, ipv6=False), task.ref), RemoveLink(wired(1).name))
    step = inside.taken.index("add neighbour 169.254.1.1")
    with closing(KernelDataplane(Fuse(step))) as dying, pytest.raises(Crashed):
        dying.apply((AttachTask(wired(1, ipv6=False), task.ref),))
    assert os.stat("/proc/thread-self/ns/net").st_ino == home


def test_a_link_of_a_task_is_not_named_before_its_side_is_wired(namespace: Make) -> None:
    steps: list[str] = []

    def record(what: str) -> None:
        with IPRoute() as kernel:
            names = {link.get_attr("IFLA_IFNAME"): link for link in kernel.get_links()}
        if (link := names.get(wired(1).name)) is not None:
            steps.append(what)
            assert link["state"] == "down"
            assert link.get_attr("IFLA_IFALIAS") is None

    with closing(KernelDataplane(record)) as dataplane:
        done(dataplane, AttachTask(wired(1), namespace().ref))
    assert steps[-1].startswith("raise device")
