"""The product's two processes, put together as `main` does, on the twins."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from netaddr import IPNetwork

from calico.datastore.api import DirectoryStore, Key
from calico.errors import DatastoreError
from calico.keys import APPLIED, HOSTS, LEADER, POOLS
from calico.model import Pool, TaskId
from marathon_client.stream import StreamItem
from reconciler.agent.belief import PREFIXES
from reconciler.agent.loop import AgentLoop, LoopMessage, Outlets, Searcher
from reconciler.agent.passing.passes import HostSettings, KernelChanged
from reconciler.agent.passing.reconcile import HostReconciler
from reconciler.agent.state_file import SavedState, parse_state, render_state
from reconciler.agent.telling.metrics import AgentMetrics
from reconciler.agent.telling.reporter import Report, Reporter
from reconciler.controller.allow_from import AllowFrom
from reconciler.controller.bootstrap import bootstrap
from reconciler.controller.loop import ControllerLoop, Message, Outlook
from reconciler.controller.metrics import ControllerMetrics
from reconciler.controller.reconcile import Marathon, Reconciler
from reconciler.controller.stored import StoredState
from reconciler.core.tasks.profiles import NetworkPolicy
from reconciler.runtime.lease import RENEW_EVERY, FencedDatastore, Lease, LeaseLost
from reconciler.runtime.watchfeed import FeedMessage, WatchFeed
from tests.simulation.scheduler import Exited, Inbox, Never, Process, Scheduler
from tests.simulation.twins.host import HostLocator, HostTwin

T = TypeVar("T")

POOL = Pool(IPNetwork("10.9.0.0/25"))
RESYNC = 60.0
#: Seconds; who waits for nothing else need not look again sooner.
LONG = 3600.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all processes share; metrics say nothing here, and are dear to make."""

    scheduler: Scheduler
    chance: random.Random
    controller_metrics: ControllerMetrics
    agent_metrics: AgentMetrics


class ControllerProcess:
    """One controller, over all its lives."""

    def __init__(
        self,
        around: Surroundings,
        store: DirectoryStore,
        marathon: Marathon,
        follow: Callable[[str, Callable[[StreamItem], None]], None],
    ) -> None:
        self._around = around
        self._store = store
        self._marathon = marathon
        self._follow = follow
        self._lives = 0

    def main(self, process: Process) -> None:
        """Stand by, lead, and end when the lease is lost."""
        self._lives += 1
        scheduler, clock = self._around.scheduler, self._around.scheduler.clock
        lease = Lease(self._store, LEADER, f"{process.name}:{self._lives}", clock)
        while not self._keep(lease):
            scheduler.sleep(RENEW_EVERY)
        datastore = FencedDatastore(self._store, lease)
        stored, inbox = StoredState(), Inbox[Message](scheduler)
        metrics = self._around.controller_metrics
        reconciler = Reconciler(self._marathon, datastore, stored, NetworkPolicy(), clock, metrics)
        outlook = Outlook(
            prepare=partial(bootstrap, datastore, (POOL,)),
            allow_from=AllowFrom(datastore, (), ()),
            listen=lambda: inbox.drain(0.0),
            reconnect=lambda: self._follow(process.name, inbox.post),
        )
        loop = ControllerLoop(
            reconciler, stored, outlook, clock, self._around.chance.random, RESYNC, metrics
        )
        for prefix in (HOSTS, APPLIED, POOLS):
            feed = _feed(prefix, self._store, inbox.post, scheduler)
            process.spawn(feed.run)
        process.spawn(partial(self._renew, lease))
        self._follow(process.name, inbox.post)
        try:
            while lease.held:
                for message in inbox.drain(loop.wait()):
                    loop.handle(message)
                loop.step()
        except LeaseLost:
            pass
        raise Exited

    def _renew(self, lease: Lease) -> None:
        while lease.token is not None:
            self._around.scheduler.sleep(RENEW_EVERY)
            self._keep(lease)

    def _keep(self, lease: Lease) -> bool:
        try:
            return lease.keep()
        except DatastoreError:
            return False


class AgentProcess:
    """One host's agent, over all its lives."""

    def __init__(self, around: Surroundings, store: DirectoryStore, host: HostTwin) -> None:
        self._around = around
        self._store = store
        self._host = host

    def main(self, process: Process) -> None:
        """Follow the datastore and keep the kernel, for ever."""
        scheduler, host, chance = self._around.scheduler, self._host, self._around.chance
        clock = scheduler.clock
        inbox, searches = Inbox[LoopMessage](scheduler), Inbox[frozenset[TaskId]](scheduler)
        states, reported = Inbox[SavedState](scheduler), Inbox[None](scheduler)
        settings = HostSettings(host.name, host.boot_id, locators=("proc",))
        reconciler = HostReconciler(settings, host.dataplane, clock, host.still_held)
        if host.disk:
            reconciler.restore(parse_state(host.disk))
        reporter = Reporter(host.name, self._store, clock, chance.random)
        searcher = Searcher((HostLocator(host),), inbox.post)

        def report(newest: Report) -> None:
            reporter.post(newest)
            reported.post(None)

        def tell() -> None:
            while True:
                reported.drain(reporter.wait())
                reporter.step()

        end = host.dataplane.listen(lambda noticed: inbox.post(KernelChanged(noticed)))
        loop = AgentLoop(
            reconciler,
            settings,
            inbox,  # type: ignore[arg-type]  # the scheduler's own, of the same form
            Outlets(report, states.post, searches.post),
            self._around.agent_metrics,
            clock,
        )
        process.spawn(tell)
        process.spawn(lambda: self._serve(searches, lambda asked: searcher.answer(_union(asked))))
        process.spawn(lambda: self._serve(states, self._save))
        for prefix in PREFIXES:
            feed = _feed(prefix, self._store, inbox.post, scheduler)
            process.spawn(feed.run)
        try:
            loop.run()
        finally:
            end()

    def _serve(self, inbox: Inbox[T], work: Callable[[Sequence[T]], None]) -> None:
        while True:
            waiting = inbox.drain(LONG)
            if waiting:
                work(waiting)

    def _save(self, states: Sequence[SavedState]) -> None:
        content = render_state(states[-1])
        self._around.scheduler.give_way()
        self._host.disk = content
        self._around.scheduler.sleep(1.0)


def _feed(
    prefix: Key,
    store: DirectoryStore,
    post: Callable[[FeedMessage], None],
    scheduler: Scheduler,
) -> WatchFeed:
    stop = Never(scheduler)
    return WatchFeed(prefix, lambda: store, post, stop, scheduler.clock)  # type: ignore[arg-type]  # of that form


def _union(asked: Sequence[frozenset[TaskId]]) -> frozenset[TaskId]:
    return frozenset[TaskId]().union(*asked)
