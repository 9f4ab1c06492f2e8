"""Packets sent from one namespace and awaited in another.

A veth hands a packet over within microseconds, so a short wait tells "dropped"
from "delivered".
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from netaddr import IPAddress

WAIT = 0.3


class Place(Protocol):
    """Where sockets can be made."""

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket that lives there."""
        ...


def family_of(address: IPAddress) -> int:
    """The socket family of an address."""
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


@contextmanager
def listening(namespace: Place, address: IPAddress, port: int) -> Iterator[socket.socket]:
    """A TCP listener in a namespace."""
    with namespace.socket(family_of(address), socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((str(address), port))
        sock.listen()
        yield sock


def connects(source: Place, address: IPAddress, port: int, within: float = WAIT) -> bool:
    """Whether a TCP connection comes about; one second later it is tried again."""
    with source.socket(family_of(address), socket.SOCK_STREAM) as sock:
        sock.settimeout(within)
        try:
            sock.connect((str(address), port))
        except (TimeoutError, OSError):
            return False
        return True


def delivers(source: Place, target: Place, address: IPAddress, port: int) -> bool:
    """Whether a UDP datagram arrives."""
    with (
        target.socket(family_of(address), socket.SOCK_DGRAM) as receiver,
        source.socket(family_of(address), socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind((str(address), port))
        receiver.settimeout(WAIT)
        try:
            sender.sendto(b"probe", (str(address), port))
            return receiver.recv(100) == b"probe"
        except (TimeoutError, OSError):
            return False


def checksum(packet: bytes) -> int:
    """The ones' complement sum of the internet protocols."""
    padded = packet + b"\0" * (len(packet) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echoes(source: Place, address: IPAddress) -> bool:
    """Whether an ICMP echo is answered."""
    v4 = address.version == 4
    protocol = socket.IPPROTO_ICMP if v4 else socket.IPPROTO_ICMPV6
    request, reply = (8, 0) if v4 else (128, 129)
    body = struct.pack("!BBHHH", request, 0, 0, 0x4D43, 1)
    if v4:
        body = struct.pack("!BBHHH", request, 0, checksum(body), 0x4D43, 1)
    with source.socket(family_of(address), socket.SOCK_RAW, protocol) as sock:
        sock.settimeout(WAIT)
        try:
            sock.sendto(body, (str(address), 0))
            while True:
                packet, (sender, *_) = sock.recvfrom(2000)
                start = (packet[0] & 15) * 4 if v4 else 0
                if packet[start] == reply and IPAddress(sender) == address:
                    return True
        except (TimeoutError, OSError):
            return False


def ipv4_packet(source: IPAddress, target: IPAddress, protocol: int, payload: bytes) -> bytes:
    """A raw IPv4 packet; the kernel fills in length and checksum."""
    return (
        struct.pack("!BBHHHBBHII", 0x45, 0, 0, 0, 0, 64, protocol, 0, int(source), int(target))
        + payload
    )


def send_raw(namespace: Place, target: IPAddress, packet: bytes) -> None:
    """Send a whole IPv4 packet, whatever its source address says."""
    with namespace.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        sock.sendto(packet, (str(target), 0))


def udp_payload(source_port: int, target_port: int, data: bytes) -> bytes:
    """A UDP datagram without a checksum, as IPv4 allows."""
    return struct.pack("!HHHH", source_port, target_port, 8 + len(data), 0) + data


def tcp_payload(
    source: IPAddress,
    target: IPAddress,
    source_port: int,
    target_port: int,
    flags: int,
    *,
    sequence: int = 1,
    acknowledged: int = 0,
    data: bytes = b"",
) -> bytes:
    """A TCP segment with a right checksum."""

    def segment(check: int) -> bytes:
        return (
            struct.pack(
                "!HHIIBBHHH",
                source_port,
                target_port,
                sequence,
                acknowledged,
                0x50,
                flags,
                1024,
                check,
                0,
            )
            + data
        )

    pseudo = struct.pack("!IIBBH", int(source), int(target), 0, 6, 20 + len(data))
    return segment(checksum(pseudo + segment(0)))
