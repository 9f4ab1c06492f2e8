"""One key that says who works, and what its holder may still do."""

import pytest

from calico.datastore.api import ABSENT, Datastore, DirectoryStore, Key, Revision
from calico.datastore.memory import MemoryDatastore
from calico.errors import Conflict, DatastoreUnavailable
from reconciler.runtime.clock import ManualClock
from reconciler.runtime.lease import (
    DEAD_AFTER,
    TTL,
    WRITE_WINDOW,
    FencedDatastore,
    Lease,
    LeaseLost,
)
from tests.contract.etcd.lossy import LossyStore

KEY = Key("/marathon-calico/v1/leader")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def datastore(clock: ManualClock) -> DirectoryStore:
    return MemoryDatastore(clock.monotonic)


class SlowStore(MemoryDatastore):
    """A store whose answers to writes take some seconds."""

    def __init__(self, clock: ManualClock, seconds: float) -> None:
        super().__init__(clock.monotonic)
        self._clock = clock
        self._seconds = seconds

    def put(
        self, key: Key, value: str, *, expect: Revision | None = None, ttl: int | None = None
    ) -> Revision:
        revision = super().put(key, value, expect=expect, ttl=ttl)
        self._clock.advance(self._seconds)
        return revision


def lease(datastore: Datastore, clock: ManualClock, holder: str) -> Lease:
    return Lease(datastore, KEY, holder, clock)


def test_only_one_of_two_gets_it(datastore: Datastore, clock: ManualClock) -> None:
    one, other = lease(datastore, clock, "one"), lease(datastore, clock, "other")
    assert (one.keep(), other.keep()) == (True, False)
    assert (one.held, other.held) == (True, False)


def test_a_standby_takes_over_when_the_holder_stops_renewing(
    datastore: Datastore, clock: ManualClock
) -> None:
    one, other = lease(datastore, clock, "one"), lease(datastore, clock, "other")
    one.keep()
    clock.advance(TTL + 1)
    assert other.keep()
    assert not one.held
    assert not one.keep()


def test_a_standby_looks_and_writes_nothing_until_the_key_is_gone(clock: ManualClock) -> None:
    datastore = LossyStore(MemoryDatastore(clock.monotonic))
    one, other = lease(datastore, clock, "one"), lease(datastore, clock, "other")
    one.keep()
    other.keep()
    before = datastore.writes

    for _ in range(3):
        assert not other.keep()
    assert datastore.writes == before

    one.release()
    assert other.keep()


@pytest.mark.parametrize("text", ["{}", "", '{"holder": "former", "since": ""}'])
def test_a_key_that_nobody_renews_and_that_does_not_expire_is_removed(
    datastore: Datastore, clock: ManualClock, text: str
) -> None:
    # given a key as a dump or an operator's hand leaves it
    datastore.put(KEY, text)
    one = lease(datastore, clock, "one")

    # then it is another's for as long as that may be
    assert not one.keep()
    clock.advance(DEAD_AFTER - 1)
    assert not one.keep()
    assert datastore.get(KEY) is not None

    # and nobody's from then on
    clock.advance(1)
    assert not one.keep()
    assert one.keep()
    assert one.held


def test_a_lease_that_is_renewed_however_late_is_left_to_its_holder(
    datastore: Datastore, clock: ManualClock
) -> None:
    one, other = lease(datastore, clock, "one"), lease(datastore, clock, "other")
    assert one.keep()
    for second in range(1, 300):
        clock.advance(1)
        assert second % (TTL - 1) or one.keep()
        assert not other.keep()


class RenewingStore(MemoryDatastore):
    """A store in which a key is renewed just before it is removed."""

    def delete(self, key: Key, *, expect: Revision | None = None) -> None:
        self.put(key, "renewed")
        super().delete(key, expect=expect)


def test_who_renews_it_at_the_last_moment_keeps_it(clock: ManualClock) -> None:
    store = RenewingStore(clock.monotonic)
    store.put(KEY, "{}")
    one = lease(store, clock, "one")
    assert not one.keep()
    clock.advance(DEAD_AFTER)

    assert not one.keep()

    stored = store.get(KEY)
    assert stored is not None
    assert stored.value == "renewed"
    clock.advance(DEAD_AFTER - 1)
    assert not one.keep()
    assert store.get(KEY) == stored


def test_renewals_keep_the_token(datastore: Datastore, clock: ManualClock) -> None:
    one = lease(datastore, clock, "one")
    one.keep()
    token = one.token
    clock.advance(5)
    one.keep()
    assert one.token == token


def test_it_may_be_given_back(datastore: Datastore, clock: ManualClock) -> None:
    one, other = lease(datastore, clock, "one"), lease(datastore, clock, "other")
    one.keep()
    one.release()
    assert not one.held
    assert other.keep()


def test_an_own_write_whose_answer_was_lost_is_recognised(
    datastore: Datastore, clock: ManualClock
) -> None:
    one = lease(datastore, clock, "one")
    one.keep()
    stored = datastore.get(KEY)
    assert stored is not None
    # The renewal reached the store, but its answer never came back.
    datastore.put(KEY, stored.value, expect=stored.revision, ttl=TTL)
    assert one.keep()
    assert one.held


def test_an_own_first_write_whose_answer_was_lost_is_the_token(clock: ManualClock) -> None:
    # given a lease that was won, and nobody told so
    lossy = LossyStore(MemoryDatastore(clock.monotonic))
    lossy.swallow = 0
    one = lease(lossy, clock, "one")
    with pytest.raises(DatastoreUnavailable):
        one.keep()
    won = lossy.get(KEY)
    assert won is not None
    assert one.token is None

    assert one.keep()

    # then it is told by the write that won it, not by the one that renewed it
    assert one.token == won.revision
    stored = lossy.get(KEY)
    assert stored is not None
    assert stored.revision > won.revision


