"""Connection tracking's messages, packed and read by hand; pure.

pyroute2 takes half a millisecond for one tracked connection, and a host may
have a hundred thousand. Names and numbers are those of the kernel's headers.
"""

import struct
from collections.abc import Container, Iterable, Iterator
from typing import Literal, NamedTuple

from netaddr import IPAddress

from calico.dataplane.netlink.wire import Request, attribute, attributes, number
from calico.dataplane.state import Connection

SUBSYSTEM = 1
CT_NEW, CT_GET, CT_DELETE = SUBSYSTEM << 8, SUBSYSTEM << 8 | 1, SUBSYSTEM << 8 | 2
AF_INET, AF_INET6 = 2, 10
FAMILIES = {4: AF_INET, 6: AF_INET6}
NLM_F_ACK, NLM_F_DUMP = 0x4, 0x300
NLA_F_NESTED = 0x8000

CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_STATUS, CTA_FILTER = 1, 2, 3, 25
CTA_TUPLE_IP, CTA_TUPLE_PROTO = 1, 2
CTA_IP_V4_SRC, CTA_IP_V4_DST, CTA_IP_V6_SRC, CTA_IP_V6_DST = 1, 2, 3, 4
CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT = 1, 2, 3
CTA_PROTO_ICMP, CTA_PROTO_ICMPV6 = (4, 5, 6), (7, 8, 9)
CTA_FILTER_ORIG_FLAGS, CTA_FILTER_REPLY_FLAGS = 1, 2
IPS_SEEN_REPLY = 2

Version = Literal[4, 6]

_HEADER = struct.Struct("=BBH")
_MESSAGE = struct.Struct("=IH")
_BODY_AT = 16 + _HEADER.size

#: Both directions of a connection with IPv4 addresses and ports, which nearly
#: all are, and its status: the kernel writes them always alike. Between the
#: values stand the attributes' headers.
_DIRECTION = "12s4s4s4s8sB3x4sH2x4sH2x"
_PLAIN = struct.Struct(f">{_DIRECTION}{_DIRECTION}4sI")


def _headers(direction: int) -> tuple[bytes, ...]:
    """What stands before source, destination, protocol and each port."""
    header = struct.Struct("=HH").pack
    return (
        header(52, direction | NLA_F_NESTED)
        + header(20, CTA_TUPLE_IP | NLA_F_NESTED)
        + header(8, CTA_IP_V4_SRC),
        header(8, CTA_IP_V4_DST),
        header(28, CTA_TUPLE_PROTO | NLA_F_NESTED) + header(5, CTA_PROTO_NUM),
        header(6, CTA_PROTO_SRC_PORT),
        header(6, CTA_PROTO_DST_PORT),
    )


_PLAIN_HEADERS = (
    *_headers(CTA_TUPLE_ORIG),
    *_headers(CTA_TUPLE_REPLY),
    struct.pack("=HH", 8, CTA_STATUS),
)


class Entry(NamedTuple):
    """One tracked connection as the kernel wrote it, addresses as bytes."""

    protocol: int
    source: bytes
    destination: bytes
    answering: bytes
    answered: bytes
    source_port: int | None
    destination_port: int | None
    icmp: tuple[int, int, int] | None = None
    replied: bool = False


def list_connections(version: int) -> Request:
    """Ask for all connections of a family."""
    return _listing(version, b"")


def list_connections_of(address: IPAddress) -> tuple[Request, ...]:
    """Ask for those of one IPv4 address; others may come too.

    The kernel's filter by IPv6 address gives all but the matching entries.
    """
    source, destination = (
        attribute(kind, address.packed) for kind in (CTA_IP_V4_SRC, CTA_IP_V4_DST)
    )
    return (
        _listing(4, _filter(CTA_TUPLE_ORIG, CTA_IP_V4_SRC, source)),
        _listing(4, _filter(CTA_TUPLE_ORIG, CTA_IP_V4_DST, destination)),
        # An address that was translated is seen in the replies only.
        _listing(4, _filter(CTA_TUPLE_REPLY, CTA_IP_V4_SRC, source)),
    )


def _filter(direction: int, side: int, value: bytes) -> bytes:
    flag = 1 << (side - 1)
    begun, answered = (flag, 0) if direction == CTA_TUPLE_ORIG else (0, flag)
    flags = number(CTA_FILTER_ORIG_FLAGS, begun) + number(CTA_FILTER_REPLY_FLAGS, answered)
    return _nested(direction, _nested(CTA_TUPLE_IP, value)) + _nested(CTA_FILTER, flags)


def _listing(version: int, narrowed: bytes) -> Request:
    body = _HEADER.pack(FAMILIES[version], 0, 0) + narrowed
    return Request("list tracked connections", CT_GET, NLM_F_DUMP, body)


