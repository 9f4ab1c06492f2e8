"""Addresses for containers: given, taken back, swept, whatever the datastore answers."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from netaddr import IPAddress

from calico.addressing.addresses import Addresses
from calico.addressing.blocks import CONTAINER, ON_HOST, OWNER, marks_of_container
from calico.addressing.books import decode_books
from calico.addressing.claims import Claim, Claims
from calico.datastore.api import ABSENT, Key, Revision
from calico.datastore.memory import MemoryDatastore
from calico.errors import Conflict, DatastoreUnavailable
from calico.keys import BLOCKS, CALICO, IPAM, block_key
from calico.model import ContainerId, HandleId
from calico.names import handle_of_container
from reconciler.agent.attachments.allocator import (
    FOR_THE_REST,
    OVERDUE,
    SWEEP_EVERY,
    AllocateAsked,
)
from reconciler.agent.attachments.requests import Reply
from reconciler.attach.api import AttachError, AttachRefused, AttachUnavailable, Wish
from reconciler.core.removal.quarantine import FIXED_FOR
from tests.unit.agent.attachments.allocating import (
    MOST_WRITES,
    ONE,
    OTHER,
    SMALL,
    Bench,
    asked_for,
)
from tests.unit.agent.attachments.samples import attachment
from tests.unit.agent.world import HOST, OTHER_HOST

#: Asked for by name.
OWN = IPAddress("192.168.0.61")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_an_address_is_marked_with_its_container_and_its_host(bench: Bench) -> None:
    given = bench.allocate(ONE)

    assert isinstance(given, tuple)
    (held,) = bench.held()
    assert held.handle == handle_of_container(ONE)
    assert dict(held.secondary) == dict((OWNER, (CONTAINER, ONE), (ON_HOST, HOST)))
    assert held.unclaimed


def test_what_the_container_is_for_is_marked_if_it_is_known_in_time(bench: Bench) -> None:
    reply: Reply[tuple[IPAddress, ...] | AttachError] = Reply()
    bench.allocator.post(asked_for(ONE, reply, runs="web.1"))
    never: Reply[str] = Reply()
    bench.allocator.post(AllocateAsked(OTHER, Wish(), 1e9, Reply(), never, bench.clock.monotonic()))
    bench.allocator.step()

    assert {held.container: held.runs for held in bench.held()} == {ONE: "web.1", OTHER: ""}


def held_by_a_task(bench: Bench, *marks: tuple[str, str]) -> None:
    """A task has the address, or had it and it rests."""
    held = (OWNER, *marks)
    Addresses(bench.store).assign_fixed(HOST, HandleId("web.1"), OWN, secondary=held)


def ask_for_own(bench: Bench, within: float) -> Reply[tuple[IPAddress, ...] | AttachError]:
    reply: Reply[tuple[IPAddress, ...] | AttachError] = Reply()
    deadline = bench.clock.monotonic() + within
    bench.allocator.post(
        replace(asked_for(ONE, reply, Wish(fixed=(OWN,)), runs="web.2"), deadline=deadline)
    )
    bench.allocator.step()
    return reply


def test_an_address_that_a_task_asked_for_by_name_is_waited_for_and_given_once_free(
    bench: Bench,
) -> None:
    held_by_a_task(bench, (FIXED_FOR, "/web"))
    reply = ask_for_own(bench, FOR_THE_REST + 1.0)
    assert bench.handles() == {"web.1"}

    # Others need not wait as long.
    assert isinstance(bench.allocate(OTHER), tuple)
    Addresses(bench.store).release(HandleId("web.1"), OWN)
    bench.allocator.step()

    assert reply.wait(0) == (OWN,)
    assert bench.handles() == {handle_of_container(ONE), handle_of_container(OTHER)}


@pytest.mark.parametrize(
    ("marks", "after"),
    [
        pytest.param(((FIXED_FOR, "/web"),), 1.0, id="it does not come free in time"),
        pytest.param((), 0.0, id="nobody asked for it by name"),
    ],
)
def test_an_address_that_stays_taken_is_refused(
    bench: Bench, marks: tuple[tuple[str, str], ...], after: float
) -> None:
    held_by_a_task(bench, *marks)
    reply = ask_for_own(bench, FOR_THE_REST + 1.0)
    bench.clock.advance(after)
    bench.allocator.step()

    answer = reply.wait(0)
    assert isinstance(answer, AttachRefused)
    assert f"{OWN} is taken by web.1" in str(answer)
    assert bench.handles() == {"web.1"}


def test_a_full_pool_is_refused_and_nothing_is_kept(bench: Bench) -> None:
    for number in range(64):
        assert isinstance(bench.allocate(ContainerId(f"c{number}")), tuple)

    answer = bench.allocate(ONE)

    assert isinstance(answer, AttachRefused)
    assert str(answer) == (
        "no address is free in the IPv4 pools 192.168.0.0/26: add a pool, or wait until"
        " those of ended tasks have rested"
    )
    assert len(bench.held()) == 64
    assert handle_of_container(ONE) not in decode_books(bench.store.list(IPAM).entries).handles


def test_of_several_wishes_all_come_true_or_none(bench: Bench) -> None:
    free, taken = IPAddress("192.168.0.7"), IPAddress("192.168.0.8")
    bench.allocate(OTHER, Wish(fixed=(taken,)))

    answer = bench.allocate(ONE, Wish(fixed=(free, taken)))

    assert isinstance(answer, AttachRefused)
    assert bench.handles() == {handle_of_container(OTHER)}


def test_what_nobody_waits_for_any_more_is_not_given(bench: Bench) -> None:
    reply: Reply[tuple[IPAddress, ...] | AttachError] = Reply()
    bench.allocator.post(asked_for(ONE, reply))
    assert reply.wait(0) is None

    bench.allocator.step()

    assert bench.held() == []


def test_what_comes_too_late_is_taken_back(bench: Bench) -> None:
    class LateReply(Reply[tuple[IPAddress, ...] | AttachError]):
        """One whose asker gives up while the addresses are being given."""

        @property
        def abandoned(self) -> bool:
            return False

    reply = LateReply()
    reply.wait(0)
    bench.allocator.post(asked_for(ONE, reply))
    bench.allocator.step()

    assert bench.held() == []


def test_what_a_task_claimed_is_not_taken_back(bench: Bench) -> None:
    given = bench.allocate(ONE)
    assert isinstance(given, tuple)
    Claims(bench.store).claim(Claim(ONE, HOST, HandleId("task.1")))

    assert bench.release(ONE, *given) is False
    assert bench.handles() == {"task.1"}


def test_what_was_the_containers_own_is_free_and_again_is_no_harm(bench: Bench) -> None:
    given = bench.allocate(ONE)
    assert isinstance(given, tuple)

    assert [bench.release(ONE, *given) for _ in range(2)] == [True, True]
    assert bench.held() == []

    # By then it may be another's.
    bench.allocate(OTHER, Wish(fixed=given))
    assert bench.release(ONE, *given) is True
    assert bench.handles() == {handle_of_container(OTHER)}


@pytest.mark.parametrize("lost", range(MOST_WRITES))
def test_a_lost_answer_leaks_nothing(lost: int) -> None:
    bench = Bench()
    bench.lossy.swallow = lost

    given = bench.allocate(ONE)

    if isinstance(given, AttachError):
        assert isinstance(given, AttachUnavailable)
        assert bench.held() == []
    else:
        assert bench.handles() == {handle_of_container(ONE)}
        assert given is not None
        bench.lossy.swallow = bench.lossy.writes
        bench.release(ONE, *given)
        assert bench.held() == []


class LateStore(MemoryDatastore):
    """A store that, while it is `late`, does what changes a block only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.late = False
        self._waiting: list[Callable[[], Revision]] = []

    def put(
        self, key: Key, value: str, *, expect: Revision | None = None, ttl: int | None = None
    ) -> Revision:
        write = super().put
        if not self.late or expect == ABSENT or not key.startswith(BLOCKS):
            return write(key, value, expect=expect, ttl=ttl)
        self._waiting.append(lambda: write(key, value, expect=expect, ttl=ttl))
        raise DatastoreUnavailable("the request timed out")

    def catch_up(self) -> None:
        self.late = False
        for write in self._waiting:
            with suppress(Conflict):
                write()


