"""One key that says who works, and what its holder may still do."""

import pytest

from calico.datastore.api import Datastore, Key
from calico.datastore.memory import MemoryDatastore
from reconciler.runtime.clock import ManualClock
from reconciler.runtime.lease import TTL, WRITE_WINDOW, FencedDatastore, Lease, LeaseLost

KEY = Key("/marathon-calico/v1/leader")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def datastore(clock: ManualClock) -> Datastore:
    return MemoryDatastore(clock.monotonic)


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


def test_the_write_window_ends_before_a_standby_can_take_over() -> None:
    assert WRITE_WINDOW < TTL
