"""Two hosts under the product's table with a task on each, wired by hand, both families."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from netaddr import IPAddress
from pyroute2 import IPRoute

from calico.dataplane.nft.library import NftTable
from calico.dataplane.render.host import render_host
from calico.model import EndpointSpec, HostName, Profile
from tests.dataplane_worlds import (
    CONFIG,
    HERE,
    HERE_ADDRESS,
    POOL,
    POOL6,
    THERE,
    THERE_ADDRESS,
    commit_of,
    snapshot,
)
from tests.kernel.cluster import run
from tests.kernel.namespaces import Namespace
from tests.kernel.probes import echoes
from tests.kernel.wires import wire

NODAD = 0x02
UNDERLAY = {
    HERE: (HERE_ADDRESS, IPAddress("fd00:77::1")),
    THERE: (THERE_ADDRESS, IPAddress("fd00:77::2")),
}
SETTINGS = {
    "ipv4/ip_forward": "1",
    "ipv6/conf/all/forwarding": "1",
    "ipv6/conf/eth0/accept_dad": "0",
}
PATIENCE = 10
#: Drops what comes from the other host, before it is tracked.
GATE = (
    "add table inet gate",
    "add chain inet gate in { type filter hook prerouting priority -500; }",
)


@dataclass(frozen=True, slots=True)
class TwoHosts:
    """The hosts' networks and the tasks', by name."""

    hosts: dict[HostName, Namespace]
    tasks: dict[str, Namespace]

    def __getitem__(self, task: str) -> Namespace:
        return self.tasks[task]

    @contextmanager
    def parted(self) -> Iterator[None]:
        """What a host sends to the other one is lost while the body runs."""
        for host in self.hosts.values():
            with host.entered():
                for words in (*GATE, "add rule inet gate in iifname eth0 drop"):
                    run("nft", words)
        yield
        for host in self.hosts.values():
            with host.entered():
                run("nft", "delete table inet gate")


def make_two_hosts(
    namespace: Callable[[], Namespace],
    specs: Iterable[EndpointSpec],
    profiles: Iterable[Profile],
    ruled: Iterable[HostName] = (HERE, THERE),
) -> TwoHosts:
    """Connect both hosts, give each its tasks, and our table to those that are `ruled`."""
    given = tuple(specs)
    world = snapshot(given, profiles)
    hosts = {name: namespace() for name in UNDERLAY}
    with hosts[HERE].entered(), IPRoute() as here:
        peer = {"ifname": "eth0", "net_ns_pid": hosts[THERE].pid}
        here.link("add", ifname="eth0", kind="veth", peer=peer)
    tasks = {}
    for name, host in hosts.items():
        with host.entered():
            _connect(name)
            for each in given:
                if each.id.host == name and each.mac is not None:
                    made = tasks[each.id.workload] = namespace()
                    wire(each.interface, made, each.mac, *each.addresses)
            if name in ruled:
                table = NftTable()
                table.open()
                config = replace(CONFIG, host=name, address=UNDERLAY[name][0])
                table.commit(commit_of(render_host(world, config).state))
                table.close()
    for name, host in hosts.items():
        _wait_for_addresses(name, host)
    return TwoHosts(hosts, tasks)


def _wait_for_addresses(name: HostName, host: Namespace) -> None:
    """Before a host has an address of its link, it finds no neighbour over IPv6."""
    (other,) = UNDERLAY.keys() - {name}
    deadline = time.monotonic() + PATIENCE
    while not all(echoes(host, address) for address in UNDERLAY[other]):
        assert time.monotonic() < deadline, "the hosts have no way to each other"


def _connect(name: HostName) -> None:
    """The calling thread's host joins the underlay and routes the pools to the other one."""
    (other,) = UNDERLAY.keys() - {name}
    for setting, value in SETTINGS.items():
        Path("/proc/sys/net", setting).write_text(value)
    with IPRoute() as host:
        (index,) = host.link_lookup(ifname="eth0")
        for address, length in zip(UNDERLAY[name], (24, 64), strict=True):
            host.addr("add", index=index, address=str(address), prefixlen=length, flags=NODAD)
        host.link("set", index=index, state="up")
        for pool, gateway in zip((POOL, POOL6), UNDERLAY[other], strict=True):
            host.route("add", dst=str(pool.cidr), gateway=str(gateway))
