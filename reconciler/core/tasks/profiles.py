"""The profiles of a task, in Calico's terms, from its accepted record.

Felix would enforce the same: groups carry the tags, and all that is open
stands in one profile of the app's own.
"""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from netaddr import IPNetwork

from calico.codec import encode_rules
from calico.identifiers import APP_PREFIX, HOST_PREFIX
from calico.model import (
    Action,
    HostRecord,
    Match,
    PortRange,
    Profile,
    ProfileId,
    Rule,
    Tag,
    TaskRecord,
)

#: The container network that is ours unless others are named.
NETWORK = "calico"
PUBLIC = "public"
ICMP, TCP, ICMPV6, UDP = 1, 6, 58, 17
PROTOCOLS = {"tcp": TCP, "udp": UDP}


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """What the controller's flags say about every task's network.

    `networks` are the container networks that are ours; `allow_from` may reach
    every task's openings, which is how Marathon runs health checks. `ipv6` is
    whether any pool is of that family.
    """

    networks: frozenset[str] = frozenset({NETWORK})
    ports_declared: bool = True
    allow_from: tuple[IPNetwork, ...] = ()
    ipv6: bool = False


def profiles_of(record: TaskRecord, host: HostRecord, policy: NetworkPolicy) -> tuple[Profile, ...]:
    """The profiles of one task in order: its host's, its groups', its app's."""
    return (
        host_profile(host, policy),
        *(group_profile(group) for group in record.groups),
        app_profile(record, policy),
    )


def host_profile(host: HostRecord, policy: NetworkPolicy) -> Profile:
    """The host and its tasks reach each other."""
    net = IPNetwork(host.address)
    name = f"{HOST_PREFIX}{host.name}"
    version = _version_of(net, policy)
    return Profile(
        ProfileId(name),
        tags=(Tag(name),),
        inbound=(Rule(Action.ALLOW, Match(src_net=net), ip_version=version),),
        outbound=(Rule(Action.ALLOW, Match(dst_net=net), ip_version=version),),
    )


def _version_of(net: IPNetwork | None, policy: NetworkPolicy) -> int | None:
    """The family to name in a rule with a network.

    Felix 1.4 leaves a network out in the chain of the other family and keeps
    the rest, which then holds for everybody. But the Python calicoctl cannot
    show a profile that names a family, so it stays away while all is IPv4.
    """
    if net is None or (net.version == 4 and not policy.ipv6):
        return None
    return int(net.version)


def group_profile(group: str) -> Profile:
    """Membership in a group, which opens nothing by itself.

    It has no inbound rule, so that the openings stand in the app's profile
    alone and an operator may add rules here that stay.
    """
    return Profile(ProfileId(group), tags=(Tag(group),), outbound=(Rule(Action.ALLOW),))


def app_profile(record: TaskRecord, policy: NetworkPolicy) -> Profile:
    """The openings of a task; its id tells its content, so it never changes."""
    sources = _sources(record.groups, policy)
    openings = tuple(rule for source in sources for rule in _openings(source, record, policy))
    rules = (*openings, *(_echoes(sources, policy) if record.ports_declared else ()))
    profile = Profile(ProfileId("app"), inbound=rules, outbound=(Rule(Action.ALLOW),))
    slug = re.sub(r"[^a-z0-9.-]+", "-", record.app.lower()).strip(".-")[:60].rstrip(".-")
    digest = digest_of_rules(encode_rules(profile))
    return replace(profile, id=ProfileId(f"{APP_PREFIX}{slug or 'root'}-{digest}"))


def digest_of_rules(text: str) -> str:
    """The 12 hexadecimal digits that end the id of an app's profile with these rules."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _sources(groups: Collection[str], policy: NetworkPolicy) -> tuple[Match, ...]:
    """Who may reach a task's openings, as matches on the source.

    Without a pool of IPv6 nobody reaches a task from there.
    """
    if PUBLIC in groups:
        return (Match(),)
    nets = (net for net in policy.allow_from if net.version == 4 or policy.ipv6)
    return (
        *(Match(src_tag=Tag(group)) for group in groups),
        *(Match(src_net=net) for net in nets),
    )


def _openings(source: Match, record: TaskRecord, policy: NetworkPolicy) -> tuple[Rule, ...]:
    """What one source may reach, without echo."""
    version = _version_of(source.src_net, policy)
    if not record.ports_declared:
        return (Rule(Action.ALLOW, source, ip_version=version),)
    numbers_by_protocol = {
        protocol: sorted({port.number for port in record.ports if port.protocol == name})
        for name, protocol in PROTOCOLS.items()
    }
    return tuple(
        Rule(
            Action.ALLOW,
            replace(
                source,
                protocol=protocol,
                dst_ports=tuple(PortRange(number, number) for number in numbers),
            ),
            ip_version=version,
        )
        for protocol, numbers in numbers_by_protocol.items()
        if numbers
    )


def _echoes(sources: Collection[Match], policy: NetworkPolicy) -> tuple[Rule, ...]:
    """ICMP echo from each source.

    A rule with an ICMP type cuts all that follow it in Felix 1.4's chain of the
    other family, and `ip_version`, which would prevent that, makes the Python
    calicoctl fail: so these stand last, and the field is only there where both
    families are used.
    """
    echo4 = Match(protocol=ICMP, icmp_type=8)
    echo6 = Match(protocol=ICMPV6, icmp_type=128)
    if not policy.ipv6:
        return tuple(
            Rule(Action.ALLOW, replace(echo4, src_tag=source.src_tag, src_net=source.src_net))
            for source in sources
        )
    return tuple(
        Rule(
            Action.ALLOW,
            replace(echo, src_tag=source.src_tag, src_net=source.src_net),
            ip_version=version,
        )
        for source in sources
        for version, echo in ((4, echo4), (6, echo6))
        if source.src_net is None or source.src_net.version == version
    )
