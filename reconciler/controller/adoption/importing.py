"""Writes into the store what hosts tell that they hold, as it was.

Nothing is given to anybody meanwhile, so that what is free here stays free
until it is taken under its old handle. Every step is a compare-and-swap that
may be made again: a crash in between leaves what the next leader takes up.
"""

import logging
from collections.abc import Callable, Collection, Sequence

from netaddr import IPAddress

from calico.addressing import ipam
from calico.addressing.blocks import OWNER, Allocation, Block
from calico.addressing.handles import ATTEMPTS
from calico.addressing.ledger import Ledger
from calico.codec import encode_endpoint
from calico.datastore.api import ABSENT, Datastore, Key, Revision
from calico.errors import AddressTaken, Conflict, InvalidName, InvalidValue
from calico.keys import endpoint_key
from calico.model import EndpointId, EndpointSpec, HostName
from calico.names import reservation_of
from reconciler.controller.stored import StoredState
from reconciler.core.adoption import AddressClaim, Holdings, contested

log = logging.getLogger(__name__)


class Importer:
    """Takes over what several hosts tell; `stored` is as just read, what gives way is forgotten."""

    def __init__(self, datastore: Datastore, stored: StoredState, told: Sequence[Holdings]) -> None:
        """`told` is what every host told that holds back, not only what is to be imported."""
        self._datastore = datastore
        self._stored = stored
        self._ledger = Ledger(datastore)
        self._told = {each.host: each for each in told}
        self._contested = contested(told)
        self._held = {
            (each.host, claim.address, claim.handle) for each in told for claim in each.addresses
        }

    def take_over(
        self,
        held: Holdings,
        checkpoint: Callable[[], None],
        refused: Collection[IPAddress] = (),
    ) -> frozenset[IPAddress]:
        """Import what one host holds; the addresses that stay as they are.

        Those are another's, in a block that cannot be read, or `refused`.

        Raises DatastoreError.
        """
        for key, text in held.pools:
            self._create(key, text)
        lost = {*self._contested, *refused}
        for claim in held.addresses:
            checkpoint()
            if claim.address not in lost and not self._can_have(claim):
                lost.add(claim.address)
        for key, text in held.leaves:
            self._create(key, text)
        for spec, text in held.endpoints:
            if lost.isdisjoint(spec.addresses):
                self._write(spec, text)
        return frozenset(lost & {claim.address for claim in held.addresses})

    def beyond_pools(self, held: Holdings) -> frozenset[IPAddress]:
        """What a host holds that no pool has, nor any endpoint that the store has of it."""
        known = {
            address
            for endpoint, kept in self._stored.specs.items()
            if endpoint.host == held.host
            for address in kept.value.addresses
        }
        return frozenset(
            claim.address
            for claim in held.addresses
            if claim.address not in known
            and not any(claim.address in pool.cidr for pool in self._stored.pools)
        )

    def _can_have(self, claim: AddressClaim) -> bool:
        """Have the address held as it was; False if that is another's, or not to be read."""
        try:
            return self._allocate(claim)
        except (InvalidValue, InvalidName) as error:
            log.warning("address not taken over", extra={"address": claim.address, "why": error})
            return False

    def _allocate(self, claim: AddressClaim) -> bool:
        """Have the address held as it was; False if it is another's."""
        cidr = ipam.block_of(claim.address)

        def step(block: Block) -> tuple[Block, IPAddress]:
            taken = ipam.allocate_fixed(block, claim.handle, claim.address, claim.secondary)
            return taken, claim.address

        for _ in range(ATTEMPTS):
            found = self._ledger.block(cidr)
            if found is None:
                self._ledger.claim(claim.affinity, cidr, strict=claim.strict)
                continue
            held = ipam.allocation_of(found[0], claim.address)
            if held is not None and _is_claimed_since(held, claim):
                return True
            if held is not None and not _is_same(held, claim):
                if not self._yields(held, claim):
                    return False
                self._ledger.release(held.handle, claim.address)
            try:
                self._ledger.allocate(cidr, claim.handle, step)
            except AddressTaken:
                continue
            return True
        raise Conflict(f"block {cidr} changes faster than it can be written")

    def _yields(self, held: Allocation, claim: AddressClaim) -> bool:
        """Whether nobody stands behind an allocation any more: those tell that could have it.

        The endpoints of such a task go with it, or two would have one address.
        """
        if OWNER not in held.secondary:
            return False
        users = self._users(claim.address)
        hosts = {endpoint.host for endpoint in users} | ({held.host} - {None})
        if not all(self._denies(host, held, claim.address) for host in hosts):
            return False
        for endpoint in users:
            if endpoint.workload != claim.handle:
                revision = self._stored.specs[endpoint].revision
                self._datastore.delete(endpoint_key(endpoint), expect=revision)
                del self._stored.specs[endpoint]
                log.warning("endpoint gives way", extra={"task": endpoint.workload})
        return True

    def _users(self, address: IPAddress) -> Collection[EndpointId]:
        specs = self._stored.specs
        return [each for each, kept in specs.items() if address in kept.value.addresses]

    def _denies(self, host: HostName | None, held: Allocation, address: IPAddress) -> bool:
        """Whether a host has told what it holds, and this is not of it."""
        return host in self._told and (host, address, held.handle) not in self._held

    def _write(self, spec: EndpointSpec, text: str) -> None:
        kept = self._stored.specs.get(spec.id)
        if kept is not None and kept.value == spec:
            return
        key = endpoint_key(spec.id)
        stored = self._datastore.get(key)
        if stored is None or stored.value != text:
            expect = self._reserve(spec.id) if stored is None else stored.revision
            self._datastore.put(key, text, expect=expect)
            log.warning(
                "endpoint taken over", extra={"task": spec.id.workload, "host": spec.id.host}
            )

    def _reserve(self, endpoint: EndpointId) -> Revision:
        text = encode_endpoint(reservation_of(endpoint))
        return self._datastore.put(endpoint_key(endpoint), text, expect=ABSENT)

    def _create(self, key: Key, text: str) -> None:
        """Write what is not there: what is may be newer, or an operator's choice."""
        if self._datastore.get(key) is None:
            self._datastore.put(key, text, expect=ABSENT)


def _is_same(held: Allocation, claim: AddressClaim) -> bool:
    """Whether it is held so already; containers of two hosts may have one id."""
    return held.handle == claim.handle and held.host in (None, claim.host)


def _is_claimed_since(held: Allocation, claim: AddressClaim) -> bool:
    """Whether a task has claimed the container by now for which a host tells this.

    Its agent may have read the endpoint before the block.
    """
    told = Allocation(claim.handle, claim.secondary)
    return told.unclaimed and held.container == told.container and held.host == claim.host
