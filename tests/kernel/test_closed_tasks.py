"""What a task may try that is root in its own network namespace, and its neighbours beyond."""

import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from netaddr import IPAddress

from calico.dataplane.state import HOST_MAC
from tests.kernel.cluster import (
    ADDRESS,
    CLOSED_PORT,
    ONE,
    PORT,
    STRANGER,
    TWO,
    Cluster,
    run,
    running_cluster,
    task_of,
)
from tests.kernel.namespaces import Namespace
from tests.kernel.probes import (
    checksum,
    connects,
    delivers,
    ipv4_packet,
    listening,
    send_raw,
    tcp_payload,
)
from tests.kernel.sensors import FORBIDDEN, Flow, Sensor, flooding, shots
from tests.kernel.test_closed import (
    FOE,
    FOE_THERE,
    FRIEND,
    SETTLED,
    VICTIM,
    address_of,
    flooded,
    reaches,
    watched,
)
from tests.kernel.test_closed_table import finished

HOST_PORTS = {53, 5051, *range(31000, 32001)}
SOME_PORTS = {22, 53, 80, 2379, 5051, 9402, CLOSED_PORT, 30999, 31000, 32000, 32001}
BRIDGE, SECOND = IPAddress("172.17.0.1"), IPAddress("10.77.0.22")
LOOPBACK, GATEWAY = IPAddress("127.0.0.1"), IPAddress("169.254.1.1")
UNUSED = IPAddress("10.9.0.200")
SYN, SCAN_PORT = 0x02, 4444
IPV4, IPV6, ARP, VLAN = 0x0800, 0x86DD, 0x0806, 0x8100
EVERYBODY = bytes.fromhex("333300000001")


@pytest.fixture
def cluster(namespace: Callable[[], Namespace], tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path, namespace) as made:
        yield made


class Wire:
    """Puts whole frames on a task's eth0."""

    def __init__(self, task: Namespace) -> None:
        self._socket = task.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._socket.bind(("eth0", 0))

    def send(self, kind: int, payload: bytes, target: bytes = HOST_MAC.packed) -> None:
        own = self._socket.getsockname()[4]
        self._socket.send(target + own + struct.pack("!H", kind) + payload)


def ipv6_datagram(source: IPAddress, target: IPAddress, port: int) -> bytes:
    """A UDP datagram over IPv6 with the traffic class of what must not arrive."""
    data = b"forged"

    def udp(check: int) -> bytes:
        return struct.pack("!HHHH", 4000, port, 8 + len(data), check) + data

    pseudo = source.packed + target.packed + struct.pack("!II", 8 + len(data), socket.IPPROTO_UDP)
    head = struct.pack("!IHBB", 6 << 28 | FORBIDDEN << 20, 8 + len(data), socket.IPPROTO_UDP, 64)
    return head + source.packed + target.packed + udp(checksum(pseudo + udp(0)))


@pytest.mark.parametrize(
    "switched_on", [pytest.param(False, id="as wired"), pytest.param(True, id="switched on")]
)
def test_no_ipv6_passes_a_task_without_an_ipv6_address(cluster: Cluster, switched_on: bool) -> None:
    cluster.run_tasks(FRIEND, VICTIM)
    task, victim, host = cluster["friend.1"], cluster["victim.1"], cluster.hosts[ONE].network
    at_host, stray = IPAddress("fd00:77::1"), IPAddress("fd00:9::b")
    with host.entered():
        Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
        run("ip", "address", "add", f"{at_host}/64", "dev", "eth0", "nodad")
        if switched_on:
            for each in (FRIEND, VICTIM):
                setting = f"/proc/sys/net/ipv6/conf/{each.interface}/disable_ipv6"
                Path(setting).write_text("0")
            run("ip", "-6", "route", "add", str(stray), "dev", VICTIM.interface)
    with cluster.stranger.entered():
        run("ip", "address", "add", "fd00:77::99/64", "dev", "eth0", "nodad")
        run("ip", "-6", "route", "add", "fd00:9::/64", "via", str(at_host))
    for place, own in ((task, IPAddress("fd00:9::a")), (victim, stray)):
        with place.entered():
            Path("/proc/sys/net/ipv6/conf/eth0/disable_ipv6").write_text("0")
            run("ip", "address", "add", f"{own}/64", "dev", "eth0", "nodad")
    wire = Wire(task)
    own_address = IPAddress("fe80::ecee:eeff:feee:eeee")
    with (
        ExitStack() as stack,
        host.socket(socket.AF_INET6, socket.SOCK_DGRAM) as service,
        cluster.stranger.socket(socket.AF_INET6, socket.SOCK_DGRAM) as outside,
    ):
        sensors = [
            stack.enter_context(Sensor(each))
            for each in (victim, cluster.stranger, cluster.hosts[TWO].network)
        ]
        service.bind(("::", 5051))
        service.settimeout(SETTLED)

        def arrives_from_outside() -> bool:
            outside.sendto(b"six", (str(at_host), 5051))
            with suppress(TimeoutError):
                return service.recv(100) == b"six"
            return False

        cluster.wait_for("IPv6 between hosts", arrives_from_outside)
        outside.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, FORBIDDEN)
        for source in ("fe80::2", "fd00:9::a", "fd00:77::99"):
            for target in (at_host, own_address, stray, IPAddress("fd00:77::99")):
                wire.send(IPV6, ipv6_datagram(IPAddress(source), target, 5051))
            every = ipv6_datagram(IPAddress(source), IPAddress("ff02::1"), 5051)
            wire.send(IPV6, every, EVERYBODY)
        outside.sendto(b"six", (str(stray), PORT))
        received = set()
        with suppress(TimeoutError):
            while True:
                received.add(service.recv(100))
        # Of the first, those that waited for the neighbour's address come late.
        assert received <= {b"six"}
        assert [sensor.forbidden for sensor in sensors] == [[], [], []]


