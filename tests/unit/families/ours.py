"""Our own values as meanings, and any value that our writers may write."""

from hypothesis import strategies as st
from netaddr import EUI, IPAddress, IPNetwork

from calico.addressing import ipam
from calico.addressing.blocks import Allocation, Block
from calico.model import (
    Action,
    EndpointId,
    EndpointSpec,
    HandleId,
    HostName,
    HostRecord,
    InterfaceName,
    Match,
    Pool,
    PortOpening,
    PortRange,
    Profile,
    ProfileId,
    Rule,
    Tag,
    TaskId,
    TaskRecord,
)
from calico.names import endpoint_of_task, interface_of, mac_of
from reconciler.core.tasks.profiles import NetworkPolicy
from tests.unit.families.meaning import (
    BlockMeaning,
    EndpointMeaning,
    Fields,
    PoolMeaning,
    RuleMeaning,
    Rules,
)


def endpoint_meaning(spec: EndpointSpec) -> EndpointMeaning:
    """What we mean by an endpoint."""
    mac = spec.mac
    return EndpointMeaning(
        spec.active,
        spec.interface,
        None if mac is None else ":".join(f"{word:02x}" for word in mac.words),
        frozenset(map(str, spec.addresses)),
        spec.profiles,
        frozenset(spec.labels),
    )


def rules_meaning(profile: Profile) -> Rules:
    """What we mean by a profile's rules."""
    inbound, outbound = (
        tuple(map(_rule_meaning, each)) for each in (profile.inbound, profile.outbound)
    )
    return (inbound, outbound)


def _rule_meaning(rule: Rule) -> RuleMeaning:
    return RuleMeaning(
        rule.action.value,
        _conditions(rule.match),
        _conditions(rule.unless),
        rule.ip_version,
        rule.log_prefix,
    )


def _conditions(match: Match) -> Fields:
    fields: dict[str, object] = {
        "protocol": match.protocol,
        "src_tag": match.src_tag,
        "dst_tag": match.dst_tag,
        "src_net": None if match.src_net is None else str(match.src_net),
        "dst_net": None if match.dst_net is None else str(match.dst_net),
        "src_ports": frozenset((each.first, each.last) for each in match.src_ports) or None,
        "dst_ports": frozenset((each.first, each.last) for each in match.dst_ports) or None,
        "icmp_type": match.icmp_type,
        "icmp_code": match.icmp_code,
    }
    return frozenset((name, value) for name, value in fields.items() if value is not None)


def pool_meaning(pool: Pool) -> PoolMeaning:
    """What we mean by a pool."""
    return PoolMeaning(str(pool.cidr), pool.masquerade, pool.ipam, pool.disabled)


def block_meaning(block: Block) -> BlockMeaning:
    """What we mean by a block."""
    return BlockMeaning(
        str(block.cidr),
        block.affinity,
        block.strict,
        tuple(
            None if each is None else (each.handle, frozenset(each.secondary))
            for each in block.allocations
        ),
        block.unallocated,
    )


def names(most: int = 128) -> st.SearchStrategy[str]:
    """What the gate lets through as the name of a group, a host or a profile."""
    return st.from_regex(rf"[a-zA-Z0-9.-][a-zA-Z0-9_.-]{{0,{most - 1}}}", fullmatch=True).filter(
        lambda name: name not in (".", "..")
    )


task_ids = st.from_regex(r"[a-zA-Z0-9.$-][a-zA-Z0-9_.$-]{0,199}", fullmatch=True).filter(
    lambda name: name not in (".", "..")
)
tags = names(40).map(Tag)
profile_ids = names().map(ProfileId)
hosts = names(60).map(HostName)
addresses4 = st.ip_addresses(v=4).map(lambda each: IPAddress(str(each)))
#: None that has an IPv4 address inside, which are written in more than one way.
_plain6 = st.ip_addresses(network="2000::/3") | st.ip_addresses(network="fc00::/7")
addresses6 = _plain6.map(lambda each: IPAddress(str(each)))
#: What both families take for a label; ours are always empty.
labels = st.dictionaries(
    st.from_regex(r"[a-zA-Z0-9_./-]{1,20}", fullmatch=True),
    st.from_regex(r"([a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?)?", fullmatch=True),
    max_size=3,
).map(lambda pairs: tuple(sorted(pairs.items())))
endpoint_ids = st.builds(endpoint_of_task, hosts, task_ids.map(TaskId))


def _spec(
    endpoint: EndpointId,
    addresses: list[IPAddress],
    profiles: list[ProfileId],
    carried: tuple[tuple[str, str], ...],
    active: bool,
) -> EndpointSpec:
    mac: EUI = mac_of(endpoint)
    name: InterfaceName = interface_of(endpoint)
    return EndpointSpec(endpoint, name, mac, tuple(addresses), tuple(profiles), carried, active)


