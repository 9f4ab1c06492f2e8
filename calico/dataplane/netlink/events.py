"""A netlink socket that hears what the kernel tells everybody."""

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from errno import ENOBUFS
from pathlib import Path

from calico.dataplane.netlink.batches import (
    LARGEST_DATAGRAM,
    RECEIVE_BUFFER,
    SO_RCVBUFFORCE,
    SOL_NETLINK,
)
from calico.errors import DataplaneError

NETLINK_ADD_MEMBERSHIP = 1
#: Sockets of the calling thread's namespace: protocol, port and inode among other columns.
SOCKETS = Path("/proc/thread-self/net/netlink")
DESCRIPTORS = Path("/proc/self/fd")


class EventSocket:
    """Hears the events of some groups in the namespace of the thread that opens it."""

    def __init__(self, protocol: int, groups: Sequence[int]) -> None:
        self._protocol = protocol
        self._groups = groups
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Hear from now on; raises DataplaneError."""
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        made = socket.socket(socket.AF_NETLINK, kind, self._protocol)
        # Only the initial user namespace may exceed the limit.
        with suppress(PermissionError):
            made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        try:
            made.bind((0, 0))
            for group in self._groups:
                made.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        except OSError as error:
            made.close()
            raise DataplaneError(f"hear the kernel's events: {error.strerror}") from error
        self._socket = made

    def close(self) -> None:
        """Hear no more; the socket may be opened again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def fileno(self) -> int:
        """The descriptor, to wait for."""
        return self._opened.fileno()

    def read(self) -> bytes | None:
        """One datagram, empty when none waits; None when some were lost."""
        try:
            return self._opened.recv(LARGEST_DATAGRAM)
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno == ENOBUFS:
                return None
            raise DataplaneError(f"hear the kernel's events: {error.strerror}") from error

    @property
    def _opened(self) -> socket.socket:
        if self._socket is None:
            raise DataplaneError("the socket for the kernel's events is not open")
        return self._socket


def own_ports() -> frozenset[int]:
    """The ports of all netlink sockets that this process has open.

    Libraries of ours open some that cannot be asked for theirs.
    """
    inodes: set[str] = set()
    for name in os.listdir(DESCRIPTORS):
        # A descriptor may be closed meanwhile by another thread.
        with suppress(FileNotFoundError):
            target = os.readlink(DESCRIPTORS / name)
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    lines = SOCKETS.read_text().splitlines()[1:]
    columns = (line.split() for line in lines)
    return frozenset(int(each[2]) & 0xFFFFFFFF for each in columns if each[-1] in inodes)
