"""Gives addresses back that nobody stands behind any more."""

import logging
from collections.abc import Collection

from calico.addresses import Addresses
from calico.datastore.api import Datastore
from calico.errors import InvalidValue
from calico.keys import READY
from calico.model import OWNER, TaskId, TaskVerdict
from reconciler.controller.metrics import ControllerMetrics
from reconciler.controller.stored import StoredState
from reconciler.core.quarantine import FIXED_FOR, Held, Resting, newly_unused, releasable
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
        self._addresses = Addresses(datastore)
        self._resting: dict[Held, Resting] = {}

    @property
    def is_idle(self) -> bool:
        """Whether no address rests."""
        return not self._resting

    def sweep(self, live: Collection[TaskId]) -> bool:
        """Give rested addresses back; tells whether any was.

        `live` are tasks that Marathon names. Only allocations that carry our
        mark are looked at: what calico-mesos or another orchestrator holds is
        theirs. Raises DatastoreError.
        """
        unused = self._unused(live)
        for held in self._resting.keys() - unused:
            del self._resting[held]
        fresh = newly_unused(unused, self._resting)
        if fresh:
            # An agent's applied revision grows only with events that it sees,
            # so there must be one after the withdrawals. Felix takes a Ready
            # that is set to the same value as nothing.
            revision = self._datastore.put(READY, "true")
            now = self._clock.monotonic()
            self._resting.update({held: Resting(now, revision) for held in fresh})
        waiting = {
            kept.value.app
            for kept in self._stored.records.values()
            if kept.value.verdict is TaskVerdict.PENDING
        }
        free = releasable(
            self._resting,
            self._stored.registered(),
            self._stored.applied,
            waiting,
            self._clock.monotonic(),
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

    def _unused(self, live: Collection[TaskId]) -> frozenset[Held]:
        """Our allocations that no endpoint, record or live task stands behind."""
        endpoints = {endpoint.workload for endpoint in self._stored.specs}
        unused = set()
        for block, _ in self._addresses.blocks():
            for ordinal, allocation in enumerate(block.allocations):
                if allocation is None or allocation.handle is None:
                    continue
                if OWNER not in allocation.secondary:
                    continue
                task = TaskId(allocation.handle)
                if task in self._stored.records or task in live or task in endpoints:
                    continue
                app = dict(allocation.secondary).get(FIXED_FOR, "")
                unused.add(Held(allocation.handle, block.cidr[ordinal], app))
        return frozenset(unused)