specs = st.builds(
    _spec,
    endpoint_ids,
    st.lists(addresses4 | addresses6, max_size=3, unique=True).map(sorted),
    st.lists(profile_ids, max_size=18, unique=True),
    labels,
    st.booleans(),
)
nets = {
    4: st.tuples(st.ip_addresses(v=4), st.integers(0, 32)).map(
        lambda pair: IPNetwork(f"{pair[0]}/{pair[1]}").cidr
    ),
    6: st.tuples(_plain6, st.integers(0, 128)).map(
        lambda pair: IPNetwork(f"{pair[0]}/{pair[1]}").cidr
    ),
}
port_lists = st.lists(
    st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(
        lambda ends: PortRange(min(ends), max(ends))
    ),
    max_size=20,
    unique=True,
).map(tuple)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    """A rule that both families render as it is meant.

    Not here: ports of SCTP and ICMP type 0, which one of them takes otherwise.
    """
    version = draw(st.sampled_from([4, 6]))
    protocol = draw(st.none() | st.sampled_from([1, 6, 17, 58, 132, 47, 255]))
    if protocol in (1, 58):
        version = 4 if protocol == 1 else 6

    def match(negated: bool) -> Match:
        with_ports, with_icmp = protocol in (6, 17), protocol in (1, 58)
        kind = draw(st.none() | st.integers(1, 254)) if with_icmp else None
        return Match(
            protocol=draw(st.none() | st.sampled_from([6, 17, 50])) if negated else protocol,
            src_tag=draw(st.none() | tags),
            dst_tag=draw(st.none() | tags),
            src_net=draw(st.none() | nets[version]),
            dst_net=draw(st.none() | nets[version]),
            src_ports=draw(port_lists) if with_ports else (),
            dst_ports=draw(port_lists) if with_ports else (),
            icmp_type=kind,
            icmp_code=draw(st.none() | st.integers(0, 255)) if kind is not None else None,
        )

    return Rule(
        draw(st.sampled_from([Action.ALLOW, Action.DENY, Action.LOG])),
        match(negated=False),
        match(negated=True),
        draw(st.sampled_from([None, version])),
        draw(st.sampled_from(["", "seen", "a:b_c-d"])),
    )


rule_lists = st.lists(rules(), max_size=4).map(tuple)
profiles = st.builds(
    Profile,
    id=profile_ids,
    tags=st.lists(tags, max_size=3, unique=True).map(tuple),
    inbound=rule_lists,
    outbound=rule_lists,
)
pools = st.builds(
    Pool,
    st.sampled_from(["10.0.0.0/8", "192.168.64.0/26", "fd80:24e2:f998:72d6::/64"]).map(IPNetwork),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
handles = task_ids.map(HandleId)
allocations = st.builds(Allocation, st.none() | handles, labels.map(lambda pairs: tuple(pairs[:2])))


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    """A block in which anybody holds anything, its free addresses in any order."""
    cidr = IPNetwork(draw(st.sampled_from(["192.168.1.64/26", "fd80::40/122"])))
    owners = draw(st.lists(allocations, max_size=4, unique=True))
    held = [draw(st.none() | st.sampled_from(owners)) if owners else None for _ in range(64)]
    free = draw(st.permutations([n for n, each in enumerate(held) if each is None]))
    new = ipam.new_block(cidr, draw(st.none() | hosts))
    return Block(new.cidr, new.affinity, tuple(held), tuple(free), draw(st.booleans()))


host_records = st.builds(
    lambda name, address: HostRecord(name, address, "boot", "machine", "1"),
    hosts,
    addresses4,
)
openings = st.builds(PortOpening, st.sampled_from(["tcp", "udp"]), st.integers(1, 65535))
records = st.builds(
    lambda task, groups, ports, declared: TaskRecord(
        task,
        "/shop/web",
        "2016-08-05T12:00:01.250Z",
        HostName("h"),
        tuple(groups),
        tuple(ports),
        declared,
    ),
    task_ids.map(TaskId),
    st.lists(names(30) | st.just("public"), max_size=4, unique=True),
    st.lists(openings, max_size=5, unique=True),
    st.booleans(),
)


@st.composite
def policies(draw: st.DrawFn) -> NetworkPolicy:
    """What the controller's flags may say of openings."""
    families = nets[4] | nets[6]
    return NetworkPolicy(
        allow_from=tuple(draw(st.lists(families, max_size=2))), ipv6=draw(st.booleans())
    )
