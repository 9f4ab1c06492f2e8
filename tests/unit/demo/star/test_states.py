"""One pair's state, from what should be and what was measured."""

import pytest

from demo.star.collect.states import Expected, Measured, State, judge

NOW = 100.0
LONG_AGO = 10.0


def measured(*, reached: bool, began: float = NOW - 1, heard: float = NOW - 0.1) -> Measured:
    return Measured(reached, began, heard)


def wanted(allowed: bool | None, since: float = LONG_AGO, **fields: object) -> Expected:
    return Expected(allowed, since, asked=NOW, lag=0.5, **fields)


@pytest.mark.parametrize(
    ("expected", "reached", "state"),
    [
        pytest.param(True, True, State.OK_ALLOWED, id="allowed and reached"),
        pytest.param(False, False, State.OK_DENIED, id="denied and not reached"),
        pytest.param(False, True, State.LEAK, id="denied but reached"),
        pytest.param(True, False, State.BROKEN, id="allowed but not reached"),
        pytest.param(None, True, State.REACHED, id="nobody says, reached"),
        pytest.param(None, False, State.NOT_REACHED, id="nobody says, not reached"),
    ],
)
def test_what_should_be_beside_what_is(expected: bool | None, reached: bool, state: State) -> None:
    assert judge(wanted(expected), measured(reached=reached), LONG_AGO, NOW)[0] is state


def test_what_was_never_measured_or_not_lately_has_no_data() -> None:
    old = measured(reached=True, began=LONG_AGO, heard=NOW - 5.1)
    assert judge(wanted(False, since=0), None, None, NOW)[0] is State.NO_DATA
    assert judge(wanted(False, since=0), old, LONG_AGO, NOW)[0] is State.NO_DATA


@pytest.mark.parametrize("reached", [True, False])
def test_a_measurement_older_than_the_change_says_nothing(reached: bool) -> None:
    try_before = measured(reached=reached, began=NOW - 1)
    state, note = judge(wanted(True, since=NOW - 0.5), try_before, LONG_AGO, NOW)
    assert state is State.SETTLING
    assert "before the newest change" in note


def test_a_task_that_is_not_in_sync_settles_and_says_why() -> None:
    state, note = judge(
        wanted(True, waits_for="b is PENDING: no agent"), measured(reached=False), LONG_AGO, NOW
    )
    assert (state, note) == (State.SETTLING, "b is PENDING: no agent")


@pytest.mark.parametrize(
    ("differs_since", "state"),
    [
        pytest.param(NOW - 0.51, State.LEAK, id="told again after it was seen"),
        pytest.param(NOW - 0.4, State.SETTLING, id="what was told may be older"),
        pytest.param(None, State.SETTLING, id="not seen to differ yet"),
    ],
)
def test_a_difference_alarms_only_once_what_should_be_was_told_again(
    differs_since: float | None, state: State
) -> None:
    assert judge(wanted(False), measured(reached=True), differs_since, NOW)[0] is state


def test_what_agents_have_not_reported_yet_is_no_alarm_but_may_be_right_already() -> None:
    late = wanted(True, applied=False, confirmed=None)
    assert judge(late, measured(reached=True), None, NOW)[0] is State.OK_ALLOWED
    assert judge(late, measured(reached=False), NOW - 2, NOW)[0] is State.SETTLING
    old_groups = wanted(False, applied=False)
    assert judge(old_groups, measured(reached=True), NOW - 2, NOW)[0] is State.SETTLING


@pytest.mark.parametrize(
    ("differed_for", "fields", "state"),
    [
        pytest.param(1.5, {}, State.SETTLING, id="it ends, or does not listen yet"),
        pytest.param(3.1, {}, State.BROKEN, id="it lasts"),
        pytest.param(30.0, {"since": NOW - 2}, State.SETTLING, id="ready only lately"),
        pytest.param(3.1, {"confirmed": None}, State.SETTLING, id="a host has not confirmed it"),
        pytest.param(
            3.1, {"confirmed": NOW - 0.5}, State.SETTLING, id="tried before it was confirmed"
        ),
        pytest.param(6.1, {"confirmed": None}, State.BROKEN, id="a host never confirms it"),
        pytest.param(6.1, {"applied": False}, State.BROKEN, id="an agent never reports it"),
        pytest.param(
            30.0, {"waits_for": "b is PENDING"}, State.SETTLING, id="its network is not ready"
        ),
    ],
)
def test_a_task_that_starts_or_ends_is_not_broken_and_what_lasts_is(
    differed_for: float, fields: dict[str, object], state: State
) -> None:
    expected = wanted(True, **fields)
    assert judge(expected, measured(reached=False), NOW - differed_for, NOW)[0] is state


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"confirmed": None}, id="a host has not confirmed it"),
        pytest.param({"since": NOW - 1.5}, id="ready only lately"),
        pytest.param({}, id="both hosts have confirmed it"),
    ],
)
def test_no_time_to_start_is_given_to_a_leak(fields: dict[str, object]) -> None:
    expected = wanted(False, **fields)
    assert judge(expected, measured(reached=True), NOW - 0.6, NOW)[0] is State.LEAK


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"applied": False}, id="agents have not reported"),
        pytest.param({"waits_for": "b is PENDING: agent is silent"}, id="not in sync"),
        pytest.param({"since": NOW - 0.1}, id="what is wanted changes again and again"),
    ],
)
def test_nothing_under_way_hides_a_leak_for_long(fields: dict[str, object]) -> None:
    expected = wanted(False, **fields)
    assert judge(expected, measured(reached=True), NOW - 4.9, NOW)[0] is State.SETTLING
    assert judge(expected, measured(reached=True), NOW - 5.1, NOW)[0] is State.LEAK
