"""Traps of pools, blocks and handles; see `traps`."""

import json
from typing import Any

import pytest
from netaddr import IPAddress, IPNetwork

from calico import codec, keys
from calico.addressing import ipam
from calico.addressing.addresses import Addresses
from calico.addressing.blocks import Allocation, IpamConfig
from calico.datastore.memory import MemoryDatastore
from calico.errors import AddressTaken, InvalidValue, PoolExhausted
from calico.model import HandleId, HostName, Pool
from tests.unit.families import go_family, pycalico
from tests.unit.families.meaning import RefusedError

HOST = HostName("h")
FIRST, SECOND = HandleId("task.1"), HandleId("task.2")
SMALL = Pool(IPNetwork("10.1.0.0/26"))
ADDRESS = IPAddress("10.1.0.5")


def store_with(pool: Pool) -> MemoryDatastore:
    store = MemoryDatastore()
    store.put(keys.pool_key(pool), codec.encode_pool(pool))
    return store


def block_text(**changes: Any) -> str:
    """A block with one address held, as text."""
    block, _ = ipam.allocate(ipam.new_block(SMALL.cidr, HOST), FIRST)
    return json.dumps(json.loads(codec.encode_block(block)) | changes)


def test_a_disabled_pool_gives_no_address() -> None:
    store = store_with(Pool(SMALL.cidr, disabled=True))
    with pytest.raises(PoolExhausted):
        Addresses(store).assign(HOST, FIRST)


@pytest.mark.parametrize(
    ("theirs", "others"),
    [("strict_affinity", "strictAffinity"), ("strictAffinity", "strict_affinity")],
)
def test_a_block_is_strict_in_either_spelling_and_written_in_both(theirs: str, others: str) -> None:
    value = json.loads(block_text(**{theirs: True}))
    del value[others]
    text = json.dumps(value)
    assert {pycalico.block(text).strict, go_family.block(text).strict} == {True, False}
    ours = codec.encode_block(codec.decode_block(SMALL.cidr, text))
    assert pycalico.block(ours).strict
    assert go_family.block(ours).strict


def test_an_owner_as_the_documentation_spells_it_is_nobody_and_keeps_its_address() -> None:
    text = block_text(attributes=[{"primary": FIRST, "secondary": {}}])
    block = codec.decode_block(SMALL.cidr, text)
    held = SMALL.cidr[0]
    assert ipam.allocation_of(block, held) == Allocation(None)
    with pytest.raises(AddressTaken):
        ipam.release(block, FIRST, held)
    assert '"primary"' not in block_text()


def test_attributes_of_an_address_are_text() -> None:
    text = block_text(attributes=[{"handle_id": FIRST, "secondary": {"rack": 1}}])
    with pytest.raises(RefusedError, match="map"):
        go_family.block(text)
    with pytest.raises(InvalidValue):
        codec.decode_block(SMALL.cidr, text)
    block, _ = ipam.allocate(ipam.new_block(SMALL.cidr, HOST), FIRST, (("rack", "1"),))
    assert go_family.block(codec.encode_block(block)).holders[0] == (
        FIRST,
        frozenset({("rack", "1")}),
    )


def test_a_handle_has_its_id_inside() -> None:
    theirs = json.dumps({"block": {str(SMALL.cidr): 1}})
    with pytest.raises(RefusedError, match="id"):
        pycalico.handle(theirs)
    counts = codec.decode_handle(FIRST, theirs)
    assert pycalico.handle(codec.encode_handle(FIRST, counts)) == (FIRST, {"10.1.0.0/26": 1})


def test_too_few_addresses_are_an_error() -> None:
    addresses = Addresses(store_with(SMALL))
    given = {addresses.assign(HOST, HandleId(f"task.{number}")) for number in range(64)}
    assert len(given) == 64
    with pytest.raises(PoolExhausted):
        addresses.assign(HOST, HandleId("task.64"))


def test_a_fixed_address_is_assigned_twice_as_once() -> None:
    store = store_with(SMALL)
    for _ in range(2):
        Addresses(store).assign_fixed(HOST, FIRST, ADDRESS)
    stored = store.get(keys.handle_key(FIRST))
    assert stored is not None
    assert codec.decode_handle(FIRST, stored.value) == {SMALL.cidr: 1}
    with pytest.raises(AddressTaken):
        Addresses(store).assign_fixed(HOST, SECOND, ADDRESS)


def test_the_choice_for_blocks_is_written_in_full_and_read_with_gaps() -> None:
    theirs = '{"strict_affinity": true}'
    assert go_family.ipam_config(theirs) == (False, True)
    with pytest.raises(RefusedError, match="auto_allocate_blocks"):
        pycalico.ipam_config(theirs)
    config = codec.decode_ipam_config(theirs)
    assert config == IpamConfig(auto_allocate_blocks=False, strict_affinity=True)
    assert pycalico.ipam_config(codec.encode_ipam_config(config)) == (False, True)


def test_a_late_release_leaves_the_next_owner_alone() -> None:
    store = store_with(SMALL)
    addresses = Addresses(store)
    addresses.assign_fixed(HOST, FIRST, ADDRESS)
    assert addresses.release(FIRST, ADDRESS)
    addresses.assign_fixed(HOST, SECOND, ADDRESS)
    assert not addresses.release(FIRST, ADDRESS)
    assert addresses.holder(ADDRESS) == SECOND
