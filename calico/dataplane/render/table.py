"""The one nftables table of a host: its chains and its sets.

Base chains never change but in their rules. What differs from host to host and
from minute to minute is in sets and verdict maps, so that the cost of a packet
does not grow with tasks or groups.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from netaddr import IPAddress

from calico.closing import Direction
from calico.dataplane.render.addresses import (
    AddressPlan,
    Span,
    interval_elements,
    span_of,
    span_of_address,
)
from calico.dataplane.render.chains import VERSIONS, render_chains
from calico.dataplane.render.endpoints import OpenEndpoint
from calico.dataplane.render.memory import ChainMemory, PartMemory
from calico.dataplane.render.policy import (
    ProfileChain,
    tag_set_name,
)
from calico.dataplane.state import Chain, HostConfig, NftSet
from calico.model import EndpointId, EndpointSpec, ProfileId, Snapshot, Tag


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
    fixed = chain_memory.fixed.of((config, plan), lambda: tuple(render_chains(config, plan)))
    chains = [*fixed, *(policy.chain for policy in policies.values())]
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
    problems: dict[tuple[ProfileId, ...], dict[str, None]] = {}
    for (listed, _), policy in policies.items():
        problems.setdefault(listed, {}).update(dict.fromkeys(policy.problems))
    return {
        endpoint.id: "; ".join(found)
        for endpoint in opened
        if (found := problems[endpoint.profiles])
    }


def _member(addresses: Iterable[IPAddress], plan: AddressPlan) -> Member:
    usable = [
        (address, span)
        for address in addresses
        if not plan.forbids(span := span_of_address(address))
    ]
    return Member(
        tuple((address.version, str(address)) for address, _ in usable),
        tuple(span for _, span in usable if not plan.pools_hold(span)),
    )


def _host_sets(
    snapshot: Snapshot, plan: AddressPlan, members: Iterable[tuple[EndpointSpec, Member]]
) -> Iterator[NftSet]:
    masqueraded = [span_of(pool.cidr) for pool in plan.pools if pool.masquerade]
    elsewhere = [span for _, member in members for span in member.elsewhere]
    hosts = {
        address
        for record in snapshot.hosts.values()
        for address in (record.address, *record.others)
    }
    for version in VERSIONS:
        kind = address_kind(version)
        tasks = interval_elements([*plan.spans, *elsewhere], version)
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
    """Who carries a tag: endpoints of every host, orchestrator and state, and hosts."""
    carriers: dict[Tag, dict[int, set[str]]] = {
        tag: {version: set() for version in VERSIONS} for tag in tags
    }
    carried = {
        name: found
        for name, profile in snapshot.profiles.items()
        if (found := tags.intersection(profile.tags))
    }
    # Endpoints have their profiles from few lists.
    carried_by_list: dict[tuple[ProfileId, ...], frozenset[Tag]] = {}
    for spec, member in members:
        carried_here = carried_by_list.get(spec.profiles)
        if carried_here is None:
            carried_here = frozenset(tag for name in spec.profiles for tag in carried.get(name, ()))
            carried_by_list[spec.profiles] = carried_here
        for tag in carried_here:
            for version, text in member.addresses:
                carriers[tag][version].add(text)
    for host_endpoint in snapshot.host_endpoints.values():
        for name in host_endpoint.profiles:
            for tag in carried.get(name, ()):
                for address in host_endpoint.addresses:
                    carriers[tag][address.version].add(str(address))
    for tag, by_version in carriers.items():
        for version in VERSIONS:
            members_here = frozenset(by_version[version])
            yield NftSet(tag_set_name(tag, version), address_kind(version), members_here)


def address_kind(version: int) -> tuple[str, ...]:
    """nftables' name for the addresses of one family."""
    return (f"ipv{version}_addr",)
