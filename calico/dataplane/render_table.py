"""The one nftables table of a host: its chains and its sets.

Base chains never change but in their rules. What differs from host to host and
from minute to minute is in sets and verdict maps, so that the cost of a packet
does not grow with tasks or groups.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from netaddr import IPAddress, IPNetwork

from calico.dataplane.nft_expr import (
    ACCEPT,
    MASQUERADE,
    RETURN,
    Statement,
    address,
    by_connection,
    concat,
    connection,
    dropping,
    goto,
    jump,
    matches,
    meta,
    opening,
    ours,
    payload,
    port_set,
    replying,
    rule,
    set_mark,
    verdict_of,
    within,
)
from calico.dataplane.render_addresses import (
    AddressPlan,
    Span,
    interval_elements,
    merged,
    span_of,
    span_of_address,
)
from calico.dataplane.render_endpoints import OpenEndpoint
from calico.dataplane.render_memory import ChainMemory, PartMemory
from calico.dataplane.render_policy import (
    TO_TASK,
    Direction,
    ProfileChain,
    tag_set_name,
)
from calico.dataplane.state import BaseHook, Chain, HostConfig, NftRule, NftSet
from calico.model import EndpointId, EndpointSpec, ProfileId, Snapshot, Tag

VERSIONS = (4, 6)
#: Before fragments are put together (-400): one of another sender would else
#: become part of a datagram whose source is checked by its other fragments.
PREROUTING = BaseHook("filter", "prerouting", -450, "accept")
FORWARD = BaseHook("filter", "forward", 0, "drop")
INPUT = BaseHook("filter", "input", 0, "accept")
POSTROUTING = BaseHook("nat", "postrouting", 100, "accept")

CHECK_SOURCE, FROM_TASK, TO_HOST = "check-source", "from-task", "to-host"
RELATED, PUBLISHED = "related", "published"
ICMP_ERRORS = (1, 58)
TCP, UDP = 6, 17
#: IPv4 in IP, IPv6 in IP, GRE: a host that has such a tunnel would unwrap them.
ENCAPSULATIONS = (4, 41, 47)
#: VXLAN, its older port on Linux, Geneve.
TUNNEL_PORTS = (4789, 6081, 8472)
DHCP_SERVER_PORTS = (67, 547)
#: A router passes nothing on to them (RFC 3927), least of all to the place
#: where a cloud hands out the host's own credentials. Some have DNS there.
LINK_LOCAL, DNS_PORT = IPNetwork("169.254.0.0/16"), 53
ROUTER_ADVERTISEMENT, REDIRECT = 134, 137


@dataclass(frozen=True, slots=True)
class Member:
    """One endpoint of the cluster as an element of sets.

    Addresses that this host takes for its own network are left out: it could
    not tell a task there from a neighbour. `elsewhere` are in no pool.
    """

    addresses: tuple[tuple[int, str], ...]
    elsewhere: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """The rendered table, and what in the profiles could not be enforced."""

    chains: Mapping[str, Chain]
    sets: Mapping[str, NftSet]
    problems: Mapping[EndpointId, str]


def render_table(
    snapshot: Snapshot,
    config: HostConfig,
    plan: AddressPlan,
    opened: Sequence[OpenEndpoint],
    chain_memory: ChainMemory,
    member_memory: PartMemory[Member],
) -> Table:
    """Everything in the table of one host."""
    lists = sorted({endpoint.profiles for endpoint in opened})
    policies = chain_memory.of(lists, snapshot.profiles)
    chains = [*_fixed_chains(config, plan), *(policy.chain for policy in policies.values())]
    tags = frozenset[Tag]().union(*(policy.tags for policy in policies.values()))
    members = member_memory.of(
        snapshot.specs.values(), plan, lambda spec: _member(spec.addresses, plan)
    )
    sets = [
        *_host_sets(snapshot, plan, members),
        *_endpoint_sets(opened, policies),
        *_tag_sets(snapshot, members, tags),
    ]
    return Table(
        {chain.name: chain for chain in chains},
        {each.name: each for each in sets},
        _problems(opened, policies),
    )


def _problems(
    opened: Iterable[OpenEndpoint],
    policies: Mapping[tuple[tuple[ProfileId, ...], Direction], ProfileChain],
) -> Mapping[EndpointId, str]:
    sentences = {
        endpoint.id: "; ".join(
            dict.fromkeys(
                problem
                for direction in Direction
                for problem in policies[endpoint.profiles, direction].problems
            )
        )
        for endpoint in opened
    }
    return {endpoint: text for endpoint, text in sentences.items() if text}


def _fixed_chains(config: HostConfig, plan: AddressPlan) -> Iterator[Chain]:
    yield Chain("prerouting", tuple(_prerouting(config)), PREROUTING)
    yield Chain(CHECK_SOURCE, tuple(_check_source()))
    yield Chain(RELATED, tuple(_related()))
    yield Chain(PUBLISHED, tuple(_published(config)))
    yield Chain("forward", tuple(_forward(config)), FORWARD)
    yield Chain(FROM_TASK, tuple(_from_task(config)))
    yield Chain(TO_TASK, tuple(_to_task()))
    yield Chain("input", tuple(_input()), INPUT)
    yield Chain(TO_HOST, tuple(_to_host(config)))
    yield Chain("postrouting", tuple(_postrouting(plan)), POSTROUTING)


def _prerouting(config: HostConfig) -> Iterator[NftRule]:
    yield rule(ours("iifname"), jump(CHECK_SOURCE))
    for version in VERSIONS:
        yield dropping(
            ours("iifname", negated=True),
            matches(address(version, "saddr"), f"@local{version}"),
        )
    # Only marked packets find the routes to tasks; see render_routes.
    yield rule(set_mark(config.mark))


def _check_source() -> Iterator[NftRule]:
    yield dropping(matches(meta("l4proto"), _any_of(ENCAPSULATIONS)))
    yield dropping(matches(payload("udp", "dport"), _any_of(TUNNEL_PORTS)))
    yield dropping(matches(payload("udp", "sport"), _any_of(DHCP_SERVER_PORTS)))
    yield dropping(
        matches(payload("icmpv6", "type"), _any_of((ROUTER_ADVERTISEMENT, REDIRECT))),
    )
    for version in VERSIONS:
        source = concat(meta("iifname"), payload("ether", "saddr"), address(version, "saddr"))
        yield rule(matches(source, f"@source{version}"), RETURN)
    yield dropping()


def _any_of(values: Iterable[int]) -> Mapping[str, object]:
    return {"set": list(values)}


def _related() -> Iterator[NftRule]:
    """Errors about a connection, from a task only about its own.

    Nothing else is related that no policy admitted: what a connection tracking
    helper expects is not.
    """
    yield dropping(matches(meta("l4proto"), _any_of(ICMP_ERRORS), negated=True))
    yield rule(ours("iifname", negated=True), ACCEPT)
    for version in VERSIONS:
        # The source of either direction is one end of the connection.
        for direction in ("original", "reply"):
            end = connection("ip saddr" if version == 4 else "ip6 saddr", direction)
            held = concat(meta("iifname"), payload("ether", "saddr"), end)
            yield rule(matches(held, f"@source{version}"), ACCEPT)
    yield dropping()


def _forward(config: HostConfig) -> Iterator[NftRule]:
    for version in VERSIONS:
        yield rule(
            ours("iifname", negated=True),
            ours("oifname", negated=True),
            matches(address(version, "saddr"), f"@tasks{version}", negated=True),
            matches(address(version, "daddr"), f"@tasks{version}", negated=True),
            ACCEPT,
        )
    # Two tasks of different hosts could else meet halfway: each host lets its
    # own task begin, and would take the other's beginning for the answer.
    yield dropping(opening(), replying())
    yield rule(by_connection(RELATED))
    # A segment of a flow whose tracking was flushed must not revive it.
    yield dropping(opening(negated=True))
    version = config.address.version
    yield rule(
        matches(address(version, "saddr"), f"@tasks{version}"),
        matches(original_target(version), str(config.address)),
        jump(PUBLISHED),
    )
    yield rule(ours("iifname"), goto(FROM_TASK))
    yield rule(goto(TO_TASK))


def _published(config: HostConfig) -> Iterator[NftRule]:
    """What a task asks of the host itself and docker's NAT leads on to a container."""
    if config.host_ports:
        port = connection("proto-dst", "original")
        yield rule(
            matches(meta("l4proto"), _any_of((TCP, UDP))),
            matches(port, port_set(config.host_ports)),
            RETURN,
        )
    yield dropping()


