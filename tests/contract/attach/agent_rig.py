"""An agent's loop and all that serves containers, on a store and a kernel in memory.

Store, kernel and files outlive the agent, which may be ended at any step of
theirs and started again, as a process is by kill -9. Network namespaces are real
ones: what tells them apart is the kernel's.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from netaddr import IPNetwork

from calico.codec import encode_pool
from calico.dataplane.changes import NamespaceRef
from calico.dataplane.memory import MemoryDataplane
from calico.dataplane.state import HostFacts, HostState
from calico.datastore.api import (
    DirectoryStore,
    Key,
    Revision,
)
from calico.errors import DatastoreUnavailable
from calico.keys import BLOCKS, CALICO, HOSTS, POOLS, pool_key
from calico.model import BootId, ContainerId, Pool, TaskId
from reconciler.agent.attachments.attacher import HostAttacher
from reconciler.agent.attachments.files import AttachmentFiles, KeptAttachment
from reconciler.agent.attachments.service import AttachService
from reconciler.agent.loop import AgentLoop, LoopMessage, Outlets, Stop
from reconciler.agent.reconciliation.passes import HostSettings
from reconciler.agent.reconciliation.reconcile import HostReconciler
from reconciler.agent.reporting.metrics import AgentMetrics
from reconciler.agent.reporting.reporter import Report
from reconciler.runtime.clock import SystemClock
from reconciler.runtime.inbox import Inbox
from reconciler.runtime.watchfeed import Changed, Loaded
from tests.delegating_store import DelegatingStore
from tests.kernel.namespaces import Namespace
from tests.unit.agent.world import HOST, UNDERLAY, filled_store, vouch_for

FACTS = HostFacts("eth0", UNDERLAY, 1500, (IPNetwork("10.0.0.0/24"),))
Step = Callable[[str], None]
T = TypeVar("T")


class Crashed(BaseException):
    """The agent's process was ended here."""


class Fuse:
    """Lets so many steps happen, then ends the agent: nothing of it does anything any more."""

    def __init__(self, steps: float = float("inf")) -> None:
        self._left = steps
        self._lock = threading.Lock()
        self.taken: list[str] = []
        self.blown = threading.Event()

    def __call__(self, what: str) -> None:
        with self._lock:
            if self.blown.is_set() or len(self.taken) >= self._left:
                self.blown.set()
                raise Crashed(what)
            self.taken.append(what)


class SteppedStore(DelegatingStore):
    """A datastore that a test can silence, and whose writes are steps before and after."""

    def __init__(self, store: DirectoryStore, step: Step) -> None:
        super().__init__(store)
        self._step = step
        self.silent = False

    def read(self, verb: str, key: Key, read: Callable[[], T]) -> T:
        self._expect_answers()
        return super().read(verb, key, read)

    def write(self, verb: str, key: Key, write: Callable[[], T]) -> T:
        self._expect_answers()
        self._step(f"before {verb} {key}")
        done = super().write(verb, key, write)
        self._step(f"after {verb} {key}")
        return done

    def _expect_answers(self) -> None:
        if self.silent:
            raise DatastoreUnavailable("the datastore does not answer")


class SteppedFiles(AttachmentFiles):
    """Files whose changes are steps before and after."""

    def __init__(self, directory: Path, boot_id: BootId, step: Step) -> None:
        super().__init__(directory, boot_id)
        self._step = step

    def write(self, attachment: KeptAttachment) -> None:
        self._step("before a file is written")
        super().write(attachment)
        self._step("after a file was written")

    def remove(self, container: ContainerId) -> None:
        self._step("before a file is removed")
        super().remove(container)
        self._step("after a file was removed")


