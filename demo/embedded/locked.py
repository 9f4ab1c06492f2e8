"""A cluster's directory belongs to whoever holds the lock in it."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

from demo.embedded.directory import LOG_NAME, forget

LOCK_NAME = "lock"


class LaunchError(Exception):
    """There is no cluster, for the reason given; `log` tells more, while it is there."""

    def __init__(self, reason: str, log: Path | None = None) -> None:
        super().__init__(reason)
        self.log = log


class AlreadyRunningError(Exception):
    """The directory belongs to a cluster that runs."""


def take(directory: Path) -> int:
    """Make the directory if need be and lock it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise LaunchError(f"{directory} must be a directory that only its owner may enter")
    path = directory / LOCK_NAME
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it may have removed it meanwhile: then it locks nothing.
        current = path.exists() and os.path.samestat(os.fstat(lock), path.stat())
    except OSError as error:
        os.close(lock)
        raise AlreadyRunningError(f"a cluster runs already in {directory}") from error
    if not current:
        os.close(lock)
        raise AlreadyRunningError(f"a cluster is just being ended in {directory}; try again")
    return lock


def remove(directory: Path) -> None:
    """Remove what an ended cluster left, and the directory unless something else is in it.

    Nothing is touched if somebody starts the next cluster there already.
    """
    try:
        lock = take(directory)
    except (AlreadyRunningError, LaunchError):
        return
    try:
        forget(directory)
        for name in (LOG_NAME, LOCK_NAME):
            (directory / name).unlink(missing_ok=True)
        with suppress(OSError):
            directory.rmdir()
    finally:
        os.close(lock)
