"""What every datastore promises, on the twin in memory and on a real etcd."""

import threading

import pytest

from calico.datastore.api import (
    ABSENT,
    Key,
    Put,
    Removed,
    Revision,
    Stored,
    WatchEvent,
    WatchEvents,
)
from calico.errors import Conflict, DatastoreUnavailable, HistoryLost, InvalidName
from tests.contract.conftest import Store

SOON = 0.2
LONG = 10.0


def next_events(store: Store, prefix: str, after: Revision, count: int) -> list[WatchEvent]:
    """So many events, each within a generous time."""
    events = store.datastore.watch(Key(prefix), after, LONG)
    return [next(events) for _ in range(count)]


def test_an_absent_key_has_no_value(store: Store) -> None:
    assert store.datastore.get(store.key("a")) is None


def test_what_was_put_is_read_with_its_revision(store: Store) -> None:
    key = store.key("a")
    revision = store.datastore.put(key, "1")
    assert store.datastore.get(key) == Stored(key, "1", revision)
    later = store.datastore.put(key, "2")
    assert later > revision
    assert store.datastore.get(key) == Stored(key, "2", later)


def test_what_has_a_time_to_live_is_read_so_until_it_is_written_without(store: Store) -> None:
    key = store.key("a")

    def expires() -> list[bool]:
        stored = store.datastore.get(key)
        listed = store.datastore.list(Key(store.prefix)).entries
        return [each.expires for each in (stored, *listed) if each is not None]

    for ttl in (None, 60, None):
        store.datastore.put(key, "1", ttl=ttl)
        assert expires() == [ttl is not None] * 2


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param("süß ☃ \U0001f40d", id="beyond ASCII"),
        pytest.param("a+b&c=d%20e\n\t?#;", id="form characters"),
        pytest.param('{"k": "x"}', id="JSON"),
        pytest.param("x" * 300_000, id="300 kB"),
    ],
)
def test_a_value_is_kept_to_the_letter(store: Store, value: str) -> None:
    key = store.key("a")
    revision = store.datastore.put(key, value)
    assert store.datastore.get(key) == Stored(key, value, revision)
    assert store.datastore.list(Key(store.prefix)).entries == (Stored(key, value, revision),)


def test_a_key_is_created_only_once(store: Store) -> None:
    key = store.key("a")
    store.datastore.put(key, "1", expect=ABSENT)
    with pytest.raises(Conflict):
        store.datastore.put(key, "2", expect=ABSENT)
    kept = store.datastore.get(key)
    assert kept is not None
    assert kept.value == "1"


def test_a_write_wins_only_from_the_revision_it_expects(store: Store) -> None:
    key = store.key("a")
    first = store.datastore.put(key, "1")
    second = store.datastore.put(key, "2", expect=first)
    with pytest.raises(Conflict):
        store.datastore.put(key, "3", expect=first)
    assert store.datastore.get(key) == Stored(key, "2", second)


def test_an_empty_value_is_compared_too(store: Store) -> None:
    key = store.key("a")
    first = store.datastore.put(key, "")
    assert store.datastore.put(key, "", expect=first) > first


def test_a_write_that_expects_a_revision_of_an_absent_key_conflicts(store: Store) -> None:
    key = store.key("a")
    revision = store.datastore.put(key, "1")
    store.datastore.delete(key)
    with pytest.raises(Conflict):
        store.datastore.put(key, "2", expect=revision)


def test_deleting_needs_the_expected_revision(store: Store) -> None:
    key = store.key("a")
    first = store.datastore.put(key, "1")
    second = store.datastore.put(key, "2")
    with pytest.raises(Conflict):
        store.datastore.delete(key, expect=first)
    store.datastore.delete(key, expect=second)
    assert store.datastore.get(key) is None


def test_deleting_what_is_absent_succeeds(store: Store) -> None:
    key = store.key("a/b")
    revision = store.datastore.put(key, "1")
    store.datastore.delete(key)
    store.datastore.delete(key)
    store.datastore.delete(key, expect=revision)


def test_a_directory_is_deleted_only_when_it_is_empty(store: Store) -> None:
    leaf, directory = store.key("d/a"), store.key("d")
    store.datastore.put(leaf, "1")
    with pytest.raises(Conflict):
        store.datastore.delete(directory)
    store.datastore.delete(leaf)
    store.datastore.delete(directory)
    assert store.datastore.put(directory, "a value now") > 0


def is_directory(store: Store, key: Key) -> bool:
    """Nothing can be written where a directory is."""
    try:
        store.datastore.put(key, "1")
    except Conflict:
        return True
    return False


def test_a_directory_is_made_empty_and_stays_when_its_last_key_goes(store: Store) -> None:
    store.datastore.make_directory(store.key("dir/inner"))
    store.datastore.put(store.key("dir/inner/a"), "1")
    store.datastore.delete(store.key("dir/inner/a"))
    assert store.datastore.list(Key(store.prefix)).entries == ()
    assert is_directory(store, store.key("dir/inner"))


