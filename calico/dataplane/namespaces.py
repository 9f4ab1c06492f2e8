"""Whose a network namespace is, and how to enter it without being fooled.

A pid is only a hint: it may be reused between any two system calls. What is
looked at is therefore held by a pidfd, and compared once more when the
namespace itself is held by a descriptor. A path is a hint too, and some
namespaces have no process: there the kernel's own cookie decides.
"""

import ctypes
import fcntl
import os
import select
import socket
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from calico.dataplane.changes import NamespaceRef
from calico.errors import DataplaneError, NamespaceGone, NamespaceRefused

CLONE_NEWNET = 0x40000000
NS_GET_NSTYPE = 0xB703
SO_NETNS_COOKIE = 71
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

_libc = ctypes.CDLL(None, use_errno=True)


def identify(pid: int) -> NamespaceRef:
    """Name the network namespace of a process; raises NamespaceGone, NamespaceRefused."""
    with _held(pid) as pidfd:
        descriptor = _open(pid)
        try:
            inode, cookie = os.fstat(descriptor).st_ino, _cookie(descriptor)
            ref = NamespaceRef(pid=pid, start_time=_start_time(pid), inode=inode, cookie=cookie)
        finally:
            os.close(descriptor)
        _expect_alive(pid, pidfd)
        return ref


def identify_opened(descriptor: int, path: str = "") -> NamespaceRef:
    """Name the network namespace behind a descriptor; raises NamespaceRefused.

    It can be found again at `path`, or where a process is in it. The name has
    no descriptor: whoever keeps one open adds it.
    """
    try:
        kind = fcntl.ioctl(descriptor, NS_GET_NSTYPE)
        inode = os.fstat(descriptor).st_ino
    except OSError as error:
        raise NamespaceRefused("what was given is no network namespace") from error
    if kind != CLONE_NEWNET:
        raise NamespaceRefused("what was given is no network namespace")
    return NamespaceRef(pid=0, start_time=0, inode=inode, cookie=_cookie(descriptor), path=path)


def devices_inside(descriptor: int) -> frozenset[str]:
    """The names of all devices in a namespace; raises DataplaneError."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with entered(descriptor, home):
            return frozenset(name for _, name in socket.if_nameindex())
    finally:
        os.close(home)


def open_of_process(pid: int) -> int:
    """A descriptor of a process' network namespace; raises as `identify` does."""
    with _held(pid) as pidfd:
        descriptor = _open(pid)
        try:
            _expect_alive(pid, pidfd)
        except NamespaceGone:
            os.close(descriptor)
            raise
        return descriptor


