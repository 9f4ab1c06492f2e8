"""One agent: its passes over a thousand endpoints, and what it weighs.

The passes are those of the agent's own loop over the real kernel; the datastore
is in memory. The weight is that of a real process with a real etcd.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from netaddr import IPAddress

from calico.addressing.blocks import BLOCK_SIZE, Block
from calico.codec import (
    encode_block,
    encode_endpoint,
    encode_host,
    encode_pool,
    encode_rules,
    encode_tags,
)
from calico.dataplane.kernel import KernelDataplane
from calico.dataplane.namespaces import still_held
from calico.dataplane.netlink.batches import NETLINK_NETFILTER, NETLINK_ROUTE
from calico.dataplane.netlink.events import EventSocket
from calico.dataplane.netlink.kernel_events import NFTABLES_GROUP, ROUTE_GROUPS
from calico.datastore.api import Datastore, Put, Removed, Revision, Stored
from calico.datastore.etcd import EtcdDatastore
from calico.datastore.memory import MemoryDatastore
from calico.keys import (
    CLUSTER_GUID,
    READY,
    block_key,
    endpoint_key,
    host_key,
    pool_key,
    profile_key,
)
from calico.model import BootId, EndpointSpec, HostName, TaskId
from calico.names import endpoint_of_task, interface_of, mac_of
from reconciler.agent.belief import PREFIXES
from reconciler.agent.locators.api import Located, Search
from reconciler.agent.reconciliation.passes import AgentMessage, HostSettings, KernelChanged, Pass
from reconciler.agent.reconciliation.reconcile import HostReconciler
from reconciler.runtime.clock import SystemClock
from reconciler.runtime.watchfeed import Changed, Loaded
from tests.bench.clusters import HOSTS, Cluster, make_cluster
from tests.bench.hosts import give_underlay, namespaces
from tests.bench.plugin import Plugin
from tests.bench.report import Figure, Line, Remark, Unavailable, figure
from tests.dataplane_worlds import HERE, HERE_ADDRESS, POOL
from tests.kernel.namespaces import Namespace, fresh_network
from tests.minimal.machine import HOST, running_machine

FEW, LOCAL, MEMBERS = 10, 1000, 10_000
PASSES, ARRIVALS = 5, 20
NEIGHBOURS_GROUP = 3
GROUPS = (
    (NETLINK_ROUTE, (*ROUTE_GROUPS, NEIGHBOURS_GROUP)),
    (NETLINK_NETFILTER, (NFTABLES_GROUP,)),
)
#: Files are kept in memory: the disk is not ours to measure.
MEMORY = "/dev/shm"
PATIENCE = 60.0
#: Seconds in which an agent has looked at the whole kernel once more.
SETTLED_AFTER = 12.0


def measure() -> Iterator[Line]:
    """Passes first, then the weight."""
    yield from _alone()
    yield from _passes()
    yield from _weight()


class Agent:
    """The reconciler of one host, fed as its loop feeds it."""

    def __init__(self, cluster: Cluster, tasks: Sequence[Namespace]) -> None:
        settings = HostSettings(HERE, BootId("boot"), address=HERE_ADDRESS)
        self._reconciler = HostReconciler(settings, KernelDataplane(), SystemClock(), still_held)
        local = [spec for spec in cluster.specs if spec.id.host == HERE]
        self._refs = {
            TaskId(spec.id.workload): task.ref for spec, task in zip(local, tasks, strict=False)
        }
        self._revision = 1_000_000
        self.seconds = 0.0
        store = MemoryDatastore()
        fill(store, cluster)
        for prefix in PREFIXES:
            self._reconciler.handle(Loaded(prefix, store.list(prefix)))

    def turn(self, *messages: AgentMessage) -> Pass:
        """One pass, and another for each search that it asks for."""
        for message in messages:
            self._reconciler.handle(message)
        self._answer(self._reconciler.search_arrived())
        reached = self._reconciler.reconcile()
        while tasks := self._reconciler.search():
            self._answer(tasks)
            reached = self._reconciler.reconcile()
        return reached

    def look(self) -> Pass:
        """A pass over the whole kernel; `seconds` tells how long it took."""
        self._reconciler.handle(KernelChanged())
        # Looks that others cause are kept apart.
        while not self._reconciler.look_is_due():
            time.sleep(0.05)
        began = time.perf_counter()
        reached = self._reconciler.reconcile()
        self.seconds = time.perf_counter() - began
        if not reached.looked:
            raise RuntimeError("the kernel was not looked at")
        return reached

    def _answer(self, tasks: frozenset[TaskId]) -> None:
        if tasks:
            found = {task: self._refs[task] for task in tasks if task in self._refs}
            self._reconciler.handle(Search(tasks, Located(found)))

    def leave(self, spec: EndpointSpec) -> Pass:
        """An endpoint is withdrawn."""
        self._revision += 1
        removed = Removed(endpoint_key(spec.id), Revision(self._revision))
        return self.turn(Changed(PREFIXES[0], removed))

    def arrive(self, spec: EndpointSpec, task: Namespace) -> Pass:
        """An endpoint comes, and its task is found at once."""
        self._refs[TaskId(spec.id.workload)] = task.ref
        self._revision += 1
        stored = Stored(endpoint_key(spec.id), encode_endpoint(spec), Revision(self._revision))
        return self.turn(Changed(PREFIXES[0], Put(stored)))


def fill(store: Datastore, cluster: Cluster) -> None:
    """A datastore as the controller leaves it."""
    store.put(CLUSTER_GUID, "bench")
    store.put(pool_key(POOL), encode_pool(POOL))
    for host in HOSTS.values():
        store.put(host_key(host.name), encode_host(host))
    for cidr, owner in cluster.blocks.items():
        block = Block(cidr, owner, (None,) * BLOCK_SIZE, tuple(range(BLOCK_SIZE)))
        store.put(block_key(cidr), encode_block(block))
    for profile in cluster.profiles:
        store.put(profile_key(profile.id, "tags"), encode_tags(profile))
        store.put(profile_key(profile.id, "rules"), encode_rules(profile))
    for spec in cluster.specs:
        store.put(endpoint_key(spec.id), encode_endpoint(spec))
    store.put(READY, "true")


def _passes() -> Iterator[Line]:
    with ExitStack() as stack:
        stack.enter_context(fresh_network())
        give_underlay()
        tasks = stack.enter_context(namespaces(LOCAL + ARRIVALS))
        cluster = make_cluster(MEMBERS, LOCAL)
        agent = Agent(cluster, tasks)
        began = time.perf_counter()
        reached = agent.turn()
        yield Figure(
            f"first pass: {LOCAL} endpoints from nothing", time.perf_counter() - began, "s"
        )
        _expect(reached)
        seconds, changes = [], 0
        _expect(agent.look())
        for _ in range(PASSES):
            with ExitStack() as listening:
                ears = [listening.enter_context(_ear(*each)) for each in GROUPS]
                reached = agent.look()
                changes += sum(map(_heard, ears))
            _expect(reached)
            seconds.append(agent.seconds)
        yield figure(f"a pass over {LOCAL} endpoints that finds all in order", seconds, "s", 0.3)
        yield Figure("what a netlink monitor hears of these passes", changes, "", 0)
        arrivals = []
        for number, task in enumerate(tasks[LOCAL:]):
            spec = _newcomer(cluster.specs[number], number)
            began = time.perf_counter()
            reached = agent.arrive(spec, task)
            arrivals.append(1000 * (time.perf_counter() - began))
            _expect(reached)
        name = f"one endpoint more, beside {LOCAL} in a cluster of {MEMBERS}"
        yield figure(name, arrivals, "ms")


def _alone() -> Iterator[Line]:
    """The same on a host with few."""
    with ExitStack() as stack:
        stack.enter_context(fresh_network())
        give_underlay()
        tasks = stack.enter_context(namespaces(FEW + ARRIVALS))
        cluster = make_cluster(FEW)
        agent = Agent(cluster, tasks)
        _expect(agent.turn())
        plugin, why = _plugin(Path(stack.enter_context(TemporaryDirectory())))
        arrivals, leaves, adds, removals = [], [], [], []
        for number, task in enumerate(tasks[FEW:]):
            if plugin is not None:
                adds.append(1000 * plugin.call("ADD", task))
                removals.append(1000 * plugin.call("DEL", task))
            spec = _newcomer(cluster.specs[number % FEW], number)
            began = time.perf_counter()
            reached = agent.arrive(spec, task)
            arrivals.append(1000 * (time.perf_counter() - began))
            _expect(reached)
            began = time.perf_counter()
            reached = agent.leave(spec)
            leaves.append(1000 * (time.perf_counter() - began))
            _expect(reached)
        yield figure(f"one endpoint more, beside {FEW}", arrivals, "ms", 3)
        yield figure(f"one endpoint less, beside {FEW}", leaves, "ms")
        if plugin is None:
            yield Remark(f"not measured: CNI ptp and host-local: {why}")
            return
        yield figure("one endpoint by CNI ptp and host-local: ADD", adds, "ms")
        yield figure("one endpoint by CNI ptp and host-local: DEL", removals, "ms")
        yield figure("CNI's ADD, of one endpoint more", _shares(adds, arrivals), "x", least=3)
        yield figure("CNI's DEL, of one endpoint less", _shares(removals, leaves), "x")


def _plugin(directory: Path) -> tuple[Plugin | None, str]:
    try:
        return Plugin(directory), ""
    except Unavailable as error:
        return None, str(error)


def _shares(some: Sequence[float], others: Sequence[float]) -> list[float]:
    return [one / other for one, other in zip(some, others, strict=True)]


def _expect(reached: Pass) -> None:
    if not reached.settled or reached.problems:
        raise RuntimeError(f"not settled: {reached.problems}")


@contextmanager
def _ear(protocol: int, groups: Sequence[int]) -> Iterator[EventSocket]:
    ear = EventSocket(protocol, groups)
    ear.open()
    try:
        yield ear
    finally:
        ear.close()


def _heard(ear: EventSocket) -> int:
    """Datagrams that wait, each of them a change; lost ones count too."""
    count = 0
    while ear.read() != b"":
        count += 1
    return count


def _newcomer(model: EndpointSpec, number: int) -> EndpointSpec:
    """One more task of an app that the host knows."""
    endpoint = endpoint_of_task(HERE, TaskId(f"newcomer.{number}"))
    address = IPAddress(POOL.cidr.last - 1 - number)
    return replace(
        model,
        id=endpoint,
        interface=interface_of(endpoint),
        mac=mac_of(endpoint),
        addresses=(address,),
    )


def _weight() -> Iterator[Line]:
    """A real agent with a thousand tasks of its own, in a cluster of ten thousand."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(dir=MEMORY)))
        stack.enter_context(fresh_network())
        machine = stack.enter_context(running_machine(directory))
        cluster = make_cluster(MEMBERS, LOCAL)
        specs = tuple(_of_machine(spec) for spec in cluster.specs)
        fill(EtcdDatastore([machine.etcd]), replace(cluster, specs=specs))
        tasks = stack.enter_context(namespaces(LOCAL))
        local = [spec.id.workload for spec in specs if spec.id.host == HOST]
        machine.mesos.pids |= {name: task.pid for name, task in zip(local, tasks, strict=True)}
        began = time.monotonic()
        machine.start("agent")
        while len(machine.addresses()) < LOCAL:
            if time.monotonic() > began + PATIENCE:
                raise RuntimeError(f"only {len(machine.addresses())} of {LOCAL} came up")
            time.sleep(0.25)
        yield Figure(f"agent started to {LOCAL} reported as up", time.monotonic() - began, "s")
        time.sleep(SETTLED_AFTER)
        agent = machine.processes["agent"].pid
        name = f"resident memory: {LOCAL} endpoints, {MEMBERS} members"
        yield Figure(name, status_megabytes(agent, "VmRSS"), "MB", 120)
        yield Figure("most it ever was", status_megabytes(agent, "VmHWM"), "MB")


def _of_machine(spec: EndpointSpec) -> EndpointSpec:
    if spec.id.host != HERE:
        return spec
    endpoint = endpoint_of_task(HostName(HOST), TaskId(spec.id.workload))
    return replace(spec, id=endpoint, interface=interface_of(endpoint), mac=mac_of(endpoint))


def status_megabytes(pid: int, field: str) -> float:
    """A line of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (each for each in lines if each.startswith(f"{field}:"))
    return int(line.split()[1]) / 1024
