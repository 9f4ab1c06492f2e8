"""What an agent remembers of a store in which nothing happens that it hears of."""

import pytest

from calico.cluster import Takeover
from calico.codec import encode_chain
from calico.datastore.api import Key, Listing, Put, Revision, Stored
from calico.datastore.memory import MemoryDatastore
from calico.keys import BLOCKS, CALICO, CHAIN, HOSTS
from calico.model import TaskId
from reconciler.agent.belief import Belief
from reconciler.runtime.watchfeed import Bookmark, Changed, Loaded
from tests.unit.agent.world import HOST, filled_store, loaded, put_spec, spec

WEB = spec(TaskId("web.1"), "192.168.0.1", "a")
ELSEWHERE = Key("/marathon-calico/v1/leader")


def write_elsewhere(store: MemoryDatastore, times: int) -> Revision:
    """Move the index on by what no feed tells of; where it is then."""
    for _ in range(times):
        store.put(ELSEWHERE, "renewed")
    return store.list(CALICO).revision


def believing(store: MemoryDatastore) -> Belief:
    belief = Belief(HOST)
    for message in loaded(store):
        belief.handle(message)
    belief.judge()
    return belief


def restarted(belief: Belief) -> Belief:
    """An agent that begins with what another one saved."""
    anew = Belief(HOST)
    anew.restore(belief.listings())
    return anew


@pytest.mark.parametrize("is_restarted", [False, True], ids=["that goes on", "that was stopped"])
def test_a_backup_that_has_caught_up_with_the_last_event_is_not_believed(
    is_restarted: bool,
) -> None:
    # given a task that came right behind a backup, and a long quiet since
    store = filled_store()
    backup = store.backup()
    put_spec(store, WEB)
    belief = believing(store)
    belief.handle(Bookmark(CALICO, write_elsewhere(store, 50)))

    # when the store is set back, and others have written to it before this agent lists
    belief = restarted(belief) if is_restarted else belief
    store.restore(backup)
    write_elsewhere(store, 10)
    for message in loaded(store):
        belief.handle(message)

    # then it is told by the index that had passed in the quiet
    assert "went back" in belief.judge().doubt


def test_a_bookmark_changes_nothing_that_is_acted_on_or_told() -> None:
    store = filled_store()
    belief = believing(store)
    before = belief.judge()

    belief.handle(Bookmark(CALICO, write_elsewhere(store, 50)))

    assert belief.judge() is before


def test_an_event_that_comes_after_the_quiet_keeps_what_was_reached() -> None:
    store = filled_store()
    belief = believing(store)
    quiet = write_elsewhere(store, 50)

    belief.handle(Changed(CALICO, Put(Stored(Key(f"{CALICO}/x"), "1", Revision(quiet - 20)))))
    belief.handle(Bookmark(CALICO, quiet))
    belief.judge()

    assert belief.reached[CALICO] == quiet


def test_the_quiet_of_a_store_that_is_doubted_says_nothing_of_the_one_that_is_believed() -> None:
    # given an agent that doubts a wiped store
    belief = believing(filled_store())
    reached = dict(belief.reached)
    belief.handle(Loaded(CALICO, Listing(Revision(3), ())))
    assert belief.judge().doubt

    belief.handle(Bookmark(CALICO, Revision(900)))
    belief.judge()

    assert belief.reached == reached


def test_a_store_that_took_over_stays_believed_when_another_prefix_is_listed_late() -> None:
    # given an agent whose feed of hosts has not noticed yet that the store is another one
    former = filled_store()
    former.put(CHAIN, encode_chain((Takeover(1, "n1"),)))
    write_elsewhere(former, 50)
    belief = believing(former)
    store = filled_store(cluster="two")
    calico, blocks, hosts = loaded(store)
    for message in (calico, blocks):
        belief.handle(message)
    assert belief.judge().is_former

    # when that took over what this host held
    chain = encode_chain((Takeover(2, "n2", ("one",), (HOST,)),))
    belief.handle(Changed(CALICO, Put(Stored(CHAIN, chain, Revision(40)))))
    assert belief.judge().doubt == ""

    # then nothing that is heard of the former one counts any more
    belief.handle(Bookmark(HOSTS, Revision(60)))
    assert restarted(belief).judge().doubt == ""
    belief.handle(hosts)
    assert belief.judge().doubt == ""
    assert belief.reached[HOSTS] == hosts.listing.revision


def test_a_quiet_prefix_tells_nothing_of_the_others() -> None:
    """Feeds are apart: one may be told later of what came before another's quiet."""
    store = filled_store()
    belief = believing(store)
    hosts = loaded(store)[2]
    belief.handle(Bookmark(CALICO, write_elsewhere(store, 50)))

    belief.handle(Loaded(HOSTS, hosts.listing))
    belief.handle(Loaded(BLOCKS, Listing(hosts.listing.revision, ())))

    assert belief.judge().doubt == ""
