"""An agent's loop with its pages over real HTTP, on a kernel in memory."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from netaddr import IPAddress, IPNetwork

from calico.closing import Direction
from calico.codec import decode_endpoint, decode_status, encode_host
from calico.dataplane.changes import NamespaceRef
from calico.dataplane.memory import MemoryDataplane
from calico.dataplane.render.policy import chain_name
from calico.dataplane.state import (
    Chain,
    Counters,
    HostFacts,
    HostState,
    LinkSide,
    RuleCount,
    SeenTaskLink,
)
from calico.datastore.api import Datastore
from calico.keys import CLUSTER_GUID, ENDPOINTS, READY, host_key, parse_endpoint_key
from calico.model import (
    EndpointSpec,
    EndpointState,
    HostName,
    InterfaceName,
    PortRange,
    Protected,
    TaskId,
)
from reconciler.agent.belief import PREFIXES
from reconciler.agent.locators.api import Located, Search
from reconciler.agent.loop import AgentLoop, LoopMessage, Outlets, Stop
from reconciler.agent.observation.lookout import KernelPages
from reconciler.agent.reconciliation.passes import HostSettings
from reconciler.agent.reconciliation.reconcile import HostReconciler
from reconciler.agent.reporting.metrics import AgentMetrics
from reconciler.agent.reporting.registration import read_boot_id
from reconciler.agent.reporting.reporter import Report
from reconciler.runtime.clock import SystemClock
from reconciler.runtime.inbox import Inbox
from reconciler.runtime.listener import ListenAddress, Listener
from reconciler.runtime.watchfeed import Loaded

HOST_PORTS = (PortRange(5051, 5051), PortRange(31000, 32000))
PROTECTED = (Protected(IPNetwork("10.1.0.254/32"), 2379),)
PATIENCE = 10.0
SENT = Counters(7, 700, 0, 9, 900, 1)


@dataclass
class PagedAgent:
    """One host; its kernel may be changed behind the agent's back."""

    name: HostName
    dataplane: MemoryDataplane
    inbox: Inbox[LoopMessage] = field(default_factory=Inbox)
    settled: threading.Event = field(default_factory=threading.Event)
    reports: list[Report] = field(default_factory=list)
    specs: dict[InterfaceName, EndpointSpec] = field(default_factory=dict)
    url: str = ""

    def report(self, report: Report) -> None:
        self.reports.append(report)
        states = [decode_status(text).state for text in (report.statuses or {}).values()]
        if states and all(state is EndpointState.UP for state in states):
            self.settled.set()

    def search(self, tasks: frozenset[TaskId]) -> None:
        found = {task: _namespace(task) for task in tasks}
        for ref in found.values():
            self.dataplane.start_namespace(ref)
        self.inbox.post(Search(tasks, Located(found)))

    def link(self, name: InterfaceName) -> SeenTaskLink | None:
        """What a kernel would tell of a link that was wired as the datastore asks."""
        link, spec = self.kernel().links.get(name), self.specs.get(name)
        if link is None or spec is None or spec.mac is None:
            return None
        inside = LinkSide("eth0", "", True, True, spec.mac, 1500, SENT)
        host = LinkSide(name, link.alias, True, True, spec.mac, 1500, SENT)
        return SeenTaskLink(host, inside, spec.addresses)

    def counts(self, chains: Iterable[str]) -> dict[str, tuple[RuleCount, ...]]:
        """Every rule has counted its number in packets of a hundred bytes."""
        held = self.kernel().chains
        return {
            name: tuple(
                RuleCount(rule.digest, number, number * 100)
                for number, rule in enumerate(held[name].rules, start=1)
            )
            for name in chains
            if name in held
        }

    def kernel(self) -> HostState:
        """What the kernel holds."""
        return self.dataplane.observe()

    def chain_of(self, task: str, direction: str) -> Chain:
        """The chain of a task's profiles, as the kernel has it."""
        (spec,) = (each for each in self.specs.values() if each.id.workload == task)
        return self.kernel().chains[chain_name(spec.profiles, Direction(direction))]

    def link_of(self, task: str) -> InterfaceName:
        """The name of a task's link."""
        return next(spec.interface for spec in self.specs.values() if spec.id.workload == task)


def _namespace(task: TaskId) -> NamespaceRef:
    number = 1000 + sum(task.encode())
    return NamespaceRef(number, number, number)


@contextmanager
def paged_agent(
    datastore: Datastore, name: str, address: str, patience: float = 2.5
) -> Iterator[PagedAgent]:
    """A host that has done all that the datastore asks, and registered."""
    datastore.put(CLUSTER_GUID, "one")
    datastore.put(READY, "true")
    underlay = IPAddress(address)
    facts = HostFacts("eth0", underlay, 1500, (IPNetwork(f"{address}/24").cidr,))
    agent = PagedAgent(HostName(name), MemoryDataplane(facts))
    for stored in datastore.list(ENDPOINTS).entries:
        endpoint = parse_endpoint_key(stored.key)
        if endpoint is not None:
            spec = decode_endpoint(endpoint, stored.value)
            agent.specs[spec.interface] = spec
    settings = HostSettings(agent.name, read_boot_id(), host_ports=HOST_PORTS, protected=PROTECTED)
    clock, metrics = SystemClock(), AgentMetrics()
    reconciler = HostReconciler(settings, agent.dataplane, clock, _nobody)
    outlets = Outlets(agent.report, lambda _: None, agent.search)
    loop = AgentLoop(reconciler, settings, agent.inbox, outlets, metrics, clock)
    pages = KernelPages(agent.inbox.post, agent, patience)
    listen = ListenAddress("127.0.0.1", 0)
    with Listener(listen, {"/healthz": loop.health}, metrics.registry, pages.readers()) as served:
        agent.url = f"http://{served.address}"
        for prefix in PREFIXES:
            agent.inbox.post(Loaded(prefix, datastore.list(prefix)))
        thread = threading.Thread(target=loop.run, args=(str(served.address),), daemon=True)
        thread.start()
        try:
            assert agent.settled.wait(PATIENCE), agent.reports[-1:]
            record = agent.reports[-1].host
            assert record is not None
            datastore.put(host_key(record.name), encode_host(record))
            yield agent
        finally:
            agent.inbox.post(Stop())
            thread.join(PATIENCE)


def _nobody(inodes: Iterable[int]) -> set[int]:
    """No namespace is proven gone."""
    return set(inodes)
