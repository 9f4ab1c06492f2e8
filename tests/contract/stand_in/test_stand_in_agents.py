"""A host's Mesos agent: one suite for records in memory and for real processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.marathon import MemoryAgent, MesosAgent
from demo.marathon.agents import AgentUnavailable, HttpAgent
from demo.mesos.records import LaunchOrder, TaskId, TaskState
from tests.contract.stand_in.stand_in_world import PATIENCE, by_task, real_host

NAME = TaskId("shop_web.1")
ORDER = LaunchOrder(NAME, "fw-1", ("sleep", "1000"))


@pytest.fixture(params=["memory", "processes"])
def agent(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MesosAgent]:
    """The same promises on both."""
    if request.param == "memory":
        yield MemoryAgent()
    else:
        with real_host(tmp_path) as host:
            yield host.client


def test_a_launched_task_is_in_every_report_from_that_revision_on(agent: MesosAgent) -> None:
    revision = agent.launch(ORDER)
    report = agent.tasks(revision - 1, PATIENCE)
    assert report.revision >= revision
    assert by_task(report.tasks)[NAME].state is TaskState.RUNNING
    assert by_task(report.tasks)[NAME].addresses == ("127.0.0.1",)


def test_launching_twice_starts_one_task(agent: MesosAgent) -> None:
    agent.launch(ORDER)
    agent.launch(ORDER)
    assert len(agent.tasks(-1, PATIENCE).tasks) == 1


def test_a_killed_task_is_reported_as_killed(agent: MesosAgent) -> None:
    revision = agent.launch(ORDER)
    agent.kill(NAME)
    report = agent.tasks(revision, PATIENCE)
    assert by_task(report.tasks)[NAME].state is TaskState.KILLED


def test_killing_what_is_not_there_is_no_error(agent: MesosAgent) -> None:
    agent.kill(TaskId("nobody.1"))
    assert agent.tasks(-1, PATIENCE).tasks == ()


def test_a_report_that_is_waited_for_in_vain_is_the_present_one(agent: MesosAgent) -> None:
    revision = agent.launch(ORDER)
    assert agent.tasks(revision, 0.05).revision == revision


def test_an_agent_that_is_not_there_is_unavailable() -> None:
    nobody = HttpAgent("http://127.0.0.1:1")
    with pytest.raises(AgentUnavailable):
        nobody.launch(ORDER)
