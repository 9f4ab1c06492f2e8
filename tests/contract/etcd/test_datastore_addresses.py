"""Many allocators at once on one store, in memory and on a real etcd."""

import threading
from collections.abc import Iterator

import pytest
from netaddr import IPAddress, IPNetwork

from calico import codec, keys
from calico.addressing.addresses import Addresses
from calico.datastore.api import Key
from calico.errors import PoolExhausted
from calico.model import HandleId, HostName, Pool
from tests.contract.conftest import Store

#: Two blocks for three hosts.
POOL = Pool(IPNetwork("10.1.0.0/25"))
ROOT = Key("/calico")


@pytest.fixture
def calico_store(store: Store) -> Iterator[Store]:
    """A store with one small pool and nothing else of Calico's."""
    store.datastore.put(keys.pool_key(POOL), codec.encode_pool(POOL))
    yield store
    store.remove_tree(ROOT)


def at_once(*actions: object) -> None:
    """Run all in threads of their own; what one raises is raised here."""
    errors: list[BaseException] = []

    def run(action: object) -> None:
        assert callable(action)
        try:
            action()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        raise error


def test_hosts_that_allocate_at_once_never_share_an_address(calico_store: Store) -> None:
    found: dict[HandleId, IPAddress] = {}

    def allocate(host: str) -> None:
        addresses = Addresses(calico_store.datastore)
        for number in range(20):
            handle = HandleId(f"{host}.{number}")
            found[handle] = addresses.assign(HostName(host), handle)

    hosts = ("a", "b", "c")
    at_once(*(lambda host=host: allocate(host) for host in hosts))
    assert len(found) == 60
    assert len(set(found.values())) == 60
    addresses = Addresses(calico_store.datastore)
    for handle, address in found.items():
        assert addresses.held_by(handle) == (address,)


def test_one_handle_asked_for_at_once_in_one_place_has_one_address(calico_store: Store) -> None:
    found: list[IPAddress] = []

    def allocate() -> None:
        addresses = Addresses(calico_store.datastore)
        found.append(addresses.assign(HostName("a"), HandleId("one")))

    # The block exists, so that all of them race for it.
    Addresses(calico_store.datastore).assign(HostName("a"), HandleId("first"))
    at_once(*[allocate] * 4)
    assert len(set(found)) == 1


def test_a_pool_is_given_out_to_the_last_address_and_taken_back_whole(
    calico_store: Store,
) -> None:
    addresses = Addresses(calico_store.datastore)
    handles = [HandleId(f"t.{number}") for number in range(128)]
    found = {handle: addresses.assign(HostName("a"), handle) for handle in handles}
    assert set(found.values()) == set(POOL.cidr)
    with pytest.raises(PoolExhausted):
        addresses.assign(HostName("b"), HandleId("late"))

    def give_back(mine: list[HandleId]) -> None:
        for handle in mine:
            assert Addresses(calico_store.datastore).release(handle, found[handle])

    at_once(lambda: give_back(handles[::2]), lambda: give_back(handles[1::2]))
    assert all(not any(block.allocations) for block, _ in addresses.blocks())
    assert calico_store.datastore.list(keys.HANDLES).entries == ()
