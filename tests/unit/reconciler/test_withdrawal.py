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
    assert (verdict.confirmed == tasks("b")) is withdrawn
    assert verdict.now == frozenset()
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


def test_whom_a_host_reports_up_keeps_its_network_and_is_held_if_that_lasts() -> None:
    absent, since = tasks("t1", "t2", "t3"), dict.fromkeys(MANY, 0.0)
    listed = CompleteList(
        MANY,
        MANY - absent,
        False,
        contradicted=tasks("t1", "t3", "t4"),
        lasting=tasks("t1", "t4"),
    )
    verdict = judge_absences(listed, (), since, 1e6, None)
    assert (verdict.held, verdict.contested) == (tasks("t1"), tasks("t3"))
    assert (verdict.confirmed, verdict.waiting) == (tasks("t2"), frozenset())
    assert verdict.reason == "hosts report 1 absent task up"
    approved = judge_absences(listed, (), {}, 0.0, verdict.plan)
    assert (approved.now, approved.contested) == (tasks("t1"), tasks("t3"))


def test_evidence_outweighs_what_a_host_reports() -> None:
    listed = CompleteList(MANY, MANY - tasks("t1"), False, contradicted=tasks("t1"))
    assert judge_absences(listed, tasks("t1"), {}, 0.0, None).now == tasks("t1")


def test_those_without_a_network_count_against_nobody() -> None:
    # given 50 tasks with an endpoint of which 3 are absent, and 50 without that are too
    bare = frozenset(sorted(MANY)[:50])
    absent = bare | frozenset(sorted(MANY)[-3:])
    listed = CompleteList(MANY, MANY - absent, False, bare=bare)
    assert judge_absences(listed, (), {}, 0.0, None).waiting == absent
    assert judge_absences(listed, (), dict.fromkeys(absent, 0.0), 100.0, None).confirmed == absent


def test_those_without_a_network_make_no_share_of_the_others_small() -> None:
    networked = frozenset(sorted(MANY)[:20])
    absent = frozenset(sorted(networked)[:4])
    listed = CompleteList(MANY, MANY - absent, False, bare=MANY - networked)
    assert judge_absences(listed, (), {}, 0.0, None).held == absent


@pytest.mark.parametrize(
    ("bare", "held", "confirmed"),
    [
        pytest.param(tasks("a"), tasks("b"), frozenset(), id="beside one with a network"),
        pytest.param(tasks("a", "b"), frozenset(), tasks("a", "b"), id="alone"),
    ],
)
def test_an_empty_list_counts_for_those_without_a_network_only_if_nothing_is_at_stake(
    bare: frozenset[TaskId], held: frozenset[TaskId], confirmed: frozenset[TaskId]
) -> None:
    listed = CompleteList(tasks("a", "b"), frozenset(), True, bare=bare)
    verdict = judge_absences(listed, (), {"a": 0.0, "b": 0.0}, 100.0, None)
    assert (verdict.held, verdict.confirmed) == (held, confirmed)
    assert verdict.is_credible is not bool(held)


def test_who_does_not_say_who_it_is_confirms_nothing() -> None:
    listed = CompleteList(tasks("a", "b"), frozenset(), True, is_trusted=False)
    verdict = judge_absences(listed, tasks("a"), {"b": 0.0}, 100.0, None)
    assert (verdict.now, verdict.waiting) == (tasks("a"), tasks("b"))
    assert not verdict.is_credible


@given(
    known=st.frozensets(st.integers(0, 40)),
    present=st.frozensets(st.integers(0, 40)),
    evidence=st.frozensets(st.integers(0, 40)),
    waited=st.floats(0, 100),
    contradicted=st.frozensets(st.integers(0, 40)),
    is_empty=st.booleans(),
)
def test_every_absence_is_in_one_place_and_no_listed_task_is_touched(
    known: frozenset[int],
    present: frozenset[int],
    evidence: frozenset[int],
    waited: float,
    contradicted: frozenset[int],
    is_empty: bool,
) -> None:
    named = {number: TaskId(str(number)) for number in range(41)}
    listed = CompleteList(
        frozenset(named[n] for n in known),
        frozenset(named[n] for n in present),
        is_empty,
        contradicted=frozenset(named[n] for n in contradicted),
        lasting=frozenset(named[n] for n in contradicted if n % 2),
    )
    verdict = judge_absences(
        listed, {named[n] for n in evidence}, dict.fromkeys(listed.known, 0.0), waited, None
    )
    parts = (
        *(verdict.now, verdict.confirmed, verdict.waiting),
        *(verdict.contested, verdict.held),
    )
    assert frozenset().union(*parts) == listed.known - listed.present
    assert sum(map(len, parts)) == len(listed.known - listed.present)
