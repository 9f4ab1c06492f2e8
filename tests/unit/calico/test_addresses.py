"""Where an address comes from, and who may have it."""

from collections.abc import Callable

import pytest
from netaddr import IPAddress, IPNetwork

from calico import codec, keys
from calico.addressing import ipam
from calico.addressing.addresses import Addresses
from calico.addressing.blocks import Block, IpamConfig
from calico.datastore.api import ABSENT, Key
from calico.datastore.memory import MemoryDatastore
from calico.errors import (
    AddressOutsidePools,
    AddressTaken,
    Conflict,
    InvalidName,
    InvalidValue,
    PoolExhausted,
)
from calico.model import HandleId, HostName, Pool

A, B = HostName("host-a"), HostName("host-b")
ONE, TWO, THREE = HandleId("task.1"), HandleId("task.2"), HandleId("task.3")
POOL = Pool(IPNetwork("10.1.0.0/16"))
SMALL = Pool(IPNetwork("10.1.0.0/26"))
POOL6 = Pool(IPNetwork("fd80:24e2:f998:72d6::/64"))


def store_with(*pools: Pool, config: IpamConfig | None = None) -> MemoryDatastore:
    store = MemoryDatastore()
    for pool in pools:
        store.put(keys.pool_key(pool), codec.encode_pool(pool))
    if config is not None:
        store.put(keys.ipam_config_key(), codec.encode_ipam_config(config))
    return store


def block_at(store: MemoryDatastore, address: IPAddress) -> Block:
    stored = store.get(keys.block_key(ipam.block_of(address)))
    assert stored is not None
    return codec.decode_block(ipam.block_of(address), stored.value)


def values(store: MemoryDatastore) -> dict[Key, str]:
    return {each.key: each.value for each in store.list(keys.IPAM).entries}


def test_the_first_address_claims_a_block_for_the_host() -> None:
    store = store_with(POOL)
    address = Addresses(store).assign(A, ONE, secondary=(("owner", "us"),))
    block = block_at(store, address)
    assert address in POOL.cidr
    assert block.affinity == A
    held = ipam.allocation_of(block, address)
    assert held is not None
    assert (held.handle, held.secondary) == (ONE, (("owner", "us"),))
    assert store.get(keys.affinity_key(A, block.cidr)) is not None
    handle = store.get(keys.handle_key(ONE))
    assert handle is not None
    assert codec.decode_handle(ONE, handle.value) == {block.cidr: 1}


def test_addresses_of_one_host_share_its_block_and_hosts_do_not() -> None:
    addresses = Addresses(store_with(POOL))
    first, second = addresses.assign(A, ONE), addresses.assign(A, TWO)
    other = addresses.assign(B, THREE)
    assert ipam.block_of(first) == ipam.block_of(second)
    assert first != second
    assert ipam.block_of(other) != ipam.block_of(first)


def test_asking_again_gives_the_same_address_on_any_host() -> None:
    store = store_with(POOL)
    address = Addresses(store).assign(A, ONE)
    before = values(store)
    assert Addresses(store).assign(A, ONE) == address
    assert Addresses(store).assign(B, ONE) == address
    assert values(store) == before


def again(addresses: Addresses) -> None:
    addresses.assign(A, ONE)


def again_on_another_host(addresses: Addresses) -> None:
    addresses.assign(B, ONE)


def again_by_name(addresses: Addresses) -> None:
    (held,) = addresses.held_by(ONE)
    addresses.assign_fixed(A, ONE, held)


def noted_and_renewed(addresses: Addresses) -> None:
    held: set[IPAddress] = set()
    addresses.assign(A, ONE, held=held)
    addresses.renew(ONE, held)


@pytest.mark.parametrize("ask", [again, again_on_another_host, again_by_name, noted_and_renewed])
@pytest.mark.parametrize("same", [pytest.param(True, id="one"), pytest.param(False, id="another")])
def test_a_release_that_is_still_on_its_way_takes_nothing_that_is_asked_for_again(
    ask: Callable[[Addresses], None], same: bool
) -> None:
    # given a release that was decided, and has not arrived
    store = store_with(POOL)
    first = Addresses(store)
    address = first.assign(A, ONE)
    key = keys.block_key(ipam.block_of(address))
    held = store.get(key)
    assert held is not None
    freed = codec.encode_block(ipam.release(block_at(store, address), ONE, address))

    # when its holder begins to use the address again, and then it arrives
    ask(first if same else Addresses(store))
    with pytest.raises(Conflict):
        store.put(key, freed, expect=held.revision)

    # then no other is given it
    assert Addresses(store).assign(A, TWO) != address


