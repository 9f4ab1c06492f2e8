"""A store that lacks what this agent itself wrote to it, also if no feed had told of that yet."""

from collections.abc import Callable
from pathlib import Path

import pytest
from netaddr import IPAddress

from calico.addressing.ipam import block_of, new_block
from calico.cluster import Takeover
from calico.codec import encode_block, encode_chain, encode_pool
from calico.datastore.api import Key, Revision
from calico.datastore.memory import MemoryDatastore
from calico.keys import BLOCKS, CALICO, CHAIN, block_key, pool_key
from calico.model import BootId
from reconciler.agent.attachments.block_writes import BlockWritten
from reconciler.agent.attachments.files import AttachmentFiles
from reconciler.agent.attachments.service import AttachService
from reconciler.agent.belief import PREFIXES, Belief, View
from reconciler.attach.api import AttachError, AttachUnavailable
from reconciler.runtime.clock import ManualClock
from reconciler.runtime.watchfeed import Bookmark, Changed, Loaded
from tests.contract.attach.agent_rig import SteppedStore
from tests.unit.agent.attachments.giving import give
from tests.unit.agent.world import HOST, POOL, filled_store, loaded

CIDR = block_of(IPAddress("192.168.0.1"))
BLOCK = block_key(CIDR)


class Writer:
    """An agent that wrote to a block right behind a backup, and was told of nothing since."""

    def __init__(self) -> None:
        self.store = filled_store()
        self.store.put(CHAIN, encode_chain((Takeover(1, "n1"),)))
        self.write()
        self.belief = Belief(HOST)
        self.list()
        self.backup = self.store.backup()
        self.written = self.write()
        self.belief.handle(BlockWritten(BLOCK, self.written))

    def write(self) -> Revision:
        return self.store.put(BLOCK, encode_block(new_block(CIDR, HOST)))

    def restore(self) -> None:
        """Set the store back, and let its index pass that of what was written."""
        self.store.restore(self.backup)
        self.pass_by()

    def pass_by(self) -> Revision:
        """Have others write elsewhere."""
        while (reached := self.store.list(CALICO).revision) <= self.written:
            self.store.put(pool_key(POOL), encode_pool(POOL))
        return reached

    def list(self) -> View:
        for message in loaded(self.store):
            self.belief.handle(message)
        return self.belief.judge()


@pytest.fixture
def writer() -> Writer:
    return Writer()


def test_a_block_as_it_was_before_it_was_written_is_of_an_older_store(writer: Writer) -> None:
    writer.restore()

    view = writer.list()

    assert f"{BLOCK} is told as of its index" in view.doubt
    assert view.is_former
    assert writer.belief.doubted


def test_a_block_that_a_watch_did_not_tell_of_though_it_is_past_that_is_so_too(
    writer: Writer,
) -> None:
    writer.belief.handle(Bookmark(BLOCKS, Revision(writer.written + 5)))

    assert str(BLOCK) in writer.belief.judge().doubt


@pytest.mark.parametrize(
    ("asked", "doubt"),
    [
        pytest.param(8.0, "went back from", id="asked for since"),
        pytest.param(6.0, "", id="asked for before, and told later"),
    ],
)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_list_is_of_an_older_store_that_is_older_than_what_was_written_before(
    writer: Writer, prefix: Key, asked: float, doubt: str
) -> None:
    # given a write that no feed has told of yet, and whose index the store has not again
    writer.belief.handle(BlockWritten(BLOCK, writer.written, at=7.0))
    writer.store.restore(writer.backup)

    writer.belief.handle(Loaded(prefix, writer.store.list(prefix), asked))

    view = writer.belief.judge()
    assert (doubt in view.doubt, view.is_former) == (True, bool(doubt))


def test_the_doubt_stays_when_the_block_is_written_again(writer: Writer) -> None:
    writer.restore()
    assert writer.list().doubt

    writer.write()

    assert writer.list().doubt


def told_of(writer: Writer) -> None:
    for event in writer.store.watch(BLOCKS, writer.backup.revision, timeout=0):
        writer.belief.handle(Changed(BLOCKS, event))


def quiet_before(writer: Writer) -> None:
    writer.belief.handle(Bookmark(BLOCKS, Revision(writer.written - 1)))


def written_again(writer: Writer) -> None:
    writer.write()
    writer.list()


def removed(writer: Writer) -> None:
    writer.store.delete(BLOCK)
    writer.pass_by()
    writer.list()


