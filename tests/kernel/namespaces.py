"""Network namespaces for tests: fresh ones, and sockets that live in them.

A socket belongs for life to the namespace of the thread that made it. So a
test enters a namespace only for as long as it takes to make a socket, and all
probing goes on in the test's own thread: no child processes but one sleeper
that keeps each namespace alive.
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from calico.dataplane.changes import NamespaceRef

CLONE_NEWNET = 0x40000000
CLONE_NEWNS = 0x00020000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 1 << 18
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare_network() -> None:
    """Move the calling thread into a fresh network namespace."""
    _check(_libc.unshare(CLONE_NEWNET), "unshare")


def enter_network(descriptor: int) -> None:
    """Move the calling thread into the network namespace of a descriptor."""
    _check(_libc.setns(descriptor, CLONE_NEWNET), "setns")


def unshare_mounts() -> None:
    """Give the calling process mounts of its own, which nobody else sees."""
    _check(_libc.unshare(CLONE_NEWNS), "unshare")
    _check(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount")


def adopt_orphans(adopt: bool) -> None:
    """Whether processes whose parents end become children of this one."""
    _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0), "prctl")


def bind_file(source: Path, target: Path) -> None:
    """Let a file stand in the place of another one, for those with the same mounts."""
    paths = os.fsencode(source), os.fsencode(target)
    _check(_libc.mount(*paths, None, MS_BIND, None), "mount")


def open_own_network() -> int:
    """A descriptor of the calling thread's namespace; the caller closes it."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def fresh_network() -> Iterator[None]:
    """Run the body in a namespace of its own, with loopback up, and come back."""
    before = open_own_network()
    try:
        unshare_network()
        try:
            raise_loopback()
            yield
        finally:
            enter_network(before)
    finally:
        os.close(before)


def raise_loopback() -> None:
    """Bring `lo` up in the calling thread's namespace."""
    siocgifflags, siocsifflags, iff_up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(sock, siocgifflags, request), 16)
        fcntl.ioctl(sock, siocsifflags, struct.pack("16sh14x", b"lo", flags | iff_up))


@contextmanager
def _inside(pid: int) -> Iterator[None]:
    before = open_own_network()
    inside = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter_network(inside)
        try:
            yield
        finally:
            enter_network(before)
    finally:
        os.close(inside)
        os.close(before)


@dataclass
class Namespace:
    """A network namespace kept alive by one sleeping process."""

    keeper: subprocess.Popen[bytes]
    _sockets: list[socket.socket] = field(default_factory=list)

    @classmethod
    def start(cls) -> "Namespace":
        """Make one; its keeper dies with the test process."""

        def prepare() -> None:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            unshare_network()
            raise_loopback()

        # Popen returns after exec, hence after the namespace exists.
        keeper = subprocess.Popen(["sleep", "infinity"], preexec_fn=prepare)  # noqa: PLW1509 - see above
        return cls(keeper)

    @property
    def pid(self) -> int:
        return self.keeper.pid

    @property
    def ref(self) -> NamespaceRef:
        """How the product names this namespace."""
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        start_time = int(stat.rpartition(")")[2].split()[19])
        return NamespaceRef(self.pid, start_time, os.stat(f"/proc/{self.pid}/ns/net").st_ino)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Run the body with this thread inside the namespace."""
        with _inside(self.pid):
            yield

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket that lives in this namespace; closed with it."""
        with self.entered():
            made = socket.socket(family, kind, protocol)
        self._sockets.append(made)
        return made

    def end(self) -> None:
        """Let the namespace go: its sockets, its keeper."""
        for made in self._sockets:
            made.close()
        self.keeper.kill()
        self.keeper.wait()


@dataclass(frozen=True)
class Joined:
    """The network namespace of a process that somebody else keeps."""

    pid: int

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Run the body with this thread inside the namespace."""
        with _inside(self.pid):
            yield

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket that lives in this namespace; whoever asks closes it."""
        with self.entered():
            return socket.socket(family, kind, protocol)
