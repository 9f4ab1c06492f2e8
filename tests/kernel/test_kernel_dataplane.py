"""The whole dataplane on a real kernel: what it sees, what it leaves alone."""

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

from calico.dataplane.api import Applied
from calico.dataplane.changes import (
    AddMarkRule,
    AddRoute,
    AttachTask,
    Change,
    CommitTable,
    RemoveLink,
    RemoveMarkRule,
    RemoveRoute,
    SetSysctl,
)
from calico.dataplane.kernel import KernelDataplane
from calico.dataplane.nft.expr import ACCEPT, rule
from calico.dataplane.state import (
    MAIN_TABLE,
    ROUTE_TABLE,
    BaseHook,
    Chain,
    Connection,
    HostState,
    Link,
    MarkRule,
    Route,
    RouteKind,
)
from calico.errors import DataplaneError, DataplaneUnsupported
from tests.kernel.namespaces import Namespace
from tests.kernel.probes import connects, echoes, family_of
from tests.kernel.test_links import run, wired

Make = Callable[[], Namespace]
MARK = 0x10000


@pytest.fixture
def dataplane(host_network: None) -> Iterator[KernelDataplane]:
    with closing(KernelDataplane()) as made:
        yield made


def done(dataplane: KernelDataplane, *changes: Change) -> None:
    assert dataplane.apply(changes) == Applied({})


def route_to(link: Link) -> Route:
    assert link.wiring is not None
    return Route(IPNetwork(link.wiring.addresses[0]), RouteKind.TASK, ROUTE_TABLE, link.name)


def marking() -> CommitTable:
    """A table that admits all, tracks all, and marks what tasks send."""
    mark = {"mangle": {"key": {"meta": {"key": "mark"}}, "value": MARK}}
    tracked = {
        "match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["new", "established"]}
    }
    return CommitTable(
        chains=(
            Chain("prerouting", (rule(mark),), BaseHook("filter", "prerouting", -300, "accept")),
            Chain("forward", (rule(tracked, ACCEPT),), BaseHook("filter", "forward", 0, "drop")),
        )
    )


def connected(*pairs: tuple[Link, Namespace]) -> tuple[Change, ...]:
    """Everything that lets tasks reach each other by our own table of routes."""
    return (
        marking(),
        SetSysctl("net/ipv4/ip_forward", "1"),
        AddMarkRule(MarkRule(4, 100, MARK)),
        AddMarkRule(MarkRule(4, 101, None)),
        AddRoute(Route(IPNetwork("10.9.0.0/16"), RouteKind.BLACKHOLE, 254)),
        *(AttachTask(link, namespace.ref) for link, namespace in pairs),
        *(AddRoute(route_to(link)) for link, _ in pairs),
    )


def forget_all(dataplane: KernelDataplane, *addresses: str) -> None:
    dataplane.forget(dataplane.connections(map(IPAddress, addresses)))


def tracked(address: str) -> int:
    """How many tracked connections have this address."""
    count = 0
    family = family_of(IPAddress(address))
    attribute = "CTA_IP_V4_" if family == socket.AF_INET else "CTA_IP_V6_"
    with NFCTSocket(nfgen_family=family) as table:
        for entry in table.dump():
            ends = entry.get_attr("CTA_TUPLE_ORIG").get_attr("CTA_TUPLE_IP")
            count += address in (ends.get_attr(attribute + "SRC"), ends.get_attr(attribute + "DST"))
    return count


def test_marked_packets_alone_find_a_task(dataplane: KernelDataplane, namespace: Make) -> None:
    one, two = namespace(), namespace()
    done(dataplane, *connected((wired(1), one), (wired(2), two)))
    assert echoes(one, IPAddress("10.9.0.2"))
    run("nft", "flush", "ruleset")
    assert not echoes(one, IPAddress("10.9.0.2"))
    done(dataplane, marking())
    assert echoes(one, IPAddress("10.9.0.2"))


def test_foreign_objects_are_not_seen_and_survive(
    dataplane: KernelDataplane, namespace: Make
) -> None:
    run("ip", "link", "add", "other0", "type", "veth", "peer", "other1")
    run("ip", "link", "set", "other0", "up")
    run("ip", "route", "add", "10.9.7.0/24", "dev", "other0", "table", "80", "proto", "static")
    run("ip", "rule", "add", "priority", "100", "from", "10.9.7.0/24", "lookup", "7")
    run("nft", "add", "table", "inet", "foreign")
    assert dataplane.observe() == HostState()
    changes = connected((wired(1), namespace()))
    done(dataplane, *changes)
    taken_back: tuple[Change, ...] = (
        *(RemoveRoute(each.route) for each in changes if isinstance(each, AddRoute)),
        *(RemoveLink(each.link.name) for each in changes if isinstance(each, AttachTask)),
        *(RemoveMarkRule(each.rule) for each in changes if isinstance(each, AddMarkRule)),
    )
    done(dataplane, *taken_back)
    state = dataplane.observe()
    assert (state.links, state.routes, state.mark_rules) == ({}, frozenset(), frozenset())
    assert "other0" in run("ip", "link")
    assert "10.9.7.0/24" in run("ip", "route", "show", "table", "80")
    assert "from 10.9.7.0/24 lookup 7" in run("ip", "rule")
    assert "table inet foreign" in run("nft", "list", "tables")


