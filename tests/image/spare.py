"""A machine of its own for what a page has an operator type as root.

Network, process ids and all directories that the pages write to are its own;
its programs are this machine's, read through the same paths.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

#: Its addresses, those that the pages take for examples.
ETCD, MARATHON, HOST = "10.0.0.1", "10.0.0.2", "10.0.0.7"
END = "==the end of an answer=="

#: `$1` is an empty directory.
SETUP = f"""
set -e
root=$1
mount --make-rprivate /
mount -t tmpfs tmpfs "$root"
for each in /*; do
    name=${{each#/}}
    case $name in calico | etc | opt | proc | run | var) continue ;; esac
    if [ -L "$each" ]; then ln -s "$(readlink "$each")" "$root/$name"
    elif [ -d "$each" ]; then mkdir "$root/$name"; mount --rbind "$each" "$root/$name"
    fi
done
mkdir -p "$root/opt" "$root/run" "$root/var/lib" "$root/var/tmp" "$root/proc"
for each in /opt/*; do
    case $each in */marathon-calico | */cni | '/opt/*') continue ;; esac
    [ -d "$each" ] || continue
    mkdir "$root$each"; mount --rbind "$each" "$root$each"
done
cp -a /etc "$root/etc" 2>/dev/null || true
mount -t proc proc "$root/proc"
ip link set lo up
ip link add under0 type veth peer name rest0
ip link set under0 up
ip link set rest0 up
for each in {HOST} {ETCD} {MARATHON}; do ip addr add $each/24 dev under0; done
ip route add default via 10.0.0.254
exec chroot "$root" /bin/sh
"""


class SpareMachine:
    """A root's shell there; it takes one command after the other."""

    def __init__(self, shell: "subprocess.Popen[str]") -> None:
        self._shell = shell

    def run(self, command: str, code: int = 0) -> str:
        """What a command says, on either stream."""
        said, ended = self.attempt(command)
        assert ended == code, f"{command}\n{said}"
        return said

    def attempt(self, command: str) -> tuple[str, int]:
        """What it says, and how it ends."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(
            f"{{ {command}\n}} </dev/null 2>&1; code=$?; echo; echo '{END}' $code\n"
        )
        self._shell.stdin.flush()
        lines = []
        for line in self._shell.stdout:
            if line.startswith(END):
                return "".join(lines), int(line.removeprefix(END))
            lines.append(line)
        raise AssertionError(f"the machine ended at: {command}\n{''.join(lines)}")

    def begin(self, command: str, log: str) -> None:
        """Start a command in the background, its words in a file there."""
        self.run(f"{command} >/var/tmp/{log} 2>&1 &")

    def write(self, path: str, text: str) -> None:
        """Put a file there."""
        self.run(f"mkdir -p {os.path.dirname(path)}; cat >{path} <<'{END}'\n{text}\n{END}")


@contextmanager
def running_spare_machine(
    root: Path, place: Path, environment: Mapping[str, str]
) -> Iterator[SpareMachine]:
    """A fresh one, whose shell is in a directory; skips where none can be made."""
    root.mkdir()
    apart = ["--mount", "--net", "--pid", "--fork", "--kill-child"]
    if os.geteuid() != 0:
        apart += ["--user", "--map-root-user"]
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    shell = subprocess.Popen(
        [shutil.which("unshare") or "unshare", *apart, "/bin/sh", "-c", SETUP, "sh", str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": path, "HOME": "/var/tmp", **environment},
    )
    try:
        machine = SpareMachine(shell)
        try:
            machine.run(f"cd {place}")
        except (AssertionError, BrokenPipeError) as error:
            pytest.skip(f"this machine lets nobody make another one: {error}")
        yield machine
    finally:
        shell.kill()
        shell.communicate()
