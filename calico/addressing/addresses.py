"""Addresses for tasks: where to look for one, and in which order.

All that is remembered between calls is in which block a host last found room,
as a place to look first; what is true is in the ledger.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from netaddr import IPAddress, IPNetwork

from calico import codec
from calico.addressing import ipam
from calico.addressing.blocks import Allocation, Block, IpamConfig
from calico.addressing.handles import ATTEMPTS, HandleKnownError
from calico.addressing.ipam import Secondary
from calico.addressing.ledger import Ledger, Step
from calico.datastore.api import Datastore, Revision
from calico.errors import AddressOutsidePools, AddressTaken, Conflict, InvalidValue, PoolExhausted
from calico.identifiers import check_handle, check_host
from calico.keys import POOLS, ipam_config_key, parse_pool_key
from calico.model import HandleId, HostName, Pool


def read_pools(datastore: Datastore) -> tuple[Pool, ...]:
    """Every pool that can be read."""
    found = []
    for stored in datastore.list(POOLS).entries:
        cidr = parse_pool_key(stored.key)
        if cidr is None:
            continue
        with suppress(InvalidValue):
            found.append(codec.decode_pool(cidr, stored.value))
    return tuple(found)


class Addresses:
    """Hands out and takes back; safe to run anywhere, any number of times at once."""

    def __init__(
        self, datastore: Datastore, pools: Callable[[], Iterable[Pool]] | None = None
    ) -> None:
        """`pools` tells them without a question, if the caller follows them anyway."""
        self._datastore = datastore
        self._ledger = Ledger(datastore)
        self._followed_pools = pools
        self._roomy: dict[tuple[HostName, int], IPNetwork] = {}

    def assign(
        self,
        host: HostName,
        handle: HandleId,
        *,
        version: int = 4,
        secondary: Secondary = (),
        heed: Callable[[Block], None] | None = None,
        given_on: HostName | None = None,
        held: set[IPAddress] | None = None,
    ) -> IPAddress:
        """The handle's address: the one it holds already, else a free one.

        From the host's own blocks, else from a new block, else borrowed. A
        pool that is disabled, or not for IPAM, gives nothing new; what is held
        of it stays. Raises PoolExhausted; InvalidValue if what it may hold is
        unreadable. `heed` sees each block before anything new is taken of it
        and may raise an AddressError, which then ends the attempt. With
        `given_on` it holds only what that host's agent gave to its container.

        What it holds already is renewed, see `renew`; with `held` it is added
        there instead, and whoever begins to use it renews it.
        """
        check_host(host)
        check_handle(handle)
        for _ in range(ATTEMPTS):
            already: set[IPAddress] = set()
            address = self._assign(host, handle, version, secondary, heed, given_on, already)
            if self._begins(handle, already & {address}, given_on, held):
                return address
        raise Conflict(f"what {handle} holds comes and goes")

    def _assign(
        self,
        host: HostName,
        handle: HandleId,
        version: int,
        secondary: Secondary,
        heed: Callable[[Block], None] | None,
        given_on: HostName | None,
        already: set[IPAddress],
    ) -> IPAddress:
        """The address, and in `already` those that were found to be the handle's before."""
        pools = self._usable_pools(version)

        def step(block: Block) -> tuple[Block, IPAddress] | None:
            found = ipam.addresses_of(block, handle, given_on)
            if found:
                already.add(found[0])
                return block, found[0]
            if heed is not None:
                heed(block)
            if not block.unallocated or not any(block.cidr in pool.cidr for pool in pools):
                return None
            return ipam.allocate(block, handle, secondary)

        address = self._assign_where_there_was_room(host, handle, version, step)
        if address is not None:
            return address
        counts = self._ledger.counts(handle)
        for found in self._held_in(handle, counts or (), given_on):
            if found.version == version:
                already.add(found)
                return found
        is_new = counts is None
        address = self._assign_affine(host, handle, version, step, is_new=is_new)
        if address is None:
            address = self._assign_new(host, handle, pools, step)
        if address is None:
            address = self._assign_borrowed(handle, version, step)
        if address is None:
            raise PoolExhausted(_exhausted(pools, version))
        return address

    def assign_fixed(
        self,
        host: HostName,
        handle: HandleId,
        address: IPAddress,
        *,
        secondary: Secondary = (),
        given_on: HostName | None = None,
        held: set[IPAddress] | None = None,
    ) -> None:
        """Give the handle this very address; again is a success, `held` as in `assign`.

        A block that does not exist yet becomes the host's. Raises AddressTaken,
        or AddressOutsidePools also if the block is kept for another host.
        """
        check_host(host)
        check_handle(handle)
        cidr = ipam.block_of(address)
        strict = self._config().strict_affinity
        already: set[IPAddress] = set()
        step = self._fixed(host, handle, address, secondary, given_on, already, strict=strict)
        for _ in range(ATTEMPTS):
            already.clear()
            if self._ledger.block(cidr) is None:
                step(ipam.new_block(cidr, host))
                self._ledger.claim(host, cidr, strict=strict)
            given = self._ledger.allocate(cidr, handle, step)
            if given is not None and self._begins(handle, already, given_on, held):
                return
        raise Conflict(f"block {cidr} comes and goes")

    def insist_free(self, host: HostName, handle: HandleId, address: IPAddress) -> None:
        """Raise what `assign_fixed` would, as things are; writes nothing."""
        cidr, strict = ipam.block_of(address), self._config().strict_affinity
        found = self._ledger.block(cidr)
        block = ipam.new_block(cidr, host) if found is None else found[0]
        self._fixed(host, handle, address, (), None, set(), strict=strict)(block)

    def _fixed(
        self,
        host: HostName,
        handle: HandleId,
        address: IPAddress,
        secondary: Secondary,
        given_on: HostName | None,
        already: set[IPAddress],
        *,
        strict: bool,
    ) -> Step:
        """Give this very address; it is put into `already` if it was the handle's before."""
        in_use = any(address in pool.cidr for pool in self._usable_pools(address.version))

        def step(block: Block) -> tuple[Block, IPAddress]:
            found = ipam.allocation_of(block, address)
            if found is not None and found.is_of(handle, given_on):
                already.add(address)
                return block, address
            if not in_use:
                raise _outside(address)
            if block.affinity not in (None, host) and (strict or block.strict):
                raise AddressOutsidePools(
                    f"address {address} is in a block kept for host {block.affinity}"
                )
            if found is not None and found.handle == handle:
                holder = f"{handle} on host {found.host}" if found.host else handle
                raise AddressTaken(f"address {address} is taken by {holder}")
            return ipam.allocate_fixed(block, handle, address, secondary), address

        return step

    def renew(self, handle: HandleId, held: Iterable[IPAddress]) -> None:
        """Begin anew to use what a handle was found to hold; raises Conflict if it is gone.

        Only a write makes a release fail that is still on its way: one without
        an answer, or of a leader that was stopped before it sent it.
        """
        if not self._begins(handle, held):
            raise Conflict(f"an address was just taken back from {handle}")

    def _begins(
        self,
        handle: HandleId,
        already: Iterable[IPAddress],
        given_on: HostName | None = None,
        held: set[IPAddress] | None = None,
    ) -> bool:
        """Renew what the handle held already, or note it; False if it is gone meanwhile."""
        if held is not None:
            held.update(already)
            return True
        return all(self._ledger.renew(handle, each, given_on) for each in sorted(already))

    def families(self) -> tuple[int, ...]:
        """The families that new addresses can be had of."""
        return tuple(version for version in (4, 6) if self._usable_pools(version))

    def release(
        self, handle: HandleId | None, address: IPAddress, given_on: HostName | None = None
    ) -> bool:
        """Take an address back; False if the handle does not hold it, see `Allocation.is_of`."""
        return self._ledger.release(handle, address, given_on)

    def held_by(self, handle: HandleId, given_on: HostName | None = None) -> tuple[IPAddress, ...]:
        """What a handle holds, in order, see `Allocation.is_of`."""
        return self._held_in(handle, self._ledger.counts(handle) or (), given_on)

    def _held_in(
        self, handle: HandleId, cidrs: Iterable[IPNetwork], given_on: HostName | None
    ) -> tuple[IPAddress, ...]:
        found = map(self._ledger.block, cidrs)
        return tuple(
            sorted(
                address
                for each in found
                if each is not None
                for address in ipam.addresses_of(each[0], handle, given_on)
            )
        )

    def holder(self, address: IPAddress) -> HandleId | None:
        """The handle that holds an address; None if it is free or has no name."""
        held = self.allocation(address)
        return None if held is None else held.handle

    def allocation(self, address: IPAddress) -> Allocation | None:
        """How an address is given out; None if it is free."""
        found = self._ledger.block(ipam.block_of(address))
        return None if found is None else ipam.allocation_of(found[0], address)

    def blocks(self) -> tuple[tuple[Block, Revision], ...]:
        """Every block that can be read."""
        return self._ledger.blocks()

    def _assign_where_there_was_room(
        self, host: HostName, handle: HandleId, version: int, step: Step
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
            return self._ledger.allocate(cidr, handle, step_if_affine, is_new=True, only_new=True)
        except (HandleKnownError, InvalidValue):
            return None

    def _assign_affine(
        self, host: HostName, handle: HandleId, version: int, step: Step, *, is_new: bool
    ) -> IPAddress | None:
        def step_if_affine(block: Block) -> tuple[Block, IPAddress] | None:
            # The key below the host is only a hint.
            return step(block) if block.affinity == host else None

        for cidr in self._affine(host, version):
            try:
                address = self._ledger.allocate(cidr, handle, step_if_affine, is_new=is_new)
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
        yield from (cidr for cidr in self._ledger.affine(host, version) if cidr != roomy)

    def _assign_new(
        self, host: HostName, handle: HandleId, pools: tuple[Pool, ...], step: Step
    ) -> IPAddress | None:
        config = self._config()
        if not pools or not config.auto_allocate_blocks:
            return None
        existing = self._ledger.existing()
        for pool in pools:
            if ipam.is_full_of_blocks(pool, existing):
                continue
            for cidr in ipam.candidate_blocks(pool, host):
                if cidr in existing or not self._ledger.claim(
                    host, cidr, strict=config.strict_affinity
                ):
                    continue
                address = self._ledger.allocate(cidr, handle, step)
                if address is not None:
                    return address
        return None

    def _assign_borrowed(self, handle: HandleId, version: int, step: Step) -> IPAddress | None:
        if self._config().strict_affinity:
            return None
        for block, _ in self._ledger.blocks():
            if block.cidr.version != version or block.strict or not block.unallocated:
                continue
            address = self._ledger.allocate(block.cidr, handle, step)
            if address is not None:
                return address
        return None

    def _config(self) -> IpamConfig:
        stored = self._datastore.get(ipam_config_key())
        return IpamConfig() if stored is None else codec.decode_ipam_config(stored.value)

    def _usable_pools(self, version: int) -> tuple[Pool, ...]:
        if self._followed_pools is not None:
            return ipam.usable_pools(self._followed_pools(), version)
        return ipam.usable_pools(read_pools(self._datastore), version)


def _outside(address: IPAddress) -> AddressOutsidePools:
    return AddressOutsidePools(f"address {address} is in none of the pools in use")


def _exhausted(pools: tuple[Pool, ...], version: int) -> str:
    if not pools:
        return f"there is no IPv{version} pool to take an address from"
    named = ", ".join(str(pool.cidr) for pool in pools)
    why = f"no address is free in the IPv{version} pools {named}"
    return f"{why}: add a pool, or wait until those of ended tasks have rested"