EITHER_FAMILY = pytest.mark.parametrize(
    "network",
    [pytest.param("10.9.7.1/32", id="ipv4"), pytest.param("fd00:9::7/128", id="ipv6")],
)


@EITHER_FAMILY
def test_a_route_of_another_program_is_neither_replaced_nor_removed(
    dataplane: KernelDataplane, network: str
) -> None:
    run("ip", "route", "add", "blackhole", network, "proto", "static")
    route = Route(IPNetwork(network), RouteKind.BLACKHOLE, MAIN_TABLE)
    (reason,) = dataplane.apply((AddRoute(route),)).failures.values()
    assert "another program" in reason
    done(dataplane, RemoveRoute(route))
    version = "-6" if ":" in network else "-4"
    assert "proto static" in run("ip", version, "route", "show", "table", "main")


@EITHER_FAMILY
def test_a_place_in_our_own_routing_table_is_taken_back(
    dataplane: KernelDataplane, network: str
) -> None:
    run("ip", "route", "add", "unreachable", network, "table", "80", "proto", "static")
    route = Route(IPNetwork(network), RouteKind.BLACKHOLE)
    done(dataplane, AddRoute(route))
    assert dataplane.observe().routes == {route}
    version = "-6" if ":" in network else "-4"
    assert "static" not in run("ip", version, "route", "show", "table", "80")


@pytest.mark.parametrize(
    ("underlay", "network", "gateway"),
    [
        pytest.param("10.1.0.1/24", "10.9.0.64/26", "10.1.0.2", id="ipv4"),
        pytest.param("fd00:1::1/64", "fd00:9::40/122", "fd00:1::2", id="ipv6"),
    ],
)
def test_a_route_to_another_host_is_seen_as_it_was_made(
    dataplane: KernelDataplane, underlay: str, network: str, gateway: str
) -> None:
    run("ip", "link", "add", "under0", "type", "veth", "peer", "under1")
    run("ip", "link", "set", "under1", "up")
    run("ip", "link", "set", "under0", "up")
    run("ip", "address", "add", underlay, "dev", "under0")
    route = Route(IPNetwork(network), RouteKind.HOST, gateway=IPAddress(gateway))
    done(dataplane, AddRoute(Route(IPNetwork(network), RouteKind.BLACKHOLE)), AddRoute(route))
    assert dataplane.observe().routes == {route}
    done(dataplane, RemoveRoute(route), RemoveRoute(route))
    assert dataplane.observe().routes == frozenset()


def test_a_task_is_reached_from_the_address_that_its_route_names(
    dataplane: KernelDataplane, namespace: Make
) -> None:
    run("ip", "address", "add", "10.1.0.1/32", "dev", "lo")
    link = wired(1, ipv6=False)
    route = Route(
        IPNetwork("10.9.0.1/32"), RouteKind.TASK, 254, link.name, source=IPAddress("10.1.0.1")
    )
    done(dataplane, AttachTask(link, namespace().ref), AddRoute(route))
    assert dataplane.observe().routes == {route}
    assert "src 10.1.0.1" in run("ip", "route", "get", "10.9.0.1")


def test_the_facts_are_those_of_the_default_route(dataplane: KernelDataplane) -> None:
    run("ip", "link", "add", "under0", "mtu", "1450", "type", "veth", "peer", "under1")
    run("ip", "address", "add", "10.1.0.1/24", "dev", "under0")
    run("ip", "link", "set", "under0", "up")
    run("ip", "route", "add", "default", "via", "10.1.0.254")
    run("ip", "route", "add", "10.77.0.0/16", "via", "10.1.0.253")
    done(dataplane, AddRoute(Route(IPNetwork("10.9.0.0/16"), RouteKind.BLACKHOLE, 254)))
    facts = dataplane.facts(None)
    assert (facts.interface, facts.address, facts.mtu) == ("under0", IPAddress("10.1.0.1"), 1450)
    assert {IPNetwork("10.1.0.0/24"), IPNetwork("10.77.0.0/16")} <= set(facts.networks)
    assert IPNetwork("10.9.0.0/16") not in facts.networks
    assert IPNetwork("0.0.0.0/0") not in facts.networks


def test_an_address_that_is_given_picks_its_interface(dataplane: KernelDataplane) -> None:
    run("ip", "link", "add", "under0", "mtu", "1450", "type", "veth", "peer", "under1")
    run("ip", "address", "add", "10.1.0.1/24", "dev", "under0")
    facts = dataplane.facts(IPAddress("10.1.0.1"))
    assert (facts.interface, facts.address, facts.mtu) == ("under0", IPAddress("10.1.0.1"), 1450)


