"""What a task says of others' addresses is believed by nobody: ARP, neighbours, routers, DHCP."""

import itertools
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from netaddr import IPAddress

from calico.codec import encode_pool
from calico.dataplane.state import GATEWAY4, GATEWAY6, HOST_MAC
from calico.keys import pool_key
from calico.model import EndpointSpec
from tests.dataplane_worlds import POOL6
from tests.kernel.cluster import ADDRESS, HOSTS, ONE, PORT, Cluster, run, running_cluster
from tests.kernel.namespaces import Namespace
from tests.kernel.probes import checksum, connects, delivers, ipv4_packet, listening, udp_payload
from tests.kernel.sensors import FORBIDDEN, Flow, Sensor, marked
from tests.kernel.test_closed import FOE, FRIEND, SETTLED, VICTIM, address_of
from tests.kernel.test_closed_table import finished
from tests.kernel.test_closed_tasks import ARP, IPV4, IPV6, Wire

EVERYBODY, NOBODY, LIAR = b"\xff" * 6, bytes(6), bytes.fromhex("020000000066")
#: Multicast: all nodes, all routers, all DHCP servers and relays.
NODES, ROUTERS, AGENTS = map(IPAddress, ("ff02::1", "ff02::2", "ff02::1:2"))
REDIRECT4, ROUTER_ADVERTISEMENT4 = 5, 9
SOLICIT_ROUTER, ADVERTISE_ROUTER, SOLICIT, ADVERTISE, REDIRECT = 133, 134, 135, 136, 137
OVERRIDE = 0x60000000
FLOOD = 2000


@pytest.fixture
def cluster(namespace: Callable[[], Namespace], tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path, namespace) as made:
        made.store.put(pool_key(POOL6), encode_pool(POOL6))
        made.settle()
        yield made


def dual(task: EndpointSpec) -> EndpointSpec:
    """The task with an IPv6 address too."""
    (only,) = task.addresses
    return replace(task, addresses=(only, IPAddress(f"fd00:9::{only.words[3]:x}")))


DUAL_FRIEND, DUAL_FOE, DUAL_VICTIM = map(dual, (FRIEND, FOE, VICTIM))


def beliefs(place: Namespace) -> Mapping[str, set[str]]:
    """What a network holds true: who is where, how to get anywhere, what it is called."""
    questions = {
        "neighbours": ("neigh",),
        "IPv6 neighbours": ("-6", "neigh"),
        "routes": ("route", "show", "table", "all"),
        "IPv6 routes": ("-6", "route", "show", "table", "all"),
        "addresses": ("-o", "address"),
    }
    with place.entered():
        return {
            what: {" ".join(line.split()[:5]) for line in run("ip", *words).splitlines()}
            for what, words in questions.items()
        }


@contextmanager
def nothing_is_believed(cluster: Cluster, liar: Namespace) -> Iterator[None]:
    """All hosts and all tasks but the liar hold true after the body what they held before."""
    places = {f"host {name}": host.network for name, host in cluster.hosts.items()}
    places |= {name: place for name, place in cluster.tasks.items() if place is not liar}
    before = {name: beliefs(place) for name, place in places.items()}
    yield
    time.sleep(SETTLED)
    changed = {
        (name, each)
        for name, place in places.items()
        for what, after in beliefs(place).items()
        for each in after ^ before[name][what]
    }
    assert changed == set()


def arp(operation: int, sender: tuple[bytes, IPAddress], target: IPAddress) -> bytes:
    """An ARP request (1) or reply (2), whoever is said to send it."""
    mac, address = sender
    head = struct.pack("!HHBBH", 1, IPV4, 6, 4, operation)
    return head + mac + address.packed + NOBODY + target.packed


