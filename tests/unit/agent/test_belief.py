"""What of the datastore is acted on: never a wiped, restored or foreign one."""

from calico.datastore.api import Key, Listing, Put, Removed, Revision, Stored
from calico.datastore.memory import MemoryDatastore
from calico.keys import BLOCKS, CALICO, CLUSTER_GUID, HOSTS, READY
from calico.model import TaskId
from reconciler.agent.belief import Belief, Source
from reconciler.runtime.watchfeed import Changed, Loaded, Unreachable
from tests.unit.agent.world import HOST, filled_store, key_of, loaded, put_spec, spec

WEB = spec(TaskId("web.1"), "192.168.0.1", "a")


def store_with_web() -> MemoryDatastore:
    store = filled_store()
    put_spec(store, WEB)
    return store


def believing(store: MemoryDatastore) -> Belief:
    belief = Belief(HOST)
    for message in loaded(store):
        belief.handle(message)
    return belief


def test_nothing_is_believed_before_every_prefix_was_read() -> None:
    calico, blocks, hosts = loaded(store_with_web())
    belief = Belief(HOST)

    for message in (hosts, calico):
        belief.handle(message)
        assert belief.judge().snapshot is None

    belief.handle(blocks)
    view = belief.judge()
    assert view.source is Source.DATASTORE
    assert view.snapshot is not None
    assert view.snapshot.specs == {WEB.id: WEB}


def test_an_event_is_believed_at_once() -> None:
    store = store_with_web()
    belief = believing(store)
    belief.judge()

    belief.handle(Changed(CALICO, Removed(key_of(WEB.id), Revision(99))))

    view = belief.judge()
    assert view.snapshot is not None
    assert (dict(view.snapshot.specs), view.revision) == ({}, 99)


def test_without_news_the_very_same_view_stands() -> None:
    belief = believing(store_with_web())

    assert belief.judge() is belief.judge()


def test_a_store_that_is_not_ready_is_not_believed() -> None:
    belief = believing(filled_store(ready="false"))

    view = belief.judge()

    assert view.snapshot is None
    assert str(READY) in view.doubt


def test_a_wiped_store_changes_nothing() -> None:
    belief = believing(store_with_web())
    before = belief.judge()

    for prefix in (CALICO, BLOCKS, HOSTS):
        belief.handle(Loaded(prefix, Listing(Revision(99), ())))

    view = belief.judge()
    assert view.snapshot is before.snapshot
    assert view.doubt
    assert belief.listings() == {}


def test_a_store_whose_root_was_removed_changes_nothing() -> None:
    belief = believing(store_with_web())
    before = belief.judge()

    belief.handle(Changed(CALICO, Removed(CALICO, Revision(99))))

    assert belief.judge().snapshot is before.snapshot
    assert belief.judge().doubt


def test_a_store_that_is_ready_again_is_believed_again() -> None:
    belief = believing(store_with_web())
    belief.handle(Changed(CALICO, Removed(READY, Revision(98))))
    assert belief.judge().doubt

    belief.handle(Changed(CALICO, Put(Stored(READY, "true", Revision(99)))))

    assert not belief.judge().doubt


def test_another_cluster_is_not_believed() -> None:
    belief = believing(store_with_web())
    before = belief.judge()
    other = filled_store(cluster="two")
    for _ in range(20):
        put_spec(other, spec(TaskId("new.1"), "192.168.0.9"))

    for message in loaded(other):
        belief.handle(message)

    assert belief.judge().snapshot is before.snapshot
    assert "two" in belief.judge().doubt


def test_a_store_that_was_wiped_and_made_ready_by_another_tool_is_not_believed() -> None:
    belief = believing(store_with_web())
    before = belief.judge()

    belief.handle(Changed(CALICO, Removed(CALICO, Revision(98))))
    belief.handle(Changed(CALICO, Put(Stored(READY, "true", Revision(99)))))

    assert belief.judge().snapshot is before.snapshot
    assert str(CLUSTER_GUID) in belief.judge().doubt


def test_an_index_that_went_back_is_not_believed_even_when_it_has_caught_up() -> None:
    belief = believing(store_with_web())
    before = belief.judge()
    restored = filled_store()

    for message in loaded(restored):
        belief.handle(message)
    assert "went back" in belief.judge().doubt
    for _ in range(20):
        put_spec(restored, spec(TaskId("new.1"), "192.168.0.9"))
    for message in loaded(restored):
        belief.handle(message)

    assert belief.judge().snapshot is before.snapshot


def test_a_store_that_does_not_answer_leaves_the_last_good_state() -> None:
    belief = believing(store_with_web())
    before = belief.judge()

    belief.handle(Unreachable(CALICO, "no answer"))
    assert belief.judge().snapshot is before.snapshot
    assert belief.judge().unreachable == "no answer"

    for message in loaded(store_with_web()):
        belief.handle(message)
    assert belief.judge().unreachable == ""


def test_the_state_file_is_acted_on_only_when_the_store_fails() -> None:
    store = store_with_web()
    first = believing(store)
    first.judge()
    belief = Belief(HOST)
    belief.restore(first.listings())

    calico, *_ = loaded(store)
    belief.handle(calico)
    assert belief.judge().snapshot is None

    belief.handle(Unreachable(CALICO, "no answer"))
    view = belief.judge()
    assert view.source is Source.FILE
    assert view.snapshot is not None
    assert set(view.snapshot.specs) == {WEB.id}

    for message in loaded(store):
        belief.handle(message)
    assert belief.judge().source is Source.DATASTORE


def test_a_store_that_was_wiped_while_the_agent_was_down_is_not_believed() -> None:
    first = believing(store_with_web())
    first.judge()
    belief = Belief(HOST)
    belief.restore(first.listings())

    for message in loaded(filled_store(cluster="two")):
        belief.handle(message)

    view = belief.judge()
    assert (view.source, bool(view.doubt)) == (Source.FILE, True)


def test_what_is_kept_is_what_was_read_and_every_event_since() -> None:
    store = store_with_web()
    belief = believing(store)
    revision = store.list(CALICO).revision
    db = spec(TaskId("db.1"), "192.168.0.2")
    put_spec(store, db)
    for event in store.watch(CALICO, revision, timeout=0):
        belief.handle(Changed(CALICO, event))
    belief.judge()

    kept = belief.listings()[CALICO]

    assert sorted(kept.entries, key=lambda each: each.key) == list(store.list(CALICO).entries)
    assert kept.revision == store.list(CALICO).revision


def test_a_directory_that_was_removed_takes_along_only_what_is_in_it() -> None:
    belief = believing(store_with_web())
    names = [Key(f"{CALICO}/config/{each}") for each in ("old/a", "old/b", "older", "old-c")]
    for number, name in enumerate(names, 90):
        belief.handle(Changed(CALICO, Put(Stored(name, "x", Revision(number)))))

    belief.handle(Changed(CALICO, Removed(Key(f"{CALICO}/config/old"), Revision(99))))
    belief.judge()

    kept = {each.key for each in belief.listings()[CALICO].entries}
    assert kept.intersection(names) == set(names[2:])
