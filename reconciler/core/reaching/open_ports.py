"""Over which ports one party reaches another, by the answers of `reach` alone."""

from collections.abc import Iterable, Iterator, Mapping

from netaddr import IPAddress

from calico.dataplane.render.chains import DNS_PORT
from calico.model import HostFlags, HostName, Match, PortRange, Snapshot
from reconciler.core.reaching.reach import (
    NO_FLAGS,
    EndpointParty,
    Party,
    first_packet,
    reach,
    tags_of_ends,
)

LAST_PORT = 65535


def open_ports(
    snapshot: Snapshot,
    source: Party,
    destination: Party,
    addresses: tuple[IPAddress, IPAddress],
    protocol: int,
    flags: Mapping[HostName, HostFlags] = NO_FLAGS,
) -> tuple[PortRange, ...]:
    """Every port of a protocol that the destination lets the source reach.

    An answer can change only where some rule's range begins or ends, so one
    port between two such places speaks for all of them.
    """
    starts = {1}
    for match in _matches_between(snapshot, source, destination):
        for one in match.dst_ports:
            starts |= {one.first, one.last + 1}
    starts |= set(_edges_of_flags(flags.values()))
    tags = tags_of_ends(snapshot, *addresses)
    edges = sorted(port for port in starts if 1 <= port <= LAST_PORT)
    found: list[PortRange] = []
    for first, following in zip(edges, [*edges[1:], LAST_PORT + 1], strict=True):
        packet = first_packet(*addresses, protocol, first)
        if not reach(snapshot, source, destination, packet, tags, flags).allowed:
            continue
        if found and found[-1].last == first - 1:
            found[-1] = PortRange(found[-1].first, following - 1)
        else:
            found.append(PortRange(first, following - 1))
    return tuple(found)


def _edges_of_flags(flags: Iterable[HostFlags]) -> Iterator[int]:
    yield from (DNS_PORT, DNS_PORT + 1)
    for each in flags:
        for one in each.host_ports:
            yield from (one.first, one.last + 1)
        for closed in each.protected:
            if closed.port is not None:
                yield from (closed.port, closed.port + 1)


def _matches_between(snapshot: Snapshot, source: Party, destination: Party) -> Iterator[Match]:
    for party in (source, destination):
        if not isinstance(party, EndpointParty):
            continue
        for name in party.spec.profiles:
            profile = snapshot.profiles.get(name)
            if profile is not None:
                for rule in (*profile.inbound, *profile.outbound):
                    yield from (rule.match, rule.unless)
