"""The product's two processes, put together as `main` does, on the twins."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from netaddr import IPNetwork

from calico.datastore.api import DirectoryStore, Fence, Key, unfenced
from calico.model import Pool, TaskId
from marathon_client.stream import StreamItem
from reconciler.agent.attachments.requests import NO_CHORES
from reconciler.agent.attachments.service import AttachService
from reconciler.agent.belief import PREFIXES
from reconciler.agent.loop import AgentLoop, LoopMessage, Outlets, Searcher, Stop
from reconciler.agent.observation.leader import LeaderReader
from reconciler.agent.reconciliation.passes import HostSettings, KernelChanged
from reconciler.agent.reconciliation.reconcile import HostReconciler
from reconciler.agent.reporting.metrics import AgentMetrics
from reconciler.agent.reporting.reporter import Report, Reporter
from reconciler.agent.state_file import SavedState, parse_state, render_state
from reconciler.controller.leadership import Leadership, ProcessContext
from reconciler.controller.metrics import ControllerMetrics
from reconciler.controller.reconcile import Marathon
from reconciler.controller.scheduling.intake import Message
from reconciler.controller.settings import ControllerSettings
from reconciler.runtime.clock import Clock, ManualClock
from reconciler.runtime.watchfeed import Bookmark, FeedMessage, WatchFeed, read_anew
from tests.simulation.conditions import Asked, SteppedCondition
from tests.simulation.runtimes import Runtime, Serving
from tests.simulation.scheduler import Exited, Inbox, Never, Process, Scheduler
from tests.simulation.twins.containers import FilesTwin, NamespacesTwin
from tests.simulation.twins.host import ContainersPage, HostLocator, HostTwin

T = TypeVar("T")

MTU = 1500
POOL = Pool(IPNetwork("10.9.0.0/25"))
RESYNC = 60.0
#: Seconds; who waits for nothing else need not look again sooner.
LONG = 3600.0
#: Seconds between two looks of those who look after containers.
LOOKS = 5.0


class WrongClock:
    """Measures time right, and shows people a wrong date; implements `Clock`."""

    def __init__(self, clock: ManualClock, offset: timedelta) -> None:
        self.monotonic = clock.monotonic
        self._clock = clock
        self._offset = offset

    def wall(self) -> datetime:
        """See Clock."""
        return self._clock.wall() + self._offset


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all processes share; metrics say nothing here, and are dear to make."""

    scheduler: Scheduler
    chance: random.Random
    controller_metrics: ControllerMetrics
    agent_metrics: AgentMetrics

    def clock(self) -> WrongClock:
        """The clock of a process that starts, an hour off at most."""
        return WrongClock(self.scheduler.clock, timedelta(minutes=self.chance.randint(-60, 60)))


class ControllerProcess:
    """One controller, over all its lives."""

    def __init__(
        self,
        surroundings: Surroundings,
        store: DirectoryStore,
        marathon: Marathon,
        follow: Callable[[str, Callable[[StreamItem], None]], None],
    ) -> None:
        self._surroundings = surroundings
        self._store = store
        self._marathon = marathon
        self._follow = follow
        self._lives = 0
        #: What SIGTERM does while it runs.
        self.terminate: Callable[[], None] = lambda: None

    def main(self, process: Process) -> None:
        """Stand by, lead, and end when the lease is lost."""
        self._lives += 1
        scheduler = self._surroundings.scheduler
        inbox, stop = Inbox[Message](scheduler), Asked(scheduler)
        # Waiting for nothing else, it looks a moment later.
        self.terminate = stop.set
        follow = partial(self._follow, process.name, inbox.post)
        settings = ControllerSettings(self._open, (), pools=(POOL,), allow_from=(), resync=RESYNC)
        context = ProcessContext(
            inbox,
            lambda _, run: process.spawn(run),
            stop,
            self._surroundings.clock(),
            self._surroundings.chance.random,
            follow,
            self._surroundings.controller_metrics,
        )
        turn = Leadership(settings, self._marathon, f"{process.name}:{self._lives}", context)
        if turn.stand_by():
            follow()
            turn.lead()
        raise Exited

    def _open(self, fence: Fence = unfenced) -> DirectoryStore:  # noqa: ARG002 - see FencedDatastore
        return self._store