def answering_ports(
    task: Namespace, source: IPAddress, target: IPAddress, ports: Iterable[int]
) -> set[int]:
    """Ports from which anything comes back, a refusal included; the frames go to the host."""
    found: set[int] = set()
    stop = threading.Event()
    wire = Wire(task)

    def listen() -> None:
        while not stop.is_set():
            if select.select([answers], [], [], 0.05)[0]:
                packet = answers.recv(100)
                if packet[12:16] == target.packed:
                    found.add(int.from_bytes(packet[20:22], "big"))

    with task.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as answers:
        answers.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        listener = threading.Thread(target=listen)
        listener.start()
        for port in ports:
            segment = tcp_payload(source, target, SCAN_PORT, port, SYN)
            wire.send(IPV4, finished(ipv4_packet(source, target, 6, segment)))
        time.sleep(SETTLED)
        stop.set()
        listener.join()
    return found


def test_of_a_host_only_its_open_ports_answer_a_task(cluster: Cluster) -> None:
    cluster.run_tasks(FOE)
    task, source = cluster["foe.1"], address_of(FOE)
    one, two = cluster.hosts[ONE], cluster.hosts[TWO]
    with one.network.entered():
        run("ip", "link", "add", "docker0", "type", "bridge")
        run("ip", "link", "set", "docker0", "up")
        run("ip", "address", "add", f"{BRIDGE}/16", "dev", "docker0")
        run("ip", "address", "add", f"{SECOND}/24", "dev", "eth0")
    assert answering_ports(task, source, one.address, range(1, 65536)) == HOST_PORTS
    for target in (two.address, BRIDGE, SECOND):
        assert answering_ports(task, source, target, SOME_PORTS) == HOST_PORTS & SOME_PORTS, target
    for target in (LOOPBACK, GATEWAY):
        assert answering_ports(task, source, target, SOME_PORTS) == set(), target
    assert delivers(task, one.network, one.address, 5051)
    assert not delivers(task, one.network, one.address, CLOSED_PORT)
    # Someone opens the loopback to the network: it stays as closed as the rest.
    with one.network.entered():
        Path("/proc/sys/net/ipv4/conf/all/route_localnet").write_text("1")
    assert answering_ports(task, source, LOOPBACK, SOME_PORTS) <= HOST_PORTS


def test_the_datastore_is_closed_to_tasks_and_other_services_are_not(cluster: Cluster) -> None:
    cluster.run_tasks(FOE, FOE_THERE)
    datastore = urlsplit(cluster.etcd).port
    service = urlsplit(cluster.hosts[ONE].mesos.url).port
    assert datastore is not None
    assert service is not None
    for task, host in ((cluster["foe.1"], ONE), (cluster["foe.2"], TWO)):
        assert connects(cluster.hosts[host].network, ADDRESS, datastore)
        assert connects(task, ADDRESS, service)
        assert not connects(task, ADDRESS, datastore)


def as_friend() -> None:
    """Take over all that a task knows of itself."""
    assert FRIEND.mac is not None
    mac = ":".join(f"{word:02x}" for word in FRIEND.mac.words)
    run("ip", "link", "set", "eth0", "address", mac)
    run("ip", "address", "add", f"{address_of(FRIEND)}/32", "dev", "eth0")


def with_small_packets() -> None:
    run("ip", "link", "set", "eth0", "mtu", "68")


def with_large_packets() -> None:
    run("ip", "link", "set", "eth0", "mtu", "65535")


def with_another_device() -> None:
    run("ip", "link", "set", "eth0", "mtu", "1500")
    run("ip", "link", "add", "link", "eth0", "name", "mac0", "type", "macvlan", "mode", "private")
    run("ip", "address", "add", f"{address_of(FRIEND)}/32", "dev", "mac0")
    run("ip", "link", "set", "mac0", "up")
    run("ip", "route", "replace", f"{address_of(VICTIM)}/32", "dev", "mac0")


