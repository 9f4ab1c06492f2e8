"""What every address of the pools is, and where the books do not agree; pure."""

import enum
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import assert_never

from netaddr import IPAddress, IPNetwork

from calico.addressing.blocks import OWNER, Allocation, Block
from calico.addressing.books import Books
from calico.keys import parse_block_key, parse_handle_key
from calico.model import EndpointId, EndpointSpec, HandleId, HostName, Pool, TaskId
from calico.names import endpoint_of_task


class AddressState(enum.Enum):
    """What an address is; each is exactly one of these.

    RESTING is ours, without a task, and will be given back. FOREIGN is another
    orchestrator's. LEAKED is held by somebody whom nobody knows, and nothing
    will give it back.
    """

    FREE = "free"
    ASSIGNED = "assigned"
    RESTING = "resting"
    FOREIGN = "foreign"
    LEAKED = "leaked"


@dataclass(frozen=True, slots=True)
class Standing:
    """Who stands behind addresses: endpoints, tasks that are known, and hosts.

    Agents take back by themselves what no task claimed of what they gave to
    containers, as long as their host is among `hosts`; of `forgotten` ones
    nobody else would.
    """

    users: Mapping[IPAddress, tuple[EndpointId, ...]] = field(default_factory=dict)
    with_endpoint: Collection[TaskId] = frozenset()
    tasks: Collection[TaskId] = frozenset()
    hosts: Collection[HostName] = frozenset()
    forgotten: Collection[HostName] = frozenset()

    def state_of(self, allocation: Allocation, address: IPAddress) -> AddressState:
        """What an address that is given out is."""
        ours = OWNER in allocation.secondary
        if address in self.users:
            return AddressState.ASSIGNED if ours else AddressState.FOREIGN
        if allocation.handle is None:
            # Calico gives its tunnels addresses without a handle.
            return AddressState.LEAKED if ours else AddressState.FOREIGN
        if not ours:
            return AddressState.LEAKED
        if allocation.unclaimed:
            return self._of_container(allocation.host)
        task = TaskId(allocation.handle)
        # A task whose endpoint has another address never came to use this one.
        if task in self.with_endpoint or task not in self.tasks:
            return AddressState.RESTING
        return AddressState.ASSIGNED

    def _of_container(self, host: HostName | None) -> AddressState:
        """What an address is that no task claimed: never free under a live container."""
        if host in self.hosts:
            return AddressState.ASSIGNED
        return AddressState.RESTING if host in self.forgotten else AddressState.LEAKED


def standing(
    specs: Iterable[EndpointSpec],
    tasks: Collection[TaskId],
    hosts: Collection[HostName] = frozenset(),
    forgotten: Collection[HostName] = frozenset(),
) -> Standing:
    """Who stands behind addresses, by every endpoint, task and host that is known."""
    users: dict[IPAddress, list[EndpointId]] = {}
    with_endpoint = set()
    for spec in specs:
        for address in spec.addresses:
            users.setdefault(address, []).append(spec.id)
        task = TaskId(spec.id.workload)
        # Another plugin's endpoint for the same task says nothing of ours.
        if spec.id == endpoint_of_task(spec.id.host, task):
            with_endpoint.add(task)
    return Standing(
        users={address: tuple(sorted(found)) for address, found in users.items()},
        with_endpoint=frozenset(with_endpoint),
        tasks=tasks,
        hosts=hosts,
        forgotten=forgotten,
    )


@dataclass(frozen=True, slots=True)
class HeldAddress:
    """One address that is given out; `users` are the endpoints that have it."""

    address: IPAddress
    block: IPNetwork
    state: AddressState
    allocation: Allocation
    users: tuple[EndpointId, ...] = ()


def held_addresses(books: Books, who: Standing) -> tuple[HeldAddress, ...]:
    """Every address that a readable block gave out, in order."""
    return tuple(
        HeldAddress(
            address=address,
            block=cidr,
            state=who.state_of(allocation, address),
            allocation=allocation,
            users=users,
        )
        for cidr, block in sorted(books.blocks.items())
        for number, allocation in enumerate(block.allocations, block.cidr.first)
        if allocation is not None
        for address in (IPAddress(number, cidr.version),)
        for users in (who.users.get(address, ()),)
    )


def resting_addresses(
    blocks: Iterable[Block], who: Standing
) -> Iterator[tuple[IPAddress, Allocation]]:
    """Those of `held_addresses` that rest, without a look at what others hold."""
    for block in blocks:
        for number, allocation in enumerate(block.allocations, block.cidr.first):
            if allocation is None or OWNER not in allocation.secondary:
                continue
            address = IPAddress(number, block.cidr.version)
            if who.state_of(allocation, address) is AddressState.RESTING:
                yield address, allocation


@dataclass(frozen=True, slots=True)
class PoolUse:
    """How many addresses of a pool are what; the counts add up to its size."""

    pool: Pool
    blocks: int
    counts: Mapping[AddressState, int]


