"""Blocks, handles and affinity keys: every change is one compare-and-swap.

A block is the one truth about its 64 addresses. Handles and affinity keys are
written before it, so that after a crash they claim too much, never too little.
A write without an answer may have been done: what is then read, by quorum,
decides. Where that cannot tell, the handle is counted once too often.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from netaddr import IPAddress, IPNetwork

from calico import codec
from calico.addressing import ipam
from calico.addressing.blocks import Block
from calico.addressing.handles import ATTEMPTS, UNANSWERED, Handles, draw_text
from calico.datastore.api import ABSENT, Datastore, Revision, Stored
from calico.errors import AddressError, Conflict, DatastoreUnavailable, InvalidValue
from calico.keys import (
    BLOCKS,
    affinity_dir,
    affinity_key,
    block_key,
    parse_affinity_key,
    parse_block_key,
)
from calico.model import HandleId, HostName

#: What to make of a block: what it should be and the address meant, or nothing.
Step = Callable[[Block], tuple[Block, IPAddress] | None]


class Ledger:
    """What is written of addresses; safe to use anywhere, any number of times at once."""

    def __init__(self, datastore: Datastore, draw: Callable[[], str] = draw_text) -> None:
        """`draw` gives a text that no other writer has, to know one's own writes by."""
        self._datastore = datastore
        self._handles = Handles(datastore, draw)

    def block(self, cidr: IPNetwork) -> tuple[Block, Revision] | None:
        """A block as it is; raises InvalidValue if it cannot be read."""
        stored = self._datastore.get(block_key(cidr))
        if stored is None:
            return None
        return codec.decode_block(cidr, stored.value), stored.revision

    def blocks(self) -> tuple[tuple[Block, Revision], ...]:
        """Every block that can be read."""
        found = []
        for stored in self._datastore.list(BLOCKS).entries:
            cidr = parse_block_key(stored.key)
            if cidr is None:
                continue
            try:
                found.append((codec.decode_block(cidr, stored.value), stored.revision))
            except InvalidValue:
                # Unreadable is in use: nothing is given out of it or taken back.
                continue
        return tuple(found)

    def existing(self) -> frozenset[IPNetwork]:
        """The range of every block, also of those that cannot be read."""
        return frozenset(
            cidr
            for stored in self._datastore.list(BLOCKS).entries
            if (cidr := parse_block_key(stored.key)) is not None
        )

    def affine(self, host: HostName, version: int) -> Iterator[IPNetwork]:
        """Blocks that a host claims; only the block itself knows whether it is the host's."""
        for stored in self._datastore.list(affinity_dir(host, version)).entries:
            parsed = parse_affinity_key(stored.key)
            if parsed is not None:
                yield parsed[1]

    def counts(self, handle: HandleId) -> Mapping[IPNetwork, int] | None:
        """The blocks in which a handle may hold something; None if it is unknown.

        It is written before any block, so without it there is nothing.
        """
        return self._handles.counts(handle)

    def set_counts(
        self, handle: HandleId, counts: Mapping[IPNetwork, int], revision: Revision
    ) -> None:
        """Make a handle of this revision say this; without any count it goes."""
        self._handles.set_counts(handle, counts, revision)

    def claim(self, host: HostName, cidr: IPNetwork, *, strict: bool) -> bool:
        """Make a block the host's; False if another host was first."""
        hint = self._put_affinity(host, cidr)
        text = codec.encode_block(ipam.new_block(cidr, host, strict=strict))
        for _ in range(ATTEMPTS):
            try:
                self._datastore.put(block_key(cidr), text, expect=ABSENT)
            except Conflict:
                pass
            except DatastoreUnavailable:
                # Done or not: the next look, or the next try, tells.
                pass
            else:
                return True
            stored = self._datastore.get(block_key(cidr))
            if stored is None:
                continue
            if _affinity(cidr, stored) == host:
                return True
            # What is left of the key is only a hint that leads nowhere.
            with suppress(Conflict, DatastoreUnavailable):
                self._datastore.delete(affinity_key(host, cidr), expect=hint)
            return False
        raise Conflict(f"block {cidr} comes and goes")

    def _put_affinity(self, host: HostName, cidr: IPNetwork) -> Revision:
        """Write a host's hint anew, so that whoever read it before takes nothing away.

        By compare-and-swap too: what is sent by one who was stopped for long is
        no hint of what is now.
        """
        key = affinity_key(host, cidr)
        expect = ABSENT
        for _ in range(ATTEMPTS):
            try:
                return self._datastore.put(key, "", expect=expect)
            except Conflict:
                stored = self._datastore.get(key)
                expect = ABSENT if stored is None else stored.revision
            except DatastoreUnavailable:
                stored = self._datastore.get(key)
                if stored is None:
                    raise
                return stored.revision
        raise Conflict(f"{key} changes faster than it can be written")

    def allocate(
        self,
        cidr: IPNetwork,
        handle: HandleId,
        step: Step,
        *,
        is_new: bool = False,
        only_new: bool = False,
    ) -> IPAddress | None:
        """One step on a block that exists; None if it is absent or the step says no.

        `is_new` is whether the handle was unknown just now; raises
        HandleKnownError, having counted nothing, if it is `only_new` and is
        not. The handle is counted first and stays counted while the outcome is
        unknown, also when an error ends the attempt.
        """
        counted = False
        unanswered = 0
        for _ in range(ATTEMPTS):
            found = self.block(cidr)
            try:
                taken = None if found is None else step(found[0])
            except AddressError:
                if counted:
                    self._handles.uncount(handle, {cidr: 1})
                raise
            if found is None or taken is None or taken[0] == found[0]:
                # Nothing to write, so nothing that our count stands for.
                if counted:
                    self._handles.uncount(handle, {cidr: 1})
                return None if taken is None else taken[1]
            (changed, address), revision = taken, found[1]
            if not counted:
                self._handles.count(handle, {cidr: 1}, is_new=is_new, only_new=only_new)
                counted = True
            try:
                self._datastore.put(block_key(cidr), codec.encode_block(changed), expect=revision)
            except Conflict:
                continue
            except DatastoreUnavailable:
                landed = self.block(cidr)
                held = None if landed is None else ipam.allocation_of(landed[0], address)
                if held is None or held != ipam.allocation_of(changed, address):
                    # Should it land after all, our next swap loses and reads again. By
                    # then another may have released it and taken our count along.
                    counted = False
                    unanswered += 1
                    if unanswered == UNANSWERED:
                        raise
                    continue
            return address
        raise Conflict(f"block {cidr} changes faster than it can be written")

    def release(
        self, handle: HandleId | None, address: IPAddress, given_on: HostName | None = None
    ) -> bool:
        """Take an address back; False if the handle does not hold it, see `Allocation.is_of`."""
        cidr = ipam.block_of(address)
        # A write without an answer may have been ours. If so, the handle stays
        # counted: it is not known whether it was us who freed the address.
        unanswered = 0
        for _ in range(ATTEMPTS):
            found = self.block(cidr)
            held = None if found is None else ipam.allocation_of(found[0], address)
            if found is None or held is None or not held.is_of(handle, given_on):
                return unanswered > 0
            block, revision = found
            freed = ipam.release(block, handle, address)
            try:
                self._write_released(freed, revision)
            except Conflict:
                continue
            except DatastoreUnavailable:
                unanswered += 1
                if unanswered == UNANSWERED:
                    raise
                continue
            if handle is not None:
                self._handles.uncount(handle, {cidr: 1})
            return True
        raise Conflict(f"block {cidr} changes faster than it can be written")

    def renew(self, handle: HandleId, address: IPAddress, given_on: HostName | None = None) -> bool:
        """Write the block of a held address anew as it is; False if the handle holds it no more.

        Whoever decided before to take it back, and whose write is still on its
        way, then loses, and looks again.
        """
        cidr = ipam.block_of(address)
        unanswered = 0
        for _ in range(ATTEMPTS):
            found = self.block(cidr)
            if found is None:
                return False
            block, revision = found
            held = ipam.allocation_of(block, address)
            if held is None or not held.is_of(handle, given_on):
                return False
            try:
                self._datastore.put(block_key(cidr), codec.encode_block(block), expect=revision)
            except Conflict:
                continue
            except DatastoreUnavailable:
                # It may never be done: only an answer tells that the others lose.
                unanswered += 1
                if unanswered == UNANSWERED:
                    raise
                continue
            return True
        raise Conflict(f"block {cidr} changes faster than it can be written")

    def _write_released(self, block: Block, revision: Revision) -> None:
        key = block_key(block.cidr)
        if block.affinity is None and not any(block.allocations):
            self._datastore.delete(key, expect=revision)
        else:
            self._datastore.put(key, codec.encode_block(block), expect=revision)


def _affinity(cidr: IPNetwork, stored: Stored) -> HostName | None:
    try:
        return codec.decode_block(cidr, stored.value).affinity
    except InvalidValue:
        return None
