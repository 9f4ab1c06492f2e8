"""Whether a packet from one party reaches another, by Calico's rules alone.

A model of what every host's kernel should do: the outbound rules of the
sender's profiles, then the inbound rules of the receiver's, in order, and deny
at the end. Replies of an allowed connection are not asked about.
"""

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from netaddr import IPAddress, IPNetwork

from calico.closing import Direction, closing_reason, rules_of, selecting_policies
from calico.model import (
    Action,
    EndpointSpec,
    HostFlags,
    HostName,
    Match,
    PolicyId,
    PortRange,
    ProfileId,
    Protected,
    Rule,
    Snapshot,
    Tag,
)
from reconciler.core.kernels.hostflags import is_metadata, opened_by, protected_by

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
ECHO_REQUEST = {ICMP: 8, ICMPV6: 128}
#: A sender's port when none is asked about: the first that IANA calls dynamic.
EPHEMERAL_PORT = 49152
#: Nothing is known of any host's flags.
NO_FLAGS: Mapping[HostName, HostFlags] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Packet:
    """The first packet of a connection; ports are None outside TCP and UDP."""

    source: IPAddress
    destination: IPAddress
    protocol: int
    source_port: int | None = None
    destination_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None


def first_packet(
    source: IPAddress, destination: IPAddress, protocol: int, port: int | None = None
) -> Packet:
    """How a connection to a port, or a ping, begins."""
    if protocol in ECHO_REQUEST:
        kind = ECHO_REQUEST[protocol]
        return Packet(source, destination, protocol, icmp_type=kind, icmp_code=0)
    source_port = EPHEMERAL_PORT if port is not None else None
    return Packet(source, destination, protocol, source_port, port)


@dataclass(frozen=True, slots=True)
class EndpointParty:
    """A task, ours or another orchestrator's."""

    spec: EndpointSpec


@dataclass(frozen=True, slots=True)
class HostParty:
    """A registered host itself."""

    host: HostName


@dataclass(frozen=True, slots=True)
class OutsideParty:
    """An address that is neither a task's nor a host's."""


Party = EndpointParty | HostParty | OutsideParty


class Cause(enum.Enum):
    """What decided about one side."""

    RULE = "rule"
    NO_RULE = "no rule"
    PROFILE_ABSENT = "profile absent"
    PROFILE_UNENFORCEABLE = "profile unenforceable"
    INACTIVE = "endpoint inactive"
    POLICY = "tiered policy"


@dataclass(frozen=True, slots=True)
class Decision:
    """The first fact that decides on one side; `number` counts rules from 1.

    `policies` are the tiered ones that close it, whatever its profiles say.
    """

    allowed: bool
    direction: Direction
    cause: Cause
    profile: ProfileId | None = None
    number: int = 0
    rule: Rule | None = None
    policies: tuple[PolicyId, ...] = ()


class Shortcut(enum.Enum):
    """What decided in place of a rule.

    HOST_DECIDES is for a host whose agent registered no flags.
    """

    SAME_TASK = "same task"
    OWN_HOST = "own host"
    HOST_PORT = "host port"
    HOST_PORT_CLOSED = "host port closed"
    PROTECTED = "protected"
    METADATA = "metadata address"
    HOST_DECIDES = "host decides"
    NOT_OURS = "not ours"


@dataclass(frozen=True, slots=True)
class Reach:
    """The answer; `allowed` None means that the datastore cannot tell.

    `decision` is that of the side which decided, or which let the packet on
    to what the shortcut says. `host` is whose agent's flags decided.
    """

    allowed: bool | None
    decision: Decision | None = None
    shortcut: Shortcut | None = None
    host: HostName | None = None
    protected: Protected | None = None


@dataclass(frozen=True, slots=True)
class TagsOfEnds:
    """The tags of a packet's two addresses; looking them up reads every endpoint."""

    source: frozenset[Tag]
    destination: frozenset[Tag]


def reach(
    snapshot: Snapshot,
    source: Party,
    destination: Party,
    packet: Packet,
    tags: TagsOfEnds | None = None,
    flags: Mapping[HostName, HostFlags] = NO_FLAGS,
) -> Reach:
    """Judge one packet between two parties; `tags` may be known from another packet.

    `flags` are those of the hosts that are known.
    """
    tags = tags or tags_of_ends(snapshot, packet.source, packet.destination)
    if not isinstance(source, EndpointParty):
        return _from_elsewhere(snapshot, source, destination, packet, tags)
    if source == destination:
        return Reach(True, shortcut=Shortcut.SAME_TASK)
    own = source.spec.id.host
    if destination == HostParty(own):
        # It is not forwarded, so no profile is asked.
        return _to_host(own, flags, packet, None)
    closed = _closed_on_leaving(own, flags, packet)
    if closed is not None:
        return closed
    outbound = evaluate(snapshot, source.spec, Direction.OUTBOUND, packet, tags)
    if not outbound.allowed:
        return Reach(False, outbound)
    match destination:
        case EndpointParty(spec):
            inbound = evaluate(snapshot, spec, Direction.INBOUND, packet, tags)
            return Reach(inbound.allowed, inbound)
        case HostParty(host):
            return _to_host(host, flags, packet, outbound)
        case OutsideParty():
            if own not in flags:
                return Reach(
                    allowed=None, decision=outbound, shortcut=Shortcut.HOST_DECIDES, host=own
                )
            return Reach(True, outbound)


def _closed_on_leaving(
    host: HostName, flags: Mapping[HostName, HostFlags], packet: Packet
) -> Reach | None:
    """What a task's host closes to it, wherever it leads."""
    if is_metadata(packet.destination, packet.destination_port):
        return Reach(False, shortcut=Shortcut.METADATA, host=host)
    return _protected(host, flags, packet)