def _from_task(config: HostConfig) -> Iterator[NftRule]:
    yield dropping(
        matches(address(4, "daddr"), within(LINK_LOCAL)),
        matches(payload("th", "dport"), DNS_PORT, negated=True),
    )
    yield from _protected(config)
    yield rule(verdict_of(meta("iifname"), "out"))
    yield dropping()


def _to_task() -> Iterator[NftRule]:
    for version in VERSIONS:
        yield rule(verdict_of(address(version, "daddr"), f"in{version}"))
    yield dropping(ours("oifname"))
    yield rule(ACCEPT)


def _input() -> Iterator[NftRule]:
    yield rule(ours("iifname"), goto(TO_HOST))
    for version in VERSIONS:
        yield rule(matches(address(version, "saddr"), f"@tasks{version}"), goto(TO_HOST))


def _to_host(config: HostConfig) -> Iterator[NftRule]:
    yield rule(by_connection(RELATED))
    yield dropping(opening(negated=True))
    yield from _protected(config)
    if config.host_ports:
        yield rule(
            matches(meta("l4proto"), _any_of((TCP, UDP))),
            matches(payload("th", "dport"), port_set(config.host_ports)),
            ACCEPT,
        )
    yield dropping()


def _protected(config: HostConfig) -> Iterator[NftRule]:
    """Two rules per family and port; the networks are in one anonymous set.

    A destination is looked at as the task wrote it too: a service that docker
    publishes has another address by the time that it is forwarded.
    """
    networks: dict[tuple[int, int], list[IPNetwork]] = {}
    for each in config.protected:
        networks.setdefault((each.network.version, each.port or 0), []).append(each.network)
    for (version, port), listed in sorted(networks.items(), key=lambda item: item[0]):
        elements = interval_elements(map(span_of, listed), version)
        closed = {"set": sorted(map(_literal, elements), key=str)}
        for target, number in (
            (address(version, "daddr"), payload("th", "dport")),
            (original_target(version), connection("proto-dst", "original")),
        ):
            statements: list[Statement] = [matches(target, closed)]
            if port:
                statements.append(matches(meta("l4proto"), _any_of((TCP, UDP))))
                statements.append(matches(number, port))
            yield dropping(*statements)


