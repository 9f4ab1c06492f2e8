"""Linux namespaces by ctypes: Python 3.11 has neither unshare, setns nor mount."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

#: Everything that the cluster has of its own, but for the user namespace.
CLUSTER = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
#: What a host in the cluster has of its own.
HOST = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWNET

MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
PR_SET_PDEATHSIG = 1

#: In the order in which they have to be joined: the user namespace gives the right to the rest.
JOIN_ORDER = ("user", "pid", "uts", "ipc", "mnt", "net")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
)
_libc.prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The step that the machine refused and the errno it gave."""

    step: str
    code: int


class NamespacesRefusedError(Exception):
    """The machine does not let this user have namespaces of their own."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.step}: {os.strerror(refusal.code)}")
        self.refusal = refusal


def unshare(flags: int) -> None:
    """Move the caller into new namespaces of the given kinds; raises OSError."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def join(descriptor: int) -> None:
    """Move the calling thread into the namespace behind a descriptor; raises OSError."""
    _check(_libc.setns(ctypes.c_int(descriptor), ctypes.c_int(0)), "setns")


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """The system call of that name; raises OSError that names the target."""
    result = _libc.mount(
        source.encode(),
        target.encode(),
        None if kind is None else kind.encode(),
        flags,
        options.encode() or None,
    )
    _check(result, target)


def bind(source: Path, target: Path) -> None:
    """Let `target` show the file `source`."""
    mount(str(source), str(target), None, MS_BIND)


def mount_private_run() -> None:
    """Give the caller's mount namespace an empty /run, and keep its mounts to itself."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")


def end_with_parent() -> None:
    """Have the kernel kill this process when the one that made it ends."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def isolate() -> None:
    """Enter new namespaces of every kind; the caller's next child is their first process.

    Without a right to user namespaces root does with the other kinds.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        unshare(CLONE_NEWUSER | CLUSTER)
    except OSError as error:
        if uid != 0:
            raise NamespacesRefusedError(Refusal("user namespace", _code(error))) from error
        try:
            unshare(CLUSTER)
        except OSError as second:
            raise NamespacesRefusedError(Refusal("namespaces", _code(second))) from second
        return
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    except OSError as error:
        raise NamespacesRefusedError(Refusal("user mapping", _code(error))) from error


def prepare_first_process() -> None:
    """Mount what the first process of the new namespaces needs: /proc and /run of its own."""
    try:
        mount_private_run()
    except OSError as error:
        raise NamespacesRefusedError(Refusal("mount /run", _code(error))) from error
    try:
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError as error:
        raise NamespacesRefusedError(Refusal("mount /proc", _code(error))) from error


@contextmanager
def network_of(pid: int) -> Iterator[None]:
    """Run the body in the network namespace of a process, in the calling thread only."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        other = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            join(other)
        finally:
            os.close(other)
        try:
            yield
        finally:
            join(own)
    finally:
        os.close(own)


def open_namespaces(pid: int) -> dict[str, int]:
    """Descriptors of the namespaces of a process, by kind."""
    opened: dict[str, int] = {}
    try:
        for kind in JOIN_ORDER:
            opened[kind] = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        for descriptor in opened.values():
            os.close(descriptor)
        raise
    return opened


def join_all(descriptors: Mapping[str, int]) -> None:
    """Move the calling process, which must have one thread, into the given namespaces.

    Kinds that it is in already are passed over: the kernel refuses to enter
    one's own user namespace. Of the pid namespace only children become part.
    """
    # Looked up before the first step: in another mount namespace /proc is another.
    foreign = [
        kind for kind in JOIN_ORDER if kind in descriptors and not _is_own(kind, descriptors[kind])
    ]
    for kind in foreign:
        join(descriptors[kind])


def fork(child: Callable[[], NoReturn]) -> int:
    """Fork; the child runs the given function and never returns from here."""
    pid = os.fork()
    if pid:
        return pid
    try:
        child()
    except BaseException as error:  # A forked child must not go on with its parent's code.
        os.write(2, f"{error!r}\n".encode())
    finally:
        os._exit(127)


def _is_own(kind: str, descriptor: int) -> bool:
    name = "pid_for_children" if kind == "pid" else kind
    own, other = os.stat(f"/proc/self/ns/{name}"), os.fstat(descriptor)
    return (own.st_dev, own.st_ino) == (other.st_dev, other.st_ino)


def _code(error: OSError) -> int:
    return error.errno or errno.EPERM


def _check(result: int, subject: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), subject)
