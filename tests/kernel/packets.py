"""Whole packets of either family, put on a task's wire and recognised where they arrive.

Each carries a number: IPv4 in its identification, IPv6 in its flow label.
"""

import select
import socket
import struct
from collections.abc import Callable

from netaddr import EUI

from calico.dataplane.state import HOST_MAC
from reconciler.core.reaching.reach import ICMP, Packet
from tests.kernel.namespaces import Namespace
from tests.kernel.probes import checksum

SYN = 0x02
ETH_P_ALL, IPV4, IPV6 = 0x0003, 0x0800, 0x86DD
PACKET_OUTGOING = 4
#: The number of a packet is less.
NUMBERS = 1 << 16


def bytes_of(packet: Packet, number: int) -> bytes:
    """The packet with right checksums, but for SCTP's."""
    payload = _payload(packet, number)
    ends = packet.source.packed + packet.destination.packed
    if packet.source.version == 6:
        head = struct.pack("!IHBB", 6 << 28 | number, len(payload), packet.protocol, 64)
        return head + ends + payload
    size = 20 + len(payload)
    fields = struct.pack("!BBHHHBB", 0x45, 0, size, number, 0, 64, packet.protocol)
    check = checksum(fields + b"\0\0" + ends)
    return fields + struct.pack("!H", check) + ends + payload


def _payload(packet: Packet, number: int) -> bytes:
    ports = (packet.source_port or 0, packet.destination_port or 0)
    match packet.protocol:
        case 6:
            return _checked(
                packet, 16, struct.pack("!HHIIBBHHH", *ports, 1, 0, 0x50, SYN, 99, 0, 0)
            )
        case 17:
            return _checked(packet, 6, struct.pack("!HHHH", *ports, 8, 0))
        case 132:
            begin = struct.pack("!BBHIIHHI", 1, 0, 20, 7, 9999, 1, 1, 1)
            return struct.pack("!HHII", *ports, 0, 0) + begin
        case 1 | 58:
            kind, code = packet.icmp_type or 0, packet.icmp_code or 0
            return _checked(packet, 2, struct.pack("!BBHHHQQ", kind, code, 0, number, 1, 0, 0))
        case _:
            return bytes(8)


def _checked(packet: Packet, place: int, segment: bytes) -> bytes:
    """The segment with its checksum at a place."""
    ends = packet.source.packed + packet.destination.packed
    pseudo = ends + struct.pack("!II", len(segment), packet.protocol)
    check = checksum(segment if packet.protocol == ICMP else pseudo + segment)
    return segment[:place] + struct.pack("!H", check or 0xFFFF) + segment[place + 2 :]


class FrameSender:
    """Puts packets on a task's eth0, whatever its own kernel thinks of them."""

    def __init__(self, task: Namespace, mac: EUI) -> None:
        self._socket = task.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._socket.bind(("eth0", 0))
        self._ends = HOST_MAC.packed + mac.packed

    def send(self, packet: Packet, number: int) -> None:
        """One packet in one frame to the host."""
        kind = IPV4 if packet.source.version == 4 else IPV6
        self._socket.send(self._ends + struct.pack("!H", kind) + bytes_of(packet, number))


class Arrivals:
    """The numbers of the packets that reach a namespace."""

    def __init__(self, place: Namespace, mine: Callable[[bytes], bool]) -> None:
        self._mine = mine
        self._socket = place.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))

    def until(self, wanted: Callable[[set[int]], bool], seconds: float) -> set[int]:
        """What arrives until it is enough, or no more comes."""
        found: set[int] = set()
        while not wanted(found) and select.select([self._socket], [], [], seconds)[0]:
            data, (_, kind, direction, *_) = self._socket.recvfrom(200)
            if direction != PACKET_OUTGOING and self._mine(data):
                found.add(_number(kind, data))
        return found


def _number(kind: int, packet: bytes) -> int:
    if kind == IPV4:
        return int.from_bytes(packet[4:6], "big")
    return int.from_bytes(packet[1:4], "big") & 0xFFFFF
