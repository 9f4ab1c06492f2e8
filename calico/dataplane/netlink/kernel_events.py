"""What the kernel's events say of our objects: pure.

An event names, by the number of its netlink socket, who asked for the change.
That tells another program's changes from our own, except for devices, whose
events name nobody.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from calico.dataplane.netlink.wire import attributes, integer
from calico.dataplane.state import MAIN_TABLE, ROUTE_PROTOCOL, ROUTE_TABLE, RULE_PREFERENCES, TABLE
from calico.model import INTERFACE_PREFIX

#: Groups of events, each by its number. Devices, addresses, routes, rules and
#: the few settings that have events, of both families.
ROUTE_GROUPS = (1, 5, 7, 8, 9, 11, 19, 24, 25)
NFTABLES_GROUP = 7

RTM_NEWLINK, RTM_DELLINK = 16, 17
RTM_NEWADDR, RTM_DELADDR = 20, 21
RTM_NEWROUTE, RTM_DELROUTE = 24, 25
RTM_NEWRULE, RTM_DELRULE = 32, 33
RTM_NEWNETCONF, RTM_DELNETCONF = 80, 81
NLM_F_REPLACE = 0x100
NFPROTO_INET = 1
RTA_DST = 1
FRA_PRIORITY = 6
IFA_ADDRESS, IFA_LOCAL = 1, 2
RT_SCOPE_LINK = 253

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
#: Every message about a part of a table names the table first.
_TABLE_NAME = TABLE.encode() + b"\0"
_IN_OUR_TABLE = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(_TABLE_NAME), 1) + _TABLE_NAME
_OUR_DEVICE = INTERFACE_PREFIX.encode()

Place = tuple[int, int, bytes]
Held = tuple[int, int, int, bytes]


@dataclass(frozen=True, slots=True)
class Event:
    """One message that nobody asked for; `port` is the socket that caused it, 0 for none."""

    kind: int
    flags: int
    port: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of some events.

    `ports` changed something of ours, `devices` is whether to look at devices,
    `host` whether the host itself has other addresses.
    """

    ports: frozenset[int] = frozenset()
    devices: bool = False
    host: bool = False


def split_events(data: bytes) -> Iterator[Event]:
    """The messages in one datagram."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        size, kind, flags, _, port = _HEADER.unpack_from(data, offset)
        if size < _HEADER.size:
            return
        yield Event(
            kind=kind, flags=flags, port=port, body=data[offset + _HEADER.size : offset + size]
        )
        offset += (size + 3) & ~3


def hear_nftables(data: bytes) -> Heard:
    """Who changed our nftables table in one datagram of events.

    Other tables may change all the time: a datagram that does not name ours is
    not even taken apart.
    """
    if _TABLE_NAME not in data:
        return Heard()
    return Heard(
        frozenset(
            event.port
            for event in split_events(data)
            if event.body[:1] == bytes((NFPROTO_INET,)) and event.body.startswith(_IN_OUR_TABLE, 4)
        )
    )


class RouteEvents:
    """Understands events of routes, rules, devices and addresses.

    Keeps what is needed to tell a change from an event that changes nothing:
    the host's addresses, and the places of our routes in the main table.
    """

    def __init__(self, routes: Iterable[bytes] = (), addresses: Iterable[bytes] = ()) -> None:
        self._in_main: set[Place] = set()
        self._addresses: set[Held] = set()
        for body in routes:
            self._note_route(Event(kind=RTM_NEWROUTE, flags=0, port=0, body=body))
        for body in addresses:
            self._note_address(Event(kind=RTM_NEWADDR, flags=0, port=0, body=body))

    def hear(self, data: bytes) -> Heard:
        """What one datagram of events says of ours."""
        ports: set[int] = set()
        devices = host = False
        for event in split_events(data):
            if event.kind in (RTM_NEWLINK, RTM_DELLINK):
                devices = devices or _OUR_DEVICE in event.body
            elif event.kind in (RTM_NEWNETCONF, RTM_DELNETCONF):
                devices = True
            elif event.kind in (RTM_NEWADDR, RTM_DELADDR):
                host = self._note_address(event) or host
            elif (event.kind in (RTM_NEWROUTE, RTM_DELROUTE) and self._note_route(event)) or (
                event.kind in (RTM_NEWRULE, RTM_DELRULE) and _is_our_rule(event)
            ):
                ports.add(event.port)
        return Heard(frozenset(ports), devices, host)

    def _note_route(self, event: Event) -> bool:
        """Whether a route of ours came, changed or went, or lost its place."""
        family, length, _, _, table, protocol = event.body[:6]
        if table == ROUTE_TABLE:
            return True
        if table != MAIN_TABLE:
            return False
        replacing = event.kind == RTM_NEWROUTE and event.flags & NLM_F_REPLACE
        if protocol != ROUTE_PROTOCOL and not replacing:
            return False
        place = (family, length, attributes(event.body, 12).get(RTA_DST, b""))
        if protocol != ROUTE_PROTOCOL:
            return place in self._in_main
        if event.kind == RTM_NEWROUTE:
            self._in_main.add(place)
        else:
            self._in_main.discard(place)
        return True

    def _note_address(self, event: Event) -> bool:
        """Whether the host has an address more or less that others may know."""
        family, length, _, scope, index = struct.unpack_from("=BBBBI", event.body)
        if scope >= RT_SCOPE_LINK:
            return False
        found = attributes(event.body, 8)
        held = (family, length, index, found.get(IFA_LOCAL, found.get(IFA_ADDRESS, b"")))
        known = held in self._addresses
        if event.kind == RTM_NEWADDR:
            self._addresses.add(held)
            return not known
        self._addresses.discard(held)
        return known


def _is_our_rule(event: Event) -> bool:
    return integer(attributes(event.body, 12).get(FRA_PRIORITY)) in RULE_PREFERENCES
