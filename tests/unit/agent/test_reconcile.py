"""One host's agent on memory twins: whole passes, message by message."""

import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from calico.dataplane.api import Noticed
from calico.dataplane.changes import CommitTable, NamespaceRef
from calico.dataplane.foreign.rules import Act, ForeignRules, ForeignTable
from calico.dataplane.memory import MemoryDataplane
from calico.dataplane.netlink.batches import Step, go_on
from calico.dataplane.render.policy import tag_set_name
from calico.dataplane.state import Connection, HostFacts, HostState, RouteKind
from calico.datastore.api import Key, Listing, Revision
from calico.datastore.memory import MemoryDatastore
from calico.keys import BLOCKS, CALICO, HOSTS, endpoint_key
from calico.model import BootId, EndpointSpec, EndpointState, ProfileId, Tag, TaskId
from reconciler.agent.locators.api import Located, Search
from reconciler.agent.observation.looks import FULL_EVERY, SETTLED_AFTER, VERIFY_AFTER
from reconciler.agent.reconciliation.passes import HostSettings, KernelChanged, Pass, Surveyed
from reconciler.agent.reconciliation.reconcile import HostReconciler
from reconciler.agent.reconciliation.save_schedule import INDEX_AFTER
from reconciler.agent.state_file import SavedState
from reconciler.runtime.clock import ManualClock
from reconciler.runtime.watchfeed import Bookmark, Changed, Loaded, Unreachable
from tests.unit.agent.world import (
    HOST,
    OTHER_HOST,
    OTHER_UNDERLAY,
    UNDERLAY,
    filled_store,
    loaded,
    put_spec,
    remove_spec,
    spec,
)

WEB = spec(TaskId("web.1"), "192.168.0.1", "a")
DB = spec(TaskId("db.1"), "192.168.0.2", "a")
REMOTE = spec(TaskId("far.1"), "192.168.1.1", "a", host=OTHER_HOST)
FACTS = HostFacts("eth0", UNDERLAY, 1500, (IPNetwork("10.0.0.0/24"),))
#: In no group that the others are in.
STRANGER = spec(TaskId("stranger.1"), "192.168.1.9", host=OTHER_HOST)

POLICY_KEY = Key("/calico/v1/policy/tier/default/policy/strict")


def connection(source: EndpointSpec, target: EndpointSpec) -> Connection:
    """TCP from one task to another."""
    begun, ended = source.addresses[0], target.addresses[0]
    return Connection(6, begun, ended, ended, begun, 40000, 80)


class Machine:
    """A kernel with processes, which outlives every agent on it."""

    def __init__(self, step: Step = go_on) -> None:
        self.dataplane = MemoryDataplane(FACTS, step)
        self.namespaces: dict[TaskId, NamespaceRef] = {}

    def start(self, wanted: EndpointSpec) -> None:
        task = TaskId(wanted.id.workload)
        number = 100 + len(self.namespaces)
        self.namespaces[task] = NamespaceRef(number, number, 4026000 + number)
        self.dataplane.start_namespace(self.namespaces[task])

    def end(self, wanted: EndpointSpec) -> None:
        self.dataplane.end_namespace(self.namespaces.pop(TaskId(wanted.id.workload)))

    def still_held(self, refs: Iterable[NamespaceRef]) -> set[NamespaceRef]:
        lived_in = {ref.inode for ref in self.namespaces.values()}
        return {ref for ref in refs if ref.inode in lived_in}

    def locate(self, tasks: frozenset[TaskId]) -> Search:
        found = {task: self.namespaces[task] for task in tasks if task in self.namespaces}
        return Search(tasks, Located(found))

    @property
    def kernel(self) -> HostState:
        return self.dataplane.observe()

    def tracked(self) -> set[Connection]:
        ends = (each.addresses for each in (WEB, DB, REMOTE, STRANGER))
        return set(self.dataplane.connections(itertools.chain.from_iterable(ends)))

    def routed(self) -> set[IPAddress]:
        return {each.destination.ip for each in self.kernel.routes if each.kind is RouteKind.TASK}


