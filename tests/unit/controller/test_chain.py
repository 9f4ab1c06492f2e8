"""The takeovers that are kept to tell a store from its older self."""

import pytest

from calico.cluster import ClusterRecord, Takeover
from calico.codec import decode_chain, decode_cluster, encode_cluster
from calico.datastore.memory import MemoryDatastore
from calico.errors import Conflict, UnknownSchema
from calico.keys import CHAIN, CLUSTER
from calico.model import HostName
from reconciler.controller.adoption.chain import LONGEST_CHAIN, append_takeover
from tests.convergence.test_ipam_kills import Killed, MortalStore


@pytest.fixture
def store() -> MemoryDatastore:
    return MemoryDatastore()


def recorded(store: MemoryDatastore) -> tuple[Takeover, ...]:
    stored = store.get(CLUSTER)
    assert stored is not None
    return decode_cluster(stored.value).chain


def published(store: MemoryDatastore) -> tuple[Takeover, ...]:
    stored = store.get(CHAIN)
    assert stored is not None
    return decode_chain(stored.value)


def test_each_takeover_is_recorded_and_told_to_agents(store: MemoryDatastore) -> None:
    assert append_takeover(store, "one") == ()
    before = append_takeover(store, "two", {"guid"}, {HostName("h")})

    assert [each.nonce for each in before] == ["one"]
    assert [(each.number, each.nonce) for each in recorded(store)] == [(1, "one"), (2, "two")]
    assert recorded(store)[-1] == Takeover(2, "two", ("guid",), (HostName("h"),))
    assert published(store) == recorded(store)


def test_the_index_at_which_a_link_was_told_is_kept_with_the_next(store: MemoryDatastore) -> None:
    append_takeover(store, "one")
    told = store.get(CHAIN)
    assert told is not None
    append_takeover(store, "two")
    assert [each.revision for each in published(store)] == [told.revision, 0]


def test_a_leader_that_tries_again_appends_nothing(store: MemoryDatastore) -> None:
    append_takeover(store, "one")
    append_takeover(store, "two")
    revision = store.list(CLUSTER).revision
    assert [each.nonce for each in append_takeover(store, "two")] == ["one"]
    assert store.list(CLUSTER).revision == revision


@pytest.mark.parametrize("position", range(2))
def test_a_leader_may_die_between_the_record_and_the_telling(
    store: MemoryDatastore, position: int
) -> None:
    append_takeover(store, "one")
    with pytest.raises(Killed):
        append_takeover(MortalStore(store, position), "two")

    append_takeover(store, "three")

    assert published(store) == recorded(store)
    assert published(store)[-1].nonce == "three"


def test_a_leader_that_was_stopped_cannot_tell_an_older_chain(store: MemoryDatastore) -> None:
    append_takeover(store, "one")
    text = published(store)
    late = store.get(CHAIN)
    assert late is not None
    append_takeover(store, "two")
    with pytest.raises(Conflict):
        store.put(CHAIN, late.value, expect=late.revision)
    assert published(store) != text


def test_only_the_latest_takeovers_are_kept(store: MemoryDatastore) -> None:
    for number in range(LONGEST_CHAIN + 5):
        append_takeover(store, f"n{number}")
    assert len(recorded(store)) == len(published(store)) == LONGEST_CHAIN
    assert recorded(store)[-1].number == LONGEST_CHAIN + 5


def test_the_keys_of_another_version_are_left_as_they_are(store: MemoryDatastore) -> None:
    store.put(CLUSTER, encode_cluster(ClusterRecord("u")).replace('"schema": 1', '"schema": 2'))
    revision = store.list(CLUSTER).revision
    with pytest.raises(UnknownSchema, match="run the version that wrote it"):
        append_takeover(store, "one")
    assert store.list(CLUSTER).revision == revision