def now() -> int:
    """This moment, counted as the start times of processes are."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) * TICKS_PER_SECOND // 1_000_000_000


@contextmanager
def opened(ref: NamespaceRef, own: Collection[int]) -> Iterator[int]:
    """A descriptor of exactly the namespace that was named; closed afterwards.

    `own` are namespaces that are no task's, see not_for_tasks.

    Raises NamespaceGone when the process ended or its pid is another's now, or
    it is nowhere to be found; NamespaceRefused when it is not a task's own.
    """
    if ref.pid == 0:
        descriptor = _found(ref)
        try:
            if ref.inode in own:
                raise NamespaceRefused("it is the network namespace of the host")
            yield descriptor
        finally:
            os.close(descriptor)
        return
    with _held(ref.pid) as pidfd:
        before = _start_time(ref.pid)
        try:
            descriptor = os.open(f"/proc/{ref.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _unreadable(ref.pid, error) from error
        try:
            _expect_alive(ref.pid, pidfd)
            if before != ref.start_time or _start_time(ref.pid) != ref.start_time:
                raise NamespaceGone(f"process {ref.pid} ended; its number is another's now")
            inode = os.fstat(descriptor).st_ino
            if inode != ref.inode:
                raise NamespaceGone(f"process {ref.pid} is in another network namespace now")
            if inode in own:
                raise NamespaceRefused(
                    f"process {ref.pid} is in the network namespace of the host, not in its own"
                )
            yield descriptor
        finally:
            os.close(descriptor)


def not_for_tasks() -> frozenset[int]:
    """The namespaces of the agent, of its parent and of pid 1."""
    owners = ("thread-self", "self", str(os.getppid()), "1")
    inodes = []
    for owner in owners:
        # What may not be looked at may not be entered either, by the same right.
        with suppress(OSError):
            inodes.append(os.stat(f"/proc/{owner}/ns/net").st_ino)
    return frozenset(inodes)


def still_held(refs: Iterable[NamespaceRef]) -> frozenset[NamespaceRef]:
    """Those of the namespaces that some process is still in, or that lie at their path."""
    wanted: dict[int, list[NamespaceRef]] = {}
    for ref in refs:
        wanted.setdefault(ref.inode, []).append(ref)
    found: set[NamespaceRef] = set()
    for path in (*_paths(ref for many in wanted.values() for ref in many), *_of_processes(wanted)):
        with suppress(OSError):
            found.update(_held_by(path, wanted))
    return frozenset(found)


def _paths(refs: Iterable[NamespaceRef]) -> Iterator[str]:
    return (ref.path for ref in refs if ref.path)


def _of_processes(wanted: Mapping[int, object]) -> Iterator[str]:
    for entry in os.listdir("/proc") if wanted else ():
        if entry.isdigit():
            yield f"/proc/{entry}/ns/net"


def _found(ref: NamespaceRef) -> int:
    """A descriptor of a namespace that no process speaks for; the caller closes it.

    Without a cookie only an open descriptor tells it from a later namespace
    with the same number.
    """
    if ref.descriptor >= 0:
        descriptor = os.dup(ref.descriptor)
        if os.fstat(descriptor).st_ino == ref.inode:
            return descriptor
        os.close(descriptor)
    elif ref.cookie:
        for path in (*_paths((ref,)), *_of_processes({ref.inode: ref})):
            with suppress(OSError):
                if os.stat(path).st_ino != ref.inode:
                    continue
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                if _cookie(descriptor) == ref.cookie and os.fstat(descriptor).st_ino == ref.inode:
                    return descriptor
                os.close(descriptor)
    raise NamespaceGone("its network namespace is nowhere to be found")


def _held_by(path: str, wanted: Mapping[int, list[NamespaceRef]]) -> Iterator[NamespaceRef]:
    """Those that one process is in; what cannot be told from it counts as held."""
    inode = os.stat(path).st_ino
    if inode not in wanted:
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        cookie = _cookie(descriptor)
    finally:
        os.close(descriptor)
    for ref in wanted[inode]:
        if 0 in (cookie, ref.cookie) or cookie == ref.cookie:
            yield ref


def _cookie(descriptor: int) -> int:
    """What no other namespace of this boot has; 0 where it cannot be read."""
    with suppress(OSError, DataplaneError):
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with entered(descriptor, home), socket.socket(socket.AF_INET) as inside:
                return int.from_bytes(
                    inside.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), sys.byteorder
                )
        finally:
            os.close(home)
    return 0


@contextmanager
def entered(descriptor: int, home: int) -> Iterator[None]:
    """Run the body with the calling thread in a namespace, then bring it home.

    A thread that cannot come home would change a task's namespace in place of
    the host's from then on, so the process ends at once, as if it were killed.
    """
    _enter(descriptor)
    try:
        yield
    finally:
        try:
            _enter(home)
        except DataplaneError as error:
            os.write(2, f"cannot come back to the host: {error}\n".encode())
            os._exit(os.EX_OSERR)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise DataplaneError(f"cannot enter a network namespace: {os.strerror(number)}")


@contextmanager
def _held(pid: int) -> Iterator[int]:
    try:
        pidfd = os.pidfd_open(pid)
    except (OSError, ValueError) as error:
        raise NamespaceGone(f"process {pid} ended") from error
    try:
        yield pidfd
    finally:
        os.close(pidfd)


def _open(pid: int) -> int:
    try:
        return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(pid, error) from error


def _expect_alive(pid: int, pidfd: int) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if poll.poll(0):
        raise NamespaceGone(f"process {pid} ended")


def _start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat, in clock ticks since boot.

    The name in field 2 is the process's own choice and may hold blanks and
    parentheses, so fields are counted from the last closing parenthesis.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        return int(stat.rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError) as error:
        raise NamespaceGone(f"process {pid} ended") from error


def _unreadable(pid: int, error: OSError) -> DataplaneError:
    if isinstance(error, PermissionError):
        return NamespaceRefused(f"no right to look at the network namespace of process {pid}")
    return NamespaceGone(f"process {pid} ended")
