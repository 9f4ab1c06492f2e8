"""Which of the kernel's events concern us, and who caused them."""

import struct

import pytest
from netaddr import IPAddress, IPNetwork

from calico.dataplane.netlink.kernel_events import Heard, RouteEvents, hear_nftables
from calico.dataplane.netlink.wire import attribute, number, text

OURS, THEIRS = 4242, 77
INET, IPV4 = 1, 2
NEW_LINK, NEW_ADDRESS, DEL_ADDRESS, NEW_ROUTE, DEL_ROUTE = 16, 20, 21, 24, 25
NEW_NEIGHBOUR, DEL_RULE, NEW_NETCONF = 28, 33, 80
REPLACE = 0x100
MAIN, OUR_TABLE, OUR_PROTOCOL, STATIC = 254, 80, 80, 4
POOL = IPNetwork("10.9.0.0/16")


def event(kind: int, body: bytes, port: int = THEIRS, flags: int = 0) -> bytes:
    """One message as the kernel sends it."""
    data = struct.pack("=IHHII", 16 + len(body), kind, flags, 1, port) + body
    return data + bytes(-len(data) & 3)


def in_table(name: str, family: int = INET, port: int = THEIRS) -> bytes:
    """An event about a part of an nftables table."""
    return event(10 << 8 | 6, struct.pack("=BBH", family, 0, 0) + text(1, name), port)


def route(
    kind: int,
    network: IPNetwork,
    *,
    table: int = MAIN,
    protocol: int = STATIC,
    flags: int = 0,
    port: int = THEIRS,
) -> bytes:
    """An event about a route."""
    head = struct.pack("=BBBBBBBBI", 2, network.prefixlen, 0, 0, table, protocol, 0, 1, 0)
    return event(kind, head + attribute(1, network.ip.packed), port, flags)


def address(kind: int, value: str, scope: int = 0) -> bytes:
    """An event about an address of the host."""
    return event(
        kind, struct.pack("=BBBBI", 2, 24, 0, scope, 3) + attribute(2, IPAddress(value).packed)
    )


def rule(preference: int) -> bytes:
    """An event about an ip rule."""
    return event(DEL_RULE, bytes(12) + number(6, preference))


@pytest.mark.parametrize(
    ("data", "ports"),
    [
        pytest.param(in_table("marathon-calico"), {THEIRS}, id="our table"),
        pytest.param(in_table("marathon-calico", IPV4), set(), id="same name, other family"),
        pytest.param(in_table("marathon-calico-too"), set(), id="a longer name"),
        pytest.param(in_table("filter") * 20, set(), id="another table"),
        pytest.param(
            in_table("filter", port=1) + in_table("marathon-calico", port=OURS),
            {OURS},
            id="ours among others",
        ),
        pytest.param(b"", set(), id="nothing"),
        pytest.param(in_table("marathon-calico")[:30], set(), id="cut off"),
    ],
)
def test_who_changed_our_table_is_told(data: bytes, ports: set[int]) -> None:
    assert hear_nftables(data) == Heard(frozenset(ports))


@pytest.mark.parametrize(
    ("data", "ports"),
    [
        pytest.param(
            route(NEW_ROUTE, POOL, protocol=OUR_PROTOCOL, port=OURS), {OURS}, id="ours comes"
        ),
        pytest.param(route(DEL_ROUTE, POOL, protocol=OUR_PROTOCOL), {THEIRS}, id="ours goes"),
        pytest.param(
            route(NEW_ROUTE, POOL, table=OUR_TABLE), {THEIRS}, id="anything in our routing table"
        ),
        pytest.param(route(NEW_ROUTE, POOL), set(), id="another program's beside it"),
        pytest.param(
            route(NEW_ROUTE, POOL, flags=REPLACE), set(), id="a replacement of what is not ours"
        ),
        pytest.param(
            route(NEW_ROUTE, POOL, table=7, protocol=OUR_PROTOCOL), set(), id="in a third table"
        ),
        pytest.param(rule(100), {THEIRS}, id="our rule"),
        pytest.param(rule(32766), set(), id="another rule"),
        pytest.param(event(NEW_NEIGHBOUR, bytes(28)), set(), id="a neighbour"),
    ],
)
def test_who_changed_our_routes_and_rules_is_told(data: bytes, ports: set[int]) -> None:
    assert RouteEvents().hear(data) == Heard(frozenset(ports))


def test_a_replacement_in_the_place_of_our_route_is_noticed() -> None:
    known = route(NEW_ROUTE, POOL, protocol=OUR_PROTOCOL)[16:]
    events = RouteEvents(routes=[known])
    replaced = route(NEW_ROUTE, POOL, flags=REPLACE)
    elsewhere = route(NEW_ROUTE, IPNetwork("10.8.0.0/16"), flags=REPLACE)

    assert events.hear(elsewhere) == Heard()
    assert events.hear(replaced) == Heard(frozenset({THEIRS}))

    events.hear(route(DEL_ROUTE, POOL, protocol=OUR_PROTOCOL))
    assert events.hear(replaced) == Heard()


def test_an_address_of_the_host_is_news_once() -> None:
    events = RouteEvents(addresses=[address(NEW_ADDRESS, "10.0.0.1")[16:]])

    assert events.hear(address(NEW_ADDRESS, "10.0.0.1")) == Heard()
    assert events.hear(address(NEW_ADDRESS, "10.0.0.2")) == Heard(host=True)
    assert events.hear(address(NEW_ADDRESS, "10.0.0.2")) == Heard()
    assert events.hear(address(DEL_ADDRESS, "10.0.0.2")) == Heard(host=True)
    assert events.hear(address(DEL_ADDRESS, "10.0.0.2")) == Heard()
    assert events.hear(address(NEW_ADDRESS, "169.254.7.7", scope=253)) == Heard()


@pytest.mark.parametrize(
    ("data", "devices"),
    [
        pytest.param(
            event(NEW_LINK, bytes(16) + text(3, "cali0123456789a")), True, id="a device of ours"
        ),
        pytest.param(event(NEW_LINK, bytes(16) + text(3, "docker0")), False, id="another device"),
        pytest.param(event(NEW_NETCONF, bytes(4)), True, id="a setting"),
    ],
)
def test_events_that_may_be_about_our_devices_ask_for_a_glance(data: bytes, devices: bool) -> None:
    assert RouteEvents().hear(data) == Heard(devices=devices)