def test_what_is_there_is_not_made_a_directory(store: Store) -> None:
    revision = store.datastore.put(store.key("dir/a"), "1")
    store.datastore.make_directory(store.key("dir"))
    store.datastore.make_directory(store.key("dir/a"))
    store.datastore.make_directory(store.key("dir/a/b"))
    assert store.datastore.get(store.key("dir/a")) == Stored(store.key("dir/a"), "1", revision)


def test_a_directory_has_no_value_and_no_revision(store: Store) -> None:
    revision = store.datastore.put(store.key("d/a"), "1")
    assert store.datastore.get(store.key("d")) is None
    for expect in (None, ABSENT, revision):
        with pytest.raises(Conflict):
            store.datastore.put(store.key("d"), "2", expect=expect)
    with pytest.raises(Conflict):
        store.datastore.delete(store.key("d"), expect=revision)


def test_nothing_goes_below_a_value(store: Store) -> None:
    store.datastore.put(store.key("a"), "1")
    with pytest.raises(Conflict):
        store.datastore.put(store.key("a/b"), "2")


def test_a_list_has_every_key_below_in_order(store: Store) -> None:
    keys = [store.key(path) for path in ("b/x/y", "a", "b/c")]
    revisions = {key: store.datastore.put(key, key) for key in keys}
    listing = store.datastore.list(Key(store.prefix))
    assert listing.entries == tuple(Stored(key, key, revisions[key]) for key in sorted(keys))
    assert listing.revision >= max(revisions.values())


def test_a_list_keeps_to_its_directory(store: Store) -> None:
    store.datastore.put(store.key("host/a"), "1")
    store.datastore.put(store.key("hostile/a"), "2")
    listed = store.datastore.list(store.key("host")).entries
    assert [each.key for each in listed] == [store.key("host/a")]


def test_an_absent_prefix_lists_as_empty_with_the_store_s_revision(store: Store) -> None:
    revision = store.datastore.put(store.key("a"), "1")
    listing = store.datastore.list(store.key("nothing"))
    assert listing.entries == ()
    assert listing.revision >= revision


def test_an_empty_directory_and_a_value_list_as_empty(store: Store) -> None:
    store.datastore.put(store.key("d/a"), "1")
    store.datastore.delete(store.key("d/a"))
    store.datastore.put(store.key("b"), "1")
    assert store.datastore.list(store.key("d")).entries == ()
    assert store.datastore.list(store.key("b")).entries == ()
    assert [each.key for each in store.datastore.list(Key(store.prefix)).entries] == [
        store.key("b")
    ]


def test_a_key_with_a_time_to_live_goes_by_itself(store: Store) -> None:
    key = store.key("a")
    revision = store.datastore.put(key, "1", ttl=1)
    store.pass_time(1.5)
    [event] = next_events(store, store.prefix, revision, 1)
    assert isinstance(event, Removed)
    assert event.key == key
    assert store.datastore.get(key) is None


def test_a_write_without_time_to_live_keeps_the_key(store: Store) -> None:
    mortal, immortal = store.key("a"), store.key("b")
    start = store.datastore.put(immortal, "1", ttl=1)
    store.datastore.put(immortal, "2")
    store.datastore.put(mortal, "1", ttl=1)
    store.pass_time(1.5)
    events = next_events(store, store.prefix, start, 3)
    assert isinstance(events[2], Removed)
    assert events[2].key == mortal
    assert store.datastore.get(immortal) is not None


def test_a_watch_continues_where_the_list_ended(store: Store) -> None:
    store.datastore.put(store.key("a"), "listed")
    listing = store.datastore.list(Key(store.prefix))
    changed = store.datastore.put(store.key("a"), "changed")
    made = store.datastore.put(store.key("d/b"), "made", expect=ABSENT)
    swapped = store.datastore.put(store.key("d/b"), "swapped", expect=made)
    store.datastore.delete(store.key("d/b"), expect=swapped)
    events = next_events(store, store.prefix, listing.revision, 4)
    assert events[:3] == [
        Put(Stored(store.key("a"), "changed", changed)),
        Put(Stored(store.key("d/b"), "made", made)),
        Put(Stored(store.key("d/b"), "swapped", swapped)),
    ]
    assert isinstance(events[3], Removed)
    assert events[3].key == store.key("d/b")
    assert events[3].revision > swapped


def test_a_watch_continues_after_the_list_of_an_absent_prefix(store: Store) -> None:
    listing = store.datastore.list(store.key("later"))
    revision = store.datastore.put(store.key("later/a"), "1")
    [event] = next_events(store, store.key("later"), listing.revision, 1)
    assert event == Put(Stored(store.key("later/a"), "1", revision))


def test_a_watch_sees_only_its_prefix(store: Store) -> None:
    start = store.datastore.put(store.key("other"), "0")
    store.datastore.put(store.key("hostile/a"), "1")
    store.datastore.put(store.key("host/a"), "2")
    [event] = next_events(store, store.key("host"), start, 1)
    assert isinstance(event, Put)
    assert event.stored.value == "2"


