"""A container loses its addresses by the store that is believed, not by what just answers."""

from collections.abc import Callable
from pathlib import Path

import pytest
from netaddr import IPAddress

from calico.addressing.addresses import Addresses
from calico.addressing.blocks import marks_of_container
from calico.addressing.claims import Claim, Claims
from calico.addressing.ipam import block_of
from calico.datastore.api import Revision
from calico.keys import BLOCKS, block_key
from calico.model import ContainerId, HandleId
from reconciler.agent.attachments.allocator import SWEEP_EVERY
from reconciler.agent.attachments.block_writes import BlockWritten
from reconciler.agent.attachments.requests import SeenLost
from reconciler.runtime.watchfeed import Changed
from tests.unit.agent.attachments.samples import attachment
from tests.unit.agent.attachments.test_held import HELD, Bench
from tests.unit.agent.test_lost_writes import Giver
from tests.unit.agent.world import HOST

BLOCK = block_key(block_of(HELD.addresses[0]))


class Told(Bench):
    """An agent that believes a store in which a container has its address."""

    def __init__(self) -> None:
        super().__init__(HELD)
        self.begin(HELD)
        marks = marks_of_container(HELD.container, HOST)
        Addresses(self.store).assign_fixed(
            HOST, HELD.handle, HELD.addresses[0], secondary=marks, given_on=HOST
        )
        self.list()
        self.reconciler.reconcile()

    def release(self) -> None:
        Addresses(self.store).release(HELD.handle, HELD.addresses[0])

    def hear(self) -> None:
        """Have the watch tell what happened to blocks."""
        for event in self.store.watch(BLOCKS, self._seen, timeout=0):
            self.reconciler.handle(Changed(BLOCKS, event))

    def lost(self) -> list[object]:
        """What is kept of a container that two looks found without its address."""
        self.reconciler.handle(SeenLost(HELD.container))
        self.reconciler.reconcile()
        return [each for what, each in self.chores if what == "lost"]


@pytest.fixture
def told() -> Told:
    return Told()


def test_what_a_look_lacks_is_not_lost_while_no_watch_told_of_that(told: Told) -> None:
    told.release()
    assert told.lost() == []


def claimed(told: Told) -> None:
    Claims(told.store).claim(Claim(HELD.container, HOST, HandleId("web.1")))


def wiped(told: Told) -> None:
    told.store.delete(BLOCK)


@pytest.mark.parametrize(
    "happens",
    [
        pytest.param(Told.release, id="nobody's"),
        pytest.param(claimed, id="a task's"),
        pytest.param(wiped, id="in no block"),
    ],
)
def test_an_address_is_lost_that_is_by_what_is_believed(
    told: Told, happens: Callable[[Told], None]
) -> None:
    happens(told)
    told.hear()
    assert told.lost() == [HELD.container]


def unread(told: Told) -> None:
    told.store.put(BLOCK, "torn")


def untold(told: Told) -> None:
    told.release()
    told.reconciler.handle(BlockWritten(BLOCK, Revision(1000)))


@pytest.mark.parametrize(
    "happens",
    [
        pytest.param(unread, id="its block cannot be read"),
        pytest.param(untold, id="this agent wrote it since"),
    ],
)
def test_nothing_is_lost_of_which_nothing_is_known(
    told: Told, happens: Callable[[Told], None]
) -> None:
    happens(told)
    told.hear()
    assert told.lost() == []


def test_the_loop_is_asked_about_a_container_that_two_looks_found_without_its_address(
    tmp_path: Path,
) -> None:
    # given a container, and a store that nobody knows to be wiped
    giver = Giver(tmp_path)
    given = giver.give()
    assert isinstance(given, tuple)
    giver.service.attacher.restore([attachment("box", *map(str, given), inode=7)])
    giver.store.delete(block_key(block_of(IPAddress(given[0]))))

    # when it is looked at twice
    for _ in range(2):
        giver.clock.advance(SWEEP_EVERY)
        giver.service.allocator.step()

    # then nothing is done by the allocator's word alone
    assert giver.told[-1] == SeenLost(ContainerId("box"))
    giver.service.keeper.step()
    assert not any(each.claimed for each in giver.service.attacher.attachments())