def test_what_the_datastore_gives_after_its_answer_was_despaired_of_is_swept() -> None:
    store = LateStore()
    bench = Bench(store)
    bench.allocator.step()
    store.late = True
    assert isinstance(bench.allocate(ONE), AttachUnavailable)
    assert bench.held() == []

    store.catch_up()
    assert bench.handles() == {handle_of_container(ONE)}
    bench.clock.advance(SWEEP_EVERY)
    bench.allocator.step()

    assert bench.held() == []


@pytest.mark.parametrize(
    "wish", [pytest.param(Wish(), id="any"), pytest.param(Wish(fixed=(OWN,)), id="by name")]
)
def test_what_a_container_is_given_again_is_not_taken_by_a_release_that_lands_late(
    wish: Wish,
) -> None:
    # given an address that nobody waited for, and a release without an answer
    store = LateStore()
    bench = Bench(store)
    bench.allocate(ONE, wish)
    store.late = True
    bench.release(ONE)
    store.late = False

    # when the same container is attached again before that lands
    given = bench.allocate(ONE, wish)
    store.catch_up()

    # then it holds what it was given
    assert given == Addresses(store).held_by(handle_of_container(ONE), HOST) != ()


def test_a_sweep_takes_what_no_container_here_knows_of(bench: Bench) -> None:
    for container in (ONE, OTHER):
        bench.allocate(container)
    bench.allocate(ContainerId("claimed"))
    Claims(bench.store).claim(Claim(ContainerId("claimed"), HOST, HandleId("task.1")))
    elsewhere = (OWNER, (CONTAINER, "far"), (ON_HOST, OTHER_HOST))
    Addresses(bench.store).assign(OTHER_HOST, HandleId("cni.far"), secondary=elsewhere)
    Addresses(bench.store).assign(HOST, HandleId("cni.foreign"), secondary=())
    bench.known.add(OTHER)

    bench.clock.advance(1)
    bench.allocator.step()

    assert bench.handles() == {"cni.other", "task.1", "cni.far", "cni.foreign"}


