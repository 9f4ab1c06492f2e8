"""What is wrong with addresses, in sentences that name the remedy."""

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import assert_never

from netaddr import IPAddress

from calico.addressing import ipam
from calico.addressing.audit import (
    AbandonedBlock,
    AddressState,
    DanglingAffinity,
    Drift,
    HeldAddress,
    Miscounted,
    Standing,
    UnlistedBlock,
    drifts,
    is_ours,
)
from calico.addressing.books import Books
from calico.datastore.api import Key
from calico.model import ORCHESTRATOR, EndpointId, Pool, TaskId


class Kind(enum.Enum):
    """What a finding is about; the words are what tables and JSON show."""

    UNREADABLE = "unreadable"
    OVERLAP = "overlap"
    OUTSIDE_POOLS = "outside pools"
    DOUBLE_USE = "double use"
    NOT_ALLOCATED = "not allocated"
    WRONG_HOLDER = "wrong holder"
    LEAKED = "leaked"
    MISCOUNTED = "miscounted"
    AFFINITY = "affinity"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is not as it should be; `subject` is an address, a block or a key.

    What is `transient` is harmless, and a leader mends it within minutes: writes
    that came to nothing, or were not answered, leave it.
    """

    subject: str
    kind: Kind
    reason: str
    transient: bool = False


def find(
    pools: Iterable[Pool],
    books: Books,
    who: Standing,
    held: Iterable[HeldAddress],
    unreadable: Mapping[Key, str],
) -> tuple[Finding, ...]:
    """Everything that is wrong; `unreadable` are further keys that should be readable."""
    pools, held = tuple(pools), tuple(held)
    return (
        *(
            Finding(key, Kind.UNREADABLE, f"cannot be read: {reason}")
            for key, reason in sorted({**unreadable, **books.unreadable}.items())
        ),
        *_overlaps(pools),
        *_outside(pools, books),
        *_double_uses(who),
        *_not_allocated(pools, books, who),
        *(finding for each in held if (finding := _of_held(each, who)) is not None),
        *(_of_drift(each, who) for each in drifts(books)),
    )


def _overlaps(pools: Iterable[Pool]) -> Iterator[Finding]:
    for one, other in combinations(sorted(pools, key=lambda pool: pool.cidr), 2):
        if one.cidr in other.cidr or other.cidr in one.cidr:
            yield Finding(
                str(one.cidr), Kind.OVERLAP, f"overlaps pool {other.cidr}: their sums count twice"
            )


def _outside(pools: tuple[Pool, ...], books: Books) -> Iterator[Finding]:
    for cidr, block in sorted(books.blocks.items()):
        if any(block.allocations) and not any(cidr in pool.cidr for pool in pools):
            yield Finding(
                str(cidr), Kind.OUTSIDE_POOLS, "holds addresses, but belongs to no pool any more"
            )


def _double_uses(who: Standing) -> Iterator[Finding]:
    for address, users in sorted(who.users.items()):
        if len(users) > 1:
            names = ", ".join(map(_named, users))
            yield Finding(str(address), Kind.DOUBLE_USE, f"is given to several endpoints: {names}")


def _not_allocated(pools: tuple[Pool, ...], books: Books, who: Standing) -> Iterator[Finding]:
    for address, users in sorted(who.users.items()):
        cidr = ipam.block_of(address)
        block = books.blocks.get(cidr)
        if books.is_unreadable(cidr) or not _is_managed(address, pools):
            continue
        if block is None or ipam.allocation_of(block, address) is None:
            yield Finding(
                str(address),
                Kind.NOT_ALLOCATED,
                f"is used by {_named(users[0])}, but free: it may be given to another task"
                + _by_controller(_is_ours(users[0], who)),
            )


def _is_ours(user: EndpointId, who: Standing) -> bool:
    return user.orchestrator == ORCHESTRATOR and TaskId(user.workload) in who.tasks


def _is_managed(address: IPAddress, pools: tuple[Pool, ...]) -> bool:
    return any(pool.ipam and address in pool.cidr for pool in pools)


def _of_held(held: HeldAddress, who: Standing) -> Finding | None:
    handle = held.allocation.handle
    for user in held.users:
        ours = _is_ours(user, who)
        if user.workload != handle and (ours or held.state is AddressState.ASSIGNED):
            return Finding(
                str(held.address),
                Kind.WRONG_HOLDER,
                f"is used by {_named(user)}, but held by {handle or 'an unnamed owner'}",
            )
    if held.state is AddressState.LEAKED:
        return Finding(
            str(held.address),
            Kind.LEAKED,
            f"is held by {handle or 'an unnamed owner'}, and no endpoint has it; "
            f"`ipam release {held.address}` if that owner is gone",
        )
    return None


def _of_drift(drift: Drift, who: Standing) -> Finding:
    ours = is_ours(drift, frozenset((*who.hosts, *who.forgotten)))
    # A count that is too low hides an address from whoever looks for it.
    transient = ours and not (isinstance(drift, Miscounted) and drift.counted < drift.held)
    kind, reason = _described(drift)
    return Finding(str(drift.block), kind, reason + _by_controller(ours), transient)


def _described(drift: Drift) -> tuple[Kind, str]:
    match drift:
        case Miscounted(handle, _, counted, held):
            reason = f"handle {handle} counts {counted} addresses here and has {held}"
            return Kind.MISCOUNTED, reason
        case DanglingAffinity(host):
            return Kind.AFFINITY, f"host {host} claims it and does not have it"
        case UnlistedBlock(host):
            return Kind.AFFINITY, f"is kept for host {host}, which does not claim it"
        case AbandonedBlock():
            return Kind.ABANDONED, "is kept for nobody and holds nothing"
        case _:
            assert_never(drift)


def _by_controller(ours: bool) -> str:
    return "; the controller mends it within minutes" if ours else ""


def _named(endpoint: EndpointId) -> str:
    return f"{endpoint.workload} on {endpoint.host}"
