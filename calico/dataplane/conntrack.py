"""Tracked connections, to be forgotten when what allowed them is gone."""

import socket
from collections.abc import Iterable, Iterator
from errno import ENOENT
from typing import Any

from netaddr import IPAddress
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple, NFCTSocket

from calico.dataplane.state import Connection
from calico.errors import DataplaneError

#: From so many addresses on, one reading of the whole table costs less than
#: filtered readings for each of them.
MANY = 16
FAMILIES = ((socket.AF_INET, 4), (socket.AF_INET6, 6))
DIRECTIONS = ("CTA_TUPLE_ORIG", "CTA_TUPLE_REPLY")


def read(addresses: Iterable[IPAddress]) -> tuple[Connection, ...]:
    """All connections from or to these addresses, begun by either side.

    Those of the calling thread's namespace; raises DataplaneError.
    """
    given = frozenset(addresses)
    found: list[Connection] = []
    for family, version in FAMILIES:
        wanted = frozenset(str(address) for address in given if address.version == version)
        if wanted:
            with _table(family) as table:
                found.extend(_read_family(table, family, wanted))
    return tuple(dict.fromkeys(found))


def forget(connections: Iterable[Connection]) -> None:
    """Forget connections of the calling thread's namespace.

    One that is not there is fine; raises DataplaneError.
    """
    given = tuple(connections)
    refusals: list[NetlinkError] = []
    for family, version in FAMILIES:
        ours = [each for each in given if each.source.version == version]
        if not ours:
            continue
        with _table(family) as table:
            for each in ours:
                try:
                    table.entry("del", tuple_orig=_begun(family, each))
                except NetlinkError as error:
                    if error.code != ENOENT:
                        refusals.append(error)
    if refusals:
        raise DataplaneError(f"forget {len(refusals)} tracked connections: {refusals[0]}")


def _table(family: int) -> NFCTSocket:
    return NFCTSocket(nfgen_family=family)


def _read_family(table: NFCTSocket, family: int, wanted: frozenset[str]) -> Iterator[Connection]:
    try:
        for entry in _entries(table, family, wanted):
            begun, answered = (_side(family, entry.get_attr(each)) for each in DIRECTIONS)
            if {begun.saddr, begun.daddr, answered.saddr, answered.daddr} & wanted:
                yield _connection(begun, answered)
    except NetlinkError as error:
        raise DataplaneError(f"read the tracked connections: {error}") from error


def _connection(begun: NFCTAttrTuple, answered: NFCTAttrTuple) -> Connection:
    icmp = None
    if begun.icmp_type is not None:
        icmp = (begun.icmp_type, begun.icmp_code, begun.icmp_id)
    return Connection(
        protocol=begun.proto,
        source=IPAddress(begun.saddr),
        destination=IPAddress(begun.daddr),
        answering=IPAddress(answered.saddr),
        answered=IPAddress(answered.daddr),
        source_port=begun.sport,
        destination_port=begun.dport,
        icmp=icmp,
    )


def _begun(family: int, connection: Connection) -> NFCTAttrTuple:
    kind, code, identifier = connection.icmp or (None, None, None)
    return NFCTAttrTuple(
        family=family,
        saddr=str(connection.source),
        daddr=str(connection.destination),
        proto=connection.protocol,
        sport=connection.source_port,
        dport=connection.destination_port,
        icmp_id=identifier,
        icmp_type=kind,
        icmp_code=code,
    )


def _side(family: int, seen: Any) -> NFCTAttrTuple:
    """One direction of a connection, with all that the kernel finds it by."""
    side = NFCTAttrTuple.from_netlink(family, seen)
    # pyroute2 reads the ports of TCP and UDP only; SCTP and others have some too.
    protocol = seen.get_attr("CTA_TUPLE_PROTO")
    side.sport = protocol.get_attr("CTA_PROTO_SRC_PORT")
    side.dport = protocol.get_attr("CTA_PROTO_DST_PORT")
    return side


def _entries(table: NFCTSocket, family: int, wanted: frozenset[str]) -> Iterator[Any]:
    """Entries among which are all of the wanted addresses."""
    # The kernel's filter by IPv6 address gives all but the matching entries.
    if family == socket.AF_INET6 or len(wanted) > MANY:
        yield from table.dump()
        return
    for address in wanted:
        yield from table.dump(tuple_orig=NFCTAttrTuple(saddr=address))
        yield from table.dump(tuple_orig=NFCTAttrTuple(daddr=address))
        # An address that was translated is seen in the replies only.
        yield from table.dump(tuple_reply=NFCTAttrTuple(saddr=address))
