"""One host, brought from what its kernel holds to what the datastore asks for."""

import logging
from collections.abc import Mapping
from dataclasses import replace

from netaddr import IPAddress

from calico.dataplane.api import Dataplane
from calico.dataplane.changes import NamespaceRef, Plan, RemoveRoute
from calico.dataplane.foreign.rules import ForeignRules, find_obstacles
from calico.dataplane.render.host import Rendered
from calico.dataplane.state import HostConfig, HostState, RouteKind
from calico.datastore.api import Put
from calico.errors import DataplaneError
from calico.keys import ENDPOINTS, POOLS, parse_endpoint_key
from calico.model import Snapshot, TaskId
from reconciler.agent.belief import Belief, Source, View
from reconciler.agent.evidence import Evidence, StillHeld
from reconciler.agent.known import KnownKernel, learn
from reconciler.agent.locators.api import Search
from reconciler.agent.looks import VERIFY_AFTER, Looks
from reconciler.agent.passes import (
    AgentMessage,
    ContainersChanged,
    HostSettings,
    KernelChanged,
    Pass,
    Surveyed,
)
from reconciler.agent.rendering import Rendering
from reconciler.agent.revocation import Revocation
from reconciler.agent.searches import Searches
from reconciler.agent.state_file import SavedState
from reconciler.core.endpoint_status import endpoint_statuses
from reconciler.core.kernel_look import Look
from reconciler.core.plan import only_mending, plan_host
from reconciler.runtime.clock import Clock, rfc3339
from reconciler.runtime.watchfeed import Changed

log = logging.getLogger(__name__)

MOST_PROBLEMS = 20
ON_SAVED_STATE = (
    "acting on the state saved when the datastore was last believed: what was allowed stays,"
    " new tasks stay closed"
)


