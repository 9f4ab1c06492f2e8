"""Which connections under way the policy of this moment would not let begin.

Established connections pass before any policy is asked. So what a change of
policy takes away is complete only once they are forgotten; but those that it
still admits must stay: a forgotten TCP connection does not come back.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netaddr import IPAddress

from calico.dataplane.render_addresses import AddressPlan, plan_addresses, span_of_address
from calico.dataplane.state import Connection, HostConfig, Protected
from calico.model import EndpointSpec, HostName, Snapshot, Tag
from reconciler.core.reach import (
    TCP,
    UDP,
    EndpointParty,
    HostParty,
    OutsideParty,
    Packet,
    Party,
    Shortcut,
    TagsOfEnds,
    reach,
)


@dataclass(frozen=True, slots=True)
class _Cluster:
    """What is known of the ends of some connections."""

    snapshot: Snapshot
    config: HostConfig
    plan: AddressPlan
    holders: Mapping[IPAddress, list[EndpointSpec]]
    hosts: Mapping[IPAddress, HostName]
    gone: frozenset[IPAddress]


def not_admitted(
    connections: Iterable[Connection],
    snapshot: Snapshot,
    config: HostConfig,
    gone: frozenset[IPAddress] = frozenset(),
) -> tuple[Connection, ...]:
    """Those that this host's rules would refuse if they began now.

    `gone` are addresses whose last holder lost them: nothing of theirs is
    admitted, whoever has them now. What cannot be told is not admitted.
    """
    given = tuple(connections)
    if not given:
        return ()
    cluster = _cluster(given, snapshot, config, gone)
    return tuple(each for each in given if not _is_admitted(each, cluster))


def _cluster(
    connections: Iterable[Connection],
    snapshot: Snapshot,
    config: HostConfig,
    gone: frozenset[IPAddress],
) -> _Cluster:
    holders: dict[IPAddress, list[EndpointSpec]] = {
        end: [] for each in connections for end in (each.source, each.destination)
    }
    for spec in snapshot.specs.values():
        for address in spec.addresses:
            if address in holders:
                holders[address].append(spec)
    hosts = {
        address: record.name
        for record in snapshot.hosts.values()
        for address in (record.address, *record.others)
    }
    hosts[config.address] = config.host
    plan = plan_addresses(snapshot.pools, config)
    return _Cluster(snapshot, config, plan, holders, hosts, gone)


def _is_admitted(connection: Connection, cluster: _Cluster) -> bool:
    if connection.answering != connection.destination or connection.ends & cluster.gone:
        return False
    source = _party(connection.source, cluster)
    destination = _party(connection.destination, cluster)
    if source is None or destination is None:
        return False
    here = HostParty(cluster.config.host)
    if source == here:
        # No rule of ours is asked about what a host itself sends.
        return True
    if isinstance(source, EndpointParty) and _is_protected(connection, cluster.config.protected):
        return False
    if destination == here:
        return isinstance(source, EndpointParty) and _is_host_port(connection, cluster.config)
    kind, code, _ = connection.icmp or (None, None, 0)
    packet = Packet(
        connection.source,
        connection.destination,
        connection.protocol,
        connection.source_port,
        connection.destination_port,
        kind,
        code,
    )
    tags = TagsOfEnds(
        _tags(cluster.holders[connection.source], cluster.snapshot),
        _tags(cluster.holders[connection.destination], cluster.snapshot),
    )
    answer = reach(cluster.snapshot, source, destination, packet, tags)
    # Its own agent judges what another host lets in.
    return answer.allowed or answer.shortcut is Shortcut.HOST_DECIDES


def _party(address: IPAddress, cluster: _Cluster) -> Party | None:
    """Who has an address; None if that is not certain."""
    match cluster.holders[address]:
        case [spec]:
            return None if cluster.plan.forbids(span_of_address(address)) else EndpointParty(spec)
        case []:
            if any(address in pool.cidr for pool in cluster.plan.pools):
                return None
            host = cluster.hosts.get(address)
            return OutsideParty() if host is None else HostParty(host)
        case _:
            return None


def _tags(holders: Iterable[EndpointSpec], snapshot: Snapshot) -> frozenset[Tag]:
    return frozenset(
        tag
        for spec in holders
        for name in spec.profiles
        if name in snapshot.profiles
        for tag in snapshot.profiles[name].tags
    )


def _is_protected(connection: Connection, protected: Iterable[Protected]) -> bool:
    return any(
        connection.destination in each.network
        and (
            each.port is None
            or (connection.protocol in (TCP, UDP) and connection.destination_port == each.port)
        )
        for each in protected
    )


def _is_host_port(connection: Connection, config: HostConfig) -> bool:
    port = connection.destination_port
    return (
        connection.protocol in (TCP, UDP)
        and port is not None
        and any(each.first <= port <= each.last for each in config.host_ports)
    )