def test_what_the_window_is_counted_from_is_the_sending(clock: ManualClock) -> None:
    # given a store that takes its time to answer a renewal
    one = lease(SlowStore(clock, 8.0), clock, "one")

    assert one.keep()

    # then what is left is the rest of the window, and not all of it
    clock.advance(WRITE_WINDOW - 8.0 - 0.5)
    assert one.held
    clock.advance(1.0)
    assert not one.held


def test_a_lease_that_another_has_by_now_is_not_given_back(
    datastore: Datastore, clock: ManualClock
) -> None:
    one, other = lease(datastore, clock, "one"), lease(datastore, clock, "other")
    one.keep()
    clock.advance(TTL + 1)
    other.keep()

    with pytest.raises(Conflict):
        one.release()

    clock.advance(1)
    assert other.keep()
    assert other.held


@pytest.mark.parametrize(
    "swallow",
    [pytest.param(0, id="the write that won it"), pytest.param(1, id="the last renewal")],
)
def test_it_is_given_back_also_when_nobody_knows_whether_it_was_written(
    clock: ManualClock, swallow: int
) -> None:
    # given a write that was done, and its answer lost
    lossy = LossyStore(MemoryDatastore(clock.monotonic))
    lossy.swallow = swallow
    one, other = lease(lossy, clock, "one"), lease(lossy, clock, "other")
    for _ in range(swallow):
        assert one.keep()
    with pytest.raises(DatastoreUnavailable):
        one.keep()

    one.release()

    assert other.keep()
    assert (one.held, one.token) == (False, None)


def test_what_another_won_while_an_answer_was_awaited_is_not_taken_from_it(
    clock: ManualClock,
) -> None:
    lossy = LossyStore(MemoryDatastore(clock.monotonic))
    one, other = lease(lossy, clock, "one"), lease(lossy, clock, "other")
    assert one.keep()
    lossy.swallow = 1
    with pytest.raises(DatastoreUnavailable):
        one.keep()
    clock.advance(TTL + 1)
    assert other.keep()

    one.release()

    assert other.keep()
    stored = lossy.get(KEY)
    assert stored is not None
    assert '"other"' in stored.value


def test_a_lease_that_nobody_asked_for_is_nothing_to_give_back(
    datastore: Datastore, clock: ManualClock
) -> None:
    other = lease(datastore, clock, "other")
    assert other.keep()

    lease(datastore, clock, "one").release()

    assert other.keep()


def test_no_write_is_sent_after_the_write_window(datastore: Datastore, clock: ManualClock) -> None:
    one = lease(datastore, clock, "one")
    fenced = FencedDatastore(datastore, one)
    one.keep()
    fenced.put(Key("/a"), "early")
    clock.advance(WRITE_WINDOW)
    with pytest.raises(LeaseLost):
        fenced.put(Key("/a"), "late")
    with pytest.raises(LeaseLost):
        fenced.delete(Key("/a"))
    stored = datastore.get(Key("/a"))
    assert stored is not None
    assert stored.value == "early"


def test_its_holder_writes_for_ten_seconds_and_a_standby_waits_for_fifteen(
    datastore: Datastore, clock: ManualClock
) -> None:
    one, other = lease(datastore, clock, "one"), lease(datastore, clock, "other")
    told = list[tuple[bool, bool]]()
    one.keep()
    for _ in range(4):
        clock.advance(4.0)
        told.append((one.held, other.keep()))

    # then between 8 and 12, and between 12 and 16: what is written late has time to land
    assert told == [(True, False), (True, False), (False, False), (False, True)]


def set_back(clock: ManualClock, *, after_renewals: int) -> tuple[MemoryDatastore, Lease]:
    """A leader that has written for a while, under which its store is set back.

    The backup is of its own time, after so many renewals of two.
    """
    store = MemoryDatastore(clock.monotonic)
    one = lease(store, clock, "one")
    fenced = FencedDatastore(store, one)
    backup = store.backup()
    for renewal in range(2):
        assert one.keep()
        if renewal + 1 == after_renewals:
            backup = store.backup()
        for number in range(5):
            fenced.put(Key(f"/a{renewal}{number}"), "x", expect=ABSENT)
    store.restore(backup)
    return store, one


@pytest.mark.parametrize(
    ("after_renewals", "writes"),
    [
        pytest.param(1, 0, id="to before the last renewal"),
        pytest.param(2, 1, id="to after it, which only an answer tells"),
    ],
)
def test_a_lease_is_not_renewed_twice_in_a_store_that_was_set_back(
    clock: ManualClock, after_renewals: int, writes: int
) -> None:
    store, one = set_back(clock, after_renewals=after_renewals)
    before = store.list(KEY).revision

    renewed = [one.keep() for _ in range(3)]

    assert renewed == [False] * 3
    assert store.list(KEY).revision - before == writes
    assert (one.held, one.token) == (False, None)


def test_a_leader_writes_once_at_most_to_a_store_that_was_set_back(clock: ManualClock) -> None:
    store, one = set_back(clock, after_renewals=2)
    fenced = FencedDatastore(store, one)

    fenced.put(Key("/b"), "x")

    assert not one.held
    with pytest.raises(LeaseLost):
        fenced.put(Key("/c"), "x")
