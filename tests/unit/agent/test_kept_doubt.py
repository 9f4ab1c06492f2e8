"""The doubt of a store outlives the agent, however far that store has come meanwhile."""

from collections.abc import Iterable

import pytest

from calico.cluster import ObjectionRecord, Takeover
from calico.codec import encode_chain
from calico.datastore.api import Key, Revision
from calico.datastore.memory import Backup
from calico.keys import CALICO, CHAIN
from calico.model import TaskId
from reconciler.agent.belief import PREFIXES, Source, View
from reconciler.agent.state_file import parse_state, render_state
from reconciler.runtime.watchfeed import Bookmark, Changed, Loaded
from tests.unit.agent.test_reconcile import Agent, Machine
from tests.unit.agent.world import HOST, filled_store, key_of, put_spec, remove_spec, spec

WEB = spec(TaskId("web.1"), "192.168.0.1", "a")
FIRST = Takeover(1, "n1")
ELSEWHERE = Key("/marathon-calico/v1/leader")


class Host:
    """A host whose task came right behind the last backup of its store."""

    def __init__(self) -> None:
        self.store = filled_store()
        self.store.put(CHAIN, encode_chain((FIRST,)))
        self.machine = Machine()
        self.machine.start(WEB)
        self.backup: Backup = self.store.backup()
        put_spec(self.store, WEB)
        self.agent = Agent(self.machine, self.store)
        self.list()

    def list(self, prefixes: Iterable[Key] = PREFIXES) -> View:
        """Have the agent list the store, and act on that."""
        for prefix in prefixes:
            self.agent.reconciler.handle(Loaded(prefix, self.store.list(prefix)))
        return self.turn()

    def turn(self) -> View:
        """Have the agent act on what it heard, and save what is to be saved."""
        reached = self.agent.turn()
        saved = self.agent.reconciler.saved()
        if saved is not None:
            self.disk = render_state(saved)
        return reached.view

    def restart(self) -> None:
        """End the agent, and begin anew with what it saved."""
        self.agent = Agent(self.machine, self.store, parse_state(self.disk))

    def restore(self) -> None:
        """Set the store back to before the task."""
        self.store.restore(self.backup)

    def catch_up(self, *chain: Takeover) -> Revision:
        """Have others write so much that the index passes that of before, and then take over."""
        for _ in range(20):
            self.store.put(ELSEWHERE, "renewed")
        if chain:
            self.store.put(CHAIN, encode_chain(chain))
        return self.store.list(CALICO).revision

    @property
    def objection(self) -> ObjectionRecord | None:
        """What it tells that it holds."""
        return self.agent.reconciler.objection()

    @property
    def is_wired(self) -> bool:
        """Whether its task still has its network."""
        return WEB.interface in self.machine.kernel.links


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def doubting(host: Host) -> Host:
    """A host whose agent saw that its store was set back; nothing tells it any more."""
    host.restore()
    assert "went back" in host.list().doubt
    host.catch_up(FIRST, Takeover(2, "n2"))
    return host


def test_a_store_that_looks_like_the_true_one_by_now_is_doubted_by_the_next_run(
    doubting: Host,
) -> None:
    doubting.restart()

    view = doubting.list()

    assert "went back" in view.doubt
    assert (view.source, view.is_former, doubting.is_wired) == (Source.FILE, True, True)
    assert doubting.objection is not None
    assert key_of(WEB.id) in dict(doubting.objection.entries)


def test_each_run_hands_its_doubt_on(doubting: Host) -> None:
    for _ in range(3):
        doubting.restart()
        view = doubting.list()

    assert view.is_former
    assert doubting.is_wired


def test_the_doubt_ends_when_the_store_takes_over_what_the_host_holds(doubting: Host) -> None:
    # given a run that doubts because an earlier one did
    doubting.restart()
    assert doubting.list().is_former

    # when a takeover says that
    put_spec(doubting.store, WEB)
    doubting.catch_up(FIRST, Takeover(2, "n2"), Takeover(3, "n3", ("one",), (HOST,)))

    # then it is believed, also by later runs, to which nothing speaks against it
    view = doubting.list()
    assert (view.doubt, view.source, view.takeover) == ("", Source.DATASTORE, 3)
    doubting.restart()
    assert doubting.list().doubt == ""
    assert doubting.objection is None
    assert doubting.is_wired


def test_a_store_that_took_over_while_the_agent_was_down_is_believed_at_once(
    doubting: Host,
) -> None:
    put_spec(doubting.store, WEB)
    doubting.catch_up(FIRST, Takeover(2, "n2"), Takeover(3, "n3", ("one",), (HOST,)))
    doubting.restart()

    assert doubting.list().doubt == ""
    assert doubting.objection is None


def test_another_store_that_took_over_while_the_agent_was_down_is_believed_at_once(
    doubting: Host,
) -> None:
    doubting.store = filled_store(cluster="two")
    put_spec(doubting.store, WEB)
    doubting.catch_up(Takeover(1, "x"), Takeover(2, "y", ("one",), (HOST,)))
    doubting.restart()

    view = doubting.list()

    assert (view.doubt, view.guid) == ("", "two")


def test_a_run_that_ends_before_it_has_read_all_hands_on_what_it_saw(host: Host) -> None:
    # given an agent that was down when its store was set back, and listed a part of it
    host.restore()
    host.restart()
    assert host.list((CALICO,)).doubt == ""

    # when the next run reads it after the index has caught up
    host.restart()
    host.catch_up(FIRST, Takeover(2, "n2"))

    assert "went back" in host.list().doubt


def test_a_key_that_was_told_at_an_index_that_had_passed_without_it_is_remembered(
    host: Host,
) -> None:
    # given an agent that doubts a store, whose index has caught up, for a key in it
    reached = Revision(host.catch_up() + 10)
    host.agent.reconciler.handle(Bookmark(CALICO, reached))
    host.restore()
    stranger = spec(TaskId("web.2"), "192.168.0.2", "a")
    put_spec(host.store, stranger)
    while host.catch_up() <= reached:
        pass
    assert str(key_of(stranger.id)) in host.list().doubt

    # when that is gone before the next run reads it
    remove_spec(host.store, stranger.id)
    host.restart()

    assert "restored from a backup" in host.list().doubt
    assert host.is_wired


def test_how_far_the_store_was_is_handed_on_with_the_doubt(host: Host) -> None:
    """Where nothing had changed, the file is behind in that."""
    # given an agent that sees another take over at an index that had passed without that
    reached = Revision(host.catch_up() + 10)
    host.agent.reconciler.handle(Bookmark(CALICO, reached))
    host.restore()
    assert host.catch_up(FIRST, Takeover(2, "n2")) < reached
    for event in host.store.watch(CALICO, host.backup.revision, timeout=0):
        host.agent.reconciler.handle(Changed(CALICO, event))
    assert "takeover 2 was told" in host.turn().doubt

    # when the next run reads it after the index has caught up
    while host.catch_up() <= reached:
        pass
    host.restart()

    # then it is held against that one too
    assert "at an index that had passed without it" in host.list().doubt
    assert host.is_wired