def with_others_addresses_on_the_way() -> None:
    """Lead packets for others, and answers to them, wherever it likes."""
    run("ip", "link", "set", "eth0", "mtu", "1500")
    for address in map(address_of, (FRIEND, VICTIM)):
        run("ip", "neigh", "replace", str(address), "lladdr", "02:00:00:00:00:66", "dev", "eth0")
        run("ip", "route", "replace", f"{address}/32", "dev", "eth0")
    for setting in ("ip_forward", "conf/all/proxy_arp", "conf/eth0/proxy_arp"):
        Path("/proc/sys/net/ipv4", setting).write_text("1")


def with_its_side_off_and_on() -> None:
    for state in ("down", "up") * 3:
        run("ip", "link", "set", "eth0", state)


def without_its_device() -> None:
    run("ip", "link", "delete", "eth0")
    run("ip", "link", "add", "eth0", "type", "bridge")
    run("ip", "address", "add", f"{address_of(FRIEND)}/32", "dev", "eth0")


def test_a_task_that_is_root_at_home_harms_only_itself(cluster: Cluster) -> None:
    cluster.run_tasks(FRIEND, FOE, VICTIM)
    friend, foe = cluster["friend.1"], cluster["foe.1"]
    with (
        watched(cluster, VICTIM),
        watched(cluster, FRIEND, proven=False),
        Flow(friend, cluster["victim.1"], address_of(VICTIM), PORT) as flow,
        flooding(foe, address_of(FRIEND), [address_of(VICTIM)], PORT),
        flooded(cluster, [FOE], [VICTIM]),
    ):
        for attack in (
            as_friend,
            with_small_packets,
            with_large_packets,
            with_another_device,
            with_others_addresses_on_the_way,
            with_its_side_off_and_on,
            without_its_device,
        ):
            with suppress(OSError):
                announce(foe)
            with foe.entered():
                attack()
            time.sleep(SETTLED)
        later = task_of("later.1", 20, "red")
        cluster.run_tasks(later)
        assert reaches(cluster, FRIEND, later)
        assert flow.lost == []
        assert flow.received > 1000


def announce(foe: Namespace) -> None:
    """Send as a friend in a VLAN; say by ARP that the friend's address is here."""
    wire = Wire(foe)
    for packet in shots(address_of(FRIEND), address_of(VICTIM), PORT):
        for tag in (0, 5):
            wire.send(VLAN, struct.pack("!HH", tag, IPV4) + finished(packet))
    claimed = address_of(FRIEND).packed
    own = bytes.fromhex("020000000066")
    for operation in (1, 2):
        body = struct.pack("!HHBBH", 1, IPV4, 6, 4, operation) + own + claimed + bytes(6) + claimed
        for target in (HOST_MAC.packed, b"\xff" * 6):
            wire.send(ARP, body, target)


def test_packets_to_addresses_that_nobody_has_end_at_the_first_host(cluster: Cluster) -> None:
    cluster.run_tasks(FOE, FOE_THERE)
    one, two = cluster.hosts[ONE], cluster.hosts[TWO]
    with cluster.stranger.entered():
        run("ip", "route", "add", f"{UNUSED}/32", "via", str(one.address))
    with Sensor(two.network) as beyond, Sensor(cluster.stranger) as back:
        for place, source in ((cluster.stranger, STRANGER), (cluster["foe.1"], address_of(FOE))):
            for packet in shots(source, UNUSED, PORT):
                send_raw(place, UNUSED, packet)
        time.sleep(SETTLED)
        assert (beyond.forbidden, back.forbidden) == ([], [])


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(socket.SOCK_STREAM, id="TCP"),
        pytest.param(socket.SOCK_DGRAM, id="UDP"),
    ],
)
def test_two_tasks_of_different_groups_cannot_meet_halfway(
    cluster: Cluster, kind: socket.SocketKind
) -> None:
    cluster.run_tasks(FRIEND, FOE_THERE)
    ends = []
    for task in (FRIEND, FOE_THERE):
        sock = cluster[task.id.workload].socket(socket.AF_INET, kind)
        sock.bind((str(address_of(task)), PORT + 1))
        sock.setblocking(False)
        ends.append(sock)
    one, two = ends
    for _ in range(3):
        for sock, other in ((one, FOE_THERE), (two, FRIEND)):
            with suppress(OSError):
                sock.connect((str(address_of(other)), PORT + 1))
            with suppress(OSError):
                sock.send(b"psst")
        time.sleep(SETTLED)
    received = select.select(ends, [], [], SETTLED)[0]
    assert received == []


def test_other_addresses_of_other_hosts_are_as_closed(cluster: Cluster) -> None:
    cluster.run_tasks(FOE)
    two = cluster.hosts[TWO]
    with two.network.entered():
        run("ip", "address", "add", f"{SECOND}/24", "dev", "eth0")
    # The agent looks at its host every ten seconds; others learn of it at once.
    cluster.wait_for("registration", lambda: SECOND in cluster.registered(TWO).others)
    with listening(two.network, SECOND, CLOSED_PORT):
        assert connects(cluster.hosts[ONE].network, SECOND, CLOSED_PORT)
        cluster.wait_for("closing", lambda: not connects(cluster["foe.1"], SECOND, CLOSED_PORT))
