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


@cache
def foreign_books(
    pool: Pool, hosts: tuple[HostName, ...], each: int
) -> tuple[tuple[Key, str], ...]:
    """What the datastore holds of them, made once: it is the same in every run."""
    store = MemoryDatastore()
    store.put(pool_key(pool.cidr), encode_pool(pool))
    addresses = Addresses(store)
    for host in hosts:
        handle = HandleId(f"{FOREIGN}{host}")
        first = addresses.assign(host, handle)
        for ordinal in range(1, each):
            addresses.assign_fixed(host, handle, first + ordinal)
    return tuple((stored.key, stored.value) for stored in store.list(IPAM).entries)


def have_foreign(
    store: MemoryDatastore, pool: Pool, hosts: tuple[HostName, ...], each: int
) -> None:
    """Let another orchestrator have so many addresses of each block before we give any."""
    for key, value in foreign_books(pool, hosts, each):
        store.put(key, value, expect=ABSENT)
