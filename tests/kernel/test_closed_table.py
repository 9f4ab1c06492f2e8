"""Ways round the rules that a task may try, against the product's table alone."""

import errno
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from netaddr import IPAddress

from calico.dataplane.nft.expr import ACCEPT, rule
from calico.dataplane.state import HOST_MAC, ROUTE_TABLE, Chain
from reconciler.core.reaching.reach import Packet
from tests.dataplane_worlds import HERE_ADDRESS, THERE, commit, snapshot, spec
from tests.kernel.namespaces import Namespace
from tests.kernel.packets import IPV4, IPV6, Arrivals, FrameSender
from tests.kernel.probes import (
    WAIT,
    checksum,
    connects,
    delivers,
    ipv4_packet,
    listening,
    send_raw,
    udp_payload,
)
from tests.kernel.tables import (
    A1,
    A1_6,
    A2,
    B1,
    OTHER_PORT,
    PORT,
    PROFILES,
    PROTECTED_PORT,
    SPECS,
    STRANGER,
    Here,
    World,
    make_world,
)
from tests.kernel.test_links import run
from tests.kernel.wires import colon

Make = Callable[[], Namespace]
ANY = IPAddress("0.0.0.0")
CONTAINER = IPAddress("172.17.0.2")
METADATA = IPAddress("169.254.169.254")
DATA = b"x" * 1016
FIRST = 1008
UNREACHABLE, FRAGMENTATION_NEEDED, SMALLEST_MTU = 3, 4, 552


@pytest.fixture
def world(namespace: Make) -> World:
    return make_world(namespace)


def finished(packet: bytes) -> bytes:
    """An IPv4 packet with its length and checksum."""
    header = packet[:2] + struct.pack("!H", len(packet)) + packet[4:10] + b"\0\0" + packet[12:20]
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + packet[20:]


