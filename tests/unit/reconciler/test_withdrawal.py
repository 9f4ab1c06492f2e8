"""What an absence is worth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico.model import TaskId
from reconciler.core.removal.withdrawal import CONFIRM_AFTER, CompleteList, judge_absences


def tasks(*names: str) -> frozenset[TaskId]:
    return frozenset(map(TaskId, names))


MANY = tasks(*(f"t{number}" for number in range(100)))


def test_nothing_happens_while_every_task_is_there() -> None:
    verdict = judge_absences(CompleteList(tasks("a"), tasks("a"), False), (), {}, 0.0, None)
    assert (verdict.now, verdict.waiting, verdict.held) == (frozenset(), frozenset(), frozenset())


def test_evidence_withdraws_at_once() -> None:
    verdict = judge_absences(CompleteList(MANY, frozenset(), True), MANY, {}, 0.0, None)
    assert verdict.now == MANY


def test_evidence_about_a_task_that_is_listed_is_not_believed() -> None:
    listed = CompleteList(tasks("a"), tasks("a"), False)
    assert not judge_absences(listed, tasks("a"), {}, 0.0, None).now


@pytest.mark.parametrize(
    ("since", "withdrawn"),
    [
        pytest.param({}, False, id="first list that lacks it"),
        pytest.param({"b": 100.0 - CONFIRM_AFTER + 1}, False, id="too soon after the first"),
        pytest.param({"b": 100.0 - CONFIRM_AFTER}, True, id="confirmed by a later list"),
    ],
)
def test_a_few_absences_need_two_lists(since: dict[TaskId, float], withdrawn: bool) -> None:
    listed = CompleteList(tasks("a", "b"), tasks("a"), False)
    verdict = judge_absences(listed, (), since, 100.0, None)
    assert (verdict.now == tasks("b")) is withdrawn
    assert (verdict.waiting == tasks("b")) is not withdrawn


@pytest.mark.parametrize(
    ("present", "is_empty", "held"),
    [
        pytest.param(90, False, 0, id="a tenth may be absent"),
        pytest.param(89, False, 11, id="more than a tenth is held"),
        pytest.param(0, True, 100, id="an empty list is held"),
    ],
)
def test_many_absences_are_held(present: int, is_empty: bool, held: int) -> None:
    listed = CompleteList(MANY, frozenset(sorted(MANY)[:present]), is_empty)
    assert len(judge_absences(listed, (), {}, 0.0, None).held) == held


def test_an_empty_list_is_held_even_for_one_task() -> None:
    verdict = judge_absences(CompleteList(tasks("a"), frozenset(), True), (), {}, 0.0, None)
    assert verdict.held == tasks("a")


def test_the_operator_approves_exactly_one_plan() -> None:
    listed = CompleteList(MANY, frozenset(), True)
    plan = judge_absences(listed, (), {}, 0.0, None).plan
    assert judge_absences(listed, (), {}, 0.0, plan).now == MANY
    fewer = CompleteList(MANY - {TaskId("t1")}, frozenset(), True)
    assert not judge_absences(fewer, (), {}, 0.0, plan).now


@given(
    known=st.frozensets(st.integers(0, 40)),
    present=st.frozensets(st.integers(0, 40)),
    evidence=st.frozensets(st.integers(0, 40)),
    waited=st.floats(0, 100),
    is_empty=st.booleans(),
)
def test_every_absence_is_in_one_place_and_no_listed_task_is_touched(
    known: frozenset[int],
    present: frozenset[int],
    evidence: frozenset[int],
    waited: float,
    is_empty: bool,
) -> None:
    named = {number: TaskId(str(number)) for number in range(41)}
    listed = CompleteList(
        frozenset(named[n] for n in known), frozenset(named[n] for n in present), is_empty
    )
    verdict = judge_absences(
        listed, {named[n] for n in evidence}, dict.fromkeys(listed.known, 0.0), waited, None
    )
    parts = (verdict.now, verdict.waiting, verdict.held)
    assert frozenset().union(*parts) == listed.known - listed.present
    assert sum(map(len, parts)) == len(listed.known - listed.present)
