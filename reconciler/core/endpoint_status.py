"""What an agent says of each endpoint of its host, from what became of a plan."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from calico.dataplane.changes import AddRoute, AttachTask, Change, MendLink
from calico.dataplane.state import HostState
from calico.model import (
    EndpointId,
    EndpointSpec,
    EndpointState,
    EndpointStatus,
    HostName,
    InterfaceName,
    Snapshot,
    TaskId,
)

WAITING = "waiting for network namespace"
GONE = "its network namespace is gone"
SWITCHED_OFF = "its eth0 was set down from inside; nothing passes until it is up again"


@dataclass(frozen=True, slots=True)
class Reached:
    """What one look at the kernel, and one plan, came to.

    `complete` are links as desired, `failed` the reasons by interface,
    `waiting` why a task's namespace is not known, "" for no special reason.
    `switched_off` are complete links whose task set its own side down.
    """

    complete: frozenset[InterfaceName] = frozenset()
    failed: Mapping[InterfaceName, str] = field(default_factory=dict)
    waiting: Mapping[TaskId, str] = field(default_factory=dict)
    gone: frozenset[TaskId] = frozenset()
    switched_off: frozenset[InterfaceName] = frozenset()


def local_specs(snapshot: Snapshot, host: HostName) -> Iterator[EndpointSpec]:
    """The endpoints that one host has to hold."""
    return (spec for endpoint, spec in snapshot.specs.items() if endpoint.host == host)


def endpoint_statuses(
    snapshot: Snapshot,
    host: HostName,
    problems: Mapping[EndpointId, str],
    reached: Reached,
) -> dict[EndpointId, EndpointStatus]:
    """One status per local endpoint; `problems` are those of rendering it."""
    return {
        spec.id: _status(
            spec, snapshot.spec_revisions.get(spec.id, 0), problems.get(spec.id, ""), reached
        )
        for spec in local_specs(snapshot, host)
    }


def complete_links(
    observed: HostState, desired: HostState, attached: AbstractSet[InterfaceName]
) -> frozenset[InterfaceName]:
    """Links that are as desired: found so, or attached by the plan."""
    return frozenset(
        name
        for name, link in desired.links.items()
        if observed.links.get(name) == link or name in attached
    )


def failures_by_interface(failures: Mapping[Change, str]) -> dict[InterfaceName, str]:
    """Why single links could not be finished; the first reason counts."""
    found: dict[InterfaceName, str] = {}
    for change, reason in failures.items():
        match change:
            case AttachTask(link, _) | MendLink(link):
                found.setdefault(link.name, reason)
            case AddRoute(route) if route.interface is not None:
                found.setdefault(route.interface, reason)
            case _:
                pass
    return found


def failures_of_host(failures: Mapping[Change, str]) -> tuple[str, ...]:
    """Why changes that are no single task's failed, as sentences."""
    return tuple(
        sorted(
            f"{type(change).__name__}: {reason}"
            for change, reason in failures.items()
            if not isinstance(change, AttachTask | MendLink)
            and not (isinstance(change, AddRoute) and change.route.interface is not None)
        )
    )


def _status(spec: EndpointSpec, revision: int, problem: str, reached: Reached) -> EndpointStatus:
    task = TaskId(spec.id.workload)
    if not spec.active:
        return EndpointStatus(EndpointState.DOWN, revision, reason="made inactive in the datastore")
    if problem:
        return EndpointStatus(
            state=EndpointState.ERROR, revision=revision, addresses=spec.addresses, reason=problem
        )
    if spec.interface in reached.failed:
        return EndpointStatus(
            state=EndpointState.ERROR,
            revision=revision,
            addresses=spec.addresses,
            reason=reached.failed[spec.interface],
        )
    if spec.interface in reached.switched_off:
        return EndpointStatus(
            state=EndpointState.DOWN,
            revision=revision,
            addresses=spec.addresses,
            reason=SWITCHED_OFF,
        )
    if spec.interface in reached.complete:
        return EndpointStatus(EndpointState.UP, revision, spec.addresses)
    if task in reached.gone:
        return EndpointStatus(
            state=EndpointState.DOWN, revision=revision, addresses=spec.addresses, reason=GONE
        )
    why = reached.waiting.get(task, "")
    return EndpointStatus(
        state=EndpointState.DOWN,
        revision=revision,
        addresses=spec.addresses,
        reason=f"{WAITING}: {why}" if why else WAITING,
    )
