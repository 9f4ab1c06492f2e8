"""The rtnetlink messages that are sent for every task, packed and read by hand.

pyroute2 spends more time on encoding one endpoint than the kernel on making
it, so these few shapes are written out here; everything rarer goes through
pyroute2. Names and numbers are those of the kernel's headers.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from netaddr import EUI, IPAddress, IPNetwork

from calico.dataplane.netlink.link_settings import as_made
from calico.dataplane.netlink.wire import (
    Request,
    attribute,
    attributes,
    integer,
    number,
    signed,
    string,
    text,
)
from calico.dataplane.state import (
    DEVICE_GROUP,
    HOST_MAC,
    MAIN_TABLE,
    ROUTE_PROTOCOL,
    ROUTE_TABLE,
    Link,
    Route,
    RouteKind,
)
from calico.model import INTERFACE_PREFIX, InterfaceName

NLM_F_ACK = 0x4
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLM_F_DUMP = 0x300

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 20, 24, 25, 26
RTM_NEWNEIGH, RTM_GETNSID = 28, 90

AF_INET, AF_INET6 = 2, 10
IFF_UP, IFF_LOWER_UP = 0x1, 0x10000
IFA_F_NODAD = 0x02
NUD_PERMANENT = 0x80
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_NOWHERE = 0, 253, 255
RTN_UNICAST, RTN_BLACKHOLE = 1, 6
RTPROT_BOOT = 3
RTEXT_FILTER_SKIP_STATS = 8
IN6_ADDR_GEN_MODE_NONE = 1
LOOPBACK = 1

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINKINFO = 1, 3, 4, 18
IFLA_IFALIAS, IFLA_AF_SPEC, IFLA_GROUP, IFLA_NET_NS_FD = 20, 26, 27, 28
IFLA_EXT_MASK, IFLA_LINK_NETNSID, IFLA_TARGET_NETNSID = 29, 37, 46
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 1, 2, 1
IFLA_INET_CONF, IFLA_INET6_ADDR_GEN_MODE = 1, 8
IFA_ADDRESS, IFA_LOCAL = 1, 2
NDA_DST, NDA_LLADDR = 1, 2
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PREFSRC, RTA_TABLE = 1, 4, 5, 7, 15
NETNSA_NSID, NETNSA_FD = 1, 3

Version = Literal[4, 6]

_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_NEIGHBOUR = struct.Struct("=BxxxiHBB")


@dataclass(frozen=True, slots=True)
class SeenLink:
    """What we look at in a network device; `namespace_id` is that of its peer."""

    index: int
    link: Link
    group: int
    namespace_id: int | None

    @property
    def name(self) -> InterfaceName:
        """The device's name."""
        return self.link.name

    @property
    def alias(self) -> str:
        """What the device carries, empty for none."""
        return self.link.alias


@dataclass(frozen=True, slots=True)
class SeenRoute:
    """What we look at in a route; `index` is that of the device it leaves by."""

    destination: IPNetwork
    kind: int
    table: int
    protocol: int
    index: int | None
    gateway: IPAddress | None
    source: IPAddress | None


# Links


def create_veth(name: InterfaceName, peer: str, namespace: int, mac: EUI, mtu: int) -> Request:
    """A veth that is down on both sides, its peer born in a namespace's descriptor."""
    far = (
        _LINK.pack(0, 0, 0, 0, 0)
        + text(IFLA_IFNAME, peer)
        + number(IFLA_NET_NS_FD, namespace)
        + attribute(IFLA_ADDRESS, mac.packed)
        + number(IFLA_MTU, mtu)
    )
    body = (
        _LINK.pack(0, 0, 0, 0, 0)
        + text(IFLA_IFNAME, name)
        + attribute(IFLA_ADDRESS, HOST_MAC.packed)
        + number(IFLA_MTU, mtu)
        + number(IFLA_GROUP, DEVICE_GROUP)
        + attribute(
            IFLA_LINKINFO,
            attribute(IFLA_INFO_KIND, b"veth")
            + attribute(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, far)),
        )
    )
    return Request(f"create {name}", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, body)


def set_ipv4(index: int, settings: Mapping[int, int]) -> Request:
    """Per-device IPv4 settings by their IPV4_DEVCONF number: sysctls in one message."""
    values = b"".join(number(setting, value) for setting, value in settings.items())
    return _set_families(index, attribute(AF_INET, attribute(IFLA_INET_CONF, values)))


