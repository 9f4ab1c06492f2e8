"""Spec beside status: each verdict and its reason."""

import pytest
from netaddr import IPAddress

from calico.model import (
    EndpointSpec,
    EndpointState,
    EndpointStatus,
    HostName,
    TaskId,
    TaskRecord,
    TaskVerdict,
)
from calico.names import endpoint_of_task, interface_of
from reconciler.core.verdict import AgentState, AgentView, Verdict, judge

HOST = HostName("host-a")
ADDRESS = IPAddress("192.168.0.1")
ENDPOINT = endpoint_of_task(HOST, TaskId("web.1"))
SPEC = EndpointSpec(ENDPOINT, interface_of(ENDPOINT), None, (ADDRESS,))
INACTIVE = EndpointSpec(ENDPOINT, interface_of(ENDPOINT), None, (ADDRESS,), active=False)
REVISION = 8


def record(verdict: TaskVerdict = TaskVerdict.ACCEPTED, reason: str = "") -> TaskRecord:
    return TaskRecord(TaskId("web.1"), "/web", "", HOST, verdict=verdict, reason=reason)


def status(
    revision: int = REVISION,
    state: EndpointState = EndpointState.UP,
    address: IPAddress = ADDRESS,
    reason: str = "",
) -> EndpointStatus:
    return EndpointStatus(state, revision, (address,), reason)


def agent(state: AgentState = AgentState.REPORTING, applied: int = REVISION) -> AgentView:
    return AgentView(HOST, state, applied)


SILENT, UNREGISTERED = agent(AgentState.SILENT), agent(AgentState.UNREGISTERED, 0)
DOWN, ERROR = EndpointState.DOWN, EndpointState.ERROR


@pytest.mark.parametrize(
    ("given", "verdict", "words"),
    [
        pytest.param((record(), SPEC, status(), agent()), Verdict.IN_SYNC, "", id="as desired"),
        pytest.param(
            (record(), SPEC, status(9), agent()), Verdict.IN_SYNC, "", id="a newer revision"
        ),
        pytest.param(
            (record(reason="without group 'x y'"), SPEC, status(), agent()),
            Verdict.IN_SYNC,
            "without group 'x y'",
            id="in sync with a remark",
        ),
        pytest.param(
            (record(), SPEC, status(7), agent()),
            Verdict.PENDING,
            "revision 7 of 8",
            id="agent has applied an older one",
        ),
        pytest.param(
            (record(), SPEC, status(7, ERROR, reason="no veth"), agent()),
            Verdict.PENDING,
            "revision 7 of 8",
            id="an old error is not this revision's",
        ),
        pytest.param(
            (record(), SPEC, status(state=DOWN, reason="no namespace"), agent()),
            Verdict.PENDING,
            "no namespace",
            id="not attached yet",
        ),
        pytest.param(
            (record(), SPEC, status(state=ERROR, reason="no veth"), agent()),
            Verdict.FAILED,
            "no veth",
            id="agent failed",
        ),
        pytest.param(
            (record(), SPEC, status(address=IPAddress("192.168.0.2")), agent()),
            Verdict.FAILED,
            "192.168.0.2 in place of 192.168.0.1",
            id="another address",
        ),
        pytest.param(
            (record(), SPEC, None, agent(applied=7)),
            Verdict.PENDING,
            "has not applied revision 8",
            id="not seen yet",
        ),
        pytest.param(
            (record(), SPEC, None, agent()),
            Verdict.MISSING,
            "reports nothing",
            id="applied without a report",
        ),
        pytest.param(
            (record(), SPEC, status(), SILENT),
            Verdict.PENDING,
            "silent; it last reported up",
            id="agent silent",
        ),
        pytest.param(
            (record(), SPEC, None, SILENT), Verdict.PENDING, "silent", id="silent from the start"
        ),
        pytest.param(
            (record(), SPEC, None, UNREGISTERED),
            Verdict.PENDING,
            "no agent registered as host-a",
            id="no agent",
        ),
        pytest.param(
            (record(TaskVerdict.PENDING, "no address"), None, None, agent()),
            Verdict.PENDING,
            "no address",
            id="controller waits",
        ),
        pytest.param(
            (record(TaskVerdict.REFUSED, "17 groups"), None, None, agent()),
            Verdict.REFUSED,
            "17 groups",
            id="controller refused",
        ),
        pytest.param(
            (record(), None, None, agent()),
            Verdict.MISSING,
            "no endpoint is stored",
            id="someone deleted the endpoint",
        ),
        pytest.param(
            (None, None, status(), agent()),
            Verdict.ORPHANED,
            "nothing asks for it",
            id="leftover of a task",
        ),
        pytest.param(
            (None, SPEC, status(0), UNREGISTERED), Verdict.IN_SYNC, "", id="Felix's own endpoint"
        ),
        pytest.param(
            (record(), INACTIVE, status(state=DOWN), agent()),
            Verdict.IN_SYNC,
            "closed on purpose",
            id="inactive and down",
        ),
        pytest.param(
            (record(), INACTIVE, status(), agent()), Verdict.FAILED, "up", id="inactive but up"
        ),
    ],
)
def test_a_task_is_judged_by_what_is_known_of_it(
    given: tuple[TaskRecord | None, EndpointSpec | None, EndpointStatus | None, AgentView],
    verdict: Verdict,
    words: str,
) -> None:
    judged = judge(given[0], given[1], REVISION, given[2], given[3])
    assert judged.verdict is verdict
    assert words in judged.reason
    assert bool(judged.reason) == bool(words)
