"""Long TCP connections between tasks, and for how long each of them stood still."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from demo.embedded import namespaces
from tests.chaos.watched import FLOW_PORT, Watched
from tests.cluster.flows import Numbers

#: It is told of when nothing comes back for longer.
STALL_SECONDS = 1.0
#: From Linux 6.15 on: the longest that TCP waits before it sends again.
TCP_RTO_MAX_MS, RTO_MILLISECONDS = 44, 1000
#: Longer than several cuts in a row: TCP counts what it has sent again, and soon gives up.
PATIENCE_MILLISECONDS = 300_000
#: A connection that is not made by then is tried anew.
TRY_SECONDS = 1.5


def hurry(channel: socket.socket) -> None:
    """Let one end send at once, again soon after a loss, and not at all once it is closed.

    What waited for an answer then would keep its namespace for as long.
    """
    channel.setblocking(False)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PATIENCE_MILLISECONDS)
    with suppress(OSError):
        channel.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS, RTO_MILLISECONDS)


@dataclass
class Flow:
    """One connection from one task to another."""

    source: Watched
    target: Watched
    numbers: Numbers
    wanted: float
    tried: float
    opened: float | None = None
    at: float = 0.0
    stalls: list[tuple[float, float]] = field(default_factory=list)

    @classmethod
    def begin(cls, source: Watched, target: Watched, wanted: float) -> Flow:
        """Try to connect; raises OSError if the source has ended."""
        with namespaces.network_of(source.pid):
            channel = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        hurry(channel)
        channel.connect_ex((target.address or "", FLOW_PORT))
        return cls(source, target, Numbers(channel), wanted, time.monotonic())

    @property
    def channel(self) -> socket.socket:
        """The end of the source."""
        return self.numbers.channel

    @property
    def broken(self) -> str:
        """What happened to it, empty as long as it goes on."""
        return self.numbers.broken

    @property
    def failed(self) -> bool:
        """Whether the attempt to connect has failed."""
        return self.opened is None and time.monotonic() - self.tried > TRY_SECONDS

    def beat(self) -> None:
        """Send the next number, once it is open."""
        if self.broken:
            return
        now = time.monotonic()
        if self.opened is None:
            if self.channel.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.tried = 0.0
                return
            try:
                self.channel.getpeername()
            except OSError:
                return
            self.opened = self.at = now
        self.numbers.send()

    def hear(self) -> None:
        """What came back, and whether it was late."""
        if self.opened is None or not self.numbers.hear():
            return
        now = time.monotonic()
        if now - self.at > STALL_SECONDS:
            self.stalls.append((self.at, now))
        self.at = now

    def forgive(self, seconds: float) -> None:
        """We were late ourselves by so much."""
        self.at += seconds

    def report(self) -> dict[str, Any]:
        """What became of it since the last report."""
        stalls, self.stalls = self.stalls, []
        now = time.monotonic()
        standing = self.opened is not None and not self.broken and now - self.at > STALL_SECONDS
        return {
            "source": self.source.task.name,
            "target": self.target.task.name,
            "hosts": [self.source.task.host, self.target.task.host],
            "wanted": self.wanted,
            "opened": self.opened,
            "echoed": self.numbers.echoed,
            "stalls": stalls,
            "standing": self.at if standing else None,
            "broken": self.broken,
        }
