"""Who asks which tasks containers run tells something, whatever the answer is."""

from collections.abc import Callable, Mapping

import pytest

from calico.model import ContainerId, TaskId
from reconciler.agent.attachments.keeper import Asker
from reconciler.agent.attachments.requests import Reply, TasksTold
from reconciler.agent.locators.api import LocatorUnavailable

ONE, TWO = ContainerId("one"), ContainerId("two")
Answer = Mapping[ContainerId, frozenset[TaskId]]


def failing(error: Exception) -> Callable[[], Answer]:
    def answer() -> Answer:
        raise error

    return answer


def test_only_what_was_asked_for_is_told() -> None:
    told: list[TasksTold] = []
    web = frozenset({TaskId("web.1")})

    Asker(lambda: {ONE: web, ContainerId("other"): web}, told.append).answer(
        [frozenset({ONE, TWO})]
    )

    assert told == [TasksTold({ONE: web})]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        pytest.param(LocatorUnavailable("Mesos is away"), "Mesos is away", id="no answer"),
        pytest.param(
            RecursionError("nested too deep"),
            "what it said was not understood, see the agent's log",
            id="an answer that nobody expected",
        ),
    ],
)
def test_without_an_answer_nothing_is_known_but_why_and_the_next_question_is_asked(
    error: Exception, why: str
) -> None:
    told: list[TasksTold] = []

    Asker(failing(error), told.append).answer([frozenset({ONE})])

    assert told == [TasksTold({}, why)]


def test_all_who_wait_are_answered_by_one_question_with_the_task_rather_than_its_executor() -> None:
    reads: list[int] = []
    told: list[TasksTold] = []
    one, two, three = Reply[str](), Reply[str](), Reply[str]()

    def answer() -> Answer:
        reads.append(1)
        return {
            ONE: frozenset({TaskId("marathon-web.1"), TaskId("web.1")}),
            TWO: frozenset({TaskId("instance-cache.8e9e")}),
        }

    asker = Asker(answer, told.append)
    asker.ask(ONE, one)
    asker.ask(TWO, two)
    asker.ask(ContainerId("a podman container"), three)
    asker.step()

    assert [each.wait(0) for each in (one, two, three)] == ["web.1", "instance-cache.8e9e", ""]
    assert reads == [1]
    assert told == []


@pytest.mark.parametrize("error", [LocatorUnavailable("no answer"), ValueError("a defect")])
def test_who_waits_is_answered_though_mesos_says_nothing(error: Exception) -> None:
    reply = Reply[str]()
    asker = Asker(failing(error), lambda _: None)
    asker.ask(ONE, reply)
    asker.step()

    assert reply.wait(0) == ""
