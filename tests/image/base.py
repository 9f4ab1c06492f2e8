"""Images of this machine's own files, in the place of some that are pulled elsewhere.

One has a Python, libnftables and busybox as the shell: the base of the product.
Another has no Python, but etcd: it is etcd's, and it idles as all the others.
"""

import io
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

from demo.embedded.etcd_binary import find_etcd
from tests.kernel.docker import SBIN

SHELL = (
    *("sh", "cat", "ip", "ls", "mkdir", "mount", "nsenter", "readlink", "rm", "sleep"),
    "unshare",
)
#: Parts of the library that nothing here needs, by name.
LEFT_OUT = {"__pycache__", "dist-packages", "idlelib", "site-packages", "test", "tests", "tkinter"}
#: Where Debian keeps what `python3 -m venv` installs.
DEBIANS_WHEELS = Path("/usr/share/python-wheels")
NFTABLES = "libnftables.so.1"
#: Parts of the C library that wheels may still name.
C_LIBRARY = ("libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1", "libutil.so.1")


def foreign_tree() -> bytes:
    """A root directory with a shell, etcd and no Python, as a tar archive."""
    etcd = Path(find_etcd())
    libraries = [(str(each).lstrip("/"), each) for each in _libraries([etcd])]
    return _tar([*_shell(), ("usr/local/bin/etcd", etcd), *libraries])


def python_tree() -> bytes:
    """A root directory as the Dockerfile wants its base to be, as a tar archive."""
    return _tar([*_shell(), *_python()])


def _tar(parts: list[tuple[str, Path | str | None]]) -> bytes:
    """Paths inside, each a copy of a file, a link by its text, or an open directory."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        # An engine that has to think of directories by itself lets only root in.
        for name in sorted({str(each) for path, _ in parts for each in Path(path).parents} - {"."}):
            tar.addfile(_directory(name, 0o755))
        for name, source in parts:
            if isinstance(source, Path):
                tar.add(source.resolve(), arcname=name, recursive=False)
            elif source is None:
                tar.addfile(_directory(name, 0o1777))
            else:
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = tarfile.SYMTYPE, source
                tar.addfile(entry)
    return archive.getvalue()


def _directory(name: str, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    return entry


def _shell() -> list[tuple[str, Path | str | None]]:
    busybox = Path(shutil.which("busybox", path=SBIN) or "busybox")
    links = [(f"bin/{each}", "busybox") for each in SHELL]
    return [("tmp", None), ("bin/busybox", busybox), *links]


def _python() -> Iterator[tuple[str, Path | str | None]]:
    interpreter = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}").resolve()
    library = Path(sysconfig.get_path("stdlib", vars={"base": sys.base_prefix}))
    yield "usr/local/bin/python3", str(interpreter)
    files = {interpreter, *DEBIANS_WHEELS.glob("*.whl")}
    for path in library.rglob("*"):
        inside = path.relative_to(library)
        if path.is_file() and LEFT_OUT.isdisjoint(inside.parts) and inside.suffix != ".a":
            files.add(path)
    files |= {_library(name) for name in (NFTABLES, *C_LIBRARY)}
    programs = [interpreter, *library.glob("lib-dynload/*.so"), _library(NFTABLES)]
    for path in sorted(files | _libraries(programs)):
        yield str(path).lstrip("/"), path


def _library(name: str) -> Path:
    """Where the machine has a library; it has all that is asked for here."""
    listed = subprocess.run(
        ["ldconfig", "-p"], env={"PATH": SBIN}, capture_output=True, text=True, check=True
    )
    found = [line.split(" => ")[1] for line in listed.stdout.splitlines() if name in line.split()]
    return Path(found[0])


def _libraries(programs: list[Path]) -> set[Path]:
    """What a program loads when it starts, its loader too."""
    listed = subprocess.run(
        ["ldd", *map(str, programs)], capture_output=True, text=True, check=False
    )
    words = listed.stdout.replace(":", " ").split()
    return {Path(word) for word in words if word.startswith("/") and ".so" in word} - set(programs)
