"""The real controller, client and stream on a stand-in of any era; the rest in memory."""

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from netaddr import IPAddress, IPNetwork

from calico.datastore.memory import MemoryDatastore
from calico.model import Attachment, ContainerId, EndpointSpec, Pool
from calico.names import interface_of_container
from demo.marathon import Era, MemoryAgent
from demo.mesos.records import Json, LaunchOrder
from marathon_client.client import MarathonClient
from marathon_client.stream import EventStream, StreamItem
from tests.contract.stand_in.era_world import Marathon, marathon_of
from tests.unit.controller.attaching import attach, tell
from tests.unit.controller.cluster import Cluster

HOST = "host-1"
POOL = Pool(IPNetwork("10.9.0.0/24"))
PATIENCE = 15.0
#: Containers and their addresses, by task.
Attached = dict[str, tuple[ContainerId, tuple[IPAddress, ...]]]


class EraCluster:
    """One host, one Marathon, one controller whose clock is turned by hand."""

    def __init__(
        self,
        marathon: Marathon,
        store: MemoryDatastore,
        attached: Attached,
        client: MarathonClient | None = None,
        stream: EventStream | None = None,
    ) -> None:
        self.marathon = marathon
        self.attached = attached
        self._told: tuple[Attachment, ...] = ()
        self._items: queue.SimpleQueue[StreamItem] = queue.SimpleQueue()
        self._client = client or MarathonClient([marathon.url])
        self._stream = stream or EventStream([marathon.url])
        self.cluster = Cluster(HOST, pools=(POOL,), marathon=self._client, store=store)
        self._thread = threading.Thread(target=self._read, name="stream", daemon=True)

    def open(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """Hang up."""
        self._stream.stop()
        self._thread.join(timeout=PATIENCE)
        self._client.close()

    def until(self, holds: Callable[[], bool]) -> None:
        """Work, as time goes by, until this holds."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, (self.cluster.records(), self.cluster.specs())
            self.work()

    def work(self, step: float = 0.1, patience: float = 0.02) -> None:
        """Do what the next event asks for; without one, let so many seconds go by."""
        try:
            self.cluster.loop.handle(self._items.get(timeout=patience))
        except queue.Empty:
            self.cluster.clock.advance(step)
        self.tell()
        self.cluster.settle()

    def tell(self) -> None:
        """Let the host's agent tell of the containers that no task has claimed."""
        claimed = {spec.interface for spec in self.specs().values()}
        unclaimed = tuple(
            Attachment(container, addresses, task)
            for task, (container, addresses) in dict(self.attached).items()
            if interface_of_container(container) not in claimed
        )
        if unclaimed != self._told:
            self._told = unclaimed
            tell(self.cluster, *unclaimed, host=HOST)

    def fail(self, instance: str) -> None:
        """All tasks of an instance end by themselves, and its executor with them."""
        agent = self.marathon.agent
        for task in agent.alive():
            if task.startswith(instance):
                # Its next executor is another container.
                group = agent.groups.get(task)
                self.attached.pop(task if group is None else group.executor_id, None)
                agent.end(task)

    def specs(self) -> dict[str, EndpointSpec]:
        """Every endpoint by its task."""
        return self.cluster.specs()

    def tasks(self) -> set[str]:
        """The tasks and the instances of pods that Marathon shows."""
        shown = {task["id"] for task in self.marathon("GET", "/v2/tasks")["tasks"]}
        if self.marathon.era.has_instances:
            for pod in self.marathon("GET", "/v2/pods/::status"):
                shown |= {_incarnation(instance) for instance in pod["instances"]}
        return shown

    def settled(self, instances: int, groups: tuple[str, ...]) -> bool:
        """True once exactly the running tasks have endpoints, with these groups."""
        specs, records = self.specs(), self.cluster.records()
        return (
            not self.marathon("GET", "/v2/deployments")
            and len(specs) == instances
            and set(specs) == self.tasks()
            and all(records[task].groups == groups for task in specs)
        )

    def _read(self) -> None:
        for item in self._stream:
            self._items.put(item)


def _incarnation(instance: Json) -> str:
    """An instance's id, told apart from that of its executors before."""
    number = instance["containers"][0]["containerId"].rpartition(".")[2]
    return f"{instance['id']}.{number}" if number.isdigit() and number != "1" else instance["id"]


@contextmanager
def era_cluster(
    era: Era, plugin: bool, store: MemoryDatastore | None = None, **options: Any
) -> Iterator[EraCluster]:
    """Tasks are attached before they run, or are given an address once they do."""
    store = store or MemoryDatastore()
    attached: Attached = {}
    numbers = itertools.count(1)

    def address_of(order: LaunchOrder) -> tuple[str, ...]:
        if not plugin:
            return ()
        # A pod's executor is one container, whichever of its tasks asks.
        group = agent.groups.get(order.task_id)
        subject = order.task_id if group is None else group.executor_id
        if subject not in attached:
            container = ContainerId(f"c{next(numbers)}-{subject}")
            attached[subject] = (container, attach(store, container, HOST, runs=subject))
        return tuple(map(str, attached[subject][1]))

    agent = options.pop("agent", None) or MemoryAgent(address_of=address_of)
    with marathon_of(era, agent=agent, **options) as marathon:
        cluster = EraCluster(marathon, store, attached)
        cluster.open()
        try:
            yield cluster
        finally:
            cluster.close()