def test_what_is_only_noted_as_held_is_not_written() -> None:
    store = store_with(POOL)
    address = Addresses(store).assign(A, ONE)
    before, held = store.list(keys.IPAM), set[IPAddress]()

    Addresses(store).assign(A, ONE, held=held)
    Addresses(store).assign_fixed(A, ONE, address, held=held)

    assert held == {address}
    assert store.list(keys.IPAM) == before


def test_what_was_just_taken_back_is_not_begun_to_be_used() -> None:
    addresses = Addresses(store_with(POOL))
    held = {addresses.assign(A, ONE)}
    addresses.release(ONE, *held)

    with pytest.raises(Conflict, match="taken back"):
        addresses.renew(ONE, held)


def test_each_family_has_its_own_address() -> None:
    addresses = Addresses(store_with(POOL, POOL6))
    four, six = addresses.assign(A, ONE), addresses.assign(A, ONE, version=6)
    assert six in POOL6.cidr
    assert ipam.block_of(six).prefixlen == 122
    assert addresses.held_by(ONE) == (four, six)
    assert addresses.assign(A, ONE, version=6) == six


def test_a_full_block_is_followed_by_another_one() -> None:
    store = store_with(Pool(IPNetwork("10.1.0.0/25")))
    addresses = Addresses(store)
    found = [addresses.assign(A, HandleId(f"t.{number}")) for number in range(65)]
    assert len(set(found)) == 65
    assert {block.affinity for block, _ in addresses.blocks()} == {A}
    assert len(addresses.blocks()) == 2


def test_a_host_without_a_block_left_borrows() -> None:
    store = store_with(SMALL)
    addresses = Addresses(store)
    addresses.assign(A, ONE)
    borrowed = addresses.assign(B, TWO)
    assert block_at(store, borrowed).affinity == A
    assert store.list(keys.affinity_dir(B, 4)).entries == ()


def test_strict_affinity_forbids_borrowing() -> None:
    addresses = Addresses(store_with(SMALL, config=IpamConfig(True, strict_affinity=True)))
    address = addresses.assign(A, ONE)
    with pytest.raises(PoolExhausted):
        addresses.assign(B, TWO)
    with pytest.raises(AddressOutsidePools, match="host-a"):
        addresses.assign_fixed(B, TWO, address + 1)


def test_an_exhausted_pool_is_named() -> None:
    addresses = Addresses(store_with(SMALL))
    for number in range(64):
        addresses.assign(A, HandleId(f"t.{number}"))
    with pytest.raises(PoolExhausted, match=r"10\.1\.0\.0/26"):
        addresses.assign(A, ONE)
    assert addresses.held_by(ONE) == ()
    assert addresses.release(HandleId("t.7"), IPAddress("10.1.0.7"))
    assert addresses.assign(B, ONE) == IPAddress("10.1.0.7")


@pytest.mark.parametrize(
    "pools",
    [
        pytest.param((), id="none"),
        pytest.param((POOL6,), id="of the other family"),
        pytest.param((Pool(POOL.cidr, disabled=True),), id="disabled"),
        pytest.param((Pool(POOL.cidr, ipam=False),), id="not for us to give out of"),
        pytest.param((Pool(IPNetwork("10.1.0.0/27")),), id="smaller than a block"),
    ],
)
def test_without_a_usable_pool_there_is_no_address(pools: tuple[Pool, ...]) -> None:
    addresses = Addresses(store_with(*pools))
    with pytest.raises(PoolExhausted, match="no IPv4 pool"):
        addresses.assign(A, ONE)
    with pytest.raises(AddressOutsidePools):
        addresses.assign_fixed(A, ONE, IPAddress("10.1.0.5"))


def test_a_pool_that_was_disabled_keeps_its_addresses_and_gives_no_more() -> None:
    store = store_with(POOL)
    addresses = Addresses(store)
    address = addresses.assign(A, ONE)
    store.put(keys.pool_key(POOL), codec.encode_pool(Pool(POOL.cidr, disabled=True)))
    assert addresses.assign(A, ONE) == address
    with pytest.raises(PoolExhausted):
        addresses.assign(A, TWO)
    assert addresses.release(ONE, address)


def test_a_fixed_address_is_given_once_and_again_to_its_holder() -> None:
    addresses = Addresses(store_with(POOL))
    wanted = IPAddress("10.1.7.9")
    addresses.assign_fixed(A, ONE, wanted)
    addresses.assign_fixed(B, ONE, wanted)
    assert addresses.held_by(ONE) == (wanted,)
    assert addresses.holder(wanted) == ONE
    with pytest.raises(AddressTaken, match=r"10\.1\.7\.9"):
        addresses.assign_fixed(A, TWO, wanted)
    assert addresses.held_by(TWO) == ()
    assert addresses.assign(A, ONE) == wanted


