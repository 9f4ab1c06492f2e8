"""Two hosts on one underlay, a real agent on each, and a stranger beside them.

The test's own namespace is the switch between them and has etcd; what it
listens on at its loopback is also at ADDRESS for the hosts.
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from netaddr import IPAddress

from calico.codec import (
    decode_host,
    decode_status,
    encode_endpoint,
    encode_pool,
    encode_rules,
    encode_tags,
)
from calico.datastore.etcd import EtcdDatastore
from calico.keys import (
    CLUSTER_GUID,
    FELIX,
    READY,
    endpoint_key,
    host_key,
    parse_status_key,
    pool_key,
    profile_key,
)
from calico.model import EndpointSpec, EndpointState, HostName, HostRecord, Profile
from reconciler.agent.reporting.registration import BOOT_ID
from tests.contract.real_etcd import running_etcd
from tests.dataplane_worlds import POOL, group, openings, spec
from tests.kernel.namespaces import Namespace, bind_file, enter_network, unshare_mounts
from tests.minimal.machine import COMMAND
from tests.minimal.marathon import MinimalMesosAgent
from tests.minimal.past import give_past

ADDRESS = IPAddress("10.77.0.254")
STRANGER = IPAddress("10.77.0.99")
HOSTS = {HostName("one"): IPAddress("10.77.0.1"), HostName("two"): IPAddress("10.77.0.2")}
ONE, TWO = HOSTS
PORT, CLOSED_PORT = 9000, 9999
PATIENCE = 20.0


def run(*words: str) -> str:
    """Run one of the machine's own network commands in the calling thread's namespace."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def task_of(name: str, number: int, group_name: str, host: HostName = ONE) -> EndpointSpec:
    """A task of one group, as the controller would write it."""
    return spec(name, group_name, f"app-{group_name}", addresses=[f"10.9.0.{number}"], host=host)


@dataclass
class Host:
    """One host: its network, its Mesos agent, and the product's agent if it runs.

    `port` is where it is plugged into the switch, `boot` a file with its boot id.
    """

    name: HostName
    address: IPAddress
    port: str
    network: Namespace
    mesos: MinimalMesosAgent
    log: Path
    boot: Path
    agent: subprocess.Popen[bytes] | None = None


