"""The chains that every host has, whatever its tasks: hooks, sources, the host itself.

What differs from host to host and from minute to minute is in sets and verdict
maps, which they look up; see render.table.
"""

from collections.abc import Iterable, Iterator

from netaddr import IPNetwork

from calico.dataplane.nft.expr import (
    ACCEPT,
    MASQUERADE,
    RETURN,
    Statement,
    address,
    any_of,
    by_connection,
    concat,
    connection,
    dropping,
    goto,
    jump,
    matches,
    meta,
    one_or_any_of,
    opening,
    ours,
    payload,
    port_conditions,
    rule,
    set_mark,
    strays,
    verdict_of,
    within,
)
from calico.dataplane.render.addresses import AddressPlan, interval_elements, span_of
from calico.dataplane.render.beginnings import (
    COMPARING,
    ESTABLISHED,
    SIGNING,
    answered,
    render_beginnings,
    unsigned_kind,
)
from calico.dataplane.render.policy import TO_TASK
from calico.dataplane.state import BaseHook, Chain, HostConfig, NftRule

VERSIONS = (4, 6)
# The chains at the hooks bear the hooks' names.
#: Before fragments are put together (-400): one of another sender would else
#: become part of a datagram whose source is checked by its other fragments.
PREROUTING = BaseHook("filter", "prerouting", -450, "accept")
FORWARD = BaseHook("filter", "forward", 0, "drop")
INPUT = BaseHook("filter", "input", 0, "accept")
POSTROUTING = BaseHook("nat", "postrouting", 100, "accept")

CHECK_SOURCE, CHECK_ADDRESS, POSING = "check-source", "check-address", "posing"
STRAYS = "strays"
FROM_TASK, TO_HOST = "from-task", "to-host"
BYSTANDERS, RELATED, PUBLISHED = "bystanders", "related", "published"
ICMP = (1, 58)
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


def render_chains(config: HostConfig, plan: AddressPlan) -> Iterator[Chain]:
    """The base chains, and those that they lead to before any policy."""
    yield Chain(PREROUTING.hook, tuple(_prerouting(config)), PREROUTING)
    yield Chain(STRAYS, tuple(_strays()))
    yield Chain(CHECK_SOURCE, tuple(_check_source()))
    yield Chain(CHECK_ADDRESS, tuple(_check_address(config)))
    yield Chain(POSING, tuple(_posing()))
    yield Chain(BYSTANDERS, tuple(_bystanders()))
    yield Chain(RELATED, tuple(_related()))
    yield Chain(PUBLISHED, tuple(_published(config)))
    yield Chain(FORWARD.hook, tuple(_forward(config)), FORWARD)
    yield Chain(FROM_TASK, tuple(_from_task(config)))
    yield Chain(TO_TASK, tuple(_to_task()))
    yield from render_beginnings()
    yield Chain(INPUT.hook, tuple(_input()), INPUT)
    yield Chain(TO_HOST, tuple(_to_host(config)))
    yield Chain(POSTROUTING.hook, tuple(_postrouting(plan)), POSTROUTING)


def _prerouting(config: HostConfig) -> Iterator[NftRule]:
    yield rule(ours("iifname"), goto(CHECK_SOURCE))
    for version in VERSIONS:
        yield dropping(matches(address(version, "saddr"), f"@local{version}"))
    # Only marked packets find the routes to tasks; see render.routes.
    yield rule(set_mark(config.mark))
    yield rule(matches(meta("iifname"), config.underlay, negated=True), jump(STRAYS))


def _strays() -> Iterator[NftRule]:
    """Other containers of this host may not speak for tasks of other hosts.

    The kernel's own check of the way back takes the routes to tasks for
    everybody's, and IPv6 has none.
    """
    for version in VERSIONS:
        yield dropping(matches(address(version, "saddr"), f"@tasks{version}"), strays())


def _check_source() -> Iterator[NftRule]:
    # Of what most packets are, nothing but the address is asked.
    for protocol in (TCP, UDP):
        yield rule(matches(meta("l4proto"), protocol), goto(CHECK_ADDRESS))
    yield dropping(matches(meta("l4proto"), any_of(ENCAPSULATIONS)))
    yield dropping(
        matches(payload("icmpv6", "type"), any_of((ROUTER_ADVERTISEMENT, REDIRECT))),
    )
    yield rule(goto(CHECK_ADDRESS))


