"""Long TCP connections between tasks, and for how long each of them stood still."""

from __future__ import annotations

import errno
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from demo.embedded import namespaces
from tests.chaos.watched import FLOW_PORT, Watched

#: It is told of when nothing comes back for longer.
STALL_SECONDS = 1.0
#: From Linux 6.15 on: the longest that TCP waits before it sends again.
TCP_RTO_MAX_MS, RTO_MILLISECONDS = 44, 1000
#: Longer than several cuts in a row: TCP counts what it has sent again, and soon gives up.
PATIENCE_MILLISECONDS = 300_000
#: A connection that is not made by then is tried anew.
TRY_SECONDS = 1.5


def hurry(channel: socket.socket) -> None:
    """Let one end send at once, and again soon after a loss."""
    channel.setblocking(False)
    channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PATIENCE_MILLISECONDS)
    with suppress(OSError):
        channel.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS, RTO_MILLISECONDS)


@dataclass
class Flow:
    """One connection; a number goes out every now and then, and comes back."""

    source: Watched
    target: Watched
    channel: socket.socket
    wanted: float
    tried: float
    opened: float | None = None
    at: float = 0.0
    sent: int = 0
    echoed: int = 0
    stalls: list[tuple[float, float]] = field(default_factory=list)
    broken: str = ""
    rest: bytes = b""

    @classmethod
    def begin(cls, source: Watched, target: Watched, wanted: float) -> Flow:
        """Try to connect; raises OSError if the source has ended."""
        with namespaces.network_of(source.pid):
            channel = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        hurry(channel)
        channel.connect_ex((target.address or "", FLOW_PORT))
        return cls(source, target, channel, wanted, time.monotonic())

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
        try:
            self.channel.send(struct.pack("!Q", self.sent))
            self.sent += 1
        except BlockingIOError:
            return
        except OSError as error:
            self.broken = errno.errorcode.get(error.errno or 0, str(error))

    def hear(self) -> None:
        """Numbers come back in order, or something is wrong."""
        if self.opened is None:
            return
        try:
            received = self.channel.recv(4096)
        except BlockingIOError:
            return
        except OSError as error:
            self.broken = errno.errorcode.get(error.errno or 0, str(error))
            return
        if not received:
            self.broken = "closed by the other side"
            return
        data = self.rest + received
        whole = len(data) // 8 * 8
        for (number,) in struct.iter_unpack("!Q", data[:whole]):
            if number != self.echoed:
                self.broken = f"{number} came back in the place of {self.echoed}"
            self.echoed += 1
        self.rest = data[whole:]
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
            "echoed": self.echoed,
            "stalls": stalls,
            "standing": self.at if standing else None,
            "broken": self.broken,
        }
