"""Kernel settings below /proc/sys/net, read and written as text."""

import os
from collections.abc import Iterable
from pathlib import Path

from calico.errors import DataplaneError

ROOT = Path("/proc/sys")


def of_host(underlay: str) -> tuple[str, ...]:
    """The settings that every host of ours has, whatever its pools."""
    return ("net/ipv4/ip_forward", f"net/ipv4/conf/{underlay}/src_valid_mark")


def read(paths: Iterable[str]) -> dict[str, str]:
    """Value by path; what this kernel does not have is left out.

    Below net/ the files show the calling thread's network namespace.
    """
    values: dict[str, str] = {}
    for path in paths:
        try:
            values[path] = (ROOT / path).read_text().strip()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise DataplaneError(f"read {path}: {error.strerror}") from error
    return values


def write(path: str, value: str) -> None:
    """Set one value; raises DataplaneError."""
    parts = path.split("/")
    if parts[0] != "net" or ".." in parts:
        raise DataplaneError(f"{path} is no network setting")
    try:
        # Without Python's own files, which cost more than the kernel's part.
        setting = os.open(f"{ROOT}/{path}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(setting, value.encode())
        finally:
            os.close(setting)
    except OSError as error:
        raise DataplaneError(f"write {path}: {error.strerror}") from error


def has_ipv6() -> bool:
    """Whether the kernel speaks IPv6 in the calling thread's namespace."""
    return (ROOT / "net/ipv6/conf/all").is_dir()
