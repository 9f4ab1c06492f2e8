"""Tracked connections, to be forgotten when what allowed them is gone."""

import socket
from collections.abc import Iterable, Iterator
from errno import ENOENT
from typing import Any

from netaddr import IPAddress
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple, NFCTSocket

from calico.errors import DataplaneError

#: From so many addresses on, one reading of the whole table costs less than
#: filtered readings for each of them.
MANY = 16
DIRECTIONS = ("CTA_TUPLE_ORIG", "CTA_TUPLE_REPLY")


def flush(addresses: Iterable[IPAddress]) -> None:
    """Forget all connections from or to these addresses, begun by either side.

    Those of the calling thread's namespace; raises DataplaneError.
    """
    given = frozenset(addresses)
    for family, version in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
        wanted = frozenset(str(address) for address in given if address.version == version)
        if wanted:
            with NFCTSocket(nfgen_family=family) as table:
                _flush_family(table, family, wanted)


def _flush_family(table: NFCTSocket, family: int, wanted: frozenset[str]) -> None:
    try:
        # Read to the end before the first deletion: both use the one socket.
        entries = list(_entries(table, family, wanted))
    except NetlinkError as error:
        raise DataplaneError(f"read the tracked connections: {error}") from error
    refusals: list[NetlinkError] = []
    for entry in entries:
        begun, answered = (_side(family, entry.get_attr(each)) for each in DIRECTIONS)
        if {begun.saddr, begun.daddr, answered.saddr, answered.daddr} & wanted:
            try:
                table.entry("del", tuple_orig=begun)
            except NetlinkError as error:
                if error.code != ENOENT:
                    refusals.append(error)
    if refusals:
        raise DataplaneError(f"forget {len(refusals)} tracked connections: {refusals[0]}")


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
