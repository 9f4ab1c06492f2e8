"""Routes to tasks, to other hosts' blocks, and the blackholes behind them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from netaddr import IPAddress, IPNetwork

from calico.dataplane.render.addresses import AddressPlan, Version, span_of, span_of_address
from calico.dataplane.render.endpoints import OpenEndpoint
from calico.dataplane.render.memory import PartMemory
from calico.dataplane.state import MAIN_TABLE, HostConfig, Route, RouteKind
from calico.model import EndpointSpec, HostName, Snapshot

Place = tuple[Version, int]


@dataclass(frozen=True, slots=True)
class Blocks:
    """What hangs on the blocks alone: their routes, and where each leads.

    `hosts` is by version, prefix length and first address. `unpooled` are the
    blocks of hosts that are in no pool: whoever allocates may write a block,
    and what this host itself sends finds these routes, so that it could be
    led away from anybody. What is a task's there has a route of its own.
    """

    of: Snapshot
    config: HostConfig
    plan: AddressPlan
    routes: frozenset[Route]
    hosts: Mapping[tuple[Version, int, int], HostName | None]
    lengths: frozenset[tuple[Version, int]]
    unpooled: tuple[tuple[IPNetwork, HostName], ...]

    def are_of(self, snapshot: Snapshot, config: HostConfig, plan: AddressPlan) -> bool:
        """Whether these are what a snapshot's blocks would make again."""
        return (
            self.of.block_hosts is snapshot.block_hosts
            and self.of.hosts is snapshot.hosts
            and (self.config, self.plan) == (config, plan)
        )

    def lead_to(self, host: HostName, version: Version, value: int) -> bool:
        """Whether the blocks lead an address to a host, and nowhere else."""
        width = 32 if version == 4 else 128
        led_to = {
            self.hosts.get((version, length, value >> (width - length) << (width - length)))
            for version_, length in self.lengths
            if version_ == version
        }
        return led_to - {None} == {host}


class RouteMemory:
    """What one rendering of routes hands on to the next; see render_memory."""

    def __init__(self) -> None:
        self._blocks: Blocks | None = None
        #: Addresses of an endpoint of another host that its block would lead elsewhere.
        self._borrowed: PartMemory[tuple[Place, ...]] = PartMemory()

    def blocks(self, snapshot: Snapshot, config: HostConfig, plan: AddressPlan) -> Blocks:
        """The blocks, made anew when they or the hosts are other objects."""
        if self._blocks is None or not self._blocks.are_of(snapshot, config, plan):
            self._blocks = _blocks(snapshot, config, plan)
            self._borrowed = PartMemory()
        return self._blocks

    def borrowed(self, snapshot: Snapshot, blocks: Blocks) -> list[tuple[EndpointSpec, Place]]:
        """Every borrowed address with the endpoint that has it."""
        parts = self._borrowed.of(
            snapshot.specs.values(), None, lambda spec: tuple(_borrowed_of(spec, blocks))
        )
        return [(spec, place) for spec, places in parts if places for place in places]


def render_routes(
    snapshot: Snapshot,
    config: HostConfig,
    plan: AddressPlan,
    opened: Iterable[OpenEndpoint],
    memory: RouteMemory | None = None,
) -> frozenset[Route]:
    """Every route that this host should have of ours.

    The main table only knows the pools, as blackholes: with our nftables table
    flushed away nothing is marked, and nothing finds a task.
    """
    memory = memory or RouteMemory()
    routes = {Route(pool.cidr.cidr, RouteKind.BLACKHOLE, table=MAIN_TABLE) for pool in plan.pools}
    local = frozenset(route for endpoint in opened for route in endpoint.routes)
    blocks = memory.blocks(snapshot, config, plan)
    routes |= local | blocks.routes
    if config.route_to_hosts and (borrowed := memory.borrowed(snapshot, blocks)):
        taken = {route.destination for route in local}
        routes |= {
            route
            for route in _borrowed_routes(snapshot, config, borrowed)
            if route.destination not in taken
        }
    return frozenset(routes)


def host_network(address: IPAddress) -> IPNetwork:
    """The /32 or /128 of one address."""
    return IPNetwork(address)


def _blocks(snapshot: Snapshot, config: HostConfig, plan: AddressPlan) -> Blocks:
    pooled: list[tuple[IPNetwork, HostName]] = []
    unpooled: list[tuple[IPNetwork, HostName]] = []
    for block, host in snapshot.block_hosts.items():
        span = span_of(block)
        if host is None or plan.refuses(span):
            continue
        if not plan.pools_hold(span):
            unpooled.append((block, host))
        elif not plan.forbids(span):
            pooled.append((block, host))
    hosts = {(block.version, block.prefixlen, int(block.cidr.ip)): host for block, host in pooled}
    return Blocks(
        of=snapshot,
        config=config,
        plan=plan,
        routes=frozenset(_block_routes(snapshot, config, pooled)),
        hosts=hosts,
        lengths=frozenset((version, length) for version, length, _ in hosts),
        unpooled=tuple(sorted(unpooled)),
    )


def _block_routes(
    snapshot: Snapshot, config: HostConfig, blocks: Iterable[tuple[IPNetwork, HostName]]
) -> Iterator[Route]:
    for block, host in blocks:
        if host == config.host:
            yield Route(block.cidr, RouteKind.BLACKHOLE)
        elif config.route_to_hosts:
            yield from _via(snapshot, config, host, block.cidr)


def _borrowed_of(spec: EndpointSpec, blocks: Blocks) -> Iterator[Place]:
    if spec.id.host == blocks.config.host or not spec.active:
        return
    for address in spec.addresses:
        version, value = address.version, int(address)
        if not blocks.lead_to(spec.id.host, version, value) and not blocks.plan.forbids(
            span_of_address(address)
        ):
            yield version, value


def _borrowed_routes(
    snapshot: Snapshot, config: HostConfig, borrowed: Iterable[tuple[EndpointSpec, Place]]
) -> Iterator[Route]:
    """A /32 for each remote address that its block would lead elsewhere.

    An address that two hosts claim is routed to neither.
    """
    claims: dict[Place, set[HostName]] = {place: set() for _, place in borrowed}
    for spec in snapshot.specs.values():
        if spec.id.host == config.host or not spec.active:
            continue
        for address in spec.addresses:
            claimed = claims.get((address.version, int(address)))
            if claimed is not None:
                claimed.add(spec.id.host)
    for (version, value), hosts in claims.items():
        (host, *others) = hosts
        if not others:
            yield from _via(snapshot, config, host, host_network(IPAddress(value, version)))


def _via(
    snapshot: Snapshot, config: HostConfig, host: HostName, destination: IPNetwork
) -> Iterator[Route]:
    record, own = snapshot.hosts.get(host), snapshot.hosts.get(config.host)
    # A host that registered with our own address would send packets in a circle.
    if record is None or record.address == config.address:
        return
    if record.address.version == destination.version:
        yield Route(destination, RouteKind.HOST, gateway=record.address)
        return
    shared = () if own is None else own.others
    for gateway in record.others:
        if gateway.version != destination.version or gateway in shared:
            continue
        # The kernel refuses one that this host has no network in common with.
        if any(gateway in network for network in config.networks):
            yield Route(destination, RouteKind.HOST, gateway=gateway)
            return
