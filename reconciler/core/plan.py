"""What one host's kernel lacks, as an ordered plan of idempotent changes.

The order is the safety rule: the one transaction that changes policy comes
first, so whatever it takes away is closed before its route and link go, and
whatever it admits is policed before its link and route come.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import assert_never

from netaddr import IPNetwork

from calico.dataplane.changes import (
    AddMarkRule,
    AddRoute,
    AttachTask,
    Change,
    CommitTable,
    MendLink,
    NamespaceRef,
    Plan,
    RemoveLink,
    RemoveMarkRule,
    RemoveRoute,
    SetSysctl,
    Stage,
)
from calico.dataplane.state import HostState, Link, MarkRule, Route, RouteKind
from calico.model import INTERFACE_PREFIX, InterfaceName, TaskId
from reconciler.core.diff import Delta, diff


@dataclass(frozen=True, slots=True)
class HostPlan:
    """The changes that can be made now, and the tasks that could not be wired.

    A task waits when its link is not complete and its namespace is unknown.
    """

    plan: Plan
    waiting: tuple[TaskId, ...] = ()


def plan_host(
    observed: HostState, desired: HostState, namespaces: Mapping[TaskId, NamespaceRef]
) -> HostPlan:
    """Carrying the plan out turns observed into desired, but for what waits.

    A prefix of it may be all that is carried out: planning again from there
    leads to the same end.
    """
    if observed == desired:
        # Mostly it is so.
        return HostPlan(())
    links = diff(desired.links, observed.links)
    unlike = tuple(desired.links[name] for name in links.written)
    attached = tuple(_attachments(unlike, namespaces))
    mended = tuple(_mendings(observed, unlike, namespaces))
    detached = tuple(_detachments(links, attached))
    changes: list[Change] = [
        *_table(observed, desired),
        *_sysctls(observed, desired),
        *_mark_rules(observed, desired),
        *attached,
        *mended,
        *detached,
        *_routes(observed, desired, unlike, attached, mended, detached),
    ]
    waiting = tuple(
        link.wiring.task
        for link in unlike
        if link.wiring is not None
        and link.wiring.task not in namespaces
        and MendLink(link) not in mended
    )
    # Sorting is stable, so only the stage decides; each part is in order already.
    return HostPlan(tuple(sorted(changes, key=stage_of)), waiting)


def reached_state(desired: HostState, complete: Collection[InterfaceName]) -> HostState:
    """What a plan that succeeded leaves behind, given the links that are complete.

    It holds when no half-built link was left standing.
    """
    if all(_has_way(route, complete) for route in desired.routes) and complete == (
        desired.links.keys()
    ):
        return desired
    return replace(
        desired,
        links={name: desired.links[name] for name in complete},
        routes=frozenset(route for route in desired.routes if _has_way(route, complete)),
    )


def only_mending(plan: Plan, observed: HostState) -> Plan:
    """What of a plan may be done on the strength of a state that may be old.

    The kernel may be newer than a state file that was read back. So while our
    table stands only what every state has in common is mended: settings, rules,
    finished links, and routes to these where there is none. A table that
    another program flushed is put back, with its routes, or all stays cut off;
    nothing is taken away and no task is wired.
    """
    standing = any(chain.base is not None for chain in observed.chains.values())
    taken = {_place(route) for route in observed.routes}
    unwired = {change.link.name for change in plan if isinstance(change, AttachTask)}

    def mends(change: Change) -> bool:
        match change:
            case SetSysctl() | AddMarkRule() | MendLink():
                return True
            case CommitTable():
                return not standing
            case AddRoute(route):
                own = route.kind is not RouteKind.HOST and _place(route) not in taken
                return route.interface not in unwired and (own or not standing)
            case _:
                return False

    return tuple(change for change in plan if mends(change))


_ADDING = {
    RouteKind.HOST: Stage.HOST_ROUTES,
    RouteKind.BLACKHOLE: Stage.CLOSING_ROUTES,
    RouteKind.TASK: Stage.ADD_ROUTES,
}


def stage_of(change: Change) -> Stage:
    """When in a plan a change is carried out."""
    match change:
        case CommitTable():
            return Stage.TABLE
        case SetSysctl():
            return Stage.SYSCTLS
        case RemoveRoute():
            return Stage.REMOVE_ROUTES
        case RemoveLink():
            return Stage.REMOVE_LINKS
        case AddMarkRule() | RemoveMarkRule():
            return Stage.MARK_RULES
        case AddRoute(route):
            return _ADDING[route.kind]
        case AttachTask() | MendLink():
            return Stage.ADD_LINKS
        case _:
            assert_never(change)


def _table(observed: HostState, desired: HostState) -> Iterator[CommitTable]:
    chains = diff(desired.chains, observed.chains)
    sets = diff(desired.sets, observed.sets)
    # A base chain stays even when nobody wants it: taking one away, in whatever
    # transaction, lets packets through.
    removed = tuple(name for name in sorted(chains.deleted) if observed.chains[name].base is None)
    commit = CommitTable(
        chains=tuple(desired.chains[name] for name in chains.written),
        sets=tuple(desired.sets[name] for name in sets.written),
        previous_sets=tuple(observed.sets[name] for name in sorted(sets.updated)),
        removed_chains=removed,
        removed_sets=tuple(sorted(sets.deleted)),
    )
    if commit != CommitTable():
        yield commit


def _sysctls(observed: HostState, desired: HostState) -> Iterator[SetSysctl]:
    for path, value in sorted(desired.sysctls.items()):
        if observed.sysctls.get(path) != value:
            yield SetSysctl(path, value)


def _mark_rules(observed: HostState, desired: HostState) -> Iterator[AddMarkRule | RemoveMarkRule]:
    def order(rule: MarkRule) -> tuple[int, int, int]:
        return (rule.version, rule.preference, -1 if rule.mark is None else rule.mark)

    for rule in sorted(desired.mark_rules - observed.mark_rules, key=order):
        yield AddMarkRule(rule)
    for rule in sorted(observed.mark_rules - desired.mark_rules, key=order):
        yield RemoveMarkRule(rule)


def _attachments(
    unlike: Iterable[Link], namespaces: Mapping[TaskId, NamespaceRef]
) -> Iterator[AttachTask]:
    for link in unlike:
        if link.wiring is None:
            continue
        namespace = namespaces.get(link.wiring.task)
        if namespace is not None:
            yield AttachTask(link, namespace)


def _mendings(
    observed: HostState, unlike: Iterable[Link], namespaces: Mapping[TaskId, NamespaceRef]
) -> Iterator[MendLink]:
    """Finished links that another program touched on the host's side."""
    for link in unlike:
        seen = observed.links.get(link.name)
        if (
            seen is not None
            and seen.alias == link.alias
            and link.wiring is not None
            and link.wiring.task not in namespaces
        ):
            yield MendLink(link)


