"""A feed tells all that is there, then all that changes, and lists anew when it may have missed."""

import threading
from collections.abc import Callable

import pytest

from calico.datastore.api import Key, Listing, Put, Removed, Revision, Stored, Watch
from calico.datastore.memory import Backup, MemoryDatastore
from calico.errors import DatastoreUnavailable, HistoryLost
from calico.keys import READY
from reconciler.runtime.clock import ManualClock
from reconciler.runtime.watchfeed import (
    GOOD_AFTER,
    LONGEST_BACKOFF,
    WATCH_TIMEOUT,
    Bookmark,
    Changed,
    FeedMessage,
    Loaded,
    Unreachable,
    WatchFeed,
)

PREFIX = Key("/calico/v1")
A, B = Key(f"{PREFIX}/a"), Key(f"{PREFIX}/b")


class Pauses(threading.Event):
    """What ends a feed; it takes no time to wait for it, and notes for how long one would."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(float("inf") if timeout is None else timeout)
        return self.is_set()


class SteppedStore(MemoryDatastore):
    """A store to which something happens at each list, watch and read, in turn.

    `steps` are what happens; when none is left, the feed is stopped.
    """

    def __init__(self, stop: threading.Event) -> None:
        super().__init__()
        self._stop = stop
        self.lists: list[Callable[[], object]] = []
        self.watches: list[Callable[[], object]] = []
        self.reads: list[Callable[[], object]] = []
        self.watched_after: list[Revision] = []

    def list(self, prefix: Key) -> Listing:
        if self.lists:
            self.lists.pop(0)()
        return super().list(prefix)

    def get(self, key: Key) -> Stored | None:
        if self.reads:
            self.reads.pop(0)()
        return super().get(key)

    def watch(
        self,
        prefix: Key,
        after: Revision,
        timeout: float,  # noqa: ARG002 - there is no quiet to wait for
    ) -> Watch:
        self.watched_after.append(after)
        if self.watches:
            self.watches.pop(0)()
        else:
            self._stop.set()
        return super().watch(prefix, after, 0.0)


class Bench:
    """A feed on a store, run to the end of what happens to that."""

    def __init__(self) -> None:
        self.stop = Pauses()
        self.store = SteppedStore(self.stop)
        self.clock = ManualClock()
        self.told: list[FeedMessage] = []
        self.bookmarks: list[Bookmark] = []

    def feed(self) -> WatchFeed:
        return WatchFeed(
            PREFIX,
            lambda: self.store,
            self.told.append,
            self.stop,
            self.clock,
            post_bookmark=self.bookmarks.append,
        )

    def run(self) -> list[FeedMessage]:
        self.feed().run()
        return self.told

    def fail(self, error: Exception, after: float = 0.0) -> Callable[[], None]:
        def failing() -> None:
            self.clock.advance(after)
            raise error

        return failing

    @property
    def listed(self) -> int:
        return sum(isinstance(each, Loaded) for each in self.told)

    @property
    def unreachable(self) -> list[str]:
        return [each.reason for each in self.told if isinstance(each, Unreachable)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


AWAY = DatastoreUnavailable("etcd is away")


def test_every_event_after_the_list_is_told_once_and_in_order(bench: Bench) -> None:
    # given a key that is there, and changes that come one, two and none at a time
    store = bench.store
    first = store.put(A, "1")
    began = bench.clock.monotonic()
    store.lists = [lambda: bench.clock.advance(7.0)]
    store.watches = [
        lambda: store.put(B, "2"),
        lambda: (store.put(B, "3"), store.delete(A)),
        lambda: None,
        lambda: store.put(A, "4"),
    ]

    bench.run()

    assert bench.told == [
        Loaded(PREFIX, Listing(first, (Stored(A, "1", first),)), asked=began),
        Changed(PREFIX, Put(Stored(B, "2", Revision(first + 1)))),
        Changed(PREFIX, Put(Stored(B, "3", Revision(first + 2)))),
        Changed(PREFIX, Removed(A, Revision(first + 3))),
        Changed(PREFIX, Put(Stored(A, "4", Revision(first + 4)))),
    ]
    # then each watch went on right behind the last event
    assert bench.store.watched_after == [first, first + 1, first + 3, first + 3, first + 4]


def test_it_lists_anew_at_once_when_the_store_has_forgotten_events(bench: Bench) -> None:
    store = bench.store
    store.put(A, "1")
    store.watches = [bench.fail(HistoryLost("too old"))]
    store.lists = [lambda: None, lambda: store.put(B, "2")]

    bench.run()

    last = bench.told[-1]
    assert isinstance(last, Loaded)
    assert bench.listed == 2
    assert {each.key for each in last.listing.entries} == {A, B}
    assert bench.store.watched_after[-1] == last.listing.revision
    assert bench.unreachable == []
    assert bench.stop.waited == []


def test_a_store_that_is_away_is_told_once_and_asked_again_with_pauses(bench: Bench) -> None:
    bench.store.lists = [bench.fail(AWAY)] * 20

    bench.run()

    assert bench.unreachable == ["etcd is away"]
    assert isinstance(bench.told[-1], Loaded)
    assert len(bench.stop.waited) == 20
    assert max(bench.stop.waited) <= LONGEST_BACKOFF


def test_a_store_that_is_away_again_is_told_again(bench: Bench) -> None:
    bench.store.lists = [bench.fail(AWAY)]
    bench.store.watches = [bench.fail(AWAY)]

    bench.run()

    assert [type(each) for each in bench.told] == [Unreachable, Loaded, Unreachable, Loaded]


@pytest.mark.parametrize(
    ("lived", "pauses"),
    [
        pytest.param(0.0, 1, id="that ends at once is followed by a pause"),
        pytest.param(GOOD_AFTER, 0, id="that was good is followed by a list at once"),
    ],
)
def test_a_watch(bench: Bench, lived: float, pauses: int) -> None:
    bench.store.watches = [bench.fail(AWAY, after=lived)]

    bench.run()

    assert (bench.listed, bench.unreachable) == (2, ["etcd is away"])
    assert len(bench.stop.waited) == pauses


def test_a_quiet_store_that_cannot_answer_for_all_its_members_is_told(bench: Bench) -> None:
    # given a member that is cut off: it says nothing, and reads by quorum fail
    store = bench.store
    store.watches = [lambda: bench.clock.advance(WATCH_TIMEOUT), lambda: None]
    store.reads = [bench.fail(AWAY)]

    bench.run()

    assert [type(each) for each in bench.told] == [Loaded, Unreachable, Loaded]
    assert bench.stop.waited == []


def test_a_quiet_watch_tells_how_far_the_store_was(bench: Bench) -> None:
    store = bench.store
    store.watches = [lambda: store.put(Key("/elsewhere"), "1"), lambda: store.put(A, "1")]

    bench.run()

    # The last watch is that in which the feed is stopped.
    assert bench.bookmarks == [Bookmark(PREFIX, Revision(index)) for index in (1, 2, 2)]


def test_a_feed_that_is_to_read_anew_lists_once_behind_the_watch(bench: Bench) -> None:
    feed = bench.feed()
    bench.store.watches = [feed.read_anew, lambda: None]

    feed.run()

    assert bench.listed == 2
    assert bench.stop.waited == []


def test_a_watch_that_missed_something_tells_no_bookmark(bench: Bench) -> None:
    store = bench.store
    store.put(READY, "true")
    store.watches = [lambda: None]
    store.reads = [lambda: store.put(READY, "true")]

    bench.run()

    assert bench.listed == 2
    assert bench.bookmarks == [Bookmark(PREFIX, Revision(2))]


def test_it_lists_anew_when_something_happened_that_a_quiet_store_did_not_tell(
    bench: Bench,
) -> None:
    store = bench.store
    store.put(READY, "true")
    store.watches = [lambda: None, lambda: None]
    store.reads = [lambda: (store.put(A, "1"), store.put(READY, "true"))]

    bench.run()

    last = bench.told[-1]
    assert isinstance(last, Loaded)
    assert bench.listed == 2
    assert A in {each.key for each in last.listing.entries}


def test_it_lists_anew_when_its_watch_went_on_in_a_store_that_was_wiped(bench: Bench) -> None:
    # given a store that is watched
    store = bench.store
    for _ in range(5):
        store.put(READY, "true")

    # when it is wiped between two watches, and the next one goes on where it was
    def wipe() -> None:
        store.restore(Backup())
        for key in (READY, A, *(B,) * 5):
            store.put(key, "true")

    store.watches = [wipe, lambda: None]
    bench.run()

    # then also what was there before that is told
    assert bench.listed == 2
    last = bench.told[-1]
    assert isinstance(last, Loaded)
    assert {each.key for each in last.listing.entries} == {A, B, READY}


def test_it_lists_anew_when_its_watch_would_go_on_in_a_store_that_was_set_back(
    bench: Bench,
) -> None:
    # given a store that is watched, of which there is an older backup
    store = bench.store
    store.put(A, "1")
    backup = store.backup()
    store.put(A, "2")
    store.put(B, "2")

    # when it is restored between two watches
    store.watches = [lambda: store.restore(backup)]
    bench.run()

    # then what is below the index that was seen is told too
    last = bench.told[-1]
    assert isinstance(last, Loaded)
    assert {each.key for each in last.listing.entries} == {A}


def test_a_quiet_store_that_answers_is_watched_on(bench: Bench) -> None:
    bench.store.put(READY, "true")
    bench.store.watches = [lambda: None] * 5

    bench.run()

    assert bench.listed == 1
    assert len(set(bench.store.watched_after)) == 1


def test_nothing_is_told_after_it_was_stopped(bench: Bench) -> None:
    store = bench.store

    def stop() -> None:
        store.put(A, "1")
        store.put(A, "2")
        bench.stop.set()

    store.watches = [stop]

    bench.run()

    assert len(bench.told) == 2
