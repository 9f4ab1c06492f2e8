"""A host in memory: its kernel, its disk, its processes and who knows where they are."""

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping

from netaddr import IPAddress, IPNetwork

from calico.dataplane.changes import NamespaceRef, RemoveLink
from calico.dataplane.memory import MemoryDataplane
from calico.dataplane.state import HostFacts, RouteKind
from calico.model import BootId, ContainerId, HandleId, HostName, InterfaceName, TaskId
from calico.names import handle_of_container
from reconciler.agent.locators.api import Located, LocatorName, LocatorUnavailable

#: The lowest number of a process; namespaces have their own, for each host another.
FIRST_PID = 100


class HostTwin:
    """One machine, over all its boots."""

    def __init__(self, number: int, step: Callable[[], None], changed: Callable[[], None]) -> None:
        self.number = number
        self.name = HostName(f"h{number}")
        self.address = IPAddress(f"10.0.0.{number + 1}")
        #: What the agent's state file holds.
        self.disk = b""
        #: Whether it has power; tasks are started on no other.
        self.is_on = True
        #: Until when nobody can tell where a task is.
        self.blind_until = 0.0
        #: To be called before a change of what is the agent's here.
        self.step = step
        self._changed = changed
        self._boots = 0
        self._started = 0
        self.namespaces: dict[TaskId, NamespaceRef] = {}
        #: What runs in containers that plugins attach, and where the files about
        #: them and the namespaces are that Mesos has not let go yet.
        self.containers: dict[ContainerId, TaskId] = {}
        self.files: dict[ContainerId, bytes] = {}
        self.mounted: dict[ContainerId, NamespaceRef] = {}
        #: Namespaces that somebody has open, by descriptor.
        self.opened: dict[int, NamespaceRef] = {}
        self._descriptors = itertools.count(3)
        self.dataplane = self._machine()

    @property
    def boot_id(self) -> BootId:
        """Which boot this is."""
        return BootId(f"boot{self._boots}")

    def reboot(self, *, keeps_state: bool) -> None:
        """Begin anew: no tasks, an empty kernel, and the disk unless it is lost."""
        self._boots += 1
        self.namespaces = {}
        self.containers, self.mounted, self.opened = {}, {}, {}
        self.dataplane = self._machine()
        if not keeps_state:
            self.disk, self.files = b"", {}

    def start_task(self, task: TaskId) -> None:
        """A process begins in a network namespace of its own; numbers are reused."""
        inode = self._next_inode()
        pids = {each.pid for each in self.namespaces.values()}
        pid = _free(FIRST_PID, pids)
        self._begin(task, NamespaceRef(pid, self._started, inode, cookie=self._started))

    def start_container(self, task: TaskId, container: ContainerId) -> NamespaceRef:
        """The same, in a namespace that Mesos keeps at a path of its own."""
        inode = self._next_inode()
        ref = NamespaceRef(0, 0, inode, cookie=self._started, path=f"/mesos/{container}/ns")
        self._begin(task, ref)
        self.containers[container] = task
        self.mounted[container] = ref
        return ref

    def _next_inode(self) -> int:
        """The lowest that is free, as kernels give them."""
        self._started += 1
        there = {each.inode for each in (*self.namespaces.values(), *self.mounted.values())}
        return _free(4026000 + 1000 * self.number, there)

    def _begin(self, task: TaskId, ref: NamespaceRef) -> None:
        self.namespaces[task] = ref
        self.dataplane.start_namespace(ref)

    def end_task(self, task: TaskId) -> None:
        """The process ends, and its namespace with it unless Mesos keeps that."""
        ref = self.namespaces.pop(task)
        container = self.container_of(task)
        if container is None:
            self.dataplane.end_namespace(ref)
        else:
            del self.containers[container]

    def unmount(self, container: ContainerId) -> None:
        """Mesos keeps a namespace no more; it ends with that."""
        ref = self.mounted.pop(container, None)
        if ref is not None:
            self.dataplane.end_namespace(ref)

    def container_of(self, task: TaskId) -> ContainerId | None:
        """The container that a living task is in; None for one that no plugin attaches."""
        return next((each for each, runs in self.containers.items() if runs == task), None)

    def handles_of(self, task: TaskId) -> frozenset[HandleId]:
        """By which a living task's address may be held."""
        container = self.container_of(task)
        own = frozenset({HandleId(task)})
        return own if container is None else own | {handle_of_container(container)}

    def open_namespace(self, ref: NamespaceRef) -> int:
        """A descriptor of a namespace."""
        descriptor = next(self._descriptors)
        self.opened[descriptor] = ref
        return descriptor

    def take_link_away(self, pick: float) -> None:
        """Another program deletes one of our links."""
        links = sorted(self.dataplane.inside())
        if links:
            self.dataplane.meddle((RemoveLink(links[int(pick * len(links))]),))

    def has_saved(self, task: TaskId) -> bool:
        """Whether the agent's state file holds the task's endpoint."""
        return f"/{task}/endpoint/".encode() in self.disk

    def still_held(self, refs: Iterable[NamespaceRef]) -> Collection[NamespaceRef]:
        """Those of some namespaces that a process is in."""
        there = {
            each.inode: each.cookie for each in (*self.namespaces.values(), *self.mounted.values())
        }
        return {
            each
            for each in refs
            if each.inode in there
            and (0 in (each.cookie, there[each.inode]) or each.cookie == there[each.inode])
        }

    def routed(self) -> dict[IPAddress, tuple[TaskId, InterfaceName]]:
        """Which living task each routed address leads to, and by which link."""
        inside = self.dataplane.inside()
        tasks = {ref: task for task, ref in self.namespaces.items()}
        return {
            route.destination.ip: (tasks[inside[route.interface]], route.interface)
            for route in self.dataplane.observe().routes
            if route.kind is RouteKind.TASK
            and route.interface in inside
            and inside[route.interface] in tasks
        }

    def _machine(self) -> MemoryDataplane:
        facts = HostFacts("eth0", self.address, 1500, (IPNetwork("10.0.0.0/24"),))
        return MemoryDataplane(facts, self._touch)

    def _touch(self, _: str) -> None:
        self.step()
        # Told only now: who looks meanwhile sees the kernel as it was, and
        # would not look again once the change is made.
        self._changed()


class ContainersPage:
    """What the host's Mesos agent says that containers run."""

    def __init__(self, host: HostTwin, now: Callable[[], float]) -> None:
        self._host = host
        self._now = now

    def read(self) -> Mapping[ContainerId, frozenset[TaskId]]:
        """All that it has; raises LocatorUnavailable."""
        if self._now() < self._host.blind_until:
            raise LocatorUnavailable("the Mesos agent does not answer")
        return {each: frozenset({task}) for each, task in self._host.containers.items()}


class HostLocator:
    """Finds tasks on a host at once; implements `Locator`."""

    name: LocatorName = "proc"

    def __init__(self, host: HostTwin, now: Callable[[], float]) -> None:
        self._host = host
        self._now = now

    def find(self, tasks: Collection[TaskId]) -> Located:
        """See Locator."""
        namespaces = {} if self._now() < self._host.blind_until else self._host.namespaces
        return Located({task: namespaces[task] for task in tasks if task in namespaces})


def _free(first: int, taken: Collection[int]) -> int:
    """The lowest number from `first` on that nobody has."""
    return next(each for each in itertools.count(first) if each not in taken)