def _protected(host: HostName, flags: Mapping[HostName, HostFlags], packet: Packet) -> Reach | None:
    if host not in flags:
        return None
    found = protected_by(flags[host], packet.destination, packet.protocol, packet.destination_port)
    if found is None:
        return None
    return Reach(False, shortcut=Shortcut.PROTECTED, host=host, protected=found)


def _to_host(
    host: HostName,
    flags: Mapping[HostName, HostFlags],
    packet: Packet,
    outbound: Decision | None,
) -> Reach:
    if host not in flags:
        return Reach(allowed=None, decision=outbound, shortcut=Shortcut.HOST_DECIDES, host=host)
    closed = _protected(host, flags, packet)
    if closed is not None:
        return closed
    if opened_by(flags[host], packet.protocol, packet.destination_port) is None:
        return Reach(
            allowed=False, decision=outbound, shortcut=Shortcut.HOST_PORT_CLOSED, host=host
        )
    return Reach(allowed=True, decision=outbound, shortcut=Shortcut.HOST_PORT, host=host)


def _from_elsewhere(
    snapshot: Snapshot,
    source: HostParty | OutsideParty,
    destination: Party,
    packet: Packet,
    tags: TagsOfEnds,
) -> Reach:
    if not isinstance(destination, EndpointParty):
        return Reach(None, shortcut=Shortcut.NOT_OURS)
    if isinstance(source, HostParty) and source.host == destination.spec.id.host:
        return Reach(True, shortcut=Shortcut.OWN_HOST)
    inbound = evaluate(snapshot, destination.spec, Direction.INBOUND, packet, tags)
    return Reach(inbound.allowed, inbound)


def evaluate(
    snapshot: Snapshot,
    spec: EndpointSpec,
    direction: Direction,
    packet: Packet,
    tags: TagsOfEnds,
) -> Decision:
    """Walk an endpoint's profiles until one decides; deny at the end."""
    if not spec.active:
        return Decision(False, direction, Cause.INACTIVE)
    selected = selecting_policies((spec,), snapshot.profiles, snapshot.policies)
    if selected:
        return Decision(False, direction, Cause.POLICY, policies=selected[spec.id])
    for name in spec.profiles:
        profile = snapshot.profiles.get(name)
        if profile is None:
            return Decision(
                allowed=False, direction=direction, cause=Cause.PROFILE_ABSENT, profile=name
            )
        if closing_reason(name, profile, direction):
            return Decision(
                allowed=False, direction=direction, cause=Cause.PROFILE_UNENFORCEABLE, profile=name
            )
        for number, rule in enumerate(rules_of(profile, direction), start=1):
            if rule.action is Action.LOG:
                continue
            if matches(rule, packet, tags):
                allowed = rule.action is Action.ALLOW
                return Decision(
                    allowed=allowed,
                    direction=direction,
                    cause=Cause.RULE,
                    profile=name,
                    number=number,
                    rule=rule,
                )
    return Decision(False, direction, Cause.NO_RULE)


def tags_of_ends(snapshot: Snapshot, source: IPAddress, destination: IPAddress) -> TagsOfEnds:
    """The tags of a packet's two addresses."""
    return TagsOfEnds(_tags_of(snapshot, source), _tags_of(snapshot, destination))


def _tags_of(snapshot: Snapshot, address: IPAddress) -> frozenset[Tag]:
    """The tags whose members include an address, over all hosts and their tasks."""
    return frozenset(
        tag
        for member in snapshot.members()
        if address in member.addresses
        for name in member.profiles
        if (profile := snapshot.profiles.get(name)) is not None
        for tag in profile.tags
    )


def matches(rule: Rule, packet: Packet, tags: TagsOfEnds) -> bool:
    """Whether every condition of a rule holds for a packet.

    A rule with a network of the other family is not a rule of this family: the
    condition is never left out, which would widen the rule. Only a denial that
    excepts a network holds for the other family too, which is all outside it.
    """
    version = packet.source.version
    if rule.ip_version not in (None, version):
        return False
    kinds = (rule.match,) if rule.action is Action.DENY else (rule.match, rule.unless)
    if any(net.version != version for net in _nets(*kinds)):
        return False
    wanted = _outcomes(rule.match, packet, tags)
    unwanted = _outcomes(rule.unless, packet, tags)
    return all(wanted) and not any(unwanted)


def _nets(*kinds: Match) -> Iterator[IPNetwork]:
    for match in kinds:
        for net in (match.src_net, match.dst_net):
            if net is not None:
                yield net


def _outcomes(match: Match, packet: Packet, tags: TagsOfEnds) -> Iterator[bool]:
    """One outcome per condition that is asked for; type and code are one."""
    if match.protocol is not None:
        yield packet.protocol == match.protocol
    if match.src_tag is not None:
        yield match.src_tag in tags.source
    if match.dst_tag is not None:
        yield match.dst_tag in tags.destination
    if match.src_net is not None:
        yield packet.source in match.src_net
    if match.dst_net is not None:
        yield packet.destination in match.dst_net
    if match.src_ports:
        yield _within(packet.source_port, match.src_ports)
    if match.dst_ports:
        yield _within(packet.destination_port, match.dst_ports)
    if match.icmp_type is not None:
        yield packet.icmp_type == match.icmp_type and match.icmp_code in (None, packet.icmp_code)


def _within(port: int | None, ranges: Iterable[PortRange]) -> bool:
    return port is not None and any(one.first <= port <= one.last for one in ranges)
