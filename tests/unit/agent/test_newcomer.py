"""A host whose agent knows no earlier state: what its containers get, and until when."""

from dataclasses import dataclass, field

from netaddr import IPNetwork

from calico.cluster import LeaderRecord, Standing, Takeover
from calico.codec import encode_chain
from calico.dataplane.memory import MemoryDataplane
from calico.dataplane.state import HostFacts
from calico.datastore.api import Revision
from calico.datastore.memory import MemoryDatastore
from calico.keys import CALICO, CHAIN, READY
from calico.model import BootId, TaskId
from reconciler.agent.attachments.requests import Chores
from reconciler.agent.belief import PREFIXES
from reconciler.agent.reconciliation.passes import HostSettings, Pass
from reconciler.agent.reconciliation.reconcile import HostReconciler
from reconciler.agent.state_file import SavedState, parse_state, render_state
from reconciler.agent.vouching import TOLD_AFTER, UNVOUCHED, LeaderSeen
from reconciler.runtime.clock import ManualClock
from reconciler.runtime.watchfeed import Bookmark, Unreachable
from tests.unit.agent.world import HOST, UNDERLAY, filled_store, loaded, put_spec, spec

FACTS = HostFacts("eth0", UNDERLAY, 1500, (IPNetwork("10.0.0.0/24"),))
TAKEOVER = Takeover(3, "nonce-3")


def taken_over() -> MemoryDatastore:
    """A store that leaders took over three times."""
    store = filled_store()
    store.put(CHAIN, encode_chain((TAKEOVER,)))
    put_spec(store, spec(TaskId("web.1"), "192.168.0.1", "a"))
    return store


def ignore(_: object) -> None:
    """Nobody listens."""


@dataclass
class Host:
    """An agent's reconciler, and what the allocator hears from it."""

    saved: SavedState | None = None
    clock: ManualClock = field(default_factory=ManualClock)
    doubts: list[str] = field(default_factory=list)
    seen: list[Revision] = field(default_factory=list)
    looks: int = 0

    def __post_init__(self) -> None:
        self.reconciler = HostReconciler(
            HostSettings(HOST, BootId("boot")),
            MemoryDataplane(FACTS),
            self.clock,
            set,
            Chores(ignore, ignore, ignore, ignore, ignore, self.doubts.append, self.seen.append),
        )
        if self.saved is not None:
            self.reconciler.restore(self.saved)

    def list(self, store: MemoryDatastore) -> Pass:
        for message in loaded(store):
            self.reconciler.handle(message)
        return self.reconciler.reconcile()

    def see(self, opened: str, renewals: int) -> Pass:
        """Look at a leader that renews so often."""
        for _ in range(renewals):
            self.looks += 1
            record = LeaderRecord("one", standing=Standing(opened, "" if opened else "it waits"))
            self.reconciler.handle(LeaderSeen(record, Revision(100 + self.looks)))
        return self.reconciler.reconcile()

    @property
    def doubt(self) -> str:
        """Why no container gets an address now."""
        return self.doubts[-1]

    def restarted(self) -> "Host":
        """A new run, on what the last one saved."""
        saved = self.reconciler.saved()
        assert saved is not None
        return Host(parse_state(render_state(saved)))


def test_a_new_host_follows_at_once_and_gives_addresses_once_a_leader_vouches() -> None:
    # given a host that has read all, where no leader was seen
    host = Host()
    reached = host.list(taken_over())
    assert reached.view.doubt == ""
    assert reached.settled
    assert host.doubt.startswith(UNVOUCHED)
    assert reached.why_not_attached == host.doubt

    # when a leader that gives no address yet renews, and then one that does
    host.see("", 5)
    assert host.doubt == f"{UNVOUCHED}: it waits"
    reached = host.see(TAKEOVER.nonce, 1)

    # then addresses may be given
    assert host.doubt == reached.why_not_attached == ""
    assert host.reconciler.is_vouched_for


def test_a_store_that_is_doubted_is_not_given_from_though_a_leader_vouches() -> None:
    host, store = Host(), taken_over()
    store.delete(READY)
    host.list(store)

    host.see(TAKEOVER.nonce, 5)

    assert str(READY) in host.doubt


def test_a_host_that_only_read_a_store_is_new_also_after_a_restart() -> None:
    host = Host()
    host.list(taken_over())

    again = host.restarted()
    again.list(taken_over())

    assert again.doubt.startswith(UNVOUCHED)


def test_a_host_that_was_vouched_for_needs_no_leader_after_a_restart() -> None:
    # given a host that a leader vouched for, which was saved
    host = Host()
    host.list(taken_over())
    assert host.reconciler.saved() is not None
    host.see(TAKEOVER.nonce, 5)

    # when its agent begins anew, and nobody leads
    again = host.restarted()
    again.list(taken_over())
    again.reconciler.handle(LeaderSeen())
    again.reconciler.reconcile()

    assert again.doubt == ""


def test_that_nobody_vouches_is_a_problem_of_the_host_once_it_lasts() -> None:
    host = Host()
    assert host.list(taken_over()).problems == ()

    host.clock.advance(TOLD_AFTER)
    host.reconciler.handle(LeaderSeen())
    (problem,) = host.reconciler.reconcile().problems

    assert problem.startswith(UNVOUCHED)
    assert host.see(TAKEOVER.nonce, 5).problems == ()


def test_a_host_gives_no_address_after_an_outage_before_it_has_read_all_anew() -> None:
    # given a host that gives addresses
    host, store = Host(), taken_over()
    host.list(store)
    host.see(TAKEOVER.nonce, 5)
    assert host.doubt == ""

    # when the store was away: what answers next may be a backup, unread
    for prefix in PREFIXES:
        host.reconciler.handle(Unreachable(prefix, "etcd does not answer"))
    reached = host.reconciler.reconcile()
    assert "etcd does not answer" in host.doubt
    assert reached.why_not_attached == host.doubt
    for message in loaded(store)[:-1]:
        host.reconciler.handle(message)
    host.reconciler.reconcile()

    # then none is given until the last prefix was listed
    assert "etcd does not answer" in host.doubt
    assert host.list(store).why_not_attached == host.doubt == ""


def test_who_gives_addresses_is_told_how_far_the_datastore_was_seen() -> None:
    host, store = Host(), taken_over()
    host.list(store)
    index = store.list(CALICO).revision
    assert host.seen[-1] == index

    host.reconciler.handle(Bookmark(CALICO, Revision(index + 7)))
    host.reconciler.reconcile()

    assert host.seen[-1] == index + 7