def original_target(version: int) -> Statement:
    """Where the first packet of a connection was sent, before any translation."""
    return connection("ip daddr" if version == 4 else "ip6 daddr", "original")


def _literal(element: object) -> object:
    match element:
        case ("prefix", first, length):
            return {"prefix": {"addr": first, "len": length}}
        case ("range", first, last):
            return {"range": [first, last]}
        case _:
            return element


def _postrouting(plan: AddressPlan) -> Iterator[NftRule]:
    for version in VERSIONS:
        if any(pool.masquerade and pool.cidr.version == version for pool in plan.pools):
            yield rule(
                ours("oifname", negated=True),
                matches(address(version, "saddr"), f"@masquerade{version}"),
                matches(address(version, "daddr"), f"@tasks{version}", negated=True),
                matches(address(version, "daddr"), f"@hosts{version}", negated=True),
                MASQUERADE,
            )


def _member(addresses: Iterable[IPAddress], plan: AddressPlan) -> Member:
    pools = [span_of(pool.cidr) for pool in plan.pools]
    usable = [
        (address, span)
        for address in addresses
        if not plan.forbids(span := span_of_address(address))
    ]
    return Member(
        tuple((address.version, str(address)) for address, _ in usable),
        tuple(span for _, span in usable if not any(pool.overlaps(span) for pool in pools)),
    )


def _host_sets(
    snapshot: Snapshot, plan: AddressPlan, members: Iterable[tuple[EndpointSpec, Member]]
) -> Iterator[NftSet]:
    pools = merged(span_of(pool.cidr) for pool in plan.pools)
    masqueraded = [span_of(pool.cidr) for pool in plan.pools if pool.masquerade]
    elsewhere = [span for _, member in members for span in member.elsewhere]
    hosts = {record.address for record in snapshot.hosts.values()}
    for version in VERSIONS:
        kind = address_kind(version)
        tasks = interval_elements([*pools, *elsewhere], version)
        yield NftSet(f"tasks{version}", kind, tasks, interval=True)
        masquerade = interval_elements(masqueraded, version)
        yield NftSet(f"masquerade{version}", kind, masquerade, interval=True)
        hosts_here = frozenset(str(each) for each in hosts if each.version == version)
        yield NftSet(f"hosts{version}", kind, hosts_here)


def _endpoint_sets(
    opened: Sequence[OpenEndpoint],
    policies: Mapping[tuple[tuple[ProfileId, ...], Direction], ProfileChain],
) -> Iterator[NftSet]:
    verdicts = {key: ("goto", policy.chain.name) for key, policy in policies.items()}
    out = frozenset(
        (str(endpoint.interface), verdicts[endpoint.profiles, Direction.OUTBOUND])
        for endpoint in opened
    )
    yield NftSet("out", ("ifname",), out, verdicts=True)
    for version in VERSIONS:
        kind = address_kind(version)
        held = [
            (endpoint, text)
            for endpoint in opened
            for family, text in endpoint.addresses
            if family == version
        ]
        yield NftSet(f"local{version}", kind, frozenset(text for _, text in held))
        source = frozenset(
            ("concat", str(endpoint.interface), endpoint.mac, text) for endpoint, text in held
        )
        yield NftSet(f"source{version}", ("ifname", "ether_addr", *kind), source)
        inbound = frozenset(
            (text, verdicts[endpoint.profiles, Direction.INBOUND]) for endpoint, text in held
        )
        yield NftSet(f"in{version}", kind, inbound, verdicts=True)


def _tag_sets(
    snapshot: Snapshot, members: Iterable[tuple[EndpointSpec, Member]], tags: frozenset[Tag]
) -> Iterator[NftSet]:
    """Who carries a tag: endpoints of every host, orchestrator and state."""
    carriers: dict[Tag, dict[int, set[str]]] = {
        tag: {version: set() for version in VERSIONS} for tag in tags
    }
    carried = {
        name: found
        for name, profile in snapshot.profiles.items()
        if (found := tags.intersection(profile.tags))
    }
    for spec, member in members:
        for name in spec.profiles:
            for tag in carried.get(name, ()):
                for version, text in member.addresses:
                    carriers[tag][version].add(text)
    for tag, by_version in carriers.items():
        for version in VERSIONS:
            members_here = frozenset(by_version[version])
            yield NftSet(tag_set_name(tag, version), address_kind(version), members_here)


def address_kind(version: int) -> tuple[str, ...]:
    """nftables' name for the addresses of one family."""
    return (f"ipv{version}_addr",)
