"""The rendered table lets through exactly what the groups allow."""

import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from netaddr import IPAddress

from calico.dataplane.changes import CommitTable
from calico.dataplane.nft.expr import ACCEPT, rule, set_mark
from calico.dataplane.render.host import render_host
from calico.dataplane.state import Chain
from calico.model import Action, Match, Profile, ProfileId, Rule, Tag
from reconciler.core.reaching.reach import ICMPV6, UDP, Packet
from tests.dataplane_worlds import HERE_ADDRESS, THERE_ADDRESS, commit, commit_of, snapshot
from tests.kernel.namespaces import Namespace
from tests.kernel.packets import Arrivals, FrameSender
from tests.kernel.probes import (
    WAIT,
    connects,
    delivers,
    echoes,
    ipv4_packet,
    listening,
    send_raw,
    tcp_payload,
    udp_payload,
)
from tests.kernel.tables import (
    A1,
    A1_6,
    A2,
    A2_6,
    B1,
    B1_6,
    OTHER_PORT,
    PORT,
    PROFILES,
    PROTECTED_PORT,
    SPECS,
    STRANGER,
    TABLE_CONFIG,
    Here,
    World,
    make_world,
)

ACK, SYN = 0x10, 0x02
Make = Callable[[], Namespace]


@pytest.fixture
def world(namespace: Make) -> World:
    return make_world(namespace)


@pytest.mark.parametrize("address", [pytest.param(A2, id="v4"), pytest.param(A2_6, id="v6")])
def test_a_task_reaches_its_group_on_declared_ports_only(world: World, address: IPAddress) -> None:
    with listening(world["a2"], address, PORT), listening(world["a2"], address, OTHER_PORT):
        assert connects(world["a1"], address, PORT)
        assert not connects(world["a1"], address, OTHER_PORT)
    assert delivers(world["a1"], world["a2"], address, PORT)
    assert not delivers(world["a1"], world["a2"], address, OTHER_PORT)
    assert echoes(world["a1"], address)


@pytest.mark.parametrize("address", [pytest.param(B1, id="v4"), pytest.param(B1_6, id="v6")])
def test_a_task_reaches_no_other_group(world: World, address: IPAddress) -> None:
    with listening(world["b1"], address, PORT):
        assert not connects(world["a1"], address, PORT)
        assert not connects(world.outside, address, PORT)
        assert connects(Here(), address, PORT)
    assert not delivers(world["a1"], world["b1"], address, PORT)
    assert not echoes(world["a1"], address)


def raw_arrives(
    world: World,
    sender: Namespace,
    claimed: IPAddress,
    source_port: int = 5000,
    *,
    outside: bool = False,
) -> bool:
    """Whether a datagram with a claimed source reaches a2's open port, or a stranger's."""
    place, target = (world.outside, STRANGER) if outside else (world["a2"], A2)
    receiver = place.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    receiver.bind((str(target), PORT))
    receiver.settimeout(WAIT)
    payload = udp_payload(source_port, PORT, b"raw")
    with receiver:
        send_raw(sender, target, ipv4_packet(claimed, target, socket.IPPROTO_UDP, payload))
        try:
            return receiver.recv(100) == b"raw"
        except TimeoutError:
            return False


def without_source_check(world: World) -> None:
    """Open what the tests of spoofing rest on, to see that they can fail."""
    opened = Chain("check-source", (rule(set_mark(TABLE_CONFIG.mark), ACCEPT),))
    world.table.commit(commit([opened, Chain("posing", ())]))


def without_reverse_path_filter(interface: str) -> None:
    """Leave the table alone with spoofed sources."""
    for name in ("all", interface):
        Path("/proc/sys/net/ipv4/conf", name, "rp_filter").write_text("0")


def test_a_spoofed_source_is_dropped(world: World) -> None:
    assert raw_arrives(world, world["a1"], A1)
    assert not raw_arrives(world, world["b1"], A1, source_port=5001)
    without_source_check(world)
    without_reverse_path_filter(SPECS["b1"].interface)
    assert raw_arrives(world, world["b1"], A1, source_port=5002)


def test_a_spoofed_source_does_not_leave_the_host(world: World) -> None:
    without_reverse_path_filter(SPECS["b1"].interface)
    assert raw_arrives(world, world["b1"], B1, outside=True)
    assert not raw_arrives(world, world["b1"], A1, source_port=5001, outside=True)


def test_a_spoofed_mac_is_dropped(world: World) -> None:
    state = world.rendered.state
    assert raw_arrives(world, world["a1"], A1)
    source = state.sets["source4"]
    other = frozenset(
        ("concat", element[1], "02:00:00:00:00:99", element[3])
        for element in source.elements
        if isinstance(element, tuple)
    )
    changed = replace(source, elements=other)
    world.table.commit(CommitTable(sets=(changed,), previous_sets=(source,)))
    assert not raw_arrives(world, world["a1"], A1, source_port=5001)


