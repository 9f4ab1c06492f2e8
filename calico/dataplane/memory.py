"""A dataplane without a kernel, for tests and for machines that refuse namespaces.

It keeps what the kernel would hold and does to it what the kernel does: a link
goes with its namespace, a route with its link.
"""

import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import assert_never

from netaddr import IPAddress, IPNetwork

from calico.dataplane.api import Applied, Noticed
from calico.dataplane.changes import (
    AddMarkRule,
    AddRoute,
    AttachTask,
    Change,
    CommitTable,
    MendLink,
    NamespaceRef,
    Plan,
    RemoveLink,
    RemoveMarkRule,
    RemoveRoute,
    SetSysctl,
)
from calico.dataplane.foreign.rules import ForeignRules
from calico.dataplane.netlink.batches import Step, go_on
from calico.dataplane.state import (
    MAIN_TABLE,
    ROUTE_TABLE,
    RULE_PREFERENCES,
    Chain,
    Connection,
    HostFacts,
    HostState,
    Link,
    MarkRule,
    NftSet,
    Route,
    RouteKind,
)
from calico.errors import DataplaneError, DataplaneUnsupported, NamespaceGone
from calico.model import INTERFACE_PREFIX, InterfaceName


@dataclass
class _Held:
    """What the kernel would hold, by the names it is found by."""

    links: dict[InterfaceName, tuple[Link, NamespaceRef]] = field(default_factory=dict)
    routes: set[Route] = field(default_factory=set)
    mark_rules: set[MarkRule] = field(default_factory=set)
    chains: dict[str, Chain] = field(default_factory=dict)
    sets: dict[str, NftSet] = field(default_factory=dict)
    sysctls: dict[str, str] = field(default_factory=dict)