def set_no_link_local(index: int) -> Request:
    """Let the device make no IPv6 address of its own when it comes up."""
    mode = attribute(IFLA_INET6_ADDR_GEN_MODE, bytes((IN6_ADDR_GEN_MODE_NONE,)))
    return _set_families(index, attribute(AF_INET6, mode))


def _set_families(index: int, families: bytes) -> Request:
    body = _LINK.pack(0, 0, index, 0, 0) + attribute(IFLA_AF_SPEC, families)
    return Request(f"configure device {index}", RTM_SETLINK, NLM_F_ACK, body)


def raise_link(index: int, alias: str | None = None) -> Request:
    """Bring a device up, and name it in the same message: the kernel does the name first."""
    body = _LINK.pack(0, 0, index, IFF_UP, IFF_UP)
    if alias is not None:
        body += attribute(IFLA_IFALIAS, alias.encode())
    return Request(f"raise device {index}", RTM_SETLINK, NLM_F_ACK, body)


def put_in_group(index: int, group: int) -> Request:
    """Move a device into a device group."""
    body = _LINK.pack(0, 0, index, 0, 0) + number(IFLA_GROUP, group)
    return Request(f"group device {index}", RTM_SETLINK, NLM_F_ACK, body)


def delete_group(group: int) -> Request:
    """Delete all devices of a group at the price of one."""
    body = _LINK.pack(0, 0, 0, 0, 0) + number(IFLA_GROUP, group)
    return Request(f"delete group {group}", RTM_DELLINK, NLM_F_ACK, body)


def settle_link(index: int, namespace_id: int) -> Request:
    """Ask for one device of another namespace, which lets its carrier take effect.

    A device whose peer just came up drops all it is to send until the kernel's
    link watch has run. Since Linux 6.8 asking for the device runs it.
    """
    body = (
        _LINK.pack(0, 0, index, 0, 0)
        + number(IFLA_TARGET_NETNSID, namespace_id)
        + number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
    )
    return Request(f"settle device {index}", RTM_GETLINK, 0, body)


def dump_links() -> Request:
    """Ask for all devices, without their counters."""
    body = _LINK.pack(0, 0, 0, 0, 0) + number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
    return Request("list devices", RTM_GETLINK, NLM_F_DUMP, body)


def parse_link(body: bytes) -> SeenLink:
    """One device of a dump."""
    _, _, index, flags, _ = _LINK.unpack_from(body)
    found = attributes(body, _LINK.size)
    peer = found.get(IFLA_LINK_NETNSID)
    name = InterfaceName(string(found[IFLA_IFNAME]))
    return SeenLink(
        index=index,
        link=Link(
            name,
            string(found.get(IFLA_IFALIAS, b"")),
            bool(flags & IFF_UP),
            # Only our own devices are judged: it takes a while.
            sound=not name.startswith(INTERFACE_PREFIX) or as_made(found),
            carried=bool(flags & IFF_LOWER_UP),
        ),
        group=integer(found.get(IFLA_GROUP)),
        namespace_id=None if peer is None else integer(peer),
    )


def ask_namespace_id(descriptor: int) -> Request:
    """Ask by what number our namespace knows another one."""
    body = struct.pack("=Bxxx", 0) + number(NETNSA_FD, descriptor)
    return Request("number of a namespace", RTM_GETNSID, 0, body)


def parse_namespace_id(body: bytes) -> int:
    """The number, or -1 for none."""
    return signed(attributes(body, 4).get(NETNSA_NSID))


# Addresses and neighbours


def add_address(index: int, address: IPAddress) -> Request:
    """A host address (/32, /128), usable at once."""
    family = _family(address)
    flags = IFA_F_NODAD if family == AF_INET6 else 0
    value = address.packed
    body = (
        _ADDRESS.pack(family, len(value) * 8, flags, RT_SCOPE_UNIVERSE, index)
        + attribute(IFA_LOCAL, value)
        + attribute(IFA_ADDRESS, value)
    )
    return Request(
        f"add address {address}", RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK, body
    )


def add_neighbour(index: int, address: IPAddress, mac: EUI) -> Request:
    """A neighbour that is never asked for."""
    body = (
        _NEIGHBOUR.pack(_family(address), index, NUD_PERMANENT, 0, 0)
        + attribute(NDA_DST, address.packed)
        + attribute(NDA_LLADDR, mac.packed)
    )
    flags = NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK
    return Request(f"add neighbour {address}", RTM_NEWNEIGH, flags, body)


# Routes