def test_a_spoofed_source_enters_no_established_flow(world: World) -> None:
    one = world["a1"].socket(socket.AF_INET, socket.SOCK_DGRAM)
    two = world["a2"].socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind((str(A1), 5000))
    two.bind((str(A2), PORT))
    for sock in (one, two):
        sock.settimeout(WAIT)
    one.sendto(b"there", (str(A2), PORT))
    assert two.recv(100) == b"there"
    two.sendto(b"back", (str(A1), 5000))
    assert one.recv(100) == b"back"
    two.close()
    assert not raw_arrives(world, world["b1"], A1, source_port=5000)


def test_a_tasks_address_from_another_interface_is_dropped(world: World) -> None:
    without_reverse_path_filter("eth0")
    assert not raw_arrives(world, world.outside, A1)
    prerouting = world.rendered.state.chains["prerouting"]
    checks = [each for each in prerouting.rules if "@local" not in each.expression]
    world.table.commit(commit([replace(prerouting, rules=tuple(checks))]))
    assert raw_arrives(world, world.outside, A1, source_port=5001)


@pytest.mark.parametrize(
    ("flags", "arrives"),
    [
        pytest.param(SYN, True, id="SYN"),
        pytest.param(ACK, False, id="ACK without a SYN"),
        pytest.param(SYN | ACK, False, id="SYN and ACK"),
    ],
)
def test_a_tcp_flow_begins_with_a_pure_syn(world: World, flags: int, arrives: bool) -> None:
    sniffer = world["a2"].socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    sniffer.settimeout(WAIT)
    segment = tcp_payload(A1, A2, 5000, PORT, flags)
    send_raw(world["a1"], A2, ipv4_packet(A1, A2, socket.IPPROTO_TCP, segment))
    if arrives:
        assert sniffer.recv(100)[20:24] == segment[:4]
    else:
        with pytest.raises(TimeoutError):
            sniffer.recv(100)


@pytest.mark.parametrize(
    ("protocol", "payload"),
    [
        pytest.param(4, ipv4_packet(A1, B1, 17, udp_payload(1, 2, b"in")), id="IP in IP"),
        pytest.param(41, b"\x60" + bytes(39), id="IPv6 in IP"),
        pytest.param(47, bytes(8), id="GRE"),
        pytest.param(17, udp_payload(4789, 4789, bytes(50)), id="VXLAN"),
        pytest.param(17, udp_payload(8472, 8472, bytes(50)), id="VXLAN at its older port"),
        pytest.param(17, udp_payload(6081, 6081, bytes(50)), id="Geneve"),
        pytest.param(17, udp_payload(67, 68, bytes(50)), id="DHCP server"),
    ],
)
def test_encapsulation_and_dhcp_answers_do_not_leave_a_task(
    namespace: Make, protocol: int, payload: bytes
) -> None:
    open_to_red = Profile(
        ProfileId("app-red"),
        inbound=(Rule(Action.ALLOW, Match(src_tag=Tag("red"))),),
        outbound=(Rule(Action.ALLOW),),
    )
    world = make_world(namespace, snapshot(SPECS.values(), [*PROFILES, open_to_red]))
    sniffer = world["a2"].socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    sniffer.settimeout(WAIT)
    packet = ipv4_packet(A1, A2, protocol, payload)
    send_raw(world["a1"], A2, packet)
    with pytest.raises(TimeoutError):
        sniffer.recv(200)
    without_source_check(world)
    send_raw(world["a1"], A2, packet)
    assert sniffer.recv(200)[9] == protocol


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(Packet(A1_6, A2_6, 4), id="IP in IPv6"),
        pytest.param(Packet(A1_6, A2_6, 41), id="IPv6 in IPv6"),
        pytest.param(Packet(A1_6, A2_6, 47), id="GRE"),
        pytest.param(Packet(A1_6, A2_6, UDP, 4789, 4789), id="VXLAN"),
        pytest.param(Packet(A1_6, A2_6, UDP, 8472, 8472), id="VXLAN at its older port"),
        pytest.param(Packet(A1_6, A2_6, UDP, 6081, 6081), id="Geneve"),
        pytest.param(Packet(A1_6, A2_6, UDP, 547, 546), id="DHCP server"),
        pytest.param(
            Packet(A1_6, A2_6, ICMPV6, icmp_type=134, icmp_code=0), id="router advertisement"
        ),
    ],
)
def test_nothing_of_the_kind_leaves_it_over_ipv6_either(namespace: Make, packet: Packet) -> None:
    open_to_red = Profile(
        ProfileId("app-red"),
        inbound=(Rule(Action.ALLOW, Match(src_tag=Tag("red"))),),
        outbound=(Rule(Action.ALLOW),),
    )
    world = make_world(namespace, snapshot(SPECS.values(), [*PROFILES, open_to_red]))
    mac = SPECS["a1"].mac
    assert mac is not None
    sender = FrameSender(world["a1"], mac)
    arrivals = Arrivals(world["a2"], lambda packet: packet[8:24] == A1_6.packed)
    sender.send(packet, 1)
    sender.send(Packet(A1_6, A2_6, UDP, 4000, PORT), 2)
    assert arrivals.until(lambda found: 2 in found, WAIT) == {2}
    without_source_check(world)
    sender.send(packet, 3)
    assert arrivals.until(lambda found: 3 in found, WAIT) == {3}


