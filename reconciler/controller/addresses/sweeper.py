"""Gives addresses back that nobody stands behind any more."""

import logging
from collections.abc import Collection, Iterable, Mapping

from netaddr import IPAddress, IPNetwork

from calico.addressing.addresses import Addresses
from calico.addressing.audit import resting_addresses, standing
from calico.addressing.blocks import OWNER, Block, marks_of_container
from calico.addressing.ipam import block_of
from calico.datastore.api import Datastore
from calico.errors import AddressError, InvalidValue
from calico.keys import READY
from calico.model import ContainerId, HandleId, TaskId, TaskVerdict
from calico.names import endpoint_of_task
from reconciler.controller.metrics import ControllerMetrics
from reconciler.controller.stored import StoredState
from reconciler.core.removal.quarantine import (
    FIXED_FOR,
    NOBODY,
    Held,
    Resting,
    newly_unused,
    releasable,
)
from reconciler.runtime.clock import Clock

log = logging.getLogger(__name__)


class Sweeper:
    """Knows which addresses rest, and since when; one thread owns it."""

    def __init__(
        self, datastore: Datastore, stored: StoredState, clock: Clock, metrics: ControllerMetrics
    ) -> None:
        self._datastore = datastore
        self._stored = stored
        self._clock = clock
        self._metrics = metrics
        self._addresses = Addresses(datastore, lambda: stored.pools)
        self._resting: dict[Held, Resting] = {}

    @property
    def is_idle(self) -> bool:
        """Whether no address rests."""
        return not self._resting

    @property
    def apps(self) -> frozenset[str]:
        """The apps that asked by name for an address which rests now."""
        return frozenset(held.app for held in self._resting if held.app)

    def sweep(
        self,
        live: Collection[TaskId],
        awaited: Mapping[str, Collection[IPAddress]] = NOBODY,
        unserved: Collection[TaskId] = frozenset(),
    ) -> bool:
        """Give rested addresses back; tells whether any was. Takes lost ones again.

        `live` are tasks that Marathon names, `awaited` what its starting tasks
        ask for by name. Without an endpoint the `unserved` have no use for what
        they hold. Only allocations that carry our mark are looked at: what
        calico-mesos or another orchestrator holds is theirs. Raises DatastoreError.
        """
        blocks = {block.cidr: block for block, _ in self._addresses.blocks()}
        self._take_back(blocks)
        unused = self._unused(blocks.values(), {*self._stored.records, *live} - {*unserved})
        for held in self._resting.keys() - unused:
            del self._resting[held]
        fresh = newly_unused(unused, self._resting)
        ready = self._datastore.get(READY) if fresh else None
        # While somebody has set it to false, agents act on nothing new anyway.
        if ready is not None and ready.value.strip() == "true":
            # An agent's applied revision grows only with events that it sees,
            # so there must be one after the withdrawals. Felix takes a Ready
            # that is set to the same value as nothing.
            revision = self._datastore.put(READY, ready.value, expect=ready.revision)
            now = self._clock.monotonic()
            self._resting.update({held: Resting(now, revision) for held in fresh})
        waiting = {
            kept.value.app
            for kept in self._stored.records.values()
            if kept.value.verdict is TaskVerdict.PENDING
        }
        free = releasable(
            self._resting,
            self._stored.registrations.names(),
            self._stored.believing(),
            waiting,
            self._clock.monotonic(),
            awaited=awaited,
            all_forgotten=bool(self._stored.registrations.forgotten),
        )
        released = [held for held in sorted(free) if self._release(held)]
        return bool(released)

    def _release(self, held: Held) -> bool:
        try:
            released = self._addresses.release(held.handle, held.address)
        except InvalidValue as error:
            log.warning("address kept", extra={"address": held.address, "why": str(error)})
            return False
        del self._resting[held]
        if released:
            self._metrics.releases.inc()
            log.info("address released", extra={"address": held.address})
        return released

    def _unused(self, blocks: Iterable[Block], tasks: Collection[TaskId]) -> frozenset[Held]:
        """Our allocations that no endpoint and none of these tasks stands behind."""
        stored = self._stored
        who = standing(
            (kept.value for kept in stored.specs.values()),
            frozenset((*tasks, *stored.unclear_tasks())),
            stored.registrations.names(),
            stored.registrations.forgotten,
        )
        return frozenset(
            Held(allocation.handle, address, dict(allocation.secondary).get(FIXED_FOR, ""))
            for address, allocation in resting_addresses(blocks, who)
            if allocation.handle is not None
        )

    def _take_back(self, blocks: Mapping[IPNetwork, Block]) -> None:
        """Take what another tool released of ours, before somebody else is given it.

        `calicoctl ipam release` does not look who uses an address.
        """
        for endpoint, kept in self._stored.specs.items():
            task = TaskId(endpoint.workload)
            for address in kept.value.addresses:
                if _is_given(address, blocks) or task not in self._stored.records:
                    continue
                if endpoint != endpoint_of_task(endpoint.host, task):
                    continue
                container = self._stored.records[task].value.container
                secondary = (
                    marks_of_container(ContainerId(container), endpoint.host)
                    if container
                    else (OWNER,)
                )
                try:
                    self._addresses.assign_fixed(
                        endpoint.host, HandleId(task), address, secondary=secondary
                    )
                except (AddressError, InvalidValue):
                    # Of no pool in use, or taken: `ipam check` tells.
                    continue
                log.warning("address taken back", extra={"task": task, "address": address})


def _is_given(address: IPAddress, blocks: Mapping[IPNetwork, Block]) -> bool:
    """Whether a block that can be read gave it to anybody."""
    block = blocks.get(block_of(address))
    return block is not None and block.allocations[int(address) - block.cidr.first] is not None
