"""Bind mounts, as a Mesos agent keeps hold of its containers' namespaces."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

MS_BIND = 0x1000
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def bind(source: str, target: Path) -> None:
    """Let `target` show `source`; raises OSError that names the target."""
    done = _libc.mount(source.encode(), str(target).encode(), None, ctypes.c_ulong(MS_BIND), None)
    _check(done, target)


def unbind(target: Path) -> None:
    """Take a bind mount away, or nothing if there is none."""
    if is_mounted(target):
        _check(_libc.umount2(str(target).encode(), MNT_DETACH), target)


def is_mounted(target: Path) -> bool:
    """Whether something is mounted there, however it is mounted."""
    with contextlib.suppress(OSError):
        mounted = Path("/proc/self/mountinfo").read_text().splitlines()
        # Blanks and the like are written as octal numbers there.
        name = str(target.resolve()).replace("\\", "\\134").replace(" ", "\\040")
        return any(line.split(" ")[4] == name for line in mounted)
    return False


def _check(result: int, target: Path) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(target))