def test_a_sweep_is_made_at_the_start_and_after_something_went_wrong(bench: Bench) -> None:
    bench.allocator.step()
    bench.allocate(ONE)
    bench.clock.advance(10 * SWEEP_EVERY)
    bench.allocator.step()
    assert bench.handles() == {handle_of_container(ONE)}, "nothing went wrong"

    bench.answering.silent = True
    assert isinstance(bench.release(ONE), AttachUnavailable)
    bench.answering.silent = False
    bench.clock.advance(SWEEP_EVERY)
    bench.allocator.step()
    assert bench.held() == []


def test_containers_that_keep_coming_hold_up_no_sweep_and_no_look(bench: Bench) -> None:
    bench.allocator.step()
    given = bench.allocate(ONE)
    assert isinstance(given, tuple)
    bench.attachments.append(attachment(OTHER, "192.168.0.60", inode=7))
    bench.answering.silent = True
    assert isinstance(bench.release(ONE), AttachUnavailable)
    bench.answering.silent = False

    for number in range(3):
        bench.clock.advance(SWEEP_EVERY + OVERDUE)
        container = ContainerId(f"c{number}")
        bench.known.add(container)
        assert isinstance(bench.allocate(container), tuple)

    assert bench.handles() == {handle_of_container(each) for each in bench.known}
    assert OTHER in bench.lost


@pytest.mark.parametrize(
    ("claimed", "lost"),
    [
        pytest.param(False, [ONE], id="while no agent ran"),
        pytest.param(True, [], id="which the agent knows of"),
    ],
)
def test_a_container_whose_addresses_became_another_tasks_is_told_of(
    bench: Bench, claimed: bool, lost: list[ContainerId]
) -> None:
    for container in (ONE, OTHER):
        given = bench.allocate(container)
        assert isinstance(given, tuple)
        texts = map(str, given)
        bench.attachments.append(replace(attachment(container, *texts, inode=7), claimed=claimed))
        bench.known.add(container)
    Claims(bench.store).claim(Claim(ONE, HOST, HandleId("task.1")))

    bench.allocator.step()
    assert bench.lost == [], "its endpoint may be on its way"
    bench.clock.advance(SWEEP_EVERY)
    bench.allocator.step()

    assert bench.lost == lost


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        pytest.param(None, [ONE], id="a forgotten host's were given back"),
        pytest.param("torn", [], id="their block cannot be read for now"),
    ],
)
def test_also_long_after_its_start_an_agent_hears_of_addresses_that_it_lost(
    bench: Bench, text: str | None, lost: list[ContainerId]
) -> None:
    bench.allocator.step()
    given = bench.allocate(ONE)
    assert isinstance(given, tuple)
    bench.attachments.append(attachment(ONE, *map(str, given), inode=7))
    bench.known.add(ONE)
    bench.clock.advance(10 * SWEEP_EVERY)
    bench.allocator.step()

    if text is None:
        Addresses(bench.store).release(handle_of_container(ONE), given[0])
    else:
        bench.store.put(block_key(SMALL.cidr), text)
    for _ in range(2):
        assert bench.lost == []
        bench.clock.advance(SWEEP_EVERY)
        bench.allocator.step()

    assert bench.lost == lost


