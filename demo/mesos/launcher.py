"""Forks tasks into network namespaces of their own and reaps them.

It runs as a process of its own, without threads, so that forking is safe, and
without third-party modules, so that a task starts within milliseconds. It reads
one JSON order per packet from the socket it was given and answers with the pid
or the reason why there is none; when a task ends it says so. It ends itself
when the other side closes; the tasks live on.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Mapping
from typing import Any

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
PACKET_LIMIT = 1 << 20


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
    libc = ctypes.CDLL(None, use_errno=True)
    _serve(channel, wake_read, libc)


def _serve(channel: socket.socket, wake_read: int, libc: ctypes.CDLL) -> None:
    poller = select.poll()
    poller.register(channel, select.POLLIN)
    poller.register(wake_read, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poller.poll()}
        if wake_read in ready:
            os.read(wake_read, 4096)
            for pid, status in _exited():
                _send(channel, {"exited": pid, "status": status})
        if channel.fileno() in ready:
            packet = channel.recv(PACKET_LIMIT)
            if not packet:
                return
            order = json.loads(packet)
            _send(channel, {"launched": order["id"], **launch(order, libc)})


def _send(channel: socket.socket, message: Mapping[str, Any]) -> None:
    try:
        channel.send(json.dumps(message).encode())
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


def launch(order: Mapping[str, Any], libc: ctypes.CDLL) -> dict[str, Any]:
    """Fork one task; returns its pid once it executes, or why it does not."""
    error_read, error_write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.close(error_read)
            _become(order, libc)
        except OSError as error:
            reason = f"{error.filename or order['argv'][0]}: {error.strerror}"
            os.write(error_write, reason.encode())
        finally:
            os._exit(127)
    os.close(error_write)
    with os.fdopen(error_read, "rb") as reader:
        # The pipe closes by itself when the task executes its program.
        reason = reader.read().decode()
    if reason:
        os.waitpid(pid, 0)
        return {"error": reason}
    return {"pid": pid}


def _become(order: Mapping[str, Any], libc: ctypes.CDLL) -> None:
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    if order["isolate"]:
        if libc.unshare(CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), "new network namespace")
        _set_loopback_up()
    os.chdir(order["directory"])
    _redirect(0, os.devnull, os.O_RDONLY)
    _redirect(1, "stdout", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    _redirect(2, "stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.execvpe(order["argv"][0], order["argv"], order["env"])


def _set_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        reply = fcntl.ioctl(control, SIOCGIFFLAGS, request)
        (flags,) = struct.unpack_from("h", reply, 16)
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def _redirect(descriptor: int, path: str, flags: int) -> None:
    opened = os.open(path, flags, 0o644)
    os.dup2(opened, descriptor)
    os.close(opened)


if __name__ == "__main__":
    main(int(sys.argv[1]))
