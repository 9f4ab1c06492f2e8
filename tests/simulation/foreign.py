"""Addresses that another orchestrator has: with few left, one given back is soon given again."""

from functools import cache

from calico.addressing.addresses import Addresses
from calico.codec import encode_pool
from calico.datastore.api import ABSENT, Key
from calico.datastore.memory import MemoryDatastore
from calico.keys import IPAM, pool_key
from calico.model import HandleId, HostName, Pool

#: The start of the handles of those.
FOREIGN = "foreign."
#: So many of each block of 64.
EACH = 58


@cache
def foreign_books(pool: Pool, hosts: tuple[HostName, ...]) -> tuple[tuple[Key, str], ...]:
    """What the datastore holds of them, made once: it is the same in every run."""
    store = MemoryDatastore()
    store.put(pool_key(pool.cidr), encode_pool(pool))
    addresses = Addresses(store)
    for host in hosts:
        handle = HandleId(f"{FOREIGN}{host}")
        first = addresses.assign(host, handle)
        for ordinal in range(1, EACH):
            addresses.assign_fixed(host, handle, first + ordinal)
    return tuple((each.key, each.value) for each in store.list(IPAM).entries)


def have_foreign(store: MemoryDatastore, pool: Pool, hosts: tuple[HostName, ...]) -> None:
    """Let another orchestrator have its addresses before we give any."""
    for key, value in foreign_books(pool, hosts):
        store.put(key, value, expect=ABSENT)