class Agent:
    """One run of an agent on a rig."""

    def __init__(self, rig: "Rig", fuse: Fuse) -> None:
        self._rig = rig
        self.fuse = fuse
        self.store = SteppedStore(rig.store, fuse)
        self._inbox: Inbox[LoopMessage] = Inbox()
        self._stop = threading.Event()
        self.reports: list[Report] = []
        clock = SystemClock()
        files = SteppedFiles(rig.directory, rig.boot_id, fuse)
        self._service = AttachService(
            HOST,
            files,
            self.store,
            clock,
            self._inbox.post,
            FACTS.mtu,
            rig.still_held,
            lambda: rig.tasks,
        )
        settings = HostSettings(HOST, rig.boot_id)
        self._reconciler = HostReconciler(
            settings, rig.dataplane, clock, rig.still_held, self._service.chores
        )
        self._reconciler.hold(self._service.restore())
        vouch_for(self._reconciler)
        self._loop = AgentLoop(
            self._reconciler,
            settings,
            self._inbox,
            Outlets(self.reports.append, _ignore, _ignore),
            AgentMetrics(),
            clock,
        )
        self._seen = Revision(0)
        steps = (self._service.allocator.step, self._service.keeper.step)
        works = (self._loop.run, *(partial(self._repeat, step) for step in steps))
        self._threads = [
            threading.Thread(target=self._until_crashed, args=(work,), daemon=True)
            for work in works
        ]

    @property
    def attacher(self) -> HostAttacher:
        """What the socket would speak to."""
        return self._service.attacher

    def start(self) -> None:
        """Read the datastore and go on from there."""
        for prefix in (CALICO, BLOCKS, HOSTS):
            listing = self._rig.store.list(prefix)
            self._inbox.post(Loaded(prefix, listing))
            self._seen = listing.revision
        for thread in self._threads:
            thread.start()

    def watch(self) -> None:
        """Let the agent hear what changed in the datastore meanwhile."""
        for event in self._rig.store.watch(CALICO, self._seen, timeout=0):
            self._inbox.post(Changed(CALICO, event))
        self._seen = self._rig.store.list(CALICO).revision

    def end(self) -> None:
        """Stop every thread."""
        self._stop.set()
        self._inbox.post(Stop())
        for thread in self._threads:
            thread.join(10)

    def _repeat(self, step: Callable[[float], None]) -> None:
        while not self._stop.is_set():
            step(0.02)

    def _until_crashed(self, run: Callable[[], None]) -> None:
        with suppress(Crashed):
            run()


def _ignore(_: object) -> None:
    """Nobody listens."""


class Rig:
    """A host with a store, a kernel and files, which outlive every agent on it."""

    def __init__(self, directory: Path, pools: Iterable[IPNetwork]) -> None:
        self.directory = directory
        self.boot_id = BootId("boot-1")
        self.store = filled_store()
        for stored in self.store.list(POOLS).entries:
            self.store.delete(stored.key)
        for cidr in pools:
            pool = Pool(cidr)
            self.store.put(pool_key(pool), encode_pool(pool))
        self.dataplane = MemoryDataplane(FACTS, self._stepped)
        self.tasks: dict[ContainerId, frozenset[TaskId]] = {}
        self._fuse = Fuse()
        self._alive: set[int] = set()

    @contextmanager
    def running(self, fuse: Fuse | None = None) -> Iterator[Agent]:
        """Run an agent; the last one has ended."""
        self._fuse = fuse or Fuse()
        agent = Agent(self, self._fuse)
        agent.start()
        try:
            yield agent
        finally:
            agent.end()
            self._fuse = Fuse()

    def begin(self, namespace: Namespace) -> None:
        """Let the kernel have a namespace."""
        self._alive.add(namespace.ref.inode)
        self.dataplane.start_namespace(NamespaceRef(0, 0, namespace.ref.inode))

    def finish(self, inode: int) -> None:
        """Let a namespace end, and its link with it."""
        self._alive.discard(inode)
        self.dataplane.end_namespace(NamespaceRef(0, 0, inode))

    def reboot(self) -> None:
        """The host comes back empty but for its disk."""
        self.boot_id = BootId("boot-2")
        self.dataplane = MemoryDataplane(FACTS, self._stepped)
        self._alive.clear()

    def still_held(self, refs: Iterable[NamespaceRef]) -> frozenset[NamespaceRef]:
        return frozenset(ref for ref in refs if ref.inode in self._alive)

    @property
    def kernel(self) -> HostState:
        return self.dataplane.observe()

    def _stepped(self, what: str) -> None:
        self._fuse(f"kernel {what}")
