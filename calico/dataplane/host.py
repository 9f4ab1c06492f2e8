"""What a host has of its own: its underlay, its networks."""

import socket
from collections.abc import Iterable, Iterator
from typing import Any

from netaddr import IPAddress, IPNetwork
from pyroute2 import IPRoute

from calico.dataplane import sysctl
from calico.dataplane.state import MAIN_TABLE, ROUTE_PROTOCOL, HostFacts
from calico.errors import DataplaneUnsupported


def observe_facts(kernel: IPRoute, wanted: IPAddress | None) -> HostFacts:
    """The underlay's interface, address and MTU, and all networks of the host.

    Raises DataplaneUnsupported when the underlay cannot be told.
    """
    links = {link["index"]: link for link in kernel.get_links()}
    addresses = [
        (each["index"], IPNetwork(f"{value}/{each['prefixlen']}"))
        for each in kernel.get_addr()
        if (value := each.get_attr("IFA_LOCAL") or each.get_attr("IFA_ADDRESS")) is not None
    ]
    index, address = _underlay(kernel, addresses, wanted)
    networks = {network.cidr for _, network in addresses} | set(_foreign_routes(kernel))
    return HostFacts(
        interface=links[index].get_attr("IFLA_IFNAME"),
        address=address,
        mtu=links[index].get_attr("IFLA_MTU"),
        networks=tuple(sorted(networks)),
    )


def _underlay(
    kernel: IPRoute, addresses: list[tuple[int, IPNetwork]], wanted: IPAddress | None
) -> tuple[int, IPAddress]:
    """The interface and address by which other hosts reach this one."""
    if wanted is not None:
        for index, network in addresses:
            if network.ip == wanted:
                return index, wanted
        raise DataplaneUnsupported(
            f"--address {wanted} is on no interface of this host; give one that `ip address` lists"
        )
    for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
        for route in _main_routes(kernel, family):
            if route["dst_len"] != 0 or (index := route.get_attr("RTA_OIF")) is None:
                continue
            if source := route.get_attr("RTA_PREFSRC"):
                return index, IPAddress(source)
            for owner, network in addresses:
                if owner == index and network.version == version and not _is_local(network.ip):
                    return index, network.ip
    raise DataplaneUnsupported(
        "this host has no default route to tell its own address by; give it with --address"
    )


def _is_local(address: IPAddress) -> bool:
    return bool(address.is_link_local() or address.is_loopback())


def _foreign_routes(kernel: IPRoute) -> Iterator[IPNetwork]:
    """Destinations in the main table that we did not put there."""
    for family, empty in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        for route in _main_routes(kernel, family):
            if route["dst_len"] != 0 and route["proto"] != ROUTE_PROTOCOL:
                destination = route.get_attr("RTA_DST", empty)
                yield IPNetwork(f"{destination}/{route['dst_len']}")


def _main_routes(kernel: IPRoute, family: int) -> Iterable[Any]:
    if family == socket.AF_INET6 and not sysctl.has_ipv6():
        return ()
    routes: Iterable[Any] = kernel.get_routes(family=family, table=MAIN_TABLE)
    return routes
