"""What becomes of containers of which nobody says a word any more."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from calico.addressing.books import decode_books
from calico.addressing.claims import Claim, Claims
from calico.codec import encode_pool
from calico.dataplane.changes import NamespaceRef
from calico.datastore.memory import MemoryDatastore
from calico.keys import IPAM, pool_key
from calico.model import BootId, ContainerId, HandleId, InterfaceName, TaskId
from reconciler.agent.attachments.allocator import Allocator, Job
from reconciler.agent.attachments.attacher import HostAttacher, Partners
from reconciler.agent.attachments.files import AttachmentFiles, KeptAttachment
from reconciler.agent.attachments.keeper import (
    FIRST_DELAY,
    LOOK_EVERY,
    UNUSED_FOR,
    Asker,
    Claimed,
    Ended,
    Forgettable,
    Keeper,
    Lost,
)
from reconciler.agent.attachments.requests import (
    AttachmentKept,
    AttachMessage,
    DetachAsked,
    Done,
    Reply,
    TasksTold,
)
from reconciler.agent.locators.api import LocatorUnavailable
from reconciler.attach.api import AttachUnavailable, Wish
from reconciler.runtime.clock import ManualClock
from tests.unit.agent.attachments.samples import attachment
from tests.unit.agent.world import HOST, POOL

ONE = ContainerId("one")
#: What a request may take here: those that wait for nobody end soon.
PATIENCE = 0.05


class Bench:
    """An attacher whose loop does at once what it is told, and a keeper beside it."""

    def __init__(self, directory: Path, *held: KeptAttachment) -> None:
        self.clock = ManualClock()
        self.store = MemoryDatastore()
        self.store.put(pool_key(POOL), encode_pool(POOL))
        self.files = AttachmentFiles(directory, BootId("boot"))
        self.told: list[AttachMessage] = []
        self.links: set[InterfaceName] = set()
        self.alive: set[int] = set()
        self.busy = False
        self.jobs: list[Job] = []
        for each in held:
            self.files.write(each)
        self.attacher = HostAttacher(
            self.files, Partners(self._tell, self._allot, self._ask), self.clock, 1500, PATIENCE
        )
        self._allocator = Allocator(HOST, self.store, self.clock, self.attacher.is_known)
        self._allocator.note_doubt("")
        self.attacher.restore(self.files.read())
        self.keeper = Keeper(self.attacher, self.clock, self._still_held, self.links.__contains__)

    def look_around(self, after: float = LOOK_EVERY) -> None:
        self.clock.advance(after)
        self.keeper.step()

    def handles(self) -> set[HandleId | None]:
        blocks = decode_books(self.store.list(IPAM).entries).blocks.values()
        return {each.handle for block in blocks for each in block.allocations if each}

    def _tell(self, message: AttachMessage) -> None:
        self.told.append(message)
        if isinstance(message, DetachAsked) and not self.busy:
            message.reply.settle(Done(1500))

    def _ask(self, container: ContainerId, reply: Reply[str]) -> None:
        reply.settle(f"task-of-{container}")

    def _allot(self, job: Job) -> None:
        self.jobs.append(job)
        self._allocator.post(job)
        self._allocator.step()

    def _still_held(self, refs: Iterable[NamespaceRef]) -> set[NamespaceRef]:
        return {ref for ref in refs if ref.inode in self.alive}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_addresses_that_never_got_a_link_are_taken_back(bench: Bench) -> None:
    bench.attacher.allocate(ONE, Wish())
    bench.look_around()
    assert bench.handles() == {"cni.one"}

    bench.look_around(after=UNUSED_FOR)

    assert bench.handles() == set()
    assert bench.files.read() == ()


@pytest.mark.parametrize(
    ("link", "alive", "stays"),
    [
        pytest.param(True, False, True, id="its link stands"),
        pytest.param(False, True, True, id="somebody is in its namespace"),
        pytest.param(False, False, False, id="neither"),
    ],
)
def test_a_container_without_link_and_namespace_is_over(
    tmp_path: Path, link: bool, alive: bool, stays: bool
) -> None:
    held = attachment("one", "192.168.0.1", inode=7)
    bench = Bench(tmp_path, held)
    if link:
        bench.links.add(held.interface)
    if alive:
        bench.alive.add(7)

    bench.look_around()

    assert (bench.files.read() == (held,)) is stays
    assert bench.attacher.is_known(ONE) is stays


def test_one_that_is_said_to_have_ended_is_detached(bench: Bench) -> None:
    bench.attacher.allocate(ONE, Wish())

    for _ in range(2):
        bench.keeper.post(Ended(ONE))
        bench.keeper.step()

    assert bench.handles() == set()
    assert [each for each in bench.told if isinstance(each, DetachAsked)] != []


def test_a_claim_is_kept_over_a_restart(tmp_path: Path) -> None:
    bench = Bench(tmp_path, attachment("one", "192.168.0.1", inode=7))
    bench.alive.add(7)

    bench.keeper.post(Claimed(ONE))
    bench.keeper.step()

    assert [each.claimed for each in bench.files.read()] == [True]


def test_a_container_that_lost_its_addresses_is_wired_for_no_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path, attachment("one", "192.168.0.1", inode=7))
    bench.alive.add(7)

    bench.keeper.post(Lost(ONE))
    bench.keeper.step()

    (kept,) = bench.files.read()
    assert kept.claimed
    assert bench.told == [AttachmentKept(kept)]


def test_what_was_detached_is_forgotten_unless_a_task_has_it(bench: Bench) -> None:
    other = ContainerId("other")
    for container in (ONE, other):
        bench.attacher.allocate(container, Wish())
    Claims(bench.store).claim(Claim(other, HOST, HandleId("task.1")))
    for container in (ONE, other):
        bench.attacher.detach(container)

    bench.look_around()

    assert [each.container for each in bench.files.read()] == [other]
    with pytest.raises(AttachUnavailable, match="still being taken back"):
        bench.attacher.allocate(other, Wish())
    assert bench.attacher.allocate(ONE, Wish()).addresses

    bench.keeper.post(Forgettable(other))
    bench.keeper.step()
    assert [each.container for each in bench.files.read()] == [ONE]
    assert "task.1" in bench.handles(), "it rests as every task's"


def test_a_removal_that_ran_out_of_time_frees_its_addresses_soon(bench: Bench) -> None:
    bench.look_around()
    attached = bench.attacher.allocate(ONE, Wish())
    bench.links.add(attached.interface)
    bench.busy = True
    with pytest.raises(AttachUnavailable):
        bench.attacher.detach(ONE)
    bench.keeper.step()
    assert bench.handles() == {"cni.one"}

    # The loop gets to it a little later; until then the addresses are in use.
    bench.look_around(FIRST_DELAY)
    assert bench.handles() == {"cni.one"}
    bench.links.clear()
    bench.look_around(2 * FIRST_DELAY)

    assert bench.handles() == set()
    assert bench.files.read() == ()
    assert bench.attacher.allocate(ONE, Wish()).addresses


def test_what_a_task_has_claimed_is_asked_about_ever_more_rarely(bench: Bench) -> None:
    bench.attacher.allocate(ONE, Wish())
    Claims(bench.store).claim(Claim(ONE, HOST, HandleId("task.1")))
    bench.attacher.detach(ONE)
    asked = len(bench.jobs)

    for _ in range(600):
        bench.look_around(1.0)

    assert 10 < len(bench.jobs) - asked < 20
    assert [each.container for each in bench.files.read()] == [ONE]


def test_a_chore_that_failed_is_done_later(tmp_path: Path) -> None:
    directory = tmp_path / "kept"
    bench = Bench(directory, attachment("one", "192.168.0.1", inode=7))
    bench.alive.add(7)
    moved = directory.rename(tmp_path / "away")
    directory.write_text("a file is in the way")
    bench.keeper.post(Claimed(ONE))
    bench.keeper.step()

    directory.unlink()
    moved.rename(directory)
    bench.look_around()

    assert [each.claimed for each in bench.files.read()] == [True]


def test_a_mesos_agent_that_does_not_answer_says_nothing() -> None:
    told: list[TasksTold] = []

    def unavailable() -> dict[ContainerId, frozenset[TaskId]]:
        raise LocatorUnavailable("not now")

    Asker(unavailable, told.append).answer([frozenset({ONE})])
    Asker(
        lambda: {ONE: frozenset({TaskId("t")}), ContainerId("x"): frozenset()}, told.append
    ).answer([frozenset({ONE})])

    assert told == [TasksTold(why="not now"), TasksTold({ONE: frozenset({TaskId("t")})})]
