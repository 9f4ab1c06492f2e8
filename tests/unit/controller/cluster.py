"""The controller's loop on memory twins and a clock that is turned by hand."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

from netaddr import IPAddress, IPNetwork

from calico.cluster import HoldKind, HoldRecord
from calico.codec import (
    decode_applied,
    decode_chain,
    decode_endpoint,
    decode_hold,
    decode_task,
    encode_applied,
    encode_hold,
    encode_host,
)
from calico.datastore.api import DirectoryStore
from calico.datastore.memory import MemoryDatastore
from calico.errors import InvalidValue
from calico.keys import (
    APPLIED,
    CHAIN,
    CLUSTER_GUID,
    ENDPOINTS,
    HOLD,
    HOSTS,
    TASKS,
    applied_key,
    hold_key,
    host_key,
    parse_applied_key,
    parse_endpoint_key,
    parse_hold_key,
    parse_task_key,
)
from calico.model import (
    AppliedRecord,
    BootId,
    EndpointSpec,
    HostName,
    HostRecord,
    Pool,
    TaskId,
    TaskRecord,
)
from marathon_client.errors import MarathonError, MarathonUnavailable
from marathon_client.events import TaskStatus
from marathon_client.models import App, AppId, AppList, Info, Problem, Task, TaskState
from marathon_client.stream import Connected
from reconciler.controller.loop import ControllerLoop, LoopHooks
from reconciler.controller.marathon.allow_from import AllowFrom
from reconciler.controller.metrics import ControllerMetrics
from reconciler.controller.reconcile import Reconciler
from reconciler.controller.scheduling.agenda import READ_EVERY
from reconciler.controller.stored import StoredState
from reconciler.core.tasks.profiles import NetworkPolicy
from reconciler.runtime.clock import ManualClock
from reconciler.runtime.watchfeed import Loaded

#: What names of Marathon's leaders resolve to.
NAMES = {
    "http://leader:8080": (IPNetwork("10.0.0.9/32"),),
    "http://b:8080": (IPNetwork("10.0.0.8"),),
}


class MemoryMarathon:
    """Marathon as the controller sees it: apps by id, and the ways it fails."""

    def __init__(self) -> None:
        self.current: dict[AppId, App] = {}
        self.versions: dict[tuple[AppId, str], App] = {}
        self.problems: tuple[Problem, ...] = ()
        self.leader: str | None = "leader:8080"
        self.error: MarathonError | None = None
        self.framework: str | None = "first-0000"
        self.release = "1.1.1"
        #: Why it does not tell of any earlier version of an app.
        self.unread: dict[AppId, MarathonError] = {}
        #: Why it does not say who it is, while all else is answered.
        self.unnamed: MarathonError | None = None
        #: Of apps; it is small to say who one is.
        self.reads = 0

    def put(self, app: App) -> None:
        """Deploy, or change, an app."""
        self.current[app.id] = app
        self.versions[(app.id, app.version)] = app

    def app(self, app_id: AppId) -> App | None:
        self._answer()
        return self.current.get(app_id)

    def app_version(self, app_id: AppId, version: str) -> App | None:
        self._answer()
        if app_id in self.unread:
            raise self.unread[app_id]
        return self.versions.get((app_id, version))

    def apps(self) -> AppList:
        self._answer()
        return AppList(tuple(self.current.values()), self.problems, self.leader)

    def info(self) -> Info:
        error = self.error or self.unnamed
        if error is not None:
            raise error
        return Info(self.release, self.framework, self.leader)

    def _answer(self) -> None:
        self.reads += 1
        if self.error is not None:
            raise self.error


class Cluster:
    """One controller, one Marathon, one store; hosts that apply when told to."""

    def __init__(
        self,
        *hosts: str,
        pools: tuple[Pool, ...] = (),
        marathon: MemoryMarathon | None = None,
        store: DirectoryStore | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.store = store or MemoryDatastore(self.clock.monotonic)
        self.marathon = marathon or MemoryMarathon()
        self._seen: dict[str, Any] = {}
        #: Whether agents say nothing of their own accord.
        self.mute = False
        for number, name in enumerate(hosts or ("h1", "h2")):
            self.register(name, number)
        self.pools = pools
        self.asked: tuple[IPNetwork, ...] | None = None
        self.reconnects = 0
        self.start()

    def start(self) -> None:
        """A controller without memory, as after a takeover."""
        stored = StoredState()
        self.metrics = ControllerMetrics()
        self.reconciler = Reconciler(
            self.marathon, self.store, stored, NetworkPolicy(), self.clock, self.metrics
        )

        hooks = LoopHooks(
            prepare=lambda: self.reconciler.adoption.begin(self.pools),
            allow_from=AllowFrom(self.store, self.asked, (), lambda url: NAMES.get(url, ())),
            reconnect=self._reconnect,
        )
        self.loop = ControllerLoop(
            self.reconciler, stored, hooks, self.clock, lambda: 0.5, 60.0, self.metrics
        )
        self.tell_hosts()

    def _reconnect(self) -> None:
        self.reconnects += 1

    def register(self, name: str, number: int = 9, *, silent: bool = False) -> None:
        """An agent on a new host; a `silent` one has not said yet how far it is."""
        host = HostRecord(
            HostName(name), IPAddress(f"172.31.0.{number + 1}"), BootId("boot"), "machine", "1"
        )
        self.store.put(host_key(host.name), encode_host(host))
        if self.store.get(applied_key(host.name)) is None and not silent:
            self.tell(AppliedRecord(host.name, host.boot_id, 0))

    def tell(self, record: AppliedRecord) -> None:
        """Let an agent tell something as one that follows this store."""
        self.say(replace(record, **self._followed()))

    def say(self, record: AppliedRecord) -> None:
        """Let an agent tell just this."""
        self.store.put(applied_key(record.host), encode_applied(record))

    def follow(self, name: str) -> None:
        """Let one agent say that it follows this store, though all are mute."""
        self.tell(AppliedRecord(HostName(name), BootId("boot"), 0))
        self.tell_hosts()

    def _followed(self) -> dict[str, Any]:
        guid, chain = self.store.get(CLUSTER_GUID), self.store.get(CHAIN)
        takeover = 0 if chain is None else decode_chain(chain.value)[-1].number
        return {"guid": "" if guid is None else guid.value, "takeover": takeover}

    def _follow(self) -> bool:
        """Let agents see the latest takeover; tells whether they had not yet."""
        if self.mute or self._seen == (seen := self._followed()):
            return False
        self._seen = seen
        for stored in self.store.list(APPLIED).entries:
            host = parse_applied_key(stored.key)
            if host is not None:
                with suppress(InvalidValue):
                    record = decode_applied(host, stored.value)
                    if not record.doubt:
                        self.tell(record)
        self.loop.handle(Loaded(APPLIED, self.store.list(APPLIED)))
        return True

    def applied(self, *, gone: tuple[str, ...] = (), hosts: tuple[str, ...] = ("h1", "h2")) -> None:
        """Let hosts report that they are as far as the store is."""
        revision = self.store.list(HOSTS).revision
        for name in hosts:
            record = AppliedRecord(
                HostName(name), BootId("boot"), revision, tuple(map(TaskId, gone))
            )
            self.tell(record)
        self.tell_hosts()

    def connect(self) -> None:
        """Open the event stream."""
        self.loop.handle(Connected("http://marathon", self.marathon.leader))
        self.settle()

    def event(self, task: Task, state: TaskState, told: float | None = None) -> None:
        """One status update from Marathon's stream, no sooner than it is acted on."""
        self.clock.advance(READ_EVERY)
        self.loop.handle(TaskStatus(task.app_id, task.id, state, task.host, told))
        self.settle()

    def run(self, app: App) -> None:
        """Deploy an app and let its tasks be told of."""
        self.marathon.put(app)
        for task in app.tasks:
            self.event(task, TaskState.RUNNING)

    def kill(self, app: App, task: Task) -> None:
        """Let one task end, first in the list, then on the stream."""
        left = tuple(each for each in app.tasks if each.id != task.id)
        self.marathon.put(replace(app, tasks=left))
        self.event(task, TaskState.KILLED)

    def settle(self) -> None:
        """Work until nothing is due."""
        for _ in range(1000):
            if not self.loop.step() and not self._follow():
                return
        raise AssertionError("the loop does not come to rest")

    def after(self, seconds: float) -> None:
        """Let time pass in small steps, working all along."""
        for _ in range(int(seconds)):
            self.clock.advance(1.0)
            self.settle()

    def specs(self) -> dict[str, EndpointSpec]:
        """Every endpoint in the store, by task id."""
        found = {}
        for stored in self.store.list(ENDPOINTS).entries:
            endpoint = parse_endpoint_key(stored.key)
            if endpoint is not None:
                found[endpoint.workload] = decode_endpoint(endpoint, stored.value)
        return found

    def records(self) -> dict[str, TaskRecord]:
        """Every record in the store, by task id."""
        found = {}
        for stored in self.store.list(TASKS).entries:
            task = parse_task_key(stored.key)
            if task is not None:
                found[task] = decode_task(task, stored.value)
        return found

    def holds(self) -> dict[HoldKind, HoldRecord]:
        """What waits for an operator."""
        found = {}
        for stored in self.store.list(HOLD).entries:
            kind = parse_hold_key(stored.key)
            if kind is not None:
                found[kind] = decode_hold(kind, stored.value)
        return found

    def approve(self, kind: HoldKind, plan: str | None = None) -> None:
        """The operator lets go what waits, or another plan."""
        record = self.holds()[kind]
        self.store.put(hold_key(kind), encode_hold(replace(record, approved=plan or record.plan)))

    def fail(self, error: MarathonError | None) -> None:
        """Let Marathon fail from now on, or heal."""
        self.marathon.error = error

    def tell_hosts(self) -> None:
        """Let the controller read what is registered and applied."""
        for prefix in (HOSTS, APPLIED):
            self.loop.handle(Loaded(prefix, self.store.list(prefix)))
        self.settle()


UNAVAILABLE = MarathonUnavailable("http://marathon does not answer")