class HostReconciler:
    """Owns all state of one agent; every method is called by one thread."""

    def __init__(
        self,
        settings: HostSettings,
        dataplane: Dataplane,
        clock: Clock,
        still_held: StillHeld,
    ) -> None:
        self._settings = settings
        self._dataplane = dataplane
        self._clock = clock
        self._belief = Belief()
        self._evidence = Evidence(still_held)
        self._searches = Searches()
        self._arrived: set[TaskId] = set()
        self._kernel = KnownKernel()
        self._config: HostConfig | None = None
        self._others: tuple[IPAddress, ...] = ()
        self._foreign = ForeignRules()
        self._revocation = Revocation(dataplane)
        self._revision = 0
        self._rendering = Rendering()
        self._saved: tuple[View, Mapping[TaskId, NamespaceRef]] | None = None
        self._looks = Looks(clock.monotonic())

    def restore(self, saved: SavedState) -> None:
        """Take over an earlier run's last good state."""
        self._belief.restore(saved.listings)
        self._revocation.restore(self._belief.saved_snapshot)
        same_boot = saved.boot_id == self._settings.boot_id
        self._evidence.restore(saved.attached, same_boot)

    def handle(self, message: AgentMessage) -> None:
        """Take one message in; nothing is done yet."""
        match message:
            case Search():
                self._searches.take_in(
                    message, self._evidence, self._kernel.linked, self._clock.monotonic()
                )
                reached = self._kernel.reached
                waiting = {task: self._searches.why_not(task) for task in reached.waiting}
                self._kernel = replace(self._kernel, reached=replace(reached, waiting=waiting))
            case KernelChanged(noticed):
                self._looks.notice(noticed, self._clock.monotonic())
            case Surveyed(foreign):
                self._foreign = foreign
            case ContainersChanged():
                self._searches.hurry(self._clock.monotonic())
            case Changed(_, Put(stored)):
                endpoint = parse_endpoint_key(stored.key)
                if endpoint is not None and endpoint.host == self._settings.host:
                    self._arrived.add(TaskId(endpoint.workload))
                self._belief.handle(message)
            case _:
                self._belief.handle(message)

    def next_due(self) -> float:
        """When there is something to do although no message comes, monotonic."""
        search, look = self._searches.next_due(), self._looks.next_due()
        return look if search is None else min(look, search)

    def look_is_due(self) -> bool:
        """Whether a pass must be made even if no message came."""
        return self._looks.are_due(self._clock.monotonic(), self._kernel.is_as_left)

    def search_arrived(self) -> frozenset[TaskId]:
        """Tasks that an event just told of, to be searched for before anything else.

        The search then goes on while policy is rendered and brought in. It is
        only a guess: whether a task is wired is decided by the pass.
        """
        arrived, self._arrived = self._arrived - self._kernel.linked, set()
        if self._belief.judge().source is not Source.DATASTORE:
            return frozenset()
        now = self._clock.monotonic()
        self._searches.expect(arrived, now)
        return self._searches.begin(now)

    def search(self) -> frozenset[TaskId]:
        """Tasks to search for now; empty while a search goes on."""
        now = self._clock.monotonic()
        view = self._belief.judge()
        if view.source is Source.DATASTORE and view.snapshot is not None and self._config:
            links = self._rendering.of(view.snapshot, self._config).state.links
            complete = self._kernel.reached.complete
            self._searches.want(
                (
                    link.wiring.task
                    for name, link in links.items()
                    if name not in complete and link.wiring is not None
                ),
                now,
            )
        unknown = self._kernel.linked - self._evidence.attached.keys()
        return self._searches.begin(now, unknown)

    def saved(self) -> SavedState | None:
        """What to keep on disk, if it changed: only what the kernel was brought to."""
        view, attached = self._belief.judge(), self._evidence.attached
        if view.snapshot is None or self._revocation.carried_through is not view.snapshot:
            return None
        if self._saved is not None and self._saved[0] is view and self._saved[1] == attached:
            return None
        listings = self._belief.listings()
        if not listings:
            return None
        self._saved = (view, attached)
        return SavedState(self._settings.host, self._settings.boot_id, listings, attached)

    def reconcile(self) -> Pass:
        """Make the kernel agree with what is believed, as far as it can be now."""
        view = self._belief.judge()
        assumed = self._kernel.state is not None and not self.look_is_due()
        try:
            return self._reconcile(view)
        except DataplaneError as error:
            # Nothing is known of the kernel any more. If something was only
            # assumed, another program may have been at it: look at once.
            self._kernel = replace(self._kernel, programmed=None, state=None)
            self._looks.ask(self._clock.monotonic() + (0.0 if assumed else VERIFY_AFTER))
            return self._pass(view, None, (f"dataplane: {error}",), looked=True)

    def look(self) -> Look | None:
        """What the kernel holds now beside what it should; None while that is not known.

        Changes nothing; raises DataplaneError.
        """
        view = self._belief.judge()
        if view.snapshot is None or self._config is None:
            return None
        desired = self._rendering.of(view.snapshot, self._config).state
        return Look(
            self._settings.host,
            (self._config.address, *self._others),
            self._config.underlay,
            rfc3339(self._clock.wall()),
            view.revision,
            view.source.value,
            desired,
            self._dataplane.observe(),
            view.snapshot,
            view.doubt or view.unreachable,
        )

    def _reconcile(self, view: View) -> Pass:
        now = self._clock.monotonic()
        look = self.look_is_due()
        if look:
            self._looks.begin(now)
            self._kernel = self._kernel.unsure()
        if look or self._config is None:
            self._config = self._read_config()
        if view.snapshot is None:
            return self._pass(view, None, ())
        rendered = self._rendering.of(view.snapshot, self._config)
        look = look or self._searches.has_found or rendered.state != self._kernel.programmed
        changes: Plan = ()
        if look:
            changes = self._program(view, view.snapshot, self._config, rendered)
        elif view.source is Source.DATASTORE:
            self._revocation.carry_through(view.snapshot, self._config)
        if self._kernel.reflects and view.source is Source.DATASTORE:
            self._revision = view.revision
        reached = self._pass(view, rendered, self._kernel.problems)
        self._looks.end(now, self._clock.monotonic())
        return replace(reached, changes=changes, looked=look)

    def _program(
        self, view: View, snapshot: Snapshot, config: HostConfig, rendered: Rendered
    ) -> Plan:
        """Change what differs in the kernel and keep what came of it.

        Right after a pass that succeeded the kernel is what it was brought to,
        and looking at it would take longer than the change itself. Whether that
        was right is seen at the next look, a second later.
        """
        desired = rendered.state
        assumed = self._kernel.state
        observed = self._dataplane.observe() if assumed is None else assumed
        plan = plan_host(observed, desired, self._searches.take_found()).plan
        if view.source is not Source.DATASTORE:
            plan = only_mending(plan, observed)
        breached = assumed is None and _is_breached(observed, self._kernel.programmed, desired)
        if breached:
            # Else what began without our rules would pass until it is forgotten.
            self._revocation.judge_all(snapshot, config)
        failures = self._dataplane.apply(plan).failures if plan else {}
        self._kernel = learn(observed, desired, plan, failures, self._evidence, self._searches)
        if breached:
            self._revocation.judge_all(snapshot, config)
        if view.source is Source.DATASTORE:
            self._revocation.carry_through(snapshot, config, _lost(plan, desired))
        else:
            self._kernel = self._kernel.unsure()
        if plan:
            if len(failures) < len(plan):
                log.info("kernel changed", extra={"changes": len(plan), "failures": len(failures)})
            delay = 0.0 if failures and assumed is not None else VERIFY_AFTER
            self._looks.ask(self._clock.monotonic() + delay)
        return plan

    def _read_config(self) -> HostConfig:
        facts = self._dataplane.facts(self._settings.address)
        self._others = facts.others
        return HostConfig(
            host=self._settings.host,
            address=facts.address,
            mtu=facts.mtu,
            underlay=facts.interface,
            mark=self._settings.mark,
            host_ports=self._settings.host_ports,
            protected=self._settings.protected,
            route_to_hosts=self._settings.route_to_hosts,
            networks=facts.networks,
        )

    def _pass(
        self,
        view: View,
        rendered: Rendered | None,
        problems: tuple[str, ...],
        looked: bool = False,
    ) -> Pass:
        statuses = None
        if rendered is not None and view.snapshot is not None:
            statuses = endpoint_statuses(
                view.snapshot,
                self._settings.host,
                rendered.endpoint_problems,
                self._kernel.reached,
            )
        told = (
            *((view.doubt,) if view.doubt else ()),
            *((ON_SAVED_STATE,) if view.source is Source.FILE else ()),
            *problems,
            *(rendered.host_problems if rendered is not None else ()),
            *self._obstacles(view),
            *self._problems_here(view),
        )
        return Pass(
            view=view,
            address=None if self._config is None else self._config.address,
            others=self._others,
            statuses=statuses,
            revision=self._revision,
            gone=tuple(sorted(self._evidence.gone)),
            problems=told[:MOST_PROBLEMS],
            settled=self._kernel.programmed is not None and rendered is not None,
            looked=looked,
        )

    def _obstacles(self, view: View) -> tuple[str, ...]:
        """What other programs on the host put in the way of its tasks."""
        if view.snapshot is None or self._config is None:
            return ()
        versions = {pool.cidr.version for pool in view.snapshot.pools}
        return find_obstacles(self._foreign, self._config.underlay, versions)

    def _problems_here(self, view: View) -> tuple[str, ...]:
        """What could not be read of this host's endpoints, and of the pools.

        A profile that cannot be read is told by each endpoint that names it.
        """
        own = f"{ENDPOINTS}/{self._settings.host}/"
        return tuple(
            f"{key}: {why}"
            for key, why in sorted(view.problems.items())
            if key.startswith((own, f"{POOLS}/"))
        )


def _is_breached(observed: HostState, programmed: HostState | None, desired: HostState) -> bool:
    """Whether our table is not as it was left, so that it may have let through anything.

    Of one that an earlier run left only the base chains are known.
    """
    if programmed is None:
        base = {name: chain for name, chain in desired.chains.items() if chain.base is not None}
        programmed = HostState(chains=base)
    return any(
        observed.chains.get(name) != chain for name, chain in programmed.chains.items()
    ) or any(observed.sets.get(name) != each for name, each in programmed.sets.items())


def _lost(plan: Plan, desired: HostState) -> frozenset[IPAddress]:
    """Addresses of tasks that lost their routes for good."""
    return frozenset(
        change.route.destination.ip
        for change in plan
        if isinstance(change, RemoveRoute)
        and change.route.kind is RouteKind.TASK
        and change.route not in desired.routes
    )
