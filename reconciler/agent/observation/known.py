"""What an agent knows of its kernel between two looks."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from netaddr import IPAddress

from calico.dataplane.changes import (
    AddRoute,
    AttachTask,
    Change,
    MendLink,
    Plan,
    RemoveLink,
    RemoveRoute,
)
from calico.dataplane.state import HostState, Link, RouteKind
from calico.model import InterfaceName, TaskId
from reconciler.agent.observation.evidence import Evidence
from reconciler.agent.searches import Searches
from reconciler.core.endpoint_status import (
    Reached,
    complete_links,
    failures_by_interface,
    failures_of_host,
)
from reconciler.core.plan import reached_state


@dataclass(frozen=True, slots=True)
class KnownKernel:
    """What came of the last plan.

    `programmed` is what the kernel was brought to, if that succeeded whole;
    `state` what it held then, which is less by the tasks that wait. `present`
    are the links that stand, finished or not; `judged` is whether they were
    compared with what should be, in this run and without an error. `reflects`
    is whether nothing is left in it that should have gone, and nothing is open
    that should not be: a way to another host may still be missing.
    """

    programmed: HostState | None = None
    state: HostState | None = None
    reached: Reached = field(default_factory=Reached)
    linked: frozenset[TaskId] = frozenset()
    present: frozenset[InterfaceName] = frozenset()
    judged: bool = False
    problems: tuple[str, ...] = ()
    reflects: bool = True

    def unsure(self) -> "KnownKernel":
        """The same when the kernel must be looked at before it is changed."""
        return replace(self, state=None)

    def is_as_left(self, name: InterfaceName, link: Link | None) -> bool:
        """Whether a link, None for one that is absent, is what the last plan left there."""
        if self.programmed is None:
            return False
        complete = name in self.reached.complete
        if link is not None and link.carried == (name in self.reached.switched_off):
            return False
        return link == (self.programmed.links.get(name) if complete else None)


def learn(
    observed: HostState,
    desired: HostState,
    plan: Plan,
    failures: Mapping[Change, str],
    evidence: Evidence,
    searches: Searches,
) -> KnownKernel:
    """What is known once a plan was carried out, and what it proves of the tasks."""
    made: set[InterfaceName] = set()
    removed: set[InterfaceName] = set()
    for change in plan:
        match change:
            case AttachTask(link, namespace) if change not in failures:
                made.add(link.name)
                if link.wiring is not None:
                    evidence.wired(link.wiring.task, namespace)
            case MendLink(link) if change not in failures:
                made.add(link.name)
            case RemoveLink(name) if change not in failures:
                removed.add(name)
            case _:
                pass
    present = (observed.links.keys() - removed) | made
    complete = complete_links(observed, desired, made)
    tasks = {
        name: link.wiring.task for name, link in desired.links.items() if link.wiring is not None
    }
    evidence.weigh(
        frozenset(tasks.values()), {task for name, task in tasks.items() if name in present}
    )
    waiting = {task: searches.why_not(task) for name, task in tasks.items() if name not in complete}
    half_built = not present <= complete
    # Of what was made just now it is not known yet.
    off = frozenset(
        name
        for name in complete - made
        if name in observed.links and not observed.links[name].carried
    )
    return KnownKernel(
        programmed=None if failures else desired,
        state=None if failures or half_built else _left(desired, complete, off),
        reached=Reached(
            complete=complete,
            failed=failures_by_interface(failures),
            waiting=waiting,
            gone=evidence.gone,
            switched_off=off,
        ),
        linked=frozenset(tasks[name] for name in complete if name in tasks),
        present=frozenset(present),
        judged=True,
        problems=failures_of_host(failures),
        reflects=not failures_of_host(
            {change: why for change, why in failures.items() if not _is_way_to_host(change)}
        ),
    )


def _is_way_to_host(change: Change) -> bool:
    return isinstance(change, AddRoute) and change.route.kind is RouteKind.HOST


def _left(
    desired: HostState, complete: frozenset[InterfaceName], off: frozenset[InterfaceName]
) -> HostState:
    reached = reached_state(desired, complete)
    if not off:
        return reached
    links = {name: replace(reached.links[name], carried=False) for name in off}
    return replace(reached, links={**reached.links, **links})


def is_breached(observed: HostState, programmed: HostState | None, desired: HostState) -> bool:
    """Whether our table is not as it was left, so that it may have let through anything.

    Of one that an earlier run left only the base chains are known.
    """
    if programmed is None:
        base = {name: chain for name, chain in desired.chains.items() if chain.base is not None}
        programmed = HostState(chains=base)
    if (observed.chains, observed.sets) == (programmed.chains, programmed.sets):
        # Mostly it is so.
        return False
    chains = {name: observed.chains.get(name) for name in programmed.chains}
    sets = {name: observed.sets.get(name) for name in programmed.sets}
    return chains != programmed.chains or sets != programmed.sets


def lost_addresses(plan: Plan, desired: HostState) -> frozenset[IPAddress]:
    """Addresses of tasks that lost their routes for good."""
    return frozenset(
        change.route.destination.ip
        for change in plan
        if isinstance(change, RemoveRoute)
        and change.route.kind is RouteKind.TASK
        and change.route not in desired.routes
    )
