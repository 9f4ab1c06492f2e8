"""The loop around a reconciler: what it hands over and what its pages say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from netaddr import IPNetwork

from calico.dataplane.memory import MemoryDataplane
from calico.dataplane.state import HostFacts
from calico.datastore.api import Key
from calico.datastore.memory import MemoryDatastore
from calico.keys import CALICO, status_key
from calico.model import AppliedRecord, BootId, HostFlags, PortRange, Protected, Refusal, TaskId
from reconciler.agent.belief import PREFIXES
from reconciler.agent.locators.api import Located, LocatorUnavailable, Search
from reconciler.agent.loop import STUCK_AFTER, AgentLoop, LoopMessage, Outlets, Searcher, Stop
from reconciler.agent.observation.lookout import LOOK_EVERY, LookAsked
from reconciler.agent.observation.looks import FULL_EVERY
from reconciler.agent.reconciliation.passes import ContainersChanged, HostSettings, KernelChanged
from reconciler.agent.reconciliation.reconcile import HostReconciler
from reconciler.agent.reporting.metrics import AgentMetrics
from reconciler.agent.reporting.reporter import Report
from reconciler.agent.state_file import SavedState, StateWritten
from reconciler.attach.refusals import Refusals
from reconciler.core.kernels.look import Look
from reconciler.runtime.clock import ManualClock
from reconciler.runtime.inbox import Inbox
from reconciler.runtime.watchfeed import Unreachable
from tests.unit.agent.world import HOST, OTHER_HOST, UNDERLAY, filled_store, loaded, put_spec, spec

WEB = spec(TaskId("web.1"), "192.168.0.1", "a")
PROTECTED = Protected(IPNetwork("10.0.0.9/32"), 2379)
FACTS = HostFacts("eth0", UNDERLAY, 1500, (IPNetwork("10.0.0.0/24"),))


@dataclass
class Bench:
    """A loop with nobody at its outlets."""

    clock: ManualClock = field(default_factory=ManualClock)
    inbox: Inbox[LoopMessage] = field(default_factory=Inbox)
    metrics: AgentMetrics = field(default_factory=AgentMetrics)
    reports: list[Report] = field(default_factory=list)
    saved: list[SavedState] = field(default_factory=list)
    searches: list[frozenset[TaskId]] = field(default_factory=list)

    def loop(
        self,
        report: Callable[[Report], None] | None = None,
        refusals: Callable[[], tuple[Refusal, ...]] = tuple,
        saved: SavedState | None = None,
    ) -> AgentLoop:
        settings = HostSettings(
            HOST, BootId("boot"), host_ports=(PortRange(53, 53),), protected=(PROTECTED,)
        )
        reconciler = HostReconciler(settings, MemoryDataplane(FACTS), self.clock, set)
        if saved is not None:
            reconciler.restore(saved)
        outlets = Outlets(report or self.reports.append, self.saved.append, self.searches.append)
        return AgentLoop(
            reconciler, settings, self.inbox, outlets, self.metrics, self.clock, refusals
        )

    def applied(self) -> AppliedRecord:
        """What was told last of the kernel."""
        told = self.reports[-1].applied
        assert told is not None
        return told

    def count(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"marathon_calico_agent_{name}", labels)


def turn(loop: AgentLoop, messages: Sequence[LoopMessage]) -> float:
    """Advance, and tell at once what was reached."""
    wait = loop.advance(messages)
    loop.report()
    return wait


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def store() -> MemoryDatastore:
    store = filled_store()
    put_spec(store, WEB)
    return store


def test_an_agent_registers_before_it_knows_what_to_do(bench: Bench) -> None:
    turn(bench.loop(), ())

    (report,) = bench.reports
    assert report.host is not None
    assert report.host.address == UNDERLAY
    assert report.statuses is None
    assert bench.saved == []


def test_an_agent_registers_its_pages_and_its_flags(bench: Bench) -> None:
    # given an agent that is told to end when it has told what its first pass came to
    def report(told: Report) -> None:
        bench.reports.append(told)
        bench.inbox.post(Stop())

    bench.loop(report).run(":9402")

    (told,) = bench.reports
    assert told.host is not None
    assert told.host.listen == ":9402"
    assert told.host.flags == HostFlags((PortRange(53, 53),), (PROTECTED,))


def test_calls_that_came_to_nothing_are_counted_and_the_last_told(
    bench: Bench, store: MemoryDatastore
) -> None:
    refusals = Refusals(bench.clock, bench.metrics.note_refusal)
    loop = bench.loop(refusals=refusals.last)
    turn(loop, loaded(store))

    refusals.note("cni", "refused", "the pool is full")
    bench.clock.advance(FULL_EVERY)
    turn(loop, ())

    (told,) = bench.applied().refusals
    assert (told.caller, told.why) == ("cni", "the pool is full")
    assert bench.count("refused_calls_total", caller="cni", kind="refused") == 1


def test_whoever_asks_is_shown_the_kernel(bench: Bench, store: MemoryDatastore) -> None:
    loop = bench.loop()
    seen: list[Look | str] = []
    turn(loop, [LookAsked(seen.append)])
    assert seen == ["the datastore is not yet read"]

    bench.clock.advance(2 * LOOK_EVERY)
    turn(loop, [*loaded(store), LookAsked(seen.append)])
    look = seen[-1]
    assert isinstance(look, Look)
    assert (look.host, look.addresses, look.revision) == (
        HOST,
        (UNDERLAY,),
        store.list(CALICO).revision,
    )
    # then what waits for its namespace is wanted and not there
    assert WEB.interface in look.desired.links
    assert WEB.interface not in look.observed.links


def test_a_look_is_shared_for_a_second(bench: Bench, store: MemoryDatastore) -> None:
    loop = bench.loop()
    turn(loop, loaded(store))
    seen: list[Look | str] = []
    for advance in (0.0, LOOK_EVERY / 2, LOOK_EVERY):
        bench.clock.advance(advance)
        turn(loop, [LookAsked(seen.append)])
    assert seen[0] is seen[1]
    assert seen[1] is not seen[2]


def test_a_list_is_programmed_reported_saved_and_searched_for(
    bench: Bench, store: MemoryDatastore
) -> None:
    wait = turn(bench.loop(), loaded(store))

    assert list(bench.reports[-1].statuses or ()) == [status_key(WEB.id)]
    assert bench.searches == [{"web.1"}]
    assert len(bench.saved) == 1
    assert 0 < wait <= FULL_EVERY
    assert bench.count("endpoints", status="down") == 1
    assert bench.count("changes_total", kind="CommitTable") == 1


def test_without_messages_nothing_is_done_until_something_is_due(
    bench: Bench, store: MemoryDatastore
) -> None:
    loop = bench.loop()
    turn(loop, loaded(store))
    before = len(bench.reports)

    turn(loop, ())

    assert len(bench.reports) == before


def test_a_state_that_cannot_be_saved_is_a_problem_of_the_host_until_it_can(
    bench: Bench, store: MemoryDatastore
) -> None:
    loop = bench.loop()
    turn(loop, loaded(store))
    turn(loop, [StateWritten("the disk is full")])
    assert "the disk is full" in bench.applied().problems
    assert loop.readiness().fields["problems"] == ["the disk is full"]
    turn(loop, [StateWritten()])
    assert bench.applied().problems == ()


def test_readiness_follows_the_datastore(bench: Bench, store: MemoryDatastore) -> None:
    loop = bench.loop()
    assert loop.readiness().ok is False

    turn(loop, loaded(store))
    assert loop.readiness().ok is True
    assert "leading controller" in str(loop.readiness().fields["why_not_attached"])

    turn(loop, (Unreachable(CALICO, "http://x does not answer"),))
    bench.clock.advance(7)
    assert loop.readiness().fields["reason"] == "http://x does not answer"
    assert bench.count("datastore_age_seconds") == 7

    turn(loop, loaded(store))
    assert loop.readiness().ok is True
    assert bench.count("datastore_age_seconds") == 0


def test_an_agent_tells_nothing_that_it_reached_of_a_store_that_it_doubts(
    bench: Bench, store: MemoryDatastore
) -> None:
    # given an agent that followed a store far
    for number in range(100):
        store.put(Key(f"{CALICO}/noise"), str(number))
    loop = bench.loop()
    turn(loop, loaded(store))
    turn(loop, (KernelChanged(),))
    assert bench.applied().revision == store.list(CALICO).revision

    # when that is restored from an old backup, whose numbers are lower
    restored = filled_store()
    turn(loop, loaded(restored))

    # then it claims nothing of a store that it does not follow, until it does
    told = bench.applied()
    assert any("went back" in problem for problem in told.problems)
    assert told.revision == 0
    assert "went back" in told.doubt

    # but what it holds of the one that it did follow
    objection = bench.reports[-1].objection
    assert objection is not None
    assert (objection.guid, objection.hosts) == (told.guid, (HOST, OTHER_HOST))
    assert bench.reports[0].objection is None


def test_an_agent_that_was_restarted_objects_only_to_what_it_has_read(
    bench: Bench, store: MemoryDatastore
) -> None:
    # given what an earlier run believed, and a store that was wiped since
    turn(bench.loop(), loaded(store))
    later = Bench()
    loop = later.loop(saved=bench.saved[-1])

    # when it is read prefix by prefix
    turn(loop, ())
    for message in loaded(MemoryDatastore()):
        turn(loop, (message,))

    # then nothing is told of the host's progress until it is known what to say
    assert [each.applied is None for each in later.reports] == [True, True, True, False]
    assert later.reports[-1].objection is not None
    assert "went back" in later.applied().doubt


def test_an_agent_that_acts_on_its_state_file_reports_of_no_endpoint(
    bench: Bench, store: MemoryDatastore
) -> None:
    # given what an earlier run kept of a cluster that has gone on since
    turn(bench.loop(), loaded(store))
    later = Bench()
    loop = later.loop(saved=bench.saved[-1])

    # when no datastore answers
    turn(loop, tuple(Unreachable(prefix, "etcd is away") for prefix in PREFIXES))

    # then the statuses that are there, of endpoints it has not heard of, stay
    told = later.reports[-1]
    assert loop.readiness().fields["source"] == "file"
    assert told.statuses is None


def test_a_loop_that_hangs_is_not_healthy(bench: Bench) -> None:
    loop = bench.loop()
    turn(loop, ())
    assert loop.health().ok is True

    bench.clock.advance(STUCK_AFTER)
    assert loop.health().ok is False


def test_a_loop_ends_when_told_to(bench: Bench) -> None:
    bench.inbox.post(Stop())

    bench.loop().run()

    assert bench.reports == []


def test_every_search_is_answered_whatever_the_locator_does() -> None:
    class Failing:
        name = "failing"

        def find(self, tasks: object) -> Located:  # noqa: ARG002 - it never looks
            raise ZeroDivisionError

    class Away:
        name = "away"

        def find(self, tasks: object) -> Located:  # noqa: ARG002 - it never looks
            raise LocatorUnavailable("it is away")

    answers: list[Search] = []
    tasks = frozenset({TaskId("web.1")})
    for locator in (Failing(), Away()):
        Searcher((locator,), answers.append).answer(tasks)

    assert [answer.tasks for answer in answers] == [tasks, tasks]
    assert answers[1].unavailable == ("it is away",)


def test_a_container_that_starts_is_looked_for_at_once_and_nothing_else_is_done(
    bench: Bench, store: MemoryDatastore
) -> None:
    loop = bench.loop()
    turn(loop, loaded(store))
    wanted = frozenset({TaskId("web.1")})
    turn(loop, (Search(wanted),))
    passes = bench.count("passes_total", outcome="settled")
    assert passes
    assert bench.searches == [wanted]

    turn(loop, (ContainersChanged(),))

    assert bench.searches == [wanted, wanted]
    assert bench.count("passes_total", outcome="settled") == passes
