"""Writes of addresses without an answer, that were not done."""

import pytest
from netaddr import IPAddress, IPNetwork

from calico.addressing.addresses import Addresses
from calico.codec import encode_pool
from calico.datastore.api import Key, Revision
from calico.datastore.memory import MemoryDatastore
from calico.errors import DatastoreUnavailable
from calico.keys import BLOCKS, pool_key
from calico.model import HandleId, HostName, Pool

HERE, ONE, TWO = HostName("host-a"), HandleId("task.1"), HandleId("task.2")
POOL = Pool(IPNetwork("10.1.0.0/26"))


class LosingStore(MemoryDatastore):
    """A store that loses some of the writes to blocks, before they are done."""

    def __init__(self) -> None:
        super().__init__()
        self.loses = 0

    def put(
        self, key: Key, value: str, *, expect: Revision | None = None, ttl: int | None = None
    ) -> Revision:
        if self.loses and key.startswith(f"{BLOCKS}/"):
            self.loses -= 1
            raise DatastoreUnavailable("the request was lost")
        return super().put(key, value, expect=expect, ttl=ttl)


@pytest.fixture
def store() -> LosingStore:
    """A pool, and a block of it that the host has."""
    store = LosingStore()
    store.put(pool_key(POOL), encode_pool(POOL))
    addresses = Addresses(store)
    addresses.release(ONE, addresses.assign(HERE, ONE))
    return store


def test_an_address_whose_write_was_lost_is_not_given_before_it_is_written(
    store: LosingStore,
) -> None:
    store.loses = 1

    given = Addresses(store).assign(HERE, ONE)

    assert Addresses(store).holder(given) == ONE
    assert Addresses(store).held_by(ONE) == (given,)
    assert Addresses(store).assign(HERE, TWO) != given


def test_a_fixed_address_whose_write_was_lost_is_not_given_before_it_is_written(
    store: LosingStore,
) -> None:
    store.loses = 1
    fixed = IPAddress("10.1.0.9")

    Addresses(store).assign_fixed(HERE, ONE, fixed)

    assert Addresses(store).holder(fixed) == ONE


def test_an_address_is_given_to_nobody_while_no_write_arrives(store: LosingStore) -> None:
    store.loses = 1_000

    with pytest.raises(DatastoreUnavailable):
        Addresses(store).assign(HERE, ONE)

    store.loses = 0
    assert Addresses(store).held_by(ONE) == ()


def test_an_address_whose_renewal_was_lost_is_not_used_before_it_is_written(
    store: LosingStore,
) -> None:
    given = Addresses(store).assign(HERE, ONE)
    before = store.list(BLOCKS).entries
    store.loses = 1

    assert Addresses(store).assign(HERE, ONE) == given

    after = store.list(BLOCKS).entries
    assert [each.value for each in after] == [each.value for each in before]
    assert [each.revision for each in after] != [each.revision for each in before]


def test_an_address_is_not_used_again_while_no_write_arrives(store: LosingStore) -> None:
    Addresses(store).assign(HERE, ONE)
    store.loses = 1_000

    with pytest.raises(DatastoreUnavailable):
        Addresses(store).assign(HERE, ONE)
