"""One task under watch: what its process says of it, and sockets of ours in its namespace."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from demo.embedded import namespaces
from demo.stories.matrix import Task
from tests.kernel.sensors import ETH_P_ALL, FORBIDDEN, attach_filter

#: What chaos' apps declare: where probes go, and where flows do.
PROBE_PORT, FLOW_PORT = 7001, 7000
#: Where probes come from: else one that goes back would be an answer, and allowed.
SOURCE_PORT = 7002
#: In the environment of their tasks, for no promise may rest on what Marathon says later.
GROUPS_VARIABLE = "CHAOS_GROUPS"
ATTACHED_VARIABLE = "CHAOS_ATTACHED"
PROGRAM = b"demo.star.probe"
SIOCGIFADDR = 0x8915
SMALL_BUFFER = 4096


@dataclass(frozen=True, slots=True)
class Found:
    """A process that is a task of ours; `attached` before its first instruction, or found."""

    pid: int
    task: Task
    attached: bool


@dataclass
class Watched:
    """The ends of what is measured at one task; `end` is readable once its process has ended."""

    task: Task
    pid: int
    attached: bool
    end: int
    sensor: socket.socket
    probe: socket.socket
    raw: socket.socket
    server: socket.socket
    _sink: socket.socket
    _control: socket.socket
    address: str | None = None
    #: The task's ends of connections that others made.
    accepted: set[socket.socket] = field(default_factory=set)

    @classmethod
    def open(cls, found: Found) -> Watched:
        """Begin to watch; raises OSError if the process has ended."""
        end = os.pidfd_open(found.pid)
        made: list[socket.socket] = []
        try:
            with namespaces.network_of(found.pid):
                sensor = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
                made.append(sensor)
                attach_filter(sensor)
                probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                made.append(probe)
                probe.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, FORBIDDEN)
                probe.bind(("0.0.0.0", SOURCE_PORT))
                # Nobody reads it: without it the kernel would answer each probe.
                sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                made.append(sink)
                sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
                sink.bind(("0.0.0.0", PROBE_PORT))
                raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
                made.append(raw)
                server = socket.create_server(("0.0.0.0", FLOW_PORT), backlog=64)
                made.append(server)
                control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                made.append(control)
        except OSError:
            os.close(end)
            for each in made:
                each.close()
            raise
        for each in made:
            each.setblocking(False)
        return cls(
            *(found.task, found.pid, found.attached, end),
            *(sensor, probe, raw, server, sink, control),
        )

    def close(self) -> None:
        """Let its namespace go."""
        os.close(self.end)
        own = (self.sensor, self.probe, self.raw, self.server, self._sink, self._control)
        for each in (*own, *self.accepted):
            each.close()

    @property
    def ended(self) -> bool:
        """Whether its process has."""
        return bool(select.select([self.end], [], [], 0)[0])

    def look(self) -> None:
        """Read its address anew."""
        self.address = None
        with suppress(OSError):
            reply = fcntl.ioctl(self._control, SIOCGIFADDR, struct.pack("256s", b"eth0"))
            self.address = socket.inet_ntoa(reply[20:24])


def open_sender(pid: int) -> socket.socket:
    """From where a host sends probes itself."""
    with namespaces.network_of(pid):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setblocking(False)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, FORBIDDEN)
    return sender


def find(known: set[int]) -> Iterator[Found]:
    """Every task of ours that runs in the caller's pid namespace and is not known."""
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in known:
            continue
        # It may end while we look.
        with suppress(OSError):
            process = Path("/proc") / name
            if PROGRAM not in (process / "cmdline").read_bytes():
                continue
            found = parse_environment(int(name), (process / "environ").read_bytes())
            if found is not None:
                yield found


def parse_environment(pid: int, environment: bytes) -> Found | None:
    """The task whose process has this environment, if it is one of ours."""
    words = [word.partition("=") for word in environment.decode(errors="replace").split("\0")]
    variables = {name: value for name, _, value in words}
    groups = variables.get(GROUPS_VARIABLE)
    if groups is None or "MESOS_TASK_ID" not in variables or "HOST" not in variables:
        return None
    task = Task(
        variables["MESOS_TASK_ID"],
        variables["HOST"],
        tuple(filter(None, groups.split(","))),
        (FLOW_PORT, PROBE_PORT),
    )
    return Found(pid, task, bool(variables.get(ATTACHED_VARIABLE)))