def test_no_arp_of_a_task_is_believed_or_passed_on(cluster: Cluster) -> None:
    cluster.run_tasks(FRIEND, FOE, VICTIM)
    foe, victim = cluster["foe.1"], cluster["victim.1"]
    host = HOSTS[ONE]
    claimed = [*map(address_of, (FRIEND, VICTIM, FOE)), GATEWAY4, host, ADDRESS, *HOSTS.values()]
    wire = Wire(foe)
    with (
        Flow(cluster["friend.1"], victim, address_of(VICTIM), PORT) as flow,
        nothing_is_believed(cluster, foe),
        victim.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ARP)) as heard,
    ):
        for operation, address, mac in itertools.product((1, 2), claimed, (LIAR, HOST_MAC.packed)):
            for target, receiver in itertools.product(
                (address, host, GATEWAY4), (EVERYBODY, HOST_MAC.packed)
            ):
                wire.send(ARP, arp(operation, (mac, address), target), receiver)
        # More neighbours than a host would keep.
        for number in range(FLOOD):
            stranger = IPAddress(int(IPAddress("10.9.64.0")) + number)
            wire.send(ARP, arp(1 + number % 2, (LIAR, stranger), host), HOST_MAC.packed)
        time.sleep(SETTLED)
        assert not select.select([heard], [], [], 0)[0]
        assert flow.lost == []
        assert flow.received > 100
    assert delivers(cluster.hosts[ONE].network, victim, address_of(VICTIM), PORT + 1)


def icmp6(source: IPAddress, target: IPAddress, kind: int, body: bytes) -> bytes:
    """An ICMPv6 message as a neighbour would send it: with the hop limit that proves it near."""

    def message(check: int) -> bytes:
        return struct.pack("!BBH", kind, 0, check) + body

    pseudo = source.packed + target.packed + struct.pack("!II", len(body) + 4, 58)
    payload = message(checksum(pseudo + message(0)))
    head = struct.pack("!IHBB", 6 << 28 | FORBIDDEN << 20, len(payload), 58, 255)
    return head + source.packed + target.packed + payload


def udp6(source: IPAddress, target: IPAddress, ports: tuple[int, int], data: bytes) -> bytes:
    """A datagram over IPv6."""

    def datagram(check: int) -> bytes:
        return struct.pack("!HHHH", *ports, 8 + len(data), check) + data

    pseudo = source.packed + target.packed + struct.pack("!II", 8 + len(data), 17)
    payload = datagram(checksum(pseudo + datagram(0)))
    head = struct.pack("!IHBB", 6 << 28 | FORBIDDEN << 20, len(payload), 17, 64)
    return head + source.packed + target.packed + payload


def lies6(source: IPAddress, about: IPAddress) -> Iterator[tuple[IPAddress, bytes]]:
    """Neighbour and router messages with what they are sent to, and a DHCP server's answer."""
    source_mac, target_mac = (struct.pack("!BB", kind, 1) + LIAR for kind in (1, 2))
    prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 3600, 0)
    advertised = struct.pack("!BBHII", 64, 0, 1800, 0, 0) + source_mac + prefix
    advertised += IPAddress("fd66::").packed
    messages = (
        (NODES, ADVERTISE, struct.pack("!I", OVERRIDE) + about.packed + target_mac),
        (about, ADVERTISE, struct.pack("!I", OVERRIDE | 0x80000000) + about.packed + target_mac),
        (about, SOLICIT, bytes(4) + about.packed + source_mac),
        (ROUTERS, SOLICIT_ROUTER, bytes(4) + source_mac),
        (NODES, ADVERTISE_ROUTER, advertised),
        (about, ADVERTISE_ROUTER, advertised),
        (about, REDIRECT, bytes(4) + GATEWAY6.packed + about.packed + target_mac),
    )
    for target, kind, body in messages:
        yield target, icmp6(source, target, kind, body)
    for target, ports in ((about, (547, 546)), (NODES, (547, 546)), (AGENTS, (546, 547))):
        yield target, udp6(source, target, ports, b"\x07\x00\x00\x01")


def mac_for(target: IPAddress) -> tuple[bytes, ...]:
    """Where a frame to an address goes: to the host, and for multicast to its own MAC too."""
    if not target.is_multicast():
        return (HOST_MAC.packed,)
    return HOST_MAC.packed, b"\x33\x33" + target.packed[12:]