@pytest.mark.parametrize(
    "since",
    [
        pytest.param(told_of, id="it is told of"),
        pytest.param(quiet_before, id="it is not told of yet"),
        pytest.param(written_again, id="others wrote there since"),
        pytest.param(removed, id="others removed it since"),
    ],
)
def test_what_was_written_speaks_against_no_store_that_may_have_had_it(
    writer: Writer, since: Callable[[Writer], None]
) -> None:
    since(writer)
    assert writer.belief.judge().doubt == ""


def test_what_was_written_to_a_store_is_not_held_against_the_one_that_took_over(
    writer: Writer,
) -> None:
    # given a store that was set back, and that the agent doubts for its index
    writer.store.restore(writer.backup)
    writer.belief.handle(BlockWritten(BLOCK, Revision(writer.written + 50)))
    writer.belief.handle(Bookmark(CALICO, Revision(writer.written + 50)))
    assert "went back" in writer.list().doubt

    # when it takes over what the host holds, and goes on past that index
    adopting = Takeover(2, "n2", ("one",), (HOST,))
    writer.store.put(CHAIN, encode_chain((Takeover(1, "n1"), adopting)))
    assert writer.list().doubt == ""
    writer.written = Revision(writer.written + 50)
    writer.pass_by()

    assert writer.list().doubt == ""


class Giver:
    """The service that gives addresses to containers; what it tells the loop is kept."""

    def __init__(self, directory: Path) -> None:
        self.store = MemoryDatastore()
        self.store.put(pool_key(POOL), encode_pool(POOL))
        self.steps: list[str] = []
        self.told: list[object] = []
        self.clock = ManualClock()
        self.doubted_while_writing = False
        self.service = AttachService(
            HOST,
            AttachmentFiles(directory, BootId("boot")),
            SteppedStore(self.store, self._step),
            self.clock,
            self.told.append,
            1500,
            set,
            dict,
        )
        self.service.allocator.note_doubt("")

    def _step(self, what: str) -> None:
        if self.doubted_while_writing and what.startswith("after"):
            self.service.allocator.note_doubt("another store")

    def give(self, container: str = "box") -> tuple[IPAddress, ...] | AttachError | None:
        """Give an address to a container."""
        return give(self.service.allocator, container)


def test_who_gives_an_address_tells_where_and_when_it_was_written(tmp_path: Path) -> None:
    giver = Giver(tmp_path)

    given = giver.give()

    assert isinstance(given, tuple)
    key = block_key(block_of(given[0]))
    stored = giver.store.get(key)
    assert stored is not None
    assert giver.told[-1] == BlockWritten(key, stored.revision, giver.clock.monotonic())


def test_what_was_written_while_the_store_was_doubted_is_not_told(tmp_path: Path) -> None:
    giver = Giver(tmp_path)
    giver.doubted_while_writing = True

    giver.give()

    assert giver.told == []


def test_no_address_is_given_out_of_a_store_that_was_set_back_though_nothing_told_so(
    tmp_path: Path,
) -> None:
    # given a store that the loop has seen come further than its backup
    giver = Giver(tmp_path)
    backup = giver.store.backup()
    assert isinstance(giver.give(), tuple)
    giver.service.chores.seen(giver.store.list(CALICO).revision)

    # when it is restored, which no feed has heard of
    giver.store.restore(backup)

    # then the address of a container that lives is not given again
    assert isinstance(giver.give(), AttachUnavailable)
    assert giver.store.list(BLOCKS).entries == ()


class SetBack(Giver):
    """A store with an older self of a block that this host wrote, and a later index."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.give("first")
        backup = self.store.backup()
        self.before = self.store.list(BLOCKS)
        assert isinstance(self.give("second"), tuple)
        written = self.store.list(CALICO).revision
        self.store.restore(backup)
        while self.store.list(CALICO).revision <= written:
            self.store.put(pool_key(POOL), encode_pool(POOL))


def test_no_address_is_given_out_of_a_block_that_lacks_what_was_written_to_it(
    tmp_path: Path,
) -> None:
    set_back = SetBack(tmp_path)

    answer = set_back.give("third")

    assert isinstance(answer, AttachUnavailable)
    assert "was set back" in str(answer)
    assert set_back.store.list(BLOCKS).entries == set_back.before.entries


def test_what_was_written_to_an_earlier_store_is_not_held_against_one_that_was_judged(
    tmp_path: Path,
) -> None:
    set_back = SetBack(tmp_path)

    set_back.service.chores.judged()

    assert isinstance(set_back.give("third"), tuple)