class Agent:
    """A reconciler and what its feeds and its searcher would do."""

    def __init__(
        self, machine: Machine, store: MemoryDatastore, saved: SavedState | None = None
    ) -> None:
        self.clock = ManualClock()
        self.machine = machine
        self.store = store
        self._seen = Revision(0)
        self.reconciler = HostReconciler(
            HostSettings(HOST, BootId("boot-h1")), machine.dataplane, self.clock, machine.still_held
        )
        if saved is not None:
            self.reconciler.restore(saved)

    def list(self) -> None:
        for message in loaded(self.store):
            self.reconciler.handle(message)
            self._seen = message.listing.revision

    def watch(self) -> None:
        for event in self.store.watch(CALICO, self._seen, timeout=0):
            self.reconciler.handle(Changed(CALICO, event))
        self._seen = self.store.list(CALICO).revision

    def turn(self) -> Pass:
        """Passes until no search is due any more; tells the last."""
        reached = self.reconciler.reconcile()
        while tasks := self.reconciler.search():
            self.reconciler.handle(self.machine.locate(tasks))
            reached = self.reconciler.reconcile()
        return reached

    def settle(self) -> Pass:
        """Events, a pass, and the look that verifies it."""
        self.watch()
        return self.settle_without_store()

    def settle_without_store(self) -> Pass:
        """A pass and the look that verifies it, with what is known already."""
        self.turn()
        self.clock.advance(VERIFY_AFTER)
        return self.turn()


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def store() -> MemoryDatastore:
    store = filled_store()
    put_spec(store, WEB)
    put_spec(store, REMOTE)
    return store


@pytest.fixture
def start(machine: Machine, store: MemoryDatastore) -> Callable[..., Agent]:
    def started(saved: SavedState | None = None) -> Agent:
        agent = Agent(machine, store, saved)
        agent.list()
        return agent

    return started


def state_of(reached: Pass, wanted: EndpointSpec) -> tuple[EndpointState, str]:
    assert reached.statuses is not None
    status = reached.statuses[wanted.id]
    return status.state, status.reason


def test_a_task_whose_namespace_is_found_is_up_with_link_and_route(
    machine: Machine, start: Callable[..., Agent]
) -> None:
    machine.start(WEB)

    reached = start().settle()

    assert state_of(reached, WEB) == (EndpointState.UP, "")
    assert list(machine.kernel.links) == [WEB.interface]
    assert machine.routed() == {WEB.addresses[0]}
    assert reached.settled
    assert reached.problems == ()


def test_policy_stands_before_the_task_is_found(
    machine: Machine, start: Callable[..., Agent]
) -> None:
    reached = start().settle()

    assert state_of(reached, WEB) == (EndpointState.DOWN, "waiting for network namespace")
    assert machine.kernel.chains
    assert (dict(machine.kernel.links), machine.routed()) == ({}, set())


def test_a_task_that_starts_late_is_searched_for_and_attached(
    machine: Machine, start: Callable[..., Agent]
) -> None:
    agent = start()
    agent.settle()

    machine.start(WEB)
    agent.clock.advance(agent.reconciler.next_due() - agent.clock.monotonic())

    assert state_of(agent.turn(), WEB) == (EndpointState.UP, "")


def test_a_locator_that_cannot_look_is_told_in_the_status(start: Callable[..., Agent]) -> None:
    agent = start()
    agent.reconciler.reconcile()
    tasks = agent.reconciler.search()
    why = "Mesos agent at http://x does not answer"

    agent.reconciler.handle(Search(tasks, unavailable=(why,)))

    assert state_of(agent.reconciler.reconcile(), WEB)[1].endswith(why)


def test_only_one_search_goes_on_at_a_time(start: Callable[..., Agent]) -> None:
    agent = start()
    agent.reconciler.reconcile()

    assert agent.reconciler.search() == {"web.1"}
    agent.clock.advance(5)
    assert agent.reconciler.search() == frozenset()


def test_a_withdrawn_task_leaves_nothing_and_its_connections_are_forgotten(
    machine: Machine, store: MemoryDatastore, start: Callable[..., Agent]
) -> None:
    machine.start(WEB)
    agent = start()
    agent.settle()
    machine.dataplane.track(connection(REMOTE, WEB))
    machine.dataplane.track(connection(DB, REMOTE))

    remove_spec(store, WEB.id)
    reached = agent.settle()

    assert reached.statuses == {}
    assert (dict(machine.kernel.links), machine.routed()) == ({}, set())
    assert machine.tracked() == {connection(DB, REMOTE)}


def test_a_remote_task_that_leaves_is_forgotten_too(
    machine: Machine, store: MemoryDatastore, start: Callable[..., Agent]
) -> None:
    agent = start()
    agent.settle()
    machine.dataplane.track(connection(REMOTE, WEB))
    machine.dataplane.track(connection(WEB, REMOTE))

    remove_spec(store, REMOTE.id)
    agent.settle()

    assert machine.tracked() == set()


