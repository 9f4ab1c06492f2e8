"""Which connections under way the policy of this moment would not let begin.

Established connections pass before any policy is asked. So what a change of
policy takes away is complete only once they are forgotten; but those that it
still admits must stay: a forgotten TCP connection does not come back.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netaddr import IPAddress

from calico.dataplane.render.addresses import AddressPlan, plan_addresses, span_of_address
from calico.dataplane.state import Connection, HostConfig
from calico.model import EndpointSpec, HostEndpoint, HostFlags, HostName, Profile, Snapshot, Tag
from reconciler.core.reaching.reach import (
    EPHEMERAL_PORT,
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


@dataclass(frozen=True, slots=True)
class _End:
    """Who has an address, None if that is not certain, and the tags it carries."""

    party: Party | None
    tags: frozenset[Tag]


class _Judge:
    """Judges connections one by one; those that no rule can tell apart, once."""

    def __init__(self, cluster: _Cluster) -> None:
        self._cluster = cluster
        self._ends: dict[IPAddress, _End] = {}
        self._answers: dict[Packet, bool] = {}
        config = cluster.config
        self._flags = {config.host: HostFlags(config.host_ports, config.protected)}
        self._source_ports = _asks_for_source_ports(cluster.snapshot.profiles.values())

    def admits(self, connection: Connection) -> bool:
        """Whether this host's rules would let it begin now."""
        kind, code, _ = connection.icmp or (None, None, 0)
        packet = Packet(
            connection.source,
            connection.destination,
            connection.protocol,
            connection.source_port if self._source_ports else _any_port(connection),
            connection.destination_port,
            kind,
            code,
        )
        answer = self._answers.get(packet)
        if answer is None:
            answer = self._answers[packet] = self._judge(packet)
        return answer

    def _judge(self, packet: Packet) -> bool:
        source, destination = self._end(packet.source), self._end(packet.destination)
        if source.party is None or destination.party is None:
            return False
        if source.party == HostParty(self._cluster.config.host):
            # No rule of ours is asked about what a host itself sends.
            return True
        tags = TagsOfEnds(source.tags, destination.tags)
        snapshot, flags = self._cluster.snapshot, self._flags
        answer = reach(snapshot, source.party, destination.party, packet, tags, flags)
        # Its own agent judges what another host lets in.
        return bool(answer.allowed) or answer.shortcut is Shortcut.HOST_DECIDES

    def _end(self, address: IPAddress) -> _End:
        end = self._ends.get(address)
        if end is None:
            end = _End(_party(address, self._cluster), _tags(address, self._cluster))
            self._ends[address] = end
        return end


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
    judge = _Judge(_cluster(given, snapshot, config))
    return tuple(
        each
        for each in given
        if each.answering != each.destination
        or (gone and each.concerns(gone))
        or not judge.admits(each)
    )


def host_addresses(snapshot: Snapshot, config: HostConfig) -> dict[IPAddress, HostName]:
    """Which host has which of the addresses that are known of hosts."""
    known = {
        address: record.name
        for record in snapshot.hosts.values()
        for address in (record.address, *record.others)
    }
    return known | {config.address: config.host}


def _cluster(connections: Iterable[Connection], snapshot: Snapshot, config: HostConfig) -> _Cluster:
    holders: dict[IPAddress, list[EndpointSpec]] = {
        end: [] for each in connections for end in (each.source, each.destination)
    }
    for spec in snapshot.specs.values():
        for address in spec.addresses:
            if address in holders:
                holders[address].append(spec)
    return _Cluster(
        snapshot=snapshot,
        config=config,
        plan=plan_addresses(snapshot.pools, config),
        holders=holders,
        hosts=host_addresses(snapshot, config),
    )


def _asks_for_source_ports(profiles: Iterable[Profile]) -> bool:
    return any(
        match.src_ports
        for profile in profiles
        for rule in (*profile.inbound, *profile.outbound)
        for match in (rule.match, rule.unless)
    )


def _any_port(connection: Connection) -> int | None:
    """A port that stands for all, where there are ports."""
    return None if connection.source_port is None else EPHEMERAL_PORT


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


def _tags(address: IPAddress, cluster: _Cluster) -> frozenset[Tag]:
    """The tags of an address that a task, or a host's own interface, has."""
    profiles = cluster.snapshot.profiles
    members: list[EndpointSpec | HostEndpoint] = [*cluster.holders[address]]
    hosts = cluster.snapshot.host_endpoints.values()
    members.extend(each for each in hosts if address in each.addresses)
    return frozenset(
        tag
        for member in members
        for name in member.profiles
        if name in profiles
        for tag in profiles[name].tags
    )
