"""Kernel settings below /proc/sys/net, read and written as text."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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


@contextmanager
def opened_tree() -> Iterator[int]:
    """A descriptor of the calling thread's settings, to write many of them.

    The kernel finds /proc/sys/net by looking at those of all namespaces: with a
    thousand it takes longer than all else.
    """
    try:
        tree = os.open(ROOT / "net", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise DataplaneError(f"open the settings: {error.strerror}") from error
    try:
        yield tree
    finally:
        os.close(tree)


def write(path: str, value: str, tree: int | None = None) -> None:
    """Set one value, of those below a tree or of the calling thread's; raises DataplaneError."""
    parts = path.split("/")
    if parts[0] != "net" or ".." in parts:
        raise DataplaneError(f"{path} is no network setting")
    try:
        # Without Python's own files, which cost more than the kernel's part.
        place = f"{ROOT}/{path}" if tree is None else path.removeprefix("net/")
        setting = os.open(place, os.O_WRONLY | os.O_CLOEXEC, dir_fd=tree)
        try:
            os.write(setting, value.encode())
        finally:
            os.close(setting)
    except OSError as error:
        raise DataplaneError(f"write {path}: {error.strerror}") from error


def has_ipv6() -> bool:
    """Whether the kernel speaks IPv6 in the calling thread's namespace."""
    return (ROOT / "net/ipv6/conf/all").is_dir()
