"""A kernel as a fold: what a host's state is after each change of a plan."""

from collections.abc import Iterable
from dataclasses import replace
from typing import assert_never

from calico.dataplane.changes import (
    AddMarkRule,
    AddRoute,
    AttachTask,
    Change,
    CommitTable,
    MendLink,
    RemoveLink,
    RemoveMarkRule,
    RemoveRoute,
    SetSysctl,
)
from calico.dataplane.state import HostState, Route


def after(state: HostState, plan: Iterable[Change]) -> HostState:
    """The state once every change of a plan was carried out."""
    for change in plan:
        state = _after_one(state, change)
    return state


def _after_one(state: HostState, change: Change) -> HostState:
    match change:
        case CommitTable(chains, sets, previous_sets, removed_chains, removed_sets):
            assert all(state.sets.get(each.name) == each for each in previous_sets)
            kept_chains = {k: v for k, v in state.chains.items() if k not in removed_chains}
            kept_sets = {k: v for k, v in state.sets.items() if k not in removed_sets}
            return replace(
                state,
                chains=kept_chains | {each.name: each for each in chains},
                sets=kept_sets | {each.name: each for each in sets},
            )
        case SetSysctl(path, value):
            return replace(state, sysctls={**state.sysctls, path: value})
        case AddMarkRule(rule):
            return replace(state, mark_rules=state.mark_rules | {rule})
        case RemoveMarkRule(rule):
            return replace(state, mark_rules=state.mark_rules - {rule})
        case AttachTask(link, _) | MendLink(link):
            return replace(state, links={**state.links, link.name: link})
        case RemoveLink(name):
            # The kernel drops the routes of a link that goes.
            return replace(
                state,
                links={k: v for k, v in state.links.items() if k != name},
                routes=frozenset(route for route in state.routes if route.interface != name),
            )
        case AddRoute(route):
            return replace(
                state,
                routes=frozenset(r for r in state.routes if not _same_place(r, route)) | {route},
            )
        case RemoveRoute(route):
            return replace(state, routes=state.routes - {route})
        case _:
            assert_never(change)


def _same_place(one: Route, other: Route) -> bool:
    return (one.table, one.destination) == (other.table, other.destination)