class AgentProcess:
    """One host's agent, over all its lives."""

    def __init__(
        self,
        surroundings: Surroundings,
        store: DirectoryStore,
        host: HostTwin,
        runtime: Runtime | None = None,
    ) -> None:
        """Without a `runtime` nobody on the host asks for networks."""
        self._runtime = runtime
        self._surroundings = surroundings
        self._store = store
        self._host = host
        #: What SIGTERM does while it runs.
        self.terminate: Callable[[], None] = lambda: None

    def main(self, process: Process) -> None:
        """Follow the datastore and keep the kernel, for ever."""
        surroundings, host = self._surroundings, self._host
        scheduler, chance, clock = surroundings.scheduler, surroundings.chance, surroundings.clock()
        inbox, searches = Inbox[LoopMessage](scheduler), Inbox[frozenset[TaskId]](scheduler)
        states, reported = Inbox[SavedState](scheduler), Inbox[None](scheduler)
        settings = HostSettings(host.name, host.boot_id, locators=("proc",))
        feeds = [_feed(prefix, self._store, inbox.post, scheduler) for prefix in PREFIXES]
        again = partial(read_anew, feeds)
        service = self._service(inbox.post, clock, again) if self._runtime is not None else None
        chores = NO_CHORES if service is None else service.chores
        reconciler = HostReconciler(settings, host.dataplane, clock, host.still_held, chores)
        if host.disk:
            reconciler.restore(parse_state(host.disk))
        if service is not None:
            reconciler.hold(service.restore())
        reporter = Reporter(host.name, self._store, clock, chance.random)
        searcher = Searcher((HostLocator(host, scheduler.now),), inbox.post)

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
            self._surroundings.agent_metrics,
            clock,
        )
        reader = LeaderReader(self._store, inbox.post, lambda: reconciler.is_vouched_for)
        process.spawn(lambda: reader.run(Never(scheduler)))
        process.spawn(tell)
        process.spawn(lambda: self._serve(searches, lambda asked: searcher.answer(_union(asked))))
        process.spawn(lambda: self._serve(states, self._save))
        for feed in feeds:
            process.spawn(feed.run)
        if self._runtime is not None and service is not None:
            self._attend(process, service)
            self._runtime.serving = Serving(process, service)
        try:
            self.terminate = lambda: inbox.post(Stop())
            loop.run()
            raise Exited
        finally:
            end()
            if self._runtime is not None:
                self._runtime.serving = None

    def _service(
        self, tell: Callable[[LoopMessage], None], clock: Clock, again: Callable[[], None]
    ) -> AttachService:
        scheduler, host = self._surroundings.scheduler, self._host
        return AttachService(
            host.name,
            FilesTwin(host, host.step),  # type: ignore[arg-type]  # of that form
            self._store,
            clock,
            tell,
            MTU,
            host.still_held,
            ContainersPage(host, scheduler.now).read,
            NamespacesTwin(host),
            lambda: SteppedCondition(scheduler),
            again,
        )

    def _attend(self, process: Process, service: AttachService) -> None:
        """What `AttachService.serving` starts, with fewer looks around."""
        for step in (service.allocator.step, service.keeper.step, service.asker.step):
            process.spawn(partial(_again_and_again, step))

    def _serve(self, inbox: Inbox[T], work: Callable[[Sequence[T]], None]) -> None:
        while True:
            waiting = inbox.drain(LONG)
            if waiting:
                work(waiting)

    def _save(self, states: Sequence[SavedState]) -> None:
        content = render_state(states[-1])
        self._surroundings.scheduler.give_way()
        self._host.disk = content
        self._surroundings.scheduler.sleep(1.0)


def _again_and_again(step: Callable[[float], None]) -> None:
    while True:
        step(LOOKS)


def _feed(
    prefix: Key,
    store: DirectoryStore,
    post: Callable[[FeedMessage | Bookmark], None],
    scheduler: Scheduler,
) -> WatchFeed:
    stop = Never(scheduler)
    return WatchFeed(
        prefix,
        lambda: store,
        post,
        stop,  # type: ignore[arg-type]  # of that form
        scheduler.clock,
        post_bookmark=post,
    )


def _union(asked: Sequence[frozenset[TaskId]]) -> frozenset[TaskId]:
    return frozenset[TaskId]().union(*asked)