def _detachments(
    links: Delta[InterfaceName], attached: tuple[AttachTask, ...]
) -> Iterator[RemoveLink]:
    """Orphans, and what stands in the place of a link that is attached anew.

    A half-built link of a task whose namespace is unknown stays: no route is
    added to it, and cutting a task off because its MTU changed helps nobody.
    """
    replaced = {change.link.name for change in attached} & links.updated
    for name in sorted(links.deleted | replaced):
        if name.startswith(INTERFACE_PREFIX):
            yield RemoveLink(name)


def _routes(
    observed: HostState,
    desired: HostState,
    unlike: tuple[Link, ...],
    attached: tuple[AttachTask, ...],
    mended: tuple[MendLink, ...],
    detached: tuple[RemoveLink, ...],
) -> Iterator[RemoveRoute | AddRoute]:
    renewed = {change.link.name for change in attached}
    going = {change.name for change in detached}
    complete = desired.links.keys() - {link.name for link in unlike}
    # A link that goes takes its routes with it, so those of a link that is
    # attached anew are put back even when they were there.
    missing = desired.routes - observed.routes
    if renewed:
        missing |= {route for route in desired.routes if route.interface in renewed}
    usable = complete | renewed | {change.link.name for change in mended}
    added = [route for route in missing if _has_way(route, usable)]
    unwanted = observed.routes - desired.routes
    # Where one route gives way to one other, adding replaces without a gap.
    if unwanted and added:
        places = Counter(map(_place, observed.routes))
        replaced = {_place(route) for route in added if places[_place(route)] == 1}
        unwanted = frozenset(route for route in unwanted if _place(route) not in replaced)
    if going:
        unwanted |= {route for route in observed.routes if route.interface in going}
    yield from map(RemoveRoute, sorted(unwanted, key=_route_order))
    yield from map(AddRoute, sorted(added, key=_route_order))


def _has_way(route: Route, usable: Collection[InterfaceName]) -> bool:
    return route.kind is not RouteKind.TASK or route.interface in usable


def _place(route: Route) -> tuple[int, IPNetwork]:
    """Where a route sits: adding another one there replaces it."""
    return (route.table, route.destination)


def _route_order(route: Route) -> tuple[object, ...]:
    return (
        route.table,
        route.destination.version,
        route.destination,
        route.kind.value,
        route.interface or "",
        str(route.gateway),
        str(route.source),
    )