def test_a_task_that_comes_breaks_no_connection(
    machine: Machine, store: MemoryDatastore, start: Callable[..., Agent]
) -> None:
    agent = start()
    agent.settle()
    # Not even one that policy refuses by now: nothing was taken away.
    machine.dataplane.track(connection(STRANGER, WEB))

    put_spec(store, DB)
    agent.settle()

    assert machine.tracked() == {connection(STRANGER, WEB)}


def test_who_leaves_a_group_keeps_what_another_group_admits(
    machine: Machine, store: MemoryDatastore, start: Callable[..., Agent]
) -> None:
    put_spec(store, replace(REMOTE, profiles=(ProfileId("a"), ProfileId("b"))))
    put_spec(store, replace(DB, profiles=(ProfileId("b"),)))
    agent = start()
    agent.settle()
    for target in (WEB, DB):
        machine.dataplane.track(connection(REMOTE, target))

    put_spec(store, REMOTE)
    agent.settle()

    assert machine.tracked() == {connection(REMOTE, WEB)}


def test_whom_a_tiered_policy_selects_is_closed_but_keeps_its_link_until_the_policy_goes(
    machine: Machine, store: MemoryDatastore, start: Callable[..., Agent]
) -> None:
    put_spec(store, replace(WEB, labels=(("role", "web"),)))
    put_spec(store, DB)
    for each in (WEB, DB):
        machine.start(each)
    agent = start()
    agent.settle()
    open_sets = machine.kernel.sets
    machine.dataplane.track(connection(REMOTE, WEB))
    machine.dataplane.track(connection(REMOTE, DB))

    store.put(POLICY_KEY, '{"selector": "role == \\"web\\""}')
    closed = agent.settle()
    state, reason = state_of(closed, WEB)
    assert (state, state_of(closed, DB)[0]) == (EndpointState.ERROR, EndpointState.UP)
    assert "default/strict" in reason
    assert machine.kernel.sets["in4"] != open_sets["in4"]
    assert set(machine.kernel.links) == {WEB.interface, DB.interface}
    assert machine.routed() == {WEB.addresses[0], DB.addresses[0]}
    assert machine.tracked() == {connection(REMOTE, DB)}

    store.delete(POLICY_KEY)
    assert state_of(agent.settle(), WEB) == (EndpointState.UP, "")
    assert machine.kernel.sets == open_sets


def test_a_host_s_own_interface_joins_its_tags_and_is_told_as_not_enforced(
    store: MemoryDatastore, machine: Machine, start: Callable[..., Agent]
) -> None:
    agent = start()
    agent.settle()
    members = tag_set_name(Tag("a"), 4)
    assert str(UNDERLAY) not in machine.kernel.sets[members].elements

    value = {"name": "eth0", "expected_ipv4_addrs": [str(UNDERLAY)], "profile_ids": ["a"]}
    store.put(Key(f"/calico/v1/host/{HOST}/endpoint/eth0"), json.dumps(value))
    reached = agent.settle()

    assert str(UNDERLAY) in machine.kernel.sets[members].elements
    [problem] = reached.problems
    assert "host endpoint eth0 is not enforced" in problem


def test_a_host_at_rest_is_not_touched(machine: Machine, start: Callable[..., Agent]) -> None:
    machine.start(WEB)
    agent = start()
    agent.settle()

    agent.clock.advance(FULL_EVERY)
    reached = agent.turn()

    assert (reached.looked, reached.changes) == (True, ())


def test_an_event_that_asks_for_nothing_new_does_not_even_look(
    machine: Machine, store: MemoryDatastore, start: Callable[..., Agent]
) -> None:
    machine.start(WEB)
    agent = start()
    before = agent.settle()

    far = spec(TaskId("far.2"), "192.168.1.2", "unknown-here", host=OTHER_HOST)
    put_spec(store, far)
    agent.watch()
    put_spec(store, far)
    agent.turn()
    agent.watch()
    reached = agent.turn()

    assert reached.looked is False
    assert reached.revision > before.revision


def test_what_another_program_took_away_is_put_back(
    machine: Machine, start: Callable[..., Agent]
) -> None:
    machine.start(WEB)
    agent = start()
    agent.settle()
    before = machine.kernel
    sets = tuple(before.sets)
    chains = tuple(name for name, chain in before.chains.items() if chain.base is None)
    machine.dataplane.apply((CommitTable(removed_chains=chains, removed_sets=sets),))

    agent.reconciler.handle(KernelChanged())
    agent.turn()

    assert machine.kernel == before


