"""A task takes over what its container was given before it ran.

All addresses of the container change hands, each block by one compare-and-swap.
The task's handle is counted before that and the container's counted less after
it, so that a crash in between leaves a handle that claims too much, never an
address that nobody counts. Claiming again takes up what an attempt left.
"""

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace

from netaddr import IPAddress, IPNetwork

from calico import codec
from calico.addressing.blocks import Allocation, Block
from calico.addressing.handles import ATTEMPTS, UNANSWERED, HandleKnownError, Handles, draw_text
from calico.addressing.ipam import Secondary
from calico.addressing.ledger import Ledger
from calico.datastore.api import Datastore, Revision
from calico.errors import Conflict, DatastoreUnavailable
from calico.keys import block_key
from calico.model import ContainerId, HandleId, HostName
from calico.names import handle_of_container

#: A block and its revision, as just read.
Found = tuple[Block, Revision]


@dataclass(frozen=True, slots=True)
class Claim:
    """Which container's addresses a handle takes over; only what `host` gave it counts.

    `marks` is what is written beside some addresses, beyond what is there.
    """

    container: ContainerId
    host: HostName
    taker: HandleId
    marks: Mapping[IPAddress, Secondary] = field(default_factory=dict)

    def turned(self, address: IPAddress, allocation: Allocation) -> Allocation:
        """The allocation as it is once claimed; as it is if it is not to be claimed."""
        if not allocation.unclaimed or not self._is_theirs(allocation):
            return allocation
        marks = dict(allocation.secondary) | dict(self.marks.get(address, ()))
        return Allocation(self.taker, tuple(sorted(marks.items())))

    def holds(self, allocation: Allocation) -> bool:
        """Whether it is claimed already."""
        return allocation.handle == self.taker and self._is_theirs(allocation)

    def _is_theirs(self, allocation: Allocation) -> bool:
        return allocation.container == self.container and allocation.is_given_on(self.host)


class Claims:
    """Carries claims out; safe to use anywhere, any number of times at once."""

    def __init__(self, datastore: Datastore, draw: Callable[[], str] = draw_text) -> None:
        """`draw` gives a text that no other writer has, to know one's own writes by."""
        self._datastore = datastore
        self._ledger = Ledger(datastore, draw)
        self._handles = Handles(datastore, draw)
        self._unsettled: dict[HandleId, dict[IPNetwork, int]] = {}

    def claim(
        self, claim: Claim, known: MutableMapping[IPNetwork, Found] | None = None
    ) -> tuple[IPAddress, ...]:
        """Every address of the container that the taker has now, in order; none if all are gone.

        `known` are blocks as just read, which saves reading them, and is kept
        in step with what is written; a stale one costs a lost swap. Raises
        DatastoreError, and InvalidValue if a block or handle concerned cannot
        be read.
        """
        known = {} if known is None else known
        given = self._handles.counts(handle_of_container(claim.container)) or {}
        blocks = {cidr: known.get(cidr) or self._ledger.block(cidr) for cidr in given}
        counted = {cidr: count for cidr, found in blocks.items() if (count := _open(claim, found))}
        for cidr in self._count(claim, counted):
            if cidr not in blocks:
                blocks[cidr] = self._ledger.block(cidr)
        addresses: list[IPAddress] = []
        for cidr, found in sorted(blocks.items()):
            turned = self._turn(claim, cidr, found, counted.get(cidr, 0))
            if turned is not None:
                known[cidr] = turned
                addresses.extend(_held(claim, turned[0]))
        return tuple(sorted(addresses))

    def settle_one(self) -> bool:
        """Count what one claimed container has less; tells whether any is left to settle.

        It can wait: a handle that counts too much is harmless, and a crash
        before leaves it to the controller's look at the books.
        """
        if self._unsettled:
            giver = next(iter(self._unsettled))
            self._handles.uncount(giver, self._unsettled.pop(giver))
        return bool(self._unsettled)

    def _count(self, claim: Claim, counted: Mapping[IPNetwork, int]) -> Mapping[IPNetwork, int]:
        """Count the taker's new addresses; what it was counted for before."""
        if not counted:
            return self._handles.counts(claim.taker) or {}
        try:
            self._handles.count(claim.taker, counted, is_new=True, only_new=True)
        except HandleKnownError:
            before = self._handles.counts(claim.taker) or {}
            self._handles.count(claim.taker, counted)
            return before
        return {}

    def _turn(
        self, claim: Claim, cidr: IPNetwork, found: Found | None, counted: int
    ) -> Found | None:
        """The block with all of it claimed; None if there is no such block."""
        unanswered = 0
        sent: Revision | None = None
        for _ in range(ATTEMPTS):
            if found is None:
                return None
            block, revision = found
            wanted = _open(claim, found)
            if wanted < counted:
                self._handles.uncount(claim.taker, {cidr: counted - wanted})
                counted = wanted
            turned = _turned(claim, block)
            # Also what it holds already is written anew, once, or a release that
            # is still on its way would pass.
            if not wanted and (sent not in (None, revision) or not _held(claim, block)):
                return found
            if wanted > counted:
                self._handles.count(claim.taker, {cidr: wanted - counted})
                counted = wanted
            try:
                text = codec.encode_block(turned)
                written = self._datastore.put(block_key(cidr), text, expect=revision)
            except Conflict:
                pass
            except DatastoreUnavailable:
                # If it was not done, it may be yet, and the count with it.
                counted, sent = 0, revision
                unanswered += 1
                if unanswered == UNANSWERED:
                    raise
            else:
                if wanted:
                    left = self._unsettled.setdefault(handle_of_container(claim.container), {})
                    left[cidr] = left.get(cidr, 0) + wanted
                return turned, written
            found = self._ledger.block(cidr)
        raise Conflict(f"block {cidr} changes faster than it can be written")


def _turned(claim: Claim, block: Block) -> Block:
    return replace(
        block,
        allocations=tuple(
            None if each is None else claim.turned(block.cidr[ordinal], each)
            for ordinal, each in enumerate(block.allocations)
        ),
    )


def _open(claim: Claim, found: Found | None) -> int:
    """How many addresses of a block are still to be claimed."""
    if found is None:
        return 0
    pairs = zip(found[0].allocations, _turned(claim, found[0]).allocations, strict=True)
    return sum(one is not other for one, other in pairs)


def _held(claim: Claim, block: Block) -> tuple[IPAddress, ...]:
    return tuple(
        block.cidr[ordinal]
        for ordinal, each in enumerate(block.allocations)
        if each is not None and claim.holds(each)
    )
