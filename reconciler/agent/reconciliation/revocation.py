"""Carries a loss of policy through to the connections that are under way."""

import logging
from collections.abc import Iterable, Sequence

from netaddr import IPAddress

from calico.dataplane.api import Dataplane
from calico.dataplane.state import Connection, HostConfig
from calico.mirror import Passages
from calico.model import Snapshot
from reconciler.core.reaching.admitted import host_addresses, not_admitted
from reconciler.core.reaching.revoked import Revoked, passed_on, revoked_addresses

NO_PASSAGES = Passages()

log = logging.getLogger(__name__)


class Revocation:
    """Knows up to which snapshot connections were brought in line with policy.

    Used by one thread; every method raises DataplaneError and may be called
    again after it.
    """

    def __init__(self, dataplane: Dataplane) -> None:
        self._dataplane = dataplane
        self._carried_through: Snapshot | None = None
        self._judged = False
        self._given_up: frozenset[IPAddress] = frozenset()

    @property
    def carried_through(self) -> Snapshot | None:
        """The last snapshot whose revocations are complete."""
        return self._carried_through

    def restore(self, snapshot: Snapshot | None) -> None:
        """Go on from what an earlier run had carried through."""
        self._carried_through = snapshot

    def judge_all(self, snapshot: Snapshot, config: HostConfig) -> None:
        """Forget every connection of any task that policy does not admit.

        And every one that a task left which nobody knows any more, as after the
        death of an agent: the next to get its address would go on with it.
        """
        tasks = frozenset(address for spec in snapshot.specs.values() for address in spec.addresses)
        pools = tuple(pool.cidr for pool in snapshot.pools)
        hosts = host_addresses(snapshot, config).keys()
        tracked = self._dataplane.connections(tasks, pools)
        # A pool may have hosts in it by mistake: what they have with others is theirs.
        concerned = (
            each
            for each in tracked
            if each.concerns(tasks)
            or any(end in cidr for end in each.ends - hosts for cidr in pools)
        )
        self._end(tuple(concerned), snapshot, config)

    def carry_through(
        self,
        snapshot: Snapshot,
        config: HostConfig,
        lost: Iterable[IPAddress] = (),
        rendered: Snapshot | None = None,
        passages: Passages = NO_PASSAGES,
    ) -> None:
        """Complete what was revoked since the last snapshot, once its policy is in force.

        `lost` are addresses that have no holder here any more. `rendered` is
        what connections are judged by, if it is not the datastore's snapshot
        alone: a container that a task claims loses nothing by it. `passages` are
        those since the last call, whatever came of that.
        """
        judged_by = rendered or snapshot
        self._given_up |= passages.given_up
        if not (self._judged and passages.is_whole):
            # The flags of an earlier run may have allowed more, and whoever came
            # and went unseen may have left connections.
            self._judged = False
            self.judge_all(judged_by, config)
            self._judged = True
        before = self._carried_through
        revoked = Revoked() if before is None else revoked_addresses(before, snapshot, config.host)
        passed = passed_on(self._given_up, before or snapshot, snapshot)
        gone = revoked.gone | passed | frozenset(lost)
        self._forget(gone, revoked.narrowed, judged_by, config)
        self._carried_through = snapshot
        self._given_up = frozenset()

    def _forget(
        self,
        gone: frozenset[IPAddress],
        judged: frozenset[IPAddress],
        snapshot: Snapshot,
        config: HostConfig,
    ) -> None:
        if not gone and not judged:
            return
        self._end(self._dataplane.connections(gone | judged), snapshot, config, gone)

    def _end(
        self,
        tracked: Sequence[Connection],
        snapshot: Snapshot,
        config: HostConfig,
        gone: frozenset[IPAddress] = frozenset(),
    ) -> None:
        ended = not_admitted(tracked, snapshot, config, gone)
        if ended:
            self._dataplane.forget(ended)
            # Who may not reach a task may well try to: the kernel keeps such attempts
            # for minutes, and none of them was ever a connection.
            replied = sum(each.replied for each in ended)
            told = {"count": replied, "attempts": len(ended) - replied, "of": len(tracked)}
            log.info("connections ended", extra=told)