def _posing() -> Iterator[NftRule]:
    """No task is a tunnel's end or gives out addresses, which shows in how it begins."""
    yield dropping(matches(payload("udp", "dport"), any_of(TUNNEL_PORTS)))
    yield dropping(matches(payload("udp", "sport"), any_of(DHCP_SERVER_PORTS)))


def _check_address(config: HostConfig) -> Iterator[NftRule]:
    for version in VERSIONS:
        source = concat(meta("iifname"), payload("ether", "saddr"), address(version, "saddr"))
        yield rule(matches(source, f"@source{version}"), set_mark(config.mark), ACCEPT)
    yield dropping()


def _related() -> Iterator[NftRule]:
    """Errors about a connection, from a task only about its own.

    Nothing else is related that no policy admitted: what a connection tracking
    helper expects is not.
    """
    yield dropping(matches(meta("l4proto"), any_of(ICMP), negated=True))
    yield rule(ours("oifname"), jump(COMPARING))
    yield rule(ours("iifname", negated=True), ACCEPT)
    yield rule(ours("oifname", negated=True), jump(SIGNING))
    for version in VERSIONS:
        # The source of either direction is one end of the connection.
        for direction in ("original", "reply"):
            end = connection("ip saddr" if version == 4 else "ip6 saddr", direction)
            held = concat(meta("iifname"), payload("ether", "saddr"), end)
            yield rule(matches(held, f"@source{version}"), ACCEPT)
    yield dropping()


def _forward(config: HostConfig) -> Iterator[NftRule]:
    yield answered()
    yield rule(ours("iifname", negated=True), ours("oifname", negated=True), jump(BYSTANDERS))
    yield rule(by_connection(goto(ESTABLISHED), RELATED))
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


def _bystanders() -> Iterator[NftRule]:
    """What neither comes from a task nor goes to one is none of our business."""
    for version in VERSIONS:
        yield rule(
            matches(address(version, "saddr"), f"@tasks{version}", negated=True),
            matches(address(version, "daddr"), f"@tasks{version}", negated=True),
            ACCEPT,
        )


def _published(config: HostConfig) -> Iterator[NftRule]:
    """What a task asks of the host itself and docker's NAT leads on to a container."""
    for ports in port_conditions(config.host_ports):
        yield rule(
            matches(meta("l4proto"), any_of((TCP, UDP))),
            matches(connection("proto-dst", "original"), ports),
            RETURN,
        )
    yield dropping()


def _from_task(config: HostConfig) -> Iterator[NftRule]:
    yield rule(matches(meta("l4proto"), UDP), jump(POSING))
    yield dropping(
        matches(address(4, "daddr"), within(LINK_LOCAL)),
        matches(payload("th", "dport"), DNS_PORT, negated=True),
    )
    yield from _protected(config)
    yield rule(ours("oifname", negated=True), unsigned_kind(negated=True), jump(SIGNING))
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
    yield rule(by_connection(ACCEPT, RELATED))
    yield dropping(opening(negated=True))
    yield rule(matches(meta("l4proto"), UDP), jump(POSING))
    yield from _protected(config)
    for ports in port_conditions(config.host_ports):
        yield rule(
            matches(meta("l4proto"), any_of((TCP, UDP))),
            matches(payload("th", "dport"), ports),
            ACCEPT,
        )
    yield dropping()


def _protected(config: HostConfig) -> Iterator[NftRule]:
    """Two rules per family, port and network; single addresses are together.

    A destination is looked at as the task wrote it too: a service that docker
    publishes has another address by the time that it is forwarded.
    """
    networks: dict[tuple[int, int], list[IPNetwork]] = {}
    for each in config.protected:
        networks.setdefault((each.network.version, each.port or 0), []).append(each.network)
    for (version, port), listed in sorted(networks.items(), key=lambda item: item[0]):
        for closed in _address_conditions(interval_elements(map(span_of, listed), version)):
            for target, number in (
                (address(version, "daddr"), payload("th", "dport")),
                (original_target(version), connection("proto-dst", "original")),
            ):
                statements: list[Statement] = [matches(target, closed)]
                if port:
                    statements.append(matches(meta("l4proto"), any_of((TCP, UDP))))
                    statements.append(matches(number, port))
                yield dropping(*statements)


def _address_conditions(elements: Iterable[object]) -> tuple[object, ...]:
    """Right sides of matches for addresses; no set of intervals, as for ports."""
    ordered = sorted(elements, key=str)
    single = [each for each in ordered if isinstance(each, str)]
    wide = [_literal(each) for each in ordered if not isinstance(each, str)]
    return (*one_or_any_of(single), *wide)


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