WIPED = "the datastore was wiped"


def wipe(bench: Bench) -> None:
    """Take everything away; the agent is to notice that later."""
    for each in (*bench.store.list(IPAM).entries, *bench.store.list(CALICO).entries):
        bench.store.delete(each.key)


def test_a_container_is_given_nothing_of_a_datastore_that_is_doubted(bench: Bench) -> None:
    # given somebody who waits for an address while the datastore is doubted
    bench.allocator.note_doubt(WIPED)
    reply: Reply[tuple[IPAddress, ...] | AttachError] = Reply()
    now = bench.clock.monotonic()
    bench.allocator.post(replace(asked_for(ONE, reply), deadline=now + 2.0))
    bench.allocator.step()
    assert bench.held() == []

    # when his time is nearly over
    bench.clock.advance(2.0 - FOR_THE_REST)
    bench.allocator.step()

    # then he is told why, and may ask again
    answer = reply.wait(0)
    assert isinstance(answer, AttachUnavailable)
    assert WIPED in str(answer)
    assert bench.held() == []


def test_a_container_that_waits_is_given_its_address_once_the_doubt_is_over(bench: Bench) -> None:
    bench.allocator.note_doubt(WIPED)
    reply: Reply[tuple[IPAddress, ...] | AttachError] = Reply()
    bench.allocator.post(asked_for(ONE, reply))
    bench.allocator.step()

    bench.allocator.note_doubt("")
    bench.allocator.step()

    assert isinstance(reply.wait(0), tuple)


def test_what_is_given_up_in_doubt_is_released_after_it(bench: Bench) -> None:
    given = bench.allocate(ONE)
    assert isinstance(given, tuple)
    bench.allocator.note_doubt(WIPED)

    assert isinstance(bench.release(ONE, *given), AttachUnavailable)
    bench.clock.advance(SWEEP_EVERY)
    bench.allocator.step()
    assert bench.handles() == {handle_of_container(ONE)}, "a doubted datastore is left alone"

    bench.allocator.note_doubt("")
    bench.allocator.step()
    assert bench.held() == []


def test_after_a_doubt_that_fell_between_two_steps_a_sweep_is_made_too(bench: Bench) -> None:
    # given what was swept already
    bench.allocator.step()

    # when a doubt comes and goes, in which what an ended container had was taken over
    bench.allocator.note_doubt(WIPED)
    Addresses(bench.store).assign_fixed(
        HOST,
        handle_of_container(ONE),
        OWN,
        secondary=marks_of_container(ONE, HOST),
        given_on=HOST,
    )
    bench.allocator.note_doubt("")
    bench.allocator.step()

    # then that is released
    assert bench.held() == []


def test_no_container_is_lost_to_a_datastore_that_was_wiped(bench: Bench) -> None:
    # given a running container that no task has claimed
    given = bench.allocate(ONE)
    assert isinstance(given, tuple)
    bench.attachments.append(attachment(ONE, *map(str, given), inode=7))
    bench.known.add(ONE)

    # when the datastore is wiped, and looked at before and after that is noticed
    wipe(bench)
    bench.clock.advance(SWEEP_EVERY)
    bench.allocator.step()
    bench.allocator.note_doubt(WIPED)
    for _ in range(5):
        bench.clock.advance(SWEEP_EVERY)
        bench.allocator.step()

    # then it keeps its network; once the store is believed it is looked at anew, twice
    assert bench.lost == []
    bench.allocator.note_doubt("")
    bench.allocator.step()
    assert bench.lost == []
    bench.clock.advance(SWEEP_EVERY)
    bench.allocator.step()
    assert bench.lost == [ONE]