def forget_connection(connection: Connection) -> Request:
    """Stop tracking one connection."""
    version = connection.source.version
    sides = (CTA_IP_V4_SRC, CTA_IP_V4_DST) if version == 4 else (CTA_IP_V6_SRC, CTA_IP_V6_DST)
    ends = (connection.source.packed, connection.destination.packed)
    addresses = b"".join(map(attribute, sides, ends))
    protocol = attribute(CTA_PROTO_NUM, bytes((connection.protocol,)))
    ports = (
        (CTA_PROTO_SRC_PORT, connection.source_port),
        (CTA_PROTO_DST_PORT, connection.destination_port),
    )
    for kind, port in ports:
        if port is not None:
            protocol += attribute(kind, port.to_bytes(2, "big"))
    if connection.icmp is not None:
        kinds = CTA_PROTO_ICMP if version == 4 else CTA_PROTO_ICMPV6
        message, code, identifier = connection.icmp
        values = (identifier.to_bytes(2, "big"), bytes((message,)), bytes((code,)))
        protocol += b"".join(map(attribute, kinds, values))
    body = _HEADER.pack(FAMILIES[version], 0, 0) + _nested(
        CTA_TUPLE_ORIG, _nested(CTA_TUPLE_IP, addresses) + _nested(CTA_TUPLE_PROTO, protocol)
    )
    return Request("forget a tracked connection", CT_DELETE, NLM_F_ACK, body)


def entries(datagram: bytes, wanted: Container[bytes]) -> Iterator[Entry]:
    """Those connections in a datagram of which any address is wanted."""
    offset, end = 0, len(datagram)
    while offset + _BODY_AT <= end:
        size, kind = _MESSAGE.unpack_from(datagram, offset)
        if size < _BODY_AT:
            return
        if kind == CT_NEW:
            body, after = offset + _BODY_AT, offset + size
            entry = _plain(datagram, body, after) or _any(datagram[body:after])
            if entry is not None and (
                entry.source in wanted
                or entry.destination in wanted
                or entry.answering in wanted
                or entry.answered in wanted
            ):
                yield entry
        offset += (size + 3) & ~3


def _plain(datagram: bytes, start: int, end: int) -> Entry | None:
    """A connection in the usual form, None for another form."""
    if end - start < _PLAIN.size:
        return None
    a, source, b, destination, c, protocol, d, source_port, e, destination_port, *answer = (
        _PLAIN.unpack_from(datagram, start)
    )
    f, answering, g, answered, h, _, i, _, j, _, k, status = answer
    if (a, b, c, d, e, f, g, h, i, j, k) != _PLAIN_HEADERS:
        return None
    return Entry(
        protocol=protocol,
        source=source,
        destination=destination,
        answering=answering,
        answered=answered,
        source_port=source_port,
        destination_port=destination_port,
        replied=bool(status & IPS_SEEN_REPLY),
    )


def _any(body: bytes) -> Entry | None:
    """A connection in whatever form, None if it has no addresses."""
    found = attributes(body, 0)
    begun, answered = (_side(found.get(each, b"")) for each in (CTA_TUPLE_ORIG, CTA_TUPLE_REPLY))
    if begun is None or answered is None:
        return None
    source, destination, protocol = begun
    return Entry(
        protocol=protocol.get(CTA_PROTO_NUM, b"\0")[0],
        source=source,
        destination=destination,
        answering=answered[0],
        answered=answered[1],
        source_port=_port(protocol.get(CTA_PROTO_SRC_PORT)),
        destination_port=_port(protocol.get(CTA_PROTO_DST_PORT)),
        icmp=_icmp(protocol),
        replied=bool(int.from_bytes(found.get(CTA_STATUS, b""), "big") & IPS_SEEN_REPLY),
    )


def _side(body: bytes) -> tuple[bytes, bytes, dict[int, bytes]] | None:
    found = attributes(body, 0)
    addresses = attributes(found.get(CTA_TUPLE_IP, b""), 0)
    protocol = attributes(found.get(CTA_TUPLE_PROTO, b""), 0)
    for source, destination in ((CTA_IP_V4_SRC, CTA_IP_V4_DST), (CTA_IP_V6_SRC, CTA_IP_V6_DST)):
        if source in addresses and destination in addresses:
            return addresses[source], addresses[destination], protocol
    return None


def _port(value: bytes | None) -> int | None:
    return None if value is None else int.from_bytes(value, "big")


def _icmp(protocol: dict[int, bytes]) -> tuple[int, int, int] | None:
    for identifier, kind, code in (CTA_PROTO_ICMP, CTA_PROTO_ICMPV6):
        if kind in protocol:
            return (
                protocol[kind][0],
                protocol[code][0],
                int.from_bytes(protocol[identifier], "big"),
            )
    return None


def connections(found: Iterable[Entry]) -> tuple[Connection, ...]:
    """Entries as the rest of us knows them, each once."""
    known: dict[bytes, IPAddress] = {}

    def address(packed: bytes) -> IPAddress:
        if packed not in known:
            version: Version = 4 if len(packed) == 4 else 6
            known[packed] = IPAddress(int.from_bytes(packed, "big"), version)
        return known[packed]

    return tuple(
        Connection(
            protocol=each.protocol,
            source=address(each.source),
            destination=address(each.destination),
            answering=address(each.answering),
            answered=address(each.answered),
            source_port=each.source_port,
            destination_port=each.destination_port,
            icmp=each.icmp,
            replied=each.replied,
        )
        # One that was read twice may have been answered in between.
        for each in {each[:-1]: each for each in found}.values()
    )


def _nested(kind: int, body: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, body)
