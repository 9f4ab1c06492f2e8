"""Laws of the pure allocator: whatever is done to a block, its books balance."""

from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork

from calico import codec
from calico.addressing import ipam
from calico.addressing.blocks import BLOCK_SIZE, Allocation, Block
from calico.errors import AddressTaken, PoolExhausted
from calico.model import HandleId, HostName, Pool

RANGES = {4: IPNetwork("192.168.7.64/26"), 6: IPNetwork("fd80:24e2:f998:72d6::40/122")}
HANDLES = [HandleId(each) for each in ("one", "two", "three")]
HOST = HostName("host-a")

ordinals = st.integers(0, BLOCK_SIZE - 1)
handles = st.sampled_from(HANDLES)
secondaries = st.sampled_from([(), (("owner", "a"),), (("b", "2"), ("a", "1"))])
steps = st.one_of(
    st.tuples(st.just("allocate"), handles, secondaries),
    st.tuples(st.just("fixed"), handles, ordinals),
    st.tuples(st.just("release"), handles, ordinals),
)


def carry_out(block: Block, step: tuple[str, HandleId, object]) -> Block:
    """One step; what the allocator refuses changes nothing."""
    try:
        match step:
            case ("allocate", handle, tuple() as secondary):
                return ipam.allocate(block, handle, secondary)[0]
            case ("fixed", handle, int() as ordinal):
                return ipam.allocate_fixed(block, handle, block.cidr[ordinal])
            case ("release", handle, int() as ordinal):
                return ipam.release(block, handle, block.cidr[ordinal])
    except (AddressTaken, PoolExhausted):
        return block
    raise AssertionError(step)


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    """A block with any past."""
    block = ipam.new_block(RANGES[draw(st.sampled_from([4, 6]))], HOST)
    for step in draw(st.lists(steps, max_size=90)):
        block = carry_out(block, step)
    return block


@given(blocks())
def test_the_books_balance(block: Block) -> None:
    free = {ordinal for ordinal, each in enumerate(block.allocations) if each is None}
    assert len(block.allocations) == BLOCK_SIZE
    assert len(block.unallocated) == len(set(block.unallocated))
    assert set(block.unallocated) == free
    held = sum(1 for each in block.allocations if each is not None)
    assert held + len(block.unallocated) == BLOCK_SIZE


@given(blocks())
def test_a_block_survives_the_datastore(block: Block) -> None:
    assert codec.decode_block(block.cidr, codec.encode_block(block)) == block


@given(blocks(), handles, secondaries)
def test_an_address_is_given_once(
    block: Block, handle: HandleId, secondary: ipam.Secondary
) -> None:
    given_out = []
    while block.unallocated:
        block, address = ipam.allocate(block, handle, secondary)
        given_out.append(address)
    assert len(given_out) == len(set(given_out))
    assert all(address in block.cidr for address in given_out)


@given(blocks(), handles)
def test_releasing_what_was_allocated_restores_who_holds_what(
    block: Block, handle: HandleId
) -> None:
    if not block.unallocated:
        return
    changed, address = ipam.allocate(block, handle)
    assert ipam.allocation_of(changed, address) == Allocation(handle)
    back = ipam.release(changed, handle, address)
    assert back.allocations == block.allocations
    assert set(back.unallocated) == set(block.unallocated)
    assert back.cidr[back.unallocated[-1]] == address


@given(blocks(), handles, ordinals)
def test_an_address_rests_as_long_as_others_are_free(
    block: Block, handle: HandleId, ordinal: int
) -> None:
    before = block.unallocated
    freed = carry_out(block, ("release", handle, ordinal))
    for expected in before:
        freed, address = ipam.allocate(freed, handle)
        assert address == freed.cidr[expected]


@given(blocks(), handles, ordinals)
def test_only_the_holder_releases(block: Block, handle: HandleId, ordinal: int) -> None:
    held = block.allocations[ordinal]
    changed = carry_out(block, ("release", handle, ordinal))
    if held is not None and held.handle == handle:
        assert changed.allocations[ordinal] is None
    else:
        assert changed == block


@given(blocks(), handles, ordinals)
def test_a_fixed_address_is_given_again_to_its_holder(
    block: Block, handle: HandleId, ordinal: int
) -> None:
    once = carry_out(block, ("fixed", handle, ordinal))
    assert carry_out(once, ("fixed", handle, ordinal)) == once
    assert once.allocations[ordinal] is not None


@given(
    st.sampled_from(["10.0.0.0/16", "10.0.0.0/24", "10.0.0.0/26", "fd00::/112"]),
    st.text("abc-123.", min_size=1, max_size=12),
)
def test_a_host_s_walk_visits_every_block_of_the_pool_once(cidr: str, host: str) -> None:
    pool = Pool(IPNetwork(cidr))
    walk = list(ipam.candidate_blocks(pool, HostName(host)))
    assert len(walk) == len(set(walk))
    assert set(walk) == set(pool.cidr.subnet(122 if pool.cidr.version == 6 else 26))
    assert walk == list(ipam.candidate_blocks(pool, HostName(host)))


def test_two_hosts_walk_differently() -> None:
    pool = Pool(IPNetwork("10.0.0.0/16"))
    first = [next(ipam.candidate_blocks(pool, HostName(f"host-{each}"))) for each in range(20)]
    assert len(set(first)) > 15


def test_a_large_ipv6_pool_is_walked_lazily() -> None:
    pool = Pool(IPNetwork("fd80:24e2:f998:72d6::/64"))
    block = next(ipam.candidate_blocks(pool, HOST))
    assert block in pool.cidr
    assert block.prefixlen == 122


def test_a_pool_smaller_than_a_block_has_none() -> None:
    pool = Pool(IPNetwork("10.0.0.0/27"))
    assert list(ipam.candidate_blocks(pool, HOST)) == []
    assert ipam.usable_pools([pool], 4) == ()


def test_the_first_and_the_last_address_are_given_out() -> None:
    block = ipam.new_block(IPNetwork("10.0.0.0/26"), HOST)
    given_out = set()
    while block.unallocated:
        block, address = ipam.allocate(block, HANDLES[0])
        given_out.add(address)
    assert {IPAddress("10.0.0.0"), IPAddress("10.0.0.63")} <= given_out
