"""One controller that follows a stand-in whose faults are switched on."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from calico.datastore.memory import MemoryDatastore
from demo.marathon import Era, FaultTable, MemoryAgent, RestFault, StreamFaults
from demo.mesos.records import LaunchOrder, TaskId
from marathon_client.client import MarathonClient
from marathon_client.models import App, AppId, AppList, Info
from marathon_client.stream import Backoff, EventStream
from marathon_client.transport import Timeouts
from tests.contract.stand_in.era_cluster import PATIENCE, EraCluster
from tests.contract.stand_in.era_world import Marathon, app_of, marathon_of

WEB = "/shop/web"
#: Short waits of the client, where a fault is one of waiting.
QUICK = Timeouts(connect=0.5, read=0.5, total=1.0)
SOON = Backoff(least=0.02, most=0.1)
#: Virtual seconds within which nothing but an event explains what happened: the
#: next timed list is 60 s away.
BY_EVENT = 20.0


class CountedClient:
    """The real client, and how often each call was made."""

    def __init__(self, client: MarathonClient) -> None:
        self._client = client
        self.lists = 0
        self.reads: dict[AppId, int] = {}

    def app(self, app_id: AppId) -> App | None:
        self.reads[app_id] = self.reads.get(app_id, 0) + 1
        return self._client.app(app_id)

    def app_version(self, app_id: AppId, version: str) -> App | None:
        return self._client.app_version(app_id, version)

    def apps(self) -> AppList:
        self.lists += 1
        return self._client.apps()

    def info(self) -> Info:
        return self._client.info()

    def close(self) -> None:
        self._client.close()


class World:
    """Marathon, its controller, and what both say."""

    def __init__(
        self,
        marathon: Marathon,
        cluster: EraCluster,
        client: CountedClient,
        stream: EventStream,
    ) -> None:
        self.marathon = marathon
        self.era_cluster = cluster
        self.cluster = cluster.cluster
        self.client = client
        self.stream = stream

    def break_rest(self, *faults: RestFault) -> None:
        """From now on REST answers so."""
        self.marathon.stand_in.faults.set(FaultTable(rest=faults))

    def break_stream(self, faults: StreamFaults) -> None:
        """From now on the stream does so."""
        self.marathon.stand_in.faults.set(FaultTable(stream=faults))

    def heal(self) -> None:
        """No fault any more."""
        self.marathon.stand_in.faults.set(FaultTable())

    def deploy(
        self, app_id: str = WEB, instances: int = 1, *, named: bool = False, **fields: object
    ) -> None:
        """Create an app, whose tasks start at once; a plugin attaches those of a named network."""
        app = app_of(self.marathon.era, app_id, instances=instances, **fields)
        if not named:
            app.get("ipAddress", {}).pop("networkName", None)
        self.marathon("POST", "/v2/apps", app, status=201)

    def change(self, app_id: str = WEB, **fields: object) -> None:
        """Change an app."""
        self.marathon("PUT", f"/v2/apps{app_id}?force=true", fields)

    def end(self, *tasks: str) -> None:
        """Tasks end by themselves."""
        for task in tasks:
            self.marathon.agent.end(TaskId(task))

    def running(self) -> set[str]:
        """The tasks that run on the host."""
        return set(self.marathon.agent.alive())

    def opened(self) -> set[str]:
        """The tasks that have an endpoint."""
        return set(self.cluster.specs())

    def until(self, holds: Callable[[], bool]) -> None:
        """Work until this holds."""
        self.era_cluster.until(holds)

    def until_open(self, instances: int) -> None:
        """Work until exactly the tasks that run have endpoints, so many."""
        self.until(lambda: len(self.running()) == instances and self.opened() == self.running())

    def by_event(self, holds: Callable[[], bool]) -> None:
        """Work until this holds, which it does before the next timed list."""
        began = self.cluster.clock.monotonic()
        self.until(holds)
        assert self.cluster.clock.monotonic() - began < BY_EVENT

    def pass_by(self, seconds: float, always: Callable[[], bool] = lambda: True) -> None:
        """Work for so long on the controller's clock; this holds all along."""
        until = self.cluster.clock.monotonic() + seconds
        deadline = time.monotonic() + 2 * PATIENCE
        while self.cluster.clock.monotonic() < until:
            assert time.monotonic() < deadline
            self.era_cluster.work(step=1.0, patience=0.01)
            assert always()

    def tell(self, task: str, state: str) -> None:
        """The stream says so, whatever is the case."""
        name = "status_update_event"
        body = {"eventType": name, "taskStatus": state, "appId": WEB, "taskId": task}
        self.marathon.stand_in.send(name, {**body, "host": "host-1"})


@contextmanager
def following(
    era: Era = Era(1, 4),  # noqa: B008 - a frozen value
    *,
    urls: tuple[str, ...] = ("",),
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - a frozen value
    idle: float = 35.0,
    backoff: Backoff = SOON,
    most_event_bytes: int = 1 << 24,
    address_of: Callable[[LaunchOrder], tuple[str, ...]] = lambda _: (),
    **options: Any,
) -> Iterator[World]:
    """The controller is told of these URLs; an empty one is Marathon's own."""
    agent = MemoryAgent(address_of=address_of)
    with marathon_of(era, agent=agent, **options) as marathon:
        told = [url or marathon.url for url in urls]
        client = CountedClient(MarathonClient(told, timeouts=timeouts))
        stream = EventStream(
            told,
            timeouts=timeouts,
            idle_timeout=idle,
            backoff=backoff,
            most_event_bytes=most_event_bytes,
        )
        cluster = EraCluster(marathon, MemoryDatastore(), {}, client, stream)
        cluster.open()
        try:
            world = World(marathon, cluster, client, stream)
            world.until(lambda: stream.stats.connected)
            # The list that follows the connection, not that of the start.
            world.pass_by(2)
            yield world
        finally:
            cluster.close()
