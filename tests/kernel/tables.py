"""A host with tasks of two groups, wired by hand, under the product's table."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from socket import socket

from netaddr import IPAddress, IPNetwork
from pyroute2 import IPRoute

from calico.dataplane.nft.library import NftTable
from calico.dataplane.render.host import Rendered, render_host
from calico.dataplane.state import ROUTE_TABLE, HostConfig
from calico.model import EndpointSpec, Protected, Snapshot
from tests.dataplane_worlds import (
    CONFIG,
    HERE_ADDRESS,
    POOL,
    THERE_ADDRESS,
    commit_of,
    group,
    openings,
    snapshot,
    spec,
)
from tests.kernel.namespaces import Namespace
from tests.kernel.wires import wire

A1, A2, B1 = (IPAddress(f"10.9.0.{n}") for n in (1, 2, 3))
A1_6, A2_6, B1_6 = (IPAddress(f"fd00:9::{n}") for n in (1, 2, 3))
PORT, OTHER_PORT = 9000, 9001
PROTECTED_PORT = 31500
NODAD = 0x02
#: On the underlay, but no registered host.
STRANGER = IPAddress("10.77.0.3")

SPECS = {
    "a1": spec("a1", "red", "app-red", addresses=[str(A1), str(A1_6)]),
    "a2": spec("a2", "red", "app-red", addresses=[str(A2), str(A2_6)]),
    "b1": spec("b1", "blue", "app-blue", addresses=[str(B1), str(B1_6)]),
}
PROFILES = (
    group("red"),
    group("blue"),
    openings("app-red", "red", PORT),
    openings("app-blue", "blue", PORT),
)
WORLD = snapshot(SPECS.values(), PROFILES)
TABLE_CONFIG = replace(CONFIG, protected=(Protected(IPNetwork(HERE_ADDRESS), PROTECTED_PORT),))


@dataclass(frozen=True, slots=True)
class Here:
    """The test's own namespace, which plays the host."""

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket:
        return socket(family, kind, protocol)


@dataclass(frozen=True, slots=True)
class World:
    """The host's table, the tasks' namespaces, and one outside."""

    table: NftTable
    rendered: Rendered
    tasks: dict[str, Namespace]
    outside: Namespace

    def __getitem__(self, task: str) -> Namespace:
        return self.tasks[task]


def make_world(
    namespace: Callable[[], Namespace],
    world: Snapshot = WORLD,
    config: HostConfig = TABLE_CONFIG,
) -> World:
    """Commit the rendered table, then wire tasks and an underlay to it."""
    rendered = render_host(world, config)
    table = NftTable()
    table.open()
    table.commit(commit_of(rendered.state))
    for path in (
        "ipv4/ip_forward",
        "ipv6/conf/all/forwarding",
        "ipv4/conf/all/src_valid_mark",
        "ipv4/conf/all/rp_filter",
    ):
        Path("/proc/sys/net", path).write_text("1")
    outside = namespace()
    _connect_underlay(outside)
    _add_mark_rules(config.mark)
    tasks = {
        name: _wire_task(namespace(), each)
        for name, each in SPECS.items()
        if each.id in world.specs
    }
    return World(table, rendered, tasks, outside)


def _wire_task(task: Namespace, each: EndpointSpec) -> Namespace:
    assert each.mac is not None
    wire(each.interface, task, each.mac, *each.addresses, table=ROUTE_TABLE)
    return task


def _connect_underlay(outside: Namespace) -> None:
    with IPRoute() as host:
        host.link(
            "add", ifname="eth0", kind="veth", peer={"ifname": "eth0", "net_ns_pid": outside.pid}
        )
        (index,) = host.link_lookup(ifname="eth0")
        host.addr("add", index=index, address=str(HERE_ADDRESS), prefixlen=24)
        host.addr("add", index=index, address="fd00:77::1", prefixlen=64, flags=NODAD)
        host.link("set", index=index, state="up")
    with outside.entered(), IPRoute() as there:
        (index,) = there.link_lookup(ifname="eth0")
        for address in (THERE_ADDRESS, STRANGER):
            there.addr("add", index=index, address=str(address), prefixlen=24)
        there.link("set", index=index, state="up")
        there.route("add", dst=str(POOL.cidr), gateway=str(HERE_ADDRESS))


def _add_mark_rules(mark: int) -> None:
    with IPRoute() as host:
        for family in (2, 10):
            host.rule(
                "add", family=family, priority=100, fwmark=mark, fwmask=mark, table=ROUTE_TABLE
            )
            host.rule("add", family=family, priority=101, iifname="lo", table=ROUTE_TABLE)
        host.route("add", dst=str(POOL.cidr), type="blackhole")
