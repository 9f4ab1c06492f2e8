"""A block that lacks what was written here: nothing is given of it, all hear why, and it ends."""

from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from calico.addressing.blocks import Block
from calico.cluster import Takeover
from calico.codec import decode_block, encode_chain, encode_pool
from calico.dataplane.memory import MemoryDataplane
from calico.dataplane.state import HostFacts
from calico.keys import BLOCKS, CALICO, CHAIN, parse_block_key, pool_key
from calico.model import BootId
from reconciler.agent.attachments.allocator import SWEEP_EVERY
from reconciler.agent.attachments.block_writes import BlockRefused, BlockWritten
from reconciler.agent.attachments.files import AttachmentFiles
from reconciler.agent.attachments.requests import AttachMessage
from reconciler.agent.attachments.service import AttachService
from reconciler.agent.reconciliation.passes import HostSettings, Pass
from reconciler.agent.reconciliation.reconcile import HostReconciler
from reconciler.attach.api import AttachError, AttachUnavailable
from reconciler.runtime.clock import ManualClock
from reconciler.runtime.watchfeed import Changed, Loaded
from tests.unit.agent.attachments.giving import give
from tests.unit.agent.world import HOST, POOL, UNDERLAY, filled_store, loaded, vouch_for


class SetBack:
    """An agent whose watches go on in a store that was set back, and came as far again."""

    def __init__(self, directory: Path) -> None:
        self.store = filled_store()
        self.clock = ManualClock()
        self.asked_anew = 0
        self.service = AttachService(
            HOST,
            AttachmentFiles(directory, BootId("boot-h1")),
            self.store,
            self.clock,
            self._tell,
            1500,
            set,
            dict,
            read_anew=self._note_asked,
        )
        facts = HostFacts("eth0", UNDERLAY, 1450, (IPNetwork("10.0.0.0/24"),))
        self.reconciler = HostReconciler(
            HostSettings(HOST, BootId("boot-h1")),
            MemoryDataplane(facts),
            self.clock,
            lambda _: set(),
            self.service.chores,
        )
        vouch_for(self.reconciler)
        self.list()
        listed = self.store.list(BLOCKS).revision
        self.give("first")
        backup = self.store.backup()
        assert isinstance(self.give("second"), tuple)
        for event in self.store.watch(BLOCKS, listed, timeout=0):
            self.reconciler.handle(Changed(BLOCKS, event))
        assert self.reconciler.reconcile().problems == ()
        self.newer = self.store.backup()
        reached = self.newer.revision
        self.store.restore(backup)
        while self.store.list(CALICO).revision <= reached:
            self.store.put(pool_key(POOL), encode_pool(POOL))

    def _tell(self, message: AttachMessage | BlockWritten | BlockRefused) -> None:
        self.reconciler.handle(message)

    def _note_asked(self) -> None:
        self.asked_anew += 1

    def list(self) -> Pass:
        """Have all feeds list, and make a pass."""
        for message in loaded(self.store):
            self.reconciler.handle(message)
        return self.reconciler.reconcile()

    def give(self, container: str) -> tuple[IPAddress, ...] | AttachError | None:
        """Give an address to a container."""
        return give(self.service.allocator, container)

    def block(self) -> Block:
        """The one that was given from."""
        (stored,) = self.store.list(BLOCKS).entries
        cidr = parse_block_key(stored.key)
        assert cidr is not None
        return decode_block(cidr, stored.value)


@pytest.fixture
def set_back(tmp_path: Path) -> SetBack:
    return SetBack(tmp_path)


def test_why_no_address_is_given_is_a_problem_of_the_host_meanwhile(set_back: SetBack) -> None:
    assert set_back.reconciler.reconcile().problems == ()

    assert isinstance(set_back.give("third"), AttachUnavailable)

    told = set_back.reconciler.reconcile()
    (problem,) = told.problems
    assert problem.startswith("no container gets an address: /calico/ipam/v2/")
    assert problem.endswith("it was set back")
    assert told.why_not_attached == problem


def test_it_ends_by_itself_once_the_store_tells_the_newer_block_again(set_back: SetBack) -> None:
    set_back.give("third")

    set_back.store.restore(set_back.newer)
    # Nobody has to ask for an address for that.
    set_back.clock.advance(SWEEP_EVERY + 1)
    set_back.service.allocator.step()

    told = set_back.reconciler.reconcile()
    assert (told.problems, told.why_not_attached) == ((), "")
    assert isinstance(set_back.give("fourth"), tuple)


def test_the_feeds_are_to_read_all_anew_and_then_the_store_is_judged(set_back: SetBack) -> None:
    set_back.give("third")
    assert set_back.asked_anew

    told = set_back.list()

    assert "was restored from a backup" in told.problems[0]

    # when a controller has taken over what the host holds
    objection = set_back.reconciler.objection()
    assert objection is not None
    adopting = Takeover(objection.takeover + 1, "n2", (objection.guid,), (HOST,))
    set_back.store.put(CHAIN, encode_chain((adopting,)))

    assert set_back.list().problems == ()
    set_back.service.allocator.step()
    assert isinstance(set_back.give("fourth"), tuple)


def test_nothing_is_given_of_it_before_all_blocks_were_listed(set_back: SetBack) -> None:
    # given a feed that hears first that the store may be another, and finds nothing wrong
    assert isinstance(set_back.give("third"), AttachUnavailable)
    set_back.reconciler.handle(Loaded(CALICO, set_back.store.list(CALICO)))
    assert set_back.reconciler.reconcile().view.doubt == ""
    before = set_back.block()

    # then the feed of blocks is waited for
    assert isinstance(set_back.give("fourth"), AttachUnavailable)
    assert set_back.block() == before
