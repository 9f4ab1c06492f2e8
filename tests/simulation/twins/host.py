"""A host in memory: its kernel, its disk, its processes and who knows where they are."""

from collections.abc import Callable, Collection, Iterable

from netaddr import IPAddress, IPNetwork

from calico.dataplane.changes import NamespaceRef, RemoveLink
from calico.dataplane.memory import MemoryDataplane
from calico.dataplane.state import HostFacts, RouteKind
from calico.model import BootId, HostName, InterfaceName, TaskId
from reconciler.agent.locators.api import Located, LocatorName

#: So many numbers of namespaces, and of processes, before the first is used again.
INODES = 7
PIDS = 11


class HostTwin:
    """One machine, over all its boots."""

    def __init__(self, number: int, step: Callable[[], None], changed: Callable[[], None]) -> None:
        self.number = number
        self.name = HostName(f"h{number}")
        self.address = IPAddress(f"10.0.0.{number + 1}")
        #: What the agent's state file holds.
        self.disk = b""
        #: Until when nobody can tell where a task is.
        self.blind_until = 0.0
        self._step = step
        self._changed = changed
        self._boots = 0
        self._started = 0
        self.namespaces: dict[TaskId, NamespaceRef] = {}
        self.dataplane = self._machine()

    @property
    def boot_id(self) -> BootId:
        """Which boot this is."""
        return BootId(f"boot{self._boots}")

    def reboot(self, *, keeps_state: bool) -> None:
        """Begin anew: no tasks, an empty kernel, and the disk unless it is lost."""
        self._boots += 1
        self.namespaces = {}
        self.dataplane = self._machine()
        if not keeps_state:
            self.disk = b""

    def start_task(self, task: TaskId) -> None:
        """A process begins in a network namespace of its own; numbers are reused."""
        self._started += 1
        pid = 100 + self._started % PIDS
        inode = 4026000 + 1000 * self.number + self._started % INODES
        if any(each.inode == inode for each in self.namespaces.values()):
            inode = 5000000 + 1000 * self.number + self._started
        ref = NamespaceRef(pid, self._started, inode)
        self.namespaces[task] = ref
        self.dataplane.start_namespace(ref)

    def end_task(self, task: TaskId) -> None:
        """The process ends, and its namespace with it."""
        self.dataplane.end_namespace(self.namespaces.pop(task))

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
        lived = {each.inode for each in self.namespaces.values()}
        return {each for each in refs if each.inode in lived}

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
        self._step()
        # Told only now: who looks meanwhile sees the kernel as it was, and
        # would not look again once the change is made.
        self._changed()


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
