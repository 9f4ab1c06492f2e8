"""Which address a task gets, in memory and on a real etcd."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from calico import codec, keys
from calico.addressing import ipam
from calico.addressing.addresses import Addresses
from calico.addressing.audit import drifts
from calico.addressing.blocks import Block, IpamConfig
from calico.addressing.books import decode_books
from calico.addressing.ledger import Ledger
from calico.datastore.api import ABSENT, Datastore, Key
from calico.errors import AddressOutsidePools, AddressTaken, PoolExhausted
from calico.model import HandleId, HostName, Pool
from tests.contract.conftest import Store

A, B = HostName("host-a"), HostName("host-b")
ONE, TWO = HandleId("task.1"), HandleId("task.2")
#: One block, two blocks, and a pool of the other family.
ONE_BLOCK, TWO_BLOCKS = Pool(IPNetwork("10.1.0.0/26")), Pool(IPNetwork("10.1.0.0/25"))
POOL6 = Pool(IPNetwork("fd80:24e2:f998:72d6::/64"))
ELSEWHERE = Pool(IPNetwork("10.2.0.0/25"))
STRICT = IpamConfig(auto_allocate_blocks=True, strict_affinity=True)


@pytest.fixture
def datastore(store: Store) -> Iterator[Datastore]:
    """A store with nothing of Calico's."""
    yield store.datastore
    store.remove_tree(Key("/calico"))


def put_pools(datastore: Datastore, *pools: Pool) -> None:
    for pool in pools:
        datastore.put(keys.pool_key(pool), codec.encode_pool(pool))


def configure(datastore: Datastore, config: IpamConfig) -> None:
    datastore.put(keys.ipam_config_key(), codec.encode_ipam_config(config))


def block_of(datastore: Datastore, address: IPAddress) -> Block:
    cidr = ipam.block_of(address)
    stored = datastore.get(keys.block_key(cidr))
    assert stored is not None
    return codec.decode_block(cidr, stored.value)


def change_block(datastore: Datastore, cidr: IPNetwork, **changed: object) -> None:
    """What another tool writes of a block."""
    stored = datastore.get(keys.block_key(cidr))
    assert stored is not None
    datastore.put(stored.key, json.dumps(json.loads(stored.value) | changed))


def fill(addresses: Addresses, host: HostName, count: int, name: str = "t") -> list[IPAddress]:
    return [addresses.assign(host, HandleId(f"{name}.{number}")) for number in range(count)]


def books_agree(datastore: Datastore) -> bool:
    return drifts(decode_books(datastore.list(keys.IPAM).entries)) == ()


def test_a_hosts_own_blocks_come_first_then_new_ones_then_those_of_others(
    datastore: Datastore,
) -> None:
    put_pools(datastore, TWO_BLOCKS)
    addresses = Addresses(datastore)
    first = fill(addresses, A, 64)
    assert len({ipam.block_of(each) for each in first}) == 1
    (new,) = fill(addresses, A, 1, "next")
    assert ipam.block_of(new) != ipam.block_of(first[0])
    assert block_of(datastore, new).affinity == A
    (borrowed,) = fill(addresses, B, 1, "other")
    assert block_of(datastore, borrowed).affinity == A
    assert books_agree(datastore)


@pytest.mark.parametrize("spelling", ["strict_affinity", "strictAffinity"])
def test_a_block_that_either_family_made_strict_is_not_borrowed_from(
    datastore: Datastore, spelling: str
) -> None:
    put_pools(datastore, ONE_BLOCK)
    addresses = Addresses(datastore)
    taken = addresses.assign(A, ONE)
    both = {"strict_affinity": False, "strictAffinity": False}
    change_block(datastore, ONE_BLOCK.cidr, **(both | {spelling: True}))
    with pytest.raises(PoolExhausted):
        addresses.assign(B, TWO)
    with pytest.raises(AddressOutsidePools, match="kept for host host-a"):
        addresses.assign_fixed(B, TWO, taken + 1)
    assert addresses.held_by(TWO) == ()
    assert addresses.assign(A, HandleId("task.3")) in ONE_BLOCK.cidr


def test_a_new_block_is_as_strict_as_the_cluster_in_both_spellings(datastore: Datastore) -> None:
    put_pools(datastore, TWO_BLOCKS)
    configure(datastore, STRICT)
    addresses = Addresses(datastore)
    address = addresses.assign(A, ONE)
    addresses.assign_fixed(B, TWO, address + (64 if address in ONE_BLOCK.cidr else -64))
    for stored in datastore.list(keys.BLOCKS).entries:
        value = json.loads(stored.value)
        assert value["strict_affinity"] is value["strictAffinity"] is True


