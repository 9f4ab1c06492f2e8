"""Tasks in a datastore, and a name server that follows it, for tests of names."""

import random
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import dnslib
from netaddr import IPAddress, IPNetwork

from calico import codec
from calico.datastore.api import Datastore, Key
from calico.datastore.memory import MemoryDatastore
from calico.keys import (
    READY,
    endpoint_key,
    host_key,
    own_directories,
    pool_key,
    status_key,
    task_key,
)
from calico.model import (
    BootId,
    EndpointSpec,
    EndpointState,
    EndpointStatus,
    HostName,
    HostRecord,
    Pool,
    PortOpening,
    TaskId,
    TaskRecord,
    TaskVerdict,
)
from calico.names import endpoint_of_task, interface_of
from reconciler.dns.answers import Answers
from reconciler.dns.believed import BelievedDatastore
from reconciler.dns.metrics import DnsMetrics
from reconciler.dns.serving.access import Access
from reconciler.dns.serving.server import NameServer
from reconciler.dns.serving.sockets import Channel, open_channels
from reconciler.dns.world import PREFIXES, World
from reconciler.dns.zone import Zone
from reconciler.runtime.clock import SystemClock
from reconciler.runtime.listener import ListenAddress
from reconciler.runtime.watchfeed import WatchFeed

POOL = IPNetwork("192.168.0.0/16")
POOL6 = IPNetwork("fd80:24e2::/48")
HOST = HostName("host-1")
STATUS_PORT = PortOpening("tcp", 9000, "status")
LOOPBACK = ListenAddress("127.0.0.1", 0)
PATIENCE = 10.0


@dataclass(frozen=True)
class Wanted:
    """A task as tests want it."""

    task: str
    app: str = "/star/probe-a"
    addresses: tuple[str, ...] = ("192.168.0.1",)
    ports: tuple[PortOpening, ...] = (STATUS_PORT,)
    host: HostName = HOST
    verdict: TaskVerdict = TaskVerdict.ACCEPTED
    state: EndpointState | None = EndpointState.UP
    active: bool = True
    told: tuple[str, ...] | None = None

    @property
    def ips(self) -> tuple[IPAddress, ...]:
        """Its addresses, in the order of the model."""
        return tuple(sorted(map(IPAddress, self.addresses)))

    @property
    def is_named(self) -> bool:
        """Whether it should have names."""
        told = self.addresses if self.told is None else self.told
        return (
            self.verdict is TaskVerdict.ACCEPTED
            and self.state is EndpointState.UP
            and self.active
            and (not told or set(told) == set(self.addresses))
        )


@dataclass
class Cluster:
    """Writes to a datastore what controller and agents would."""

    store: Datastore = field(default_factory=MemoryDatastore)

    def start(self) -> None:
        """What is there before any task."""
        self.store.put(READY, "true")
        for cidr in (POOL, POOL6):
            self.store.put(pool_key(cidr), codec.encode_pool(Pool(cidr)))
        self.register(HOST, "10.0.0.1")

    def register(self, host: HostName, address: str) -> None:
        """An agent comes."""
        record = HostRecord(host, IPAddress(address), BootId("b"), "m", "1")
        self.store.put(host_key(host), codec.encode_host(record))

    def put(self, task: Wanted) -> None:
        """Have a task be just so."""
        name = TaskId(task.task)
        endpoint = endpoint_of_task(task.host, name)
        record = TaskRecord(name, task.app, "v", task.host, ports=task.ports, verdict=task.verdict)
        spec = EndpointSpec(endpoint, interface_of(endpoint), None, task.ips, active=task.active)
        self.store.put(task_key(name), codec.encode_task(record))
        self.store.put(endpoint_key(endpoint), codec.encode_endpoint(spec))
        if task.state is None:
            self.store.delete(status_key(endpoint))
            return
        told = task.ips if task.told is None else tuple(map(IPAddress, task.told))
        status = EndpointStatus(task.state, 1, told)
        self.store.put(status_key(endpoint), codec.encode_status(status))

    def remove(self, task: str, host: HostName = HOST) -> None:
        """Take a task away, with the directories that become empty."""
        endpoint = endpoint_of_task(host, TaskId(task))
        for key in (endpoint_key(endpoint), status_key(endpoint)):
            self.store.delete(key)
            for directory in own_directories(key):
                self.store.delete(directory)
        self.store.delete(task_key(TaskId(task)))


@dataclass
class Asker:
    """Asks a name server as clients do."""

    address: ListenAddress

    def ask(
        self, name: str, kind: str = "A", *, tcp: bool = False, edns: int = 0
    ) -> dnslib.DNSRecord:
        """The whole answer to one question."""
        question = dnslib.DNSRecord.question(name, kind)
        if edns:
            question.add_ar(dnslib.EDNS0(udp_len=edns))
        return self.send(question, tcp=tcp)

    def send(self, question: dnslib.DNSRecord, *, tcp: bool = False) -> dnslib.DNSRecord:
        """The answer to a message."""
        raw = question.send(
            self.address.host,
            self.address.port,
            tcp=tcp,
            timeout=PATIENCE,
            ipv6=":" in self.address.host,
        )
        answer = dnslib.DNSRecord.parse(raw)
        assert answer.header.id == question.header.id
        return answer

    def texts(self, name: str, kind: str = "A", *, tcp: bool = False) -> set[str]:
        """What the answer's records say."""
        return {str(each.rdata) for each in self.ask(name, kind, tcp=tcp).rr}

    def raw(self, message: bytes, seconds: float = PATIENCE) -> bytes:
        """The answer to bytes; empty if there is none in time."""
        family = socket.AF_INET6 if ":" in self.address.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as channel:
            channel.settimeout(seconds)
            channel.connect((self.address.host, self.address.port))
            channel.send(message)
            try:
                return channel.recv(65535)
            except TimeoutError:
                return b""


@dataclass
class Served:
    """A name server that runs, and what it follows."""

    cluster: Cluster
    asker: Asker
    server: NameServer


@contextmanager
def served(
    cluster: Cluster,
    *,
    resolvers: Sequence[ListenAddress] = (),
    forwards: Sequence[ListenAddress] = (),
    allow: tuple[IPNetwork, ...] | None = None,
    listen: ListenAddress = LOOPBACK,
    feeds: bool = True,
) -> Iterator[Served]:
    """A name server in a thread of this process."""
    channels = open_channels(listen)
    stop = threading.Event()
    zone = Zone("mesos", "marathon")
    answers = Answers(zone, 7, random.Random(1))
    server = NameServer(
        zone,
        World(zone),
        answers,
        Access(allow),
        tuple(resolvers),
        DnsMetrics(),
        SystemClock(),
        tuple(forwards),
    )
    thread = threading.Thread(target=server.run, args=(channels, stop), daemon=True)
    thread.start()
    threads = [thread]
    try:
        for prefix in PREFIXES if feeds else ():
            threads.append(_follow(prefix, cluster.store, server, stop))
        yield Served(cluster, Asker(_reachable(channels[0])), server)
    finally:
        stop.set()
        server.wake()
        thread.join(PATIENCE)
        for channel in channels:
            channel.close()


def _follow(
    prefix: Key, store: Datastore, server: NameServer, stop: threading.Event
) -> threading.Thread:
    return WatchFeed(prefix, lambda: BelievedDatastore(store), server.post, stop).start()


def _reachable(channel: Channel) -> ListenAddress:
    address = channel.address
    return ListenAddress("127.0.0.1", address.port) if address.host == "0.0.0.0" else address
