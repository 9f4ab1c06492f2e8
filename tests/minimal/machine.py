"""One host in the test's own network namespace: etcd, controller, agent, all real."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from netaddr import IPAddress
from pyroute2 import IPRoute

from calico.codec import decode_endpoint, decode_status
from calico.datastore.etcd import EtcdDatastore
from calico.keys import ENDPOINTS, FELIX, parse_endpoint_key, parse_status_key
from calico.model import EndpointState
from tests.contract.real_etcd import running_etcd
from tests.minimal.marathon import MinimalMarathon, MinimalMesosAgent

COMMAND = str(Path(sys.executable).parent / "marathon-calico")
HOST = "host-1"
ADDRESS, GATEWAY = "172.31.99.1", "172.31.99.254"
PATIENCE = 20.0


@dataclass
class Machine:
    """A host that runs the product against the minimal Marathon."""

    directory: Path
    etcd: str
    marathon: MinimalMarathon
    mesos: MinimalMesosAgent
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    agent_flags: tuple[str, ...] = ()
    #: A command that runs the agent, as the last of its own arguments.
    agent_within: tuple[str, ...] = ()
    #: Process -> file with its user and password for etcd, where that asks who asks.
    credentials: dict[str, str] = field(default_factory=dict)
    #: Etcd's URL for the test's own questions, if they need a user.
    asked_as: str = ""

    @property
    def state(self) -> Path:
        """What the agent keeps on disk."""
        return self.directory / "state"

    @property
    def socket(self) -> Path:
        """Where the agent listens for plugins."""
        return self.directory / "agent.sock"

    def start(self, name: str) -> None:
        """Start the controller or the agent; its log is in the test's folder."""
        arguments = {
            "controller": ["--marathon", self.marathon.url, "--listen", "127.0.0.1:0"],
            "agent": [
                *("--host", HOST, "--address", ADDRESS, "--listen", "127.0.0.1:0"),
                *("--mesos-agent", self.mesos.url, "--state-dir", str(self.state)),
                *("--socket", str(self.socket)),
                *self.agent_flags,
            ],
        }[name]
        if name in self.credentials:
            arguments += ["--etcd-credentials", self.credentials[name]]
        within = self.agent_within if name == "agent" else ()
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*within, COMMAND, name, "--etcd", self.etcd, *arguments],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def kill(self, name: str) -> None:
        """kill -9 one process."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """End everything that was started."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the operator's commands."""
        return subprocess.run(
            [COMMAND, arguments[0], "--etcd", self.etcd, *arguments[1:]],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def addresses(self) -> dict[str, IPAddress]:
        """The address of each task that its agent reports as up."""
        store = EtcdDatastore([self.asked_as or self.etcd])
        up = set()
        for stored in store.list(FELIX).entries:
            endpoint = parse_status_key(stored.key)
            if endpoint and decode_status(stored.value).state is EndpointState.UP:
                up.add(endpoint)
        found = {}
        for stored in store.list(ENDPOINTS).entries:
            endpoint = parse_endpoint_key(stored.key)
            if endpoint in up:
                found[endpoint.workload] = decode_endpoint(endpoint, stored.value).addresses[0]
        return found

    def wait_for(self, what: str, holds: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait until something holds; the logs are shown if it never does."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if holds():
                return
            time.sleep(0.02)
        logs = "\n".join(
            f"--- {path.name}\n{path.read_text()[-3000:]}"
            for path in sorted(self.directory.glob("*.log"))
        )
        raise AssertionError(f"never came about: {what}\n{logs}")

    def wait_up(self, *tasks: str, patience: float = PATIENCE) -> dict[str, IPAddress]:
        """Wait until exactly these tasks are up; their addresses."""
        self.wait_for(f"up: {tasks}", lambda: self.addresses().keys() == set(tasks), patience)
        return self.addresses()


@contextmanager
def running_machine(directory: Path) -> Iterator[Machine]:
    """A host with an underlay and etcd; controller and agent are not started yet.

    The calling thread is in a network namespace made for the test.
    """
    with IPRoute() as routes:
        # The underlay: one end is the host's, the other stands for the rest.
        routes.link("add", ifname="under0", kind="veth", peer={"ifname": "rest0"})
        for name in ("under0", "rest0"):
            routes.link("set", index=routes.link_lookup(ifname=name)[0], state="up")
        index = routes.link_lookup(ifname="under0")[0]
        routes.addr("add", index=index, address=ADDRESS, prefixlen=24)
        routes.route("add", dst="0.0.0.0/0", gateway=GATEWAY, oif=index)
    with ExitStack() as stack:
        etcd = stack.enter_context(running_etcd(directory / "etcd"))
        marathon = stack.enter_context(MinimalMarathon())
        mesos = stack.enter_context(MinimalMesosAgent())
        machine = Machine(directory, etcd, marathon, mesos)
        stack.callback(machine.stop)
        yield machine