def test_a_strict_cluster_lends_nothing(datastore: Datastore) -> None:
    put_pools(datastore, ONE_BLOCK)
    configure(datastore, STRICT)
    addresses = Addresses(datastore)
    taken = addresses.assign(A, ONE)
    with pytest.raises(PoolExhausted):
        addresses.assign(B, TWO)
    with pytest.raises(AddressOutsidePools):
        addresses.assign_fixed(B, TWO, taken + 1)
    addresses.assign_fixed(A, TWO, taken + 1)


def test_a_cluster_that_became_strict_lends_nothing_of_older_blocks(datastore: Datastore) -> None:
    # A block also loses its own flag when the other family of tools writes it.
    put_pools(datastore, ONE_BLOCK)
    addresses = Addresses(datastore)
    taken = addresses.assign(A, ONE)
    assert not block_of(datastore, taken).strict
    configure(datastore, STRICT)
    with pytest.raises(PoolExhausted):
        addresses.assign(B, TWO)
    with pytest.raises(AddressOutsidePools):
        addresses.assign_fixed(B, TWO, taken + 1)
    assert addresses.held_by(TWO) == ()


class Overtaken:
    """A store in which another host is first with every block that is claimed."""

    def __init__(self, store: Datastore) -> None:
        self._store = store
        self.lost = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def put(self, key: Key, value: str, **how: int) -> object:
        cidr = keys.parse_block_key(key)
        if cidr is not None and how.get("expect") == ABSENT:
            self.lost += 1
            Ledger(self._store).claim(A, cidr, strict=True)
        return self._store.put(key, value, **how)


def test_a_block_that_another_host_claimed_first_is_left_to_it(datastore: Datastore) -> None:
    put_pools(datastore, TWO_BLOCKS)
    configure(datastore, STRICT)
    late = Overtaken(datastore)
    with pytest.raises(PoolExhausted):
        Addresses(late).assign(B, TWO)
    with pytest.raises(AddressOutsidePools):
        Addresses(late).assign_fixed(B, TWO, ONE_BLOCK.cidr[7])
    assert late.lost == 2
    assert datastore.list(keys.affinity_dir(B, 4)).entries == ()
    assert Addresses(datastore).held_by(TWO) == ()
    assert books_agree(datastore)


@pytest.mark.parametrize(
    ("text", "config"),
    [
        pytest.param("{}", IpamConfig(False, False), id="Go wrote that both are false"),
        pytest.param(
            '{"auto_allocate_blocks": true}', IpamConfig(True, False), id="Go wrote the default"
        ),
        pytest.param('{"strict_affinity": true}', IpamConfig(False, True), id="Go wrote the other"),
    ],
)
def test_what_the_config_lacks_is_false(
    datastore: Datastore, text: str, config: IpamConfig
) -> None:
    put_pools(datastore, TWO_BLOCKS)
    addresses = Addresses(datastore)
    datastore.put(keys.ipam_config_key(), text)
    assert codec.decode_ipam_config(text) == config
    if config.auto_allocate_blocks:
        addresses.assign(A, ONE)
    else:
        with pytest.raises(PoolExhausted):
            addresses.assign(A, ONE)
        assert datastore.list(keys.BLOCKS).entries == ()


def test_without_new_blocks_a_host_borrows_at_once(datastore: Datastore) -> None:
    put_pools(datastore, TWO_BLOCKS)
    addresses = Addresses(datastore)
    lent = addresses.assign(A, ONE)
    configure(datastore, IpamConfig(auto_allocate_blocks=False))
    assert ipam.block_of(addresses.assign(B, TWO)) == ipam.block_of(lent)


@pytest.mark.parametrize(
    ("pool", "address"),
    [
        pytest.param(TWO_BLOCKS, "10.1.0.99", id="IPv4"),
        pytest.param(POOL6, "fd80:24e2:f998:72d6::99", id="IPv6"),
    ],
)
def test_a_fixed_address_of_no_block_makes_its_block_the_hosts(
    datastore: Datastore, pool: Pool, address: str
) -> None:
    put_pools(datastore, pool)
    addresses, wanted = Addresses(datastore), IPAddress(address)
    addresses.assign_fixed(A, ONE, wanted)
    assert block_of(datastore, wanted).affinity == A
    assert addresses.held_by(ONE) == (wanted,)
    # The rest of the block is the host's to give.
    assert ipam.block_of(addresses.assign(A, TWO, version=wanted.version)) == ipam.block_of(wanted)
    assert books_agree(datastore)


def test_a_fixed_address_may_be_of_another_hosts_block(datastore: Datastore) -> None:
    put_pools(datastore, ONE_BLOCK)
    addresses = Addresses(datastore)
    wanted = addresses.assign(A, ONE) + 1
    addresses.assign_fixed(B, TWO, wanted)
    assert block_of(datastore, wanted).affinity == A
    assert addresses.holder(wanted) == TWO
    assert datastore.list(keys.affinity_dir(B, 4)).entries == ()


