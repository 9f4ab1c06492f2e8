"""When an agent without a past believes a store enough to take addresses from it."""

from collections.abc import Sequence

import pytest

from calico.cluster import LeaderRecord, Standing
from calico.codec import encode_leader
from calico.dataplane.netlink.batches import go_on
from calico.datastore.api import Key, Revision
from calico.datastore.memory import MemoryDatastore
from calico.keys import LEADER
from reconciler.agent.observation.leader import FEW, LOOK_EVERY, SOON, LeaderReader
from reconciler.agent.vouching import NOBODY, TOLD_AFTER, UNVOUCHED, LeaderSeen, Vouching
from reconciler.runtime.clock import ManualClock
from tests.contract.attach.agent_rig import SteppedStore

LATEST = "latest"
WAITS = "no address is given yet: h1 may hold more"


def seen(
    revision: int,
    opened: str | None = LATEST,
    holder: str = "one",
) -> LeaderSeen:
    """A look at a leader; one that does not tell what it opened is of an earlier version."""
    standing = None if opened is None else Standing(opened, "" if opened else WAITS)
    return LeaderSeen(LeaderRecord(holder, standing=standing), Revision(revision))


def after(looks: Sequence[LeaderSeen | None]) -> Vouching:
    """What comes of some looks; None is a new listing of the store."""
    vouching = Vouching(0.0)
    for look in looks:
        if look is None:
            vouching.begin_anew()
        else:
            vouching.handle(look, LATEST)
    return vouching


@pytest.mark.parametrize(
    ("looks", "is_given"),
    [
        pytest.param([seen(5), seen(6), seen(7)], True, id="one that goes on renewing"),
        pytest.param([seen(5), seen(6)], False, id="one that may not know yet of a restore"),
        pytest.param([seen(5)] * 9, False, id="what a backup has of one"),
        pytest.param([seen(5, ""), seen(6, ""), seen(7, "")], False, id="one that gives nothing"),
        pytest.param([seen(5, ""), seen(6, ""), seen(7)], True, id="one that begins to give"),
        pytest.param(
            [seen(5, "old"), seen(6, "old"), seen(7, "old")], False, id="one of another takeover"
        ),
        pytest.param([seen(5, None), seen(6, None), seen(7, None)], True, id="an earlier version"),
        pytest.param([seen(5, None)] * 9, False, id="a backup of an earlier version"),
        pytest.param([seen(5), seen(6), seen(7, holder="two")], False, id="a new one"),
        pytest.param([seen(5), seen(6), seen(4)], False, id="one that went back"),
        pytest.param([seen(5), seen(4), seen(5), seen(6)], True, id="one that went on after that"),
        pytest.param([seen(5), LeaderSeen(), seen(6), seen(7)], False, id="one that was away"),
        pytest.param([seen(5), seen(6), None, seen(7)], False, id="one of the store before"),
        pytest.param([LeaderSeen(), LeaderSeen(), LeaderSeen()], False, id="nobody"),
        pytest.param([seen(5), seen(6), seen(7), LeaderSeen()], True, id="one that is gone since"),
    ],
)
def test_it_is_believed_by_the_word_of(looks: Sequence[LeaderSeen], is_given: bool) -> None:
    vouching = after(looks)

    assert vouching.is_given is is_given
    assert (vouching.why_not == "") is is_given


@pytest.mark.parametrize(
    ("look", "why"),
    [
        pytest.param(LeaderSeen(), NOBODY, id="nobody leads"),
        pytest.param(seen(5, ""), WAITS, id="the leader waits itself"),
        pytest.param(LeaderSeen(why="it is forbidden"), "it is forbidden", id="unreadable"),
    ],
)
def test_why_no_address_is_given_is_told(look: LeaderSeen, why: str) -> None:
    assert after([look]).why_not == f"{UNVOUCHED}: {why}"


def test_it_is_a_problem_of_the_host_only_if_it_lasts() -> None:
    vouching = after([LeaderSeen()])

    assert vouching.problem(TOLD_AFTER - 1) == ""
    assert vouching.problem(TOLD_AFTER) == vouching.why_not


def test_an_agent_that_was_vouched_for_asks_nobody_again() -> None:
    vouching = Vouching(0.0)
    vouching.restore(is_given=True)

    vouching.handle(LeaderSeen(), LATEST)

    assert vouching.why_not == ""


class Over:
    """A stop that is never asked for; time passes meanwhile."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def is_set(self) -> bool:
        return False

    def wait(self, timeout: float) -> bool:
        self._clock.advance(timeout)
        return False


def test_who_leads_is_looked_at_until_nobody_needs_to_know() -> None:
    clock, looks = ManualClock(), list[LeaderSeen]()
    reader = LeaderReader(MemoryDatastore(), looks.append, lambda: len(looks) == 2 * FEW)

    reader.run(Over(clock))

    assert looks == [LeaderSeen()] * 2 * FEW
    assert clock.monotonic() > FEW * LOOK_EVERY


def test_a_leader_that_gives_addresses_is_looked_at_often() -> None:
    clock, looks, store = ManualClock(), list[LeaderSeen](), MemoryDatastore()
    store.put(LEADER, encode_leader(LeaderRecord("a", standing=Standing(LATEST))))

    LeaderReader(store, looks.append, lambda: len(looks) == 4 * FEW).run(Over(clock))

    assert clock.monotonic() == 4 * FEW * SOON


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(encode_leader(LeaderRecord("a")), LeaderRecord("a"), id="a leader"),
        pytest.param("{", None, id="what is not to be read"),
    ],
)
def test_a_look_shows_what_is_there(value: str, expected: LeaderRecord | None) -> None:
    store = MemoryDatastore()
    revision = store.put(Key(LEADER), value)

    look = LeaderReader(store, print, bool).look()

    assert look.record == expected
    assert (look.revision == revision) is (expected is not None)
    assert (str(LEADER) in look.why) is (expected is None)


def test_a_datastore_that_does_not_answer_shows_nobody() -> None:
    store = SteppedStore(MemoryDatastore(), go_on)
    store.silent = True

    look = LeaderReader(store, print, bool).look()

    assert look.record is None
    assert "cannot be read" in look.why
