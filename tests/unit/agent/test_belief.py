"""What of the datastore is acted on: never a wiped, restored or foreign one."""

from dataclasses import replace

import pytest

from calico.addressing.ipam import block_of, new_block
from calico.cluster import Takeover
from calico.codec import encode_block, encode_chain
from calico.datastore.api import Key, Listing, Put, Removed, Revision, Stored
from calico.datastore.memory import MemoryDatastore
from calico.keys import (
    BLOCKS,
    CALICO,
    CHAIN,
    CLUSTER_GUID,
    HOSTS,
    READY,
    block_key,
    host_key,
    parse_endpoint_key,
)
from calico.model import TaskId
from reconciler.agent.belief import Belief, Source
from reconciler.runtime.watchfeed import Changed, FeedMessage, Loaded, Unreachable
from tests.unit.agent.world import HOST, OTHER_HOST, filled_store, key_of, loaded, put_spec, spec

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
    before, kept = belief.judge(), belief.listings()

    for prefix in (CALICO, BLOCKS, HOSTS):
        belief.handle(Loaded(prefix, Listing(Revision(99), ())))

    view = belief.judge()
    assert view.snapshot is before.snapshot
    assert view.doubt
    assert belief.listings() == kept


def test_a_store_whose_root_was_removed_changes_nothing() -> None:
    belief = believing(store_with_web())
    before = belief.judge()

    belief.handle(Changed(CALICO, Removed(CALICO, Revision(99))))

    assert belief.judge().snapshot is before.snapshot
    assert belief.judge().doubt


@pytest.mark.parametrize("gone", [Key("/marathon-calico"), HOSTS, host_key(HOST)])
def test_a_host_that_is_no_longer_known_is_told_so_before_and_after_doubt(gone: Key) -> None:
    belief = believing(store_with_web())
    assert belief.judge().is_registered

    belief.handle(Changed(HOSTS, Removed(gone, Revision(99))))
    assert not belief.judge().is_registered
    belief.handle(Changed(CALICO, Removed(CALICO, Revision(100))))
    assert not belief.judge().is_registered


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


FIRST = Takeover(1, "n1")
SECOND = Takeover(2, "n2", revision=20)


def with_chain(*chain: Takeover, filler: int = 0) -> MemoryDatastore:
    """A store after these takeovers; `filler` writes make its index higher."""
    store = store_with_web()
    for _ in range(filler):
        put_spec(store, WEB)
    store.put(CHAIN, encode_chain(chain))
    return store


def after(former: MemoryDatastore, store: MemoryDatastore) -> Belief:
    """An agent that believed the one store, and then is told of the other."""
    belief = believing(former)
    belief.judge()
    for message in loaded(store):
        belief.handle(message)
    return belief


@pytest.mark.parametrize(
    "chain",
    [
        pytest.param((FIRST,), id="without the latest takeover"),
        pytest.param((FIRST, Takeover(2, "another")), id="with another one of its number"),
        pytest.param(
            (FIRST, Takeover(2, "another"), Takeover(3, "later")), id="that went on since"
        ),
        pytest.param((), id="without any"),
    ],
)
def test_a_backup_is_not_believed_although_its_index_has_caught_up(
    chain: tuple[Takeover, ...],
) -> None:
    belief = after(with_chain(FIRST, SECOND), with_chain(*chain, filler=50))

    view = belief.judge()

    assert "restored from a backup" in view.doubt
    assert view.is_former
    assert (view.guid, view.takeover) == ("one", 2)


def test_a_backup_of_the_same_takeover_is_told_by_the_next_one() -> None:
    """The agent had seen all up to an index at which this takeover was told elsewhere."""
    former = with_chain(FIRST, filler=50)
    restored = with_chain(FIRST, SECOND)
    for _ in range(100):
        put_spec(restored, WEB)

    assert "an index that had passed without it" in after(former, restored).judge().doubt


def test_takeovers_that_came_since_are_believed() -> None:
    former = with_chain(FIRST)
    belief = believing(former)
    belief.judge()

    chain = (replace(FIRST, revision=10), SECOND)
    belief.handle(Changed(CALICO, Put(Stored(CHAIN, encode_chain(chain), Revision(99)))))

    view = belief.judge()
    assert (view.doubt, view.takeover) == ("", 2)


def test_a_store_that_took_over_what_the_host_held_is_believed() -> None:
    # given an agent that doubts a new store
    belief = after(with_chain(FIRST), replaced())
    assert belief.judge().is_former

    # when that tells that it took over what this host, or another one, held
    tell_takeover(belief, Takeover(1, "x", ("one",), (OTHER_HOST,)), 98)
    assert belief.judge().is_former
    tell_takeover(belief, Takeover(2, "y", ("one",), (HOST,)), 99)

    # then it is believed, and from then on it is the one
    view = belief.judge()
    assert (view.doubt, view.is_former) == ("", False)
    assert (view.guid, view.takeover) == ("two", 2)


def test_a_takeover_that_was_known_before_a_restore_adopts_nothing() -> None:
    adopting = Takeover(2, "n2", ("one",), (HOST,))
    belief = after(with_chain(FIRST, adopting, filler=50), with_chain(FIRST, adopting))
    assert "went back" in belief.judge().doubt


