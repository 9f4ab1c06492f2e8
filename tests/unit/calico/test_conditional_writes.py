"""Addresses are given, claimed and taken back by compare-and-swap alone.

Whoever does that may be stopped for any time between its last look and the
sending: an unconditional write would then undo what another did meanwhile.
"""

import pytest
from netaddr import IPAddress, IPNetwork

from calico.addressing.addresses import Addresses
from calico.codec import encode_pool
from calico.datastore.api import ABSENT, Key, Revision
from calico.datastore.memory import MemoryDatastore
from calico.errors import Conflict
from calico.keys import affinity_key, pool_key
from calico.model import HandleId, HostName, Pool

HERE, THERE = HostName("host-a"), HostName("host-b")
ONE, TWO = HandleId("task.1"), HandleId("task.2")
POOL = Pool(IPNetwork("10.1.0.0/25"))


class StrictStore(MemoryDatastore):
    """A store that takes only conditional writes, and fails anything else."""

    def put(
        self, key: Key, value: str, *, expect: Revision | None = None, ttl: int | None = None
    ) -> Revision:
        assert expect is not None, f"{key} is written whatever is there"
        return super().put(key, value, expect=expect, ttl=ttl)

    def delete(self, key: Key, *, expect: Revision | None = None) -> None:
        assert expect is not None, f"{key} is removed whatever is there"
        super().delete(key, expect=expect)


@pytest.fixture
def store() -> StrictStore:
    store = StrictStore()
    store.put(pool_key(POOL), encode_pool(POOL), expect=ABSENT)
    return store


def test_addresses_come_and_go_by_conditional_writes(store: StrictStore) -> None:
    addresses = Addresses(store)

    given = addresses.assign(HERE, ONE)
    # The only block left is claimed for the second host, and for nobody after it.
    elsewhere = addresses.assign(THERE, TWO)
    addresses.assign_fixed(HERE, ONE, IPAddress("10.1.0.99"))

    assert addresses.release(ONE, given)
    assert addresses.release(TWO, elsewhere)


def test_a_claim_writes_the_hint_anew_for_whoever_read_it_before(store: StrictStore) -> None:
    # given a hint that was left behind, and read by who means to take it away
    addresses = Addresses(store)
    block = IPNetwork("10.1.0.0/26")
    hints = {affinity_key(HERE, cidr) for cidr in POOL.cidr.subnet(26)}
    read = {hint: store.put(hint, "", expect=ABSENT) for hint in hints}

    addresses.assign(HERE, ONE)

    # then the one that is in use by now stays
    taken = affinity_key(HERE, block)
    with pytest.raises(Conflict):
        store.delete(taken, expect=read[taken])
    assert store.get(taken) is not None