def test_no_neighbour_router_or_dhcp_server_is_believed_or_passed_on(cluster: Cluster) -> None:
    cluster.run_tasks(DUAL_FRIEND, DUAL_FOE, DUAL_VICTIM)
    foe, victim, host = cluster["foe.1"], cluster["victim.1"], cluster.hosts[ONE].network
    friend6, foe6, victim6 = (each.addresses[1] for each in (DUAL_FRIEND, DUAL_FOE, DUAL_VICTIM))
    with host.entered():
        run("ip", "address", "add", "fd00:77::1/64", "dev", "eth0", "nodad")
    # The kernel adds these in its own time.
    routes = {"local fd00:77::1 dev eth0 table", "anycast fd00:77:: dev eth0 table"}
    cluster.wait_for("its routes", lambda: routes <= beliefs(host)["IPv6 routes"])
    with listening(victim, IPAddress("::"), PORT):
        cluster.wait_for("IPv6", lambda: connects(cluster["friend.1"], victim6, PORT))
    wire = Wire(foe)
    sources = (foe6, victim6, GATEWAY6, IPAddress("fe80::66"), IPAddress("::"))
    abouts = (victim6, friend6, GATEWAY6, IPAddress("fd00:77::1"))
    with (
        nothing_is_believed(cluster, foe),
        Sensor(victim) as sensor,
        Sensor(cluster["friend.1"]) as other,
        Sensor(cluster.stranger) as beyond,
    ):
        for source, about in itertools.product(sources, abouts):
            for target, packet in lies6(source, about):
                for mac in mac_for(target):
                    wire.send(IPV6, packet, mac)
        for number in range(FLOOD):
            stranger = IPAddress(int(IPAddress("fe80::1000")) + number)
            asked = icmp6(stranger, ROUTERS, SOLICIT_ROUTER, bytes(4) + b"\x01\x01" + LIAR)
            wire.send(IPV6, asked, mac_for(ROUTERS)[1])
        time.sleep(SETTLED)
        assert [each.forbidden for each in (sensor, other, beyond)] == [[], [], []]
    with listening(victim, IPAddress("::"), PORT):
        assert connects(cluster["friend.1"], victim6, PORT)


def lies4(about: IPAddress) -> Iterator[bytes]:
    """A DHCP server's offer, a router's advertisement, and a redirect to the liar."""
    offer = b"\x02\x01\x06\x00" + bytes(232) + bytes.fromhex("638253633501023604") + about.packed
    for target in (about, IPAddress("255.255.255.255")):
        yield ipv4_packet(address_of(FOE), target, socket.IPPROTO_UDP, udp_payload(67, 68, offer))
    asked = ipv4_packet(about, ADDRESS, socket.IPPROTO_UDP, udp_payload(4000, PORT, b"asked"))
    for source in (address_of(FOE), GATEWAY4):
        for kind, body in (
            (REDIRECT4, address_of(FOE).packed + finished(asked)),
            (ROUTER_ADVERTISEMENT4, struct.pack("!BBHII", 1, 2, 1800, int(address_of(FOE)), 9)),
        ):
            message = struct.pack("!BBH", kind, 1 if kind == REDIRECT4 else 0, 0) + body
            check = struct.pack("!H", checksum(message))
            yield ipv4_packet(source, about, socket.IPPROTO_ICMP, message[:2] + check + message[4:])


def test_no_redirect_or_offer_over_ipv4_is_believed_or_passed_on(cluster: Cluster) -> None:
    cluster.run_tasks(FRIEND, FOE, VICTIM)
    foe, victim = cluster["foe.1"], cluster["victim.1"]
    wire = Wire(foe)
    with (
        Flow(cluster["friend.1"], victim, address_of(VICTIM), PORT) as flow,
        nothing_is_believed(cluster, foe),
        Sensor(victim) as sensor,
        Sensor(cluster["friend.1"]) as other,
    ):
        for about in (address_of(VICTIM), address_of(FRIEND), HOSTS[ONE]):
            for packet, mac in itertools.product(lies4(about), (HOST_MAC.packed, EVERYBODY)):
                wire.send(IPV4, finished(marked(packet)), mac)
        time.sleep(SETTLED)
        assert [sensor.forbidden, other.forbidden] == [[], []]
        assert flow.lost == []
