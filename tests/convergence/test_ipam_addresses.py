"""Any number of allocators, any writes lost or late: no address has two holders.

Every write of one allocator may be lost before or after it was done, or land
only after it was given up, and others may act between any two of its steps.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork

from calico import codec, keys
from calico.addressing.addresses import Addresses
from calico.datastore.api import Key
from calico.datastore.memory import MemoryDatastore
from calico.errors import AddressError, Conflict, DatastoreUnavailable
from calico.model import HandleId, HostName, Pool
from tests.delegating_store import DelegatingStore

HOSTS = [HostName(f"host-{name}") for name in "abc"]
HANDLES = [HandleId(f"task.{number}") for number in range(6)]
# Two blocks for three hosts: claiming, losing races and borrowing all happen.
POOL = Pool(IPNetwork("10.1.0.0/25"))
FIXED = [IPAddress("10.1.0.1"), IPAddress("10.1.0.64"), IPAddress("10.1.0.127")]

T = TypeVar("T")
Fault = str
FAULTS: list[Fault] = [
    *["fine"] * 3,
    *("lost", "done but unanswered", "done late", "interrupted"),
]


class UnreliableDatastore(DelegatingStore):
    """A datastore whose writes go through a list of faults, then work."""

    def __init__(
        self, store: MemoryDatastore, faults: list[Fault], interrupt: Callable[[], None]
    ) -> None:
        super().__init__(store)
        self._faults: Iterator[Fault] = iter(faults)
        self._interrupt = interrupt
        self._late: Callable[[], object] = bool

    def settle(self) -> None:
        """Let what is still on its way arrive."""
        late, self._late = self._late, bool
        with suppress(Conflict):
            late()

    def write(self, verb: str, key: Key, write: Callable[[], T]) -> T:
        self.settle()
        fault = next(self._faults, "fine")
        if fault == "interrupted":
            self._interrupt()
        if fault == "lost":
            raise DatastoreUnavailable("lost on the way there")
        if fault == "done late":
            self._late = write
            raise DatastoreUnavailable("still on the way there")
        done = super().write(verb, key, write)
        if fault == "done but unanswered":
            raise DatastoreUnavailable("lost on the way back")
        return done


@dataclass(frozen=True)
class Operation:
    """What one caller asks for, and what happens to its writes meanwhile."""

    verb: str
    host: HostName
    handle: HandleId
    fixed: IPAddress
    faults: tuple[Fault, ...] = ()


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    return Operation(
        verb=draw(st.sampled_from(["assign", "assign", "fixed", "release"])),
        host=draw(st.sampled_from(HOSTS)),
        handle=draw(st.sampled_from(HANDLES)),
        fixed=draw(st.sampled_from(FIXED)),
        faults=tuple(draw(st.lists(st.sampled_from(FAULTS), max_size=6))),
    )


def new_store() -> MemoryDatastore:
    store = MemoryDatastore()
    store.put(keys.pool_key(POOL), codec.encode_pool(POOL))
    return store


def carry_out(store: MemoryDatastore, operation: Operation, others: Iterator[Operation]) -> None:
    def interrupt() -> None:
        other = next(others, None)
        if other is not None:
            carry_out(store, other, others)

    datastore = UnreliableDatastore(store, list(operation.faults), interrupt)
    addresses = Addresses(datastore)
    try:
        match operation.verb:
            case "assign":
                addresses.assign(operation.host, operation.handle)
            case "fixed":
                addresses.assign_fixed(operation.host, operation.handle, operation.fixed)
            case _:
                for address in addresses.held_by(operation.handle):
                    addresses.release(operation.handle, address)
    except (AddressError, DatastoreUnavailable):
        # Given up: the caller would try again, here nobody does.
        pass
    check(store)
    datastore.settle()
    check(store)


def check(store: MemoryDatastore) -> None:
    """Every block is readable, and no handle is counted too low."""
    stored_blocks = store.list(keys.BLOCKS).entries
    blocks = Addresses(store).blocks()
    assert len(blocks) == len(stored_blocks)
    for block, _ in blocks:
        for handle in {each.handle for each in block.allocations if each is not None}:
            assert handle is not None
            held = sum(1 for each in block.allocations if each and each.handle == handle)
            stored = store.get(keys.handle_key(handle))
            assert stored is not None, f"{handle} holds addresses and has no key"
            assert codec.decode_handle(handle, stored.value).get(block.cidr, 0) >= held


@settings(max_examples=150, deadline=None)
@given(st.lists(operations(), max_size=25))
def test_the_books_balance_after_every_operation(planned: list[Operation]) -> None:
    store = new_store()
    others = iter(planned)
    for operation in others:
        carry_out(store, operation, others)


@settings(max_examples=100, deadline=None)
@given(st.lists(operations(), max_size=20), st.sampled_from(HANDLES))
def test_one_who_tries_again_has_one_address_and_keeps_it(
    planned: list[Operation], handle: HandleId
) -> None:
    store = new_store()
    others = iter([each for each in planned if each.handle != handle])
    for operation in planned:
        asking = Operation("assign", operation.host, handle, FIXED[0], operation.faults)
        carry_out(store, asking, others)
    address = Addresses(store).assign(HOSTS[0], handle)
    assert Addresses(store).held_by(handle) == (address,)
    assert Addresses(store).holder(address) == handle
    assert Addresses(store).assign(HOSTS[1], handle) == address


@settings(max_examples=100, deadline=None)
@given(st.lists(operations(), max_size=20))
def test_what_is_released_until_it_succeeds_leaves_nothing_held(
    planned: list[Operation],
) -> None:
    store = new_store()
    others = iter(planned)
    for operation in others:
        carry_out(store, operation, others)
    addresses = Addresses(store)
    for handle in HANDLES:
        for address in addresses.held_by(handle):
            assert addresses.release(handle, address)
    assert all(not any(block.allocations) for block, _ in addresses.blocks())