def test_a_fixed_address_is_its_holders_again_and_nobody_elses(datastore: Datastore) -> None:
    put_pools(datastore, TWO_BLOCKS)
    addresses, wanted = Addresses(datastore), IPAddress("10.1.0.99")
    addresses.assign_fixed(A, ONE, wanted)
    before = datastore.list(keys.IPAM).entries
    addresses.assign_fixed(A, ONE, wanted)
    # Its block is written anew, so that an older release of it comes too late.
    after = datastore.list(keys.IPAM).entries
    assert {(each.key, each.value) for each in after} == {(each.key, each.value) for each in before}
    assert [each.key for each in set(after) - set(before)] == [
        keys.block_key(ipam.block_of(wanted))
    ]
    with pytest.raises(AddressTaken, match=r"10\.1\.0\.99 is taken by task\.1"):
        addresses.assign_fixed(A, TWO, wanted)
    assert books_agree(datastore)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"disabled": True}, id="disabled"),
        pytest.param({"ipam": False}, id="not for IPAM"),
    ],
)
def test_a_pool_out_of_use_gives_nothing_new_and_keeps_what_it_gave(
    datastore: Datastore, change: dict[str, bool]
) -> None:
    put_pools(datastore, TWO_BLOCKS)
    addresses = Addresses(datastore)
    any_one = addresses.assign(A, ONE)
    fixed = any_one + 1
    addresses.assign_fixed(A, TWO, fixed)
    put_pools(datastore, replace(TWO_BLOCKS, **change))
    # Not from the host's own block, not from a new one, not borrowed, not by name.
    for host in (A, B):
        with pytest.raises(PoolExhausted):
            addresses.assign(host, HandleId("late"))
        with pytest.raises(AddressOutsidePools):
            addresses.assign_fixed(host, HandleId("late"), fixed + 1)
    assert addresses.assign(A, ONE) == any_one
    addresses.assign_fixed(A, TWO, fixed)
    assert addresses.release(TWO, fixed)
    put_pools(datastore, replace(TWO_BLOCKS, **change), ELSEWHERE)
    assert addresses.assign(A, HandleId("late")) in ELSEWHERE.cidr


@pytest.mark.parametrize(
    "pool",
    [
        pytest.param(Pool(IPNetwork("10.1.0.0/27")), id="IPv4"),
        pytest.param(Pool(IPNetwork("fd80::/123")), id="IPv6"),
    ],
)
def test_a_pool_smaller_than_a_block_gives_nothing(datastore: Datastore, pool: Pool) -> None:
    put_pools(datastore, pool)
    version = pool.cidr.version
    with pytest.raises(PoolExhausted, match=f"no IPv{version} pool"):
        Addresses(datastore).assign(A, ONE, version=version)
    with pytest.raises(AddressOutsidePools):
        Addresses(datastore).assign_fixed(A, ONE, pool.cidr[1])
    assert datastore.list(keys.IPAM).entries == ()


def test_a_task_has_one_address_of_each_family(datastore: Datastore) -> None:
    put_pools(datastore, TWO_BLOCKS, POOL6)
    addresses = Addresses(datastore)
    four, six = addresses.assign(A, ONE), addresses.assign(A, ONE, version=6)
    assert (four.version, six.version) == (4, 6)
    assert addresses.held_by(ONE) == (four, six)
    assert (addresses.assign(B, ONE), addresses.assign(B, ONE, version=6)) == (four, six)
    assert addresses.release(ONE, six)
    assert addresses.held_by(ONE) == (four,)
    assert books_agree(datastore)


def test_a_freed_address_is_given_last(datastore: Datastore) -> None:
    put_pools(datastore, ONE_BLOCK)
    addresses = Addresses(datastore)
    freed = addresses.assign(A, ONE)
    assert addresses.release(ONE, freed)
    assert block_of(datastore, freed).unallocated[-1] == int(freed) - ONE_BLOCK.cidr.first
    assert fill(addresses, A, 64)[-1] == freed


def test_an_address_that_is_anothers_by_now_is_not_released(datastore: Datastore) -> None:
    put_pools(datastore, ONE_BLOCK)
    addresses = Addresses(datastore)
    address = addresses.assign(A, ONE)
    assert addresses.release(ONE, address)
    addresses.assign_fixed(B, TWO, address)
    assert not addresses.release(ONE, address)
    assert addresses.holder(address) == TWO
    assert books_agree(datastore)


def test_an_owner_without_a_name_can_be_released_by_its_address(datastore: Datastore) -> None:
    put_pools(datastore, ONE_BLOCK)
    addresses = Addresses(datastore)
    address = addresses.assign(A, ONE)
    # As calico-node does for its tunnel.
    change_block(datastore, ONE_BLOCK.cidr, attributes=[{"handle_id": None, "secondary": {}}])
    assert not addresses.release(ONE, address)
    assert addresses.release(None, address)
    assert addresses.holder(address) is None
