"""Brings one host's kernel to what is rendered, and keeps what came of it."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from netaddr import IPAddress

from calico.dataplane.api import Dataplane
from calico.dataplane.changes import Plan
from calico.dataplane.render.host import Rendered
from calico.dataplane.state import HostConfig
from calico.mirror import Passages
from calico.model import Snapshot
from reconciler.agent.attachments.held import HeldAttachments, remove_links
from reconciler.agent.attachments.merging import Merged
from reconciler.agent.belief import Source, View
from reconciler.agent.observation.evidence import Evidence
from reconciler.agent.observation.known import KnownKernel, is_breached, learn, lost_addresses
from reconciler.agent.observation.looks import VERIFY_AFTER, Looks
from reconciler.agent.reconciliation.revocation import Revocation
from reconciler.agent.searches import Searches
from reconciler.core.plan import only_mending, plan_host
from reconciler.runtime.clock import Clock

log = logging.getLogger(__name__)


class Programming:
    """Changes one kernel, and knows how it was left; used by one thread.

    `program` and `carry_through` raise DataplaneError.
    """

    def __init__(
        self,
        dataplane: Dataplane,
        clock: Clock,
        looks: Looks,
        evidence: Evidence,
        searches: Searches,
        held: HeldAttachments,
        take_passages: Callable[[], Passages],
    ) -> None:
        """`take_passages` gives those since it was called last."""
        self._dataplane = dataplane
        self._clock = clock
        self._looks = looks
        self._evidence = evidence
        self._searches = searches
        self._held = held
        self._take_passages = take_passages
        self._revocation = Revocation(dataplane)
        self._kernel = KnownKernel()

    @property
    def kernel(self) -> KnownKernel:
        """What came of the last plan."""
        return self._kernel

    @property
    def carried_through(self) -> Snapshot | None:
        """The last snapshot whose revocations are complete."""
        return self._revocation.carried_through

    def restore(self, snapshot: Snapshot | None) -> None:
        """Go on from what an earlier run had carried through."""
        self._revocation.restore(snapshot)

    def note_waiting(self) -> None:
        """Tell of those that wait what the last search found."""
        reached = self._kernel.reached
        waiting = {task: self._searches.why_not(task) for task in reached.waiting}
        self._kernel = replace(self._kernel, reached=replace(reached, waiting=waiting))

    def begin_look(self) -> None:
        """Look at the kernel before it is changed next."""
        self._kernel = self._kernel.unsure()

    def forget(self) -> None:
        """Nothing is known of the kernel any more: a change or a look failed."""
        self._kernel = replace(self._kernel, programmed=None, state=None, judged=False)

    def program(self, view: View, merged: Merged, config: HostConfig, rendered: Rendered) -> Plan:
        """Change what differs in the kernel and keep what came of it.

        Right after a pass that succeeded the kernel is what it was brought to,
        and looking at it would take longer than the change itself. Whether that
        was right is seen at the next look, a second later.
        """
        desired = rendered.state
        assumed = self._kernel.state
        observed = self._dataplane.observe() if assumed is None else assumed
        where = self._searches.take_found() | self._held.namespaces(merged, observed, desired)
        plan = plan_host(observed, desired, where).plan
        if view.source is not Source.DATASTORE:
            plan = only_mending(plan, observed)
        breached = assumed is None and is_breached(observed, self._kernel.programmed, desired)
        if breached:
            # Else what began without our rules would pass until it is forgotten.
            self._revocation.judge_all(merged.snapshot, config)
        failures = self._dataplane.apply(plan).failures if plan else {}
        self._held.note_evidence(merged, self._evidence)
        self._kernel = learn(observed, desired, plan, failures, self._evidence, self._searches)
        if breached:
            self._revocation.judge_all(merged.snapshot, config)
        if view.source is Source.DATASTORE and view.snapshot is not None:
            lost = lost_addresses(plan, desired)
            self.carry_through(view.snapshot, config, merged.snapshot, lost)
        else:
            self._kernel = self._kernel.unsure()
        if plan:
            if len(failures) < len(plan):
                log.info("kernel changed", extra={"changes": len(plan), "failures": len(failures)})
            delay = 0.0 if failures and assumed is not None else VERIFY_AFTER
            self._looks.ask(self._clock.monotonic() + delay)
        return plan

    def carry_through(
        self,
        snapshot: Snapshot,
        config: HostConfig,
        rendered: Snapshot,
        lost: Iterable[IPAddress] = (),
    ) -> None:
        """Complete what was revoked since the last snapshot, by what is rendered of this one."""
        self._revocation.carry_through(snapshot, config, lost, rendered, self._take_passages())

    def take_links_away(self, view: View) -> None:
        """Detached containers lose their links also while little else may be changed."""
        going = self._held.going
        if going and view.source is not Source.DATASTORE:
            left = self._kernel.present - remove_links(self._dataplane, going)
            self._kernel = replace(self._kernel.unsure(), present=left)
