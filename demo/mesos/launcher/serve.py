"""`python -m demo.mesos.launcher.serve`: forks tasks and reaps them.

It reads one JSON order per packet from the socket it was given, says how far
each forked process is, and when one ends. It ends itself when the other side
closes; the tasks live on.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from demo.mesos.launcher import child

PACKET_LIMIT = child.PACKET_LIMIT

Life = Callable[[Mapping[str, Any], socket.socket, ctypes.CDLL], NoReturn]


@dataclass(slots=True)
class _Child:
    """A forked process and what it has said so far; its channel closes when it executes."""

    id: str
    pid: int
    channel: socket.socket
    held: bool = False
    ready: bool = False
    error: str = ""


class Launcher:
    """Serves the orders of one agent, in one thread."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._children: dict[int, _Child] = {}
        self._checks: dict[int, _Child] = {}
        self._poller = select.poll()
        self._libc = ctypes.CDLL(None, use_errno=True)

    def serve(self, wake: int) -> None:
        """Work until the other side closes."""
        self._poller.register(self._channel, select.POLLIN)
        self._poller.register(wake, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in self._poller.poll()}
            if wake in ready:
                os.read(wake, 4096)
                for pid, status in _exited():
                    self._ended(pid, status)
            for descriptor in ready & self._children.keys():
                self._hear(self._children[descriptor])
            if self._channel.fileno() in ready:
                packet = self._channel.recv(PACKET_LIMIT)
                if not packet:
                    return
                self._obey(json.loads(packet))

    def _obey(self, order: Mapping[str, Any]) -> None:
        match order["do"]:
            case "start":
                self._fork(order, child.become)
            case "check":
                process = self._fork(order, child.check)
                self._checks[process.pid] = process
            case "release":
                for process in self._children.values():
                    if process.id == order["id"] and process.held:
                        with contextlib.suppress(OSError):
                            # It has ended then, and that is told by itself.
                            process.channel.send(json.dumps(order).encode())

    def _fork(self, order: Mapping[str, Any], live: Life) -> _Child:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            # What may live long must keep nothing open by whose end others learn of an end.
            for process in self._children.values():
                process.channel.close()
            for channel in (ours, self._channel):
                channel.close()
            live(order, theirs, self._libc)
        theirs.close()
        process = _Child(order["id"], pid, ours)
        self._children[ours.fileno()] = process
        self._poller.register(ours, select.POLLIN)
        return process

    def _hear(self, process: _Child) -> bool:
        """Take one thing that a child says; False once its channel has closed."""
        try:
            packet = process.channel.recv(PACKET_LIMIT)
        except ConnectionError:
            packet = b""
        if packet:
            message = json.loads(packet)
            process.ready = process.ready or "ready" in message
            process.error = message.get("error", process.error)
            if "held" in message:
                process.held = True
                self._send({"held": process.id, "pid": process.pid})
            return True
        self._poller.unregister(process.channel)
        del self._children[process.channel.fileno()]
        process.channel.close()
        if process.pid in self._checks:
            return False
        if process.ready and not process.error:
            self._send({"launched": process.id, "pid": process.pid})
        else:
            self._send({"launched": process.id, "error": process.error or "it ended at once"})
        return False

    def _ended(self, pid: int, status: int) -> None:
        # What it said comes before its end; the channel closes with it.
        for process in [each for each in self._children.values() if each.pid == pid]:
            while self._hear(process):
                continue
        check = self._checks.pop(pid, None)
        if check is None:
            self._send({"exited": pid, "status": status})
            return
        message = check.error or f"Command returned {status}"
        if status == -signal.SIGALRM:
            message = "timed out"
        self._send({"checked": check.id, "well": status == 0, "message": message})

    def _send(self, message: Mapping[str, Any]) -> None:
        try:
            self._channel.send(json.dumps(message).encode())
        except OSError:
            # Nobody listens any more; the next read ends this process.
            return


def _exited() -> list[tuple[int, int]]:
    exited: list[tuple[int, int]] = []
    while True:
        try:
            # WNOWAIT keeps the zombie, and with it the number of its process
            # group, so that the signal below cannot reach a stranger.
            seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return exited
        if seen is None:
            return exited
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(seen.si_pid, signal.SIGKILL)
        _, status = os.waitpid(seen.si_pid, 0)
        exited.append((seen.si_pid, os.waitstatus_to_exitcode(status)))


def main(descriptor: int) -> None:
    """Serve orders on the given socket until the other side closes it."""
    # A task that inherited the channel would keep it open after this process ended.
    os.set_inheritable(descriptor, False)
    channel = socket.socket(fileno=descriptor)
    channel.setblocking(True)
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    # The C-level handler writes one byte per signal, so that no exit is missed
    # between the check for exited children and the wait for the next order.
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    # Ctrl-C on a terminal is meant for the process that started all of this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Launcher(channel).serve(wake_read)


if __name__ == "__main__":
    main(int(sys.argv[1]))