def test_a_restarted_agent_changes_nothing(machine: Machine, start: Callable[..., Agent]) -> None:
    machine.start(WEB)
    start().settle()
    before = machine.kernel

    reached = start().turn()

    assert machine.kernel == before
    assert all(not isinstance(change, CommitTable) for change in reached.changes)
    assert state_of(reached, WEB) == (EndpointState.UP, "")


def test_an_agent_that_has_read_nothing_touches_nothing(
    machine: Machine, store: MemoryDatastore, start: Callable[..., Agent]
) -> None:
    machine.start(WEB)
    start().settle()
    before = machine.kernel
    agent = Agent(machine, store)

    for message in loaded(store)[:2]:
        agent.reconciler.handle(message)
        reached = agent.turn()

    assert reached.statuses is None
    assert machine.kernel == before


def test_a_wiped_datastore_removes_nothing_and_is_told(
    machine: Machine, start: Callable[..., Agent]
) -> None:
    machine.start(WEB)
    agent = start()
    agent.settle()
    before = machine.kernel

    for prefix in (CALICO, BLOCKS, HOSTS):
        agent.reconciler.handle(Loaded(prefix, Listing(Revision(999), ())))
    reached = agent.turn()

    assert machine.kernel == before
    assert any("Ready" in problem for problem in reached.problems)
    assert state_of(reached, WEB) == (EndpointState.UP, "")


def test_an_agent_restarted_without_etcd_keeps_what_is_there_and_attaches_nothing(
    machine: Machine, store: MemoryDatastore, start: Callable[..., Agent]
) -> None:
    machine.start(WEB)
    put_spec(store, DB)
    agent = start()
    agent.settle()
    saved = agent.reconciler.saved()
    before = machine.kernel
    machine.start(DB)

    restarted = Agent(machine, store, saved)
    restarted.reconciler.handle(Unreachable(CALICO, "no answer"))
    reached = restarted.settle_without_store()

    assert machine.kernel == before
    assert reached.view.unreachable == "no answer"


def test_a_kernel_that_is_newer_than_the_state_file_is_left_as_it_is(
    machine: Machine, store: MemoryDatastore, start: Callable[..., Agent]
) -> None:
    machine.start(WEB)
    agent = start()
    agent.settle()
    saved = agent.reconciler.saved()
    machine.start(DB)
    put_spec(store, DB)
    remove_spec(store, REMOTE.id)
    agent.settle()
    before = machine.kernel

    restarted = Agent(machine, store, saved)
    restarted.reconciler.handle(Unreachable(CALICO, "no answer"))
    restarted.settle_without_store()

    assert set(before.links) == {WEB.interface, DB.interface}
    assert machine.kernel == before


def test_the_index_of_a_quiet_store_is_saved_now_and_then(
    store: MemoryDatastore, start: Callable[..., Agent]
) -> None:
    agent = start()
    agent.settle()
    assert agent.reconciler.saved() is not None
    later = Revision(store.list(CALICO).revision + 50)

    # when nothing happens but that the index of the store moves on
    agent.reconciler.handle(Bookmark(CALICO, later))
    agent.turn()
    assert agent.reconciler.saved() is None
    agent.clock.advance(INDEX_AFTER)
    agent.turn()
    saved = agent.reconciler.saved()

    # then it is saved once
    assert saved is not None
    assert saved.listings[CALICO].revision == later
    agent.clock.advance(10 * INDEX_AFTER)
    agent.turn()
    assert agent.reconciler.saved() is None


def test_a_flushed_table_is_put_back_from_the_state_file(
    machine: Machine, store: MemoryDatastore, start: Callable[..., Agent]
) -> None:
    machine.start(WEB)
    agent = start()
    agent.settle()
    saved = agent.reconciler.saved()
    before = machine.kernel
    machine.dataplane.apply(
        (CommitTable(removed_chains=tuple(before.chains), removed_sets=tuple(before.sets)),)
    )

    restarted = Agent(machine, store, saved)
    restarted.reconciler.handle(Unreachable(CALICO, "no answer"))
    restarted.settle_without_store()

    assert machine.kernel == before


def test_a_revocation_while_the_agent_was_down_is_carried_through_to_connections(
    machine: Machine, store: MemoryDatastore, start: Callable[..., Agent]
) -> None:
    agent = start()
    agent.settle()
    saved = agent.reconciler.saved()
    remove_spec(store, REMOTE.id)
    machine.dataplane.track(connection(REMOTE, WEB))

    start(saved).settle()

    assert machine.tracked() == set()


