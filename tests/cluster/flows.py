"""`python -m tests.cluster.flows`: long connections between tasks, and attempts at others.

One line of JSON says between which; each further line of input is answered with
what happened so far. Sockets stay in the network namespace that they were made in,
so that one thread serves all tasks.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from demo.embedded import namespaces

PORT = 7000
EVERY = 0.05
PATIENCE = 0.3
#: Where struct tcp_info counts what had to be sent again, as 32 bits.
TCP_INFO_LIMIT, TOTAL_RETRANS = 104, 100

Act = Callable[[], None]


class Namespaces:
    """The network namespaces of tasks, by a process in each."""

    def __init__(self) -> None:
        self._own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self._opened: dict[int, int] = {}

    @contextlib.contextmanager
    def inside(self, pid: int) -> Iterator[None]:
        """Make sockets there."""
        if pid not in self._opened:
            self._opened[pid] = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        namespaces.join(self._opened[pid])
        try:
            yield
        finally:
            namespaces.join(self._own)


@dataclass
class Numbers:
    """Numbers go out over a connection, and come back in order; or `broken` says what happened."""

    channel: socket.socket
    sent: int = 0
    echoed: int = 0
    broken: str = ""
    rest: bytes = b""

    def send(self) -> None:
        """The next number, unless the connection is over."""
        if self.broken:
            return
        try:
            self.channel.send(struct.pack("!Q", self.sent))
        except BlockingIOError:
            # What is on its way stands still, and that is what counts.
            return
        except OSError as error:
            self.broken = _name(error)
        else:
            self.sent += 1

    def hear(self) -> bool:
        """Whether anything came back."""
        try:
            received = self.channel.recv(4096)
        except BlockingIOError:
            return False
        except OSError as error:
            self.broken = _name(error)
            return False
        if not received:
            self.broken = "closed by the other side"
            return False
        data = self.rest + received
        whole = len(data) // 8 * 8
        for (number,) in struct.iter_unpack("!Q", data[:whole]):
            if number != self.echoed:
                self.broken = f"{number} came back in the place of {self.echoed}"
            self.echoed += 1
        self.rest = data[whole:]
        return True


def echo(channel: socket.socket) -> bool:
    """Send back what came; False once the other end is gone."""
    # How it went is told by the end that counts.
    with contextlib.suppress(OSError):
        data = channel.recv(4096)
        if data:
            channel.send(data)
            return True
    return False


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error))


@dataclass
class Flow:
    """One connection, and the longest that nothing came back over it."""

    name: str
    numbers: Numbers
    at: float = field(default_factory=time.monotonic)
    longest: float = 0.0

    def hear(self) -> None:
        """What came back, and when."""
        if self.numbers.hear():
            now = time.monotonic()
            self.longest, self.at = max(self.longest, now - self.at), now

    def report(self) -> dict[str, Any]:
        """What became of it so far."""
        retransmitted = 0
        numbers = self.numbers
        if not numbers.broken:
            told = numbers.channel.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_LIMIT)
            (retransmitted,) = struct.unpack_from("=I", told, TOTAL_RETRANS)
        return {
            "name": self.name,
            "sent": numbers.sent,
            "echoed": numbers.echoed,
            "longest": max(self.longest, time.monotonic() - self.at),
            "retransmitted": retransmitted,
            "broken": numbers.broken,
        }


class Sensors:
    """Everything that runs at once, in one loop."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._inside = Namespaces().inside
        self._selector = selectors.DefaultSelector()
        self._flows: list[Flow] = []
        self._attempted = plan["attempts"]
        self._trying: dict[socket.socket, tuple[str, float]] = {}
        self._attempts: dict[str, int] = {}
        self._arrived: dict[str, int] = {}
        for pid in plan["servers"]:
            with self._inside(pid):
                server = socket.create_server(("0.0.0.0", PORT))
            self._on_read(server, self._accept, server)
        for row in plan["flows"]:
            with self._inside(row["pid"]):
                channel = socket.create_connection((row["address"], PORT), timeout=5)
            channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            flow = Flow(row["name"], Numbers(channel))
            self._flows.append(flow)
            self._on_read(channel, self._hear, flow)
            # The other end is ours as well: it must be there before the next one waits.
            self._turn(0.05)

    def serve(self) -> None:
        """Until the input ends."""
        self._selector.register(sys.stdin, selectors.EVENT_READ, None)
        due = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= due:
                due = now + EVERY
                for flow in self._flows:
                    flow.numbers.send()
                self._try_all(now)
            if not self._turn(max(0.0, due - time.monotonic())):
                return

    def _turn(self, seconds: float) -> bool:
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                if not sys.stdin.readline():
                    return False
                report = {
                    "flows": [flow.report() for flow in self._flows],
                    "attempts": self._attempts,
                    "arrived": self._arrived,
                }
                print(json.dumps(report), flush=True)
            else:
                key.data()
        return True

    def _on_read(self, channel: socket.socket, act: Callable[[Any], None], about: Any) -> None:
        channel.setblocking(False)
        self._selector.register(channel, selectors.EVENT_READ, lambda: act(about))

    def _accept(self, server: socket.socket) -> None:
        channel, _ = server.accept()
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._on_read(channel, self._echo, channel)

    def _echo(self, channel: socket.socket) -> None:
        if not echo(channel):
            self._selector.unregister(channel)
            channel.close()

    def _hear(self, flow: Flow) -> None:
        flow.hear()
        if flow.numbers.broken:
            self._selector.unregister(flow.numbers.channel)

    def _try_all(self, now: float) -> None:
        for channel, (_, until) in list(self._trying.items()):
            if until <= now:
                self._give_up(channel)
        under_way = {name for name, _ in self._trying.values()}
        for row in self._attempted:
            if row["name"] in under_way:
                continue
            with self._inside(row["pid"]):
                channel = socket.socket()
            channel.setblocking(False)
            self._attempts[row["name"]] = self._attempts.get(row["name"], 0) + 1
            code = channel.connect_ex((row["address"], row["port"]))
            if code not in (0, errno.EINPROGRESS):
                channel.close()
                continue
            self._trying[channel] = (row["name"], now + PATIENCE)
            self._selector.register(channel, selectors.EVENT_WRITE, self._tried_by(channel))

    def _tried_by(self, channel: socket.socket) -> Act:
        return lambda: self._tried(channel)

    def _tried(self, channel: socket.socket) -> None:
        code = channel.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        # A reset comes from the task itself, so it was reached.
        if code in (0, errno.ECONNREFUSED):
            name = self._trying[channel][0]
            self._arrived[name] = self._arrived.get(name, 0) + 1
        self._give_up(channel)

    def _give_up(self, channel: socket.socket) -> None:
        self._selector.unregister(channel)
        del self._trying[channel]
        channel.close()


def main() -> None:
    """Begin, say so, and go on until nobody asks any more."""
    sensors = Sensors(json.loads(sys.stdin.readline()))
    print("ready", flush=True)
    sensors.serve()


if __name__ == "__main__":
    main()