def fragments(number: int) -> tuple[bytes, bytes]:
    """A datagram of a1's to a2's open port, in two fragments."""
    payload = udp_payload(5000, PORT, DATA)
    head = ipv4_packet(A1, A2, socket.IPPROTO_UDP, b"")

    def part(offset: int, *, more: bool, data: bytes) -> bytes:
        place = struct.pack("!HH", number, more << 13 | offset // 8)
        return finished(head[:4] + place + head[8:] + data)

    return (
        part(0, more=True, data=payload[:FIRST]),
        part(FIRST, more=False, data=payload[FIRST:]),
    )


def send_as(sender: Namespace, name: str, packet: bytes) -> None:
    """Send a packet in a frame that bears a task's MAC address."""
    kind = IPV4 if packet[0] >> 4 == 4 else IPV6
    mac = SPECS[name].mac
    assert mac is not None
    with sender.entered():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with sock:
        sock.bind(("eth0", kind))
        sock.send(HOST_MAC.packed + mac.packed + struct.pack("!H", kind) + packet)


def test_no_fragment_joins_another_tasks_datagram(world: World) -> None:
    receiver = world["a2"].socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind((str(A2), PORT))
    receiver.settimeout(WAIT)
    for fragment in fragments(1):
        send_raw(world["a1"], A2, fragment)
    assert receiver.recv(2000) == DATA

    first, last = fragments(2)
    send_as(world["b1"], "a1", first)
    send_raw(world["a1"], A2, last)

    with pytest.raises(TimeoutError):
        receiver.recv(2000)


@dataclass(frozen=True, slots=True)
class Exchange:
    """Datagrams that went from a1 to a2's open port and back."""

    asking: socket.socket
    answering: socket.socket


@pytest.fixture
def exchange(world: World) -> Exchange:
    asking = world["a1"].socket(socket.AF_INET, socket.SOCK_DGRAM)
    answering = world["a2"].socket(socket.AF_INET, socket.SOCK_DGRAM)
    asking.bind((str(A1), 5000))
    answering.bind((str(A2), PORT))
    for sock in (asking, answering):
        sock.settimeout(WAIT)
    asking.connect((str(A2), PORT))
    asking.send(b"there")
    assert answering.recv(100) == b"there"
    answering.sendto(b"back", (str(A1), 5000))
    assert asking.recv(100) == b"back"
    return Exchange(asking, answering)


def error_about(packet: bytes) -> bytes:
    """What a router says that cannot pass a packet on: the ICMP part."""

    def said(check: int) -> bytes:
        head = struct.pack("!BBHHH", UNREACHABLE, FRAGMENTATION_NEEDED, check, 0, SMALLEST_MTU)
        return head + finished(packet)

    return said(checksum(said(0)))


@contextmanager
def icmp_of(place: Namespace | Here) -> Iterator[socket.socket]:
    """Sees the ICMP that a place receives."""
    with place.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(WAIT)
        yield sock


@pytest.mark.parametrize(
    ("sender", "source", "arrives"),
    [
        pytest.param("b1", B1, False, id="from a task of another group"),
        pytest.param("a2", A2, True, id="from the other end"),
    ],
)
def test_errors_about_a_connection_come_from_its_ends_only(
    world: World, exchange: Exchange, sender: str, source: IPAddress, arrives: bool
) -> None:
    asked = ipv4_packet(A1, A2, socket.IPPROTO_UDP, udp_payload(5000, PORT, b"there"))
    error = ipv4_packet(source, A1, socket.IPPROTO_ICMP, error_about(asked))
    with icmp_of(world["a1"]) as seen:
        send_raw(world[sender], A1, error)
        if arrives:
            assert seen.recvfrom(2000)[1][0] == str(source)
        else:
            with pytest.raises(TimeoutError):
                seen.recv(2000)


def test_errors_about_the_hosts_own_connections_do_not_come_from_tasks(world: World) -> None:
    here = Here()
    with (
        here.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        delivering(world.outside, STRANGER, 7000),
        icmp_of(here) as seen,
    ):
        sock.bind((str(HERE_ADDRESS), 7001))
        sock.sendto(b"probe", (str(STRANGER), 7000))
        asked = ipv4_packet(
            HERE_ADDRESS, STRANGER, socket.IPPROTO_UDP, udp_payload(7001, 7000, b"probe")
        )
        for place, source, arrives in ((world.outside, STRANGER, True), (world["b1"], B1, False)):
            error = ipv4_packet(source, HERE_ADDRESS, socket.IPPROTO_ICMP, error_about(asked))
            send_raw(place, HERE_ADDRESS, error)
            if arrives:
                assert seen.recvfrom(2000)[1][0] == str(source)
            else:
                with pytest.raises(TimeoutError):
                    seen.recv(2000)


@contextmanager
def delivering(place: Namespace, address: IPAddress, port: int) -> Iterator[None]:
    """Somebody takes datagrams there."""
    with place.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((str(address), port))
        yield


def test_what_a_helper_expects_begins_no_connection(world: World) -> None:
    run("nft", "add table inet phone")
    run(
        *("nft", "add ct expectation inet phone back"),
        *("{ protocol udp;", f"dport {OTHER_PORT};", "timeout 1m; size 8; l3proto ip; }"),
    )
    run("nft", "add chain inet phone forward { type filter hook forward priority 10; }")
    run("nft", f'add rule inet phone forward udp dport {PORT} ct expectation set "back"')
    assert delivers(world["a1"], world["a2"], A2, PORT)
    assert not delivers(world["a2"], world["a1"], A1, OTHER_PORT)
    world.table.commit(commit([Chain("related", (rule(ACCEPT),))]))
    assert delivers(world["a1"], world["a2"], A2, PORT)
    assert delivers(world["a2"], world["a1"], A1, OTHER_PORT)


def test_a_task_is_told_when_nobody_listens(world: World, exchange: Exchange) -> None:
    exchange.answering.close()
    exchange.asking.send(b"again")
    with pytest.raises(OSError, match="refused") as told:
        exchange.asking.recv(100)
    assert told.value.errno == errno.ECONNREFUSED


@pytest.fixture
def container(world: World, namespace: Make) -> Namespace:
    """A container on a network of the host's own, as docker makes them."""
    made = namespace()
    run("ip", "link", "add", "docker0", "type", "veth", "peer", "eth0", "netns", str(made.pid))
    run("ip", "address", "add", "172.17.0.1/16", "dev", "docker0")
    run("ip", "link", "set", "docker0", "up")
    with made.entered():
        run("ip", "address", "add", f"{CONTAINER}/16", "dev", "eth0")
        run("ip", "link", "set", "eth0", "up")
        run("ip", "route", "add", "default", "via", "172.17.0.1")
    return made


def test_containers_of_the_host_reach_no_task(world: World, container: Namespace) -> None:
    for task, address in (("a1", A1), ("b1", B1)):
        with listening(world[task], address, PORT):
            assert not connects(container, address, PORT)
        assert not delivers(container, world[task], address, PORT)


FAR = spec("far", "red", "app-red", addresses=["10.9.5.5", "fd00:9:0:0:5::5"], host=THERE)


@pytest.mark.parametrize(("claimed", "target"), [(FAR.addresses[0], A1), (FAR.addresses[1], A1_6)])
@pytest.mark.parametrize("reverse_path", ["0", "2"])
def test_containers_of_the_host_do_not_speak_for_tasks_of_other_hosts(
    namespace: Make, claimed: IPAddress, target: IPAddress, reverse_path: str
) -> None:
    world = make_world(namespace, snapshot([*SPECS.values(), FAR], PROFILES))
    beside = namespace()
    run("ip", "link", "add", "docker0", "type", "veth", "peer", "eth0", "netns", str(beside.pid))
    for name in ("all", "docker0"):
        # As kernels and systemd have it by themselves; IPv6 has nothing of the kind.
        Path("/proc/sys/net/ipv4/conf", name, "rp_filter").write_text(reverse_path)
    run("ip", "address", "add", "172.17.0.1/16", "dev", "docker0")
    for name in ("docker0", "eth0"):
        run("ip", "link", "set", name, "address", colon(HOST_MAC), "up")
    for each in FAR.addresses:
        run("ip", "route", "add", str(each), "dev", "eth0", "table", str(ROUTE_TABLE))
    with beside.entered():
        run("ip", "link", "set", "eth0", "up")
    mac = SPECS["b1"].mac
    assert mac is not None
    container = FrameSender(beside, mac)
    arrivals = Arrivals(world["a1"], lambda packet: claimed.packed in (packet[8:24], packet[12:16]))

    def opening(number: int) -> Packet:
        return Packet(claimed, target, socket.IPPROTO_UDP, 5000 + number, PORT)

    container.send(opening(1), 1)
    # What comes the way that leads back is that task's own.
    FrameSender(world.outside, mac).send(opening(2), 2)
    assert arrivals.until(lambda found: 2 in found, WAIT) == {2}
    world.table.commit(commit([Chain("strays", ())]))
    container.send(opening(3), 3)
    assert arrivals.until(lambda found: 3 in found, WAIT) >= {3}


@pytest.mark.parametrize(
    ("port", "open_to_tasks"),
    [
        pytest.param(31001, True, id="one of the host's open ports"),
        pytest.param(8080, False, id="another port"),
        pytest.param(PROTECTED_PORT, False, id="a protected port"),
    ],
)
def test_a_published_port_is_as_open_as_the_hosts_own(
    world: World, container: Namespace, port: int, open_to_tasks: bool
) -> None:
    run("nft", "add table ip docker")
    run("nft", "add chain ip docker in { type nat hook prerouting priority -100; }")
    run(
        *("nft", f"add rule ip docker in tcp dport {port} fib daddr type local"),
        f"dnat to {CONTAINER}:80",
    )
    with listening(container, CONTAINER, 80):
        assert connects(world.outside, HERE_ADDRESS, port)
        assert connects(world["a1"], HERE_ADDRESS, port) == open_to_tasks
        assert connects(world["a1"], CONTAINER, 80), "by its own address it is no host's"


def test_link_local_addresses_are_not_reached_through_the_host(world: World) -> None:
    with world.outside.entered():
        run("ip", "address", "add", f"{METADATA}/32", "dev", "eth0")
    run("ip", "route", "add", "default", "via", str(STRANGER))
    with ExitStack() as stack:
        for address, port in ((METADATA, 80), (METADATA, 53), (STRANGER, 80)):
            stack.enter_context(listening(world.outside, address, port))
        assert connects(Here(), METADATA, 80)
        assert connects(world["a1"], STRANGER, 80)
        assert connects(world["a1"], METADATA, 53), "some clouds have their resolver there"
        assert not connects(world["a1"], METADATA, 80)
