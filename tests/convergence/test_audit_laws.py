"""Laws of the audit: every address is exactly one thing, whatever the books say."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork

from calico import codec, keys
from calico.addressing import ipam
from calico.addressing.addresses import Addresses
from calico.addressing.audit import (
    AddressState,
    Standing,
    drifts,
    held_addresses,
    pool_use,
    resting_addresses,
    standing,
)
from calico.addressing.blocks import CONTAINER, ON_HOST, OWNER, Block
from calico.addressing.books import Books, decode_books
from calico.datastore.memory import MemoryDatastore
from calico.errors import AddressTaken
from calico.keys import block_key
from calico.model import (
    ContainerId,
    EndpointId,
    EndpointSpec,
    HandleId,
    HostName,
    InterfaceName,
    Pool,
    TaskId,
)
from calico.names import handle_of_container

POOL = Pool(IPNetwork("10.1.0.0/24"))
CIDRS = [IPNetwork(f"10.1.0.{first}/26") for first in (0, 64, 128, 192)]
HOSTS = [HostName("host-a"), HostName("host-b")]
HANDLES = [HandleId(f"task.{number}") for number in range(4)]
BOXES = [ContainerId("box-1"), ContainerId("box-2")]
ordinals = st.integers(0, 63)


@st.composite
def blocks(draw: st.DrawFn, cidr: IPNetwork) -> Block:
    """A block with a few owners, ours, others' and without a name."""
    block = ipam.new_block(cidr, draw(st.sampled_from([*HOSTS, None])))
    boxes = [handle_of_container(box) for box in BOXES]
    owned = st.tuples(ordinals, st.sampled_from([*HANDLES, *boxes, None]), st.booleans())
    for ordinal, handle, ours in draw(st.lists(owned, max_size=8)):
        secondary = [OWNER] if ours else []
        if draw(st.booleans()):
            host = draw(st.sampled_from(HOSTS))
            secondary += [(CONTAINER, draw(st.sampled_from(BOXES))), (ON_HOST, host)]
        try:
            block = ipam.allocate_fixed(block, handle, cidr[ordinal], tuple(secondary))
        except AddressTaken:
            continue
    return block


@st.composite
def books(draw: st.DrawFn) -> Books:
    chosen = draw(st.lists(st.sampled_from(CIDRS), unique=True))
    broken = draw(st.lists(st.sampled_from(CIDRS), unique=True, max_size=1))
    return Books(
        {cidr: draw(blocks(cidr)) for cidr in chosen if cidr not in broken},
        unreadable={block_key(cidr): "junk" for cidr in broken},
    )


@st.composite
def standings(draw: st.DrawFn) -> Standing:
    used = draw(st.dictionaries(st.sampled_from(HANDLES), st.sets(st.integers(0, 255), max_size=2)))
    specs = [
        EndpointSpec(
            EndpointId(HOSTS[0], draw(st.sampled_from(["mesos", "docker"])), handle, "0" * 32),
            InterfaceName("cali0"),
            None,
            tuple(IPAddress(POOL.cidr.first + offset) for offset in offsets),
        )
        for handle, offsets in used.items()
    ]
    return standing(
        specs,
        draw(st.frozensets(st.sampled_from([TaskId(h) for h in HANDLES]))),
        draw(st.frozensets(st.sampled_from(HOSTS))),
        draw(st.frozensets(st.sampled_from(HOSTS))),
    )


#: Of the blocks' own size, larger, and smaller, as an operator may make it later.
pools = st.sampled_from(
    [POOL, *(Pool(IPNetwork(cidr)) for cidr in ("10.1.0.0/23", "10.1.0.64/26", "10.1.0.16/28"))]
)


@given(pools, books(), standings())
def test_the_states_add_up_to_the_pool(pool: Pool, stored: Books, who: Standing) -> None:
    held = held_addresses(stored, who)
    use = pool_use(pool, stored, who, held)
    assert sum(use.counts.values()) == pool.cidr.size
    assert all(count >= 0 for count in use.counts.values())
    assert len({each.address for each in held}) == len(held)
    if not stored.unreadable:
        inside = Counter(each.state for each in held if each.address in pool.cidr)
        free = pool.cidr.size - inside.total()
        assert use.counts == {**dict.fromkeys(AddressState, 0), **inside, AddressState.FREE: free}


@given(books(), standings())
def test_what_rests_is_ours_and_nobody_stands_behind_it(stored: Books, who: Standing) -> None:
    for each in held_addresses(stored, who):
        if each.state is AddressState.RESTING:
            assert OWNER in each.allocation.secondary
            assert each.allocation.handle is not None
            assert each.users == ()


@given(books(), standings())
def test_what_rests_can_be_had_alone(stored: Books, who: Standing) -> None:
    among_all = {
        (each.address, each.allocation)
        for each in held_addresses(stored, who)
        if each.state is AddressState.RESTING
    }
    assert set(resting_addresses(stored.blocks.values(), who)) == among_all


@given(books(), standings())
def test_an_address_with_an_endpoint_is_in_use_by_us_or_by_others(
    stored: Books, who: Standing
) -> None:
    in_use = {AddressState.ASSIGNED, AddressState.FOREIGN}
    for each in held_addresses(stored, who):
        if each.users:
            assert each.state in in_use


@given(books(), standings(), st.sampled_from(HANDLES))
def test_a_task_that_is_known_loses_nothing_but_what_it_does_not_use(
    stored: Books, who: Standing, handle: HandleId
) -> None:
    known = Standing(who.users, frozenset(), frozenset((TaskId(handle),)))
    states = Counter(
        each.state
        for each in held_addresses(stored, known)
        if each.allocation.handle == handle and OWNER in each.allocation.secondary
    )
    assert states.keys() <= {AddressState.ASSIGNED}


deeds = st.lists(
    st.tuples(st.sampled_from(["assign", "release"]), st.sampled_from(HOSTS), st.integers(0, 9)),
    max_size=30,
)


@settings(max_examples=50, deadline=None)
@given(deeds)
def test_what_addresses_do_leaves_books_that_agree(
    planned: list[tuple[str, HostName, int]],
) -> None:
    store = MemoryDatastore()
    store.put(keys.pool_key(POOL), codec.encode_pool(POOL))
    addresses = Addresses(store)
    for verb, host, number in planned:
        handle = HandleId(f"task.{number}")
        if verb == "assign":
            addresses.assign(host, handle, secondary=(OWNER,))
        else:
            for address in addresses.held_by(handle):
                addresses.release(handle, address)
    assert drifts(decode_books(store.list(keys.IPAM).entries)) == ()
