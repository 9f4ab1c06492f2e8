"""One host in the engine's own network namespace: the product from its image, the rest real.

What a container on the host's network sees is the namespace that the engine
runs in, with etcd and a minimal Marathon on its loopback.
"""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.image.images import IMAGE, call, environment
from tests.kernel.docker import Docker
from tests.minimal.machine import ADDRESS, HOST, Machine, running_machine

#: All that an agent may do, as README, docs/docker.md and docker-compose.yml say.
CAPABILITIES = ("NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE")
LOCKED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")


@dataclass
class Host:
    """A machine whose controller and agent are containers."""

    docker: Docker
    machine: Machine
    directory: Path
    names: list[str] = field(default_factory=list)

    def run(self, name: str, flags: Sequence[str], image: str, *words: str) -> None:
        """Start a container on the host's network, in the background."""
        self.names.append(name)
        call(self.docker, "run", "--detach", "--name", name, *flags, image, *words)

    def start_controller(self) -> None:
        """As it is meant to be run: as nobody, with no capability, on a root that is sealed."""
        self.run(
            "controller",
            (*LOCKED, "--network=host"),
            IMAGE,
            *("controller", "--etcd", self.machine.etcd, "--marathon", self.machine.marathon.url),
            *("--listen", "127.0.0.1:0"),
        )

    def start_agent(self, *flags: str, capabilities: Sequence[str] = CAPABILITIES) -> None:
        """As docs/docker.md says, with these capabilities and no other."""
        self.run(
            "agent",
            (
                *(*LOCKED, "--security-opt=apparmor=unconfined", "--user=0:0"),
                *("--network=host", "--pid=host"),
                *(f"--cap-add={each}" for each in capabilities),
                # Else /proc/sys is for reading only.
                "--security-opt=systempaths=unconfined",
                f"--volume={self.state}:/var/lib/marathon-calico",
                f"--volume={self.sockets}:/run/marathon-calico",
            ),
            IMAGE,
            *("agent", "--etcd", self.machine.etcd, "--host", HOST, "--address", ADDRESS),
            *("--mesos-agent", self.machine.mesos.url, "--listen", "127.0.0.1:0", *flags),
        )

    @property
    def state(self) -> Path:
        """What the agent keeps."""
        return self.directory / "state"

    @property
    def sockets(self) -> Path:
        """Where the agent listens for plugins."""
        return self.directory / "sockets"

    def pid_of(self, name: str) -> int:
        """The first process of a container as the machine counts, 0 if it does not run."""
        return self.docker.pid_of(name)

    def told(self, name: str) -> str:
        """What a container wrote on standard error, where logs go."""
        done = subprocess.run(
            ["docker", "logs", name],
            env=environment(self.docker),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        return done.stderr

    def wait_for(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait until something holds; what the containers wrote is shown if it never does."""
        try:
            self.machine.wait_for(what, holds)
        except AssertionError as error:
            logs = "\n".join(f"--- {each}\n{self.told(each)[-3000:]}" for each in self.names)
            raise AssertionError(f"{error}\n{logs}") from None

    def end(self) -> None:
        """Remove every container."""
        if self.names:
            call(self.docker, "rm", "--force", "--volumes", *self.names)
            self.names.clear()


@contextmanager
def running_host(docker: Docker, directory: Path) -> Iterator[Host]:
    """A host on which nothing of the product runs yet.

    The calling thread is in the engine's network namespace meanwhile.
    """
    with docker.home.entered(), running_machine(directory) as machine:
        host = Host(docker, machine, directory)
        for each in (host.state, host.sockets):
            each.mkdir()
        try:
            yield host
        finally:
            host.end()
