"""Probes as they are sent, and as a sensor sees them: pure."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from demo.stories.matrix import Task, is_open
from tests.chaos.watched import PROBE_PORT


@dataclass(frozen=True, slots=True)
class Arrival:
    """A probe at a task, whoever it was meant for."""

    source: str
    meant_for: str
    number: int


def render_probe(source: str, target: str, number: int) -> bytes:
    """What a probe carries."""
    return f"{source}|{target}|{number}".encode()


def parse_arrival(packet: bytes) -> Arrival | None:
    """The probe in an IPv4 packet; None for the answer of a kernel, which carries none."""
    if len(packet) < 28 or packet[9] != socket.IPPROTO_UDP:
        return None
    payload = packet[(packet[0] & 15) * 4 + 8 :]
    source, target, number = payload.decode().split("|")
    return Arrival(source, target, int(number))


def is_leak(source: Task, receiver: Task) -> bool:
    """Whether the groups keep a packet of the one from ever arriving at the other.

    A task's groups are those of its app's version as long as it lives.
    """
    return source.name != receiver.name and not is_open(source, receiver, PROBE_PORT)
