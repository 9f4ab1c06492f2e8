"""Small datastore snapshots for tests of the dataplane."""

from collections.abc import Iterable

from netaddr import IPAddress, IPNetwork

from calico.dataplane.changes import CommitTable
from calico.dataplane.state import Chain, HostConfig, HostState, NftSet
from calico.model import (
    Action,
    BootId,
    EndpointSpec,
    HostName,
    HostRecord,
    Match,
    Pool,
    PortRange,
    Profile,
    ProfileId,
    Rule,
    Snapshot,
    Tag,
    TaskId,
)
from calico.names import endpoint_of_task, interface_of, mac_of

HERE, THERE = HostName("here"), HostName("there")
HERE_ADDRESS, THERE_ADDRESS = IPAddress("10.77.0.1"), IPAddress("10.77.0.2")
POOL, POOL6 = Pool(IPNetwork("10.9.0.0/16"), masquerade=True), Pool(IPNetwork("fd00:9::/64"))
CONFIG = HostConfig(
    host=HERE,
    address=HERE_ADDRESS,
    mtu=1500,
    underlay="eth0",
    host_ports=(PortRange(5051, 5051), PortRange(31000, 32000)),
)


def spec(
    task: str, *profiles: str, addresses: Iterable[str] = (), host: HostName = HERE
) -> EndpointSpec:
    """An endpoint as the controller would write it."""
    endpoint = endpoint_of_task(host, TaskId(task))
    return EndpointSpec(
        endpoint,
        interface_of(endpoint),
        mac_of(endpoint),
        tuple(map(IPAddress, addresses)),
        tuple(map(ProfileId, profiles)),
    )


def group(name: str) -> Profile:
    """A group's profile: its tag, and the way out."""
    return Profile(ProfileId(name), (Tag(name),), outbound=(Rule(Action.ALLOW),))


def openings(
    name: str, group_name: str, *ports: int, protocols: Iterable[int] = (6, 17)
) -> Profile:
    """An app's profile: these ports and ICMP echo, for one group."""
    tag = Tag(group_name)
    ranges = tuple(PortRange(port, port) for port in ports)
    inbound = [
        Rule(Action.ALLOW, Match(protocol=protocol, src_tag=tag, dst_ports=ranges))
        for protocol in protocols
    ]
    inbound += [
        Rule(Action.ALLOW, Match(protocol=protocol, src_tag=tag, icmp_type=kind))
        for protocol, kind in ((1, 8), (58, 128))
    ]
    return Profile(ProfileId(name), inbound=tuple(inbound), outbound=(Rule(Action.ALLOW),))


def record(name: HostName, address: IPAddress) -> HostRecord:
    """A registered host."""
    return HostRecord(name, address, BootId(f"boot-{name}"), f"machine-{name}", "0")


def snapshot(
    specs: Iterable[EndpointSpec],
    profiles: Iterable[Profile] = (),
    pools: Iterable[Pool] = (POOL, POOL6),
    block_hosts: Iterable[tuple[str, HostName | None]] = (),
) -> Snapshot:
    """A datastore with these contents and two registered hosts."""
    return Snapshot(
        revision=1,
        specs={each.id: each for each in specs},
        profiles={each.id: each for each in profiles},
        pools=tuple(pools),
        block_hosts={IPNetwork(block): host for block, host in block_hosts},
        hosts={
            HERE: record(HERE, HERE_ADDRESS),
            THERE: record(THERE, THERE_ADDRESS),
        },
    )


def commit_of(state: HostState) -> CommitTable:
    """The whole table, for a kernel that has nothing of it."""
    return commit(state.chains.values(), state.sets.values())


def commit(chains: Iterable[Chain], sets: Iterable[NftSet] = ()) -> CommitTable:
    """These chains and sets, as new ones."""
    return CommitTable(chains=tuple(chains), sets=tuple(sets))