def test_a_quiet_watch_ends_and_the_same_revision_loses_nothing(store: Store) -> None:
    start = store.datastore.put(store.key("a"), "1")
    assert list(store.datastore.watch(Key(store.prefix), start, SOON)) == []
    revision = store.datastore.put(store.key("a"), "2")
    assert list(store.datastore.watch(Key(store.prefix), start, SOON)) == [
        Put(Stored(store.key("a"), "2", revision))
    ]


def test_a_quiet_watch_tells_the_index_at_which_its_last_wait_began(store: Store) -> None:
    # given writes elsewhere, and one event
    store.datastore.put(store.key("watched/a"), "1")
    start = store.datastore.put(store.key("watched/a"), "2")
    index = store.datastore.put(store.key("other"), "3")
    quiet = WatchEvents(store.datastore.watch(store.key("watched"), start, SOON))
    eventful = WatchEvents(store.datastore.watch(store.key("watched"), Revision(start - 1), SOON))

    # then the quiet of both reaches beyond all that was told
    assert (len(list(quiet)), len(list(eventful))) == (0, 1)
    assert (quiet.reached, eventful.reached) == (index, index)


def test_a_watch_of_a_store_that_lacks_what_was_seen_waits_for_nothing(store: Store) -> None:
    seen = Revision(store.datastore.put(store.key("a"), "1") + 500)

    with pytest.raises(DatastoreUnavailable):
        next(store.datastore.watch(Key(store.prefix), seen, LONG))

    # then the same client goes on
    assert store.datastore.get(store.key("a")) is not None


def test_a_watch_tells_what_another_thread_writes(store: Store) -> None:
    start = store.datastore.put(store.key("a"), "0")
    written: list[Revision] = []

    def write() -> None:
        written.extend(store.datastore.put(store.key("a"), str(number)) for number in range(50))

    writer = threading.Thread(target=write)
    writer.start()
    events = next_events(store, store.prefix, start, 50)
    writer.join()
    assert [each.stored.revision for each in events if isinstance(each, Put)] == written


def test_a_removed_directory_is_told_as_itself(store: Store) -> None:
    store.datastore.put(store.key("d/a"), "1")
    start = store.datastore.put(store.key("d/e/b"), "1")
    store.remove_tree(store.key("d"))
    [event] = next_events(store, store.prefix, start, 1)
    assert isinstance(event, Removed)
    assert event.key == store.key("d")
    assert store.datastore.list(Key(store.prefix)).entries == ()


def test_a_watch_below_a_removed_directory_is_told_of_it(store: Store) -> None:
    start = store.datastore.put(store.key("d/e/b"), "1")
    store.datastore.put(store.key("d-like/e"), "1")
    store.remove_tree(store.key("d"))
    store.remove_tree(store.key("d-like"))
    [event] = list(store.datastore.watch(store.key("d/e"), start, SOON))
    assert isinstance(event, Removed)
    assert event.key == store.key("d")


def test_a_watch_says_so_when_events_were_forgotten(store: Store) -> None:
    start = store.datastore.put(store.key("watched/a"), "1")
    for number in range(1001):
        store.datastore.put(store.key("noise"), str(number))
    with pytest.raises(HistoryLost):
        list(store.datastore.watch(store.key("watched"), start, SOON))
    listing = store.datastore.list(store.key("watched"))
    assert list(store.datastore.watch(store.key("watched"), listing.revision, SOON)) == []


def test_a_watch_keeps_pace_with_events_elsewhere_up_to_the_window(store: Store) -> None:
    start = store.datastore.put(store.key("watched/a"), "1")
    for number in range(900):
        store.datastore.put(store.key("noise"), str(number))
    store.datastore.put(store.key("watched/a"), "2")
    [event] = next_events(store, store.key("watched"), start, 1)
    assert isinstance(event, Put)
    assert event.stored.value == "2"


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("a?ttl=1", id="query"),
        pytest.param("a#b", id="fragment"),
        pytest.param("a%2fb", id="escape"),
        pytest.param("../b", id="step up"),
        pytest.param("./b", id="step in place"),
        pytest.param("a//b", id="empty part"),
        pytest.param("a/", id="trailing slash"),
        pytest.param("_a", id="hidden from lists"),
        pytest.param("a b", id="space"),
        pytest.param("a\r\nHost: b", id="header injection"),
        pytest.param("ä", id="beyond ASCII"),
    ],
)
def test_a_key_that_would_reach_another_key_is_refused(store: Store, path: str) -> None:
    key = store.key(path)
    for attempt in (
        lambda: store.datastore.get(key),
        lambda: store.datastore.put(key, "1"),
        lambda: store.datastore.delete(key),
        lambda: store.datastore.list(key),
        lambda: next(iter(store.datastore.watch(key, ABSENT, SOON))),
    ):
        with pytest.raises(InvalidName):
            attempt()
    assert store.datastore.list(Key(store.prefix)).entries == ()
