"""A flood that must not arrive, a sensor that would see it, a flow that must not suffer.

Every packet of a flood carries a type of service of its own, so that a sensor
tells it from whatever else arrives, a TCP segment without data included.
"""

import ctypes
import select
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from netaddr import IPAddress

from reconciler.core.reaching.reach import Packet
from tests.kernel.namespaces import Namespace, enter_network
from tests.kernel.packets import bytes_of
from tests.kernel.probes import checksum, ipv4_packet, tcp_payload, udp_payload

#: The type of service of what must not arrive.
FORBIDDEN = 0x48
ECHO, ECHO_ID, SYN = 8, 77, 0x02
#: Where floods and flows come from: a flood that lies about its source joins a flow.
SOURCE_PORT = 4000
SOL_PACKET, PACKET_STATISTICS, PACKET_OUTGOING = 263, 6, 4
SO_ATTACH_FILTER = 26
ETH_P_ALL, ETH_P_IP, ETH_P_IPV6 = 0x0003, 0x0800, 0x86DD
RECEIVE_BUFFER = 1 << 20

#: Lets the kernel pass on the forbidden packets alone, as (code, true, false, value):
#: IPv4's second byte, or the traffic class of IPv6, is that of a flood.
_ONLY_FORBIDDEN = (
    (0x20, 0, 0, 0xFFFFF000),  # the kind of the frame
    (0x15, 0, 2, ETH_P_IP),
    (0x30, 0, 0, 1),
    (0x15, 5, 4, FORBIDDEN),
    (0x15, 0, 3, ETH_P_IPV6),
    (0x28, 0, 0, 0),
    (0x54, 0, 0, 0x0FF0),
    (0x15, 1, 0, FORBIDDEN << 4),
    (0x06, 0, 0, 0),
    (0x06, 0, 0, 0xFFFF),
)

#: Sends raw packets round and round until its standard input closes.
_FLOOD = """
import socket, sys, time, select
pause = float(sys.argv[1])
shots = [(a, bytes.fromhex(p)) for a, p in (each.split("=") for each in sys.argv[2:])]
socks = {
    six: socket.socket(
        socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW
    )
    for six in {":" in address for address, _ in shots}
}
sent = 0
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(max(1, 48 // len(shots))):
        for address, packet in shots:
            try:
                socks[":" in address].sendto(packet, (address, 0))
                sent += 1
            except OSError:
                pass
    time.sleep(pause)
print(sent)
"""


def marked(packet: bytes) -> bytes:
    """An IPv4 packet with the type of service of what must not arrive."""
    return packet[:1] + bytes((FORBIDDEN,)) + packet[2:]


def marked6(packet: bytes) -> bytes:
    """An IPv6 packet with the traffic class of what must not arrive."""
    head = int.from_bytes(packet[:4], "big") & ~0x0FF00000 | FORBIDDEN << 20
    return head.to_bytes(4, "big") + packet[4:]


def shots(source: IPAddress, target: IPAddress, port: int) -> list[bytes]:
    """UDP, the first segment of TCP and an ICMP echo, none of them welcome."""
    if source.version == 6:
        kinds = (
            Packet(source, target, socket.IPPROTO_UDP, SOURCE_PORT, port),
            Packet(source, target, socket.IPPROTO_TCP, SOURCE_PORT, port),
            Packet(source, target, socket.IPPROTO_ICMPV6, icmp_type=128, icmp_code=0),
        )
        return [marked6(bytes_of(each, ECHO_ID)) for each in kinds]
    echo = struct.pack("!BBHHH", ECHO, 0, 0, ECHO_ID, 1)
    echo = struct.pack("!BBHHH", ECHO, 0, checksum(echo), ECHO_ID, 1)
    return [
        marked(ipv4_packet(source, target, protocol, payload))
        for protocol, payload in (
            (socket.IPPROTO_UDP, udp_payload(SOURCE_PORT, port, b"flood")),
            (socket.IPPROTO_TCP, tcp_payload(source, target, SOURCE_PORT, port, SYN)),
            (socket.IPPROTO_ICMP, echo),
        )
    ]


@dataclass
class Flood:
    """Packets on their way; how many were sent is known when it is over."""

    sent: int = 0


@contextmanager
def flooding(
    sender: Namespace,
    source: IPAddress,
    targets: Iterable[IPAddress],
    port: int,
    pause: float = 0.0005,
) -> Iterator[Flood]:
    """Flood addresses while the body runs, whether or not they exist yet.

    Some 48 packets go at once; `pause` is the time until the next ones.
    """
    words = [
        f"{target}={packet.hex()}" for target in targets for packet in shots(source, target, port)
    ]
    inside = f"/proc/{sender.pid}/ns/net"
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", _FLOOD, str(pause), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: _enter(inside),  # noqa: PLW1509 - only setns, in a fresh child
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        flood = Flood()
        yield flood
        process.stdin.close()
        flood.sent = int(process.stdout.readline())
        assert flood.sent > 100, "the flood was no flood"
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def _enter(path: str) -> None:
    with open(path, "rb") as inside:
        enter_network(inside.fileno())


