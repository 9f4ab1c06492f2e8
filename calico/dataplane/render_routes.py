"""Routes to tasks, to other hosts' blocks, and the blackholes behind them."""

from collections.abc import Iterable, Iterator

from netaddr import IPAddress, IPNetwork

from calico.dataplane.render_addresses import AddressPlan, Version, span_of, span_of_address
from calico.dataplane.render_endpoints import OpenEndpoint
from calico.dataplane.state import MAIN_TABLE, HostConfig, Route, RouteKind
from calico.model import HostName, Snapshot


def render_routes(
    snapshot: Snapshot,
    config: HostConfig,
    plan: AddressPlan,
    opened: Iterable[OpenEndpoint],
) -> frozenset[Route]:
    """Every route that this host should have of ours.

    The main table only knows the pools, as blackholes: with our nftables table
    flushed away nothing is marked, and nothing finds a task.
    """
    routes = {Route(pool.cidr.cidr, RouteKind.BLACKHOLE, table=MAIN_TABLE) for pool in plan.pools}
    local = frozenset(route for endpoint in opened for route in endpoint.routes)
    routes |= local
    taken = {route.destination for route in local}
    routes |= set(_block_routes(snapshot, config, plan))
    if config.route_to_hosts:
        routes |= {
            route
            for route in _borrowed_routes(snapshot, config, plan)
            if route.destination not in taken
        }
    return frozenset(routes)


def host_network(address: IPAddress) -> IPNetwork:
    """The /32 or /128 of one address."""
    return IPNetwork(address)


def _block_routes(snapshot: Snapshot, config: HostConfig, plan: AddressPlan) -> Iterator[Route]:
    for block, host in snapshot.block_hosts.items():
        if host is None or plan.forbids(span_of(block)):
            continue
        if host == config.host:
            yield Route(block.cidr, RouteKind.BLACKHOLE)
        elif config.route_to_hosts:
            yield from _via(snapshot, config, host, block.cidr)


def _borrowed_routes(snapshot: Snapshot, config: HostConfig, plan: AddressPlan) -> Iterator[Route]:
    """A /32 for each remote address that its block would lead elsewhere.

    An address that two hosts claim is routed to neither.
    """
    hosts_by_block = {
        (block.version, block.prefixlen, int(block.cidr.ip)): host
        for block, host in snapshot.block_hosts.items()
    }
    lengths = {(version, length) for version, length, _ in hosts_by_block}
    claims: dict[tuple[Version, int], set[HostName]] = {}
    for spec in snapshot.specs.values():
        if spec.id.host == config.host or not spec.active:
            continue
        for address in spec.addresses:
            claims.setdefault((address.version, int(address)), set()).add(spec.id.host)
    for (version, value), hosts in claims.items():
        (host, *others) = hosts
        width = 32 if version == 4 else 128
        led_to = {
            hosts_by_block.get((version, length, value >> (width - length) << (width - length)))
            for version_, length in lengths
            if version_ == version
        } - {None}
        address = IPAddress(value, version)
        if others or led_to == {host} or plan.forbids(span_of_address(address)):
            continue
        yield from _via(snapshot, config, host, host_network(address))


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
        if gateway.version == destination.version and gateway not in shared:
            yield Route(destination, RouteKind.HOST, gateway=gateway)
            return
