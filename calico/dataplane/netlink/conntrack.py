"""Tracked connections, to be forgotten when what allowed them is gone."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from errno import ENOENT

from netaddr import IPAddress, IPNetwork

from calico.dataplane.netlink.batches import NETLINK_NETFILTER, NetlinkSocket
from calico.dataplane.netlink.conntrack_wire import (
    Entry,
    connections,
    entries,
    forget_connection,
    list_connections,
    list_connections_of,
)
from calico.dataplane.state import Connection
from calico.errors import DataplaneError

#: From so many addresses on, one reading of the whole table costs less than
#: filtered readings for each of them.
MANY = 4


def read(
    addresses: Iterable[IPAddress], networks: Iterable[IPNetwork] = ()
) -> tuple[Connection, ...]:
    """All connections of which an end is one of these, begun by either side.

    Those of the calling thread's namespace; raises DataplaneError.
    """
    given, ranges = frozenset(addresses), tuple(networks)
    with NetlinkSocket(protocol=NETLINK_NETFILTER) as kernel:
        return connections(_found(kernel, given, ranges))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Packed addresses of one family: some, and all of some ranges."""

    addresses: frozenset[bytes]
    ranges: tuple[tuple[int, int], ...]

    def __contains__(self, packed: object) -> bool:
        if packed in self.addresses:
            return True
        if not self.ranges or not isinstance(packed, bytes):
            return False
        number = int.from_bytes(packed, "big")
        return any(first <= number <= last for first, last in self.ranges)


def _found(
    kernel: NetlinkSocket, given: frozenset[IPAddress], networks: tuple[IPNetwork, ...]
) -> Iterator[Entry]:
    for version in (4, 6):
        asked = [address for address in given if address.version == version]
        ranges = [(each.first, each.last) for each in networks if each.version == version]
        if not asked and not ranges:
            continue
        wanted = _Wanted(frozenset(address.packed for address in asked), tuple(ranges))
        if version == 4 and len(asked) < MANY and not ranges:
            requests = [each for address in asked for each in list_connections_of(address)]
        else:
            requests = [list_connections(version)]
        for request in requests:
            for datagram in kernel.datagrams(request):
                yield from entries(datagram, wanted)


def forget(given: Iterable[Connection]) -> None:
    """Forget connections of the calling thread's namespace.

    One that is not there is fine; raises DataplaneError.
    """
    with NetlinkSocket(protocol=NETLINK_NETFILTER) as kernel:
        answers = kernel.transact([forget_connection(each) for each in given])
    refusals = [each for each in answers if each is not None and each.code != ENOENT]
    if refusals:
        raise DataplaneError(f"{len(refusals)} connections: {refusals[0].reason}")
