"""Probes as they are sent, and as a sensor sees them: pure."""

from __future__ import annotations

import enum
import socket
import struct
from dataclasses import dataclass

from netaddr import IPAddress

from demo.stories.matrix import Sender, Task, is_open
from tests.chaos.watched import FLOW_PORT, PROBE_PORT, SOURCE_PORT
from tests.kernel.probes import checksum, ipv4_packet, tcp_payload, udp_payload
from tests.kernel.sensors import ECHO, ECHO_ID, SYN, marked

ACK = 0x10
ECHOES = (0, 8)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A probe at a task, whoever it was meant for."""

    source: str
    meant_for: str
    number: int


class Kind(enum.Enum):
    """What a packet between tasks that share no group may look like."""

    DATAGRAM = enum.auto()
    FIRST_SEGMENT = enum.auto()
    LATER_SEGMENT = enum.auto()
    ECHO_REQUEST = enum.auto()


def render_packet(kind: Kind, source: str, target: str, probe: bytes) -> bytes:
    """A whole IPv4 packet that carries a probe, from one address to another."""
    from_, to = IPAddress(source), IPAddress(target)
    match kind:
        case Kind.DATAGRAM:
            protocol, payload = socket.IPPROTO_UDP, udp_payload(SOURCE_PORT, PROBE_PORT, probe)
        case Kind.FIRST_SEGMENT | Kind.LATER_SEGMENT:
            flags = SYN if kind is Kind.FIRST_SEGMENT else ACK
            protocol = socket.IPPROTO_TCP
            payload = tcp_payload(from_, to, SOURCE_PORT, FLOW_PORT, flags, data=probe)
        case Kind.ECHO_REQUEST:
            head = struct.pack("!BBHHH", ECHO, 0, 0, ECHO_ID, 1)
            head = struct.pack("!BBHHH", ECHO, 0, checksum(head + probe), ECHO_ID, 1)
            protocol, payload = socket.IPPROTO_ICMP, head + probe
    return marked(ipv4_packet(from_, to, protocol, payload))


def render_probe(source: str, target: str, number: int) -> bytes:
    """What a probe carries."""
    return f"{source}|{target}|{number}".encode()


def parse_arrival(packet: bytes) -> Arrival | None:
    """The probe in an IPv4 packet; None for the answer of a kernel, which carries none."""
    if len(packet) < 28:
        return None
    body = packet[(packet[0] & 15) * 4 :]
    match packet[9]:
        case socket.IPPROTO_UDP:
            payload = body[8:]
        case socket.IPPROTO_TCP if len(body) > 12:
            payload = body[(body[12] >> 4) * 4 :]
        case socket.IPPROTO_ICMP if body[0] in ECHOES:
            payload = body[8:]
        case _:
            return None
    words = payload.decode(errors="replace").split("|")
    return Arrival(words[0], words[1], int(words[2])) if len(words) == 3 else None


def is_leak(source: Sender, receiver: Task) -> bool:
    """Whether the groups keep a packet of the one from ever arriving at the other.

    A task's groups are those of its app's version as long as it lives.
    """
    return source.name != receiver.name and not is_open(source, receiver, PROBE_PORT)
