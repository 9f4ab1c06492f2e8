"""A real podman of the test's own, with our plugin as its only network.

Its images, containers, locks and mounts are in a directory and a mount
namespace that end with it; its containers are in the network namespace of the
test, which plays the host.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kernel.docker import SBIN, is_root_of_machine, processes_of
from tests.kernel.namespaces import Joined, adopt_orphans, unshare_mounts
from tests.minimal.machine import COMMAND

MISSING = "podman is missing: apt-get install podman runc busybox-static"
IMAGE = "localhost/marathon-calico/test:1"
NETWORK = "calico"
PATIENCE = 30.0
#: Seconds after which a container that nobody ends is over by itself.
LONGEST_LIFE = "300"
#: Where podman would otherwise share things with the machine's own.
SHARED = ("/run", "/dev/shm", "/var/lib")
CONTAINERS = """
[network]
network_backend = "cni"
cni_plugin_dirs = ["{0}/plugins"]
network_config_dir = "{0}/networks"
default_network = "{network}"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{0}/tmp"
[engine.runtimes]
runc = ["{runtime}"]
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"""
STORAGE = """
[storage]
driver = "vfs"
graphroot = "{0}/graph"
runroot = "{0}/run"
"""


#: In a user namespace no cgroup may be made and only one group is known.
UNPRIVILEGED = """#!{python} -IS
import json, os, sys
if "create" in sys.argv:
    path = sys.argv[sys.argv.index("--bundle") + 1] + "/config.json"
    with open(path) as file:
        spec = json.load(file)
    for each in ("cgroupsPath", "resources"):
        spec["linux"].pop(each, None)
    spec["mounts"] = [each for each in spec["mounts"] if each["type"] != "cgroup"]
    for mount in spec["mounts"]:
        options = mount.get("options", [])
        mount["options"] = [each for each in options if not each.startswith("gid=")]
    with open(path, "w") as file:
        json.dump(spec, file)
os.execv({runc!r}, ["runc", *sys.argv[1:]])
"""


def require_podman() -> None:
    """Skip where it is not installed."""
    if not all(shutil.which(each, path=SBIN) for each in ("podman", "runc", "conmon", "busybox")):
        pytest.skip(MISSING)


@dataclass
class Podman:
    """One podman; `keeper` holds its mounts."""

    directory: Path
    keeper: subprocess.Popen[bytes]

    def run(self, name: str, *flags: str) -> Joined:
        """Start a container on our network; its network namespace, as long as it runs."""
        self.command(
            *("run", "--detach", "--name", name, "--network", NETWORK),
            *("--cgroup-parent", f"/{self.directory.name}"),
            *(*flags, IMAGE, "/bin/busybox", "sleep", LONGEST_LIFE),
        )
        return Joined(int(self.inspect(name, "{{.State.Pid}}")))

    def id_of(self, name: str) -> str:
        """By what the plugin knows a container."""
        return self.inspect(name, "{{.Id}}")

    def inspect(self, name: str, form: str) -> str:
        """One fact of a container."""
        return self.command("inspect", "--format", form, name)

    def remove(self, name: str) -> None:
        """End and remove a container."""
        self.command("rm", "--force", "--time", "0", name)

    def command(self, *words: str) -> str:
        """What one command of podman's says."""
        done = self.attempt(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def attempt(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command of podman's, whatever becomes of it."""
        return subprocess.run(
            ["nsenter", f"--mount=/proc/{self.keeper.pid}/ns/mnt", "podman", *words],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            env={
                "PATH": SBIN,
                "HOME": str(self.directory),
                "USER": "nobody",
                "CONTAINERS_CONF": str(self.directory / "containers.conf"),
                "CONTAINERS_STORAGE_CONF": str(self.directory / "storage.conf"),
            },
        )

    def load_image(self) -> None:
        """An image of one program."""
        root = self.directory / "root"
        (root / "bin").mkdir(parents=True)
        shutil.copy(shutil.which("busybox", path=SBIN) or "", root / "bin/busybox")
        archive = shutil.make_archive(str(self.directory / "image"), "tar", root)
        done = self.attempt("import", archive, IMAGE)
        if done.returncode:
            pytest.skip(f"this machine runs no podman: {done.stderr.strip().splitlines()[-1]}")

    def end(self) -> None:
        """Leave nothing."""
        with suppress(subprocess.TimeoutExpired):
            self.attempt("rm", "--all", "--force", "--time", "0")
        for pid in processes_of(self.directory):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _bury_monitors()
        adopt_orphans(False)
        # The mounts go with the last process that has them.
        self.keeper.kill()
        self.keeper.wait()
        for each in Path("/sys/fs/cgroup").glob(f"**/{self.directory.name}"):
            for directory, _, _ in os.walk(each, topdown=False):
                os.rmdir(directory)
        shutil.rmtree(self.directory)


def _runtime(directory: Path) -> str:
    """What starts a container: runc, told less where less is allowed."""
    runc = shutil.which("runc", path=SBIN) or ""
    if is_root_of_machine():
        return runc
    wrapper = directory / "runc"
    wrapper.write_text(UNPRIVILEGED.format(python=sys.executable, runc=runc))
    wrapper.chmod(0o755)
    return str(wrapper)


def _bury_monitors() -> None:
    """Take leave of containers' monitors, which this process has adopted."""
    for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        with suppress(OSError):
            if Path(f"/proc/{child}/comm").read_text().strip() == "conmon":
                os.waitpid(int(child), 0)


@contextmanager
def running_podman(socket: Path) -> Iterator[Podman]:
    """Podman with an image and our plugin for the agent on this socket; skips where it cannot."""
    require_podman()
    directory = Path(tempfile.mkdtemp(prefix="mc-podman-", dir="/tmp"))
    for name, text in (("containers", CONTAINERS), ("storage", STORAGE)):
        (directory / f"{name}.conf").write_text(
            text.format(directory, network=NETWORK, runtime=_runtime(directory))
        )
    adopt_orphans(True)
    # Popen returns after exec, hence after the mounts are its own.
    keeper = subprocess.Popen(["sleep", "infinity"], preexec_fn=unshare_mounts)  # noqa: PLW1509 - see above
    podman = Podman(directory, keeper)
    try:
        inside = ["nsenter", f"--mount=/proc/{keeper.pid}/ns/mnt"]
        for each in SHARED:
            subprocess.run([*inside, "mount", "-t", "tmpfs", "none", each], check=True)
        subprocess.run(
            [
                *(COMMAND, "cni", "install", "--runtime", "podman", "--network", NETWORK),
                *("--plugins-dir", str(directory / "plugins")),
                *("--config-dir", str(directory / "networks"), "--socket", str(socket)),
            ],
            check=True,
            capture_output=True,
        )
        podman.load_image()
        yield podman
    finally:
        podman.end()
