"""The agent's socket file: whose it is, and how a dead agent's is replaced."""

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Connections that wait to be accepted: a host starts so many containers at once.
BACKLOG = 256
LONGEST_PATH = 107


class SocketTaken(Exception):
    """The socket cannot be listened on; the message names the path and the remedy."""


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """Listen on a socket file that only its owner may use, and take it away afterwards.

    A lock beside it tells a live agent's from what a dead one left: the kernel
    gives the lock up with the process. Raises SocketTaken.
    """
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise SocketTaken(f"--socket {path}: a socket's path has {LONGEST_PATH} bytes at most")
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with _locked(path.with_name(path.name + ".lock"), path):
            _remove_stale(path)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                # The file has this mode from its first moment on.
                os.fchmod(listener.fileno(), 0o600)
                listener.bind(str(path))
                listener.listen(BACKLOG)
                try:
                    yield listener
                finally:
                    path.unlink(missing_ok=True)
    except OSError as error:
        raise SocketTaken(f"--socket {path}: {error.strerror or error}") from error


@contextmanager
def _locked(lock: Path, path: Path) -> Iterator[None]:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(lock, flags, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SocketTaken(
                f"--socket {path}: another agent listens on it; give each agent one of its own"
            ) from error
        yield
    finally:
        os.close(descriptor)


def _remove_stale(path: Path) -> None:
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise SocketTaken(f"--socket {path}: there is a file of another kind")
        path.unlink()