def test_an_agent_that_starts_forgets_what_policy_does_not_admit(
    machine: Machine, start: Callable[..., Agent]
) -> None:
    machine.start(WEB)
    start().settle()
    machine.dataplane.track(connection(REMOTE, WEB))
    machine.dataplane.track(connection(STRANGER, WEB))

    start().settle()

    assert machine.tracked() == {connection(REMOTE, WEB)}


def test_what_a_task_had_under_way_that_left_unseen_is_forgotten(
    machine: Machine, store: MemoryDatastore, start: Callable[..., Agent]
) -> None:
    machine.start(WEB)
    start().settle()
    outside = IPAddress("203.0.113.7")
    web = WEB.addresses[0]
    machine.dataplane.track(Connection(6, web, outside, outside, web, 40000, 443))
    remove_spec(store, WEB.id)

    # Nothing is known of an earlier state, but that the route to it is there.
    start().settle()

    assert machine.routed() == set()
    assert machine.tracked() == set()


def test_what_began_without_our_table_is_forgotten_before_the_table_is_back(
    store: MemoryDatastore,
) -> None:
    seen: list[set[Connection]] = []
    machine = Machine(step=lambda _: seen.append(machine.tracked()))
    machine.start(WEB)
    agent = Agent(machine, store)
    agent.list()
    agent.settle()
    before = machine.kernel
    machine.dataplane.apply(
        (CommitTable(removed_chains=tuple(before.chains), removed_sets=tuple(before.sets)),)
    )
    machine.dataplane.track(connection(STRANGER, WEB))
    machine.dataplane.track(connection(REMOTE, WEB))
    seen.clear()

    agent.clock.advance(FULL_EVERY)
    agent.turn()

    assert machine.kernel == before
    assert seen[0] == machine.tracked() == {connection(REMOTE, WEB)}


def test_what_begins_while_our_table_is_put_back_is_forgotten_too(store: MemoryDatastore) -> None:
    breached = False

    def begin(_: object) -> None:
        if breached:
            machine.dataplane.track(connection(STRANGER, WEB))

    machine = Machine(step=begin)
    machine.start(WEB)
    agent = Agent(machine, store)
    agent.list()
    agent.settle()
    before = machine.kernel
    machine.dataplane.apply(
        (CommitTable(removed_chains=tuple(before.chains), removed_sets=tuple(before.sets)),)
    )
    breached = True

    agent.clock.advance(FULL_EVERY)
    agent.turn()

    assert machine.kernel == before
    assert machine.tracked() == set()


def test_an_ended_task_is_reported_gone_until_it_is_withdrawn(
    machine: Machine, store: MemoryDatastore, start: Callable[..., Agent]
) -> None:
    machine.start(WEB)
    agent = start()
    agent.settle()

    machine.end(WEB)
    agent.reconciler.handle(KernelChanged())
    reached = agent.turn()
    assert reached.gone == ("web.1",)
    assert state_of(reached, WEB) == (EndpointState.DOWN, "its network namespace is gone")

    remove_spec(store, WEB.id)
    assert agent.settle().gone == ()


def test_in_doubt_a_host_tells_of_no_task_that_has_ended(
    machine: Machine, start: Callable[..., Agent]
) -> None:
    machine.start(WEB)
    agent = start()
    agent.settle()
    for prefix in (CALICO, BLOCKS, HOSTS):
        agent.reconciler.handle(Loaded(prefix, Listing(Revision(999), ())))
    agent.turn()
    record = agent.reconciler.objection()
    assert record is not None
    assert endpoint_key(WEB.id) in dict(record.entries)

    machine.end(WEB)
    agent.reconciler.handle(KernelChanged())
    agent.turn()

    record = agent.reconciler.objection()
    assert record is not None
    assert endpoint_key(WEB.id) not in dict(record.entries)


def test_a_task_that_ended_while_the_agent_was_down_is_reported_gone(
    machine: Machine, start: Callable[..., Agent]
) -> None:
    machine.start(WEB)
    agent = start()
    agent.settle()
    saved = agent.reconciler.saved()
    machine.end(WEB)

    assert start(saved).settle().gone == ("web.1",)


