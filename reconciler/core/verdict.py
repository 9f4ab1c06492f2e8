"""Spec beside status: is one task's network as it should be."""

import enum
from dataclasses import dataclass

from calico.model import (
    EndpointSpec,
    EndpointState,
    EndpointStatus,
    HostName,
    TaskRecord,
    TaskVerdict,
)

#: What becomes of the tasks of a host that an operator declared gone.
_FORGOTTEN = (
    "is forgotten, until Marathon no longer names the task, or the agent there starts again"
)


class Verdict(enum.Enum):
    """The word on one task; the values are what tables and JSON show."""

    IN_SYNC = "IN_SYNC"
    PENDING = "PENDING"
    FAILED = "FAILED"
    REFUSED = "REFUSED"
    MISSING = "MISSING"
    ORPHANED = "ORPHANED"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and the sentence that explains it.

    A task that is in sync has a reason only if something was left out.
    """

    verdict: Verdict
    reason: str = ""


class AgentState(enum.Enum):
    """What is heard of a host's agent.

    UNREGISTERED may still be a host that Felix serves. FORGOTTEN is one that an
    operator declared gone, until nothing is left of it.
    """

    REPORTING = "reporting"
    SILENT = "silent"
    UNREGISTERED = "unregistered"
    FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True)
class AgentView:
    """A host's agent as the datastore tells of it.

    `applied` is the newest datastore revision that its kernel reflects. One that
    `objects` goes on as an earlier state of the datastore has it.
    """

    host: HostName
    state: AgentState
    applied: int = 0
    objects: bool = False


def judge(
    record: TaskRecord | None,
    spec: EndpointSpec | None,
    revision: int,
    status: EndpointStatus | None,
    agent: AgentView,
) -> Judgement:
    """Judge one task; `revision` is that of its spec.

    Without a record the endpoint is another orchestrator's: it is judged by
    spec and status alone.
    """
    if record is not None and record.verdict is TaskVerdict.REFUSED:
        return Judgement(Verdict.REFUSED, record.reason)
    if spec is None:
        return _without_spec(record, status, agent)
    if record is not None and record.verdict is TaskVerdict.PENDING:
        return Judgement(Verdict.PENDING, record.reason)
    if status is None:
        return _without_status(revision, agent)
    return _with_both(record, spec, revision, status, agent)


def _without_spec(
    record: TaskRecord | None, status: EndpointStatus | None, agent: AgentView
) -> Judgement:
    if status is not None and agent.objects:
        return Judgement(
            Verdict.PENDING,
            f"reported {status.state.value} by the agent on {agent.host}, and kept as it was, until"
            " the controller has imported what etcd lost",
        )
    if status is not None:
        return Judgement(
            Verdict.ORPHANED,
            f"agent on {agent.host} still reports it {status.state.value}, nothing asks for it",
        )
    if record is not None and record.verdict is TaskVerdict.PENDING:
        return Judgement(Verdict.PENDING, record.reason)
    return Judgement(Verdict.MISSING, "accepted, but no endpoint is stored for it")


def _without_status(revision: int, agent: AgentView) -> Judgement:
    if agent.state is AgentState.UNREGISTERED:
        return Judgement(Verdict.PENDING, f"no agent registered as {agent.host}")
    if agent.state is AgentState.SILENT:
        return Judgement(Verdict.PENDING, f"agent on {agent.host} is silent")
    if agent.state is AgentState.FORGOTTEN:
        return Judgement(Verdict.PENDING, f"host {agent.host} {_FORGOTTEN}")
    if agent.applied >= revision:
        return Judgement(
            Verdict.MISSING,
            f"agent on {agent.host} has applied revision {agent.applied} but reports nothing of it",
        )
    return Judgement(
        Verdict.PENDING, f"agent on {agent.host} has not applied revision {revision} yet"
    )


def _with_both(
    record: TaskRecord | None,
    spec: EndpointSpec,
    revision: int,
    status: EndpointStatus,
    agent: AgentView,
) -> Judgement:
    if agent.state is AgentState.SILENT:
        return Judgement(
            Verdict.PENDING,
            f"agent on {agent.host} is silent; it last reported {status.state.value}",
        )
    if agent.state is AgentState.FORGOTTEN:
        return Judgement(
            Verdict.PENDING,
            f"host {agent.host} {_FORGOTTEN}; it last reported {status.state.value}",
        )
    # Felix reports no revision; only a registered agent's can be compared.
    if agent.state is AgentState.REPORTING and status.revision < revision:
        return Judgement(
            Verdict.PENDING,
            f"agent on {agent.host} is at revision {status.revision} of {revision}",
        )
    if not spec.active:
        return _inactive(status)
    match status.state:
        case EndpointState.ERROR:
            return Judgement(Verdict.FAILED, status.reason or "the agent reports an error")
        case EndpointState.DOWN:
            return Judgement(Verdict.PENDING, status.reason or "not attached yet")
        case EndpointState.UP if status.addresses and set(status.addresses) != set(spec.addresses):
            return Judgement(
                Verdict.FAILED,
                f"has {_joined(status.addresses)} in place of {_joined(spec.addresses)}",
            )
        case EndpointState.UP:
            return Judgement(Verdict.IN_SYNC, record.reason if record is not None else "")


def _inactive(status: EndpointStatus) -> Judgement:
    if status.state is EndpointState.UP:
        return Judgement(Verdict.FAILED, "inactive, but the agent reports it up")
    return Judgement(Verdict.IN_SYNC, "inactive: closed on purpose")


def _joined(addresses: tuple[object, ...]) -> str:
    return ", ".join(map(str, addresses)) or "no address"
