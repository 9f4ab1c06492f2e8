"""A real Docker engine of the test's own, with nothing but containers on it.

It has its own directory, network namespace, cgroup and socket. Everything ends
with it: containers, shims, mounts, directory.
"""

import io
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.kernel.namespaces import Joined, Namespace, adopt_orphans

SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
MISSING = "Docker is missing: apt-get install docker.io busybox-static"
PATIENCE = 30.0
IMAGE = "marathon-calico/test:1"
#: Seconds after which a container that nobody ends is over by itself.
LONGEST_LIFE = "300"


def require_docker() -> None:
    """Skip where no engine can run."""
    if not all(shutil.which(each, path=SBIN) for each in ("dockerd", "docker", "busybox")):
        pytest.skip(MISSING)
    if not is_root_of_machine():
        pytest.skip("Docker's engine runs only as the machine's root")


def is_root_of_machine() -> bool:
    everybody = Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]
    return everybody and os.geteuid() == 0


class EngineEnded(Exception):
    """The engine did not stay up."""


@dataclass
class Docker:
    """One engine, which can be stopped and started."""

    directory: Path
    home: Namespace
    #: `vfs` runs anywhere, `overlay2` is much faster with large images.
    storage: str = "vfs"
    process: subprocess.Popen[bytes] | None = None
    runs: list[str] = field(default_factory=list)

    @property
    def socket(self) -> Path:
        """Where its API is."""
        return self.directory / "d.sock"

    @property
    def cgroup(self) -> str:
        """What its containers are below."""
        return self.directory.name

    def start(self) -> None:
        """Start it, in its own network namespace, and wait until it answers."""
        flags = {
            "data-root": self.directory / "root",
            "exec-root": self.directory / "exec",
            "pidfile": self.directory / "pid",
            "host": f"unix://{self.socket}",
            "config-file": self.directory / "daemon.json",
            "cgroup-parent": f"/{self.cgroup}",
            "exec-opt": "native.cgroupdriver=cgroupfs",
            "storage-driver": self.storage,
            "bip": "172.31.98.1/24",
        } | dict.fromkeys(("iptables", "ip6tables", "ip-forward", "ip-masq"), "false")
        adopt_orphans(True)
        (self.directory / "daemon.json").write_text('{"live-restore": true}')
        with (self.directory / "log").open("ab") as log, self.home.entered():
            self.process = subprocess.Popen(
                ["dockerd", *(f"--{name}={value}" for name, value in flags.items())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self._environment(),
            )
        self._wait_for_answer()

    def load_image(self) -> None:
        """An image of one program."""
        rootfs = io.BytesIO()
        with tarfile.open(fileobj=rootfs, mode="w") as tar:
            # A directory that the engine has to think of lets in nobody without capabilities.
            directory = tarfile.TarInfo("bin")
            directory.type, directory.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(directory)
            tar.add(shutil.which("busybox", path=SBIN) or "", arcname="bin/busybox")
        self._try("import", "-", IMAGE, given=rootfs.getvalue()).check_returncode()

    def run(self, name: str, *flags: str, network: str = "none") -> Joined:
        """Start a container; its network, as long as it runs."""
        self.command(
            *("run", "--detach", "--name", name, "--network", network),
            *(*flags, IMAGE, "/bin/busybox", "sleep", LONGEST_LIFE),
        )
        self.runs.append(name)
        return Joined(self.pid_of(name))

    def pid_of(self, name: str) -> int:
        """The first process of a container, 0 if it does not run."""
        return int(self.command("inspect", "--format", "{{.State.Pid}}", name))

    def remove_all(self) -> None:
        """End and remove every container."""
        if self.runs:
            self.command("rm", "--force", *self.runs)
            self.runs.clear()

    def command(self, *words: str) -> str:
        """What one command of Docker's says."""
        done = self._try(*words)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def kill(self) -> None:
        """End the engine with no chance to tidy up; containers live on."""
        assert self.process is not None
        containerd = (self.directory / "exec/containerd/containerd.pid").read_text()
        self.process.kill()
        self.process.wait()
        self._wait_for(lambda: _has_ended(int(containerd)))

    def stop(self) -> None:
        """End the engine; containers live on."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()

    def end(self) -> None:
        """Leave nothing."""
        with suppress(AssertionError):
            self.remove_all()
        self.stop()
        for pid in processes_of(self.directory):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._wait_for(lambda: not processes_of(self.directory))
        _bury()
        adopt_orphans(False)
        for point in reversed(self._mounts()):
            subprocess.run(["umount", "--lazy", point], check=False)
        groups = Path("/sys/fs/cgroup")
        for each in (*groups.glob(f"*/{self.cgroup}"), *groups.glob(self.cgroup)):
            for directory, _, _ in os.walk(each, topdown=False):
                os.rmdir(directory)

    def _mounts(self) -> list[str]:
        lines = Path("/proc/self/mounts").read_text().splitlines()
        points = [line.split(" ")[1] for line in lines]
        return [point for point in points if point.startswith(f"{self.directory}/")]

    def _try(self, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["docker", "--host", f"unix://{self.socket}", *words],
            input=given,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
            env=self._environment(),
        )

    def _environment(self) -> dict[str, str]:
        return {"PATH": SBIN, "HOME": str(self.directory), "DOCKER_CONFIG": str(self.directory)}

    def _wait_for_answer(self) -> None:
        self._wait_for(lambda: self._ended() or self._try("version").returncode == 0)
        if self._ended():
            tail = (self.directory / "log").read_text().strip().splitlines()[-1:]
            raise EngineEnded(" ".join(tail))

    def _ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _wait_for(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, (self.directory / "log").read_text()[-3000:]
            time.sleep(0.05)


def processes_of(directory: Path) -> set[int]:
    """Processes that were started for what is in a directory, and their children."""
    words: dict[int, bytes] = {}
    parents: dict[int, int] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError, IndexError):
            words[int(entry)] = Path(f"/proc/{entry}/cmdline").read_bytes()
            stat = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            parents[int(entry)] = int(stat[1])
    ours = {pid for pid, line in words.items() if os.fsencode(directory) + b"/" in line}
    return (ours | {pid for pid, parent in parents.items() if parent in ours}) - {os.getpid()}


def _has_ended(pid: int) -> bool:
    _bury()
    return not Path(f"/proc/{pid}").exists()


def _bury() -> None:
    """Take leave of what the engine left behind and this process adopted.

    On a whole machine that is its init's part. An engine that finds the body of
    its containerd would wait for it to answer.
    """
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            name, _, rest = Path(f"/proc/{entry}/stat").read_text().rpartition(")")
            state, parent = rest.split()[:2]
            if (state, int(parent)) == ("Z", os.getpid()) and "(containerd" in name:
                os.waitpid(int(entry), 0)


@contextmanager
def running_docker(storage: str = "vfs") -> Iterator[Docker]:
    """A fresh engine with an image; skips where none can run."""
    require_docker()
    # A socket's path has 107 bytes, fewer than a test's own folder takes.
    directory = Path(tempfile.mkdtemp(prefix="mc-docker-", dir="/tmp"))
    home = Namespace.start()
    docker = Docker(directory, home, storage)
    try:
        try:
            docker.start()
        except EngineEnded as error:
            pytest.skip(f"this machine runs no Docker engine: {error}")
        docker.load_image()
        yield docker
    finally:
        docker.end()
        home.end()
        shutil.rmtree(directory)