def test_a_task_reaches_the_hosts_open_ports_only(world: World) -> None:
    here = Here()
    with (
        listening(here, HERE_ADDRESS, 31000),
        listening(here, HERE_ADDRESS, 22000),
        listening(here, HERE_ADDRESS, PROTECTED_PORT),
    ):
        assert connects(world["a1"], HERE_ADDRESS, 31000)
        assert not connects(world["a1"], HERE_ADDRESS, 22000)
        assert not connects(world["a1"], HERE_ADDRESS, PROTECTED_PORT)
        assert connects(world.outside, HERE_ADDRESS, 22000)
        assert connects(world.outside, HERE_ADDRESS, PROTECTED_PORT)
    assert not echoes(world["a1"], HERE_ADDRESS)


def test_the_host_reaches_every_task_on_every_port(world: World) -> None:
    for name, address in (("a1", A1), ("b1", B1)):
        with listening(world[name], address, OTHER_PORT):
            assert connects(Here(), address, OTHER_PORT)


@pytest.mark.parametrize(
    ("target", "source"),
    [
        pytest.param(STRANGER, HERE_ADDRESS, id="masqueraded towards strangers"),
        pytest.param(THERE_ADDRESS, A1, id="as itself towards a host of ours"),
    ],
)
def test_a_task_leaves_the_pools(world: World, target: IPAddress, source: IPAddress) -> None:
    with listening(world.outside, target, 80) as server:
        assert connects(world["a1"], target, 80)
        connection, (seen, _) = server.accept()
        connection.close()
    assert IPAddress(seen) == source


def test_a_task_whose_profile_is_missing_is_closed(namespace: Make) -> None:
    specs = [replace(SPECS["a1"], profiles=(ProfileId("no-such"),)), SPECS["a2"]]
    world = make_world(namespace, snapshot(specs, PROFILES))
    assert not delivers(world["a1"], world["a2"], A2, PORT)
    assert not delivers(world["a2"], world["a1"], A1, PORT)


def test_without_our_table_only_the_host_reaches_a_task(world: World) -> None:
    world.table._run('{"nftables":[{"flush":{"ruleset":null}}]}')
    with listening(world["a2"], A2, PORT):
        assert not connects(world["a1"], A2, PORT)
        assert not connects(world.outside, A2, PORT)
        assert connects(Here(), A2, PORT)
        world.table.commit(commit_of(world.rendered.state))
        assert connects(world["a1"], A2, PORT)


def test_no_packet_slips_through_while_rules_are_replaced(world: World) -> None:
    """Measured: replacing a base chain in one transaction leaks, flushing it does not."""
    state = world.rendered.state
    widened = render_host(
        snapshot(SPECS.values(), PROFILES), replace(TABLE_CONFIG, host_ports=())
    ).state
    forbidden = world["a1"].socket(socket.AF_INET, socket.SOCK_DGRAM)
    forbidden.bind((str(A1), PORT))
    forbidden.setblocking(False)
    allowed = world["a2"].socket(socket.AF_INET, socket.SOCK_DGRAM)
    allowed.bind((str(A2), PORT))
    allowed.settimeout(WAIT)
    flood = world["b1"].socket(socket.AF_INET, socket.SOCK_DGRAM)
    friend = world["a1"].socket(socket.AF_INET, socket.SOCK_DGRAM)
    stop = threading.Event()
    sent = 0

    def pour() -> None:
        nonlocal sent
        while not stop.is_set():
            flood.sendto(b"flood", (str(A1), PORT))
            sent += 1

    pouring = threading.Thread(target=pour)
    pouring.start()
    try:
        for number in range(60):
            chains = (widened if number % 2 else state).chains.values()
            world.table.commit(CommitTable(chains=tuple(chains)))
            friend.sendto(str(number).encode(), (str(A2), PORT))
            assert allowed.recv(100) == str(number).encode()
    finally:
        stop.set()
        pouring.join()
    assert sent > 1000
    with pytest.raises(BlockingIOError):
        forbidden.recv(100)