class MemoryDataplane:
    """Implements `Dataplane`; `step` is told of every change before it is made."""

    def __init__(self, facts: HostFacts, step: Step = go_on) -> None:
        self._facts = facts
        self._step = step
        self._held = _Held()
        self._namespaces: set[NamespaceRef] = set()
        self._tracked: list[Connection] = []
        self._listeners: list[Callable[[Noticed], None]] = []

    def listen(self, hear: Callable[[Noticed], None]) -> Callable[[], None]:
        """Have changes told, whoever makes them; the result ends that."""
        self._listeners.append(hear)
        return lambda: self._listeners.remove(hear)

    def meddle(self, plan: Plan) -> Applied:
        """Carry a plan out as another program would."""
        with self._told(foreign=True):
            return self._apply(plan)

    def start_namespace(self, namespace: NamespaceRef) -> None:
        """Let a task's network namespace begin."""
        self._namespaces.add(namespace)

    def end_namespace(self, namespace: NamespaceRef) -> None:
        """Let a task's network namespace end, and its link with it."""
        with self._told(foreign=False):
            self._namespaces.discard(namespace)
            for name, (_, inside) in list(self._held.links.items()):
                if inside == namespace:
                    self._drop_link(name)

    def inside(self) -> dict[InterfaceName, NamespaceRef]:
        """In which namespace each link's other end is."""
        return {name: namespace for name, (_, namespace) in self._held.links.items()}

    def facts(self, address: IPAddress | None) -> HostFacts:
        """The facts that were given; another address is none of this host's."""
        if address is not None and address != self._facts.address:
            raise DataplaneUnsupported(f"--address {address} is on no interface of this host")
        return self._facts

    def observe(self) -> HostState:
        """A copy of what is held."""
        held = self._held
        return HostState(
            links={name: link for name, (link, _) in held.links.items()},
            routes=frozenset(held.routes),
            mark_rules=frozenset(held.mark_rules),
            chains=dict(held.chains),
            sets=dict(held.sets),
            sysctls=dict(held.sysctls),
        )

    def apply(self, plan: Plan) -> Applied:
        """Carry a plan out, change by change."""
        with self._told(foreign=False):
            return self._apply(plan)

    def _apply(self, plan: Plan) -> Applied:
        failures: dict[Change, str] = {}
        for change in plan:
            self._step(type(change).__name__)
            try:
                self._make(change)
            except DataplaneError as error:
                failures[change] = str(error)
        return Applied(failures)

    @contextmanager
    def _told(self, *, foreign: bool) -> Iterator[None]:
        """Tell the listeners what the body changed, as the kernel does."""
        before = self.observe()
        yield
        after = self.observe()
        changed = before.links.items() ^ after.links.items()
        noticed = Noticed(
            # A setting does not say who changed it, and a link is told of by itself.
            (foreign and replace(before, links={}) != replace(after, links={}))
            or before.sysctls != after.sysctls,
            {name: after.links.get(name) for name, _ in changed},
        )
        if noticed != Noticed():
            for hear in self._listeners:
                hear(noticed)

    def track(self, connection: Connection) -> None:
        """Let a connection be under way."""
        self._tracked.append(connection)

    @property
    def tracked(self) -> Sequence[Connection]:
        """All that are under way."""
        return self._tracked

    def connections(
        self, addresses: Iterable[IPAddress], networks: Iterable[IPNetwork] = ()
    ) -> Sequence[Connection]:
        """Those that were tracked and not forgotten."""
        wanted, ranges = frozenset(addresses), tuple(networks)
        return tuple(
            each
            for each in self._tracked
            if each.concerns(wanted) or any(end in cidr for cidr in ranges for end in each.ends)
        )

    def forget(self, connections: Iterable[Connection]) -> None:
        """Track these no more."""
        ended = frozenset(connections)
        self._tracked = [each for each in self._tracked if each not in ended]

    def _make(self, change: Change) -> None:
        held = self._held
        match change:
            case CommitTable():
                self._commit(change)
            case SetSysctl(path, value):
                _expect_ours(path.startswith("net/") and ".." not in path.split("/"), path)
                held.sysctls[path] = value
            case AddMarkRule(rule):
                _expect_ours(rule.preference in RULE_PREFERENCES, f"ip rule {rule.preference}")
                held.mark_rules.add(rule)
            case RemoveMarkRule(rule):
                _expect_ours(rule.preference in RULE_PREFERENCES, f"ip rule {rule.preference}")
                held.mark_rules.discard(rule)
            case AttachTask(link, namespace):
                self._attach(link, namespace)
            case MendLink(link):
                self._mend(link)
            case RemoveLink(name):
                _expect_ours(name.startswith(INTERFACE_PREFIX), name)
                self._drop_link(name)
            case AddRoute(route):
                self._add_route(route)
            case RemoveRoute(route):
                _expect_ours(
                    route.table in (ROUTE_TABLE, MAIN_TABLE), f"routing table {route.table}"
                )
                held.routes.discard(route)
            case _:
                assert_never(change)

    def _commit(self, change: CommitTable) -> None:
        held = self._held
        held.chains |= {chain.name: chain for chain in change.chains}
        held.sets |= {each.name: each for each in change.sets}
        for name in change.removed_chains:
            held.chains.pop(name, None)
        for name in change.removed_sets:
            held.sets.pop(name, None)

    def _attach(self, link: Link, namespace: NamespaceRef) -> None:
        _expect_ours(link.name.startswith(INTERFACE_PREFIX), link.name)
        if link.wiring is None:
            raise DataplaneError(f"{link.name} has no wiring")
        self._expect_there(namespace)
        finished = Link(link.name, link.wiring.alias)
        if self._held.links.get(link.name) == (finished, namespace):
            return
        self._drop_link(link.name)
        if any(inside == namespace for _, inside in self._held.links.values()):
            raise DataplaneError(
                f"its namespace already has an interface {link.wiring.device} that is not ours"
            )
        self._held.links[link.name] = (finished, namespace)

    def _expect_there(self, namespace: NamespaceRef) -> None:
        """Raise NamespaceGone for one that ended, whoever has its numbers by now."""
        if namespace.pid:
            if namespace not in self._namespaces:
                raise NamespaceGone(f"process {namespace.pid} ended")
            return
        cookies = {each.cookie for each in self._namespaces if each.inode == namespace.inode}
        if not cookies or (
            0 not in (*cookies, namespace.cookie) and namespace.cookie not in cookies
        ):
            raise NamespaceGone("its network namespace is nowhere to be found")

    def _mend(self, link: Link) -> None:
        _expect_ours(link.name.startswith(INTERFACE_PREFIX), link.name)
        if link.wiring is None:
            raise DataplaneError(f"{link.name} has no wiring")
        if link.name not in self._held.links:
            raise DataplaneError(f"interface {link.name} is gone")
        _, inside = self._held.links[link.name]
        self._held.links[link.name] = (Link(link.name, link.wiring.alias), inside)

    def _drop_link(self, name: InterfaceName) -> None:
        self._held.links.pop(name, None)
        self._held.routes = {route for route in self._held.routes if route.interface != name}

    def _add_route(self, route: Route) -> None:
        _expect_ours(route.table in (ROUTE_TABLE, MAIN_TABLE), f"routing table {route.table}")
        if route.kind is RouteKind.TASK and route.interface not in self._held.links:
            raise DataplaneError(f"no interface {route.interface}")
        place = (route.destination, route.table)
        self._held.routes = {
            each for each in self._held.routes if (each.destination, each.table) != place
        } | {route}


class MemoryMonitor:
    """Implements `Monitor` for a dataplane in memory."""

    def __init__(self, dataplane: MemoryDataplane) -> None:
        self._dataplane = dataplane
        self._noticed: queue.SimpleQueue[Noticed] = queue.SimpleQueue()
        self._end: Callable[[], None] | None = None

    def open(self) -> None:
        """Notice from now on."""
        self._noticed = queue.SimpleQueue()
        self._end = self._dataplane.listen(self._noticed.put)

    def close(self) -> None:
        """Notice no more."""
        if self._end is not None:
            self._end()
            self._end = None

    def wait(self, timeout: float) -> Noticed | None:
        """The next notice, None if there was none in time."""
        if self._end is None:
            raise DataplaneError("the monitor is not open")
        try:
            return self._noticed.get(timeout=timeout)
        except queue.Empty:
            return None


class MemoryFirewalls:
    """Implements `Firewalls` for a host whose other programs are told it."""

    def __init__(self, rules: ForeignRules | None = None) -> None:
        self.rules = rules or ForeignRules()

    def open(self) -> None:
        """Nothing has to be got ready."""

    def close(self) -> None:
        """Nothing is held."""

    def read(self) -> ForeignRules:
        """What was told last."""
        return self.rules


def _expect_ours(ours: bool, what: str) -> None:
    if not ours:
        raise DataplaneError(f"{what} is not ours")