@dataclass
class Cluster:
    """The hosts and what etcd holds."""

    directory: Path
    etcd: str
    store: EtcdDatastore
    hosts: dict[HostName, Host]
    stranger: Namespace
    make: Callable[[], Namespace]
    tasks: dict[str, Namespace] = field(default_factory=dict)

    def __getitem__(self, task: str) -> Namespace:
        return self.tasks[task]

    def state(self, name: HostName) -> Path:
        """What the agent of a host keeps on disk."""
        return self.directory / f"state-{name}"

    def socket(self, name: HostName) -> Path:
        """Where the agent of a host listens for plugins."""
        return self.directory / f"agent-{name}.sock"

    def start(self, name: HostName) -> None:
        """Start the agent of a host."""
        host = self.hosts[name]
        inside = f"/proc/{host.network.pid}/ns/net"

        def enter() -> None:
            descriptor = os.open(inside, os.O_RDONLY)
            enter_network(descriptor)
            os.close(descriptor)
            unshare_mounts()
            bind_file(host.boot, BOOT_ID)

        with host.log.open("ab") as log:
            host.agent = subprocess.Popen(
                [
                    *(COMMAND, "agent", "--etcd", moved(self.etcd)),
                    *("--host", name, "--listen", ":0"),
                    *("--mesos-agent", moved(host.mesos.url)),
                    *("--state-dir", str(self.state(name))),
                    *("--socket", str(self.socket(name))),
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                preexec_fn=enter,  # noqa: PLW1509 - only namespaces, in a fresh child
            )

    def kill(self, name: HostName) -> None:
        """kill -9 the agent of a host."""
        agent = self.hosts[name].agent
        if agent is not None:
            agent.send_signal(signal.SIGKILL)
            agent.wait()
        self.hosts[name].agent = None

    @contextmanager
    def held(self, name: HostName) -> Iterator[None]:
        """The agent of a host does nothing while the body runs."""
        agent = self.hosts[name].agent
        assert agent is not None
        agent.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            agent.send_signal(signal.SIGCONT)

    def reboot(self, name: HostName) -> None:
        """End all that lives on a host; it comes back empty, and nothing of it runs yet.

        It forwards, as a host may that was told so by its own settings.
        """
        self.kill(name)
        host = self.hosts[name]
        for task in host.mesos.pids:
            self.tasks.pop(task).end()
        host.mesos.pids.clear()
        run("ip", "link", "delete", host.port)
        host.network.end()
        host.network = _plug(self.make(), host.port, host.address)
        host.boot.write_text(f"{uuid4()}\n")
        with host.network.entered():
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")

    def page(self, name: HostName, path: str) -> Mapping[str, object]:
        """What the agent of a host says on one of its pages; empty while it does not listen."""
        host = self.hosts[name]
        said = [line for line in host.log.read_text().splitlines() if line.startswith("{")]
        if not said:
            return {}
        port = int(json.loads(said[-1])["listen"].rpartition(":")[2])
        with host.network.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.settimeout(PATIENCE)
            try:
                sock.connect(("127.0.0.1", port))
            except ConnectionRefusedError:
                return {}
            sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            answer = b"".join(iter(partial(sock.recv, 65536), b""))
        fields: Mapping[str, object] = json.loads(answer.partition(b"\r\n\r\n")[2])
        return fields

    def settle(self, *names: HostName) -> None:
        """Wait until these agents, or all that run, have brought in all that was written."""
        written = self.store.put(READY, "true")
        running = [host.name for host in self.hosts.values() if host.agent is not None]
        for name in names or running:
            self.wait_for(f"all at {name}", partial(self._has_come, name, written))

    def _has_come(self, name: HostName, written: int) -> bool:
        revision = self.page(name, "/readyz").get("revision")
        return isinstance(revision, int) and revision >= written

    def task(self, wanted: EndpointSpec) -> Namespace:
        """A task's namespace, still without any network."""
        made = self.make()
        self.hosts[wanted.id.host].mesos.pids[wanted.id.workload] = made.pid
        self.tasks[wanted.id.workload] = made
        return made

    def put(self, *wanted: EndpointSpec) -> None:
        """Write what tasks should be."""
        for each in wanted:
            self.store.put(endpoint_key(each.id), encode_endpoint(each))

    def withdraw(self, wanted: EndpointSpec) -> None:
        """Take away what a task should be; its processes go on."""
        self.store.delete(endpoint_key(wanted.id))

    def put_profile(self, profile: Profile) -> None:
        """Write a profile."""
        self.store.put(profile_key(profile.id, "tags"), encode_tags(profile))
        self.store.put(profile_key(profile.id, "rules"), encode_rules(profile))

    def run_tasks(self, *wanted: EndpointSpec) -> None:
        """Start tasks and wait until they are up."""
        for each in wanted:
            self.task(each)
        self.put(*wanted)
        self.wait_up(*(each.id.workload for each in wanted))

    def wait_up(self, *tasks: str) -> None:
        """Wait until these tasks are reported as up."""
        self.wait_for(f"up: {tasks}", lambda: self.up() >= set(tasks))

    def up(self) -> set[str]:
        """The tasks that are reported as up."""
        found = set()
        for stored in self.store.list(FELIX).entries:
            endpoint = parse_status_key(stored.key)
            if endpoint and decode_status(stored.value).state is EndpointState.UP:
                found.add(str(endpoint.workload))
        return found

    def registered(self, host: HostName) -> HostRecord:
        """What a host's agent says of it."""
        stored = self.store.get(host_key(host))
        assert stored is not None
        return decode_host(host, stored.value)

    def wait_for(self, what: str, holds: Callable[[], bool]) -> float:
        """Wait until something holds; how long it took."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < PATIENCE:
            if holds():
                return waited
            time.sleep(0.005)
        logs = "\n".join(
            f"--- {host.name}\n{host.log.read_text()[-3000:]}" for host in self.hosts.values()
        )
        raise AssertionError(f"never came about: {what}\n{logs}")


def moved(url: str) -> str:
    """A URL on the test's loopback as the hosts reach it."""
    return f"http://{ADDRESS}:{urlsplit(url).port}"


@contextmanager
def running_cluster(
    directory: Path, make: Callable[[], Namespace], *, known: bool = False
) -> Iterator[Cluster]:
    """Both agents run and have registered; there are no tasks yet."""
    run("ip", "link", "add", "lan", "type", "bridge")
    run("ip", "address", "add", f"{ADDRESS}/24", "dev", "lan")
    run("ip", "link", "set", "lan", "addrgenmode", "none")
    run("ip", "link", "set", "lan", "up")
    Path("/proc/sys/net/ipv4/conf/lan/route_localnet").write_text("1")
    run("nft", "add table ip switch")
    run("nft", "add chain ip switch in { type nat hook prerouting priority -100; }")
    run("nft", f"add rule ip switch in ip daddr {ADDRESS} dnat to 127.0.0.1")
    with ExitStack() as stack:
        etcd = stack.enter_context(running_etcd(directory / "etcd"))
        store = EtcdDatastore([etcd])
        hosts = {
            name: Host(
                name,
                address,
                f"host{number}",
                _plug(make(), f"host{number}", address),
                stack.enter_context(MinimalMesosAgent()),
                directory / f"agent-{name}.log",
                directory / f"boot-{name}",
            )
            for number, (name, address) in enumerate(HOSTS.items())
        }
        stranger = _plug(make(), "stranger", STRANGER)
        cluster = Cluster(directory, etcd, store, hosts, stranger, make)
        store.put(CLUSTER_GUID, "one")
        store.put(pool_key(POOL), encode_pool(POOL))
        for name in ("red", "blue"):
            cluster.put_profile(group(name))
            cluster.put_profile(openings(f"app-{name}", name, PORT))
        store.put(READY, "true")
        for host in HOSTS:
            hosts[host].boot.write_text(f"{uuid4()}\n")
            stack.callback(cluster.kill, host)
            if known:
                give_past(cluster.state(host), host)
            cluster.start(host)
        cluster.wait_for("agents", lambda: all(store.get(host_key(each)) for each in HOSTS))
        yield cluster


def _plug(network: Namespace, port: str, address: IPAddress) -> Namespace:
    """Connect a namespace to the switch, whose devices say nothing of themselves."""
    run("ip", "link", "add", port, "type", "veth", "peer", "eth0", "netns", str(network.pid))
    run("ip", "link", "set", port, "addrgenmode", "none")
    run("ip", "link", "set", port, "master", "lan", "up")
    with network.entered():
        run("ip", "address", "add", f"{address}/24", "dev", "eth0")
        # The same after a reboot, as it is with real devices.
        run("ip", "link", "set", "eth0", "address", f"02:77:00:00:00:{address.words[3]:02x}")
        run("ip", "link", "set", "eth0", "addrgenmode", "none")
        run("ip", "link", "set", "eth0", "up")
        run("ip", "route", "add", "default", "via", str(ADDRESS))
    return network