def pool_use(pool: Pool, books: Books, who: Standing, held: Iterable[HeldAddress]) -> PoolUse:
    """The sums of one pool.

    Of a block that cannot be read nothing is given out, and nothing comes back.
    """
    # A pool may have been made smaller than the blocks that it once gave.
    counts = Counter(each.state for each in held if each.address in pool.cidr)
    blocks = sum(1 for cidr in books.blocks if _shared(cidr, pool.cidr))
    for cidr in unreadable_blocks(books):
        shared = _shared(cidr, pool.cidr)
        if shared:
            blocks += 1
            used = sum(1 for address in who.users if address in cidr and address in pool.cidr)
            counts[AddressState.ASSIGNED] += used
            counts[AddressState.LEAKED] += shared - used
    counts[AddressState.FREE] = pool.cidr.size - counts.total()
    return PoolUse(pool, blocks, {state: counts[state] for state in AddressState})


def _shared(one: IPNetwork, other: IPNetwork) -> int:
    """How many addresses two networks have in common."""
    return min(one.size, other.size) if one in other or other in one else 0


@dataclass(frozen=True, slots=True)
class Miscounted:
    """A handle counts other than it holds in one block; `ours` to mend."""

    handle: HandleId
    block: IPNetwork
    counted: int
    held: int
    ours: bool


@dataclass(frozen=True, slots=True)
class DanglingAffinity:
    """A host claims a block that is not its own, or does not exist."""

    host: HostName
    block: IPNetwork


@dataclass(frozen=True, slots=True)
class UnlistedBlock:
    """A block is kept for a host that does not claim it, and so never finds it."""

    host: HostName
    block: IPNetwork


@dataclass(frozen=True, slots=True)
class AbandonedBlock:
    """A block is kept for nobody and holds nothing."""

    block: IPNetwork


Drift = Miscounted | DanglingAffinity | UnlistedBlock | AbandonedBlock


def is_ours(drift: Drift, hosts: Collection[HostName]) -> bool:
    """Whether it is the controller's to mend; `hosts` are those whose agents are ours."""
    match drift:
        case Miscounted(ours=ours):
            return ours
        case DanglingAffinity(host) | UnlistedBlock(host):
            return host in hosts
        case AbandonedBlock():
            return True
        case _:
            assert_never(drift)


def drifts(books: Books) -> tuple[Drift, ...]:
    """Where handles, affinity keys and blocks differ, as a crash may leave them."""
    return (*_miscounted(books), *_affinity_drifts(books))


def _miscounted(books: Books) -> Iterator[Miscounted]:
    held: dict[tuple[HandleId, IPNetwork], int] = {}
    foreign: set[tuple[HandleId, IPNetwork]] = set()
    for cidr, block in books.blocks.items():
        in_block: Counter[HandleId] = Counter()
        others: set[HandleId] = set()
        for allocation in block.allocations:
            if allocation is not None and allocation.handle is not None:
                in_block[allocation.handle] += 1
                if OWNER not in allocation.secondary:
                    others.add(allocation.handle)
        held.update(((handle, cidr), count) for handle, count in in_block.items())
        foreign.update((handle, cidr) for handle in others)
    counted = {
        (handle, cidr): count
        for handle, each in books.handles.items()
        for cidr, count in each.counts.items()
        if not books.is_unreadable(cidr)
    }
    unclear = {parse_handle_key(key) for key in books.unreadable}
    for handle, cidr in sorted(held.keys() | counted.keys()):
        told, has = counted.get((handle, cidr), 0), held.get((handle, cidr), 0)
        if told == has or handle in unclear:
            continue
        known = books.handles.get(handle)
        ours = known is not None and known.ours if told > has else (handle, cidr) not in foreign
        yield Miscounted(handle=handle, block=cidr, counted=told, held=has, ours=ours)


def _affinity_drifts(books: Books) -> Iterator[Drift]:
    for host, cidr in sorted(books.affinities):
        block = books.blocks.get(cidr)
        if not books.is_unreadable(cidr) and (block is None or block.affinity != host):
            yield DanglingAffinity(host, cidr)
    for cidr, block in sorted(books.blocks.items()):
        if block.affinity is None:
            if not any(block.allocations):
                yield AbandonedBlock(cidr)
        elif (block.affinity, cidr) not in books.affinities:
            yield UnlistedBlock(block.affinity, cidr)


def unreadable_blocks(books: Books) -> tuple[IPNetwork, ...]:
    """The ranges of blocks that say nothing of their addresses."""
    found = map(parse_block_key, books.unreadable)
    return tuple(sorted(cidr for cidr in found if cidr is not None))


def lent_to_containers(books: Books, host: HostName) -> tuple[IPNetwork, ...]:
    """Blocks of others in which a host's containers hold what no task claimed."""
    return tuple(
        sorted(
            cidr
            for cidr, block in books.blocks.items()
            if block.affinity != host
            and any(
                each is not None and each.unclaimed and each.is_given_on(host)
                for each in block.allocations
            )
        )
    )
