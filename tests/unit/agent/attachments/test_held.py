"""What the loop makes of containers' requests, pass by pass."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from calico.dataplane.changes import AttachTask, NamespaceRef, RemoveLink
from calico.dataplane.memory import MemoryDataplane
from calico.dataplane.state import Connection, HostFacts
from calico.datastore.api import Revision
from calico.datastore.memory import MemoryDatastore
from calico.keys import CALICO
from calico.model import BootId, ContainerId, EndpointState, TaskId
from reconciler.agent.attachments.files import KeptAttachment
from reconciler.agent.attachments.questions import FIRST_AFTER, SILENT_FOR
from reconciler.agent.attachments.requests import (
    AttachAsked,
    AttachmentForgotten,
    AttachmentKept,
    CheckAsked,
    Chores,
    DetachAsked,
    Done,
    Outcome,
    Reply,
    TasksTold,
)
from reconciler.agent.locators.api import Located, Search
from reconciler.agent.observation.looks import FULL_EVERY, VERIFY_AFTER
from reconciler.agent.reconciliation.passes import HostSettings, Pass
from reconciler.agent.reconciliation.reconcile import HostReconciler
from reconciler.agent.state_file import SavedState
from reconciler.attach.api import AttachError, AttachRefused, AttachUnavailable, UnknownContainer
from reconciler.core.adoption import holdings_of
from reconciler.runtime.clock import ManualClock
from reconciler.runtime.watchfeed import Changed, Unreachable
from tests.unit.agent.attachments.samples import SINCE, attachment, claim
from tests.unit.agent.world import (
    HOST,
    UNDERLAY,
    filled_store,
    loaded,
    put_spec,
    remove_spec,
    spec,
    vouch_for,
)

FACTS = HostFacts("eth0", UNDERLAY, 1450, (IPNetwork("10.0.0.0/24"),))
HELD = attachment("c-1", "192.168.0.1", inode=7)
OTHER = attachment("c-2", "192.168.0.2", inode=8)
DB = spec(TaskId("db.1"), "192.168.0.9", "a")
CLAIM = claim("web.1", HELD, "a")


class Bench:
    """A reconciler on memory twins, and what it leaves to others."""

    def __init__(self, *held: KeptAttachment, saved: SavedState | None = None) -> None:
        self.clock = ManualClock()
        self.store = filled_store()
        self.dataplane = MemoryDataplane(FACTS)
        self.alive: set[int] = set()
        self.chores: list[tuple[str, object]] = []
        self.doubts: list[str] = []
        self.reconciler = HostReconciler(
            HostSettings(HOST, BootId("boot-h1")),
            self.dataplane,
            self.clock,
            self._still_held,
            Chores(
                lambda each: self.chores.append(("claimed", each)),
                lambda each: self.chores.append(("ended", each)),
                lambda each: self.chores.append(("lost", each)),
                lambda each: self.chores.append(("forgettable", each)),
                lambda each: self.chores.append(("unclaimed", each)),
                self.doubts.append,
                lambda _: None,
            ),
        )
        if saved is not None:
            self.reconciler.restore(saved)
        vouch_for(self.reconciler)
        self.reconciler.hold(held)
        self._seen = Revision(0)

    def begin(self, of: KeptAttachment) -> None:
        assert of.namespace is not None
        self.alive.add(of.namespace.inode)
        self.dataplane.start_namespace(of.namespace)

    def finish(self, of: KeptAttachment) -> None:
        assert of.namespace is not None
        self.alive.discard(of.namespace.inode)
        self.dataplane.end_namespace(of.namespace)

    def list(self) -> None:
        for message in loaded(self.store):
            self.reconciler.handle(message)
            self._seen = message.listing.revision

    def watch(self) -> Pass:
        for event in self.store.watch(CALICO, self._seen, timeout=0):
            self.reconciler.handle(Changed(CALICO, event))
        self._seen = self.store.list(CALICO).revision
        return self.reconciler.reconcile()

    def ask(self, of: KeptAttachment, *, fresh: bool = True, within: float = 1.0) -> Reply[Outcome]:
        """Have a container attached; nothing is done yet."""
        assert of.namespace is not None
        reply: Reply[Outcome] = Reply()
        named = replace(of.namespace, descriptor=os.open("/dev/null", os.O_RDONLY))
        deadline = self.clock.monotonic() + within
        self.reconciler.handle(AttachAsked(of, named, fresh, deadline, reply))
        return reply

    def attach(self, of: KeptAttachment) -> None:
        self.begin(of)
        reply = self.ask(of)
        self.reconciler.reconcile()
        assert reply.wait(0) == Done(1450)

    def detach(self, container: ContainerId) -> Reply[Outcome]:
        reply: Reply[Outcome] = Reply()
        self.reconciler.handle(DetachAsked(container, reply))
        return reply

    def look(self) -> Pass:
        """The look that verifies what was done."""
        self.clock.advance(VERIFY_AFTER)
        return self.reconciler.reconcile()

    def links(self) -> set[str]:
        return set(self.dataplane.observe().links)

    def _still_held(self, refs: Iterable[NamespaceRef]) -> set[NamespaceRef]:
        return {ref for ref in refs if ref.inode in self.alive}


@pytest.fixture
def bench() -> Iterator[Bench]:
    before = len(os.listdir("/proc/self/fd"))
    made = Bench()
    made.list()
    made.reconciler.reconcile()
    yield made
    assert len(os.listdir("/proc/self/fd")) == before, "every descriptor is closed"


def test_a_container_is_wired_in_one_pass_and_told_of(bench: Bench) -> None:
    bench.begin(HELD)
    reply = bench.ask(HELD)

    reached = bench.reconciler.reconcile()

    assert reply.wait(0) == Done(1450)
    assert bench.links() == {HELD.interface}
    (record,) = reached.attachments
    assert (record.container, record.addresses, record.since) == ("c-1", HELD.addresses, SINCE)
    assert reached.statuses == {}, "it is no endpoint"
    assert reached.gone == ()


def test_a_claim_touches_neither_link_nor_routes(bench: Bench) -> None:
    bench.attach(HELD)
    put_spec(bench.store, CLAIM)

    reached = bench.watch()

    assert [type(change).__name__ for change in reached.changes] == ["CommitTable"]
    assert reached.statuses is not None
    assert reached.statuses[CLAIM.id].state is EndpointState.UP
    assert reached.attachments == ()
    assert ("claimed", HELD.container) in bench.chores


def test_a_claim_ends_no_connection(bench: Bench) -> None:
    bench.attach(HELD)
    (own,) = HELD.addresses
    register = Connection(6, own, UNDERLAY, UNDERLAY, own, 40000, 5051)
    bench.dataplane.track(register)

    put_spec(bench.store, CLAIM)
    bench.watch()
    assert bench.dataplane.connections([own]) == (register,)

    bench.detach(HELD.container)
    bench.reconciler.reconcile()
    assert bench.dataplane.connections([own]) == (), "with its link they end"


def test_no_locator_is_asked_about_what_is_attached(bench: Bench) -> None:
    bench.attach(HELD)
    put_spec(bench.store, CLAIM)
    for event in bench.store.watch(CALICO, bench._seen, timeout=0):
        bench.reconciler.handle(Changed(CALICO, event))

    assert bench.reconciler.search_arrived() == frozenset()
    bench.reconciler.reconcile()
    assert bench.reconciler.search() == frozenset()


def test_a_task_with_addresses_and_no_link_yet_is_not_looked_for(bench: Bench) -> None:
    bench.reconciler.handle(AttachmentKept(HELD.without_link()))
    put_spec(bench.store, CLAIM)
    bench.watch()
    assert bench.reconciler.search() == frozenset()

    bench.attach(HELD)
    assert bench.links() == {HELD.interface}


def test_what_cannot_be_wired_is_undone_and_then_told(bench: Bench) -> None:
    reply = bench.ask(HELD)

    bench.reconciler.reconcile()

    outcome = reply.wait(0)
    assert isinstance(outcome, AttachUnavailable)
    assert bench.links() == set()
    assert bench.look().attachments[0].container == HELD.container, "its addresses stay"


def test_what_nobody_waits_for_is_undone(bench: Bench) -> None:
    bench.begin(HELD)
    reply = bench.ask(HELD)
    assert reply.wait(0) is None

    bench.reconciler.reconcile()

    assert bench.links() == set()


def test_without_the_datastore_a_request_ends_with_its_time() -> None:
    bench = Bench()
    bench.reconciler.handle(Unreachable(CALICO, "nobody answers"))
    bench.begin(HELD)
    reply = bench.ask(HELD)
    bench.reconciler.reconcile()
    due = bench.reconciler.next_due()

    bench.clock.advance(1.0)
    assert due <= bench.clock.monotonic()
    assert bench.reconciler.pass_is_due()
    bench.reconciler.reconcile()

    outcome = reply.wait(0)
    assert isinstance(outcome, AttachUnavailable)
    assert "nobody answers" in str(outcome)
    assert bench.links() == set()


def test_while_the_datastore_is_doubted_no_container_is_wired_and_none_is_cut(
    bench: Bench,
) -> None:
    # given a container that is wired, and a datastore that was wiped
    bench.attach(HELD)
    for message in loaded(MemoryDatastore()):
        bench.reconciler.handle(message)
    bench.reconciler.reconcile()

    # when another one asks, and waits until its time is over
    bench.begin(OTHER)
    reply = bench.ask(OTHER)
    bench.reconciler.reconcile()
    assert bench.links() == {HELD.interface}
    bench.clock.advance(1.0)
    bench.reconciler.reconcile()

    # then it is told why, and whoever gives addresses was told too
    outcome = reply.wait(0)
    assert isinstance(outcome, AttachUnavailable)
    assert "went back" in str(outcome)
    assert "went back" in bench.doubts[-1]
    assert bench.links() == {HELD.interface}


def test_what_is_listed_anew_is_doubted_until_a_pass_has_judged_it(bench: Bench) -> None:
    """Who gives addresses sweeps after a doubt: a backup has what containers gave back since."""
    assert bench.doubts[-1] == ""

    bench.list()
    assert "listed anew" in bench.doubts[-1]

    bench.reconciler.reconcile()
    assert bench.doubts[-1] == ""


def test_in_doubt_each_container_is_told_of_that_has_addresses_by_then(bench: Bench) -> None:
    def told() -> set[str]:
        record = bench.reconciler.objection()
        assert record is not None
        return {str(each.address) for each in holdings_of(record).addresses}

    # given a container of which nothing was read before the datastore was wiped
    bench.attach(HELD)
    for message in loaded(MemoryDatastore()):
        bench.reconciler.handle(message)
    assert told() == {"192.168.0.1"}

    # when another one has what it was given just before, and the first one ends
    bench.reconciler.handle(AttachmentKept(OTHER))
    assert told() == {"192.168.0.1", "192.168.0.2"}
    bench.detach(HELD.container)

    # then that is told
    assert told() == {"192.168.0.2"}


def test_a_link_that_was_there_is_mended_also_in_doubt(bench: Bench) -> None:
    bench.attach(HELD)
    for message in loaded(MemoryDatastore()):
        bench.reconciler.handle(message)
    bench.dataplane.apply((RemoveLink(HELD.interface),))
    reply = bench.ask(HELD, fresh=False)

    bench.look()

    assert reply.wait(0) == Done(1450)
    assert bench.links() == {HELD.interface}


def test_an_address_that_cannot_be_is_the_reason_that_is_told(bench: Bench) -> None:
    stray = replace(HELD, addresses=(IPAddress("192.168.0.1"), UNDERLAY))
    bench.begin(stray)
    reply = bench.ask(stray)
    bench.reconciler.reconcile()
    bench.clock.advance(1.0)

    bench.reconciler.reconcile()

    assert str(UNDERLAY) in str(reply.wait(0))


def test_asked_again_nothing_is_changed(bench: Bench) -> None:
    bench.attach(HELD)
    reply = bench.ask(HELD, fresh=False)

    reached = bench.reconciler.reconcile()

    assert reply.wait(0) == Done(1450)
    assert reached.changes == ()


def test_a_namespace_of_a_task_that_was_found_is_refused(bench: Bench) -> None:
    put_spec(bench.store, DB)
    bench.watch()
    task = NamespaceRef(100, 100, 4711)
    bench.dataplane.start_namespace(task)
    bench.reconciler.search()
    bench.reconciler.handle(Search(frozenset({TaskId("db.1")}), Located({TaskId("db.1"): task})))
    bench.reconciler.reconcile()

    reply = bench.ask(attachment("c-1", "192.168.0.1", inode=4711))

    outcome = reply.wait(0)
    assert isinstance(outcome, AttachRefused)
    assert "db.1" in str(outcome)


def test_a_detached_container_loses_its_link_with_the_answer(bench: Bench) -> None:
    bench.attach(HELD)
    reply = bench.detach(HELD.container)

    reached = bench.reconciler.reconcile()

    assert reply.wait(0) == Done(1450)
    assert bench.links() == set()
    assert reached.attachments == ()


def test_while_little_is_known_a_link_goes_all_the_same() -> None:
    before = Bench()
    before.list()
    before.attach(HELD)
    bench = Bench(HELD)
    bench.dataplane = before.dataplane
    bench.reconciler = HostReconciler(
        HostSettings(HOST, BootId("boot-h1")), before.dataplane, bench.clock, set
    )
    bench.reconciler.hold([HELD])
    bench.reconciler.handle(Unreachable(CALICO, "nobody answers"))

    reply = bench.detach(HELD.container)
    bench.reconciler.reconcile()

    assert reply.wait(0) == Done(1450)
    assert bench.links() == set()


def test_a_detached_tasks_end_is_proven_until_its_endpoint_is_withdrawn(bench: Bench) -> None:
    bench.attach(HELD)
    put_spec(bench.store, CLAIM)
    bench.watch()

    bench.detach(HELD.container)
    reached = bench.reconciler.reconcile()

    assert reached.gone == ("web.1",)
    assert reached.statuses is not None
    assert reached.statuses[CLAIM.id].state is EndpointState.DOWN
    bench.begin(HELD)
    assert bench.look().gone == ("web.1",)
    assert bench.links() == set(), "nothing is wired for it again"
    assert ("forgettable", HELD.container) not in bench.chores

    remove_spec(bench.store, CLAIM.id)
    assert bench.watch().gone == ()
    assert ("forgettable", HELD.container) in bench.chores


def test_a_detached_container_proves_its_tasks_end_however_late_its_endpoint_is(
    bench: Bench,
) -> None:
    bench.attach(HELD)
    bench.detach(HELD.container)
    for _ in range(10):
        bench.look()
        bench.clock.advance(24 * 3600.0)
    assert ("forgettable", HELD.container) not in bench.chores

    put_spec(bench.store, CLAIM)
    assert bench.watch().gone == ("web.1",)
    remove_spec(bench.store, CLAIM.id)
    bench.watch()
    bench.look()
    assert bench.chores.count(("forgettable", HELD.container)) == 1
    bench.reconciler.handle(AttachmentForgotten(HELD.container))
    assert bench.look().attachments == ()


def test_a_container_whose_namespace_went_is_ended_once(bench: Bench) -> None:
    bench.attach(HELD)
    bench.look()

    bench.finish(HELD)
    for _ in range(3):
        bench.clock.advance(FULL_EVERY)
        reached = bench.reconciler.reconcile()

    assert bench.chores.count(("ended", HELD.container)) == 1
    assert reached.gone == (), "no task is gone"


def test_a_link_that_another_took_away_is_put_back_where_it_was(bench: Bench) -> None:
    bench.attach(HELD)
    bench.look()
    bench.dataplane.meddle((RemoveLink(HELD.interface),))

    reached = bench.look()
    while not any(isinstance(change, AttachTask) for change in reached.changes):
        reached = bench.look()

    assert bench.links() == {HELD.interface}
    assert ("ended", HELD.container) not in bench.chores


def test_what_was_attached_before_is_taken_up_and_left_alone(bench: Bench) -> None:
    bench.attach(HELD)
    later = HostReconciler(
        HostSettings(HOST, BootId("boot-h1")), bench.dataplane, bench.clock, bench._still_held
    )
    later.hold([HELD])
    for message in loaded(bench.store):
        later.handle(message)

    reached = later.reconcile()

    assert reached.changes == ()
    assert reached.attachments[0].container == HELD.container


def test_a_withdrawn_endpoint_closes_a_container_that_lives_on(bench: Bench) -> None:
    bench.attach(HELD)
    put_spec(bench.store, CLAIM)
    bench.watch()
    remove_spec(bench.store, CLAIM.id)

    reached = bench.watch()

    assert bench.links() == set()
    assert reached.attachments == (), "its addresses may be another's soon"
    put_spec(bench.store, CLAIM)
    bench.watch()
    assert bench.links() == {HELD.interface}


def test_the_kernel_is_looked_at_for_a_check(bench: Bench) -> None:
    bench.attach(HELD)
    for expected in (Done, UnknownContainer):
        reply: Reply[Outcome] = Reply()
        bench.reconciler.handle(CheckAsked(HELD.container, reply))
        assert bench.reconciler.look_is_due()
        bench.reconciler.reconcile()
        assert isinstance(reply.wait(0), expected)
        bench.finish(HELD)


def test_before_the_kernel_was_judged_a_check_waits() -> None:
    bench = Bench(HELD)
    reply: Reply[Outcome] = Reply()
    bench.reconciler.handle(CheckAsked(HELD.container, reply))
    bench.reconciler.reconcile()

    bench.begin(HELD)
    bench.list()
    bench.reconciler.reconcile()

    assert reply.wait(0) == Done(1450)


def test_what_a_container_runs_is_asked_until_it_is_known(bench: Bench) -> None:
    bench.attach(HELD)
    assert not [each for each in bench.chores if each[0] == "unclaimed"]

    for before in range(3):
        bench.clock.advance(FIRST_AFTER * 2**before)
        assert bench.reconciler.pass_is_due()
        bench.reconciler.reconcile()
        assert bench.chores.count(("unclaimed", frozenset({HELD.container}))) == before + 1
        bench.reconciler.handle(TasksTold())

    names = frozenset({TaskId("marathon-web.1"), TaskId("web.1")})
    bench.reconciler.handle(TasksTold({HELD.container: names}))
    assert [each.task for each in bench.reconciler.reconcile().attachments] == ["web.1"]


def test_what_mesos_said_when_addresses_were_asked_for_is_told_and_not_asked_again(
    bench: Bench,
) -> None:
    bench.attach(replace(HELD, runs="web.1"))
    bench.clock.advance(60)
    assert [each.task for each in bench.reconciler.reconcile().attachments] == ["web.1"]
    assert not [each for each in bench.chores if each[0] == "unclaimed"]


def test_that_mesos_says_nothing_for_long_is_a_problem_of_the_host(bench: Bench) -> None:
    bench.attach(HELD)

    def silent_for(seconds: float) -> tuple[str, ...]:
        bench.reconciler.handle(TasksTold(why="Mesos is away"))
        bench.clock.advance(seconds)
        bench.reconciler.reconcile()
        return bench.reconciler.reconcile().problems

    assert (silent_for(1), silent_for(SILENT_FOR - 1)) == ((), ())
    (problem,) = silent_for(1)
    assert problem.endswith("it is not known which tasks they run: Mesos is away")
    # It may answer, and know nothing of this one: podman's containers are no tasks.
    bench.reconciler.handle(TasksTold())
    bench.reconciler.reconcile()
    assert bench.reconciler.reconcile().problems == ()


def test_mesos_is_asked_of_a_container_by_the_id_that_mesos_gave_it(bench: Bench) -> None:
    # net-modules gives addresses to a number of its own, which Mesos never heard of.
    known_as = ContainerId("5baff64c-d028-47ba-864e-a5ee679fc069")
    held = replace(HELD, known_as=known_as)
    bench.attach(held)
    bench.clock.advance(FIRST_AFTER)
    bench.reconciler.reconcile()
    assert ("unclaimed", frozenset({known_as})) in bench.chores

    told = {known_as: frozenset({TaskId("web.1")}), held.container: frozenset({TaskId("db.1")})}
    bench.reconciler.handle(TasksTold(told))

    (row,) = bench.reconciler.reconcile().attachments
    assert (row.container, row.task) == (held.container, "web.1")


def test_an_error_is_told_when_nothing_is_left_of_the_request(bench: Bench) -> None:
    """The answer comes after the pass that undoes, not before."""
    seen: list[set[str]] = []

    class Watched(Reply[Outcome]):
        def settle(self, answer: Outcome) -> bool:
            if isinstance(answer, AttachError):
                seen.append(bench.links())
            return super().settle(answer)

    bench.begin(HELD)
    assert HELD.namespace is not None
    reply = Watched()
    reply.wait(0)
    named = replace(HELD.namespace, descriptor=os.open("/dev/null", os.O_RDONLY))
    bench.reconciler.handle(AttachAsked(HELD, named, True, 1.0, reply))
    bench.reconciler.reconcile()

    assert seen == [set()]