def test_a_store_that_adopted_is_not_believed_before_it_is_ready() -> None:
    belief = after(with_chain(FIRST), replaced(ready="false"))
    tell_takeover(belief, Takeover(1, "x", ("one",), (HOST,)), 98)

    view = belief.judge()

    assert str(READY) in view.doubt
    assert not view.is_former


def test_a_store_that_adopted_is_not_believed_before_its_blocks_are_seen() -> None:
    # given an agent that knows whose block a task's address is of
    former = with_chain(FIRST)
    cidr = block_of(WEB.addresses[0])
    block = encode_block(new_block(cidr, HOST))
    former.put(block_key(cidr), block)
    belief = after(former, replaced())

    # when the takeover is seen before the block
    tell_takeover(belief, Takeover(1, "x", ("one",), (HOST,)), 98)
    assert belief.judge().is_former

    # then it waits for that
    belief.handle(Changed(BLOCKS, Put(Stored(block_key(cidr), block, Revision(97)))))
    assert belief.judge().doubt == ""


def test_a_store_that_adopted_is_not_believed_before_it_is_listed() -> None:
    # given an agent whose watch went on in another store when its index had caught up
    belief = believing(with_chain(FIRST))
    belief.judge()

    # when that tells that it took over what this host held
    chain = encode_chain((Takeover(1, "x"), Takeover(2, "y", ("one",), (HOST,))))
    belief.handle(Changed(CALICO, Put(Stored(CHAIN, chain, Revision(99)))))

    # then it is another one still, as only its news are known
    assert belief.judge().is_former

    # and it is believed once it was listed
    store = replaced()
    store.put(CHAIN, chain)
    for message in loaded(store):
        belief.handle(message)
    view = belief.judge()
    assert (view.doubt, view.guid, view.takeover) == ("", "two", 2)


def test_doubt_outlives_the_agent() -> None:
    first = believing(with_chain(FIRST, SECOND))
    first.judge()
    belief = Belief(HOST)
    belief.restore(first.listings())

    for message in loaded(with_chain(FIRST, filler=50)):
        belief.handle(message)

    view = belief.judge()
    assert "restored from a backup" in view.doubt
    assert WEB.id in {
        endpoint for each in belief.former() if (endpoint := parse_endpoint_key(each))
    }


def test_what_was_believed_last_is_told_before_anything_is_read() -> None:
    first = believing(with_chain(FIRST, SECOND))
    first.judge()
    belief = Belief(HOST)
    belief.restore(first.listings())

    view = belief.judge()

    assert (view.guid, view.takeover, view.is_read) == ("one", 2, False)


def test_a_datastore_is_read_once_every_prefix_is() -> None:
    first = believing(with_chain(FIRST))
    first.judge()
    belief = Belief(HOST)
    belief.restore(first.listings())

    read = []
    for message in loaded(replaced()):
        belief.handle(message)
        read.append(belief.judge().is_read)

    assert read == [False, False, True]


def test_a_state_file_that_knows_of_no_takeover_is_believed_still() -> None:
    first = believing(store_with_web())
    first.judge()
    belief = Belief(HOST)
    belief.restore(first.listings())

    for message in loaded(with_chain(FIRST, filler=50)):
        belief.handle(message)

    assert belief.judge().doubt == ""


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(Changed(CALICO, Removed(CALICO, Revision(99))), id="its root was removed"),
        pytest.param(Loaded(CALICO, Listing(Revision(99), ())), id="it was listed empty"),
    ],
)
def test_what_was_believed_is_kept_raw_while_the_store_is_another(message: FeedMessage) -> None:
    store = store_with_web()
    belief = believing(store)
    belief.judge()
    before = {each.key: each for each in store.list(CALICO).entries}

    belief.handle(message)
    belief.handle(Changed(CALICO, Put(Stored(key_of(WEB.id), "{}", Revision(100)))))
    assert belief.judge().is_former

    former = belief.former()
    assert {key: each for key, each in former.items() if key.startswith(CALICO)} == before


def replaced(ready: str = "true") -> MemoryDatastore:
    """Another store, in which the task has its old network."""
    store = filled_store(cluster="two", ready=ready)
    put_spec(store, WEB)
    return store


def tell_takeover(belief: Belief, takeover: Takeover, revision: int) -> None:
    """Let the store tell of a takeover."""
    stored = Stored(CHAIN, encode_chain((takeover,)), Revision(revision))
    belief.handle(Changed(CALICO, Put(stored)))


def test_a_store_that_was_believed_again_stays_believed() -> None:
    # given an agent that doubts a backup, which takes over then what its host held
    belief = after(with_chain(FIRST, filler=50), with_chain(FIRST))
    assert "went back" in belief.judge().doubt
    tell_takeover(belief, Takeover(2, "y", ("one",), (HOST,)), 98)
    assert belief.judge().doubt == ""

    # when anything else happens there
    belief.handle(Changed(CALICO, Put(Stored(Key(f"{CALICO}/noise"), "x", Revision(99)))))

    assert belief.judge().doubt == ""
