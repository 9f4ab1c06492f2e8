"""Writes into the store what hosts tell that they hold, as it was.

Nothing is given to anybody meanwhile, so that what is free here stays free
until it is taken under its old handle. Every step is a compare-and-swap that
may be made again: a crash in between leaves what the next leader takes up.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from netaddr import IPAddress

from calico.addressing import ipam
from calico.addressing.blocks import OWNER, Allocation, Block
from calico.addressing.handles import ATTEMPTS
from calico.addressing.ledger import Ledger
from calico.codec import encode_endpoint
from calico.datastore.api import ABSENT, Datastore, Key, Revision
from calico.errors import AddressTaken, Conflict, InvalidName, InvalidValue
from calico.keys import endpoint_key
from calico.model import ORCHESTRATOR, EndpointId, EndpointSpec, HostName, ProfileId
from calico.names import reservation_of
from reconciler.controller.stored import StoredState
from reconciler.core.adoption import AddressClaim, Holdings, contested
from reconciler.core.recovered_profiles import judge_leaves

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NotImported:
    """What one host told and nobody can be given: addresses, and groups by their rules.

    Addresses are another's, in no pool, or in a block that cannot be read. Of a group one
    host alone tells other rules than a controller writes, or hosts tell several.
    """

    addresses: frozenset[IPAddress] = frozenset()
    groups: frozenset[ProfileId] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.addresses or self.groups)

    def __or__(self, other: "NotImported") -> "NotImported":
        return NotImported(self.addresses | other.addresses, self.groups | other.groups)


class Importer:
    """Takes over what several hosts tell; `stored` is as just read, what gives way is forgotten."""

    def __init__(self, datastore: Datastore, stored: StoredState, told: Sequence[Holdings]) -> None:
        """`told` is what every host told that holds back, not only what is to be imported."""
        self._datastore = datastore
        self._stored = stored
        self._ledger = Ledger(datastore)
        self._told = {each.host: each for each in told}
        self._contested = contested(told)
        self._leaves = judge_leaves(told)
        self._held = {
            (each.host, claim.address, claim.handle) for each in told for claim in each.addresses
        }
        self._users: defaultdict[IPAddress, set[EndpointId]] = defaultdict(set)
        for endpoint, kept in stored.specs.items():
            for address in kept.value.addresses:
                self._users[address].add(endpoint)

    def take_over(self, held: Holdings, checkpoint: Callable[[], None]) -> NotImported:
        """Import what one host holds of a store that is lost; what stays as it is.

        Raises DatastoreError.
        """
        for key, text in held.pools:
            self._create(key, text)
        lost = self._take_addresses(held, checkpoint)
        groups: set[ProfileId] = set()
        for key, _ in held.leaves:
            if key in self._leaves.believed:
                self._create(key, self._leaves.believed[key])
            elif key in self._leaves.doubtful and self._datastore.get(key) is None:
                groups.add(self._leaves.doubtful[key])
        for spec, text in held.endpoints:
            if lost.isdisjoint(spec.addresses):
                self._write(spec, text)
        return NotImported(lost, frozenset(groups))

    def take_addresses_over(self, held: Holdings, checkpoint: Callable[[], None]) -> NotImported:
        """Import which addresses a host has while others follow this store; what stays.

        Whom its tasks may reach is not for it to say: endpoints that are there
        keep their profiles, others are the controller's to write.
        """
        # No range is opened by it: every host would lead there what it sends to
        # somebody else by now.
        lost = self._take_addresses(held, checkpoint, self._beyond_pools(held))
        for spec, _ in held.endpoints:
            kept = self._stored.specs.get(spec.id)
            if kept is not None and lost.isdisjoint(spec.addresses):
                own = replace(spec, profiles=kept.value.profiles, labels=kept.value.labels)
                self._write(own, encode_endpoint(own))
        return NotImported(lost)

    def _take_addresses(
        self,
        held: Holdings,
        checkpoint: Callable[[], None],
        refused: Collection[IPAddress] = (),
    ) -> frozenset[IPAddress]:
        """Have a host's addresses held as they were, but the `refused`; those that are not."""
        lost = {*self._contested, *refused}
        for claim in held.addresses:
            checkpoint()
            if claim.address not in lost and not self._can_have(claim):
                lost.add(claim.address)
        return frozenset(lost & {claim.address for claim in held.addresses})

    def _beyond_pools(self, held: Holdings) -> frozenset[IPAddress]:
        """What a host holds that no pool has, nor any endpoint that the store has of it."""
        return frozenset(
            claim.address
            for claim in held.addresses
            if not any(each.host == held.host for each in self._users[claim.address])
            and not any(claim.address in pool.cidr for pool in self._stored.pools)
        )

    def _can_have(self, claim: AddressClaim) -> bool:
        """Have the address held as it was; False if that is another's, or not to be read."""
        elsewhere = {each.host for each in self._users[claim.address]} - {claim.host}
        if not elsewhere <= self._told.keys():
            # Whatever handle this host names, that one has not denied it.
            return False
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
        users = self._users[claim.address]
        hosts = {endpoint.host for endpoint in users} | ({held.host} - {None})
        if not all(self._denies(host, held, claim.address) for host in hosts):
            return False
        for endpoint in sorted(users):
            if endpoint.workload != claim.handle:
                revision = self._stored.specs[endpoint].revision
                self._datastore.delete(endpoint_key(endpoint), expect=revision)
                del self._stored.specs[endpoint]
                users.remove(endpoint)
                log.warning("endpoint gives way", extra={"task": endpoint.workload})
        return True

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


def without_network(
    held: Holdings, lost: NotImported, datastore: Datastore, stored: StoredState
) -> frozenset[str]:
    """Tasks of which a host tells, and which this store has not as they are there.

    Those are left out whose addresses are lost, and keys that were only reserved.
    """
    return frozenset(
        spec.id.workload
        for spec, _ in held.endpoints
        if spec.addresses
        and lost.addresses.isdisjoint(spec.addresses)
        and not _is_there(spec, datastore, stored)
    )


def _is_there(spec: EndpointSpec, datastore: Datastore, stored: StoredState) -> bool:
    if spec.id.orchestrator != ORCHESTRATOR:
        return datastore.get(endpoint_key(spec.id)) is not None
    kept = stored.specs.get(spec.id)
    return kept is not None and kept.value.addresses == spec.addresses
