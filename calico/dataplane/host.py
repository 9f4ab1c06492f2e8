"""What a host has of its own: its underlay, its networks."""

from collections.abc import Iterable, Sequence

from netaddr import IPAddress, IPNetwork
from pyroute2 import IPRoute

from calico.dataplane.netlink.messages import SeenRoute
from calico.dataplane.netlink.routes import Routes
from calico.dataplane.state import HostFacts
from calico.errors import DataplaneUnsupported


def observe_facts(kernel: IPRoute, routes: Routes, wanted: IPAddress | None) -> HostFacts:
    """The underlay's interface, address and MTU, and all networks of the host.

    Raises DataplaneUnsupported when the underlay cannot be told.
    """
    addresses = [
        (each["index"], IPNetwork(f"{value}/{each['prefixlen']}"))
        for each in kernel.get_addr()
        if (value := each.get_attr("IFA_LOCAL") or each.get_attr("IFA_ADDRESS")) is not None
    ]
    foreign = routes.foreign()
    index, address = _underlay(foreign, addresses, wanted)
    (link,) = kernel.get_links(index)
    networks = {network.cidr for _, network in addresses}
    networks |= {route.destination for route in foreign if route.destination.prefixlen != 0}
    return HostFacts(
        interface=link.get_attr("IFLA_IFNAME"),
        address=address,
        mtu=link.get_attr("IFLA_MTU"),
        networks=tuple(sorted(networks)),
        others=tuple(_others(index, address, addresses)),
    )


def _others(
    underlay: int, address: IPAddress, addresses: Sequence[tuple[int, IPNetwork]]
) -> Iterable[IPAddress]:
    """What else other machines may know this one by, the underlay's own first."""
    known = sorted(
        (index != underlay, network.ip)
        for index, network in addresses
        if _is_known(network.ip) and network.ip != address
    )
    return dict.fromkeys(ip for _, ip in known)


def _is_known(address: IPAddress) -> bool:
    """Whether an address means this host to another machine."""
    return not (address.is_loopback() or address.is_link_local())


def _underlay(
    foreign: Sequence[SeenRoute],
    addresses: Sequence[tuple[int, IPNetwork]],
    wanted: IPAddress | None,
) -> tuple[int, IPAddress]:
    """The interface and address by which other hosts reach this one."""
    if wanted is not None:
        for index, network in addresses:
            if network.ip == wanted:
                return index, wanted
        raise DataplaneUnsupported(
            f"--address {wanted} is on no interface of this host; give one that `ip address` lists"
        )
    for route in foreign:
        if route.destination.prefixlen != 0 or route.index is None:
            continue
        if route.source is not None:
            return route.index, route.source
        for index, network in addresses:
            same = (route.index, route.destination.version) == (index, network.version)
            if same and not network.ip.is_link_local():
                return index, network.ip
    raise DataplaneUnsupported(
        "this host has no default route to tell its own address by; give it with --address"
    )