class Sensor:
    """Sees every forbidden packet that a namespace receives, on whatever device.

    It may be switched on before the namespace has any network.
    """

    def __init__(self, namespace: Namespace) -> None:
        self._socket = namespace.socket(
            socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        attach_filter(self._socket)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._seen: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def forbidden(self) -> list[str]:
        """What arrived and should not have; it is an error to have missed any packet."""
        statistics = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        _, missed = struct.unpack("II", statistics)
        assert missed == 0, "the sensor was too slow"
        return self._seen[:5]

    def forget(self) -> None:
        """Begin anew: what has been seen is excused."""
        self._seen.clear()

    def _watch(self) -> None:
        while not self._stop.is_set():
            if select.select([self._socket], [], [], 0.05)[0]:
                data, (device, kind, direction, *_) = self._socket.recvfrom(200)
                if direction == PACKET_OUTGOING or device == "lo":
                    continue
                if type_of_service(kind, data) == FORBIDDEN:
                    self._seen.append(f"{device} {data[:40].hex()}")


def attach_filter(packets: socket.socket) -> None:
    """Spare the test the packets that it does not look for: they would cost it its time."""
    program = b"".join(struct.pack("=HBBI", *each) for each in _ONLY_FORBIDDEN)
    kept = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(_ONLY_FORBIDDEN), ctypes.addressof(kept))
    packets.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, header)


def type_of_service(kind: int, packet: bytes) -> int:
    """That of an IPv4 packet, or the traffic class of an IPv6 packet."""
    if kind == ETH_P_IP and len(packet) > 1:
        return packet[1]
    if kind == ETH_P_IPV6 and len(packet) > 1:
        return (packet[0] & 15) << 4 | packet[1] >> 4
    return 0


class Flow:
    """Numbered datagrams from one task to another, each sent once, a millisecond apart.

    The hosts ask policy about each of them, unless they are `answered`: then
    they belong to an established connection. Once it was reached, the other
    side keeps answering whether it hears anything or not.
    """

    def __init__(
        self,
        source: Namespace,
        target: Namespace,
        address: IPAddress,
        port: int,
        *,
        answered: bool = False,
    ) -> None:
        self._sender = source.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sender.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sender.bind(("0.0.0.0", SOURCE_PORT))
        self._receiver = target.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._receiver.bind(("0.0.0.0", port))
        self._receiver.settimeout(0.05)
        self._to = (str(address), port)
        self._answered = answered
        self._heard: tuple[str, int] | None = None
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._send, self._receive)]
        self._sent = 0
        self._received: set[bytes] = set()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._receiver.close()
        self._sender.close()

    def forbid(self) -> None:
        """From now on a sensor takes what either side sends for a leak."""
        self._mark(FORBIDDEN)

    def permit(self) -> None:
        """From now on it may arrive again."""
        self._mark(0)

    def _mark(self, kind: int) -> None:
        for each in (self._sender, self._receiver):
            each.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, kind)

    @property
    def sent(self) -> int:
        """How many were sent."""
        return self._sent

    @property
    def received(self) -> int:
        """How many arrived."""
        return len(self._received)

    @property
    def lost(self) -> list[int]:
        """The first numbers that were sent a while ago and did not arrive."""
        settled = max(0, self._sent - 300)
        return [number for number in range(settled) if b"%d" % number not in self._received][:5]

    def _send(self) -> None:
        while not self._stop.wait(0.001):
            # A task whose network was taken away tries on.
            with suppress(OSError):
                self._sender.sendto(b"%d" % self._sent, self._to)
            self._sent += 1
            if self._heard is not None:
                with suppress(OSError):
                    self._receiver.sendto(b"yes", self._heard)

    def _receive(self) -> None:
        while not self._stop.is_set():
            with suppress(TimeoutError):
                number, sender = self._receiver.recvfrom(100)
                self._received.add(number)
                if self._answered:
                    self._heard = sender


class Connection:
    """A TCP connection that one task keeps writing into, and another reads."""

    def __init__(
        self,
        source: Namespace,
        target: Namespace,
        address: IPAddress,
        port: int,
        patience: float = 5,
    ) -> None:
        with target.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("0.0.0.0", port))
            listener.listen()
            listener.settimeout(5)
            self._writer = source.socket(socket.AF_INET, socket.SOCK_STREAM)
            self._writer.settimeout(patience)
            self._writer.connect((str(address), port))
            self._reader, _ = listener.accept()
        self._reader.settimeout(0.05)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._write, self._read)]
        self.received = 0

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._reader.close()
        self._writer.close()

    @property
    def retransmitted(self) -> int:
        """Segments that had to be sent again."""
        information = self._writer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        (total,) = struct.unpack_from("=I", information, 100)
        return int(total)

    def _write(self) -> None:
        self._writer.setblocking(False)
        while not self._stop.wait(0.005):
            with suppress(OSError):
                self._writer.send(b"x")

    def _read(self) -> None:
        while not self._stop.is_set():
            with suppress(OSError):
                self.received += len(self._reader.recv(1000))