def add_gateway(index: int, gateway: IPAddress) -> tuple[Request, ...]:
    """A task's way out: the gateway on the link, and the default route by it."""
    family, size = _family(gateway), len(gateway.packed)
    flags = NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK

    def header(length: int, scope: int) -> bytes:
        return _ROUTE.pack(
            family, length, 0, 0, MAIN_TABLE, RTPROT_BOOT, scope, RTN_UNICAST, 0
        ) + number(RTA_OIF, index)

    near = header(size * 8, RT_SCOPE_LINK) + attribute(RTA_DST, gateway.packed)
    far = header(0, RT_SCOPE_UNIVERSE) + attribute(RTA_GATEWAY, gateway.packed)
    return (
        Request(f"add route to {gateway}", RTM_NEWROUTE, flags, near),
        Request(f"add default route by {gateway}", RTM_NEWROUTE, flags, far),
    )


def add_route(route: Route, index: int | None, *, replace: bool = False) -> Request:
    """One of our routes; without `replace` it fails where any route is already."""
    scope = RT_SCOPE_LINK if route.kind is RouteKind.TASK else RT_SCOPE_UNIVERSE
    flags = NLM_F_CREATE | NLM_F_ACK | (NLM_F_REPLACE if replace else NLM_F_EXCL)
    body = _route(route, index, scope)
    if route.source is not None:
        body += attribute(RTA_PREFSRC, route.source.packed)
    return Request(f"add route to {route.destination}", RTM_NEWROUTE, flags, body)


def remove_route(route: Route, index: int | None) -> Request:
    """Remove exactly this one of our routes."""
    if route.kind is RouteKind.BLACKHOLE and route.destination.version == 6:
        # IPv6 ignores the type when it deletes, but its blackholes lie on `lo`.
        index = LOOPBACK
    body = _route(route, index, RT_SCOPE_NOWHERE)
    return Request(f"remove route to {route.destination}", RTM_DELROUTE, NLM_F_ACK, body)


def _route(route: Route, index: int | None, scope: int) -> bytes:
    destination = route.destination
    kind = RTN_BLACKHOLE if route.kind is RouteKind.BLACKHOLE else RTN_UNICAST
    network = IPAddress(destination.first, destination.version)
    family, length = _family(network), destination.prefixlen
    body = (
        _ROUTE.pack(family, length, 0, 0, route.table, ROUTE_PROTOCOL, scope, kind, 0)
        + attribute(RTA_DST, network.packed)
        + number(RTA_TABLE, route.table)
    )
    if index is not None:
        body += number(RTA_OIF, index)
    if route.gateway is not None:
        body += attribute(RTA_GATEWAY, route.gateway.packed)
    return body


def dump_routes(family: int, *, protocol: int = 0, table: int = 0) -> Request:
    """Ask for the routes of a protocol, a table, or both; 0 is any."""
    body = _ROUTE.pack(family, 0, 0, 0, table, protocol, 0, 0, 0)
    return Request("list routes", RTM_GETROUTE, NLM_F_DUMP, body)


def parse_route(body: bytes) -> SeenRoute:
    """One route of a dump."""
    family, length, _, _, table, protocol, _, kind, _ = _ROUTE.unpack_from(body)
    found = attributes(body, _ROUTE.size)
    version: Version = 4 if family == AF_INET else 6
    target = found.get(RTA_DST, bytes(4 if version == 4 else 16))
    return SeenRoute(
        destination=IPNetwork((int.from_bytes(target, "big"), length), version=version),
        kind=kind,
        table=integer(found.get(RTA_TABLE)) or table,
        protocol=protocol,
        index=integer(found.get(RTA_OIF)) or None,
        gateway=_address(found.get(RTA_GATEWAY), version),
        source=_address(found.get(RTA_PREFSRC), version),
    )


def own_route(seen: SeenRoute, name_by_index: Mapping[int, InterfaceName]) -> Route | None:
    """A route as one of ours, None when it is another program's."""
    if seen.protocol != ROUTE_PROTOCOL or seen.table not in (ROUTE_TABLE, MAIN_TABLE):
        return None
    if seen.kind == RTN_BLACKHOLE:
        return Route(seen.destination, RouteKind.BLACKHOLE, seen.table)
    if seen.gateway is not None:
        return Route(
            seen.destination, RouteKind.HOST, seen.table, gateway=seen.gateway, source=seen.source
        )
    interface = None if seen.index is None else name_by_index.get(seen.index)
    return Route(
        seen.destination, RouteKind.TASK, seen.table, interface=interface, source=seen.source
    )


def _address(value: bytes | None, version: Version) -> IPAddress | None:
    return None if value is None else IPAddress(int.from_bytes(value, "big"), version)


def _family(address: IPAddress) -> int:
    return AF_INET if address.version == 4 else AF_INET6
