"""Addresses for tasks, by compare-and-swap on Calico's blocks.

A block is the one truth about its 64 addresses. Handles and affinity keys are
written before it, so that after a crash they claim too much, never too little.
A write without an answer may have been done: the block is read again, by
quorum, and what it says decides. All that is remembered between calls is in
which block a host last found room, as a place to look first.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from netaddr import IPAddress, IPNetwork

from calico import codec, ipam
from calico.datastore.api import ABSENT, Datastore, Revision, Stored
from calico.errors import (
    AddressError,
    AddressOutsidePools,
    Conflict,
    DatastoreUnavailable,
    InvalidValue,
    PoolExhausted,
)
from calico.ipam import Secondary
from calico.keys import (
    BLOCKS,
    POOLS,
    affinity_dir,
    affinity_key,
    block_key,
    check_host,
    handle_key,
    ipam_config_key,
    parse_affinity_key,
    parse_block_key,
    parse_pool_key,
)
from calico.model import Block, HandleId, HostName, IpamConfig, Pool

#: As often as Calico; more lost races in a row are no race.
ATTEMPTS = 100

_Step = Callable[[Block], tuple[Block, IPAddress] | None]


class _HandleKnownError(Exception):
    """The handle exists, so it may hold an address somewhere."""


class Addresses:
    """Hands out and takes back; safe to run anywhere, any number of times at once."""

    def __init__(
        self, datastore: Datastore, pools: Callable[[], Iterable[Pool]] | None = None
    ) -> None:
        """`pools` tells them without a question, if the caller follows them anyway."""
        self._datastore = datastore
        self._followed_pools = pools
        self._roomy: dict[tuple[HostName, int], IPNetwork] = {}

    def assign(
        self, host: HostName, handle: HandleId, *, version: int = 4, secondary: Secondary = ()
    ) -> IPAddress:
        """The handle's address: the one it holds already, else a free one.

        From the host's own blocks, else from a new block, else borrowed.
        Raises PoolExhausted; InvalidValue if what it may hold is unreadable.
        """
        check_host(host)
        pools = self._usable_pools(version)

        def step(block: Block) -> tuple[Block, IPAddress] | None:
            held = ipam.addresses_of(block, handle)
            if held:
                return block, held[0]
            if not block.unallocated or not any(block.cidr in pool.cidr for pool in pools):
                return None
            return ipam.allocate(block, handle, secondary)

        address = self._assign_where_there_was_room(host, handle, version, step)
        if address is not None:
            return address
        counts = self._counts(handle)
        for held_address in self._held_in(handle, counts or ()):
            if held_address.version == version:
                return held_address
        is_new = counts is None
        address = self._assign_affine(host, handle, version, step, is_new)
        if address is None:
            address = self._assign_new(host, handle, pools, step)
        if address is None:
            address = self._assign_borrowed(handle, version, step)
        if address is None:
            raise PoolExhausted(_exhausted(pools, version))
        return address

    def assign_fixed(
        self, host: HostName, handle: HandleId, address: IPAddress, *, secondary: Secondary = ()
    ) -> None:
        """Give the handle this very address; again is a success.

        Raises AddressTaken, or AddressOutsidePools also if the block is kept
        for another host.
        """
        check_host(host)
        if not any(address in pool.cidr for pool in self._usable_pools(address.version)):
            raise AddressOutsidePools(f"address {address} is in none of the pools in use")
        cidr = ipam.block_of(address)
        strict = self._config().strict_affinity

        def step(block: Block) -> tuple[Block, IPAddress]:
            if block.affinity not in (None, host) and (strict or block.strict):
                raise AddressOutsidePools(
                    f"address {address} is in a block kept for host {block.affinity}"
                )
            return ipam.allocate_fixed(block, handle, address, secondary), address

        for _ in range(ATTEMPTS):
            if self._block(cidr) is None:
                self._claim(host, cidr)
            if self._assign_in(cidr, handle, step) is not None:
                return
        raise Conflict(f"block {cidr} comes and goes")

    def release(self, handle: HandleId, address: IPAddress) -> bool:
        """Take an address back; False if the handle does not hold it."""
        cidr = ipam.block_of(address)
        # Whether a write of ours may have been done. If so, the handle stays
        # counted: it is not known whether it was us who freed the address.
        written = False
        for _ in range(ATTEMPTS):
            found = self._block(cidr)
            held = None if found is None else ipam.allocation_of(found[0], address)
            if found is None or held is None or held.handle != handle:
                return written
            block, revision = found
            freed = ipam.release(block, handle, address)
            try:
                self._write_released(freed, revision)
            except Conflict:
                continue
            except DatastoreUnavailable:
                written = True
                continue
            self._uncount(handle, cidr)
            return True
        raise Conflict(f"block {cidr} changes faster than it can be written")

    def held_by(self, handle: HandleId) -> tuple[IPAddress, ...]:
        """What a handle holds, in order."""
        return self._held_in(handle, self._counts(handle) or ())

    def _counts(self, handle: HandleId) -> Mapping[IPNetwork, int] | None:
        """The blocks in which a handle may hold something; None if it is unknown.

        It is written before any block, so without it there is nothing.
        """
        stored = self._datastore.get(handle_key(handle))
        return None if stored is None else codec.decode_handle(handle, stored.value)

    def _held_in(self, handle: HandleId, cidrs: Iterable[IPNetwork]) -> tuple[IPAddress, ...]:
        found = map(self._block, cidrs)
        return tuple(
            sorted(
                address
                for each in found
                if each is not None
                for address in ipam.addresses_of(each[0], handle)
            )
        )

    def holder(self, address: IPAddress) -> HandleId | None:
        """The handle that holds an address; None if it is free or has no name."""
        found = self._block(ipam.block_of(address))
        held = None if found is None else ipam.allocation_of(found[0], address)
        return None if held is None else held.handle

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

    def _assign_where_there_was_room(
        self, host: HostName, handle: HandleId, version: int, step: _Step
    ) -> IPAddress | None:
        """One look at the block that had room last time, for a handle that is new.

        Whether it is new is told by the write that counts it, which saves the
        question. None if it is not, or if there is no room: then all is read.
        """
        cidr = self._roomy.get((host, version))
        if cidr is None:
            return None

        def step_if_affine(block: Block) -> tuple[Block, IPAddress] | None:
            return step(block) if block.affinity == host else None

        try:
            return self._assign_in(cidr, handle, step_if_affine, is_new=True, only_new=True)
        except (_HandleKnownError, InvalidValue):
            return None

    def _assign_affine(
        self, host: HostName, handle: HandleId, version: int, step: _Step, is_new: bool
    ) -> IPAddress | None:
        def step_if_affine(block: Block) -> tuple[Block, IPAddress] | None:
            # The key below the host is only a hint.
            return step(block) if block.affinity == host else None

        for cidr in self._affine(host, version):
            try:
                address = self._assign_in(cidr, handle, step_if_affine, is_new)
            except InvalidValue:
                continue
            if address is not None:
                self._roomy[host, version] = cidr
                return address
        return None

    def _affine(self, host: HostName, version: int) -> Iterator[IPNetwork]:
        """Blocks that may be the host's, the one that had room last time first."""
        roomy = self._roomy.get((host, version))
        if roomy is not None:
            yield roomy
        for stored in self._datastore.list(affinity_dir(host, version)).entries:
            parsed = parse_affinity_key(stored.key)
            if parsed is not None and parsed[1] != roomy:
                yield parsed[1]

    def _assign_new(
        self, host: HostName, handle: HandleId, pools: tuple[Pool, ...], step: _Step
    ) -> IPAddress | None:
        if not pools or not self._config().auto_allocate_blocks:
            return None
        existing = {
            cidr
            for stored in self._datastore.list(BLOCKS).entries
            if (cidr := parse_block_key(stored.key)) is not None
        }
        for pool in pools:
            if ipam.is_full_of_blocks(pool, existing):
                continue
            for cidr in ipam.candidate_blocks(pool, host):
                if cidr in existing or not self._claim(host, cidr):
                    continue
                address = self._assign_in(cidr, handle, step)
                if address is not None:
                    return address
        return None

    def _assign_borrowed(self, handle: HandleId, version: int, step: _Step) -> IPAddress | None:
        if self._config().strict_affinity:
            return None
        for block, _ in self.blocks():
            if block.cidr.version != version or block.strict or not block.unallocated:
                continue
            address = self._assign_in(block.cidr, handle, step)
            if address is not None:
                return address
        return None

    def _claim(self, host: HostName, cidr: IPNetwork) -> bool:
        """Make a block the host's; False if another host was first."""
        self._datastore.put(affinity_key(host, cidr), "")
        text = codec.encode_block(ipam.new_block(cidr, host))
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
            self._datastore.delete(affinity_key(host, cidr))
            return False
        raise Conflict(f"block {cidr} comes and goes")

    def _assign_in(
        self,
        cidr: IPNetwork,
        handle: HandleId,
        step: _Step,
        is_new: bool = False,
        only_new: bool = False,
    ) -> IPAddress | None:
        """One step on a block that exists; None if it is absent or the step says no.

        `is_new` is whether the handle was unknown just now. The handle is
        counted first and stays counted while the outcome is unknown, also when
        an error ends the attempt.
        """
        counted = False
        for _ in range(ATTEMPTS):
            found = self._block(cidr)
            try:
                taken = None if found is None else step(found[0])
            except AddressError:
                if counted:
                    self._uncount(handle, cidr)
                raise
            if found is None or taken is None:
                break
            block, revision = found
            changed, address = taken
            if changed == block:
                return address
            if not counted:
                self._count(handle, cidr, is_new, only_new)
                counted = True
            try:
                self._datastore.put(block_key(cidr), codec.encode_block(changed), expect=revision)
            except Conflict:
                continue
            except DatastoreUnavailable:
                landed = self._block(cidr)
                held = None if landed is None else ipam.allocation_of(landed[0], address)
                if held is None or held.handle != handle:
                    # Should it land after all, our next swap loses and reads again. By
                    # then another may have released it and taken our count along.
                    counted = False
                    continue
            return address
        else:
            raise Conflict(f"block {cidr} changes faster than it can be written")
        if counted:
            self._uncount(handle, cidr)
        return None

    def _block(self, cidr: IPNetwork) -> tuple[Block, Revision] | None:
        stored = self._datastore.get(block_key(cidr))
        if stored is None:
            return None
        return codec.decode_block(cidr, stored.value), stored.revision

    def _write_released(self, block: Block, revision: Revision) -> None:
        key = block_key(block.cidr)
        if block.affinity is None and not any(block.allocations):
            self._datastore.delete(key, expect=revision)
        else:
            self._datastore.put(key, codec.encode_block(block), expect=revision)

    def _count(
        self, handle: HandleId, cidr: IPNetwork, is_new: bool, only_new: bool = False
    ) -> None:
        """Count one address more; if the answer is lost, the caller's end is here.

        Raises _HandleKnownError, having counted nothing, if it is `only_new`
        and is not.
        """
        if is_new:
            text = codec.encode_handle(handle, {cidr: 1})
            try:
                self._datastore.put(handle_key(handle), text, expect=ABSENT)
            except Conflict as error:
                if only_new:
                    raise _HandleKnownError from error
            else:
                return
        for _ in range(ATTEMPTS):
            try:
                self._recount(handle, cidr, 1)
            except Conflict:
                continue
            return
        raise Conflict(f"handle {handle} changes faster than it can be written")

    def _uncount(self, handle: HandleId, cidr: IPNetwork) -> None:
        """Count one address less, at most once: too high a count is harmless."""
        for _ in range(ATTEMPTS):
            try:
                self._recount(handle, cidr, -1)
            except Conflict:
                continue
            except DatastoreUnavailable:
                return
            return

    def _recount(self, handle: HandleId, cidr: IPNetwork, change: int) -> None:
        key = handle_key(handle)
        stored = self._datastore.get(key)
        counts: dict[IPNetwork, int] = {}
        if stored is not None:
            counts = codec.decode_handle(handle, stored.value)
        counts[cidr] = counts.get(cidr, 0) + change
        left: Mapping[IPNetwork, int] = {each: count for each, count in counts.items() if count > 0}
        expect = ABSENT if stored is None else stored.revision
        if left:
            self._datastore.put(key, codec.encode_handle(handle, left), expect=expect)
        elif stored is not None:
            self._datastore.delete(key, expect=expect)

    def _config(self) -> IpamConfig:
        stored = self._datastore.get(ipam_config_key())
        return IpamConfig() if stored is None else codec.decode_ipam_config(stored.value)

    def _usable_pools(self, version: int) -> tuple[Pool, ...]:
        if self._followed_pools is not None:
            return ipam.usable_pools(self._followed_pools(), version)
        found = []
        for stored in self._datastore.list(POOLS).entries:
            cidr = parse_pool_key(stored.key)
            if cidr is None:
                continue
            try:
                found.append(codec.decode_pool(cidr, stored.value))
            except InvalidValue:
                continue
        return ipam.usable_pools(found, version)


def _affinity(cidr: IPNetwork, stored: Stored) -> HostName | None:
    try:
        return codec.decode_block(cidr, stored.value).affinity
    except InvalidValue:
        return None


def _exhausted(pools: tuple[Pool, ...], version: int) -> str:
    if not pools:
        return f"there is no IPv{version} pool to take an address from"
    return f"no address is free in the IPv{version} pools {', '.join(str(p.cidr) for p in pools)}"
