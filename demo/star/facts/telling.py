"""From one read of the cluster to the facts that a page shows; pure.

Who should reach whom is asked of the product's own rules, with the flags of the
hosts' agents, on every port that the destination declares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from netaddr import IPAddress

from calico.model import PROTOCOLS
from reconciler.cli.judging.explain import Question, explain
from reconciler.cli.judging.parties import Side
from reconciler.cli.judging.why_kernel import judge_kernel, revision_needed
from reconciler.cli.reading.cluster import Cluster, HostView, TaskView
from reconciler.core.reaching.reach import EndpointParty, first_packet
from reconciler.core.verdict import AgentState

#: Pairs grow with the square; a page could not show more either.
MOST_TASKS = 64
MOST_PORTS = 16
#: Asked about when the destination declares none, as `why` does.
SOME_PORT = 80

Facts = dict[str, object]


@dataclass(frozen=True, slots=True)
class Selection:
    """Apps to tell of, all if none is named, and ports to ask about besides the declared."""

    apps: frozenset[str] = frozenset()
    ports: frozenset[int] = frozenset()


def tell(cluster: Cluster, waiting: Mapping[str, str], selection: Selection, read_at: str) -> Facts:
    """All facts about the selected tasks, and about every host; `waiting` is by app."""
    tasks = [task for task in cluster.tasks() if task.record is not None]
    chosen = [task for task in tasks if not selection.apps or task.app in selection.apps]
    return {
        "tasks": [_task(task) for task in chosen],
        "expected": list(_expected(cluster, chosen[:MOST_TASKS], selection)),
        "hosts": [_host(host, tasks) for host in cluster.hosts()],
        "waiting": [
            {"app": app, "reason": reason}
            for app, reason in sorted(waiting.items())
            if not selection.apps or app in selection.apps
        ],
        "read_at": read_at,
    }


def _task(task: TaskView) -> Facts:
    return {
        "task": task.name,
        "app": task.app,
        "host": task.host,
        "address": str(task.addresses[0]) if task.addresses else "",
        "groups": list(task.groups),
        "ports": [
            {"number": each.number, "protocol": each.protocol, "name": each.name}
            for each in (task.record.ports if task.record is not None else ())
        ],
        "verdict": task.judgement.verdict.value,
        "reason": task.judgement.reason,
    }


def _host(host: HostView, tasks: list[TaskView]) -> Facts:
    record = host.record
    return {
        "host": host.name,
        "addresses": [str(each) for each in (record.address, *record.others)] if record else [],
        "agent": host.agent.state.value,
        "tasks": sum(task.host == host.name for task in tasks),
    }


def _expected(cluster: Cluster, tasks: list[TaskView], selection: Selection) -> Iterator[Facts]:
    sides = [_side(task) for task in tasks]
    for source, destination in product(sides, sides):
        pair = _pair(source, destination)
        if source is destination or pair is None:
            continue
        for port in _ports(destination, selection):
            question = _question(cluster, source, destination, pair, port)
            finding = explain(question)
            # Without asking the kernel: whether its agent has reported this change.
            kernel = judge_kernel(cluster, source, destination, finding, {})
            yield {
                "from": source.name,
                "to": destination.name,
                "port": port,
                "allowed": finding.allowed,
                "applied": kernel is None or kernel.agrees == "yes",
                "confirmed": _is_confirmed(cluster, source, destination),
            }


def _is_confirmed(cluster: Cluster, source: Side, destination: Side) -> bool:
    """Whether the hosts of both sides have applied all that this pair needs.

    A host without an agent of ours tells nothing, and is not waited for.
    """
    needed = revision_needed(cluster, destination.task, source.task)
    agents = [cluster.host(side.task.host).agent for side in (source, destination) if side.task]
    return all(
        agent.applied >= needed for agent in agents if agent.state is not AgentState.UNREGISTERED
    )


def _side(task: TaskView) -> Side:
    party = EndpointParty(task.spec) if task.spec is not None else None
    return Side(kind="task", name=task.name, party=party, addresses=task.addresses, task=task)


def _question(
    cluster: Cluster,
    source: Side,
    destination: Side,
    pair: tuple[IPAddress, IPAddress],
    port: int,
) -> Question:
    assert source.party is not None
    assert destination.party is not None
    packet = first_packet(*pair, PROTOCOLS["tcp"], port)
    parties = (source.party, destination.party)
    return Question(
        snapshot=cluster.snapshot,
        source=source,
        destination=destination,
        parties=parties,
        packet=packet,
    )


def _pair(source: Side, destination: Side) -> tuple[IPAddress, IPAddress] | None:
    """Addresses of one family, IPv4 first; none while a side has no endpoint."""
    if source.party is None or destination.party is None:
        return None
    pairs = [
        (one, other)
        for one, other in product(source.addresses, destination.addresses)
        if one.version == other.version
    ]
    return min(pairs, key=lambda pair: int(pair[0].version), default=None)


def _ports(destination: Side, selection: Selection) -> tuple[int, ...]:
    record = destination.task.record if destination.task is not None else None
    declared = {each.number for each in record.ports if each.protocol == "tcp"} if record else set()
    found = sorted(declared | selection.ports) or [SOME_PORT]
    return tuple(found[:MOST_PORTS])