def test_a_late_release_does_not_take_the_next_owner_s_address() -> None:
    addresses = Addresses(store_with(POOL))
    address = addresses.assign(A, ONE)
    assert addresses.release(ONE, address)
    addresses.assign_fixed(A, TWO, address)
    assert not addresses.release(ONE, address)
    assert addresses.held_by(TWO) == (address,)


def test_releasing_again_or_what_never_was_is_no_error() -> None:
    store = store_with(POOL)
    addresses = Addresses(store)
    address = addresses.assign(A, ONE)
    assert addresses.release(ONE, address)
    assert not addresses.release(ONE, address)
    assert not addresses.release(TWO, IPAddress("10.1.200.1"))
    assert store.get(keys.handle_key(ONE)) is None


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        pytest.param("k8s:a+b@c", 0, id="a name that etcd keeps"),
        pytest.param("a b%2f", None, id="one that is no key of ours to write"),
    ],
)
def test_an_owner_of_another_allocator_may_have_any_name(name: str, counted: int | None) -> None:
    store = store_with(POOL)
    addresses, theirs = Addresses(store), HandleId(name)
    first = addresses.assign(A, HandleId("task.1"))
    block = block_at(store, first)
    held, address = ipam.allocate(block, theirs)
    store.put(keys.block_key(block.cidr), codec.encode_block(held))
    if counted is not None:
        store.put(keys.handle_key(theirs), codec.encode_handle(theirs, {block.cidr: 1}))
    assert addresses.release(theirs, address)
    assert addresses.holder(address) is None
    if counted is not None:
        assert store.get(keys.handle_key(theirs)) is None


def test_an_owner_of_ours_has_a_name_that_every_tool_takes() -> None:
    store = store_with(POOL)
    before = store.list(Key("/calico")).entries
    for give in (
        lambda: Addresses(store).assign(A, HandleId("k8s:a")),
        lambda: Addresses(store).assign_fixed(A, HandleId("k8s:a"), POOL.cidr[1]),
    ):
        with pytest.raises(InvalidName):
            give()
    assert store.list(Key("/calico")).entries == before


def test_a_freed_address_rests_longest() -> None:
    addresses = Addresses(store_with(SMALL))
    first = addresses.assign(A, ONE)
    addresses.release(ONE, first)
    following = [addresses.assign(A, HandleId(f"t.{number}")) for number in range(64)]
    assert following[-1] == first


def test_an_empty_block_of_nobody_is_removed() -> None:
    store = store_with(SMALL)
    addresses = Addresses(store)
    cidr = SMALL.cidr
    block, address = ipam.allocate(ipam.new_block(cidr, None), ONE)
    store.put(keys.block_key(cidr), codec.encode_block(block), expect=ABSENT)
    assert addresses.release(ONE, address)
    assert store.get(keys.block_key(cidr)) is None


def test_a_dangling_affinity_key_is_only_a_hint() -> None:
    store = store_with(POOL)
    addresses = Addresses(store)
    first = addresses.assign(A, ONE)
    # As after a crash of B between its two writes, when A won the block.
    store.put(keys.affinity_key(B, ipam.block_of(first)), "")
    second = addresses.assign(B, TWO)
    assert ipam.block_of(second) != ipam.block_of(first)
    assert block_at(store, second).affinity == B


def test_an_unreadable_block_is_left_alone() -> None:
    store = store_with(Pool(IPNetwork("10.1.0.0/25")))
    addresses = Addresses(store)
    for cidr in SMALL.cidr.subnet(26):
        store.put(keys.block_key(cidr), "{}")
        store.put(keys.affinity_key(A, cidr), "")
    address = addresses.assign(A, ONE)
    assert address in IPNetwork("10.1.0.64/26")
    with pytest.raises(InvalidValue):
        addresses.assign_fixed(A, TWO, IPAddress("10.1.0.1"))
    assert [block.cidr for block, _ in addresses.blocks()] == [IPNetwork("10.1.0.64/26")]


def test_calico_s_own_block_is_used_and_its_owners_stay() -> None:
    store = store_with(SMALL)
    foreign = HandleId("0cd47986-24ad-4c00-b9d3-5db9e5c02028")
    block, theirs = ipam.allocate(ipam.new_block(SMALL.cidr, B), foreign)
    store.put(keys.block_key(SMALL.cidr), codec.encode_block(block))
    ours = Addresses(store).assign(A, ONE)
    assert ours != theirs
    assert Addresses(store).holder(theirs) == foreign
