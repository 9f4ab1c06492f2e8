"""Which address next: pure functions on blocks.

Every ordinal of a block may be given out, the first and the last too: task
addresses are single hosts behind routes, not members of a subnet.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace

from netaddr import IPAddress, IPNetwork

from calico.addressing.blocks import BLOCK_SIZE, Allocation, Block
from calico.errors import AddressOutsidePools, AddressTaken, PoolExhausted
from calico.model import HandleId, HostName, Pool

Secondary = tuple[tuple[str, str], ...]

_BLOCK_BITS = 6
_PREFIX = {4: 32 - _BLOCK_BITS, 6: 128 - _BLOCK_BITS}


def new_block(cidr: IPNetwork, host: HostName | None, *, strict: bool = False) -> Block:
    """A block with nothing allocated, affine to a host."""
    return Block(
        cidr=cidr.cidr,
        affinity=host,
        allocations=(None,) * BLOCK_SIZE,
        unallocated=tuple(range(BLOCK_SIZE)),
        strict=strict,
    )


def block_of(address: IPAddress) -> IPNetwork:
    """The range of the block that an address belongs to."""
    return IPNetwork(f"{address}/{_PREFIX[address.version]}").cidr


def addresses_of(
    block: Block, handle: HandleId, given_on: HostName | None = None
) -> tuple[IPAddress, ...]:
    """What a handle holds in a block, see `Allocation.is_of`."""
    return tuple(
        block.cidr[ordinal]
        for ordinal, each in enumerate(block.allocations)
        if each is not None and each.is_of(handle, given_on)
    )


def allocation_of(block: Block, address: IPAddress) -> Allocation | None:
    """Who holds an address of this block; None if it is free."""
    return block.allocations[_ordinal(block, address)]


def allocate(block: Block, handle: HandleId, secondary: Secondary = ()) -> tuple[Block, IPAddress]:
    """Give out the address that has been free longest; PoolExhausted if none is."""
    if not block.unallocated:
        raise PoolExhausted(f"no free address is left in block {block.cidr}")
    ordinal = block.unallocated[0]
    return _with(block, ordinal, Allocation(handle, tuple(sorted(secondary)))), block.cidr[ordinal]


def allocate_fixed(
    block: Block, handle: HandleId, address: IPAddress, secondary: Secondary = ()
) -> Block:
    """Give out this address; again to the same handle changes nothing."""
    ordinal = _ordinal(block, address)
    found = block.allocations[ordinal]
    if found is None:
        return _with(block, ordinal, Allocation(handle, tuple(sorted(secondary))))
    if found.handle != handle:
        raise AddressTaken(f"address {address} is taken by {found.handle or 'an unnamed owner'}")
    return block


def release(block: Block, handle: HandleId | None, address: IPAddress) -> Block:
    """Take an address back from its holder; AddressTaken if another holds it.

    It goes to the end of the queue. Releasing what is free changes nothing.
    None is the holder without a name.
    """
    ordinal = _ordinal(block, address)
    found = block.allocations[ordinal]
    if found is None:
        return block
    if found.handle != handle:
        raise AddressTaken(f"address {address} is held by {found.handle}, not by {handle}")
    return replace(
        block,
        allocations=_set(block.allocations, ordinal, None),
        unallocated=(*block.unallocated, ordinal),
    )


def candidate_blocks(pool: Pool, host: HostName) -> Iterator[IPNetwork]:
    """All blocks of a pool once each, in an order that belongs to the host.

    Two processes of one host try the same block first, two hosts hardly ever.
    """
    count = _block_count(pool)
    seed = hashlib.sha256(f"{host} {pool.cidr}".encode()).digest()
    start = int.from_bytes(seed[:16])
    # An odd step visits every index of a power of two.
    step = int.from_bytes(seed[16:]) | 1
    return (_nth_block(pool, (start + index * step) % count) for index in range(count))


def is_full_of_blocks(pool: Pool, existing: Iterable[IPNetwork]) -> bool:
    """Whether every block of the pool is among those that exist."""
    return sum(1 for each in existing if each in pool.cidr) >= _block_count(pool)


def usable_pools(pools: Iterable[Pool], version: int) -> tuple[Pool, ...]:
    """The pools of one family that new addresses may come from."""
    return tuple(
        pool
        for pool in pools
        if pool.cidr.version == version
        and pool.ipam
        and not pool.disabled
        and pool.cidr.prefixlen <= _PREFIX[version]
    )


def _block_count(pool: Pool) -> int:
    spare = _PREFIX[pool.cidr.version] - pool.cidr.prefixlen
    return 1 << spare if spare >= 0 else 0


def _nth_block(pool: Pool, index: int) -> IPNetwork:
    version = pool.cidr.version
    first = IPAddress(pool.cidr.first + index * BLOCK_SIZE, version)
    return IPNetwork(f"{first}/{_PREFIX[version]}")


def _ordinal(block: Block, address: IPAddress) -> int:
    if address not in block.cidr:
        raise AddressOutsidePools(f"address {address} is not in block {block.cidr}")
    return int(address) - block.cidr.first


def _with(block: Block, ordinal: int, allocation: Allocation) -> Block:
    return replace(
        block,
        allocations=_set(block.allocations, ordinal, allocation),
        unallocated=tuple(each for each in block.unallocated if each != ordinal),
    )


def _set(
    allocations: tuple[Allocation | None, ...], ordinal: int, value: Allocation | None
) -> tuple[Allocation | None, ...]:
    return (*allocations[:ordinal], value, *allocations[ordinal + 1 :])