def test_a_restarted_agent_without_state_learns_where_its_tasks_live(
    machine: Machine, start: Callable[..., Agent]
) -> None:
    machine.start(WEB)
    start().settle()
    agent = start()
    agent.settle()

    machine.end(WEB)
    agent.reconciler.handle(KernelChanged())

    assert agent.turn().gone == ("web.1",)


def test_a_namespace_that_is_another_tasks_is_refused(
    machine: Machine, store: MemoryDatastore, start: Callable[..., Agent]
) -> None:
    machine.start(WEB)
    agent = start()
    agent.settle()
    put_spec(store, DB)
    machine.namespaces[TaskId("db.1")] = machine.namespaces[TaskId("web.1")]

    reached = agent.settle()

    assert state_of(reached, DB) == (
        EndpointState.DOWN,
        "waiting for network namespace: its network namespace is that of task web.1",
    )


def test_a_namespace_that_ended_before_it_was_wired_is_an_error_and_searched_again(
    machine: Machine, start: Callable[..., Agent]
) -> None:
    agent = start()
    agent.reconciler.reconcile()
    tasks = agent.reconciler.search()
    dead = NamespaceRef(99, 1, 4026999)
    agent.reconciler.handle(Search(tasks, Located({TaskId("web.1"): dead})))
    assert state_of(agent.reconciler.reconcile(), WEB) == (
        EndpointState.ERROR,
        "process 99 ended",
    )

    machine.start(WEB)
    agent.clock.advance(1)

    assert state_of(agent.turn(), WEB) == (EndpointState.UP, "")


def test_a_pool_that_overlaps_the_hosts_network_is_told(
    store: MemoryDatastore,
) -> None:
    facts = HostFacts("eth0", UNDERLAY, 1500, (IPNetwork("192.168.0.0/24"),))
    machine = Machine()
    machine.dataplane = MemoryDataplane(facts)
    agent = Agent(machine, store)
    agent.list()

    reached = agent.settle()

    assert any("192.168.0.0" in problem for problem in reached.problems)


def test_a_kernel_that_refuses_is_told_and_tried_again(store: MemoryDatastore) -> None:
    machine = Machine()
    agent = Agent(machine, store)
    agent.reconciler = HostReconciler(
        HostSettings(HOST, BootId("boot"), address=OTHER_UNDERLAY),
        machine.dataplane,
        agent.clock,
        machine.still_held,
    )
    agent.list()

    reached = agent.turn()

    assert (reached.settled, reached.statuses) == (False, None)
    assert any("--address" in problem for problem in reached.problems)
    assert agent.reconciler.next_due() == VERIFY_AFTER


def test_an_unchanged_state_is_not_saved_again(
    machine: Machine, start: Callable[..., Agent]
) -> None:
    agent = start()
    agent.settle()

    assert agent.reconciler.saved() is not None
    assert agent.reconciler.saved() is None


def test_a_spec_that_cannot_be_read_is_told_by_its_own_host_only(
    store: MemoryDatastore, start: Callable[..., Agent]
) -> None:
    store.put(endpoint_key(DB.id), "{")
    store.put(endpoint_key(REMOTE.id), "{")

    problems = start().settle().problems

    assert len(problems) == 1
    assert str(endpoint_key(DB.id)) in problems[0]


def test_what_another_firewall_drops_is_told_while_it_does(
    machine: Machine, start: Callable[..., Agent]
) -> None:
    agent = start()
    agent.settle()
    table = ForeignTable("iptables", "ip", "filter", {"FORWARD": ()}, {"FORWARD": Act.DROP})

    agent.reconciler.handle(Surveyed(ForeignRules((table,))))
    (told,) = agent.turn().problems
    assert "iptables -I FORWARD -i cali+ -j ACCEPT" in told

    agent.reconciler.handle(Surveyed(ForeignRules()))
    assert agent.turn().problems == ()


def test_a_link_that_is_as_it_was_left_is_not_looked_at_again(
    machine: Machine, start: Callable[..., Agent]
) -> None:
    machine.start(WEB)
    agent = start()
    agent.settle()
    made = machine.kernel.links[WEB.interface]

    agent.reconciler.handle(KernelChanged(Noticed(links={WEB.interface: replace(made, alias="")})))
    agent.reconciler.handle(KernelChanged(Noticed(links={WEB.interface: made})))
    agent.clock.advance(SETTLED_AFTER)
    assert not agent.reconciler.look_is_due()

    agent.reconciler.handle(KernelChanged(Noticed(links={WEB.interface: None})))
    agent.clock.advance(SETTLED_AFTER)
    assert agent.reconciler.look_is_due()
