"""Who asks which tasks containers run tells something, whatever the answer is."""

from collections.abc import Callable, Mapping

import pytest

from calico.model import ContainerId, TaskId
from reconciler.agent.attachments.keeper import Asker
from reconciler.agent.attachments.requests import TasksTold
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

    Asker(lambda: {ONE: web, ContainerId("other"): web}, told.append).answer(frozenset({ONE, TWO}))

    assert told == [TasksTold({ONE: web})]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(LocatorUnavailable("the Mesos agent does not answer"), id="no answer"),
        pytest.param(RecursionError("nested too deep"), id="an answer that nobody expected"),
    ],
)
def test_without_an_answer_nothing_is_known_and_the_next_question_is_asked(
    error: Exception,
) -> None:
    told: list[TasksTold] = []

    Asker(failing(error), told.append).answer(frozenset({ONE}))

    assert told == [TasksTold({})]