def test_a_host_without_a_default_route_must_be_told_its_address(
    dataplane: KernelDataplane,
) -> None:
    with pytest.raises(DataplaneUnsupported, match="--address"):
        dataplane.facts(None)


def test_connections_of_an_address_are_forgotten_and_no_others(
    dataplane: KernelDataplane, namespace: Make
) -> None:
    one, two, three = namespace(), namespace(), namespace()
    pairs = ((wired(1), one), (wired(2), two), (wired(3), three))
    done(dataplane, *connected(*pairs))
    listener = three.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("10.9.0.3", 9000))
    listener.listen()
    for client in (one, two):
        assert connects(client, IPAddress("10.9.0.3"), 9000)
    assert (tracked("10.9.0.1"), tracked("10.9.0.2"), tracked("10.9.0.3")) == (1, 1, 2)
    forget_all(dataplane, "10.9.0.1", "fd00:9::1")
    assert (tracked("10.9.0.1"), tracked("10.9.0.2")) == (0, 1)
    (left,) = dataplane.connections(IPAddress(f"10.9.0.{each}") for each in range(1, 100))
    assert set(dataplane.connections((), [IPNetwork("10.9.0.2/31")])) == {left}
    assert dataplane.connections((), [IPNetwork("10.9.0.4/30"), IPNetwork("fd00:a::/64")]) == ()
    ends = IPAddress("10.9.0.2"), IPAddress("10.9.0.3")
    assert left == Connection(6, *ends, *reversed(ends), left.source_port, 9000)
    forget_all(dataplane, "10.9.0.3")
    assert tracked("10.9.0.2") == 0


def test_ipv6_connections_of_an_address_are_forgotten_and_no_others(
    dataplane: KernelDataplane,
) -> None:
    done(dataplane, marking())
    run("nft", "add table inet foreign")
    run("nft", "add chain inet foreign out { type filter hook output priority 0; }")
    run("nft", "add rule inet foreign out ct state new counter")
    for last in (1, 2):
        run("ip", "address", "add", f"fd00:9::{last}/128", "dev", "lo", "nodad")
    for last in (1, 2):
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind((f"fd00:9::{last}", 0))
            sock.sendto(b"probe", ("::1", 9))
    assert (tracked("fd00:9::1"), tracked("fd00:9::2")) == (1, 1)
    forget_all(dataplane, "fd00:9::1")
    assert (tracked("fd00:9::1"), tracked("fd00:9::2")) == (0, 1)


@pytest.mark.parametrize(
    ("protocol", "packet"),
    [
        pytest.param(
            132,
            struct.pack("!HHII", 4000, 9, 0, 0) + struct.pack("!BBHIIHHI", 1, 0, 20, 7, 9, 1, 1, 1),
            id="sctp, which has ports",
        ),
        pytest.param(253, b"probe", id="one that nobody knows"),
    ],
)
def test_connections_of_rarer_protocols_are_forgotten_too(
    dataplane: KernelDataplane, namespace: Make, protocol: int, packet: bytes
) -> None:
    one, two = namespace(), namespace()
    done(dataplane, *connected((wired(1), one), (wired(2), two)))
    # The packets are written by hand, without SCTP's checksum.
    done(dataplane, SetSysctl("net/netfilter/nf_conntrack_checksum", "0"))
    with one.socket(socket.AF_INET, socket.SOCK_RAW, protocol) as sock:
        sock.sendto(packet, ("10.9.0.2", 0))
    assert tracked("10.9.0.1") == 1
    forget_all(dataplane, "10.9.0.1")
    assert tracked("10.9.0.1") == 0


def test_a_setting_outside_the_network_is_refused(dataplane: KernelDataplane) -> None:
    before = Path("/proc/sys/kernel/hostname").read_text()
    changes = (
        SetSysctl("kernel/hostname", "gone"),
        SetSysctl("net/../kernel/hostname", "gone"),
        SetSysctl("net/ipv4/no_such_setting", "1"),
    )
    assert set(dataplane.apply(changes).failures) == set(changes)
    assert Path("/proc/sys/kernel/hostname").read_text() == before


def test_a_refused_table_stops_what_comes_after_it(
    dataplane: KernelDataplane, namespace: Make
) -> None:
    impossible = CommitTable(removed_chains=("nobody-has-this",))
    with pytest.raises(DataplaneError):
        dataplane.apply((impossible, AttachTask(wired(1), namespace().ref)))
    assert dataplane.observe() == HostState()


def test_a_dataplane_without_the_right_says_so_and_names_the_remedy() -> None:
    program = (
        "from calico.dataplane.kernel import KernelDataplane\n"
        "from calico.errors import DataplaneUnsupported\n"
        "try:\n    KernelDataplane().observe()\n"
        "except DataplaneUnsupported as error:\n    print(error)\n"
    )
    if os.getuid() != 0:
        pytest.skip("only root can give its rights away")
    result = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "unshare" in result.stdout, result.stderr
